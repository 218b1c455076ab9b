#include "sim/cloud/faults.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/text.hpp"

namespace espmint::sim {
namespace {

struct MishapRow {
  Mishap mishap;
  std::string_view name;
};
constexpr std::array mishap_rows{
    MishapRow{Mishap::refuse, "refuse"},
    MishapRow{Mishap::cut_before, "cut-before"},
    MishapRow{Mishap::cut_after, "cut-after"},
    MishapRow{Mishap::error, "error"},
    MishapRow{Mishap::error_after, "error-after"},
    MishapRow{Mishap::unavailable, "unavailable"},
    MishapRow{Mishap::throttle, "throttle"},
    MishapRow{Mishap::garbage, "garbage"},
    MishapRow{Mishap::portal, "portal"},
    MishapRow{Mishap::late, "late"},
    MishapRow{Mishap::twice, "twice"},
};

/// Calls a second, by account and region. Source: AWS General Reference, AWS IoT Core endpoints and quotas, where
/// known; 10 stands for those that are not.
struct QuotaRow {
  std::string_view operation;
  double a_second;
};
constexpr std::array usual_quotas{
    QuotaRow{"AttachPolicy", 15},
    QuotaRow{"DetachPolicy", 15},
    QuotaRow{"CreateCertificateFromCsr", 15},
    QuotaRow{"CreateThing", 100},
    QuotaRow{"UpdateThing", 100},
    QuotaRow{"DeleteThing", 100},
    QuotaRow{"DescribeThing", 350},
    QuotaRow{"DescribeThingType", 100},
    QuotaRow{"DescribeThingGroup", 100},
    QuotaRow{"AttachThingPrincipal", 100},
    QuotaRow{"DetachThingPrincipal", 100},
    QuotaRow{"AddThingToThingGroup", 100},
};
constexpr double other_quota = 10;

std::optional<double> parse_decimal(std::string_view text) {
  double value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Instant seconds_after(Instant start, double seconds) {
  return start + std::chrono::nanoseconds{static_cast<std::int64_t>(seconds * 1e9)};
}

}  // namespace

std::string_view name_of(Mishap mishap) {
  auto at =
      std::find_if(mishap_rows.begin(), mishap_rows.end(), [&](const MishapRow& row) { return row.mishap == mishap; });
  return at == mishap_rows.end() ? std::string_view{} : at->name;
}

std::optional<Mishap> mishap_named(std::string_view name) {
  auto at =
      std::find_if(mishap_rows.begin(), mishap_rows.end(), [&](const MishapRow& row) { return row.name == name; });
  return at == mishap_rows.end() ? std::nullopt : std::optional{at->mishap};
}

Result<void> CloudFaults::add(std::string_view text, Instant now) {
  auto refuse = [&] {
    std::string known;
    for (const MishapRow& row : mishap_rows) known += fmt::format("{}{}", known.empty() ? "" : ", ", row.name);
    return fail(
        {.code = Code::usage,
         .remedy = Remedy::refuse,
         .what = fmt::format("\"{}\" is no fault of the virtual cloud", text),
         .advice = "write cut-after=0.05, cut-after@2, cut-after@2:CreateThing, rate=10, rate=aws, outage=60..120, "
                   "late-by=2000 or skew=-600; known: " +
                   known});
  };
  if (text == "none") {
    *this = CloudFaults{dice_.roll()};
    return ok();
  }
  auto sign = text.find_first_of("=@");
  if (sign == std::string_view::npos) return refuse();
  std::string_view word = text.substr(0, sign), rest = text.substr(sign + 1);
  std::string_view operation;
  if (auto colon = rest.find(':'); colon != std::string_view::npos) {
    operation = rest.substr(colon + 1);
    rest = rest.substr(0, colon);
  }
  if (word == "rate" && rest == "aws") {
    usual_rates_ = true;
    return ok();
  }
  if (word == "outage") {
    auto dots = rest.find("..");
    auto from = parse_decimal(rest.substr(0, dots));
    auto until = dots == std::string_view::npos ? std::nullopt : parse_decimal(rest.substr(dots + 2));
    if (!from || !until || *from > *until) return refuse();
    outages_.push_back({seconds_after(now, *from), seconds_after(now, *until)});
    return ok();
  }
  auto number = parse_decimal(rest);
  if (!number) return refuse();
  if (word == "skew") {
    skew = std::chrono::seconds{static_cast<std::int64_t>(*number)};
    return ok();
  }
  if (*number < 0) return refuse();
  if (word == "late-by") {
    late_by = std::chrono::milliseconds{static_cast<std::int64_t>(*number)};
    return ok();
  }
  if (word == "rate") {
    if (operation.empty())
      rate_ = *number;
    else
      rates_[std::string{operation}] = *number;
    return ok();
  }
  auto mishap = mishap_named(word);
  if (!mishap) return refuse();
  bool is_script = text[sign] == '@';
  if (is_script ? *number < 1 : *number > 1) return refuse();
  chances_.push_back(
      {*mishap, is_script ? 0 : *number, is_script ? static_cast<std::uint64_t>(*number) : 0, std::string{operation}});
  return ok();
}

Mishap CloudFaults::next(std::string_view operation, Instant now) {
  for (const Outage& outage : outages_)
    if (now >= outage.from && now < outage.until) return Mishap::refuse;
  Mishap out = Mishap::none;
  for (Chance& chance : chances_) {
    if (!chance.operation.empty() && chance.operation != operation) continue;
    ++chance.seen;
    constexpr double fine = 1e9;
    bool comes = chance.each != 0
                     ? chance.seen % chance.each == 0
                     : static_cast<double>(dice_.below(static_cast<std::uint64_t>(fine))) < chance.share * fine;
    if (comes && out == Mishap::none) out = chance.mishap;
  }
  return out;
}

double CloudFaults::rate_of(std::string_view operation) const {
  if (auto at = rates_.find(operation); at != rates_.end()) return at->second;
  if (rate_ > 0) return rate_;
  if (!usual_rates_) return 0;
  auto at = std::find_if(usual_quotas.begin(), usual_quotas.end(),
                         [&](const QuotaRow& row) { return row.operation == operation; });
  return at == usual_quotas.end() ? other_quota : at->a_second;
}

bool CloudFaults::take(std::string_view operation, Instant now) {
  double rate = rate_of(operation);
  if (rate <= 0) return true;
  auto at = buckets_.find(operation);
  if (at == buckets_.end()) at = buckets_.emplace(operation, Bucket{}).first;
  Bucket& bucket = at->second;
  double most = std::max(rate, 1.0);
  double passed = std::chrono::duration<double>(now - bucket.filled).count();
  bucket.tokens = bucket.used ? std::min(most, bucket.tokens + passed * rate) : most;
  bucket.filled = now;
  bucket.used = true;
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  return true;
}

}  // namespace espmint::sim
