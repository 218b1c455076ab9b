#include "handshake/line_dialect.hpp"

#include <fmt/format.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <array>

#include "base/hash.hpp"
#include "base/text.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;
using LineKind = HeardLine::Kind;

constexpr std::size_t longest_name = 32, longest_boot_log = 4096;
constexpr std::size_t printed_digest_bytes = 8;
constexpr std::string_view mask = "***";
// A prompt from before the call may still be on its way through USB and network buffers.
constexpr Duration stale_for = 50ms;
// The line leaves right behind a prompt or waits for the next one, 500 ms later: the firmware is then surely listening.
constexpr Duration prompt_stays_fresh = 100ms;
constexpr Duration write_patience = 2s;
// Firmware may print a prompt or two before it looks at its input; readStringUntil() alone takes up to 1 s.
constexpr Duration refusal_takes = 3s;
// A frame that pauses so long was cut: docs/formats/handshake.md.
constexpr Duration hello_pause = 250ms;
// Keys are printed in ways nobody thought of; what looks like one is not shown. Shorter runs are addresses and dates.
constexpr std::size_t shortest_key_like = 16;
// A field of fewer bytes would be found in half the words of a boot log.
constexpr std::size_t shortest_masked_field = 4;

bool is_letter(char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_of_name(char c) { return is_letter(c) || is_digit(c) || c == ' ' || c == '_' || c == '-'; }

/// The bytes of an ANSI colour ("\x1b[0;32m") at the start of `text`, 0 where there is none.
std::size_t colour_at_start(std::string_view text) {
  if (!text.starts_with("\x1b[")) return 0;
  std::size_t end = text.find_first_not_of("0123456789;", 2);
  return end != std::string_view::npos && text[end] == 'm' ? end + 1 : 0;
}

std::string_view without_front(std::string_view text) {
  for (;;) {
    std::size_t skip = colour_at_start(text);
    if (skip == 0 && !text.empty() && (text[0] == ' ' || text[0] == '\t' || text[0] == '\r')) skip = 1;
    if (skip == 0) return text;
    text.remove_prefix(skip);
  }
}

/// Without CRs and colours at the end; blanks there may belong to a value.
std::string_view without_back(std::string_view text) {
  for (;;) {
    if (text.ends_with('\r')) {
      text.remove_suffix(1);
      continue;
    }
    std::size_t escape = text.ends_with('m') ? text.rfind('\x1b') : std::string_view::npos;
    if (escape == std::string_view::npos || escape + colour_at_start(text.substr(escape)) != text.size()) return text;
    text.remove_suffix(text.size() - escape);
  }
}

struct ValuePattern {
  std::string_view before, separator;  // around the name, without blanks
  bool blank = false;                  // one may follow the separator
};

std::optional<ValuePattern> parse_pattern(std::string_view text) {
  constexpr std::string_view name = "{name}", value = "{value}";
  std::size_t at = text.find(name);
  if (at == std::string_view::npos || !text.ends_with(value) || text.size() < at + name.size() + value.size())
    return std::nullopt;
  std::string_view between = text.substr(at + name.size(), text.size() - at - name.size() - value.size());
  ValuePattern out{trim(text.substr(0, at)), trim(between), between.ends_with(' ')};
  if (out.separator.empty() || std::any_of(out.separator.begin(), out.separator.end(), is_of_name)) return std::nullopt;
  return out;
}

struct NamedValue {
  std::string_view name, value;
};

std::optional<NamedValue> parse_value(std::string_view text, const ValuePattern& pattern) {
  text = without_front(text);
  if (!text.starts_with(pattern.before)) return std::nullopt;
  text = without_front(text.substr(pattern.before.size()));
  std::size_t at = text.find(pattern.separator);
  if (at == std::string_view::npos) return std::nullopt;
  std::string_view name = trim(text.substr(0, at)), value = text.substr(at + pattern.separator.size());
  if (name.empty() || name.size() > longest_name || !is_letter(name[0]) ||
      !std::all_of(name.begin(), name.end(), is_of_name))
    return std::nullopt;
  if (pattern.blank && value.starts_with(' ')) value.remove_prefix(1);
  return NamedValue{name, value};
}

struct LogLine {
  std::string_view tag, text;
};

/// ESP-IDF's "I (312) tag: text" and Arduino's "[   312][I][file.cpp:12] setup(): text".
/// Sources: ESP-IDF Programming Guide, Logging library; Arduino core for ESP32, esp32-hal-log.h.
std::optional<LogLine> parse_log(std::string_view text) {
  if (text.size() > 4 && std::string_view{"EWIDV"}.find(text[0]) != std::string_view::npos &&
      text.substr(1, 2) == " (") {
    std::size_t time_end = text.find_first_not_of("0123456789:. -", 3);
    if (time_end == std::string_view::npos || time_end == 3 || text.substr(time_end, 2) != ") ") return std::nullopt;
    std::string_view rest = text.substr(time_end + 2);
    std::size_t colon = rest.find(':');
    if (colon == std::string_view::npos) return std::nullopt;
    return LogLine{rest.substr(0, colon), without_front(rest.substr(colon + 1))};
  }
  if (!text.starts_with('[') || text.find("][") == std::string_view::npos) return std::nullopt;
  constexpr std::string_view end_of_prefix = "(): ";
  std::size_t end = text.find(end_of_prefix);
  if (end == std::string_view::npos) return std::nullopt;
  return LogLine{{}, without_front(text.substr(end + end_of_prefix.size()))};
}

/// Log tags of the second-stage bootloader, and of the system before the application's first line: they know no key.
bool is_bootloaders(std::string_view tag) {
  constexpr std::array<std::string_view, 5> tags{"boot", "esp_image", "qio_mode", "flash_encrypt", "secure_boot_v2"};
  return tag.starts_with("boot.") || std::find(tags.begin(), tags.end(), tag) != tags.end();
}
bool is_systems(std::string_view tag) {
  constexpr std::array<std::string_view, 8> tags{"cpu_start", "heap_init",  "spi_flash", "app_init",
                                                 "main_task", "efuse_init", "app_start", "phy_init"};
  return is_bootloaders(tag) || std::find(tags.begin(), tags.end(), tag) != tags.end();
}

bool is_banner(std::string_view text) {
  std::size_t reset = text.find("rst:0x");
  return reset != std::string_view::npos && text.find("boot:0x", reset) != std::string_view::npos;
}

/// Lines of the mask ROM, many of which look like values. A line may have lost its start to an earlier reader.
/// Source: boot messages as shown in the esptool documentation, Boot Mode Selection, and ESP-IDF, Fatal Errors.
bool is_of_rom(std::string_view text) {
  constexpr std::array<std::string_view, 15> starts{
      "ESP-ROM:",      "rst:0x",  "configsip:", "clk_drv:0x", "mode:DIO,",   "mode:DOUT,", "mode:QIO,",
      "mode:QOUT,",    "load:0x", "entry 0x",   "SPIWP:0x",   "Saved PC:0x", "ho 0 tail",  "waiting for download",
      "flash read err"};
  for (std::string_view start : starts)
    if (text.starts_with(start)) return true;
  auto is_month = [&](std::size_t at) {
    constexpr std::string_view months = "JanFebMarAprMayJunJulAugSepOctNovDec";
    std::size_t found = text.size() >= at + 3 ? months.find(text.substr(at, 3)) : std::string_view::npos;
    return found != std::string_view::npos && found % 3 == 0;
  };
  return (text.starts_with("ets ") && is_month(4)) || (text.starts_with("Build:") && is_month(6)) ||
         text.starts_with("invalid header: 0x") || text.find("_FLASH_BOOT)") != std::string_view::npos;
}

/// What a crash prints also has names and colons. Source: ESP-IDF Programming Guide, Fatal Errors.
bool is_of_panic(std::string_view text) {
  return text.starts_with("Guru Meditation Error") || text.starts_with("Backtrace:") ||
         text.starts_with("ELF file SHA256") || text.starts_with("assert failed:") || text.starts_with("abort() was") ||
         text.find("register dump:") != std::string_view::npos || text.find("  : 0x") != std::string_view::npos;
}

/// Each run of letters and digits that may be a key becomes a mask: long, and with a digit in it.
std::string without_key_like(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    auto is_of_key = [](char c) { return is_letter(c) || is_digit(c) || c == '+' || c == '/' || c == '='; };
    auto end = static_cast<std::size_t>(std::find_if_not(text.begin(), text.end(), is_of_key) - text.begin());
    std::string_view run = text.substr(0, end);
    bool like_a_key = run.size() >= shortest_key_like && std::any_of(run.begin(), run.end(), is_digit);
    out += like_a_key ? mask : run;
    if (end < text.size()) out += text[end++];
    text.remove_prefix(end);
  }
  return out;
}

std::string without(std::string text, std::string_view piece) {
  for (std::size_t at = 0; (at = text.find(piece, at)) != std::string::npos; at += mask.size())
    text.replace(at, piece.size(), mask);
  return text;
}

/// What a board prints, a line at a time, and what of it may be shown. Bounded however much it is; wiped at its end.
class Ear {
 public:
  explicit Ear(const LineDialect& dialect) : dialect_(dialect) { line_.reserve(longest_heard_line); }
  ~Ear() { wipe_text(line_); }
  Ear(const Ear&) = delete;
  Ear& operator=(const Ear&) = delete;

  /// Never shows the line that was sent, nor its fields. The bytes are borrowed.
  void hide(ByteView sent) {
    hidden_ = split(as_text(sent), ',');
    std::erase_if(hidden_, [](std::string_view field) { return field.size() < shortest_masked_field; });
    std::sort(hidden_.begin(), hidden_.end(), [](auto a, auto b) { return a.size() > b.size(); });
  }
  /// Takes one byte; when it ended a line, what the line was: valid until the next byte.
  std::optional<HeardLine> hear(std::uint8_t byte) {
    if (ended_) start_line();
    if (byte != '\n') {
      if (line_.size() < longest_heard_line) {
        line_ += static_cast<char>(byte);
      } else {
        too_long_ = true;
      }
      return std::nullopt;
    }
    ended_ = true;
    HeardLine heard = too_long_ ? HeardLine{} : classify_line(line_, dialect_);
    boots_ += heard.kind == LineKind::banner ? 1 : 0;
    bool loader = heard.kind == LineKind::banner || heard.kind == LineKind::boot;
    loader_spoke_ |= loader;
    // The rest of a line, or noise of a UART that is starting, is nobody's word.
    application_spoke_ |= !loader && heard.kind != LineKind::blank && !(heard.kind == LineKind::other && is_noise());
    note(heard);
    first_ = false;
    return heard;
  }
  /// Nothing of a next line has come yet.
  [[nodiscard]] bool at_line_end() const { return ended_ || without_back(line_).empty(); }
  [[nodiscard]] int boots() const { return boots_; }
  [[nodiscard]] bool only_loader_spoke() const { return loader_spoke_ && !application_spoke_; }
  /// The log so far with the line that has not ended.
  std::string take_log() {
    if (!ended_ && !line_.empty()) note(too_long_ ? HeardLine{} : classify_line(line_, dialect_));
    while (log_.ends_with('\n')) log_.pop_back();
    return std::exchange(log_, {});
  }

 private:
  static void wipe_text(std::string& text) {
    wipe({reinterpret_cast<std::uint8_t*>(text.data()), text.size()});
    text.clear();
  }
  void start_line() {
    wipe_text(line_);
    ended_ = too_long_ = false;
  }
  [[nodiscard]] bool is_noise() const {
    auto strange = std::count_if(line_.begin(), line_.end(), [](char c) {
      auto byte = static_cast<unsigned char>(c);
      return byte >= 0x7f || (byte < 0x20 && c != '\r' && c != '\t' && c != '\x1b');
    });
    return first_ || strange > 0;
  }
  /// Puts the line, or what of it may be shown, at the log's end.
  void note(const HeardLine& heard) {
    if (heard.kind == LineKind::blank) return;
    std::string text{std::string_view{line_}.substr(0, heard.open_bytes)};
    bool whole = heard.open_bytes == line_.size();
    std::erase(text, '\r');  // before masking: no CR in the middle may hide a field from it
    for (std::string_view piece : hidden_) text = without(std::move(text), piece);
    if (heard.kind != LineKind::boot && heard.kind != LineKind::banner) text = without_key_like(text);
    // The first line may be the rest of one whose start, with the name, somebody else has read.
    if (heard.kind == LineKind::other && (first_ || too_long_)) {
      text.clear();
      whole = false;
    }
    for (char c : text) {
      auto byte = static_cast<unsigned char>(c);
      if (byte >= 0x20 && byte < 0x7f) {
        log_ += c;
      } else {
        log_ += c == '\t' ? std::string{" "} : fmt::format("\\x{:02x}", byte);
      }
    }
    if (!whole) log_ += mask;
    log_ += '\n';
    if (log_.size() > longest_boot_log) log_.erase(0, log_.size() - longest_boot_log);
  }

  const LineDialect& dialect_;
  std::vector<std::string_view> hidden_;
  std::string line_, log_;
  int boots_ = 0;
  bool ended_ = false, too_long_ = false, first_ = true, loader_spoke_ = false, application_spoke_ = false;
};

/// Bytes as they come off the line; wiped, for keys may be among them.
struct Chunk {
  std::array<std::uint8_t, 256> bytes{};
  Chunk() = default;
  ~Chunk() { wipe(bytes); }
  Chunk(const Chunk&) = delete;
  Chunk& operator=(const Chunk&) = delete;
  [[nodiscard]] ByteView first(std::size_t count) const { return ByteView{bytes}.first(count); }
};

Result<void> check(const LineDialect& dialect) {
  if (is_usable(dialect)) return ok();
  return fail({Code::recipe_invalid,
               Remedy::refuse,
               "the words of the hand-shake cannot work",
               {},
               fmt::format("prompt '{}', done '{}', values '{}'", escape_controls(dialect.prompt),
                           escape_controls(dialect.done), escape_controls(dialect.values)),
               "prompt and done must differ; values looks like '{name}: {value}'"});
}

bool is_same(ByteView a, ByteView b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

void forget(Greeting& greeting) {
  for (auto& [name, value] : greeting.values) wipe({reinterpret_cast<std::uint8_t*>(value.data()), value.size()});
  greeting.values.clear();
}

}  // namespace

bool is_usable(const LineDialect& dialect) {
  std::string_view prompt = trim(dialect.prompt), done = trim(dialect.done);
  return !prompt.empty() && !done.empty() && prompt != done && parse_pattern(dialect.values).has_value();
}

HeardLine classify_line(std::string_view line, const LineDialect& dialect) {
  if (line.size() > longest_heard_line) return {};
  std::string_view text = without_back(without_front(line));
  auto open_until = [&](std::string_view part) { return static_cast<std::size_t>(part.data() - line.data()); };
  HeardLine heard{LineKind::other, {}, {}, line.size()};
  if (trim(text).empty()) {
    heard.kind = LineKind::blank;
    return heard;
  }
  if (is_banner(text)) {
    heard.kind = LineKind::banner;
    return heard;
  }
  std::optional<LogLine> log = parse_log(text);
  std::string_view said = trim(without_back(log ? log->text : text));
  if (said == trim(dialect.prompt) || said == trim(dialect.done)) {
    heard.kind = said == trim(dialect.prompt) ? LineKind::prompt : LineKind::done;
    return heard;
  }
  if (said.starts_with("Refused: ")) {
    heard.kind = LineKind::refused;
    return heard;
  }
  constexpr std::string_view dump_word = "en bytes:";
  std::size_t dump = lower(text).find(dump_word);
  if (dump != std::string::npos) {
    heard.kind = LineKind::dump;
    heard.open_bytes = open_until(text.substr(dump + dump_word.size()));
    return heard;
  }
  std::optional<ValuePattern> pattern = parse_pattern(dialect.values);
  std::optional<NamedValue> value = pattern ? parse_value(log ? log->text : text, *pattern) : std::nullopt;
  if (log) {
    heard.kind = is_bootloaders(log->tag) ? LineKind::boot : LineKind::log;
    if (value && !is_systems(log->tag)) heard.open_bytes = open_until(value->value);
    return heard;
  }
  if (is_of_rom(text)) {
    heard.kind = LineKind::boot;
  } else if (value && !is_of_panic(text)) {
    heard.kind = LineKind::value;
    heard.name = value->name;
    heard.value = value->value;
    heard.open_bytes = open_until(value->value);
  }
  return heard;
}

Task<Result<Greeting>> listen(Port& port, Clock& clock, const LineDialect& dialect, std::size_t expected_values,
                              Instant deadline) {
  using Kind = Greeting::Kind;
  CO_TRY(check(dialect));
  Ear ear{dialect};
  FrameDecoder frames;
  Greeting greeting;
  Chunk chunk;
  Instant until = deadline, last_heard = clock.now();
  // A chunk is heard to its end before it counts: the banner of a board that restarts may be right behind a prompt.
  auto is_heard_out = [&] {
    return greeting.kind == Kind::prompt || greeting.kind == Kind::framed ||
           (greeting.kind == Kind::provisioned && greeting.values.size() >= expected_values);
  };
  while (!is_heard_out() && clock.now() < until) {
    CO_TRY(std::size_t count, co_await port.read_some(chunk.bytes, until));
    for (std::uint8_t byte : chunk.first(count)) {
      std::optional<HeardLine> heard = ear.hear(byte);
      if (!heard) continue;
      if (heard->kind == LineKind::banner && !greeting.first_banner) greeting.first_banner = clock.now();
      if (heard->kind == LineKind::banner || heard->kind == LineKind::prompt || heard->kind == LineKind::done) {
        forget(greeting);
        greeting.kind = heard->kind == LineKind::prompt ? Kind::prompt
                        : heard->kind == LineKind::done ? Kind::provisioned
                                                        : Kind::silent;
        until = heard->kind == LineKind::done ? std::min(deadline, clock.now() + dialect.values_patience) : deadline;
      } else if (heard->kind == LineKind::value && greeting.kind == Kind::provisioned &&
                 greeting.values.size() < expected_values) {
        greeting.values.emplace_back(heard->name, heard->value);
      }
    }
    if (clock.now() - last_heard >= hello_pause) {
      frames.give_up_begun();
      (void)frames.next();  // what was cut is gone before more comes behind it
    }
    if (count > 0) last_heard = clock.now();
    frames.feed(chunk.first(count));
    while (std::optional<Frame> frame = frames.next()) {
      std::optional<BoardHello> hello = frame->type == FrameType::hello ? parse_hello(frame->payload) : std::nullopt;
      if (!hello) continue;
      forget(greeting);
      greeting.kind = Kind::framed;
      greeting.hello = std::move(hello);
    }
  }
  greeting.boots = ear.boots();
  greeting.bootloader_talked = ear.only_loader_spoke();
  greeting.boot_log = ear.take_log();
  co_return greeting;
}

Task<Result<Delivery>> deliver(Port& port, Clock& clock, const LineDialect& dialect, const Secret& line,
                               Instant deadline_prompt) {
  using Kind = Delivery::Kind;
  CO_TRY(check(dialect));
  Bytes whole{};
  whole.reserve(line.reveal().size() + 2);  // grows no further: no copy of the key stays behind
  append(whole, line.reveal());
  append(whole, as_bytes("\r\n"));
  const Secret to_send{std::move(whole)};
  Ear ear{dialect};
  ear.hide(line.reveal());
  Delivery delivery;
  Chunk chunk;

  // 1. A fresh prompt with silence behind it. Any sign that the board is no longer waiting ends it with nothing sent:
  // the plan was for the board that was identified, and this one may be another.
  const Instant fresh_from = clock.now() + stale_for + port.latency();
  std::optional<Instant> prompted;
  bool left_the_prompt = false;
  while (!delivery.sent && !left_the_prompt) {
    bool fresh = prompted && clock.now() - *prompted <= prompt_stays_fresh && ear.at_line_end();
    Instant until = deadline_prompt;
    if (fresh) until = clock.now();  // only what is there already
    if (!fresh && clock.now() >= deadline_prompt) break;
    CO_TRY(std::size_t count, co_await port.read_some(chunk.bytes, until));
    for (std::uint8_t byte : chunk.first(count)) {
      std::optional<HeardLine> heard = ear.hear(byte);
      if (!heard) continue;
      left_the_prompt |=
          heard->kind == LineKind::banner || heard->kind == LineKind::boot || heard->kind == LineKind::done;
      if (heard->kind == LineKind::prompt && clock.now() >= fresh_from) prompted = clock.now();
    }
    if (!fresh || count > 0 || left_the_prompt) continue;
    delivery.sent = true;
    CO_TRY(co_await port.write(to_send.reveal(), clock.now() + write_patience));
  }

  // 2. Its answer. A prompt right behind the line was on its way before it; a prompt after a restart is a refusal.
  if (delivery.sent) {
    const Instant sent_at = clock.now(), until = sent_at + dialect.answer_patience;
    const int boots_before = ear.boots();
    bool prompted_again = false, answered = false;
    while (!answered && clock.now() < until) {
      CO_TRY(std::size_t count, co_await port.read_some(chunk.bytes, until));
      for (std::uint8_t byte : chunk.first(count)) {
        std::optional<HeardLine> heard = ear.hear(byte);
        if (!heard || answered) continue;
        if (heard->kind == LineKind::done) {
          delivery.kind = Kind::accepted;
          answered = true;
        } else if (heard->kind == LineKind::refused) {
          prompted_again = answered = true;
        } else if (heard->kind == LineKind::prompt) {
          prompted_again = true;
          answered = ear.boots() > boots_before || clock.now() - sent_at >= refusal_takes;
        }
      }
    }
    if (prompted_again && delivery.kind != Kind::accepted) delivery.kind = Kind::prompted_again;
  } else if (left_the_prompt) {
    delivery.kind = Kind::board_restarted;
  }
  delivery.boots = ear.boots();
  delivery.boot_log = ear.take_log();
  co_return delivery;
}

Result<Secret> key_line(std::span<const Secret> fields) {
  constexpr std::array<std::pair<std::uint8_t, std::string_view>, 4> forbidden{
      {{',', "a comma"}, {'\r', "a carriage return"}, {'\n', "a newline"}, {'\0', "a NUL"}}};
  auto refused = [](std::string what) {
    return fail({Code::input_invalid,
                 Remedy::refuse,
                 std::move(what),
                 {},
                 {},
                 "the board takes one line of fields with commas between them; correct the row of the keys"});
  };
  if (fields.empty()) return refused("a key has no field");
  std::size_t size = fields.size() - 1;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    ByteView field = fields[i].reveal();
    size += field.size();
    // The byte is named, never shown: what stands around it is a secret.
    for (auto [byte, name] : forbidden)
      if (std::find(field.begin(), field.end(), byte) != field.end())
        return refused(fmt::format("field {} of a key has {} in it", i + 1, name));
  }
  if (size > longest_key_line)
    return refused(fmt::format("a key makes a line of {} bytes; at most {} can be sent", size, longest_key_line));
  Bytes line;
  line.reserve(size);
  for (const Secret& field : fields) {
    if (&field != fields.data()) line.push_back(',');
    append(line, field.reveal());
  }
  return Secret{std::move(line)};
}

std::optional<std::size_t> first_difference(const Greeting& greeting, std::span<const Secret> fields) {
  // No field is no evidence.
  if (greeting.kind != Greeting::Kind::provisioned || fields.empty()) return 1;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (i >= greeting.values.size()) return i + 1;
    ByteView expected = fields[i].reveal(), seen = as_bytes(greeting.values[i].second);
    const std::string digest =
        fmt::format("sha256:{}", to_hex(ByteView{sha256_of(expected)}.first(printed_digest_bytes)));
    if (!is_same(expected, seen) && !is_same(as_bytes(digest), seen)) return i + 1;
  }
  if (greeting.values.size() > fields.size()) return fields.size() + 1;
  return std::nullopt;
}

}  // namespace espmint
