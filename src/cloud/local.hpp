// cloud/local.hpp: no account and no network: the issuer signs, and the ledger is the whole register.
#pragma once

#include "cloud/cloud.hpp"

namespace espmint {

class LocalCloud final : public Cloud {
 public:
  /// The signer must outlive this. Boards that connect elsewhere, where this CA is known, trust another root and have
  /// the broker's name; else the root is the signer's.
  explicit LocalCloud(Signer& signer, std::string root_ca_pem = {}, std::string endpoint = {})
      : signer_(signer),
        root_ca_pem_(root_ca_pem.empty() ? signer.root().pem : std::move(root_ca_pem)),
        endpoint_(std::move(endpoint)) {}

  [[nodiscard]] std::string_view name() const override { return "local"; }
  [[nodiscard]] const CloudWays& ways() const override { return ways_; }
  Task<Result<Issued>> issue(IssueRequest request) override;
  /// There is nobody to tell: a broker that trusts this CA accepts the certificate since it was signed, and who may
  /// only be VERIFIED boards reads the ledger, which records each step as done; that one is burned stands there, too.
  Task<Result<std::string>> perform(std::string act, CloudSubject subject) override;
  [[nodiscard]] std::string root_ca_pem() const override { return root_ca_pem_; }
  [[nodiscard]] std::string endpoint() const override { return endpoint_; }

 private:
  Signer& signer_;
  std::string root_ca_pem_, endpoint_;
  CloudWays ways_{.enrolment = {{act::enrol}}, .completion = {act::activate}};
};

}  // namespace espmint
