// base/fault_codes.hpp: the one table of what can go wrong: a stable name, the exit code of the command that ends by
// it. A new row only if a person would act differently on it. Its page: docs/faults/<name>.md.
#pragma once

#include <array>
#include <string_view>

namespace espmint {

/// Exit codes of the program (docs/exit-codes.md).
enum class Exit : int {
  good = 0,
  board_failed = 1,
  usage = 2,
  configuration = 3,
  port = 4,
  cloud = 5,
  ledger = 6,
  interrupted = 130,
};

enum class Code {
  // usage and inputs
  usage,
  recipe_invalid,
  input_missing,
  input_unreadable,
  input_invalid,
  firmware_incomplete,
  firmware_wrong_chip,
  firmware_does_not_fit,
  firmware_damaged,
  partition_ambiguous,
  partition_missing,
  image_invalid,
  image_no_space,
  output_unwritable,
  // ports
  port_missing,
  port_denied,
  port_busy,
  port_gone,
  port_failed,
  port_claimed,
  driver_missing,
  usb_trouble,
  // talking to a board
  board_silent,
  usb_hangs,
  board_not_in_download_mode,
  board_deaf,
  foreign_device,
  line_echo,
  noisy_line,
  brown_out,
  voltage_strap,
  reply_damaged,
  reply_missing,
  command_refused,
  stub_failed,
  baud_failed,
  chip_unknown,
  chip_mismatch,
  board_changed,
  board_locked,
  flash_too_small,
  flash_unknown,
  flash_differs,
  image_differs,
  challenge_failed,
  challenge_silent,
  no_reset_lines,
  // identity and ledger
  board_held,
  quota_reached,
  pool_exhausted,
  values_missing,
  board_provisioned,
  key_not_stored,
  key_unproven,
  selftest_failed,
  application_silent,
  key_failed,
  ca_missing,
  ca_invalid,
  certificate_invalid,
  // the cloud
  credentials_missing,
  cloud_unreachable,
  cloud_denied,
  cloud_throttled,
  cloud_refused,
  cloud_reply_invalid,
  cloud_backlog,
  thing_foreign,
  // the ledger
  ledger_missing,
  ledger_locked,
  ledger_foreign,
  ledger_damaged,
  ledger_refused,
  ledger_io,
  disk_full,
  clock_backwards,
  interrupted,
  internal,
};

struct CodeSpec {
  Code code;
  std::string_view name;  // stable: scripts, JSON and docs/faults/ use it
  Exit exit;
};

inline constexpr std::array fault_codes{
    CodeSpec{Code::usage, "usage", Exit::usage},
    CodeSpec{Code::recipe_invalid, "recipe-invalid", Exit::configuration},
    CodeSpec{Code::input_missing, "input-missing", Exit::configuration},
    CodeSpec{Code::input_unreadable, "input-unreadable", Exit::configuration},
    CodeSpec{Code::input_invalid, "input-invalid", Exit::configuration},
    CodeSpec{Code::firmware_incomplete, "firmware-incomplete", Exit::configuration},
    CodeSpec{Code::firmware_wrong_chip, "firmware-wrong-chip", Exit::configuration},
    CodeSpec{Code::firmware_does_not_fit, "firmware-does-not-fit", Exit::configuration},
    CodeSpec{Code::firmware_damaged, "firmware-damaged", Exit::configuration},
    CodeSpec{Code::partition_ambiguous, "partition-ambiguous", Exit::configuration},
    CodeSpec{Code::partition_missing, "partition-missing", Exit::configuration},
    CodeSpec{Code::image_invalid, "image-invalid", Exit::configuration},
    CodeSpec{Code::image_no_space, "image-no-space", Exit::configuration},
    CodeSpec{Code::output_unwritable, "output-unwritable", Exit::configuration},
    CodeSpec{Code::port_missing, "port-missing", Exit::port},
    CodeSpec{Code::port_denied, "port-denied", Exit::port},
    CodeSpec{Code::port_busy, "port-busy", Exit::port},
    CodeSpec{Code::port_gone, "port-gone", Exit::port},
    CodeSpec{Code::port_failed, "port-failed", Exit::port},
    CodeSpec{Code::port_claimed, "port-claimed", Exit::port},
    CodeSpec{Code::driver_missing, "driver-missing", Exit::port},
    CodeSpec{Code::usb_trouble, "usb-trouble", Exit::port},
    CodeSpec{Code::board_silent, "board-silent", Exit::port},
    CodeSpec{Code::usb_hangs, "usb-hangs", Exit::port},
    CodeSpec{Code::board_not_in_download_mode, "board-not-in-download-mode", Exit::port},
    CodeSpec{Code::board_deaf, "board-deaf", Exit::port},
    CodeSpec{Code::foreign_device, "foreign-device", Exit::port},
    CodeSpec{Code::line_echo, "line-echo", Exit::port},
    CodeSpec{Code::noisy_line, "noisy-line", Exit::port},
    CodeSpec{Code::brown_out, "brown-out", Exit::board_failed},
    CodeSpec{Code::voltage_strap, "voltage-strap", Exit::board_failed},
    CodeSpec{Code::reply_damaged, "reply-damaged", Exit::board_failed},
    CodeSpec{Code::reply_missing, "reply-missing", Exit::board_failed},
    CodeSpec{Code::command_refused, "command-refused", Exit::board_failed},
    CodeSpec{Code::stub_failed, "stub-failed", Exit::board_failed},
    CodeSpec{Code::baud_failed, "baud-failed", Exit::board_failed},
    CodeSpec{Code::chip_unknown, "chip-unknown", Exit::board_failed},
    CodeSpec{Code::chip_mismatch, "chip-mismatch", Exit::board_failed},
    CodeSpec{Code::board_changed, "board-changed", Exit::board_failed},
    CodeSpec{Code::board_locked, "board-locked", Exit::board_failed},
    CodeSpec{Code::flash_too_small, "flash-too-small", Exit::board_failed},
    CodeSpec{Code::flash_unknown, "flash-unknown", Exit::board_failed},
    CodeSpec{Code::flash_differs, "flash-differs", Exit::board_failed},
    CodeSpec{Code::image_differs, "image-differs", Exit::board_failed},
    CodeSpec{Code::challenge_failed, "challenge-failed", Exit::board_failed},
    CodeSpec{Code::challenge_silent, "challenge-silent", Exit::board_failed},
    CodeSpec{Code::no_reset_lines, "no-reset-lines", Exit::board_failed},
    CodeSpec{Code::board_held, "board-held", Exit::board_failed},
    CodeSpec{Code::quota_reached, "quota-reached", Exit::ledger},
    CodeSpec{Code::pool_exhausted, "pool-exhausted", Exit::ledger},
    CodeSpec{Code::values_missing, "values-missing", Exit::board_failed},
    CodeSpec{Code::board_provisioned, "board-provisioned", Exit::board_failed},
    CodeSpec{Code::key_not_stored, "key-not-stored", Exit::board_failed},
    CodeSpec{Code::key_unproven, "key-unproven", Exit::board_failed},
    CodeSpec{Code::selftest_failed, "selftest-failed", Exit::board_failed},
    CodeSpec{Code::application_silent, "application-silent", Exit::board_failed},
    CodeSpec{Code::key_failed, "key-failed", Exit::configuration},
    CodeSpec{Code::ca_missing, "ca-missing", Exit::configuration},
    CodeSpec{Code::ca_invalid, "ca-invalid", Exit::configuration},
    CodeSpec{Code::certificate_invalid, "certificate-invalid", Exit::board_failed},
    CodeSpec{Code::credentials_missing, "credentials-missing", Exit::cloud},
    CodeSpec{Code::cloud_unreachable, "cloud-unreachable", Exit::cloud},
    CodeSpec{Code::cloud_denied, "cloud-denied", Exit::cloud},
    CodeSpec{Code::cloud_throttled, "cloud-throttled", Exit::cloud},
    CodeSpec{Code::cloud_refused, "cloud-refused", Exit::cloud},
    CodeSpec{Code::cloud_reply_invalid, "cloud-reply-invalid", Exit::cloud},
    CodeSpec{Code::cloud_backlog, "cloud-backlog", Exit::cloud},
    CodeSpec{Code::thing_foreign, "thing-foreign", Exit::board_failed},
    CodeSpec{Code::ledger_missing, "ledger-missing", Exit::ledger},
    CodeSpec{Code::ledger_locked, "ledger-locked", Exit::ledger},
    CodeSpec{Code::ledger_foreign, "ledger-foreign", Exit::ledger},
    CodeSpec{Code::ledger_damaged, "ledger-damaged", Exit::ledger},
    CodeSpec{Code::ledger_refused, "ledger-refused", Exit::ledger},
    CodeSpec{Code::ledger_io, "ledger-io", Exit::ledger},
    CodeSpec{Code::disk_full, "disk-full", Exit::ledger},
    CodeSpec{Code::clock_backwards, "clock-backwards", Exit::ledger},
    CodeSpec{Code::interrupted, "interrupted", Exit::interrupted},
    CodeSpec{Code::internal, "internal", Exit::board_failed},
};

namespace detail {
constexpr bool rows_follow_the_enum() {
  for (std::size_t i = 0; i < fault_codes.size(); ++i)
    if (static_cast<std::size_t>(fault_codes[i].code) != i) return false;
  return fault_codes.size() == static_cast<std::size_t>(Code::internal) + 1;
}
}  // namespace detail
static_assert(detail::rows_follow_the_enum());

constexpr const CodeSpec& spec_of(Code code) { return fault_codes[static_cast<std::size_t>(code)]; }
constexpr std::string_view name_of(Code code) { return spec_of(code).name; }
constexpr Exit exit_of(Code code) { return spec_of(code).exit; }

}  // namespace espmint
