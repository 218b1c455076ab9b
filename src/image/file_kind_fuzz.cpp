#include "image/file_kind.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  espmint::FileKind kind = espmint::file_kind_of({data, size});
  bool nameless = espmint::title_of(kind).empty();
  if (nameless != (kind == espmint::FileKind::unknown)) __builtin_trap();
  return 0;
}
