// Whatever was heard, one fault comes out: with a sentence, with advice, with no control byte in it, and bounded.
#include <cstdlib>

#include "rom/boot_log.hpp"
#include "rom/diagnosis.hpp"

using namespace espmint;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  Heard heard;
  heard.could_reset = (data[0] & 1) != 0;
  heard.resets = data[0] >> 1;
  heard.bytes.assign(data + 1, data + size);
  heard.count = heard.bytes.size();
  const Fault fault = diagnose(heard);
  if (fault.remedy != Remedy::refuse || fault.what.empty() || fault.seen.empty() || fault.advice.empty()) std::abort();
  const bool known = met_no_board(fault.code) || fault.code == Code::no_reset_lines;
  if (!known) std::abort();
  const std::string sentence = describe(fault);
  if (sentence.size() > 2000) std::abort();
  for (const char c : sentence)
    if (static_cast<unsigned char>(c) < 0x20) std::abort();

  const BootLog log = parse_boot_log({reinterpret_cast<const char*>(data + 1), size - 1});
  if (log.brown_outs() > log.starts.size() || log.starts.size() > 257) std::abort();
  return 0;
}
