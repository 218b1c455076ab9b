#include "base/secret.hpp"

#include <openssl/crypto.h>
#include <sys/mman.h>

namespace espmint {

void wipe(ByteSpan bytes) noexcept { OPENSSL_cleanse(bytes.data(), bytes.size()); }

Secret::Secret(Bytes bytes) : bytes_(std::move(bytes)) {
  // Best effort: without the right to lock memory the secret is still wiped, it may only reach swap.
  if (!bytes_.empty()) (void)mlock(bytes_.data(), bytes_.size());
}

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    wipe();
    bytes_ = std::exchange(other.bytes_, {});
  }
  return *this;
}

void Secret::wipe() noexcept {
  if (bytes_.empty()) return;
  espmint::wipe(bytes_);
  (void)munlock(bytes_.data(), bytes_.size());
  bytes_.clear();
}

}  // namespace espmint
