// The other arm of a run: while the firmware crosses the wire, a key is minted, the certificate is issued, and the image
// that carries both is built. Nothing secret leaves the process here: the ledger hears of the certificate before anyone
// else, and the image waits until its exposure is recorded.
#include <fmt/format.h>

#include "image/spiffs.hpp"
#include "io/file.hpp"
#include "recipe/identity_files.hpp"
#include "run/board_run.hpp"

namespace espmint {
namespace {

struct Minted {
  Secret key_pem;
  Bytes csr, serial;
};

Result<Minted> mint(KeyKind kind, const std::string& device_id) {
  TRY(PrivateKey key, mint_key(kind));
  Minted minted;
  TRY(minted.csr, build_csr(key, device_id));
  TRY(minted.serial, mint_serial());
  TRY(minted.key_pem, key.pem());
  return minted;
}

struct BuiltImage {
  std::shared_ptr<const PreparedRegion> region;
  Sha256 sha256{};
};

Result<BuiltImage> build_image(const IdentityPlan& plan, const IdentityValues& values, const WriteFormat& format) {
  TRY(std::vector<IdentityFileContent> files, identity_files(plan, values));
  std::vector<FileView> views;
  for (const IdentityFileContent& file : files) views.push_back({file.path, file.content.reveal()});
  TRY(Bytes image, build_spiffs(plan.partition.range.size, plan.geometry, views));
  BuiltImage built{prepare_secret_region(plan.partition.range.at, image, format), sha256_of(image)};
  wipe(image);
  return built;
}

}  // namespace

Task<Result<void>> BoardRun::make_identity() {
  const Plan& plan = station_.plan;
  if (!plan.identity || keeps_identity_ || exposed_) co_return ok();
  std::string id = attempt_->device_id;
  auto minting = [kind = *key_kind_named(plan.key), id] { return mint(kind, id); };
  CO_TRY(Minted minted, co_await on_pool(station_.pool, std::move(minting)));
  CO_TRY(Certificate certificate, co_await station_.cloud.enrol(id, std::move(minted.csr), std::move(minted.serial)));
  if (plan.save_private_key) kept_key_ = minted.key_pem.duplicate();

  IdentityValues values{certificate.pem, std::move(minted.key_pem), station_.cloud.root_ca_pem(), id, board_->mac};
  // The plan outlives every run of its line.
  auto building = [identity = &*plan.identity, values = std::move(values),
                   format = WriteFormat::of(loader_.speaker(), *board_->chip)] { return build_image(*identity, values, format); };
  CO_TRY(BuiltImage built, co_await on_pool(station_.pool, std::move(building)));

  CertificateRecord record{certificate.sha256, certificate.serial, certificate.der, certificate.public_key_der,
                           built.region->md5, built.sha256};
  auto keep = [&ledger = station_.ledger, attempt = *attempt_, record] {
    // The local CA enrols by issuing: its intent is settled with the certificate that it made.
    return ledger.together([&]() -> Result<void> {
      TRY(ledger.record_certificate(attempt, record));
      return ledger.settle(attempt, "enrol", "done");
    });
  };
  CO_TRY(co_await on_pool(station_.ledger_pool, std::move(keep)));
  certificate_ = std::move(record);
  image_ = std::move(built.region);
  co_return ok();
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
