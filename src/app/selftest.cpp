#include "app/selftest.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.hpp"
#include "image/partition_table.hpp"
#include "rom/flash.hpp"

namespace espmint::app {
namespace {

using namespace std::chrono_literals;
using State = SelftestCheck::State;

constexpr std::uint32_t sector = 0x1000;
constexpr FlashRange partition_table_place{{0x8000}, 0xc00};
// Bootloader and table: used, whatever the table says.
constexpr FlashRange always_used{{0}, 0x9000};
constexpr std::array ladder{Baud{115'200},   Baud{230'400},   Baud{460'800},  Baud{921'600},
                            Baud{1'500'000}, Baud{2'000'000}, Baud{3'000'000}};
constexpr Baud fastest_for_the_rom{921'600};
constexpr std::uint32_t rom_write_bytes = 16 * 1024;  // seconds, not minutes, at the slowest speed
constexpr int round_trips = 8;

/// Half of it noise, which deflate cannot shorten, half of it a pattern, which it can.
Bytes test_pattern(std::size_t size, std::uint32_t seed) {
  Bytes bytes(size);
  std::uint32_t noise = seed | 1;
  for (std::size_t i = 0; i < size; ++i) {
    noise ^= noise << 13, noise ^= noise >> 17, noise ^= noise << 5;
    bytes[i] = i < size / 2 ? static_cast<std::uint8_t>(noise) : static_cast<std::uint8_t>(i / 64);
  }
  return bytes;
}

std::string show_speed(std::uint64_t bytes, Duration took) {
  const double seconds = std::max(std::chrono::duration<double>(took).count(), 1e-6);
  return fmt::format("{} in {:.2f} s, {:.0f} KB/s", show_bytes(bytes), seconds,
                     static_cast<double>(bytes) / seconds / 1024);
}

Fault differs(const Md5& on_board, const Md5& wanted) {
  Fault fault{Code::flash_differs, Remedy::retry, "the flash does not hold what was sent"};
  fault.seen = fmt::format("board MD5 {}, sent MD5 {}", to_hex(on_board), to_hex(wanted));
  return fault;
}

class Selftest {
 public:
  Selftest(Loader& loader, const StubLibrary& stubs, const SelftestPlan& plan, SelftestReport& report, const bool& stop)
      : loader_(loader), clock_(loader.clock()), stubs_(stubs), plan_(plan), report_(report), stop_(stop) {}

  Task<Result<void>> run() {
    CO_TRY(co_await try_resets());
    CO_TRY(co_await must("connect and identify", &Selftest::meet_rom));
    if (report_.board->security.locked())
      co_return fail({Code::board_locked,
                      Remedy::refuse,
                      "this board is locked: nothing may be written to it in plain",
                      {},
                      {},
                      {}});
    CO_TRY(co_await must("scratch region", &Selftest::read_old));
    CO_TRY(co_await try_everything());
    auto back = co_await must("put back", &Selftest::put_back);
    if (!back && touched_) report_.not_put_back = old_;
    CO_TRY(std::move(back));
    if (stop_) co_return fail({Code::interrupted, Remedy::refuse, "stopped before all was tried", {}, {}, {}});
    co_return ok();
  }

 private:
  using Body = Task<Result<std::string>> (Selftest::*)();

  void note(SelftestCheck row) {
    if (plan_.on_check) plan_.on_check(row);
    report_.checks.push_back(std::move(row));
  }
  void skip(std::string name, std::string why) { note({State::skipped, std::move(name), std::move(why), 0, false}); }

  /// One check and its row; the fault where it is bad.
  Task<Result<void>> must(std::string name, Body body, bool required = true) {
    const Instant begun = clock_.now();
    auto end = co_await (this->*body)();
    SelftestCheck row{end ? State::good : State::bad, std::move(name), end ? *end : describe(end.error()), 0, required};
    row.seconds = std::chrono::duration<double>(clock_.now() - begun).count();
    note(std::move(row));
    if (end) co_return ok();
    broken_ = true;  // whatever is half said on the line: the next check begins with a reset
    co_return fail(std::move(end.error()));
  }
  /// The same where what follows can be tried all the same, unless the port itself is gone.
  Task<bool> check(std::string name, Body body, bool required = true) {
    auto end = co_await must(std::move(name), body, required);
    co_return end.has_value();
  }

  Task<Result<void>> try_everything() {
    const bool stub = has_stub();
    if (!stub) skip("stub", "no stub flasher for this chip was found");
    co_await try_speeds();
    if (!stop_ && can_reset_) {
      broken_ = true;  // from the stub back to the ROM
      use_stub_ = false;
      co_await check("ROM: write, MD5", &Selftest::rom_write);
    } else if (!can_reset_) {
      skip("ROM: write, MD5", "the board cannot be reset from here");
    }
    use_stub_ = stub;
    if (stub && can_reset_ && !stop_) {
      broken_ = false;  // the start of the stub is itself the check
      co_await check("stub: start", &Selftest::stub_start);
    }
    if (!stop_) co_await check(stub ? "stub: write, MD5" : "write, MD5", &Selftest::write_all);
    if (!stop_) co_await check("read back", &Selftest::read_back);
    if (!stop_) co_await check("erase, MD5", &Selftest::erase);
    co_return ok();
  }

  // ------------------------------------------------------------------------------------------------ resets and speeds

  Task<Result<void>> try_resets() {
    bool some = false;
    for (const ResetSequence& sequence : download_sequences(plan_.connect.usb_serial_jtag)) {
      if (stop_ || !can_reset_) break;
      const bool quiet = co_await leave_download_mode();
      if (!can_reset_) break;
      SelftestCheck row{State::bad, fmt::format("reset: {}", sequence.name), {}, 0, false};
      const Instant begun = clock_.now();
      auto end = co_await connect_by(loader_, sequence, 1s, plan_.connect.return_patience);
      row.seconds = std::chrono::duration<double>(clock_.now() - begun).count();
      const bool proved = quiet || banner_heard(loader_);
      if (end)
        row.seen = proved ? fmt::format("SYNC answered after {:.0f} ms", row.seconds * 1000)
                          : "SYNC is answered, but was before: nothing shows a reset";
      if (end && proved) row.state = State::good;
      if (!end) row.seen = describe(end.error());
      some = some || row.state == State::good;
      report_.heard.push_back({row.name, loader_.heard()});
      note(std::move(row));
      if (!end && end.error().code == Code::port_gone) co_return fail(std::move(end.error()));
    }
    if (!can_reset_) {
      skip("reset", "this port has no DTR and RTS");
    } else if (!stop_) {
      note({some ? State::good : State::bad, "some way into download mode",
            some ? "" : "BOOT and RESET must be pressed by hand", 0, false});
      can_reset_ = some;
    }
    co_return ok();
  }

  /// Into the application; whether nobody answers SYNC there, so that an answer later means something.
  Task<bool> leave_download_mode() {
    auto reset = co_await reset_into_application(loader_.port(), clock_);
    if (!reset && reset.error().code == Code::no_reset_lines) can_reset_ = false;
    if (!reset && reset.error().code == Code::port_gone && plan_.connect.return_patience > 0ms) {
      auto back = co_await loader_.port().reopen(clock_.now() + plan_.connect.return_patience);
      if (!back) co_return false;
    }
    co_await clock_.sleep_for(300ms);
    auto cleared = co_await loader_.start_over();
    if (!cleared) co_return false;
    for (int asked = 0; asked < 3; ++asked) {
      auto answer = co_await loader_.sync(50ms);
      if (answer) co_return false;
    }
    co_return true;
  }

  Task<void> try_speeds() {
    if (!loader_.port().has_baud()) {
      skip("speeds", "this port knows none");
      co_return;
    }
    for (Baud baud : ladder) {
      if (stop_) co_return;
      const bool by_rom = !has_stub();
      if (by_rom && baud > fastest_for_the_rom) break;
      if (broken_ && !can_reset_) co_return;
      use_stub_ = !by_rom;
      rung_ = baud;
      const bool slowest = baud == ladder.front();
      const bool clean = co_await check(fmt::format("baud {}", baud.per_second), &Selftest::rung, slowest);
      if (clean) best_ = baud;
    }
  }

  /// At this speed, blocks of the scratch region, each proved by the board's MD5 or by what was read before.
  Task<Result<std::string>> rung() {
    CO_TRY(co_await ready());
    CO_TRY(co_await loader_.change_baud(rung_));
    const bool stub = loader_.speaker() == Speaker::stub;
    const std::uint32_t size = stub ? 4096 : 256;
    const int blocks = stub ? 8 : 4;
    const Instant begun = clock_.now();
    for (int block = 0; block < blocks; ++block) {
      const std::uint32_t from = static_cast<std::uint32_t>(block) * size % report_.scratch->size;
      const FlashRange range{{report_.scratch->at.bytes + from}, size};
      auto bytes = co_await read_flash(loader_, range);
      const bool equal = bytes && *bytes == old_content(from, size);
      if (equal) continue;
      Fault fault =
          bytes ? Fault{Code::reply_damaged, Remedy::retry, "a block came damaged"} : std::move(bytes.error());
      fault.seen = fmt::format("{}{}block {} of {}", fault.seen, fault.seen.empty() ? "" : ", ", block + 1, blocks);
      co_return fail(std::move(fault));
    }
    const auto all = static_cast<std::uint64_t>(size) * static_cast<std::uint64_t>(blocks);
    co_return fmt::format("{} of {} blocks, {}", blocks, blocks, show_speed(all, clock_.now() - begun));
  }

  // ------------------------------------------------------------------------------------------------ flash

  Task<Result<std::string>> meet_rom() {
    use_stub_ = false;
    broken_ = true;
    CO_TRY(co_await ready());
    const BoardInfo& board = *report_.board;
    const Instant begun = clock_.now();
    for (int trip = 0; trip < round_trips; ++trip) CO_TRY(co_await loader_.read_reg(chip_magic_register));
    const double each_ms = std::chrono::duration<double, std::milli>(clock_.now() - begun).count() / round_trips;
    co_return fmt::format("{} revision {}, {}, flash {} (JEDEC id {:06x}); a question and its answer take {:.1f} ms",
                          board.chip->title, to_string(board.revision), to_string_with_colons(board.mac),
                          show_bytes(board.flash_size), board.flash_id, each_ms);
  }

  Task<Result<std::string>> read_old() {
    const std::uint32_t flash = report_.board->flash_size;
    const FlashRange range = plan_.region.value_or(FlashRange{{flash - usual_scratch_bytes}, usual_scratch_bytes});
    if (range.at.bytes % sector != 0 || range.size % sector != 0 || range.size == 0 || range.end() > flash)
      co_return fail({Code::usage,
                      Remedy::refuse,
                      "the scratch region is not whole sectors of this flash",
                      {},
                      fmt::format("{:#x}, {:#x}; the flash has {}", range.at.bytes, range.size, show_bytes(flash)),
                      {}});
    report_.scratch = range;
    use_stub_ = has_stub();
    auto up = co_await ready();
    if (!up && use_stub_) {
      use_stub_ = false;  // its own check says why
      broken_ = true;
      up = co_await ready();
    }
    CO_TRY(std::move(up));
    const std::string where = fmt::format("{:#x} to {:#x}", range.at.bytes, range.end() - 1);
    CO_TRY(Md5 on_board, co_await flash_md5(loader_, range));
    if (on_board == md5_of(Bytes(range.size, 0xff))) co_return where + ", blank";
    CO_TRY(std::string user, co_await who_uses(range));
    if (!user.empty() && !plan_.force)
      co_return fail(
          {Code::usage,
           Remedy::refuse,
           fmt::format("the scratch region is in use: {}", user),
           {},
           where,
           "Name another with --region OFFSET,SIZE; --force takes it all the same, and puts its content back"});
    CO_TRY(old_, co_await read_flash(loader_, range));
    co_return fmt::format("{}, its content was read to be put back{}", where, user.empty() ? "" : "; it is " + user);
  }

  /// "partition storage", "bootloader and partition table"; empty where nobody says that it is used.
  Task<Result<std::string>> who_uses(FlashRange range) {
    if (range.overlaps(always_used)) co_return "bootloader and partition table";
    CO_TRY(Bytes bytes, co_await read_flash(loader_, partition_table_place));
    auto table = parse_partition_table(bytes);
    if (table)
      for (const Partition& partition : table->partitions)
        if (partition.range.overlaps(range)) co_return "partition " + partition.name;
    co_return std::string{};
  }

  Task<Result<std::string>> rom_write() {
    CO_TRY(co_await ready());
    CO_TRY(co_await loader_.change_baud(std::min(best_, fastest_for_the_rom)));
    co_return co_await write_pattern(std::min(rom_write_bytes, report_.scratch->size), 0x0e32'0001);
  }
  Task<Result<std::string>> stub_start() {
    CO_TRY(BoardInfo board, co_await meet());
    CO_TRY(co_await start_stub(loader_, *stub_for(stubs_, *board.chip, board.revision)));
    CO_TRY(co_await read_flash_id(loader_, board));
    co_return "it greeted";
  }
  Task<Result<std::string>> write_all() {
    CO_TRY(co_await ready());
    CO_TRY(co_await loader_.change_baud(use_stub_ ? best_ : std::min(best_, fastest_for_the_rom)));
    co_return co_await write_pattern(report_.scratch->size, 0x0e32'0002);
  }
  Task<Result<std::string>> write_pattern(std::uint32_t size, std::uint32_t seed) {
    touched_ = true;
    written_ = test_pattern(size, seed);
    const Instant begun = clock_.now();
    CO_TRY(co_await write_and_prove(written_));
    co_return show_speed(size, clock_.now() - begun);
  }
  Task<Result<void>> write_and_prove(const Bytes& bytes) {
    auto region = prepare_region(report_.scratch->at, bytes, WriteFormat::of(loader_.speaker(), *report_.board->chip));
    CO_TRY(co_await write_region(loader_, *region));
    CO_TRY(Md5 on_board, co_await flash_md5(loader_, region->range));
    if (on_board != region->md5) co_return fail(differs(on_board, region->md5));
    co_return ok();
  }
  Task<Result<std::string>> read_back() {
    CO_TRY(co_await ready());
    const Instant begun = clock_.now();
    const FlashRange range{report_.scratch->at, static_cast<std::uint32_t>(written_.size())};
    CO_TRY(Bytes bytes, co_await read_flash(loader_, range));
    if (bytes != written_) co_return fail(differs(md5_of(bytes), md5_of(written_)));
    co_return show_speed(bytes.size(), clock_.now() - begun);
  }
  Task<Result<std::string>> erase() {
    CO_TRY(co_await ready());
    CO_TRY(co_await erase_region(loader_, *report_.scratch));
    CO_TRY(Md5 on_board, co_await flash_md5(loader_, *report_.scratch));
    const Md5 blank = md5_of(Bytes(report_.scratch->size, 0xff));
    if (on_board != blank) co_return fail(differs(on_board, blank));
    co_return show_bytes(report_.scratch->size);
  }
  Task<Result<std::string>> put_back() {
    if (!touched_) co_return "nothing was written";
    CO_TRY(co_await ready());
    if (old_.empty()) {
      CO_TRY(co_await erase_region(loader_, *report_.scratch));
      co_return "blank again";
    }
    CO_TRY(co_await write_and_prove(old_));
    co_return fmt::format("{} as they were, proved by MD5", show_bytes(old_.size()));
  }

  // ------------------------------------------------------------------------------------------------ the line

  [[nodiscard]] bool has_stub() const {
    return report_.board && stub_for(stubs_, *report_.board->chip, report_.board->revision);
  }
  [[nodiscard]] Bytes old_content(std::uint32_t from, std::uint32_t size) const {
    if (old_.empty()) return Bytes(size, 0xff);
    return {old_.begin() + from, old_.begin() + from + size};
  }

  /// A reset, and the same board again.
  Task<Result<BoardInfo>> meet() {
    CO_TRY(co_await connect(loader_, plan_.connect));
    CO_TRY(BoardInfo board, co_await identify(loader_));
    if (report_.board && board.mac != report_.board->mac)
      co_return fail({Code::board_changed,
                      Remedy::refuse,
                      "another board is on this port now",
                      {},
                      fmt::format("MAC {}, it was {}", to_string_with_colons(board.mac),
                                  to_string_with_colons(report_.board->mac)),
                      {}});
    co_return board;
  }
  /// Whoever is wanted speaks and the flash is attached; by a reset where the last check left the line in disorder.
  Task<Result<void>> ready() {
    const Speaker wanted = use_stub_ ? Speaker::stub : Speaker::rom;
    if (!broken_ && report_.board && loader_.speaker() == wanted) co_return ok();
    CO_TRY(BoardInfo board, co_await meet());
    if (use_stub_ && loader_.speaker() == Speaker::rom)
      CO_TRY(co_await start_stub(loader_, *stub_for(stubs_, *board.chip, board.revision)));
    CO_TRY(co_await read_flash_id(loader_, board));
    report_.board = board;
    broken_ = false;
    co_return ok();
  }

  Loader& loader_;
  Clock& clock_;
  const StubLibrary& stubs_;
  const SelftestPlan& plan_;
  SelftestReport& report_;
  const bool& stop_;
  bool can_reset_ = true, broken_ = true, use_stub_ = false, touched_ = false;
  Baud rung_{}, best_{};
  Bytes old_;      // empty: blank
  Bytes written_;  // last
};

}  // namespace

bool SelftestReport::good() const {
  return !checks.empty() && std::all_of(checks.begin(), checks.end(), [](const SelftestCheck& row) {
    return !row.required || row.state == State::good;
  });
}

Task<Result<void>> selftest(Loader& loader, const StubLibrary& stubs, const SelftestPlan& plan, SelftestReport& report,
                            const bool& stop) {
  Selftest test{loader, stubs, plan, report, stop};
  co_return co_await test.run();
}

}  // namespace espmint::app
