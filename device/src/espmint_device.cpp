// The state machine's common part and the line dialect; the framed one is in framed.cpp.
#include "../include/espmint_device.hpp"

#include <cstring>

#include "frame.hpp"
#include "hashes.hpp"

namespace espmint::device {
namespace {

constexpr std::uint32_t prompt_ms = 500, restart_after_ms = 100;
// A line that pauses this long was cut: the next bytes are not its end. A frame has its CRC and need only be forgotten.
constexpr std::uint32_t line_gap_ms = 1000, frame_gap_ms = 250;

/// What old firmware's readers and NVS strings can hold: no control bytes, no NUL.
bool is_sound(View field) {
  if (field.size == 0 || field.size > max_field_bytes) return false;
  for (std::size_t i = 0; i < field.size; ++i)
    if (field.data[i] < 0x20 || field.data[i] == 0x7f) return false;
  return true;
}

/// Takes the same time wherever the first difference is.
bool equal(View a, View b) {
  if (a.size != b.size) return false;
  std::uint8_t different = 0;
  for (std::size_t i = 0; i < a.size; ++i) different = static_cast<std::uint8_t>(different | (a.data[i] ^ b.data[i]));
  return different == 0;
}

}  // namespace

bool are_sound(const View* fields, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i)
    if (!is_sound(fields[i])) return false;
  return true;
}

Provisioner::Provisioner(const Options& options, Storage& storage, SerialLine& line, Application& application)
    : options_(options), storage_(storage), line_(line), application_(application), state_(storage.state()) {
  if (options_.fields > max_fields) options_.fields = max_fields;
}

void Provisioner::receive(const std::uint8_t* bytes, std::size_t count) {
  if (count == 0 || restart_ != Restart::none) return;
  heard_ = true;
  if (options_.dialect == Dialect::line) {
    for (std::size_t i = 0; i < count; ++i) line_byte(bytes[i]);
    return;
  }
  while (count > 0) {
    std::size_t room = buffer_bytes - used_, taken = count < room ? count : room;
    std::memcpy(buffer_ + used_, bytes, taken);
    used_ += taken;
    bytes += taken;
    count -= taken;
    frame_bytes();  // leaves room: a whole frame or what cannot become one is gone afterwards
  }
}

void Provisioner::poll(std::uint32_t now_ms) {
  bool first = !polled_;
  polled_ = true;
  if (restart_ == Restart::wanted) {
    restart_ = Restart::timed;
    restart_timed_at_ = now_ms;
  }
  if (restart_ == Restart::timed) {
    if (now_ms - restart_timed_at_ >= restart_after_ms) application_.restart();
    return;
  }
  std::uint32_t gap = options_.dialect == Dialect::line ? line_gap_ms : frame_gap_ms;
  if (heard_) {
    heard_ = false;
    heard_at_ = now_ms;
  } else if (used_ > 0 && now_ms - heard_at_ >= gap) {
    drop_input();
    spoilt_ = options_.dialect == Dialect::line;
  }
  if (state_ == State::unprovisioned) {
    if (!first && now_ms - prompted_at_ < prompt_ms) return;
    prompted_at_ = now_ms;
    if (options_.dialect == Dialect::framed) return say_hello();
    write_text("Provisioning\r\n");
  } else if (first) {
    // A station that does not know the dialect may not ask for it: to old firmware its question is a key.
    options_.dialect == Dialect::line ? report_stored() : say_hello();
  }
}

void Provisioner::write_text(const char* text) {
  line_.write({reinterpret_cast<const std::uint8_t*>(text), std::strlen(text)});
}

/// What was received may be a key.
void Provisioner::drop_input() {
  wipe(buffer_, used_);
  used_ = 0;
}

/// Stores and reads back; only then is it true that the board has the key.
bool Provisioner::keep_key(const View* fields, std::size_t count) {
  bool kept = storage_.commit(fields, count);
  state_ = storage_.state();
  return kept && state_ != State::unprovisioned && holds_key(fields, count);
}

bool Provisioner::holds_key(const View* fields, std::size_t count) {
  std::uint8_t stored[max_field_bytes];
  bool same = count == options_.fields;
  for (std::size_t i = 0; i < count && same; ++i) {
    int length = storage_.read(i, stored);
    same = length > 0 && equal({stored, static_cast<std::size_t>(length)}, fields[i]);
  }
  wipe(stored, sizeof stored);
  return same;
}

// --- the line dialect -----------------------------------------------------------------------------------------------

void Provisioner::line_byte(std::uint8_t byte) {
  if (byte == '\n') return line_ended();
  // Fields, commas, the CR before the end.
  std::size_t longest = options_.fields * (max_field_bytes + 1);
  if (spoilt_ || used_ >= longest) {
    drop_input();
    spoilt_ = true;
    return;
  }
  buffer_[used_++] = byte;
}

void Provisioner::line_ended() {
  if (spoilt_) {
    spoilt_ = false;
    return refuse_line("the line was cut or too long");
  }
  if (used_ > 0 && buffer_[used_ - 1] == '\r') --used_;
  if (state_ != State::unprovisioned) {
    report_stored();
  } else if (used_ > 0) {
    take_key_line();
  }
  wipe(buffer_, used_ + 1);
  used_ = 0;
}

void Provisioner::take_key_line() {
  View fields[max_fields];
  std::size_t count = 0, begin = 0;
  for (std::size_t i = 0; i <= used_; ++i) {
    if (i < used_ && buffer_[i] != ',') continue;
    if (count == options_.fields) return refuse_line("too many fields");
    fields[count++] = {buffer_ + begin, i - begin};
    begin = i + 1;
  }
  if (count != options_.fields) return refuse_line("too few fields");
  if (!are_sound(fields, count)) return refuse_line("a field is empty, too long, or has control characters");
  if (!keep_key(fields, count)) return refuse_line("it could not be stored");
  write_text("Provisioned\r\n");
  restart_ = Restart::wanted;
}

void Provisioner::refuse_line(const char* why) {
  write_text("Refused: ");
  write_text(why);
  write_text("\r\n");
}

void Provisioner::report_stored() {
  constexpr char digits[] = "0123456789abcdef";
  constexpr std::size_t shown = 8;  // bytes of a digest
  write_text("Provisioned\r\n");
  for (std::size_t i = 0; i < options_.fields; ++i) {
    std::uint8_t field[max_field_bytes], digest[digest_bytes];
    int length = storage_.read(i, field);
    write_text(options_.names[i]);
    if (length < 0) {
      write_text(": none\r\n");
      continue;
    }
    Sha256 hash;
    hash.add(field, static_cast<std::size_t>(length));
    hash.finish(digest);
    wipe(field, sizeof field);
    char text[2 * shown + 1] = {};
    for (std::size_t k = 0; k < shown; ++k) {
      text[2 * k] = digits[digest[k] >> 4];
      text[2 * k + 1] = digits[digest[k] & 15];
    }
    write_text(": sha256:");
    write_text(text);
    write_text("\r\n");
  }
}

}  // namespace espmint::device
