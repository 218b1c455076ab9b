#include "handshake/framed.hpp"

#include <fmt/format.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <array>

#include "base/text.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;
using AnswerKind = FramedAnswer::Kind;

constexpr std::array<std::uint8_t, 4> frame_magic{0xf5, 'E', 'M', 'K'};
constexpr std::uint8_t frame_version = 1;
constexpr std::size_t frame_header = 8, frame_overhead = frame_header + 4;
constexpr Duration ask_again_every = 500ms, frame_pause = 250ms, frame_write_patience = 2s;
constexpr std::size_t most_fields = 16, longest_field = 128, most_values = 16, longest_label = 31;

/// CRC-32 of Ethernet and zlib.
std::uint32_t frame_crc(ByteView bytes) {
  std::uint32_t crc = 0xffff'ffff;
  for (std::uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xedb8'8320u : 0u);
  }
  return ~crc;
}

std::string printable_label(ByteView bytes) {
  std::string out;
  for (std::uint8_t byte : bytes) out += byte >= 0x20 && byte < 0x7f ? static_cast<char>(byte) : '?';
  return out;
}

std::string_view reason_text(std::uint8_t reason) {
  constexpr std::array<std::string_view, 12> texts{"for a reason unknown here",
                                                   "the payload has not the message's form",
                                                   "the message was for another board's MAC",
                                                   "the nonce is not its current one: it was reset in between",
                                                   "it wants another number of fields",
                                                   "a field is empty, too long, or has control characters",
                                                   "it has another key already",
                                                   "it is locked",
                                                   "its storage failed, or gives back something else",
                                                   "it has no key yet",
                                                   "it does not know this type of message",
                                                   "it does not know this version"};
  return texts[reason < texts.size() ? reason : 0];
}

/// Sends `question` until a frame that `take` accepts, or a refusal of it, or the deadline. A frame that take does not
/// accept (an answer to an earlier question, a HELLO) is passed over.
template <typename Take>
Task<Result<FramedAnswer>> ask(Port& port, Clock& clock, FrameType type, const Secret& question, Instant deadline,
                               Take take) {
  FrameDecoder decoder;
  std::array<std::uint8_t, 256> heard{};
  Instant next_send = clock.now(), last_heard = clock.now();
  while (clock.now() < deadline) {
    if (clock.now() >= next_send) {
      next_send = clock.now() + ask_again_every;
      CO_TRY(co_await port.write(question.reveal(), clock.now() + frame_write_patience));
    }
    const Instant pause_over = clock.now() + frame_pause;
    const Instant until = std::min(std::min(next_send, deadline), pause_over);
    CO_TRY(std::size_t count, co_await port.read_some(heard, until));
    if (count > 0) {
      last_heard = clock.now();
    } else if (clock.now() - last_heard >= frame_pause) {
      decoder.give_up_begun();
    }
    decoder.feed(ByteView{heard}.first(count));
    while (std::optional<Frame> frame = decoder.next()) {
      const bool refusal = frame->type == FrameType::refused && frame->payload.size() == 2;
      if (refusal && frame->payload[0] == static_cast<std::uint8_t>(type)) {
        const std::uint8_t reason = frame->payload[1];
        co_return FramedAnswer{
            AnswerKind::refused, reason, fmt::format("the board refused: {}", reason_text(reason)), {}};
      }
      std::optional<FramedAnswer> answer = take(*frame);
      if (answer) co_return std::move(*answer);
    }
  }
  co_return FramedAnswer{AnswerKind::silent, 0, "no answer", {}};
}

Bytes nonce_and_mac(const Nonce& nonce, const Mac& mac) {
  Bytes out;
  append(out, nonce);
  append(out, mac.octets);
  return out;
}

FramedAnswer other_board(const Mac& answered, const Mac& expected) {
  return {AnswerKind::wrong_board,
          0,
          fmt::format("board {} answered, this should be {}", to_string(answered), to_string(expected)),
          {}};
}

Mac mac_at(ByteView payload, std::size_t at) {
  Mac mac;
  std::copy_n(payload.begin() + static_cast<std::ptrdiff_t>(at), mac.octets.size(), mac.octets.begin());
  return mac;
}

/// Asks for a digest until the right one comes. One that is wrong may answer an older question; two are an answer.
Task<Result<FramedAnswer>> ask_digest(Port& port, Clock& clock, FrameType type, FrameType answered_by,
                                      const Secret& question, Sha256 expected, Instant deadline) {
  const FramedAnswer differs{AnswerKind::differs, 0, "the board's digest is not that of this key and nonce", {}};
  int wrong = 0;
  auto take = [&](const Frame& frame) -> std::optional<FramedAnswer> {
    if (frame.type != answered_by || frame.payload.size() != expected.size()) return std::nullopt;
    if (CRYPTO_memcmp(frame.payload.data(), expected.data(), expected.size()) == 0)
      return FramedAnswer{AnswerKind::good, 0, {}, {}};
    return ++wrong < 2 ? std::nullopt : std::optional{differs};
  };
  CO_TRY(FramedAnswer answer, co_await ask(port, clock, type, question, deadline, take));
  if (answer.kind == AnswerKind::silent && wrong > 0) co_return differs;
  co_return answer;
}

Secret key_frame(const Nonce& nonce, const Mac& mac, std::span<const Secret> fields) {
  std::size_t size = nonce.size() + mac.octets.size() + 1;
  for (const Secret& field : fields) size += 1 + field.reveal().size();
  Bytes payload;
  payload.reserve(size);  // grows no further: no copy of the key stays behind
  append(payload, nonce);
  append(payload, mac.octets);
  payload.push_back(static_cast<std::uint8_t>(fields.size()));
  for (const Secret& field : fields) {
    payload.push_back(static_cast<std::uint8_t>(field.reveal().size()));
    append(payload, field.reveal());
  }
  const Secret held{std::move(payload)};
  return Secret{encode_frame(FrameType::key, held.reveal())};
}

std::optional<FramedAnswer> parse_values(const Frame& frame) {
  if (frame.type != FrameType::values || frame.payload.empty() || frame.payload[0] > most_values) return std::nullopt;
  FramedAnswer answer{AnswerKind::good, 0, {}, {}};
  ByteView rest = ByteView{frame.payload}.subspan(1);
  for (int i = 0; i < frame.payload[0]; ++i) {
    const std::size_t length = rest.empty() ? 0 : rest[0];
    if (length > longest_label || rest.size() < 1 + length + 4) return std::nullopt;
    answer.values.emplace_back(printable_label(rest.subspan(1, length)),
                               static_cast<std::int32_t>(get_u32(rest, 1 + length)));
    rest = rest.subspan(1 + length + 4);
  }
  return rest.empty() ? std::optional{std::move(answer)} : std::nullopt;
}

}  // namespace

Bytes encode_frame(FrameType type, ByteView payload) {
  Bytes frame;
  frame.reserve(frame_overhead + payload.size());
  append(frame, frame_magic);
  frame.push_back(frame_version);
  frame.push_back(static_cast<std::uint8_t>(type));
  put_u16(frame, static_cast<std::uint16_t>(payload.size()));
  append(frame, payload);
  put_u32(frame, frame_crc(ByteView{frame}.subspan(frame_magic.size())));
  return frame;
}

void FrameDecoder::feed(ByteView bytes) {
  if (buffer_.empty()) {
    const auto begin = std::find(bytes.begin(), bytes.end(), frame_magic.front());
    bytes = bytes.subspan(static_cast<std::size_t>(begin - bytes.begin()));
  }
  append(buffer_, bytes);
}

std::optional<Frame> FrameDecoder::next() {
  std::optional<Frame> frame;
  std::size_t at = 0;
  for (; at < buffer_.size(); ++at) {
    ByteView rest = ByteView{buffer_}.subspan(at);
    const std::size_t known = std::min(rest.size(), frame_magic.size());
    if (!std::equal(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(known), frame_magic.begin())) continue;
    const bool has_header = rest.size() >= frame_header;
    const std::size_t length = has_header ? get_u16(rest, 6) : 0;
    if (has_header && (rest[4] != frame_version || length > longest_frame_payload)) continue;
    if (!has_header || rest.size() < frame_overhead + length) {
      if (given_up_) continue;
      break;  // more is to come
    }
    ByteView covered = rest.subspan(frame_magic.size(), frame_header - frame_magic.size() + length);
    if (frame_crc(covered) != get_u32(rest, frame_header + length)) continue;
    ByteView payload = rest.subspan(frame_header, length);
    frame = Frame{static_cast<FrameType>(rest[5]), Bytes{payload.begin(), payload.end()}};
    at += frame_overhead + length;
    break;
  }
  buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(at));
  if (!frame) given_up_ = false;
  return frame;
}

std::optional<BoardHello> parse_hello(ByteView payload) {
  constexpr std::size_t fixed = 10;  // protocol, MAC, state, fields, length of the version
  if (payload.size() < fixed || payload[0] != frame_version || payload[7] > 2) return std::nullopt;
  if (payload[9] > longest_label || payload.size() != fixed + payload[9]) return std::nullopt;
  return BoardHello{mac_at(payload, 1), static_cast<BoardState>(payload[7]), payload[8],
                    printable_label(payload.subspan(fixed))};
}

Sha256 key_digest(const Nonce& nonce, const Mac& mac, std::span<const Secret> fields) {
  Bytes message = nonce_and_mac(nonce, mac);
  std::size_t size = message.size();
  for (const Secret& field : fields) size += 1 + field.reveal().size();
  message.reserve(size);
  for (const Secret& field : fields) {
    message.push_back(static_cast<std::uint8_t>(field.reveal().size()));
    append(message, field.reveal());
  }
  const Secret held{std::move(message)};
  return sha256_of(held.reveal());
}

Task<Result<std::optional<BoardHello>>> hail(Port& port, Clock& clock, Instant deadline) {
  const Secret question{encode_frame(FrameType::hail, {})};
  std::optional<BoardHello> hello;
  auto take = [&](const Frame& frame) -> std::optional<FramedAnswer> {
    if (frame.type == FrameType::hello) hello = parse_hello(frame.payload);
    return hello ? std::optional{FramedAnswer{AnswerKind::good, 0, {}, {}}} : std::nullopt;
  };
  CO_TRY(co_await ask(port, clock, FrameType::hail, question, deadline, take));
  co_return hello;
}

Task<Result<FramedAnswer>> challenge_board(Port& port, Clock& clock, const Mac& mac, const Nonce& nonce,
                                           Instant deadline) {
  const Secret question{encode_frame(FrameType::challenge, nonce)};
  auto take = [&](const Frame& frame) -> std::optional<FramedAnswer> {
    if (frame.type != FrameType::echo || frame.payload.size() != 6 + nonce.size() + 1) return std::nullopt;
    // An echo of another nonce was for somebody else.
    if (!std::equal(nonce.begin(), nonce.end(), frame.payload.begin() + 6)) return std::nullopt;
    const Mac answered = mac_at(frame.payload, 0);
    return answered == mac ? FramedAnswer{AnswerKind::good, 0, {}, {}} : other_board(answered, mac);
  };
  co_return co_await ask(port, clock, FrameType::challenge, question, deadline, take);
}

Result<void> check_framed_key(std::span<const Secret> fields) {
  auto refused = [](std::string what) {
    return fail({Code::input_invalid, Remedy::refuse, std::move(what), {}, {}, "correct the row of the keys"});
  };
  if (fields.empty() || fields.size() > most_fields)
    return refused(fmt::format("a key has {} fields; 1 to {} are possible", fields.size(), most_fields));
  for (std::size_t i = 0; i < fields.size(); ++i) {
    ByteView field = fields[i].reveal();
    if (field.empty() || field.size() > longest_field)
      return refused(
          fmt::format("field {} of a key has {} bytes; 1 to {} are possible", i + 1, field.size(), longest_field));
    if (std::any_of(field.begin(), field.end(), [](std::uint8_t byte) { return byte < 0x20 || byte == 0x7f; }))
      return refused(fmt::format("field {} of a key has a control character in it", i + 1));
  }
  return ok();
}

Task<Result<FramedAnswer>> give_key(Port& port, Clock& clock, const Mac& mac, const Nonce& nonce,
                                    std::span<const Secret> fields, Instant deadline) {
  CO_TRY(check_framed_key(fields));
  const Secret question = key_frame(nonce, mac, fields);
  const Sha256 expected = key_digest(nonce, mac, fields);
  for (int wrong = 0;;) {
    // Before each sending: while an answer was waited for, the board may have become another.
    CO_TRY(FramedAnswer there, co_await challenge_board(port, clock, mac, nonce, deadline));
    if (there.kind != AnswerKind::good) co_return there;
    const Instant sent_once = std::min(deadline, clock.now() + ask_again_every);
    CO_TRY(FramedAnswer stored,
           co_await ask_digest(port, clock, FrameType::key, FrameType::stored, question, expected, sent_once));
    const bool may_be_old = stored.kind == AnswerKind::differs && ++wrong < 2;
    const bool unheard = stored.kind == AnswerKind::silent || may_be_old;
    if (!unheard || clock.now() >= deadline) co_return stored;
  }
}

Task<Result<FramedAnswer>> read_back(Port& port, Clock& clock, const Mac& mac, const Nonce& nonce,
                                     std::span<const Secret> fields, Instant deadline) {
  CO_TRY(check_framed_key(fields));
  const Secret question{encode_frame(FrameType::readback, nonce)};
  const Sha256 expected = key_digest(nonce, mac, fields);
  co_return co_await ask_digest(port, clock, FrameType::readback, FrameType::digest, question, expected, deadline);
}

Task<Result<FramedAnswer>> read_digest(Port& port, Clock& clock, const Nonce& nonce, Instant deadline) {
  const Secret question{encode_frame(FrameType::readback, nonce)};
  auto take = [](const Frame& frame) -> std::optional<FramedAnswer> {
    FramedAnswer answer{AnswerKind::good, 0, {}, {}};
    if (frame.type != FrameType::digest || frame.payload.size() != answer.digest.size()) return std::nullopt;
    std::copy(frame.payload.begin(), frame.payload.end(), answer.digest.begin());
    return answer;
  };
  co_return co_await ask(port, clock, FrameType::readback, question, deadline, take);
}

Task<Result<FramedAnswer>> self_test(Port& port, Clock& clock, Instant deadline) {
  const Secret question{encode_frame(FrameType::selftest, {})};
  auto take = [](const Frame& frame) { return parse_values(frame); };
  co_return co_await ask(port, clock, FrameType::selftest, question, deadline, take);
}

Task<Result<FramedAnswer>> lock_board(Port& port, Clock& clock, const Mac& mac, const Nonce& nonce, Instant deadline) {
  CO_TRY(FramedAnswer there, co_await challenge_board(port, clock, mac, nonce, deadline));
  if (there.kind != AnswerKind::good) co_return there;
  const Secret question{encode_frame(FrameType::lock, nonce_and_mac(nonce, mac))};
  auto take = [&](const Frame& frame) -> std::optional<FramedAnswer> {
    if (frame.type != FrameType::locked || frame.payload.size() != 6) return std::nullopt;
    const Mac answered = mac_at(frame.payload, 0);
    return answered == mac ? FramedAnswer{AnswerKind::good, 0, {}, {}} : other_board(answered, mac);
  };
  co_return co_await ask(port, clock, FrameType::lock, question, deadline, take);
}

}  // namespace espmint
