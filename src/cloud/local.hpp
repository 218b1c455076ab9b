// cloud/local.hpp: no account and no network: the issuer signs, and the ledger is the whole register.
#pragma once

#include "cloud/cloud.hpp"

namespace espmint {

class LocalCloud final : public Cloud {
 public:
  /// The signer must outlive this.
  explicit LocalCloud(Signer& signer) : signer_(signer) {}

  [[nodiscard]] std::string_view name() const override { return "local"; }
  Task<Result<Certificate>> enrol(std::string device_id, Bytes csr_der, Bytes serial) override;
  /// There is nobody to tell: a broker that trusts this CA accepts the certificate since it was signed, and who may
  /// only be VERIFIED boards reads the ledger, which records this step as done.
  Task<Result<void>> activate(std::string device_id, Sha256 certificate) override;
  /// Likewise: the ledger says BURNED.
  Task<Result<void>> revoke(std::string device_id, Sha256 certificate) override;
  [[nodiscard]] std::string root_ca_pem() const override { return signer_.root().pem; }

 private:
  Signer& signer_;
};

}  // namespace espmint
