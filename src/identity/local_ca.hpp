// identity/local_ca.hpp: a CA of one's own in a folder: ca.key.pem (0600) and ca.cert.pem. The default issuer.
#pragma once

#include <filesystem>
#include <memory>

#include "identity/identity.hpp"

struct x509_st;

namespace espmint {

class LocalCa final : public Signer {
 public:
  /// Makes a P-256 root, valid from `now` for 30 years; refuses a folder that holds one. `name` is its CN. A key alone
  /// is what an interrupted init leaves: it gets its certificate. Faults: ca_invalid, key_failed, output_unwritable,
  /// disk_full.
  static Result<LocalCa> init(const std::filesystem::path& folder, std::string_view name, WallTime now);
  /// Faults: ca_missing, ca_invalid (key and certificate do not belong together, key readable by others, expired, one
  /// of the two files gone). A notBefore that lies ahead is no fault: it says more about this machine's clock.
  static Result<LocalCa> open(const std::filesystem::path& folder, WallTime now);

  /// Leaves run from the CA's notBefore to the CA's notAfter, so that a wrong clock makes no dead boards.
  Result<Certificate> sign(const CertificateRequest&, ByteView serial) override;
  [[nodiscard]] const Certificate& root() const override { return root_; }

 private:
  LocalCa(PrivateKey key, Certificate root, std::shared_ptr<x509_st> issuer)
      : key_(std::move(key)), root_(std::move(root)), issuer_(std::move(issuer)) {}
  PrivateKey key_;
  Certificate root_;
  std::shared_ptr<x509_st> issuer_;  // root_, as OpenSSL holds it: parsed once, not for every leaf
};

}  // namespace espmint
