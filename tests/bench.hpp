// tests/bench.hpp: a whole line in virtual time: virtual clock, boards, entropy; a real ledger in a folder that ends
// with it.
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
#include "recipe/memory_folder.hpp"
#include "sim/virtual_port.hpp"

namespace espmint {

struct Seed {
  std::uint64_t number;
};

/// What a test wants to be told of the line.
class Listener final : public LineObserver {
 public:
  std::function<void(const std::string& slot, Step)> when_step;
  std::function<void(const std::string& slot, const BoardInfo&)> when_board;
  std::function<void(const std::string& slot, const RunOutcome&)> when_done;
  std::map<std::string, std::vector<RunOutcome>> done;
  std::vector<std::string> notes;
  void on_step(const std::string& slot, Step step) override {
    if (when_step) when_step(slot, step);
  }
  void on_board(const std::string& slot, const BoardInfo& board) override {
    if (when_board) when_board(slot, board);
  }
  void on_done(const std::string& slot, const RunOutcome& outcome) override {
    done[slot].push_back(outcome);
    if (when_done) when_done(slot, outcome);
  }
  void on_note(const std::string&, const std::string& text) override { notes.push_back(text); }
};

/// Stands between the line and its ports and sees every write.
class WireTap {
 public:
  virtual ~WireTap() = default;
  /// How many bytes of it pass before when_cut() is called; nothing: all of them, and it is not called.
  virtual std::optional<std::size_t> on_write(const std::string& slot, ByteView) = 0;
  /// Returns how many of the bytes behind the cut are left out.
  virtual std::size_t when_cut(const std::string& slot) = 0;
  /// What passes may be changed, in both directions.
  [[nodiscard]] virtual bool garbles() const { return false; }
  virtual void garble(ByteSpan) {}
};

class TappedOpener final : public PortOpener {
 public:
  TappedOpener(PortOpener& next, WireTap& tap) : next_(next), tap_(tap) {}
  Task<Result<std::unique_ptr<Port>>> open(const std::string& name) override;
  Result<PortInfo> look_again(const PortInfo& before) override { return next_.look_again(before); }

 private:
  PortOpener& next_;
  WireTap& tap_;
};

/// For lines that hand out keys of a pool: what the firmware does, and the user's file.
struct BenchKeys {
  std::string app;  // a kind of sim/app_firmware.hpp: "old3", "device-line", …
  std::string csv;  // the file's text, where there is none yet
  Handshake handshake = Handshake::line;
};

/// For lines whose boards get other images than a SPIFFS.
struct BenchImages {
  std::string identity = "spiffs";  // a kind of sim/make_firmware.hpp: what the partition "storage" is
  ByteCount storage_bytes = 16 * 1024;
  std::string recipe;    // as in recipe.toml; empty: none
  MemoryFolder files{};  // beside it
};

/// What is the same for thousands of benches and takes longer to make than one of them: firmware, compressed and
/// framed, the stub, a CA. It must outlive them.
struct Workshop {
  Workshop(const BenchKeys&, bool identity);
  ~Workshop();
  Workshop(const Workshop&) = delete;
  Workshop& operator=(const Workshop&) = delete;

  std::unique_ptr<Pool> pool;
  Plan plan;
  StubLibrary stubs;
  FirmwarePreparer firmware;
  std::filesystem::path folder;
  std::optional<LocalCa> ca;
};

/// A plan of firmware this big, with an identity.
Plan bench_plan(ByteCount app_bytes);

class Bench {
 public:
  explicit Bench(Seed, std::filesystem::path keep = {}, const BenchKeys& keys = {}, Workshop* = nullptr,
                 BenchImages = {});
  ~Bench();

  /// A board in its own slot. Boards are small, so that a shift passes at once: 64 KiB of firmware, 16 KiB of identity.
  sim::Board& plug_in(const std::string& slot, sim::BoardOptions options = {}, bool dirty = false);
  /// The same with a flash chip that outlives the bench, as it is.
  sim::Board& plug_in(const std::string& slot, sim::BoardOptions options, ByteSpan flash);
  ByteSpan flash(const std::string& slot) { return ports_->flash(slot); }
  sim::VirtualPorts& ports() { return *ports_; }

  /// Runs the line until it ends by itself or `limit` of virtual time is over (then it is interrupted).
  LineSummary run(LineOptions options, Duration limit = std::chrono::minutes{5});
  /// As run(), with `hands` working beside it: unplugging, swapping, after virtual time.
  LineSummary run(LineOptions options, Task<> hands, Duration limit = std::chrono::minutes{5});
  /// As an operator's first Ctrl-C, while run() goes on.
  void interrupt() const {
    if (line_) line_->interrupt();
  }

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
  std::function<void(const std::string& port, ByteView)> before_send;  // what is written to which port
  std::function<void(ByteSpan)> garble;                                // bytes on their way to a board or from it
  WireTap* tap = nullptr;
  PortOpener* opener = nullptr;  // instead of the tapped ports
  Cloud* cloud = nullptr;        // instead of the local one; told by a backlog
  BacklogOptions backlog;
  [[nodiscard]] const LocalCa& ca() const { return *ca_; }
  Signer& signer() { return *ca_; }
  const std::filesystem::path& folder() const { return folder_; }

 private:
  Mac next_mac();
  BenchImages images_;
  std::filesystem::path folder_;
  bool remove_ = false;
  std::unique_ptr<Entropy> entropy_;
  std::unique_ptr<Pool> pool_;
  std::optional<LocalCa> own_ca_;
  LocalCa* ca_ = nullptr;
  std::unique_ptr<LocalCloud> cloud_;
  std::unique_ptr<Ledger> ledger_;
  std::unique_ptr<sim::VirtualPorts> ports_;
  class Tap;
  std::unique_ptr<Tap> own_tap_;
  std::unique_ptr<TappedOpener> tapped_;
  StubLibrary stubs_;
  Workshop* workshop_ = nullptr;
  Line* line_ = nullptr;
  unsigned plugged_ = 0;
  std::uint64_t seed_;
};

}  // namespace espmint
