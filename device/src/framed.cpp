// The framed dialect: frames out of bytes, and what each of them asks for.
#include <cstring>

#include "frame.hpp"
#include "hashes.hpp"

namespace espmint::device {
namespace {

std::size_t u16_at(const std::uint8_t* bytes) { return bytes[0] | static_cast<std::size_t>(bytes[1]) << 8; }

std::uint32_t u32_at(const std::uint8_t* bytes) {
  return static_cast<std::uint32_t>(bytes[0]) | static_cast<std::uint32_t>(bytes[1]) << 8 |
         static_cast<std::uint32_t>(bytes[2]) << 16 | static_cast<std::uint32_t>(bytes[3]) << 24;
}

std::size_t length_of(const char* text) {
  std::size_t length = std::strlen(text);
  return length < max_name_bytes ? length : max_name_bytes;
}

/// A frame on its way out. The longest is VALUES.
class Frame {
 public:
  explicit Frame(std::uint8_t type) {
    add(frame_magic, sizeof frame_magic);
    add(protocol_version);
    add(type);
    add(0);  // length, known at the end
    add(0);
  }
  void add(std::uint8_t byte) {
    if (size_ < sizeof bytes_ - crc_bytes) bytes_[size_++] = byte;
  }
  void add(const std::uint8_t* bytes, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) add(bytes[i]);
  }
  void add_text(const char* text) {
    std::size_t length = length_of(text);
    add(static_cast<std::uint8_t>(length));
    add(reinterpret_cast<const std::uint8_t*>(text), length);
  }
  void add_i32(std::int32_t value) {
    auto bits = static_cast<std::uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) add(static_cast<std::uint8_t>(bits >> shift));
  }
  void send_to(SerialLine& line) {
    std::size_t payload = size_ - frame_header_bytes;
    bytes_[6] = static_cast<std::uint8_t>(payload);
    bytes_[7] = static_cast<std::uint8_t>(payload >> 8);
    std::uint32_t crc = crc32(bytes_ + sizeof frame_magic, size_ - sizeof frame_magic);
    for (int shift = 0; shift < 32; shift += 8) bytes_[size_++] = static_cast<std::uint8_t>(crc >> shift);
    line.write({bytes_, size_});
  }

 private:
  static constexpr std::size_t longest = 1 + max_selftest_values * (1 + max_name_bytes + 4);
  std::size_t size_ = 0;
  std::uint8_t bytes_[frame_header_bytes + longest + crc_bytes] = {};
};

}  // namespace

/// Handles each whole frame in the buffer; what cannot begin one is dropped, what might stays at the front.
void Provisioner::frame_bytes() {
  std::size_t at = 0;
  while (at < used_) {
    std::size_t left = used_ - at;
    const std::uint8_t* frame = buffer_ + at;
    std::size_t magic = left < sizeof frame_magic ? left : sizeof frame_magic;
    if (std::memcmp(frame, frame_magic, magic) != 0) {
      ++at;
      continue;
    }
    if (left < frame_header_bytes) break;
    std::size_t payload = u16_at(frame + 6), whole = frame_header_bytes + payload + crc_bytes;
    if (payload > longest_payload) {
      ++at;
      continue;
    }
    if (left < whole) break;
    std::size_t covered = whole - sizeof frame_magic - crc_bytes;
    if (crc32(frame + sizeof frame_magic, covered) != u32_at(frame + whole - crc_bytes)) {
      ++at;  // damaged: perhaps another frame begins inside
      continue;
    }
    std::uint8_t type = frame[5];
    bool from_board = (type & type::from_board) != 0;  // our own words, sent back by a wire that echoes
    if (!from_board && frame[4] == protocol_version) {
      handle(type, {frame + frame_header_bytes, payload});
    } else if (!from_board) {
      refuse(type, reason::unknown_version);
    }
    at += whole;
  }
  std::memmove(buffer_, buffer_ + at, used_ - at);
  wipe(buffer_ + used_ - at, at);
  used_ -= at;
}

void Provisioner::handle(std::uint8_t type, View payload) {
  switch (type) {
    case type::hail:
      if (payload.size != 0) return refuse(type, reason::malformed);
      return say_hello();
    case type::challenge: {
      if (payload.size != nonce_bytes) return refuse(type, reason::malformed);
      std::memcpy(nonce_, payload.data, nonce_bytes);
      challenged_ = true;
      Frame echo{type::echo};
      echo.add(options_.mac, mac_bytes);
      echo.add(nonce_, nonce_bytes);
      echo.add(static_cast<std::uint8_t>(state_));
      return echo.send_to(line_);
    }
    case type::key:
      return take_key(payload);
    case type::readback:
      if (payload.size != nonce_bytes) return refuse(type, reason::malformed);
      if (state_ == State::unprovisioned) return refuse(type, reason::not_provisioned);
      return send_digest(type::digest, type, payload);
    case type::selftest:
      if (payload.size != 0) return refuse(type, reason::malformed);
      return answer_selftest();
    case type::lock:
      return answer_lock(payload);
    default:
      return refuse(type, reason::unknown_type);
  }
}

/// The 22 bytes by which a message that changes something says whom it means; refuses it when that is not us, now.
bool Provisioner::names_me(View nonce_and_mac, std::uint8_t type) {
  if (!challenged_ || std::memcmp(nonce_and_mac.data, nonce_, nonce_bytes) != 0) {
    refuse(type, reason::other_nonce);
    return false;
  }
  if (std::memcmp(nonce_and_mac.data + nonce_bytes, options_.mac, mac_bytes) != 0) {
    refuse(type, reason::other_mac);
    return false;
  }
  return true;
}

void Provisioner::take_key(View payload) {
  constexpr std::size_t fixed = nonce_bytes + mac_bytes + 1;
  if (payload.size < fixed) return refuse(type::key, reason::malformed);
  std::size_t count = payload.data[fixed - 1], at = fixed;
  if (count == 0 || count > max_fields) return refuse(type::key, reason::malformed);
  View fields[max_fields];
  for (std::size_t i = 0; i < count; ++i) {
    if (at == payload.size) return refuse(type::key, reason::malformed);
    std::size_t length = payload.data[at++];
    if (length > payload.size - at) return refuse(type::key, reason::malformed);
    fields[i] = {payload.data + at, length};
    at += length;
  }
  if (at != payload.size) return refuse(type::key, reason::malformed);
  if (!names_me(payload, type::key)) return;
  if (state_ == State::locked) return refuse(type::key, reason::is_locked);
  if (count != options_.fields) return refuse(type::key, reason::field_count);
  if (!are_sound(fields, count)) return refuse(type::key, reason::bad_field);
  if (state_ == State::provisioned) {
    if (!holds_key(fields, count)) return refuse(type::key, reason::has_another_key);
  } else if (!keep_key(fields, count)) {
    return refuse(type::key, reason::storage);
  }
  send_digest(type::stored, type::key, {nonce_, nonce_bytes});
}

void Provisioner::answer_selftest() {
  SelftestValue values[max_selftest_values];
  std::size_t count = application_.selftest(values, max_selftest_values);
  if (count > max_selftest_values) count = max_selftest_values;
  Frame frame{type::values};
  frame.add(static_cast<std::uint8_t>(count));
  for (std::size_t i = 0; i < count; ++i) {
    frame.add_text(values[i].name);
    frame.add_i32(values[i].value);
  }
  frame.send_to(line_);
}

void Provisioner::answer_lock(View payload) {
  if (payload.size != nonce_bytes + mac_bytes) return refuse(type::lock, reason::malformed);
  if (!names_me(payload, type::lock)) return;
  if (state_ == State::unprovisioned) return refuse(type::lock, reason::not_provisioned);
  if (state_ == State::provisioned) {
    bool locked = storage_.lock();
    state_ = storage_.state();
    if (!locked || state_ != State::locked) return refuse(type::lock, reason::storage);
  }
  Frame frame{type::locked};
  frame.add(options_.mac, mac_bytes);
  frame.send_to(line_);
}

void Provisioner::say_hello() {
  Frame frame{type::hello};
  frame.add(protocol_version);
  frame.add(options_.mac, mac_bytes);
  frame.add(static_cast<std::uint8_t>(state_));
  frame.add(static_cast<std::uint8_t>(options_.fields));
  frame.add_text(options_.firmware);
  frame.send_to(line_);
}

void Provisioner::refuse(std::uint8_t type, std::uint8_t reason) {
  Frame frame{type::refused};
  frame.add(type);
  frame.add(reason);
  frame.send_to(line_);
}

/// The digest is over what the storage gives back, not over what was received.
void Provisioner::send_digest(std::uint8_t type, std::uint8_t asked, View nonce) {
  std::uint8_t digest[digest_bytes];
  if (!digest_of_stored(nonce, digest)) return refuse(asked, reason::storage);
  Frame frame{type};
  frame.add(digest, digest_bytes);
  frame.send_to(line_);
}

bool Provisioner::digest_of_stored(View nonce, std::uint8_t* digest) {
  Sha256 hash;
  hash.add(nonce.data, nonce.size);
  hash.add(options_.mac, mac_bytes);
  std::uint8_t field[max_field_bytes];
  bool whole = true;
  for (std::size_t i = 0; i < options_.fields && whole; ++i) {
    int length = storage_.read(i, field);
    whole = length >= 0;
    if (!whole) break;
    auto prefix = static_cast<std::uint8_t>(length);
    hash.add(&prefix, 1);
    hash.add(field, prefix);
  }
  wipe(field, sizeof field);
  hash.finish(digest);
  return whole;
}

}  // namespace espmint::device
