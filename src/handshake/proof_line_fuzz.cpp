#include "handshake/challenge.hpp"

// Any bytes are a line or none; what parses is bounded and checked against a key without harm.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace espmint;
  auto proof = parse_proof_line(as_text({data, size}));
  if (!proof) return 0;
  if (size > longest_proof_line || proof->signature.empty()) __builtin_trap();
  // The generator of P-256 as a public key: a valid point that nobody signs with.
  static const Bytes key = *from_hex(
      "3059301306072a8648ce3d020106082a8648ce3d030107034200046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d8"
      "98"
      "c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5");
  (void)proves(*proof, proof->mac, Nonce{}, key);
  return 0;
}
