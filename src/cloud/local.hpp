// cloud/local.hpp: no account, no network: a CA of one's own issues, and the ledger is the registry.
#pragma once

#include "cloud/cloud.hpp"

namespace espmint {

class LocalCloud final : public Cloud {
 public:
  explicit LocalCloud(Signer& signer) : signer_(signer) {}
  [[nodiscard]] std::string_view name() const override { return "local"; }
  Task<Result<Certificate>> enrol(std::string device_id, Bytes csr_der, Bytes serial) override;
  /// Nothing to switch on: a broker trusts the CA and asks the ledger, where VERIFIED is the activation.
  Task<Result<void>> activate(std::string device_id, Sha256 certificate) override;
  [[nodiscard]] std::string root_ca_pem() const override { return signer_.root().pem; }

 private:
  Signer& signer_;
};

}  // namespace espmint
