#include "tests/bench.hpp"

#include <cstdlib>

#include "io/file.hpp"
#include "recipe/memory_folder.hpp"
#include "rom/stub.hpp"
#include "sim/make_firmware.hpp"

namespace espmint {
namespace {

namespace fs = std::filesystem;

/// Passes everything on and counts what is written.
class CountingPort final : public Port {
 public:
  CountingPort(std::unique_ptr<Port> next, std::function<void()> before_write) : next_(std::move(next)), before_write_(std::move(before_write)) {}
  Task<Result<std::size_t>> read_some(ByteSpan into, Instant deadline) override { return next_->read_some(into, deadline); }
  Task<Result<void>> write(ByteView bytes, Instant deadline) override {
    if (before_write_) before_write_();
    return next_->write(bytes, deadline);
  }
  Task<Result<void>> set_baud(Baud baud) override { return next_->set_baud(baud); }
  Task<Result<void>> set_dtr(bool on) override { return next_->set_dtr(on); }
  Task<Result<void>> set_rts(bool on) override { return next_->set_rts(on); }
  Task<Result<void>> set_dtr_rts(bool dtr, bool rts) override { return next_->set_dtr_rts(dtr, rts); }
  Task<Result<void>> discard_input() override { return next_->discard_input(); }
  void close() override { next_->close(); }
  [[nodiscard]] const std::string& name() const override { return next_->name(); }
  [[nodiscard]] Duration latency() const override { return next_->latency(); }

 private:
  std::unique_ptr<Port> next_;
  std::function<void()> before_write_;
};

Plan lean_plan(const std::string& app) {
  sim::FirmwareOptions options;
  options.app_bytes = 32 * 1024;
  options.bootloader_bytes = 8 * 1024;
  options.storage_bytes = 16 * 1024;
  if (!app.empty()) options.app = app;
  auto firmware = sim::make_firmware(options);
  MemoryFolder folder;
  folder.put("firmware.bin", firmware->app).put("bootloader.bin", firmware->bootloader).put("partitions.bin", firmware->partition_table);
  auto set = find_firmware(folder, "firmware.bin");
  Recipe recipe = default_recipe();
  recipe.product = "thermostat";
  if (!app.empty()) recipe.keys.emplace();
  return *make_plan(recipe, std::move(*set));
}

Task<> drive(Line& line, FirmwarePreparer& firmware, WriteFormat format, LineSummary& summary) {
  co_await firmware.prepare(format);
  summary = co_await line.run();
}

Task<> interrupt_after(Clock& clock, Line& line, Duration limit, std::shared_ptr<bool> over) {
  co_await clock.sleep_for(limit);
  if (*over) co_return;
  line.interrupt();
  co_await clock.sleep_for(std::chrono::seconds{30});
  if (!*over) line.interrupt();
}

}  // namespace

Task<Result<std::unique_ptr<Port>>> CountingOpener::open(const std::string& name) {
  CO_TRY(std::unique_ptr<Port> port, co_await next_.open(name));
  co_return std::unique_ptr<Port>{std::make_unique<CountingPort>(std::move(port), before_write_)};
}

Bench::Bench(Seed seed, fs::path keep, const BenchKeys& keys) : plan(lean_plan(keys.app)), folder_(std::move(keep)), seed_(seed.number) {
  if (folder_.empty()) {
    std::string name = fs::temp_directory_path() / "espmint-bench-XXXXXX";
    folder_ = mkdtemp(name.data());
    remove_ = true;
  }
  if (plan.keys) {
    plan.keys->csv = csv().string();
    if (!fs::exists(csv())) (void)write_file(csv(), as_bytes(keys.csv));
  }
  entropy_ = make_seeded_entropy(seed.number);
  pool_ = make_inline_pool();
  auto found = LocalCa::open(folder_ / "ca", loop.wall());
  if (!found) found = LocalCa::init(folder_ / "ca", "Bench CA", loop.wall());
  ca_.emplace(std::move(*found));
  cloud_ = std::make_unique<LocalCloud>(*ca_);
  reopen_ledger();
  ports_ = std::make_unique<sim::VirtualPorts>(loop);
  counting_ = std::make_unique<CountingOpener>(*ports_, [this] {
    if (before_write) before_write();
  });
  // The stub is data that set-up fetches; without it the ROM's own path is tested.
  if (auto json = read_file(fs::path{ESPMINT_SOURCE_DIR} / "stub/node_modules/esptool-js/lib/targets/stub_flasher/esp32.json"))
    stubs_[ChipId::esp32] = std::make_shared<const StubImage>(*parse_stub(*json));
  options.use_stub = !stubs_.empty();
}

Bench::~Bench() {
  ledger_.reset();
  if (remove_) fs::remove_all(folder_);
}

void Bench::reopen_ledger() {
  ledger_.reset();
  auto opened = Ledger::open(folder_ / "ledger", {LedgerOptions::Mode::write, plan.product, "test"}, loop);
  if (!opened) throw std::runtime_error(describe(opened.error()));
  ledger_ = std::move(*opened);
}

sim::Board& Bench::plug_in(const std::string& slot, sim::BoardOptions board, bool dirty) {
  board.mac = Mac{{0x24, 0xd7, 0xeb, 0x00, static_cast<std::uint8_t>(seed_), static_cast<std::uint8_t>(++plugged_)}};
  board.seed = seed_ + plugged_;
  return ports_->add(slot, std::move(board), 4_MiB, dirty);
}

LineSummary Bench::run(LineOptions line_options, Duration limit) { return run(std::move(line_options), [](VirtualLoop&) -> Task<> { co_return; }(loop), limit); }

LineSummary Bench::run(LineOptions line_options, Task<> hands, Duration limit) {
  FirmwarePreparer firmware{plan, *pool_};
  std::optional<KeyFile> keys;
  if (plan.keys) {
    auto opened = KeyFile::open(plan.keys->csv, *ledger_, {.holder = "test"});
    if (!opened) throw std::runtime_error(describe(opened.error()));
    keys.emplace(std::move(*opened));
  }
  Station station{loop, *entropy_, *pool_, *pool_, *ledger_, *cloud_, listener, stubs_, plan, firmware, options, keys ? &*keys : nullptr};
  PortWatcher* watcher = line_options.ports.empty() ? ports_.get() : nullptr;
  Line line{loop, station, *counting_, watcher, listener, std::move(line_options)};
  LineSummary summary;
  auto over = std::make_shared<bool>(false);
  loop.spawn(std::move(hands));
  loop.spawn(interrupt_after(loop, line, limit, over));
  loop.run(drive(line, firmware, WriteFormat::of(options.use_stub ? Speaker::stub : Speaker::rom, *plan.chip), summary));
  *over = true;
  return summary;
}

Result<DeviceRecord> Bench::device(const std::string& slot) {
  TRY(auto found, ledger_->device(to_string(ports_->board(slot).mac())));
  if (!found) return fail({Code::usage, Remedy::refuse, "no such device"});
  return *found;
}

bool Bench::boots_as_itself(const std::string& slot) {
  auto record = device(slot);
  if (!record || !record->certificate) return false;
  const FlashRange& range = plan.identity->partition.range;
  return md5_of(ByteView{flash(slot)}.subspan(range.at.bytes, range.size)) == record->certificate->image_md5;
}

}  // namespace espmint
