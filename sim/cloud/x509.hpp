// sim/cloud/x509.hpp: the certificates of the virtual cloud: its own authority, and what it reads of others'.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "base/secret.hpp"
#include "io/clock.hpp"

namespace espmint::sim::iot {

/// What the service looks at.
struct ReadCertificate {
  Bytes der;
  std::string id;             // SHA-256 of the DER, hex
  std::string common_name;    // first CN of the subject; empty: none
  Bytes subject, issuer;      // DER of the names
  Bytes public_key;           // SubjectPublicKeyInfo
  bool key_is_taken = false;  // RSA from 2048 bits, P-256, P-384, P-521
  bool is_authority = false;  // basicConstraints CA:TRUE
  WallTime not_before{}, not_after{};
};
std::optional<ReadCertificate> read_certificate(ByteView der);
/// The first certificate of a PEM text, which may say something around it.
std::optional<ReadCertificate> read_certificate_pem(std::string_view pem);
/// Whether the second one's key signed the first.
bool is_signed_by(const ReadCertificate& child, const ReadCertificate& parent);

struct ReadRequest {
  Bytes subject;  // DER of the name
  bool names_somebody = false;
  Bytes public_key;
};
/// Nothing where it is no PKCS #10 request, its signature is not its own key's, or its key is none that is taken; `why`
/// says which.
std::optional<ReadRequest> read_request_pem(std::string_view pem, std::string& why);

std::string pem_of_certificate(ByteView der);

struct KeyPair {
  std::string public_pem;
  Secret private_pem;
  Bytes public_key;
};
/// RSA, 2048 bits, as the service makes them.
KeyPair make_key_pair();

/// The cloud's certificate authority: P-256; one seed, one key. The real one is RSA.
class CertificateAuthority {
 public:
  explicit CertificateAuthority(std::uint64_t seed, WallTime now);
  ~CertificateAuthority();
  [[nodiscard]] const Bytes& root_der() const { return root_; }
  /// Valid to the end of 2049. `subject`: DER of a name; empty: "AWS IoT Certificate". DER.
  [[nodiscard]] Bytes issue(ByteView public_key, ByteView subject, ByteView serial, WallTime now) const;

 private:
  struct Key;
  std::unique_ptr<Key> key_;
  Bytes root_;
};

}  // namespace espmint::sim::iot
