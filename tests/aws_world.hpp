// tests/aws_world.hpp: a virtual AWS account, a station that talks to it, and an admin beside it, on one virtual clock.
//   AwsWorld world{bench.loop};
//   bench.cloud = &world.cloud();
//   bench.run(…);
//   EXPECT_EQ(world.doctor(bench.ledger()).left, 0);
#pragma once

#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>

#include "cloud/aws/aws_cloud.hpp"
#include "cloud/aws/policy.hpp"
#include "cloud/aws/setup.hpp"
#include "cloud/aws/signing_client.hpp"
#include "cloud/aws/survey.hpp"
#include "io/entropy.hpp"
#include "io/loop.hpp"
#include "io/run_task.hpp"
#include "run/ledger_view.hpp"
#include "sim/cloud/iot.hpp"
#include "sim/cloud/link.hpp"

namespace espmint {

/// A user's keys, which never change.
class FixedKeys final : public aws::CredentialSource {
 public:
  explicit FixedKeys(const sim::IotUser& user)
      : keys_{user.key.id, Secret{to_bytes(user.key.secret)}, {}, {}, "the test's user " + user.name} {}
  Task<Result<aws::Credentials>> get() override { co_return keys_.duplicate(); }

 private:
  aws::Credentials keys_;
};

/// Numbers of its own, so that boards' keys do not depend on how often a call was tried.
class DiceEntropy final : public Entropy {
 public:
  explicit DiceEntropy(std::uint64_t seed) : dice_(seed) {}
  void fill(ByteSpan out) override {
    for (std::uint8_t& byte : out) byte = static_cast<std::uint8_t>(dice_.below(256));
  }

 private:
  sim::Dice dice_;
};

/// What a process has of the account: it ends with the process.
struct AwsDoor {
  AwsDoor(sim::Iot& account, Clock& clock, const sim::IotUser& user, Duration latency, std::uint64_t seed)
      : http(sim::connect_to(account, clock, {latency})),
        keys(user),
        entropy(seed),
        client(*http, keys, clock, entropy, {account.region(), *aws::parse_endpoint(account.url())}) {}

  std::unique_ptr<HttpClient> http;
  FixedKeys keys;
  DiceEntropy entropy;
  aws::SigningClient client;
};

struct AwsWorldOptions {
  std::uint64_t seed = 1;
  Duration latency = std::chrono::milliseconds{200};
  aws::Issuance issuance = aws::Issuance::csr;
  Signer* signer = nullptr;  // of own-ca
  aws::Attributes attributes{{"owner", "hello@iotready.co"}};
  std::vector<std::string> groups{};  // made by the test before start()
  bool adopt = false;
  std::string station_rights{};  // an IAM policy; empty: what a station needs
  nlohmann::json saved{};        // of an account that was before; null: a new one
};

/// What came of `doctor --fix`, and of one more look.
struct Doctored {
  std::vector<aws::Finding> before, after;
  aws::FixReport fixed;
  [[nodiscard]] std::size_t left() const {
    return static_cast<std::size_t>(
        std::count_if(after.begin(), after.end(), [](const auto& one) { return one.may_fix; }));
  }
};

inline std::string words_of(const std::vector<aws::Finding>& findings) {
  std::string out;
  for (const aws::Finding& one : findings)
    out += std::string{name_of(one.difference)} + (one.may_fix ? "* " : " ") + one.device_id + ": " + one.what + "\n";
  return out;
}

/// Where a test ends that cannot go on.
template <typename T>
T value_of(Result<T> result) {
  if (!result) throw std::runtime_error(describe(result.error()));
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

class AwsWorld {
 public:
  static constexpr std::string_view policy = "thermostat-board", thing_type = "thermostat", product = "thermostat";

  explicit AwsWorld(VirtualLoop& loop, AwsWorldOptions options = {})
      : account(loop, {.seed = options.seed}),
        loop_(loop),
        options_(std::move(options)),
        admin_(account, loop, account.admin(), options_.latency, 17) {
    if (!options_.saved.is_null() && !sim::iot::restore_account(account.account(), options_.saved))
      throw std::runtime_error("the account does not come back");
    const aws::SetupRequest shared{std::string{policy}, value_of(aws::build_policy({std::string{product}})), false,
                                   std::string{thing_type}};
    aws::Iot iot{admin_.client};
    value_of(run_task(loop_, aws::set_up(iot, shared)));
    restart();
  }

  /// A new process: what its clients remembered is gone.
  void restart() {
    const sim::IotUser* user = &account.station();
    if (!options_.station_rights.empty())
      user = value_of(account.add_user("line-" + std::to_string(++users_), options_.station_rights));
    door_.emplace(account, loop_, *user, options_.latency, options_.seed);
    aws::AwsOptions how;
    how.issuance = options_.issuance;
    how.policy_name = policy;
    how.thing_type = thing_type;
    how.attributes = options_.attributes;
    how.groups = options_.groups;
    how.adopt = options_.adopt;
    how.product = product;
    how.root_ca_pem = account.root_ca_pem();
    cloud_.emplace(door_->client, options_.signer, std::move(how));
    started = run_task(loop_, cloud_->start());
  }

  /// The admin's.
  Doctored doctor(Ledger& ledger) {
    aws::Iot iot{admin_.client};
    Doctored out;
    out.before = findings(ledger);
    out.fixed = value_of(run_task(loop_, aws::fix(iot, loop_, out.before)));
    // What was detached is shown for some seconds more.
    loop_.run([](VirtualLoop& clock) -> Task<> { co_await clock.sleep_for(std::chrono::seconds{10}); }(loop_));
    out.after = findings(ledger);
    return out;
  }
  std::vector<aws::Finding> findings(Ledger& ledger) {
    aws::Iot iot{admin_.client};
    const aws::LedgerView known = value_of(ledger_view(ledger));
    const aws::SurveyOptions options{std::string{product}, std::string{policy}};
    const aws::CloudView there = value_of(run_task(loop_, aws::read_cloud(iot, known, options)));
    return aws::compare(known, there, options);
  }

  aws::AwsCloud& cloud() { return *cloud_; }
  aws::SigningClient& client() { return door_->client; }
  aws::SigningClient& admin() { return admin_.client; }
  AwsWorldOptions& options() { return options_; }

  // With the account's own eyes.
  const sim::iot::DeviceCertificate* certificate(const Sha256& der) {
    account.account().settle(loop_.now());
    for (const auto& [id, one] : account.account().certificates)
      if (sha256_of(one.der) == der) return &one;
    return nullptr;
  }
  const sim::iot::Thing* thing(const std::string& name) {
    account.account().settle(loop_.now());
    auto at = account.account().things.find(name);
    return at == account.account().things.end() ? nullptr : &at->second;
  }
  /// Calls that the service carried out or answered, since the last time this was asked.
  std::map<std::string, std::uint64_t> calls_since() {
    std::map<std::string, std::uint64_t> now, out;
    for (const auto& [operation, count] : account.calls()) now[operation] = count.received;
    for (const auto& [operation, count] : now)
      if (count != counted_[operation]) out[operation] = count - counted_[operation];
    counted_ = std::move(now);
    return out;
  }

  sim::Iot account;
  Result<void> started = ok();  // what came of AwsCloud::start

 private:
  VirtualLoop& loop_;
  AwsWorldOptions options_;
  AwsDoor admin_;
  std::optional<AwsDoor> door_;
  std::optional<aws::AwsCloud> cloud_;
  std::map<std::string, std::uint64_t> counted_;
  int users_ = 0;
};

/// What is wrong in the account, by the ledger and by the account itself: survey.hpp is not asked.
inline std::vector<std::string> wrongs_in(sim::Iot& account, Ledger& ledger, Instant now, std::string_view policy,
                                          const std::set<Sha256>& foreign = {}) {
  std::vector<std::string> out;
  account.account().settle(now);
  const std::vector<KnownCertificate> all = value_of(ledger.certificates());
  std::map<Sha256, const KnownCertificate*> known;
  std::set<std::string> being_renewed;  // EXPOSED or WRITTEN: the board may still have the certificate before
  for (const KnownCertificate& one : all) {
    known.emplace(one.sha256, &one);
    if (one.state == KeyState::exposed || one.state == KeyState::written) being_renewed.insert(one.attempt.device_id);
  }
  std::set<Sha256> seen;
  for (const auto& [id, there] : account.account().certificates) {
    const Sha256 digest = sha256_of(there.der);
    if (foreign.contains(digest)) continue;
    seen.insert(digest);
    const bool is_active = there.status == "ACTIVE";
    auto at = known.find(digest);
    if (at == known.end()) {
      out.push_back(id + (is_active ? ", ACTIVE," : "") + " is nobody's");
      continue;
    }
    const KnownCertificate& one = *at->second;
    const std::string& device = one.attempt.device_id;
    if (one.state == KeyState::verified) {
      if (!is_active) out.push_back(device + " is VERIFIED, its certificate " + there.status);
      if (there.things != std::set<std::string>{device})
        out.push_back(device + "'s certificate is not its thing's alone");
      if (there.policies != std::set<std::string>{std::string{policy}})
        out.push_back(device + "'s certificate has not the one policy");
    } else if (one.state == KeyState::available) {
      if (!(one.was_verified && being_renewed.contains(device)))
        out.push_back(device + ": a BURNED certificate is there, " + there.status);
    } else if (is_active) {
      out.push_back(device + " is " + std::string{name_of(one.state)} + ", its certificate ACTIVE");
    }
  }
  std::map<std::string, bool> keeps_thing;
  for (const KnownCertificate& one : all)
    keeps_thing[one.attempt.device_id] |= one.was_verified || one.state != KeyState::available;
  for (const auto& [name, thing] : account.account().things)
    if (auto at = keeps_thing.find(name);
        at != keeps_thing.end() && !at->second && thing.attributes.contains("espmint") && thing.version == 1)
      out.push_back("the thing " + name + " is nobody's");
  for (const KnownCertificate& one : all)
    if (one.state == KeyState::verified && !seen.contains(one.sha256))
      out.push_back(one.attempt.device_id + " is VERIFIED, its certificate not there");
  return out;
}

inline std::uint64_t total(const std::map<std::string, std::uint64_t>& calls) {
  std::uint64_t out = 0;
  for (const auto& [operation, count] : calls) out += count;
  return out;
}

}  // namespace espmint
