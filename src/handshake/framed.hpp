// handshake/framed.hpp: the framed hand-shake of our own firmware, the station's side. Bytes:
// docs/formats/handshake.md.
//   hail() or listen() (line_dialect.hpp) → who is there; challenge_board() → it is this board; give_key() → stored, by
//   its own word; reset; read_back() with a new nonce → the evidence.
// Every question may be asked again: a lost answer is asked for by repeating it, a damaged frame is no frame.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/hash.hpp"
#include "base/mac.hpp"
#include "base/secret.hpp"
#include "handshake/challenge.hpp"
#include "io/port.hpp"

namespace espmint {

enum class FrameType : std::uint8_t {
  hail = 0x10,
  challenge = 0x11,
  key = 0x12,
  readback = 0x13,
  selftest = 0x14,
  lock = 0x15,
  hello = 0x90,
  echo = 0x91,
  stored = 0x92,
  digest = 0x93,
  values = 0x94,
  locked = 0x95,
  refused = 0xff,
};
struct Frame {
  FrameType type{};
  Bytes payload;
};
inline constexpr std::size_t longest_frame_payload = 2087;  // bytes
/// `payload`: at most longest_frame_payload bytes.
Bytes encode_frame(FrameType, ByteView payload);

/// Finds frames among log lines and noise; any bytes. Holds at most one frame's bytes beyond what was fed at once.
class FrameDecoder {
 public:
  /// Keeps nothing of bytes in which no frame can have begun: they may be values that old firmware prints.
  void feed(ByteView bytes);
  /// The next whole frame of version 1 with its checksum right, if there is one.
  std::optional<Frame> next();
  /// After a pause within a frame: what has begun will not end; later bytes of it may hold a frame.
  void give_up_begun() { given_up_ = true; }

 private:
  Bytes buffer_;
  bool given_up_ = false;
};

enum class BoardState : std::uint8_t { unprovisioned = 0, provisioned = 1, locked = 2 };
struct BoardHello {
  Mac mac;
  BoardState state{};
  std::uint8_t fields_wanted = 0;
  std::string firmware;  // printable ASCII
};
/// Nothing unless it is one of protocol 1, whole.
std::optional<BoardHello> parse_hello(ByteView payload);
/// SHA-256(nonce ‖ MAC ‖ length1 ‖ field1 ‖ …): what a board answers that stores exactly these.
Sha256 key_digest(const Nonce&, const Mac&, std::span<const Secret> fields);

/// Why a board refuses: numbers of docs/formats/handshake.md, those that a station acts on.
namespace refusal {
inline constexpr std::uint8_t other_mac = 2, other_nonce = 3, another_key = 6, no_key = 9, unknown_type = 10;
}

/// How a question ended.
struct FramedAnswer {
  enum class Kind {
    good,
    differs,      // the digest is not that of these fields and this nonce
    wrong_board,  // another MAC answered; no key was sent
    refused,      // `reason` says why
    silent,
  } kind = Kind::silent;
  std::uint8_t reason = 0;                                   // of a refusal: docs/formats/handshake.md
  std::string seen;                                          // for a person; never a secret
  std::vector<std::pair<std::string, std::int32_t>> values;  // of a self-test
  Sha256 digest{};                                           // of read_digest()
};
/// Asks who is there, again every 500 ms; nothing at the deadline. Faults of all: the port's.
Task<Result<std::optional<BoardHello>>> hail(Port&, Clock&, Instant deadline);
/// The board that is there is `mac`, and awake now: it echoes the nonce. Sends nothing secret.
Task<Result<FramedAnswer>> challenge_board(Port&, Clock&, const Mac& mac, const Nonce& nonce, Instant deadline);
/// Whether give_key() can send these: fault input_invalid (refuse) when not.
Result<void> check_framed_key(std::span<const Secret> fields);
/// Challenges the board, and only when `mac` echoes `nonce` sends the key; good when it answers STORED with the right
/// digest. That is its word: the evidence is read_back() after a reset. Fault input_invalid (refuse): not 1 to 16
/// fields of 1 to 128 bytes without control characters.
Task<Result<FramedAnswer>> give_key(Port&, Clock&, const Mac& mac, const Nonce& nonce, std::span<const Secret> fields,
                                    Instant deadline);
/// Whether the board's storage gives back these fields; `nonce` must be new.
Task<Result<FramedAnswer>> read_back(Port&, Clock&, const Mac&, const Nonce&, std::span<const Secret> fields,
                                     Instant deadline);
/// The digest over whatever the board's storage holds, for a board with a key that nobody knows yet.
Task<Result<FramedAnswer>> read_digest(Port&, Clock&, const Nonce&, Instant deadline);
Task<Result<FramedAnswer>> self_test(Port&, Clock&, Instant deadline);
/// Challenges with `nonce`, then locks: the board takes no key ever after. Cannot be undone.
Task<Result<FramedAnswer>> lock_board(Port&, Clock&, const Mac&, const Nonce&, Instant deadline);

}  // namespace espmint
