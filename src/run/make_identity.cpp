// The other arm of a run: while the firmware crosses the wire, a key is minted, the certificate is issued, and the
// image that carries both is built. Nothing secret leaves the process here: the ledger hears of the certificate before
// anyone else, and the image waits until its exposure is recorded.
#include <fmt/format.h>

#include <algorithm>

#include "image/nvs_crypt.hpp"
#include "io/file.hpp"
#include "recipe/board_image.hpp"
#include "recipe/checks.hpp"
#include "recipe/plan_cloud.hpp"
#include "recipe/plan_images.hpp"
#include "run/board_run.hpp"

namespace espmint {
namespace {

struct BuiltImages {
  std::vector<std::shared_ptr<const PreparedRegion>> regions;
  Md5 md5{};
  Sha256 sha256{};
};

/// Of several regions: over their digests, in the order of the plan.
Md5 one_digest(const std::vector<Md5>& digests) {
  if (digests.size() == 1) return digests.front();
  Bytes all;
  for (const Md5& digest : digests) append(all, digest);
  return md5_of(all);
}

struct ImageInputs {
  const Plan& plan;
  BoardValues values;
  DiskFiles disk;
  std::vector<OnBoard> there;
  std::vector<Secret> fresh_keys;  // one an image
  WriteFormat format;
};

Result<BuiltImages> build_images(const ImageInputs& in) {
  BuiltImages built;
  std::vector<Md5> digests;
  Bytes hashes;
  for (std::size_t i = 0; i < in.plan.images.size(); ++i) {
    TRY(std::vector<BoardRegion> regions,
        build_board_image(in.plan.images[i], in.values, in.disk, in.fresh_keys[i], in.there[i]));
    for (const BoardRegion& region : regions) {
      built.regions.push_back(prepare_secret_region(region.range.at, region.bytes.reveal(), in.format));
      digests.push_back(built.regions.back()->md5);
      built.sha256 = sha256_of(region.bytes.reveal());
      append(hashes, built.sha256);
    }
  }
  built.md5 = one_digest(digests);
  if (digests.size() > 1) built.sha256 = sha256_of(hashes);
  return built;
}

/// The partitions of an image, in the order in which they are written.
std::vector<FlashRange> ranges_of(const ImagePlan& image) {
  std::vector<FlashRange> out;
  if (image.keys_partition) out.push_back(image.keys_partition->range);
  out.push_back(image.partition.range);
  return out;
}

}  // namespace

std::uint64_t BoardRun::identity_bytes() const {
  std::uint64_t bytes = 0;
  for (const auto& image : images_) bytes += image->range.size;
  return bytes;
}

/// What this board's templates stand for, as far as it is known before it gets its identity. A board that has no row
/// or no file is refused here: nothing was written.
Task<Result<void>> BoardRun::gather_values() {
  const Plan& plan = station_.plan;
  values_ = {};
  values_.mac = board_->mac;
  CO_TRY(values_.id, device_id_for(plan.id_template, board_->mac));
  values_.root_ca_pem = station_.cloud.root_ca_pem();
  values_.endpoint = station_.cloud.endpoint();
  if (plan.values) {
    CO_TRY(values_.row, plan.values->row_for(board_->mac, station_.options.serial));
  }
  if (station_.files) {
    auto read = [&plan, this] { return read_disk_files(plan, values_, *station_.files); };
    CO_TRY(disk_, co_await on_pool(station_.pool, std::move(read)));
  }
  if (key_in_image()) {
    auto fields = [&station = station_, number = key_->number] { return station.keys->fields(number); };
    CO_TRY(values_.key_fields, co_await on_pool(station_.ledger_pool, std::move(fields)));
    values_.key_names = station_.keys->names();
  }
  co_return ok();
}

/// Partitions whose content is kept, as the board holds them. Faults where that cannot be read, or no image be built.
Task<Result<void>> BoardRun::read_what_is_there() {
  const Plan& plan = station_.plan;
  there_.clear();
  for (const ImagePlan& image : plan.images) {
    OnBoard there;
    if (image.keep) {
      CO_TRY(there, co_await read_image_on_board(image));
    }
    // What cannot be built is found before anything is written.
    CO_TRY(build_on_trial(plan, image, values_, disk_, there));
    there_.push_back(std::move(there));
  }
  co_return ok();
}

Task<Result<OnBoard>> BoardRun::read_image_on_board(const ImagePlan& image) {
  OnBoard there;
  CO_TRY(there.image, co_await read_proved(image.partition.range));
  if (image.keys_partition) {
    CO_TRY(there.keys, co_await read_proved(image.keys_partition->range));
  }
  co_return there;
}

/// The ROM's way of reading has no digest of its own.
Task<Result<Secret>> BoardRun::read_proved(FlashRange range) {
  CO_TRY(Bytes bytes, co_await read_flash(loader_, range));
  Secret out{std::move(bytes)};
  CO_TRY(Md5 on_board, co_await flash_md5(loader_, range));
  if (md5_of(out.reveal()) == on_board) co_return out;
  Fault fault{Code::reply_damaged, Remedy::reconnect, "what was read of the flash is not what lies there"};
  fault.advice = "Check the cable and the supply";
  co_return fail(std::move(fault));
}

/// One digest of all that carries this board's identity, by the board.
Task<Result<Md5>> BoardRun::identity_on_board() {
  std::vector<Md5> digests;
  for (const ImagePlan& image : station_.plan.images)
    for (const FlashRange& range : ranges_of(image)) {
      CO_TRY(Md5 digest, co_await flash_md5(loader_, range));
      digests.push_back(digest);
    }
  co_return one_digest(digests);
}

/// Firmware writes beside its identity. What of it is not as it was written, in words; nothing where all is.
Task<Result<std::optional<std::string>>> BoardRun::difference_in_place() {
  if (!certificate_) co_return std::optional<std::string>{"the ledger has no certificate for it"};
  CO_TRY(Certificate certificate, parse_certificate(certificate_->der));
  values_.certificate_pem = certificate.pem;
  auto is_its_key = [this](const Secret& pem) {
    auto key = PrivateKey::from_pem(pem);
    return key && key->public_key_der() == certificate_->public_key_der;
  };
  std::optional<std::string> difference;
  const std::vector<ImagePlan>& images = station_.plan.images;
  if (!in_place() && std::ranges::none_of(images, [](const ImagePlan& image) { return image.has_word("private_key"); }))
    co_return std::optional<std::string>{"no image of this recipe carries its key"};
  for (const ImagePlan& image : images) {
    CO_TRY(OnBoard there, co_await read_image_on_board(image));
    if (!difference) difference = difference_on_board(image, values_, disk_, there, is_its_key);
  }
  co_return difference;
}

/// With another plan shared files may be others too; they lie in one image with a key that nobody has any more.
void BoardRun::note_old_files() {
  for (const ImagePlan& image : station_.plan.images) {
    if (noted_old_files_ || image.shared_from.empty()) continue;
    noted_old_files_ = true;
    station_.observer.on_note(
        slot_,
        fmt::format("the files of {} are not updated on a VERIFIED board; --renew writes them with a new identity",
                    image.shared_from));
  }
}

Task<Result<Attempt>> BoardRun::reserve(bool renew) {
  if (station_.backlog) {
    std::optional<Fault> why = co_await station_.backlog->why_not_now();
    if (why) co_return fail(std::move(*why));
  }
  auto ask = [&ledger = station_.ledger, who = who_, id = values_.id, digest = station_.plan.digest,
              quota = station_.plan.quota, renew] { return ledger.reserve(who, id, digest, quota, renew); };
  CO_TRY(Attempt attempt, co_await on_pool(station_.ledger_pool, std::move(ask)));
  outcome_.record.device_id = attempt.device_id;
  co_return attempt;
}

Enrolment BoardRun::enrolment() {
  using Kind = Admission::Kind;
  const bool renews =
      admission_.kind == Kind::verified || admission_.kind == Kind::replan || admission_.kind == Kind::revoked;
  return Enrolment{{station_.cloud, station_.ledger, station_.pool, station_.ledger_pool, station_.clock,
                    [this, renews] { return reserve(renews); },
                    [this](const std::string& sentence) { station_.observer.on_note(slot_, sentence); },
                    [this] { return station_.stopping; }}};
}

Task<Result<void>> BoardRun::make_identity() {
  const Plan& plan = station_.plan;
  if (!plan.has_identity() || keeps_identity_ || exposed_) co_return ok();
  Enrolment with_cloud = enrolment();
  CO_TRY(Minted minted, co_await with_cloud.mint(*key_kind_named(plan.key), attempt_));
  const Certificate& certificate = minted.issued.certificate;
  if (plan.save_private_key) kept_key_ = minted.key_pem.duplicate();

  values_.certificate_pem = certificate.pem;
  values_.private_key_pem = std::move(minted.key_pem);
  values_.id = attempt_->device_id;
  for (const std::string& note : notes_on_long_pem(plan, values_, true)) station_.observer.on_note(slot_, note);
  // The plan outlives every run of its line.
  ImageInputs inputs{
      plan, std::move(values_), disk_, std::move(there_), {}, WriteFormat::of(loader_.speaker(), *board_->chip)};
  for (std::size_t i = 0; i < plan.images.size(); ++i) {
    Bytes random(NvsKeys::bytes);
    station_.entropy.fill(random);
    inputs.fresh_keys.emplace_back(std::move(random));
  }
  auto building = [inputs = std::move(inputs)] { return build_images(inputs); };
  CO_TRY(BuiltImages built, co_await on_pool(station_.pool, std::move(building)));

  CertificateRecord record{certificate.sha256,
                           certificate.serial,
                           certificate.der,
                           certificate.public_key_der,
                           built.md5,
                           built.sha256,
                           std::move(minted.issued.cloud_id)};
  CO_TRY(co_await with_cloud.record(*attempt_, record));
  certificate_ = std::move(record);
  images_ = std::move(built.regions);
  image_md5_ = built.md5;
  if (station_.backlog && station_.cloud.ways().can_wait) station_.backlog->wake();
  co_return co_await with_cloud.enrol(*attempt_, *certificate_);
}

Result<void> BoardRun::save_private_key() {
  if (!station_.plan.save_private_key || kept_key_.empty()) return ok();
  std::filesystem::path folder{station_.options.keep_key_folder};
  TRY(make_folder(folder, true));
  TRY(write_file(folder / (attempt_->device_id + ".private.pem.key"), kept_key_.reveal(), FileMode::owner_only));
  kept_key_ = {};
  return ok();
}

}  // namespace espmint
