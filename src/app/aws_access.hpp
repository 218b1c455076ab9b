// app/aws_access.hpp: a signed way to AWS IoT for a command: settings, keys, connections.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "cloud/aws/settings.hpp"
#include "cloud/aws/signing_client.hpp"
#include "recipe/plan.hpp"

namespace espmint::app {

/// What the command line says of the cloud; wins over the recipe.
struct CloudFlags {
  std::string endpoint_url, region, profile;
  bool i_know = false;                                           // policies that the linter refuses
  std::map<std::string, std::string> environment;                // variables that win over the process's own
  std::function<std::unique_ptr<HttpClient>(Clock&)> connect{};  // to a cloud within this process; none: by the network
};

class AwsAccess {
 public:
  /// Faults: credentials_missing, cloud_unreachable. Nothing is asked over the network yet.
  static Result<std::unique_ptr<AwsAccess>> open(const AwsPlan&, const CloudFlags&, Loop&, Entropy&);
  [[nodiscard]] aws::SigningClient& client() { return *client_; }
  [[nodiscard]] aws::CredentialSource& credentials() { return *credentials_; }
  [[nodiscard]] const aws::Settings& settings() const { return settings_; }

 private:
  aws::Settings settings_;
  std::unique_ptr<HttpClient> http_, metadata_;
  std::unique_ptr<aws::CredentialSource> credentials_;
  std::unique_ptr<aws::SigningClient> client_;
};

}  // namespace espmint::app
