// handshake/challenge.hpp: the running firmware proves that it holds the key from its own flash.
// Bytes on the line: docs/formats/challenge.md.
#pragma once

#include <array>

#include "base/mac.hpp"
#include "base/secret.hpp"
#include "io/port.hpp"

namespace espmint {

using Nonce = std::array<std::uint8_t, 16>;

/// "espmint-challenge <32 hex>\n"
std::string challenge_line(const Nonce&);
/// A line as the firmware prints it: at most so many bytes; of a longer one the rest is dropped, and it proves nothing.
inline constexpr std::size_t longest_proof_line = 512;
/// The proof in `line` when it holds one at all ("espmint-proof <mac> <base64 DER>"); any bytes in. What stands before
/// it (noise, a logger's prefix) and a carriage return or colour code behind it do not matter.
struct ProofLine {
  Mac mac;
  Bytes signature;  // DER ECDSA-Sig-Value, or the raw RSA-PSS signature
};
std::optional<ProofLine> parse_proof_line(std::string_view line);
/// "espmint-v1" ‖ 6 octets of MAC ‖ nonce: what the board signs (ECDSA-SHA-256, or RSA-PSS with SHA-256, salt 32).
Bytes challenge_message(const Mac&, const Nonce&);
/// Whether `proof` is `mac`'s answer to `nonce` by the key whose SubjectPublicKeyInfo (DER) is given.
bool proves(const ProofLine& proof, const Mac& mac, const Nonce& nonce, ByteView public_key_der);

struct ChallengeOutcome {
  enum class Kind { proved, wrong, silent } kind = Kind::silent;
  std::string seen;      // what was answered instead, or the last line it printed; printable ASCII, short
  std::string boot_log;  // what the board printed meanwhile, the last 4 KiB; printable ASCII and newlines
};
/// Sends the challenge to the application and again every 250 ms until it answers or the deadline passes. A board that
/// prints a boot log but never answers is `silent`: most firmware does not know the challenge. `wrong` after the second
/// wrong proof, or at the deadline after one: a byte damaged on the line condemns no board. Only the port's faults.
Task<Result<ChallengeOutcome>> challenge(Port&, Clock&, const Mac&, const Nonce&, Bytes public_key_der,
                                         Instant deadline);

}  // namespace espmint
