// Any path, query and header signs, always the same; a query means the same once it has been encoded as it was read.
#include <cstdlib>

#include "cloud/aws/client.hpp"
#include "cloud/aws/sigv4.hpp"

namespace {

std::string_view line_of(std::string_view text, int number) {
  for (; number > 0; --number) text.remove_prefix(std::min(text.size(), text.find('\n') + 1));
  return text.substr(0, text.find('\n'));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* input, std::size_t size) {
  using namespace espmint;
  using namespace espmint::aws;
  std::string text{as_text({input, size})};
  std::replace(text.begin(), text.end(), '\n', ' ');  // none comes this far: a line of the canonical request is a line
  const std::string_view all = text;
  const std::size_t third = size / 3;
  const std::string_view path = all.substr(0, third), query = all.substr(third, third), value = all.substr(2 * third);
  const SigningKeys keys{"AKIDEXAMPLE", as_bytes("secret"), ""};
  const SigningScope scope{"eu-central-1", "iot", WallTime{std::chrono::seconds{1'790'000'000}}};
  const RequestToSign request{"GET", path, query, {{"host", "h"}, {"x-amzn-principal", std::string{value}}}, value};
  const Signature once = sign(request, keys, scope);
  if (once.hex.size() != 64 || once.hex != sign(request, keys, scope).hex) std::abort();

  const std::string canonical_path{line_of(once.canonical_request, 1)};
  const std::string canonical_query{line_of(once.canonical_request, 2)};
  if (!canonical_path.starts_with('/')) std::abort();
  const RequestToSign again{"GET", path, canonical_query, request.headers, value};
  if (sign(again, keys, scope).hex != once.hex) std::abort();

  const std::string label = encode_label(value);
  for (char c : label)
    if (static_cast<unsigned char>(c) <= ' ' || static_cast<unsigned char>(c) > '~' || c == '/' || c == ':')
      std::abort();
  return 0;
}
