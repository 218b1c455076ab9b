#include "tests/bench.hpp"

#include <cstdlib>

#include "io/file.hpp"
#include "recipe/memory_folder.hpp"
#include "rom/stub.hpp"
#include "sim/make_firmware.hpp"

namespace espmint {
namespace {

namespace fs = std::filesystem;

/// Passes everything on, once the tap has seen it.
class TappedPort final : public Port {
 public:
  TappedPort(std::unique_ptr<Port> next, WireTap& tap) : next_(std::move(next)), tap_(tap) {}
  Task<Result<std::size_t>> read_some(ByteSpan into, Instant deadline) override {
    CO_TRY(std::size_t count, co_await next_->read_some(into, deadline));
    tap_.garble(into.first(count));
    co_return count;
  }
  Task<Result<void>> write(ByteView bytes, Instant deadline) override {
    Bytes garbled;
    if (tap_.garbles()) {
      garbled.assign(bytes.begin(), bytes.end());
      tap_.garble(garbled);
      bytes = garbled;
    }
    auto cut = tap_.on_write(next_->name(), bytes);
    if (!cut) co_return co_await next_->write(bytes, deadline);
    const std::size_t before = std::min(*cut, bytes.size());
    if (before > 0) CO_TRY(co_await next_->write(bytes.first(before), deadline));
    const std::size_t after = std::min(bytes.size(), before + tap_.when_cut(next_->name()));
    co_return co_await next_->write(bytes.subspan(after), deadline);
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
  WireTap& tap_;
};

constexpr std::uint32_t workshop_flash = 2 * 1024 * 1024;

Plan lean_plan(const std::string& app, ByteCount app_bytes = 32_KiB, PlanOptions with = {},
               const BenchImages& images = {}) {
  sim::FirmwareOptions options;
  options.app_bytes = app_bytes;
  options.bootloader_bytes = std::min(app_bytes / 4, 26_KiB);
  options.storage_bytes = images.storage_bytes;
  if (!app.empty()) options.app = app;
  options.identity = images.identity;
  auto firmware = sim::make_firmware(options);
  MemoryFolder folder;
  folder.put("firmware.bin", firmware->app)
      .put("bootloader.bin", firmware->bootloader)
      .put("partitions.bin", firmware->partition_table);
  auto set = find_firmware(folder, "firmware.bin");
  Recipe recipe = default_recipe();
  if (!images.recipe.empty()) {
    auto parsed = parse_recipe(images.recipe, "recipe.toml");
    if (!parsed) throw std::runtime_error(describe(parsed.error()));
    recipe = std::move(*parsed);
  }
  recipe.product = "thermostat";
  if (!app.empty() && !recipe.keys) recipe.keys.emplace();
  with.folder = &images.files;
  auto plan = make_plan(recipe, std::move(*set), with);
  if (!plan) throw std::runtime_error(describe(plan.error()));
  return std::move(*plan);
}

/// The stub is data that set-up fetches; without it the ROM's own path is tested.
StubLibrary stubs_there() {
  StubLibrary out;
  if (auto json =
          read_file(fs::path{ESPMINT_SOURCE_DIR} / "stub/node_modules/esptool-js/lib/targets/stub_flasher/esp32.json"))
    out["esp32.json"] = std::make_shared<const StubImage>(*parse_stub(*json));
  return out;
}

Task<> prepare_all(FirmwarePreparer& firmware, WriteFormat format, std::uint32_t flash_size) {
  auto ready = co_await firmware.for_board(format, flash_size);
  if (!ready) throw std::runtime_error(describe(ready.error()));
}

Task<> drive(Line& line, FirmwarePreparer& firmware, WriteFormat format, LineSummary& summary, Clock& clock,
             Backlog* backlog) {
  co_await firmware.prepare(format);
  summary = co_await line.run();
  if (!backlog) co_return;
  co_await backlog->settle_until(clock.now() + std::chrono::seconds{30});
  co_await backlog->finish();
}

Task<> interrupt_after(Clock& clock, Line& line, Duration limit, std::shared_ptr<bool> over) {
  co_await clock.sleep_for(limit);
  if (*over) co_return;
  line.interrupt();
  co_await clock.sleep_for(std::chrono::seconds{30});
  if (!*over) line.interrupt();
}

}  // namespace

Plan bench_plan(ByteCount app_bytes) { return lean_plan("", app_bytes); }

Task<Result<std::unique_ptr<Port>>> TappedOpener::open(const std::string& name) {
  CO_TRY(std::unique_ptr<Port> port, co_await next_.open(name));
  co_return std::unique_ptr<Port>{std::make_unique<TappedPort>(std::move(port), tap_)};
}

/// Before the test's own tap: the call that most tests need only.
class Bench::Tap final : public WireTap {
 public:
  explicit Tap(Bench& bench) : bench_(bench) {}
  std::optional<std::size_t> on_write(const std::string& slot, ByteView bytes) override {
    if (bench_.before_write) bench_.before_write();
    if (bench_.before_send) bench_.before_send(slot, bytes);
    return bench_.tap ? bench_.tap->on_write(slot, bytes) : std::nullopt;
  }
  std::size_t when_cut(const std::string& slot) override { return bench_.tap->when_cut(slot); }
  [[nodiscard]] bool garbles() const override { return bench_.garble != nullptr; }
  void garble(ByteSpan bytes) override {
    if (bench_.garble) bench_.garble(bytes);
  }

 private:
  Bench& bench_;
};

Workshop::Workshop(const BenchKeys& keys, bool identity)
    : pool(make_inline_pool()),
      plan(lean_plan(keys.app, 4_KiB, {identity ? "storage" : ""})),
      stubs(stubs_there()),
      firmware(plan, *pool) {
  std::string name = fs::temp_directory_path() / "espmint-workshop-XXXXXX";
  folder = mkdtemp(name.data());
  VirtualLoop loop;
  auto made = LocalCa::init(folder, "Bench CA", loop.wall());
  if (!made) throw std::runtime_error(describe(made.error()));
  ca.emplace(std::move(*made));
  loop.run(prepare_all(firmware, WriteFormat::of(Speaker::stub, *plan.chip), workshop_flash));
  loop.run(prepare_all(firmware, WriteFormat::of(Speaker::rom, *plan.chip), workshop_flash));
}

Workshop::~Workshop() {
  std::error_code ignored;
  fs::remove_all(folder, ignored);
}

Bench::Bench(Seed seed, fs::path keep, const BenchKeys& keys, Workshop* workshop, BenchImages images)
    : plan(workshop ? workshop->plan : lean_plan(keys.app, 32_KiB, {}, images)),
      images_(std::move(images)),
      folder_(std::move(keep)),
      workshop_(workshop),
      seed_(seed.number) {
  if (folder_.empty()) {
    std::string name = fs::temp_directory_path() / "espmint-bench-XXXXXX";
    folder_ = mkdtemp(name.data());
    remove_ = true;
  }
  if (plan.keys) {
    plan.keys->handshake = keys.handshake;
    plan.keys->csv = csv().string();
    if (!fs::exists(csv())) (void)write_file(csv(), as_bytes(keys.csv));
  }
  entropy_ = make_seeded_entropy(seed.number);
  pool_ = make_inline_pool();
  if (workshop_) {
    ca_ = &*workshop_->ca;
  } else {
    auto found = LocalCa::open(folder_ / "ca", loop.wall());
    if (!found) found = LocalCa::init(folder_ / "ca", "Bench CA", loop.wall());
    if (!found) throw std::runtime_error(describe(found.error()));
    ca_ = &own_ca_.emplace(std::move(*found));
  }
  cloud_ = std::make_unique<LocalCloud>(*ca_);
  reopen_ledger();
  ports_ = std::make_unique<sim::VirtualPorts>(loop);
  own_tap_ = std::make_unique<Tap>(*this);
  tapped_ = std::make_unique<TappedOpener>(*ports_, *own_tap_);
  stubs_ = workshop_ ? workshop_->stubs : stubs_there();
  options.use_stub = !stubs_.empty();
}

Bench::~Bench() {
  ledger_.reset();
  if (remove_) fs::remove_all(folder_);
}

Mac Bench::next_mac() {
  return Mac{{0x24, 0xd7, 0xeb, 0x00, static_cast<std::uint8_t>(seed_), static_cast<std::uint8_t>(++plugged_)}};
}

void Bench::reopen_ledger() {
  ledger_.reset();
  auto opened = Ledger::open(folder_ / "ledger", {LedgerOptions::Mode::write, plan.product, "test"}, loop);
  if (!opened) throw std::runtime_error(describe(opened.error()));
  ledger_ = std::move(*opened);
}

sim::Board& Bench::plug_in(const std::string& slot, sim::BoardOptions board, bool dirty) {
  board.mac = next_mac();
  board.seed = seed_ + plugged_;
  return ports_->add(slot, std::move(board), 4_MiB, dirty);
}

sim::Board& Bench::plug_in(const std::string& slot, sim::BoardOptions board, ByteSpan flash) {
  board.mac = next_mac();
  board.seed = seed_ + plugged_;
  return ports_->add(slot, std::move(board), flash);
}

LineSummary Bench::run(LineOptions line_options, Duration limit) {
  return run(
      std::move(line_options), [](VirtualLoop&) -> Task<> { co_return; }(loop), limit);
}

LineSummary Bench::run(LineOptions line_options, Task<> hands, Duration limit) {
  FirmwarePreparer firmware = workshop_ ? workshop_->firmware : FirmwarePreparer{plan, *pool_};
  std::optional<KeyFile> keys;
  if (plan.keys) {
    auto opened = KeyFile::open(plan.keys->csv, *ledger_, {.holder = "test"});
    if (!opened) throw std::runtime_error(describe(opened.error()));
    keys.emplace(std::move(*opened));
  }
  Cloud& told = cloud ? *cloud : *cloud_;
  Station station{loop,          *entropy_, *pool_, *pool_,   *ledger_, told,
                  listener,      stubs_,    plan,   firmware, options,  keys ? &*keys : nullptr,
                  &images_.files};
  std::optional<Backlog> behind;
  if (cloud) {
    behind.emplace(loop, *entropy_, told, *ledger_, *pool_, backlog,
                   [this](const std::string& text) { listener.notes.push_back(text); });
    station.backlog = &*behind;
    loop.spawn(behind->work());
  }
  PortWatcher* watcher = line_options.ports.empty() ? ports_.get() : nullptr;
  Line line{loop, station, opener ? *opener : *tapped_, watcher, listener, std::move(line_options)};
  line_ = &line;
  LineSummary summary;
  auto over = std::make_shared<bool>(false);
  loop.spawn(std::move(hands));
  loop.spawn(interrupt_after(loop, line, limit, over));
  loop.run(drive(line, firmware, WriteFormat::of(options.use_stub ? Speaker::stub : Speaker::rom, *plan.chip), summary,
                 loop, station.backlog));
  *over = true;
  line_ = nullptr;
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
  const FlashRange& range = plan.images.front().partition.range;
  return md5_of(ByteView{flash(slot)}.subspan(range.at.bytes, range.size)) == record->certificate->image_md5;
}

}  // namespace espmint
