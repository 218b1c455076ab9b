// handshake/line_dialect.hpp: the text hand-shake that firmware in the field speaks, the station's side.
//   CO_TRY(Greeting before, co_await listen(port, clock, dialect, fields.size(), deadline));     prompt: it has no keys
//   CO_TRY(Delivery sent, co_await deliver(port, clock, dialect, line, deadline));               once per board, ever
//   … reset, identify …; CO_TRY(Greeting after, co_await listen(…));  first_difference(after, fields) is the evidence
// Unprovisioned firmware prints `prompt` every 500 ms; it takes one line of fields, prints `done` and restarts. From
// then on it prints `done` at every boot, and `name: value` lines of which the k-th is field k. What it answers to the
// line proves nothing: some firmware keeps a cut-off line, some says `done` and stored nothing. Only read-back values
// count.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/secret.hpp"
#include "handshake/framed.hpp"
#include "io/port.hpp"

namespace espmint {

/// The words of one firmware; from the recipe, [keys].
struct LineDialect {
  std::string prompt = "Provisioning", done = "Provisioned";
  /// How a value is printed: text around {name} and {value}, {value} last. A blank before {value} stands for one blank
  /// or none. A name is a letter and up to 31 letters, digits, blanks, '_' or '-'. No regular expression: std::regex
  /// throws, recurses once per byte, and a pattern from a recipe could take for ever on what a board prints.
  std::string values = "{name}: {value}";
  // How long the caller lets listen() wait for a prompt; how long deliver() waits for the answer; how long listen()
  // waits for values once `done` was printed.
  Duration prompt_patience = std::chrono::seconds{60}, answer_patience = std::chrono::seconds{30},
           values_patience = std::chrono::seconds{5};
};
/// Whether these words can work: prompt and done differ and have one, `values` is a pattern as above.
bool is_usable(const LineDialect&);

/// One line that a board printed, without its newline; any bytes. Views point into the line that was given.
struct HeardLine {
  enum class Kind {
    blank,
    prompt,   // the whole line is the word, or a log prefix and the word; blanks, CRs and colours around it do not
              // matter
    done,     // likewise
    value,    // name and value, exact but for colours and CRs at its end
    refused,  // "Refused: reason" (docs/formats/handshake.md): nothing was stored
    dump,     // "… en bytes: 0x…", a value in another form that some firmware repeats; no value
    banner,   // the ROM's "rst:0x…,boot:0x…": the board was reset
    boot,     // other text of ROM or second-stage bootloader
    log,      // an ESP-IDF or Arduino log line
    other,
  } kind = Kind::other;
  std::string_view name, value;  // of a value
  std::size_t open_bytes = 0;    // from the line's start: what may be shown; behind it may lie a secret
};
HeardLine classify_line(std::string_view line, const LineDialect&);
/// A longer line is none of the above, whatever it says.
inline constexpr std::size_t longest_heard_line = 2048;

/// What the firmware says after a reset.
struct Greeting {
  enum class Kind {
    prompt,       // it asks for its keys
    provisioned,  // it said `done`; `values` has what it printed after it, perhaps fewer than expected
    framed,       // it speaks the other dialect: `hello` has its HELLO
    silent,       // none of these until the deadline
  } kind = Kind::silent;
  std::vector<std::pair<std::string, std::string>> values;  // name, value: secrets, never logged
  int boots = 0;                                            // ROM banners heard
  std::string boot_log;            // the last 4 KiB; printable ASCII and newlines; values, dumps and long tokens masked
  bool bootloader_talked = false;  // ROM or bootloader printed, the application not a word
  std::optional<BoardHello> hello{};
  std::optional<Instant> first_banner{};  // when the first of `boots` had come
};
/// Listens, and sends nothing, until a prompt, a HELLO frame, or `done` and `expected_values` values (or
/// values_patience passed), or the deadline. A banner or another `done` starts the values anew: values of two boots
/// never mix. Faults: the port's; recipe_invalid (refuse) for a dialect that is not usable.
Task<Result<Greeting>> listen(Port&, Clock&, const LineDialect&, std::size_t expected_values, Instant deadline);

/// What came of sending the line.
struct Delivery {
  enum class Kind {
    accepted,         // it said `done`: no evidence yet; reset the board and listen() for the values
    prompted_again,   // the line was sent, and the board refused it or still asks for one
    board_restarted,  // nothing was sent: it booted, or said `done`, meanwhile. Another board may be there
    silent,           // no fresh prompt until the deadline (nothing was sent), or no answer
  } kind = Kind::silent;
  bool sent = false;     // the line left, or some of it: the key is this board's or nobody's
  int boots = 0;         // ROM banners heard, before or after sending
  std::string boot_log;  // as in Greeting; the fields that were sent are masked too
};
/// Waits for a fresh whole prompt (what lay in buffers does not count as one), sends `line` and CR LF in one write,
/// waits for `done`. Never sends twice. Faults: the port's (whether the line left is then unknown); recipe_invalid.
Task<Result<Delivery>> deliver(Port&, Clock&, const LineDialect&, const Secret& line, Instant deadline_prompt);

/// Bytes of a line without its end; firmware in the field has buffers of this size at most.
inline constexpr std::size_t longest_key_line = 1024;
/// "field1,field2,…". Fault input_invalid (refuse): no field, a comma, CR, LF or NUL in one, or too long a line.
Result<Secret> key_line(std::span<const Secret> fields);
/// The first field (from 1) that the board did not print back exactly, byte by byte in constant time; "sha256:" and the
/// first 8 bytes of the field's digest in lower-case hex are as good (docs/formats/handshake.md). A missing value and
/// one too many differ, as does all of a board that is not provisioned. Nothing: every field was read back.
std::optional<std::size_t> first_difference(const Greeting&, std::span<const Secret> fields);

}  // namespace espmint
