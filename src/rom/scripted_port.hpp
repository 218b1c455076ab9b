// rom/scripted_port.hpp: the tests' board: a function from what the loader sends to what comes back, in virtual time.
#pragma once

#include <deque>
#include <functional>
#include <optional>

#include "io/run_task.hpp"
#include "rom/loader.hpp"
#include "rom/slip.hpp"

namespace espmint {

/// A line whose other end is a function from a request to the bytes that come back.
class ScriptedPort final : public Port {
 public:
  using Script = std::function<Bytes(const Bytes& request)>;
  ScriptedPort(Clock& clock, Script script) : clock_(clock), script_(std::move(script)) {}

  Task<Result<std::size_t>> read_some(ByteSpan into, Instant deadline) override {
    if (incoming_.empty()) {
      co_await clock_.sleep_until(deadline);
      co_return std::size_t{0};
    }
    std::size_t count = std::min(into.size(), incoming_.size());
    std::copy_n(incoming_.begin(), count, into.begin());
    incoming_.erase(incoming_.begin(), incoming_.begin() + static_cast<std::ptrdiff_t>(count));
    co_return count;
  }
  Task<Result<void>> write(ByteView bytes, Instant) override {
    decoder_.push(bytes);
    while (auto request = decoder_.next()) {
      requests.push_back(*request);
      Bytes reply = script_(*request);
      incoming_.insert(incoming_.end(), reply.begin(), reply.end());
    }
    co_return ok();
  }
  Task<Result<void>> set_baud(Baud baud) override {
    bauds.push_back(baud);
    co_return ok();
  }
  Task<Result<void>> set_dtr(bool) override { co_return lines(); }
  Task<Result<void>> set_rts(bool on) override {
    if (!on) say(banner);
    co_return lines();
  }
  Task<Result<void>> set_dtr_rts(bool, bool rts) override {
    if (!rts) say(banner);
    co_return lines();
  }
  Task<Result<void>> discard_input() override {
    incoming_.clear();
    co_return ok();
  }
  void close() override {}
  [[nodiscard]] const std::string& name() const override { return name_; }

  void say(std::string_view text) { incoming_.insert(incoming_.end(), text.begin(), text.end()); }
  bool has_lines = true;
  std::string banner;  // printed whenever EN rises
  std::vector<Bytes> requests;
  std::vector<Baud> bauds;

 private:
  Result<void> lines() const {
    if (has_lines) return ok();
    return fail({Code::no_reset_lines, Remedy::refuse, "none"});
  }
  Clock& clock_;
  Script script_;
  SlipDecoder decoder_;
  std::deque<std::uint8_t> incoming_;
  std::string name_ = "script";
};

inline Bytes reply_frame(Op op, std::uint32_t value, ByteView body) {
  Bytes frame{0x01, static_cast<std::uint8_t>(op)};
  put_u16(frame, static_cast<std::uint16_t>(body.size()));
  put_u32(frame, value);
  append(frame, body);
  return encode_slip(frame);
}

inline Op op_of(const Bytes& request) { return static_cast<Op>(request.at(1)); }

struct Bench {
  VirtualLoop loop;
  ScriptedPort port;
  Loader loader;
  explicit Bench(ScriptedPort::Script script) : port(loop, std::move(script)), loader(port, loop) {
    loader.chip_is(*chip_named("esp32"));
  }
  template <typename T>
  T run(Task<T> task) {
    return run_task(loop, std::move(task));
  }
};

}  // namespace espmint
