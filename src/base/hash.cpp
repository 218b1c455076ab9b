#include "base/hash.hpp"

#include <openssl/evp.h>

#include <cstdlib>
#include <memory>

namespace espmint {
namespace {

template <typename Digest>
Digest digest_of(const EVP_MD* algorithm, std::initializer_list<ByteView> pieces) {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{EVP_MD_CTX_new(), &EVP_MD_CTX_free};
  Digest out{};
  bool good = context && EVP_DigestInit_ex(context.get(), algorithm, nullptr) == 1;
  for (ByteView piece : pieces) good = good && EVP_DigestUpdate(context.get(), piece.data(), piece.size()) == 1;
  good = good && EVP_DigestFinal_ex(context.get(), out.data(), nullptr) == 1;
  if (!good) std::abort();  // no memory, or an OpenSSL without these digests: nothing here may go on without them
  return out;
}

}  // namespace

// Fetched once: the implicit fetch of EVP_md5() costs more than hashing a small block.
Md5 md5_of(ByteView bytes) {
  static EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "MD5", nullptr);
  return digest_of<Md5>(algorithm, {bytes});
}
Sha256 sha256_of(std::initializer_list<ByteView> pieces) {
  static EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return digest_of<Sha256>(algorithm, pieces);
}
Sha256 sha256_of(ByteView bytes) { return sha256_of({bytes}); }

}  // namespace espmint
