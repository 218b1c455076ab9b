// espmint_device.hpp: the firmware's side of the hand-shake in which a station gives a board its keys. C++17 without
// allocation, exceptions, RTTI or the standard containers; the same code on ESP-IDF, on Arduino and in tests.
//   NvsStorage storage{names, 3};
//   Provisioner provisioner{{Dialect::framed, names, 3, mac, "1.4.0"}, storage, uart, application};
//   for (;;) {
//     provisioner.receive(bytes, count);   // what the UART has; may be nothing
//     provisioner.poll(millis());          // at least every 50 ms, after receive()
//   }
// A key is taken once, whole or not at all, and never printed. The bytes: docs/formats/handshake.md.
#pragma once

#include <cstddef>
#include <cstdint>

namespace espmint::device {

inline constexpr std::size_t max_fields = 16;        // of a key
inline constexpr std::size_t max_field_bytes = 128;  // of one field; at least 1
inline constexpr std::size_t mac_bytes = 6, nonce_bytes = 16, digest_bytes = 32;

/// Bytes that somebody else owns.
struct View {
  const std::uint8_t* data = nullptr;
  std::size_t size = 0;
};

enum class Dialect : std::uint8_t {
  line,    // text, as firmware in the field speaks it
  framed,  // frames with CRC, challenge and digest
};

/// The numbers stand in HELLO and ECHO.
enum class State : std::uint8_t { unprovisioned = 0, provisioned = 1, locked = 2 };

/// Where the key lies. On a chip: NVS, namespace `provision` (espmint_esp_idf.hpp).
class Storage {
 public:
  virtual State state() = 0;
  /// Field `index` (from 0) into `into`, which has room for max_field_bytes. Its length; -1 when there is none or it is
  /// longer than that.
  virtual int read(std::size_t index, std::uint8_t* into) = 0;
  /// Keeps all fields and then the mark `done`, by which alone state() goes: power lost in between leaves the board
  /// unprovisioned. False when anything failed.
  virtual bool commit(const View* fields, std::size_t count) = 0;
  /// From now on and for ever state() is `locked`.
  virtual bool lock() = 0;

 protected:
  ~Storage() = default;
};

/// The way to the station. (Not called Serial: on Arduino that name may be a macro.)
class SerialLine {
 public:
  virtual void write(View) = 0;

 protected:
  ~SerialLine() = default;
};

struct SelftestValue {
  const char* name = "";  // at most 31 characters
  std::int32_t value = 0;
};
inline constexpr std::size_t max_selftest_values = 16, max_name_bytes = 31;

/// What the application does for the hand-shake.
class Application {
 public:
  /// Only the line dialect asks for it, 100 ms after `Provisioned` was written.
  virtual void restart() = 0;
  /// Measures now; fills at most `room` values and returns how many. The station compares them with its limits.
  virtual std::size_t selftest(SelftestValue* into, std::size_t room) {
    static_cast<void>(into);
    static_cast<void>(room);
    return 0;
  }

 protected:
  ~Application() = default;
};

struct Options {
  Dialect dialect = Dialect::framed;
  const char* const* names = nullptr;  // of the fields; they outlive the Provisioner
  std::size_t fields = 0;              // 1 … max_fields
  std::uint8_t mac[mac_bytes] = {};    // the base MAC of the eFuses
  const char* firmware = "";           // version, at most 31 characters; outlives the Provisioner
};

class Provisioner {
 public:
  Provisioner(const Options&, Storage&, SerialLine&, Application&);
  ~Provisioner() { drop_input(); }
  Provisioner(const Provisioner&) = delete;
  Provisioner& operator=(const Provisioner&) = delete;

  /// Bytes from the station, in pieces of any size. Answers at once.
  void receive(const std::uint8_t* bytes, std::size_t count);
  /// Lets time pass: prompts, forgets what was cut off, restarts. The clock may wrap.
  void poll(std::uint32_t now_ms);
  /// As Storage said last: when the application may begin its work.
  [[nodiscard]] State state() const { return state_; }

 private:
  void write_text(const char* text);
  void drop_input();
  bool keep_key(const View* fields, std::size_t count);
  bool holds_key(const View* fields, std::size_t count);
  bool digest_of_stored(View nonce, std::uint8_t* digest);

  void line_byte(std::uint8_t byte);
  void line_ended();
  void take_key_line();
  void refuse_line(const char* why);
  void report_stored();

  void frame_bytes();
  void handle(std::uint8_t type, View payload);
  void take_key(View payload);
  void answer_selftest();
  void answer_lock(View payload);
  bool names_me(View nonce_and_mac, std::uint8_t type);
  void say_hello();
  void refuse(std::uint8_t type, std::uint8_t reason);
  void send_digest(std::uint8_t type, std::uint8_t asked, View nonce);

  Options options_;
  Storage& storage_;
  SerialLine& line_;
  Application& application_;
  State state_;

  enum class Restart : std::uint8_t { none, wanted, timed };
  Restart restart_ = Restart::none;
  bool polled_ = false, heard_ = false, spoilt_ = false;
  std::uint32_t prompted_at_ = 0, heard_at_ = 0, restart_timed_at_ = 0;
  bool challenged_ = false;
  std::uint8_t nonce_[nonce_bytes] = {};
  // The longest: a KEY of 16 fields of 128 bytes, framed.
  static constexpr std::size_t buffer_bytes = 8 + nonce_bytes + mac_bytes + 1 + max_fields * (1 + max_field_bytes) + 4;
  std::size_t used_ = 0;
  std::uint8_t buffer_[buffer_bytes] = {};
};

}  // namespace espmint::device
