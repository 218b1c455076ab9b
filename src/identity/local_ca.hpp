// identity/local_ca.hpp: a CA of one's own in a folder: ca.key.pem (0600) and ca.cert.pem. The default issuer. Where a
// file crl-url.txt lies beside them (one line), what is minted from then on names that place for its revocation list.
#pragma once

#include <filesystem>
#include <memory>

#include "identity/crl.hpp"

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
  /// For the broker that the boards of this CA meet: a server's certificate; the CN is its host name or address.
  Result<Certificate> sign_server(const CertificateRequest&, ByteView serial);
  /// Faults: certificate_invalid (a serial that is none), key_failed.
  [[nodiscard]] Result<Crl> sign_crl(const CrlText&) const;
  [[nodiscard]] const Certificate& root() const override { return root_; }
  /// Of crl-url.txt; empty where there is none.
  [[nodiscard]] const std::string& crl_url() const { return crl_url_; }

 private:
  LocalCa(PrivateKey key, Certificate root, std::shared_ptr<x509_st> issuer, std::string crl_url)
      : key_(std::move(key)), root_(std::move(root)), issuer_(std::move(issuer)), crl_url_(std::move(crl_url)) {}
  Result<Certificate> sign_as(const CertificateRequest&, ByteView serial, const std::string& server);
  PrivateKey key_;
  Certificate root_;
  std::shared_ptr<x509_st> issuer_;  // root_, as OpenSSL holds it: parsed once, not for every leaf
  std::string crl_url_;
};

}  // namespace espmint
