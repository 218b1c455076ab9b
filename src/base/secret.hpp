// base/secret.hpp: bytes that nobody may see: moved, never copied or printed, wiped at their end.
#pragma once

#include <utility>

#include "base/bytes.hpp"

namespace espmint {

/// Holds key material in locked memory where the system allows. There is no conversion to text and no stream operator:
/// whoever needs the bytes says `reveal()` and answers for where they go.
class Secret {
 public:
  Secret() = default;
  explicit Secret(Bytes bytes);
  Secret(Secret&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  Secret& operator=(Secret&& other) noexcept;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret() { wipe(); }

  [[nodiscard]] ByteView reveal() const { return bytes_; }
  [[nodiscard]] bool empty() const { return bytes_.empty(); }
  /// A second holder of the same bytes, for the few places that need one; grep for it.
  [[nodiscard]] Secret duplicate() const { return Secret{bytes_}; }

 private:
  void wipe() noexcept;
  Bytes bytes_;
};

/// Overwrites memory in a way the compiler may not leave out.
void wipe(ByteSpan bytes) noexcept;

}  // namespace espmint
