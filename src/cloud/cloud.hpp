// cloud/cloud.hpp: where boards are registered: each step from values to values. What was asked and what came of it is
// remembered by the ledger alone, so a step can be asked about or finished by another process later.
#pragma once

#include "base/hash.hpp"
#include "identity/identity.hpp"
#include "io/task.hpp"

namespace espmint {

class Cloud {
 public:
  virtual ~Cloud() = default;
  /// As recipes write it: "local".
  [[nodiscard]] virtual std::string_view name() const = 0;
  /// A certificate for the request, INACTIVE until the board is VERIFIED; its key is the request's, checked. Never
  /// repeated blindly: two calls may make two certificates. Faults: certificate_invalid, key_failed; remedy reconcile where it may have happened.
  virtual Task<Result<Certificate>> enrol(std::string device_id, Bytes csr_der, Bytes serial) = 0;
  /// From now on the certificate is accepted. Asking twice does no harm.
  virtual Task<Result<void>> activate(std::string device_id, Sha256 certificate) = 0;
  /// From now on the certificate is refused: another one has taken its place. Asking twice does no harm.
  virtual Task<Result<void>> revoke(std::string device_id, Sha256 certificate) = 0;
  /// What the firmware trusts the broker by; PEM.
  [[nodiscard]] virtual std::string root_ca_pem() const = 0;
};

/// The request, when it is whole and names the device. Before the signature and not only after it: what was signed for
/// the wrong name would exist. Fault certificate_invalid (stop_line).
Result<CertificateRequest> request_for(std::string_view device_id, ByteView csr_der);
/// Whether an issuer's answer is for what was asked: the certificate's key is the request's. Stand-ins for clouds are
/// known that answer with another key. Fault certificate_invalid (stop_line).
Result<void> check_answer(const Certificate& answer, const CertificateRequest&);

}  // namespace espmint
