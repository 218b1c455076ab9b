// Everything that is asked of a board, against a board that answers with the fuzzer's bytes: whatever comes, and when,
// each conversation ends within its budget of (virtual) time, holds only so much memory, and what it reports as good
// is.
//
// The input:  last ‖ stall ‖ chip ‖ count ‖ count operations ‖ what comes back, one move for each frame the board hears
//   last   what the board does when the moves are used up: Last
//   stall  the write at which the line blocks for good, 0 for never
//   chip   0 not known yet, else a row of all_chips(); 0x80: the stub speaks
//   move   kind (3 bits, Kind) | delay (3 bits) | 0x40 comes in two pieces | 0x80 behind a boot log; its operands
//   follow
#include <array>
#include <cstdlib>
#include <deque>

#include "io/loop.hpp"
#include "rom/connect.hpp"
#include "rom/flash.hpp"
#include "rom/identify.hpp"
#include "rom/stub.hpp"

using namespace espmint;

namespace {

using namespace std::chrono_literals;

void require(bool kept) {
  if (!kept) std::abort();
}

class Input {
 public:
  explicit Input(ByteView bytes) : rest_(bytes) {}
  [[nodiscard]] bool empty() const { return rest_.empty(); }
  std::uint8_t byte() {
    ByteView one = bytes(1);
    return one.empty() ? 0 : one[0];
  }
  std::uint32_t word() {
    std::uint32_t value = 0;
    for (int i = 0; i < 4; ++i) value = value << 8 | byte();
    return value;
  }
  ByteView bytes(std::size_t most) {
    ByteView taken = rest_.first(std::min(most, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }

 private:
  ByteView rest_;
};

enum class Last { silent, obliging, echoing, babbling };

enum class Kind {
  answer,    // u32: its value; success
  refusal,   // u8: the reason
  body,      // u8 length, bytes: a whole reply whose body and status they are
  raw,       // u8 length, bytes: as they are on the wire
  flash,     // what an honest board would answer next, flash contents included
  digest,    // u8: a digest of 16 bytes where even, of 32 letters where odd
  greeting,  // success, and the stub's greeting
  odd,       // u8: silence, echo, the answer eight times, or the port vanishes
};

constexpr std::array<Duration, 8> delays{0ms, 1ms, 19ms, 90ms, 499ms, 990ms, 2990ms, 40s};
constexpr Duration latency_of_port = 5ms;
constexpr Baud slowest{115'200};

Duration wire_time(std::size_t bytes, Baud baud) {
  return std::chrono::nanoseconds{bytes * 10'000'000'000ull / baud.per_second};
}

/// A line at its real speed; at the other end a board that makes the input's moves.
class FuzzedPort final : public Port {
 public:
  FuzzedPort(Clock& clock, Input moves, Last last, std::uint8_t stall)
      : clock_(clock), moves_(moves), last_(last), stall_(stall) {}

  void stub_speaks() { stub_ = true; }

  Task<Result<std::size_t>> read_some(ByteSpan into, Instant deadline) override {
    if (gone_) co_return fail(vanished());
    if (coming_.empty() && last_ == Last::babbling && moves_.empty()) come(babble_, 5ms);
    if (coming_.empty() || coming_.front().at > std::max(deadline, clock_.now())) {
      co_await clock_.sleep_until(deadline);
      co_return std::size_t{0};
    }
    if (coming_.front().at > clock_.now()) co_await clock_.sleep_until(coming_.front().at);
    Coming& next = coming_.front();
    std::size_t count = std::min(into.size(), next.bytes.size() - next.taken);
    std::copy_n(next.bytes.begin() + static_cast<std::ptrdiff_t>(next.taken), count, into.begin());
    next.taken += count;
    if (next.taken == next.bytes.size()) coming_.pop_front();
    co_return count;
  }

  Task<Result<void>> write(ByteView bytes, Instant deadline) override {
    if (gone_) co_return fail(vanished());
    Instant done = clock_.now() + wire_time(bytes.size(), baud_);
    if ((stall_ != 0 && ++writes_ >= stall_) || done > deadline) {
      co_await clock_.sleep_until(deadline);
      co_return fail({Code::port_failed, Remedy::reconnect, "the line blocks"});
    }
    co_await clock_.sleep_until(done);
    heard_.push(bytes);
    while (auto frame = heard_.next()) hear(*frame);
    co_return ok();
  }

  Task<Result<void>> set_baud(Baud baud) override {
    if (gone_) co_return fail(vanished());
    baud_ = baud;
    co_return ok();
  }
  Task<Result<void>> set_dtr(bool) override { co_return reset(); }
  Task<Result<void>> set_rts(bool) override { co_return reset(); }
  Task<Result<void>> set_dtr_rts(bool, bool) override { co_return reset(); }
  Task<Result<void>> discard_input() override {
    std::erase_if(coming_, [this](const Coming& one) { return one.at <= clock_.now(); });
    if (gone_) co_return fail(vanished());
    co_return ok();
  }
  void close() override { gone_ = true; }
  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] Duration latency() const override { return latency_of_port; }

 private:
  struct Coming {
    Instant at;
    Bytes bytes;
    std::size_t taken = 0;
  };

  static Fault vanished() { return {Code::port_gone, Remedy::reconnect, "the port is gone"}; }
  Result<void> reset() {
    if (gone_) return fail(vanished());
    stub_ = false;
    return ok();
  }

  void come(ByteView bytes, Duration after) {
    if (bytes.empty()) return;
    Instant from = std::max(clock_.now() + after, coming_.empty() ? Instant{} : coming_.back().at);
    coming_.push_back({from + wire_time(bytes.size(), baud_), Bytes(bytes.begin(), bytes.end())});
  }

  Bytes reply(std::uint32_t value, ByteView body, bool success = true, std::uint8_t reason = 0) const {
    Bytes whole(body.begin(), body.end());
    whole.push_back(success ? 0 : 1);
    whole.push_back(reason);
    if (!stub_) whole.insert(whole.end(), 2, 0);
    return reply_with(value, whole);
  }
  Bytes reply_with(std::uint32_t value, ByteView body_and_status) const {
    Bytes frame{0x01, op_};
    put_u16(frame, static_cast<std::uint16_t>(body_and_status.size()));
    put_u32(frame, value);
    append(frame, body_and_status);
    return encode_slip(frame);
  }

  /// The next piece of a flash read; the digest behind the last.
  Bytes flash_piece() {
    if (left_ == 0) return encode_slip(md5_of(sent_));
    Bytes piece(std::min<std::uint32_t>(left_, 0x1000), static_cast<std::uint8_t>(left_ >> 8));
    left_ -= static_cast<std::uint32_t>(piece.size());
    append(sent_, piece);
    return encode_slip(piece);
  }

  Bytes obliging_answer(const Bytes& heard, bool request) {
    if (!request) return flash_piece();
    switch (static_cast<Op>(op_)) {
      case Op::read_flash: {
        Bytes out = reply(0, {});
        append(out, flash_piece());
        return out;
      }
      case Op::read_flash_slow:
        return reply(0, Bytes(64, 0xff));
      case Op::spi_flash_md5:
        return reply(0, Bytes(stub_ ? 16 : 32, stub_ ? 0 : 'a'));
      case Op::mem_end: {
        Bytes out = reply(0, {});
        append(out, encode_slip(as_bytes("OHAI")));
        stub_ = true;
        return out;
      }
      case Op::read_reg: {
        bool magic = heard.size() >= 12 && get_u32(heard, 8) == chip_magic_register;
        return reply(magic ? all_chips()[0].magic[0] : 0x0024'0ac4, {});
      }
      default:
        return reply(0, {});
    }
  }

  void hear(const Bytes& frame) {
    bool request = frame.size() >= 8 && frame[0] == 0;
    if (request) op_ = frame[1];
    if (request && static_cast<Op>(op_) == Op::read_flash && frame.size() >= 16) {
      left_ = get_u32(frame, 12);
      sent_.clear();
    }
    if (moves_.empty()) {
      if (last_ == Last::obliging) come(obliging_answer(frame, request), 0ms);
      if (last_ == Last::echoing) come(encode_slip(frame), 0ms);
      return;
    }
    std::uint8_t move = moves_.byte();
    Bytes out;
    if ((move & 0x80) != 0)
      append(out, as_bytes("ets Jul 29 2019 12:21:46\r\nrst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n"));
    switch (static_cast<Kind>(move & 7)) {
      case Kind::answer:
        append(out, reply(moves_.word(), {}));
        break;
      case Kind::refusal:
        append(out, reply(0, {}, false, moves_.byte()));
        break;
      case Kind::body:
        append(out, reply_with(0, moves_.bytes(moves_.byte())));
        break;
      case Kind::raw:
        babble_.clear();
        append(babble_, moves_.bytes(moves_.byte()));
        append(out, babble_);
        break;
      case Kind::flash:
        append(out, obliging_answer(frame, request));
        break;
      case Kind::digest: {
        std::uint8_t filling = moves_.byte();
        append(out, reply(0, Bytes(filling % 2 == 0 ? 16 : 32, filling)));
        break;
      }
      case Kind::greeting:
        append(out, reply(0, {}));
        append(out, encode_slip(as_bytes("OHAI")));
        stub_ = true;
        break;
      case Kind::odd:
        switch (moves_.byte() % 4) {
          case 0:
            break;
          case 1:
            append(out, encode_slip(frame));
            break;
          case 2:
            for (int i = 0; i < 8; ++i) append(out, reply(0, {}));
            break;
          default:
            gone_ = true;
        }
        break;
    }
    ByteView all{out};
    Duration delay = delays[move >> 3 & 7];
    std::size_t cut = (move & 0x40) != 0 ? all.size() / 2 : 0;
    come(all.first(cut), 0ms);
    come(all.subspan(cut), delay);
  }

  Clock& clock_;
  Input moves_;
  Last last_;
  std::uint8_t stall_;
  unsigned writes_ = 0;
  bool gone_ = false, stub_ = false;
  Baud baud_;
  std::uint8_t op_ = 0;
  std::uint32_t left_ = 0;
  Bytes sent_;
  Bytes babble_ = to_bytes("\xc0 brownout \xc0");
  SlipDecoder heard_;
  std::deque<Coming> coming_;
  std::string name_ = "fuzzed";
};

/// The longest a command may take: its request on the wire, the room that a slow line is given, and its budget.
Duration longest(Op op, ByteCount works_on = 0, std::size_t framed = 128) {
  return 3 * wire_time(framed, slowest) + 1s + 2 * budget_of(op, works_on) + latency_of_port;
}

const StubImage& small_stub() {
  static const StubImage stub{0x4008'0000, 0x4008'0000, 0x3ffc'0000, Bytes(0x1900, 0xc0), Bytes(16, 1)};
  return stub;
}

/// Compressible, or not; for the stub, or for the ROM.
const PreparedRegion& region_of(bool noise, bool stub) {
  static const auto regions = [] {
    std::array<std::shared_ptr<const PreparedRegion>, 4> out;
    Bytes flat(0x9000, 0x5a), noisy(0x9000);
    std::uint32_t state = 1;
    for (auto& byte : noisy) byte = static_cast<std::uint8_t>((state = state * 1664525 + 1013904223) >> 24);
    for (unsigned i = 0; i < 4; ++i) {
      const WriteFormat format = WriteFormat::of((i & 1) != 0 ? Speaker::stub : Speaker::rom, all_chips()[0]);
      out[i] = prepare_region({0x1'0000}, (i & 2) != 0 ? noisy : flat, format);
    }
    return out;
  }();
  return *regions[(noise ? 2u : 0u) | (stub ? 1u : 0u)];
}

template <typename T>
Task<> keep(Task<T> task, std::optional<T>& out) {
  out.emplace(co_await std::move(task));
}

class Desk {
 public:
  Desk(Input& head, Input moves, Last last, std::uint8_t stall)
      : port_(loop_, moves, last, stall), loader_(port_, loop_) {
    std::uint8_t chip = head.byte();
    if ((chip & 3) != 0) loader_.chip_is(all_chips()[(chip & 3) - 1u]);
    if ((chip & 0x80) != 0) {
      loader_.stub_speaks();
      port_.stub_speaks();
    }
  }

  void perform(std::uint8_t operation) {
    const bool stub = loader_.speaker() == Speaker::stub;
    const bool variant = (operation & 0x10) != 0;
    switch (operation & 15) {
      case 0: {
        // Its patience (cut short: most of it is the same again), then at most one more sequence, one more SYNC, and
        // the lines.
        ConnectOptions options{.usb_serial_jtag = variant, .reset = (operation & 0x20) == 0, .patience = 1500ms};
        (void)within(options.patience + 1s + longest(Op::sync), connect(loader_, options));
        break;
      }
      case 1: {
        auto board = within(longest(Op::get_security_info) + 24 * longest(Op::read_reg), identify(loader_));
        if (board)
          require(board->chip && board->chip == loader_.chip() && board->mac != Mac{} && board->flash_size == 0);
        break;
      }
      case 2: {
        if (!loader_.chip()) break;
        BoardInfo board;
        board.chip = loader_.chip();
        auto read = within(2 * longest(Op::spi_attach) + 24 * longest(Op::read_reg), read_flash_id(loader_, board));
        require(!read || board.flash_size > 0);
        break;
      }
      case 3: {
        auto started = within(2 * longest(Op::mem_begin) + 3 * longest(Op::mem_data, 0, 0x3200) + longest(Op::mem_end) +
                                  4 * (500ms + latency_of_port),
                              start_stub(loader_, small_stub()));
        if (started) require(loader_.speaker() == Speaker::stub);
        break;
      }
      case 4: {
        FlashRange range{{0x1000}, variant ? 0x10'0000u : 0x1000u};
        (void)within(longest(Op::spi_flash_md5, range.size), flash_md5(loader_, range));
        break;
      }
      case 5: {
        FlashRange range{{0x1000}, variant ? 0x2801u : 0x100u};
        // The stub's blocks and its digest, each with its acknowledgement; or the ROM's 64 bytes at a time.
        Duration budget = stub ? longest(Op::read_flash) + (range.size / 0x1000 + 2) * (6s + latency_of_port)
                               : (range.size / 64 + 1) * longest(Op::read_flash_slow);
        std::uint64_t told = 0;
        auto bytes = within(budget, read_flash(loader_, range, [&told](std::uint64_t done) {
                              require(done > told);
                              told = done;
                            }));
        require(told <= range.size);
        if (bytes) require(bytes->size() == range.size && told == range.size);
        break;
      }
      case 6: {
        const PreparedRegion& region = region_of(variant, stub);
        Duration budget = longest(Op::flash_begin, region.range.size) + longest(Op::flash_data, 64_KiB);
        for (const auto& block : region.blocks)
          budget += block_attempts * longest(Op::flash_data, 2 * block.plain_bytes, block.size);
        auto written = within(budget, write_region(loader_, region));
        if (!written && written.error().where.offset)
          require(*written.error().where.offset >= region.range.at.bytes &&
                  *written.error().where.offset <= region.range.end());
        break;
      }
      case 7: {
        (void)within(longest(Op::erase_region, 64_KiB), erase_region(loader_, {{0x1000}, 0x1'0000}));
        break;
      }
      case 8:
        (void)within(longest(stub ? Op::erase_flash : Op::flash_begin, 4_MiB), erase_chip(loader_, 0x40'0000));
        break;
      case 9:
        (void)within(longest(Op::change_baudrate) + 5 * longest(Op::read_reg),
                     loader_.change_baud(Baud{variant ? 921'600u : 460'800u}));
        break;
      default:
        (void)within(longest(Op::sync), loader_.sync(100ms));
        break;
    }
  }

 private:
  template <typename T>
  Result<T> within(Duration budget, Task<Result<T>> task) {
    Instant from = loop_.now();
    std::optional<Result<T>> out;
    loop_.run(keep(std::move(task), out));
    require(out.has_value() && loop_.now() - from <= budget);
    // 4 KiB of foreign frames, and what is in no frame: 64 KiB before the first END, 64 KiB behind the last.
    require(loader_.heard().size() <= 132_KiB);
    if (!*out) require(!out->error().what.empty());
    return std::move(*out);
  }

  VirtualLoop loop_;
  FuzzedPort port_;
  Loader loader_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input{{data, size}};
  auto last = static_cast<Last>(input.byte() & 3);
  std::uint8_t stall = input.byte();
  Input head{input.bytes(2)};
  Input chip{head.bytes(1)};
  Bytes operations;
  append(operations, input.bytes(head.byte() % 6));
  Desk desk{chip, input, last, stall};
  for (std::uint8_t operation : operations) desk.perform(operation);
  return 0;
}
