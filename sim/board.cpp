#include "sim/board.hpp"

namespace espmint::sim {
namespace {

constexpr std::size_t adapter_queue = 512 + 4096;  // the adapter's buffer and the kernel's
constexpr std::size_t usb_packet = 62;             // 64 less two status bytes
constexpr std::size_t unread_limit = 64 * 1024;    // a host that does not read loses text, not memory
constexpr Time en_rise = milliseconds{1};          // the capacitor on EN
constexpr std::size_t rom_frames = 32;
constexpr std::uint8_t slip_end = 0xc0;

Chip chip_of(const BoardOptions& options) {
  const ChipRow* row = chip_row_named(options.chip);
  Chip chip{row ? *row : all_chip_rows().front()};
  if (options.revision) chip.revision = *options.revision;
  chip.crystal_mhz = options.crystal_mhz;
  chip.security = options.security;
  chip.security.hmac_key = chip.security.hmac_key || !options.hmac_key.empty();
  return chip;
}
const Preset* preset_or_first(std::string_view name) {
  const Preset* row = preset_named(name);
  return row ? row : presets.data();
}

}  // namespace

Board::Board(BoardOptions options, ByteSpan flash, Time now)
    : options_(std::move(options)),
      chip_(chip_of(options_)),
      preset_(preset_or_first(options_.preset)),
      flash_(flash),
      dice_(options_.seed ^ 0x626f'6172'64),
      from_wire_(preset_->paced),
      to_wire_(preset_->paced),
      from_gremlin_(options_.faults, 1),
      to_gremlin_(options_.faults, 2),
      fast_gremlin_({.seed = options_.seed, .garble_one_of = 3000}, 3),
      usb_(options_.native_usb),
      ailment_(options_.symptom, options_.seed) {
  swap(now, options_.mac, true);
  usb_ = NativeUsb{options_.native_usb};  // it has been there for a while
}

void Board::swap(Time now, const Mac& mac, bool keep_flash) {
  move_to(now);
  stop_cpu(now);
  options_.mac = mac;
  swap_on_plug_ = false;
  if (!keep_flash) flash_.erase(0, flash_.size());
  std::uint64_t unique = options_.seed;
  for (std::uint8_t octet : mac.octets) unique = unique * 257 + octet;
  registers_.emplace(chip_, mac, flash_, Dice{unique}.roll(), usb_.used());
  registers_->flash_is_there(ailment_.flash_answers());
  if (chip_.row().baud_by_rtc) {
    // Cycles of the crystal in a span of the RTC's oscillator: 1280 of 40 MHz. Source: ESP32 TRM, TIMG_RTCCALICFG1.
    std::int64_t nominal = 1280 * static_cast<std::int64_t>(chip_.crystal_hz()) / 40'000'000;
    std::int64_t cycles = nominal * (1000 + options_.rtc_per_mille) / 1000;
    registers_->preset(0x3ff5'f06c, static_cast<std::uint32_t>(cycles << 7));
  }
  for (const RegisterValue& row : options_.registers) registers_->preset(row.address, row.value);
  rom_.emplace(chip_, *preset_, flash_, *registers_, dice_);
  stub_.emplace(chip_, *preset_, flash_, *registers_, dice_);
  mode_ = Mode::off;
  if (plugged_ && powered_) {
    powered_ = false;
    power(now, true);
  }
}

std::string_view Board::state() const {
  switch (mode_) {
    case Mode::off:
      return "off";
    case Mode::held:
    case Mode::settling:
    case Mode::starting:
      return "reset";
    case Mode::rom:
      return "rom";
    case Mode::stub:
      return "stub";
    case Mode::interpreter:
      return "interpreter";
    case Mode::hung:
      return "hung";
    case Mode::booting:
      return "booting";
    case Mode::app:
      return "app";
    case Mode::looping:
      return "looping";
  }
  return "off";
}

void Board::warn(std::string text) {
  if (warnings_.size() < 100) warnings_.push_back(std::move(text));
}

void Board::power(Time now, bool on) {
  move_to(now);
  if (on == powered_) return;
  powered_ = on;
  stop_cpu(now);
  if (!on) {
    mode_ = Mode::off;
    return;
  }
  if (!plugged_) return;
  usb_.power_on();
  leave_bus(now);
  mode_ = Mode::held;
  if (en_high()) {
    en_high_at_ = now;
    mode_ = Mode::settling;
    stage_at_ = now + en_rise;
  }
}

/// The chip's own USB goes with its reset: what was on its way is lost, and what the host held.
void Board::leave_bus(Time at) {
  if (!usb_.used()) return;
  usb_.leave(at);
  dtr_ = rts_ = false;
  from_wire_.clear();
  to_wire_.clear();
}

void Board::unplug(Time now) {
  move_to(now);
  if (!plugged_) return;
  stop_cpu(now);
  plugged_ = false;
  mode_ = Mode::off;
  dtr_ = rts_ = false;
  from_wire_.clear();
  to_wire_.clear();
  host_baud_ = 115'200;
}

void Board::plug(Time now) {
  move_to(now);
  if (plugged_) return;
  plugged_ = true;
  if (swap_on_plug_) {
    Mac other = options_.mac;
    other.octets[5] = static_cast<std::uint8_t>(other.octets[5] ^ 0x80);
    other.octets[4] = static_cast<std::uint8_t>(other.octets[4] + 1);
    return swap(now, other);
  }
  if (powered_) {
    powered_ = false;
    power(now, true);
  }
}

void Board::set_lines(Time now, bool dtr, bool rts) {
  move_to(now);
  bool was_high = en_high();
  dtr_ = dtr;
  rts_ = rts;
  if (!plugged_ || !powered_) return;
  if (usb_.used() && usb_.set_lines(dtr, rts)) {
    stop_cpu(now);
    leave_bus(now);
    cause_ = chip_.row().own_usb_reset;
    en_high_at_ = now;
    mode_ = Mode::settling;
    stage_at_ = now + en_rise;
  }
  if (was_high == en_high()) return;
  if (!en_high()) {
    stop_cpu(now);
    mode_ = Mode::held;
  } else {
    en_high_at_ = now;
    mode_ = Mode::settling;
    stage_at_ = now + en_rise;
  }
}

/// What the CPU was at is cut off: a page half programmed, a sector half erased.
void Board::stop_cpu(Time at) {
  if (!steps_.empty()) {
    const Step& step = steps_.front();
    std::int64_t whole = (step.takes - step_began_).count(), done = (at - step_began_).count();
    if (whole > 0 && done > 0 && done < whole) {
      auto part = [&](std::size_t size) {
        return static_cast<std::size_t>(static_cast<std::uint64_t>(done) * size / static_cast<std::uint64_t>(whole));
      };
      if (step.kind == Step::Kind::program)
        flash_.program(step.at, ByteView{step.bytes}.first(part(step.bytes.size())));
      if (step.kind == Step::Kind::erase) flash_.erase(step.at, static_cast<std::uint32_t>(part(step.size)));
    }
  }
  steps_.clear();
  frames_.clear();
  slip_.reset();
  stage_at_.reset();
  app_.reset();
}

void Board::set_baud(std::uint32_t baud) {
  board_baud_ = baud;
  registers_->set_uart(baud);
}

void Board::set_host_baud(Time now, std::uint32_t baud) {
  move_to(now);
  host_baud_ = baud;
}

std::size_t Board::receive(Time now, ByteView bytes) {
  move_to(now);
  if (!present()) return bytes.size();  // into nowhere: the port says so by itself
  std::size_t room = from_wire_.size() >= adapter_queue ? 0 : adapter_queue - from_wire_.size();
  std::size_t taken = std::min(room, bytes.size());
  if (!preset_->paced) taken = bytes.size();
  refused_ = taken < bytes.size();
  if (taken == 0) return 0;
  if (ailment_.echoes()) to_wire_.push(now, bytes.first(taken), wire_baud(host_baud_));
  if (!ailment_.hears()) return taken;
  Time delay{};
  Bytes through = from_gremlin_.pass(bytes.first(taken), delay);
  if (options_.max_clean_baud != 0 && host_baud_ > options_.max_clean_baud)
    through = fast_gremlin_.pass(through, delay);
  from_wire_.push(now + preset_->usb_out + delay, through, wire_baud(host_baud_));
  count_from_host(now, taken);
  if (!preset_->paced) move_to(now);
  return taken;
}

void Board::count_from_host(Time now, std::size_t bytes) {
  std::uint64_t before = from_host_;
  from_host_ += bytes;
  auto crossed = [&](const std::optional<std::uint64_t>& place) {
    return place && before < *place && from_host_ >= *place;
  };
  const Faults& faults = options_.faults;
  if (crossed(faults.reset_at_byte)) {
    stop_cpu(now);
    leave_bus(now);
    cause_ = chip_.row().power_on;
    mode_ = Mode::settling;
    en_high_at_ = now;
    stage_at_ = now + en_rise;
  }
  if (crossed(faults.swap_at_byte)) {
    unplug(now);
    swap_on_plug_ = true;
  } else if (crossed(faults.unplug_at_byte)) {
    unplug(now);
  }
}

Time Board::to_host_visible() const {
  // A packet leaves when it is full, the rest when the adapter's timer ends; long answers come in bigger pieces.
  std::size_t left = to_wire_.front_size();
  std::size_t piece = left > 4096 ? usb_packet * 8 : usb_packet;
  if (!preset_->paced || left <= piece) return to_wire_.front_end() + preset_->usb_in;
  return to_wire_.arrival(piece - 1) + preset_->usb_out;
}

std::size_t Board::transmit(Time now, ByteSpan into) {
  move_to(now);
  std::size_t done = 0;
  std::size_t room = to_gremlin_.shorten(into.size());
  while (done < room && !to_wire_.empty() && to_host_visible() <= now) {
    ByteView there = to_wire_.arrived(now);
    std::size_t count = std::min(there.size(), room - done);
    if (count == 0) break;
    std::copy_n(there.begin(), count, into.begin() + static_cast<std::ptrdiff_t>(done));
    to_wire_.pop(count);
    done += count;
  }
  return done;
}

void Board::discard_input(Time now) {
  move_to(now);
  while (!to_wire_.empty()) {
    std::size_t count = to_wire_.arrived(now).size();
    if (count == 0) break;
    to_wire_.pop(count);
  }
}

void Board::host_opens(Time now) {
  if (!usb_.used() || usb_.is_open()) return discard_input(now);
  move_to(now);
  usb_.host_opens();
  Bytes kept = usb_.take_kept();
  to_wire_.push(now, kept, wire_baud(board_baud_));
}

void Board::discard_output(Time now) {
  move_to(now);
  from_wire_.clear();
}

void Board::say(Time at, ByteView bytes) {
  if (bytes.empty() || !ailment_.speaks()) return;
  to_host_count_ += bytes.size();
  bool text = mode_ == Mode::looping || mode_ == Mode::app || mode_ == Mode::booting || mode_ == Mode::starting;
  if (text && to_wire_.size() + bytes.size() > unread_limit) return;
  if (usb_.used() && !usb_.is_open()) return usb_.keep(bytes);
  Time delay{};
  Bytes through = to_gremlin_.pass(bytes, delay);
  if (!in_tune(host_baud_, board_baud_))
    for (std::uint8_t& byte : through) byte = static_cast<std::uint8_t>(byte ^ dice_.byte());
  else if (options_.max_clean_baud != 0 && board_baud_ > options_.max_clean_baud)
    through = fast_gremlin_.pass(through, delay);
  ailment_.garble(through);
  to_wire_.push(at + delay, through, wire_baud(board_baud_));
}

std::optional<Time> Board::next_event() const {
  std::optional<Time> next;
  auto consider = [&next](Time at) {
    if (!next || at < *next) next = at;
  };
  if (stage_at_) consider(*stage_at_);
  if (std::optional<Time> back = returns_at()) consider(*back);
  if (std::optional<Time> tick = app_tick()) consider(*tick);
  if (!to_wire_.empty()) consider(to_host_visible());
  if (!from_wire_.empty()) {
    std::optional<std::size_t> end = from_wire_.find(slip_end);
    bool frames = mode_ == Mode::rom || mode_ == Mode::stub;
    consider(frames && end ? from_wire_.arrival(*end) : from_wire_.front_end());
    if (refused_) consider(next_room());
  }
  if (!steps_.empty()) {
    // Erasing and programming show only at their end; what is said on the way shows when it is said.
    Time last{};
    for (const Step& step : steps_) {
      last = step.takes;
      if (step.is_visible()) break;
    }
    consider(last);
  }
  if (next && *next < now_) next = now_;
  return next;
}

Time Board::next_room() const {
  if (from_wire_.size() < adapter_queue) return now_;
  // Half of the queue: a writer woken for every byte would do nothing else.
  return std::max(now_, from_wire_.arrival(std::min(from_wire_.front_size() - 1, adapter_queue / 2)));
}

void Board::advance(Time now) { move_to(now); }

/// Everything up to `now`, in the order of time; at the same moment work ends before a stage before the application's
/// tick before bytes.
void Board::move_to(Time now) {
  while (true) {
    std::optional<Time> work = steps_.empty() ? std::nullopt : std::optional{steps_.front().takes};
    std::optional<Time> byte = from_wire_.empty() ? std::nullopt : std::optional{from_wire_.arrival(0)};
    std::optional<Time> tick = app_tick();
    auto first = [now](const std::optional<Time>& at, std::initializer_list<std::optional<Time>> others) {
      if (!at || *at > now) return false;
      return std::all_of(others.begin(), others.end(), [&at](const auto& other) { return !other || *at <= *other; });
    };
    if (first(work, {stage_at_, tick, byte})) {
      Step step = std::move(steps_.front());
      steps_.pop_front();
      step_began_ = *work;
      now_ = std::max(now_, *work);
      finish_step(step, *work);
      if (steps_.empty()) dequeue(now_);
    } else if (first(stage_at_, {tick, byte})) {
      Time at = *stage_at_;
      stage_at_.reset();
      now_ = std::max(now_, at);
      // A board nobody watches need not live through every one of its watchdog's resets.
      if (mode_ == Mode::looping && now - at > milliseconds{5000}) at = now - loop_pause;
      run_stage(at);
    } else if (first(tick, {byte})) {
      now_ = std::max(now_, *tick);
      react(*tick, app_->tick(*tick));
    } else if (byte && *byte <= now) {
      Time until = now;
      if (work) until = std::min(until, *work);
      if (stage_at_) until = std::min(until, *stage_at_);
      if (tick) until = std::min(until, *tick);
      deliver(std::max(until, *byte));
    } else {
      break;
    }
  }
  now_ = std::max(now_, now);
  usb_.advance(now);
}

/// Hands the board what has arrived, at most to the end of a frame: what follows from that may come first.
void Board::deliver(Time until) {
  ByteView there = from_wire_.arrived(until);
  if (there.empty()) return;
  bool hears = mode_ == Mode::rom || mode_ == Mode::stub;
  if (!hears) {
    Bytes copy(there.begin(), there.end());
    Time at = preset_->paced ? from_wire_.arrival(copy.size() - 1) : until;
    from_wire_.pop(copy.size());
    return hear(at, copy);
  }
  if (!usb_.used() && mode_ == Mode::rom && !rom_->synced() && from_wire_.baud() != 0 &&
      from_wire_.baud() != board_baud_)
    set_baud(from_wire_.baud());  // autobaud
  Bytes noisy;
  if (!in_tune(from_wire_.baud(), board_baud_)) {
    noisy.assign(there.begin(), there.end());
    for (std::uint8_t& byte : noisy) byte = static_cast<std::uint8_t>(byte ^ dice_.byte());
    there = noisy;
  }
  SlipReader::Taken taken = slip_.take(there);
  Time at = taken.bytes > 0 ? from_wire_.arrival(taken.bytes - 1) : until;
  if (!preset_->paced) at = until;
  from_wire_.pop(taken.bytes);
  if (taken.event == SlipReader::Event::began) {
    std::size_t in_use = frames_.size() + (steps_.empty() ? 0 : 1);
    if (mode_ == Mode::stub && !stub_->reading() && in_use >= Stub::frames) {
      slip_.drop_this_one();
      warn("frame dropped: both of the stub's buffers were full");
    }
  } else if (taken.event == SlipReader::Event::complete) {
    frame_complete(std::max(at, now_));
  }
}

void Board::hear(Time at, ByteView bytes) {
  if (mode_ == Mode::interpreter) {
    Bytes echo;
    for (std::uint8_t byte : bytes) {
      if (byte == 0) continue;
      echo.push_back(byte);
      // A backspace rubs out what was there.
      if (byte == 8) append(echo, as_bytes(" \b"));
    }
    say(at, echo);
  } else if (mode_ == Mode::app && app_) {
    Bytes heard(bytes.begin(), bytes.end());
    if (!in_tune(host_baud_, board_baud_))
      for (std::uint8_t& byte : heard) byte = static_cast<std::uint8_t>(byte ^ dice_.byte());
    react(at, app_->hear(at, heard));
  }
}

std::optional<Time> Board::app_tick() const { return mode_ == Mode::app && app_ ? app_->next_tick() : std::nullopt; }

void Board::react(Time at, Reaction&& reaction) {
  Time end = steps_.empty() ? at : std::max(at, steps_.back().takes);
  if (!reaction.says.empty()) {
    if (reaction.signs) end += preset_->sign;
    steps_.push_back({Step::Kind::reply, end, 0, 0, std::move(reaction.says)});
  }
  if (reaction.restarts) steps_.push_back({Step::Kind::restart, end});
}

void Board::frame_complete(Time at) {
  Bytes frame = slip_.frame();
  if (mode_ == Mode::stub && stub_->reading()) {
    // Acknowledgements are taken while blocks go out.
    Work work;
    stub_->handle(frame, work);
    return plan(at, std::move(work));
  }
  if (frames_.size() >= rom_frames) return;
  frames_.push_back(std::move(frame));
  if (steps_.empty()) dequeue(at);
}

void Board::dequeue(Time at) {
  while (steps_.empty() && !frames_.empty()) {
    Bytes frame = std::move(frames_.front());
    frames_.pop_front();
    Work work;
    if (mode_ == Mode::rom)
      rom_->handle(frame, work);
    else if (mode_ == Mode::stub)
      stub_->handle(frame, work);
    plan(at, std::move(work));
  }
}

void Board::plan(Time at, Work&& work) {
  if (steps_.empty()) step_began_ = at;
  Time end = steps_.empty() ? at : std::max(at, steps_.back().takes);
  for (Step& step : work) {
    // No two erases take the same time.
    bool varies = preset_->paced && (step.kind == Step::Kind::erase || step.kind == Step::Kind::program);
    if (varies) step.takes = step.takes * static_cast<std::int64_t>(900 + dice_.below(201)) / 1000;
    end += step.takes;
    step.takes = end;
    steps_.push_back(std::move(step));
  }
}

void Board::finish_step(const Step& step, Time at) {
  switch (step.kind) {
    case Step::Kind::wait:
      return;
    case Step::Kind::reply:
      return say(at, step.bytes);
    case Step::Kind::erase:
      return flash_.erase(step.at, step.size);
    case Step::Kind::program:
      return flash_.program(step.at, step.bytes);
    case Step::Kind::set_baud:
      return set_baud(step.size);
    case Step::Kind::restart:
      stop_cpu(at);
      leave_bus(at);
      cause_ = chip_.row().software;
      download_ = false;
      en_high_at_ = at;
      mode_ = Mode::starting;
      stage_at_ = at + preset_->banner_after;
      return;
    case Step::Kind::run_stub:
      return start_program(at);
    case Step::Kind::hang:
      mode_ = Mode::hung;
      return;
    case Step::Kind::basic:
      say(at, step.bytes);
      mode_ = Mode::interpreter;
      return;
  }
}

}  // namespace espmint::sim
