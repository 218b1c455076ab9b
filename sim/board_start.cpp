// How a virtual board starts: the strap sampled, the banner, then the ROM's loader, an uploaded program, or what lies
// in the flash.
#include <fmt/format.h>

#include "sim/board.hpp"
#include "sim/digest.hpp"

namespace espmint::sim {
namespace {

// A chip that takes its USB along each time must stay long enough between two resets for a host to catch it.
constexpr Time native_loop_pause = milliseconds{2000};

// An unknown stub is taken for a current one.
constexpr StubRow unknown_stub{"", "unknown", true, true};

std::string reset_text(const Chip& chip, std::string_view cause, bool download, const Ailment& ailment) {
  const ChipRow& row = chip.row();
  std::string mode = ailment.boot_words(download ? row.download : row.from_flash);
  std::string_view waiting = download ? row.waiting : "";
  if (row.bare_rom) return fmt::format("{}rst cause:{}, boot mode:{}\r\n\r\n", chip.rom().banner, cause, mode);
  return fmt::format("{}rst:{},boot:{}\r\n{}", chip.rom().banner, cause, mode, waiting);
}

}  // namespace

void Board::start_program(Time at) {
  const Upload* program = rom_->program();
  if (!program) {
    mode_ = Mode::hung;
    return;
  }
  std::string text_digest = to_hex(digest(EVP_sha256(), program->bytes));
  const StubRow* row = known_stub(text_digest);
  if (!row)
    warn(fmt::format("unknown stub, text {} B with SHA-256 {}: taken for a current one", program->bytes.size(),
                     text_digest));
  mode_ = Mode::stub;
  slip_.set_limit(Stub::frame_limit);
  Work work;
  stub_->start(row ? *row : unknown_stub, work);
  plan(at, std::move(work));
}

void Board::run_stage(Time at) {
  switch (mode_) {
    case Mode::settling:  // EN has risen: straps are sampled
      download_ = io0_low();
      if (cause_.empty()) cause_ = chip_.row().power_on;
      mode_ = Mode::starting;
      stage_at_ = std::max(at, en_high_at_ + preset_->banner_after);
      return;
    case Mode::starting: {
      slip_.set_limit(64 * 1024);
      rom_->reset();
      registers_->reset(download_, ailment_.more_straps());
      set_baud(chip_.boot_baud());
      std::string cause = std::exchange(cause_, {});
      if (!download_) return boot_from_flash(at, cause);
      say(at, reset_text(chip_, cause, true, ailment_));
      mode_ = Mode::booting;
      stage_at_ = std::max(at, en_high_at_ + preset_->ready_after);
      return;
    }
    case Mode::booting:
      if (download_) {
        mode_ = Mode::rom;
      } else {
        mode_ = Mode::app;
        react(at, app_->start(at));
      }
      return;
    case Mode::looping:
      leave_bus(at);
      en_high_at_ = at;
      cause_ = chip_.row().watchdog;
      boot_from_flash(at, std::exchange(cause_, {}));
      return;
    default:
      return;
  }
}

void Board::boot_from_flash(Time at, std::string_view cause) {
  if (auto sick = ailment_.instead_of_boot(chip_, cause)) {
    mode_ = Mode::looping;
    stage_at_ = at + sick->again_after;
    set_baud(115'200);
    return say(at, sick->says);
  }
  Boot result = boot(chip_, flash_.view());
  mode_ = Mode::booting;
  set_baud(chip_.boot_baud());
  say(at, reset_text(chip_, cause, false, ailment_) + result.rom_text);
  set_baud(115'200);  // the second-stage bootloader knows the crystal
  say(at, result.log);
  if (!result.running) {
    mode_ = Mode::looping;
    stage_at_ = at + std::max(preset_->boot, usb_.used() ? native_loop_pause : loop_pause);
    return;
  }
  app_ = make_app_firmware(result.app_kind, {options_.mac, flash_, options_.hmac_key}, result.partitions);
  stage_at_ = at + preset_->boot;
}

}  // namespace espmint::sim
