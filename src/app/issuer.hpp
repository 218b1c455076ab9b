// app/issuer.hpp: the cloud that a plan's boards are registered at, with all that it takes to speak with it.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "app/aws_access.hpp"
#include "app/settings.hpp"
#include "cloud/aws/aws_cloud.hpp"
#include "cloud/local.hpp"
#include "identity/local_ca.hpp"

namespace espmint::app {

using Say = std::function<void(const std::string&)>;

/// As the plan's product is marked at AWS, what its things get, and where.
aws::AwsOptions aws_options(const AwsPlan&, const std::string& product);

class Issuer {
 public:
  /// `root_ca`: PEM, by which boards know AWS; of a plan without it empty. Makes the local CA where it is needed and
  /// there is none, and says so. Faults: the CA's, AwsAccess::open's.
  static Result<std::unique_ptr<Issuer>> open(const Settings&, const Plan&, std::string root_ca, const CloudFlags&,
                                              Loop&, Entropy&, const Say&);
  [[nodiscard]] Cloud& cloud() { return *cloud_; }
  /// Whether it is not this machine: what it is told then goes through a backlog.
  [[nodiscard]] bool elsewhere() const { return access_ != nullptr; }
  /// Once, before the first board. A cloud that cannot be reached is no fault where certificates are made here and the
  /// broker's name is known: by the recipe, or `endpoint`, as an earlier line was told it. Faults: the cloud's.
  Task<Result<void>> start(std::string endpoint, Say say);
  [[nodiscard]] AwsAccess* access() { return access_.get(); }

 private:
  std::optional<LocalCa> ca_;
  std::unique_ptr<AwsAccess> access_;
  aws::AwsCloud* aws_ = nullptr;
  std::string endpoint_;  // the recipe's
  std::unique_ptr<Cloud> cloud_;
};

}  // namespace espmint::app
