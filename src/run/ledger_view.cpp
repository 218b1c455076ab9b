#include "run/ledger_view.hpp"

#include <array>
#include <charconv>
#include <set>

namespace espmint {
namespace {

using Standing = aws::LedgerCertificate::Standing;

Standing standing_of(KeyState state) {
  if (state == KeyState::verified) return Standing::verified;
  return state == KeyState::available ? Standing::burned : Standing::under_way;
}

/// "2026-11-21T08:15:30Z", as records write a moment.
std::optional<WallTime> parse_moment(std::string_view text) {
  constexpr std::array<std::pair<std::size_t, std::size_t>, 6> fields{
      {{0, 4}, {5, 2}, {8, 2}, {11, 2}, {14, 2}, {17, 2}}};
  std::array<int, fields.size()> numbers{};
  if (text.size() != 20 || text.back() != 'Z') return std::nullopt;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const char* from = text.data() + fields[i].first;
    const char* to = from + fields[i].second;
    if (auto [end, error] = std::from_chars(from, to, numbers[i]); error != std::errc{} || end != to)
      return std::nullopt;
  }
  const std::chrono::year_month_day day{std::chrono::year{numbers[0]},
                                        std::chrono::month{static_cast<unsigned>(numbers[1])},
                                        std::chrono::day{static_cast<unsigned>(numbers[2])}};
  if (!day.ok()) return std::nullopt;
  return std::chrono::sys_days{day} + std::chrono::hours{numbers[3]} + std::chrono::minutes{numbers[4]} +
         std::chrono::seconds{numbers[5]};
}

}  // namespace

Result<aws::LedgerView> ledger_view(Ledger& ledger) {
  aws::LedgerView view;
  std::set<std::string> were_verified;
  TRY(std::vector<KnownCertificate> certificates, ledger.certificates());
  for (KnownCertificate& known : certificates) {
    if (known.was_verified) were_verified.insert(known.attempt.device_id);
    view.certificates.push_back({known.attempt.device_id, standing_of(known.state), known.sha256,
                                 std::move(known.cloud_id), known.waits, known.may_be_on_board, known.public_key_sha256,
                                 parse_moment(known.answered)});
  }
  TRY(std::vector<UnansweredIssue> unanswered, ledger.unanswered_issues());
  for (const UnansweredIssue& issue : unanswered) {
    // Of a key that the cloud was to make nothing is known by which a certificate could be found.
    if (issue.public_key_sha256)
      view.lost.push_back({issue.attempt.device_id, *issue.public_key_sha256, parse_moment(issue.since)});
  }
  TRY(std::vector<RetiredCertificate> retired, ledger.retired_certificates());
  for (RetiredCertificate& one : retired) view.retired.push_back({std::move(one.device_id), std::move(one.id)});
  TRY(std::vector<DeviceRecord> devices, ledger.devices());
  for (const DeviceRecord& device : devices)
    if (!device.id.empty())
      view.devices.push_back({device.id, device.state != KeyState::available || were_verified.contains(device.id)});
  return view;
}

}  // namespace espmint
