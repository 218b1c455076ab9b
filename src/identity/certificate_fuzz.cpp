#include "identity/identity.hpp"

// Any bytes: a fault, or a certificate that says the same of itself when it is read again from its DER and its PEM.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace espmint;
  (void)parse_csr({data, size});
  auto first = parse_certificate({data, size});
  if (!first) {
    if (first.error().code != Code::certificate_invalid) __builtin_trap();
    return 0;
  }
  auto from_der = parse_certificate(first->der);
  auto from_pem = parse_certificate(as_bytes(first->pem));
  if (!from_der || !from_pem || from_der->sha256 != first->sha256 || from_pem->sha256 != first->sha256)
    __builtin_trap();
  (void)is_issued_by(*first, *first);
  return 0;
}
