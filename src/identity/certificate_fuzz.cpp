#include "identity/identity.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto certificate = espmint::parse_certificate({data, size});
  if (certificate && certificate->der.empty()) __builtin_trap();
  return 0;
}
