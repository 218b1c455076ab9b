// Any bytes as what a board prints: each line is classified within its bounds, and listening to all of them stays
// bounded and shows nothing but printable ASCII.
#include <cstdlib>

#include "handshake/line_dialect.hpp"
#include "io/loop.hpp"

using namespace espmint;

namespace {

/// Gives its bytes in pieces, then nothing until the deadline; what is written is gone.
class FuzzPort final : public Port {
 public:
  FuzzPort(Clock& clock, ByteView bytes, std::size_t piece) : clock_(clock), rest_(bytes), piece_(piece) {}
  Task<Result<std::size_t>> read_some(ByteSpan into, Instant deadline) override {
    std::size_t count = std::min({into.size(), rest_.size(), piece_});
    Instant now = clock_.now();
    // A byte takes its time: a prompt becomes fresh, and patience ends.
    if (now < deadline) co_await clock_.sleep_until(count == 0 ? deadline : std::min(deadline, now + byte_takes));
    std::copy_n(rest_.begin(), count, into.begin());
    rest_ = rest_.subspan(count);
    co_return count;
  }
  Task<Result<void>> write(ByteView, Instant) override {
    ++writes;
    co_return ok();
  }
  Task<Result<void>> set_baud(Baud) override { co_return ok(); }
  Task<Result<void>> set_dtr(bool) override { co_return ok(); }
  Task<Result<void>> set_rts(bool) override { co_return ok(); }
  Task<Result<void>> set_dtr_rts(bool, bool) override { co_return ok(); }
  Task<Result<void>> discard_input() override { co_return ok(); }
  void close() override {}
  [[nodiscard]] const std::string& name() const override { return name_; }
  int writes = 0;

 private:
  static constexpr Duration byte_takes = std::chrono::milliseconds{2};
  Clock& clock_;
  ByteView rest_;
  std::size_t piece_;
  std::string name_ = "fuzz";
};

void check_log(const std::string& log) {
  if (log.size() > 4096) std::abort();
  for (char c : log)
    if (c != '\n' && (c < 0x20 || c >= 0x7f)) std::abort();
}

Task<> talk(Loop& loop, ByteView bytes, std::size_t piece) {
  const LineDialect dialect;
  FuzzPort heard{loop, bytes, piece};
  Result<Greeting> greeting = co_await listen(heard, loop, dialect, 3, loop.now() + std::chrono::seconds{20});
  if (!greeting || greeting->values.size() > 3 || heard.writes != 0) std::abort();
  if (greeting->kind != Greeting::Kind::provisioned && !greeting->values.empty()) std::abort();
  check_log(greeting->boot_log);
  FuzzPort asked{loop, bytes, piece};
  const Secret line{to_bytes("first,second,third")};
  Result<Delivery> delivery = co_await deliver(asked, loop, dialect, line, loop.now() + std::chrono::seconds{20});
  if (!delivery || asked.writes != (delivery->sent ? 1 : 0)) std::abort();
  if (delivery->kind == Delivery::Kind::accepted && !delivery->sent) std::abort();
  if (delivery->kind == Delivery::Kind::board_restarted && delivery->sent) std::abort();
  if (delivery->boot_log.find("second") != std::string::npos) std::abort();
  check_log(delivery->boot_log);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const std::size_t piece = 1 + data[0];
  ByteView bytes{data + 1, size - 1};
  const LineDialect plain;
  LineDialect other;
  other.values = "> {name} = {value}";
  for (const LineDialect& dialect : {plain, other}) {
    std::string_view rest = as_text(bytes);
    while (!rest.empty()) {
      std::string_view line = rest.substr(0, rest.find('\n'));
      rest.remove_prefix(std::min(rest.size(), line.size() + 1));
      HeardLine heard = classify_line(line, dialect);
      if (heard.open_bytes > line.size()) std::abort();
      if (heard.kind == HeardLine::Kind::value) {
        if (heard.name.empty() || heard.name.size() > 32) std::abort();
        if (heard.value.data() != line.data() + heard.open_bytes) std::abort();
        if (heard.value.size() > line.size() - heard.open_bytes) std::abort();
      } else if (!heard.name.empty() || !heard.value.empty()) {
        std::abort();
      }
    }
  }
  VirtualLoop loop;
  loop.run(talk(loop, bytes, piece));
  return 0;
}
