// sim/cloud/iot.hpp: a virtual AWS IoT control plane: one account, one region, in memory. It checks every signature,
// name, limit and permission, and knows nothing of the product: written from AWS's documents (docs/virtual-cloud.md).
//   Iot cloud{clock, {.seed = 7}};
//   TRY(cloud.faults().add("cut-after=0.05"));
//   auto http = connect_to(cloud, clock, {.latency = 200ms});     sim/cloud/link.hpp
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "io/clock.hpp"
#include "io/http.hpp"
#include "sim/cloud/account.hpp"
#include "sim/cloud/faults.hpp"
#include "sim/cloud/signature.hpp"

namespace espmint::sim {

struct IotOptions {
  std::string region = "eu-central-1";
  std::string account = "123456789012";
  std::uint64_t seed = 1;  // of names, serials, keys and faults
  iot::Delays delays{};
  std::string endpoint{};  // of the broker; empty: a name of the usual shape that nobody has
};

/// Somebody who may call.
struct IotUser {
  AccessKey key;
  std::string name;
  iot::PolicyStatements permissions;
};

/// What came of a request; nothing: no reply.
struct IotDelivery {
  Mishap mishap = Mishap::none;
  std::optional<HttpReply> reply;
};

struct CallCount {
  std::uint64_t received = 0;                     // with a good signature and permission, whatever became of them
  std::uint64_t effective = 0;                    // answered with 2xx inside, whether the reply was seen or not
  std::map<std::string, std::uint64_t> errors{};  // by type
};

class Iot {
 public:
  Iot(const Clock&, IotOptions);
  Iot(const Iot&) = delete;
  Iot& operator=(const Iot&) = delete;

  /// The request as the network and the service treat it, with whatever goes wrong on the way.
  IotDelivery deliver(const CloudRequest&);
  /// The service alone.
  HttpReply answer(const CloudRequest&);

  [[nodiscard]] const std::string& region() const { return account_.region; }
  /// "https://iot.eu-central-1.amazonaws.com", where connect_to listens.
  [[nodiscard]] std::string url() const;
  [[nodiscard]] CloudFaults& faults() { return faults_; }
  [[nodiscard]] iot::Account& account() { return account_; }

  /// May do everything.
  [[nodiscard]] const IotUser& admin() const { return *users_[0]; }
  /// May do what a station needs: no policies made or deleted, nothing deleted.
  [[nodiscard]] const IotUser& station() const { return *users_[1]; }
  /// One more, with the rights that an IAM policy document gives. Fault input_invalid.
  Result<IotUser*> add_user(std::string name, std::string_view iam_policy);

  /// Whether a device may: action "iot:Connect" (topic: empty), "iot:Publish", "iot:Receive" or "iot:Subscribe" (topic:
  /// a filter), connected under this client id with this certificate. Thing variables have values where the client id
  /// is the name of a thing that the certificate is attached to.
  [[nodiscard]] bool allowed(const std::string& certificate_id, const std::string& client_id, std::string_view action,
                             std::string_view topic = {});
  /// What a broker trusts the devices by.
  [[nodiscard]] std::string root_ca_pem() const;

  /// By operation; "" of requests that were refused at the door or are no operation.
  [[nodiscard]] const std::map<std::string, CallCount, std::less<>>& calls() const { return calls_; }
  [[nodiscard]] std::uint64_t calls_of(std::string_view operation) const;
  /// Everything, for tests: things, certificates, policies, types, groups, calls. No keys.
  [[nodiscard]] nlohmann::json state();

 private:
  struct Route;
  static const std::vector<Route>& routes();
  static const Route* route_of(const CloudRequest&, std::vector<std::string>& labels);
  std::optional<iot::Outcome> refusal_of(const Route&, const IotUser&, const iot::Ask&,
                                         const std::vector<std::string>& labels);
  HttpReply refuse(std::string operation, int status, std::string error, std::string message);
  HttpReply reply_of(const iot::Outcome&);
  [[nodiscard]] WallTime wall() const { return clock_.wall() + faults_.skew; }

  const Clock& clock_;
  iot::Account account_;
  CloudFaults faults_;
  std::vector<std::unique_ptr<IotUser>> users_;
  std::map<std::string, CallCount, std::less<>> calls_;
  std::uint64_t replies_ = 0;
};

}  // namespace espmint::sim
