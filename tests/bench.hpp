// tests/bench.hpp: a whole line in virtual time: virtual clock, boards, entropy; a real ledger in a folder that ends with it.
//   Bench bench{Seed{4711}};
//   auto& board = bench.plug_in("a");
//   LineSummary summary = bench.run({.count = 1});
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cloud/local.hpp"
#include "identity/local_ca.hpp"
#include "io/entropy.hpp"
#include "io/loop.hpp"
#include "io/pool.hpp"
#include "ledger/ledger.hpp"
#include "line/line.hpp"
#include "recipe/make_plan.hpp"
#include "sim/virtual_port.hpp"

namespace espmint {

struct Seed {
  std::uint64_t number;
};

/// What a test wants to be told of the line.
class Listener final : public LineObserver {
 public:
  std::function<void(const std::string& slot, Step)> when_step;
  std::map<std::string, std::vector<RunOutcome>> done;
  std::vector<std::string> notes;
  void on_step(const std::string& slot, Step step) override {
    if (when_step) when_step(slot, step);
  }
  void on_done(const std::string& slot, const RunOutcome& outcome) override { done[slot].push_back(outcome); }
  void on_note(const std::string&, const std::string& text) override { notes.push_back(text); }
};

/// Fails or stops at the n-th write to any port.
class CountingOpener final : public PortOpener {
 public:
  CountingOpener(PortOpener& next, std::function<void()> before_write) : next_(next), before_write_(std::move(before_write)) {}
  Task<Result<std::unique_ptr<Port>>> open(const std::string& name) override;
  Result<PortInfo> look_again(const PortInfo& before) override { return next_.look_again(before); }

 private:
  PortOpener& next_;
  std::function<void()> before_write_;
};

/// For lines that hand out keys of a pool: what the firmware does, and the user's file.
struct BenchKeys {
  std::string app;  // a kind of sim/app_firmware.hpp: "old3", "device-line", …
  std::string csv;  // the file's text, where there is none yet
};

class Bench {
 public:
  explicit Bench(Seed, std::filesystem::path keep = {}, const BenchKeys& keys = {});
  ~Bench();

  /// A board in its own slot. Boards are small, so that a shift passes at once: 64 KiB of firmware, 16 KiB of identity.
  sim::Board& plug_in(const std::string& slot, sim::BoardOptions options = {}, bool dirty = false);
  ByteSpan flash(const std::string& slot) { return ports_->flash(slot); }
  sim::VirtualPorts& ports() { return *ports_; }

  /// Runs the line until it ends by itself or `limit` of virtual time is over (then it is interrupted).
  LineSummary run(LineOptions options, Duration limit = std::chrono::minutes{5});
  /// As run(), with `hands` working beside it: unplugging, swapping, after virtual time.
  LineSummary run(LineOptions options, Task<> hands, Duration limit = std::chrono::minutes{5});

  /// The keys' file as it is now.
  [[nodiscard]] std::filesystem::path csv() const { return folder_ / "keys.csv"; }
  Result<DeviceRecord> device(const std::string& slot);
  Ledger& ledger() { return *ledger_; }
  void reopen_ledger();
  /// The board's own firmware, from its own flash, signs with the key that the ledger knows.
  bool boots_as_itself(const std::string& slot);

  VirtualLoop loop;
  Listener listener;
  StationOptions options;
  Plan plan;
  std::function<void()> before_write;
  const LocalCa& ca() const { return *ca_; }
  const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_;
  bool remove_ = false;
  std::unique_ptr<Entropy> entropy_;
  std::unique_ptr<Pool> pool_;
  std::optional<LocalCa> ca_;
  std::unique_ptr<LocalCloud> cloud_;
  std::unique_ptr<Ledger> ledger_;
  std::unique_ptr<sim::VirtualPorts> ports_;
  std::unique_ptr<CountingOpener> counting_;
  StubLibrary stubs_;
  unsigned plugged_ = 0;
  std::uint64_t seed_;
};

}  // namespace espmint
