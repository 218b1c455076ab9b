// cloud/cloud.hpp: whoever has to know a device: asked for its certificate before, told that it is real after.
#pragma once

#include <string>

#include "identity/identity.hpp"
#include "io/task.hpp"

namespace espmint {

class Cloud {
 public:
  virtual ~Cloud() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;  // "local", as recipes write it
  /// Issues the device's certificate, not yet usable (INACTIVE). The certificate's key is the request's: checked here.
  /// Faults: certificate_invalid, cloud_failed (reconcile: it may have happened).
  virtual Task<Result<Certificate>> enrol(std::string device_id, Bytes csr_der, Bytes serial) = 0;
  /// Makes it usable, once the board is VERIFIED.
  virtual Task<Result<void>> activate(std::string device_id, Sha256 certificate) = 0;
  /// What the device trusts its servers by, PEM.
  [[nodiscard]] virtual std::string root_ca_pem() const = 0;
};

}  // namespace espmint
