// Whatever a file of AWS's settings holds: it is read or refused, every value lies in the text, no title or key is
// twice.
#include <cstdlib>
#include <set>

#include "cloud/aws/ini.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* input, std::size_t size) {
  using namespace espmint;
  using namespace espmint::aws;
  const auto ini = Ini::parse(Secret{Bytes(input, input + size)}, "config");
  if (!ini) return 0;
  const std::string_view text = as_text({input, size});
  std::set<std::string> titles;
  for (const Ini::Section& section : ini->sections()) {
    if (section.title.empty() || !titles.insert(section.title).second) std::abort();
    std::set<std::string> keys;
    for (const Ini::Entry& entry : section.entries) {
      if (entry.key.empty() || !keys.insert(entry.key).second) std::abort();
      if (text.find(entry.value) == std::string_view::npos) std::abort();
      const auto value = value_of(&section, entry.key);
      if (value && (value->empty() || value->size() > entry.value.size())) std::abort();
    }
  }
  return 0;
}
