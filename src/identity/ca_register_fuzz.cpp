#include "identity/ca_register.hpp"

// Any bytes: a fault, or lines that are read back as they were written.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace espmint;
  ByteView bytes{data, size};
  if (auto revoked = parse_revocations(bytes))
    for (const Revocation& one : *revoked)
      if (auto again = parse_revocations(as_bytes(encode_line(one)));
          !again || (*again)[0].certificate != one.certificate)
        __builtin_trap();
  if (auto issued = parse_hand_issues(bytes))
    for (const HandIssue& one : *issued)
      if (auto again = parse_hand_issues(as_bytes(encode_line(one)));
          !again || (*again)[0].certificate.sha256 != one.certificate.sha256)
        __builtin_trap();
  if (auto crl = parse_crl(bytes); crl && !parse_crl(crl->der)) __builtin_trap();
  return 0;
}
