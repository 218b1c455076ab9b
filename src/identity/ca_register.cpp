#include "identity/ca_register.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/base64.hpp"
#include "base/text.hpp"
#include "base/units.hpp"

namespace espmint {
namespace {

namespace fs = std::filesystem;
using OrderedJson = nlohmann::ordered_json;

constexpr std::string_view revoked_name = "revoked.jsonl", issued_name = "issued.jsonl", lock_name = "register.lock";
constexpr ByteCount longest_register = 64_MiB;
constexpr std::size_t longest_line = 128 * 1024;

Fault line_fault(std::size_t number, std::string why) {
  Fault fault{Code::ca_invalid, Remedy::refuse, fmt::format("line {} of a record of the CA cannot be read", number)};
  fault.seen = std::move(why);
  fault.advice = "restore the file from your backup: what cannot be read may be what keeps a board out";
  return fault;
}

/// One line's object, with text behind every key that was asked for.
class Line {
 public:
  static Result<Line> parse(std::string_view text, std::size_t number) {
    Line line;
    line.json_ = OrderedJson::parse(text, nullptr, false);
    if (text.size() > longest_line || !line.json_.is_object() || line.json_.value("v", OrderedJson{}) != 1)
      return fail(line_fault(number, "no JSON object with \"v\":1"));
    return line;
  }
  /// Empty where it is no text; at most 100 kB.
  [[nodiscard]] std::string text(const char* key) const {
    auto found = json_.find(key);
    return found != json_.end() && found->is_string() ? found->get<std::string>() : std::string{};
  }
  [[nodiscard]] std::optional<Sha256> digest(const char* key) const {
    auto bytes = from_hex(text(key));
    Sha256 out{};
    if (!bytes || bytes->size() != out.size()) return std::nullopt;
    std::copy(bytes->begin(), bytes->end(), out.begin());
    return out;
  }

 private:
  OrderedJson json_;
};

/// Every line through `read`, which gets the object and the number. The last one needs its end too: without it the file
/// was cut.
template <typename Entry, typename Read>
Result<std::vector<Entry>> parse_lines(ByteView bytes, Read read) {
  std::vector<Entry> out;
  std::string_view rest = as_text(bytes);
  for (std::size_t number = 1; !rest.empty(); ++number) {
    std::size_t end = rest.find('\n');
    if (end == std::string_view::npos) return fail(line_fault(number, "it has no end: the file was cut"));
    TRY(Line line, Line::parse(rest.substr(0, end), number));
    TRY(Entry entry, read(line, number));
    out.push_back(std::move(entry));
    rest.remove_prefix(end + 1);
  }
  return out;
}

Result<Revocation> read_revocation(const Line& line, std::size_t number) {
  Revocation out;
  auto certificate = line.digest("certificate_sha256");
  auto when = parse_moment(line.text("revoked"));
  auto reason = revocation_reason_named(line.text("reason"));
  out.serial = line.text("serial");
  auto serial = from_hex(out.serial);
  if (!certificate || !when || !reason || !serial || serial->empty() || serial->size() > 20)
    return fail(line_fault(number, "certificate_sha256, serial, revoked or reason is missing or wrong"));
  out.certificate = *certificate;
  out.id = line.text("id");
  out.when = *when;
  out.reason = *reason;
  return out;
}

Result<HandIssue> read_issue(const Line& line, std::size_t number) {
  auto der = from_base64(line.text("certificate"));
  auto when = parse_moment(line.text("issued"));
  if (!der || !when) return fail(line_fault(number, "certificate or issued is missing or wrong"));
  auto certificate = parse_certificate(*der);
  if (!certificate) return fail(line_fault(number, certificate.error().what));
  return HandIssue{std::move(*certificate), *when, line.text("for") == "server"};
}

/// Empty where there is none yet.
Result<Bytes> read_register(const fs::path& path) {
  auto bytes = read_file(path, longest_register);
  if (bytes) return bytes;
  if (bytes.error().code == Code::input_missing) return Bytes{};
  bytes.error().code = Code::ca_invalid;
  return bytes;
}

/// Old content or new, never half, which a plain append could leave behind.
Result<void> append_line(const fs::path& path, const std::string& line) {
  TRY(Bytes before, read_register(path));
  const std::array<ByteView, 2> pieces{ByteView{before}, as_bytes(line)};
  return write_file(path, pieces);
}

/// Earlier times and given reasons win over later ones of the same serial.
std::vector<RevokedCertificate> merged(const std::vector<Revocation>& revocations,
                                       const std::vector<RevokedCertificate>& also) {
  std::map<std::string, RevokedCertificate> by_serial;
  for (const Revocation& one : revocations)
    by_serial.emplace(one.serial, RevokedCertificate{one.serial, one.when, one.reason});
  for (const RevokedCertificate& one : also) by_serial.emplace(one.serial, one);
  std::vector<RevokedCertificate> out;
  for (auto& [serial, one] : by_serial) out.push_back(std::move(one));
  return out;
}

}  // namespace

std::optional<WallTime> parse_moment(std::string_view text) {
  constexpr std::string_view form = "dddd-dd-ddTdd:dd:ddZ";
  if (text.size() != form.size()) return std::nullopt;
  for (std::size_t i = 0; i < form.size(); ++i) {
    bool is_digit = text[i] >= '0' && text[i] <= '9';
    if (form[i] == 'd' ? !is_digit : text[i] != form[i]) return std::nullopt;
  }
  auto number = [text](std::size_t at, std::size_t digits) {
    int value = 0;
    for (char c : text.substr(at, digits)) value = value * 10 + (c - '0');
    return value;
  };
  std::chrono::year_month_day day{std::chrono::year{number(0, 4)},
                                  std::chrono::month{static_cast<unsigned>(number(5, 2))},
                                  std::chrono::day{static_cast<unsigned>(number(8, 2))}};
  int hour = number(11, 2), minute = number(14, 2), second = number(17, 2);
  if (!day.ok() || hour > 23 || minute > 59 || second > 59) return std::nullopt;
  return std::chrono::sys_days{day} + std::chrono::hours{hour} + std::chrono::minutes{minute} +
         std::chrono::seconds{second};
}

Result<std::vector<Revocation>> parse_revocations(ByteView bytes) {
  return parse_lines<Revocation>(bytes, read_revocation);
}
Result<std::vector<HandIssue>> parse_hand_issues(ByteView bytes) { return parse_lines<HandIssue>(bytes, read_issue); }

std::string encode_line(const Revocation& one) {
  OrderedJson json{{"v", 1},
                   {"certificate_sha256", to_hex(one.certificate)},
                   {"serial", one.serial},
                   {"id", one.id},
                   {"revoked", to_string(one.when)},
                   {"reason", name_of(one.reason)}};
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

std::string encode_line(const HandIssue& one) {
  OrderedJson json{{"v", 1},
                   {"certificate_sha256", to_hex(one.certificate.sha256)},
                   {"serial", one.certificate.serial},
                   {"id", one.certificate.common_name},
                   {"for", one.server ? "server" : "board"},
                   {"issued", to_string(one.when)},
                   {"certificate", to_base64(one.certificate.der)}};
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

Result<CaRegister> CaRegister::open(const fs::path& folder, const std::string& holder) {
  TRY(FileLock lock, FileLock::wait_for(folder / lock_name, holder, std::chrono::seconds{20}));
  CaRegister out{folder, std::move(lock)};
  TRY(Bytes revoked, read_register(folder / revoked_name));
  TRY(out.revocations_, in_input(parse_revocations(revoked), (folder / revoked_name).string()));
  TRY(Bytes issued, read_register(folder / issued_name));
  TRY(out.issues_, in_input(parse_hand_issues(issued), (folder / issued_name).string()));
  return out;
}

const Revocation* CaRegister::revocation_of(const Sha256& certificate) const {
  for (const Revocation& one : revocations_)
    if (one.certificate == certificate) return &one;
  return nullptr;
}

Result<void> CaRegister::add(Revocation one) {
  TRY(append_line(folder_ / revoked_name, encode_line(one)));
  revocations_.push_back(std::move(one));
  return ok();
}

Result<void> CaRegister::add(HandIssue one) {
  TRY(append_line(folder_ / issued_name, encode_line(one)));
  issues_.push_back(std::move(one));
  return ok();
}

Result<Crl> CaRegister::write_crl(const LocalCa& ca, const CrlWish& wish, WallTime now) {
  CrlText text{merged(revocations_, wish.also), static_cast<std::uint64_t>(now.time_since_epoch().count()), now,
               now + wish.valid, wish.url};
  if (auto last = read_file(crl_file(), longest_register)) {
    auto before = parse_crl(*last);  // one that cannot be read is only replaced: the register says what is revoked
    if (before && is_signed_by(*before, ca.root())) {
      if (before->this_update > now) {
        Fault fault{Code::clock_backwards, Remedy::refuse,
                    "this machine's clock is earlier than the last revocation list"};
        fault.where.input = crl_file().string();
        fault.seen = fmt::format("last list {}, now {}", to_string(before->this_update), to_string(now));
        fault.advice = "set the clock: brokers would take the older list for the newer one";
        return fail(std::move(fault));
      }
      text.number = std::max(text.number, before->number + 1);
    }
  }
  TRY(Crl crl, ca.sign_crl(text));
  TRY(write_file(crl_file(), as_bytes(crl.pem)));
  return crl;
}

}  // namespace espmint
