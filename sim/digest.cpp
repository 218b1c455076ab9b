#include "sim/digest.hpp"

namespace espmint::sim {

Bytes digest(const EVP_MD* kind, ByteView bytes) {
  Bytes out(EVP_MAX_MD_SIZE);
  unsigned length = 0;
  EVP_Digest(bytes.data(), bytes.size(), out.data(), &length, kind, nullptr);
  out.resize(length);
  return out;
}

}  // namespace espmint::sim
