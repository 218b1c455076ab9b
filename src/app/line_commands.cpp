#include "app/line_commands.hpp"

#include <fmt/format.h>
#include <glob.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/signal_set.hpp>
#include <cstdio>

#include "app/cloud_target.hpp"
#include "app/desk_commands.hpp"
#include "app/issuer.hpp"
#include "app/json.hpp"
#include "app/key_commands.hpp"
#include "app/notifier.hpp"
#include "app/plan_json.hpp"
#include "app/root_ca.hpp"
#include "app/screen.hpp"
#include "app/workspace.hpp"
#include "base/text.hpp"
#include "io/event.hpp"
#include "io/file.hpp"
#include "io/system_ports.hpp"
#include "io/usb_bus.hpp"
#include "recipe/make_plan.hpp"
#include "recipe/words.hpp"
#include "run/backlog.hpp"
#include "run/reconcile.hpp"

namespace espmint::app {
namespace {

namespace fs = std::filesystem;

/// The recipe that was named, else recipe.toml here, else none: what lies here must do.
Result<Recipe> choose_recipe(const LineCommand& command, fs::path& folder, std::vector<std::string>& said) {
  std::error_code ignored;
  fs::path file = command.recipe.empty() ? fs::path{"recipe.toml"} : fs::path{command.recipe};
  if (fs::is_directory(file, ignored)) file /= "recipe.toml";
  if (command.recipe.empty() && !fs::exists(file, ignored)) {
    folder = ".";
    return default_recipe();
  }
  TRY(Bytes text, read_file(file, 1024 * 1024));
  folder = file.parent_path().empty() ? fs::path{"."} : file.parent_path();
  said.push_back(fmt::format("recipe: {}", file.string()));
  return parse_recipe(as_text(text), file.string());
}

/// Names with * ? [ ] become what they match; a USB location becomes the port that is there.
std::vector<std::string> expand_ports(const std::vector<std::string>& names) {
  std::vector<std::string> out;
  for (const std::string& name : names) {
    if (name.find_first_of("*?[") != std::string::npos && name.find("://") == std::string::npos) {
      glob_t found{};
      if (glob(name.c_str(), 0, nullptr, &found) == 0)
        for (std::size_t i = 0; i < found.gl_pathc; ++i) out.emplace_back(found.gl_pathv[i]);
      globfree(&found);
      continue;
    }
    std::string resolved = name;
    bool is_name = name.find("://") != std::string::npos || name.starts_with('/');
    if (!is_name)
      for (const PortInfo& port : list_ports())
        if (port.location == name) resolved = port.name;
    out.push_back(resolved);
  }
  // A port that a glob and a name both mean is one slot.
  std::vector<std::string> unique;
  for (std::string& name : out)
    if (std::find(unique.begin(), unique.end(), name) == unique.end()) unique.push_back(std::move(name));
  return unique;
}

/// A typing mistake in a port's name would be waited for without end: said at once, it may still be plugged in.
std::optional<std::string> missing_ports(const std::vector<std::string>& names) {
  std::string missing, here;
  std::error_code ignored;
  for (const std::string& name : names)
    if (name.starts_with('/') && !fs::exists(name, ignored)) missing += (missing.empty() ? "" : ", ") + name;
  if (missing.empty()) return std::nullopt;
  for (const PortInfo& port : list_ports())
    if (is_known_adapter(port)) here += (here.empty() ? "" : ", ") + port.name;
  return fmt::format("waiting for {}: there is no such port yet; {}", missing,
                     here.empty() ? "no board's port is here" : "here are " + here);
}

/// `folder`: the recipe's.
Result<Plan> prepare_plan(const LineCommand& command, fs::path& folder, std::vector<std::string>& said) {
  TRY(Recipe recipe, choose_recipe(command, folder, said));
  // Paths in a recipe are the recipe's; paths on the command line are the caller's.
  RealFolder files{command.firmware.empty() ? folder : fs::path{"."}};
  std::string path = command.firmware.empty() ? recipe.firmware_path : command.firmware;
  FirmwareOptions options;
  options.chip = command.chip != "auto" ? command.chip : recipe.chip;
  TRY(FirmwareSet set, find_firmware(files, path, options));
  RealFolder beside{folder};
  PlanOptions plan_options;
  plan_options.folder = &beside;
  plan_options.partition = command.partition;
  if (!command.issuer.empty()) recipe.issuer = command.issuer;
  if (!command.csv_file.empty()) {
    if (!recipe.keys) recipe.keys.emplace();
    recipe.keys->csv = command.csv_file;
  } else if (recipe.keys && fs::path{recipe.keys->csv}.is_relative()) {
    recipe.keys->csv = (folder / recipe.keys->csv).lexically_normal().string();
  }
  if (recipe.keys && !command.provisioned.empty()) recipe.keys->erase_provisioned = command.provisioned == "erase";
  return make_plan(recipe, std::move(set), plan_options);
}

/// Serial numbers come one at a time.
Result<void> check_serial(const ValuesTable& values, const LineCommand& command) {
  const bool wanted = !values.source.empty() && values.by == ValuesTable::By::serial;
  if (!wanted || (command.one_pass && !command.serial.empty())) return ok();
  return fail({Code::usage,
               Remedy::refuse,
               fmt::format("{} is joined by serial number, and none was given", values.source),
               {},
               {},
               "Prepare each board with `espmint prepare --serial NUMBER`"});
}

/// What the user of the old script has in the folder is enough.
void take_what_lies_here(LineCommand& command, std::vector<std::string>& said) {
  std::error_code ignored;
  bool asked_nothing = command.recipe.empty() && command.firmware.empty() && command.csv_file.empty();
  if (!asked_nothing || fs::exists("recipe.toml", ignored) || !fs::exists("keys.csv", ignored) ||
      !fs::exists("firmware.bin", ignored))
    return;
  command.csv_file = "keys.csv";
  command.firmware = "firmware.bin";
  said.emplace_back("keys.csv and firmware.bin lie here: as with --csv-file keys.csv --firmware firmware.bin");
}

/// What comes before the first board, and whoever does not want to wait for its end.
struct Beginning {
  Event over;
  std::optional<Result<void>> end;
};

/// Ctrl-C or a closed terminal: the first finishes what is exposed, the second stops.
Task<> watch_signals(boost::asio::signal_set& signals, Line& line, Screen& screen, Beginning& beginning) {
  namespace asio = boost::asio;
  for (int count = 0;; ++count) {
    auto [error, number] = co_await signals.async_wait(asio::as_tuple(asio::use_awaitable));
    if (error) co_return;
    screen.sentence(count == 0 ? "finishing boards that hold a secret; once more to stop at once" : "stopping");
    line.interrupt();
    beginning.over.set();
  }
}

Task<> begin(std::shared_ptr<Beginning> beginning, std::function<Task<Result<void>>()> start) {
  Result<void> end = co_await start();
  beginning->end = std::move(end);
  beginning->over.set();
}

// How long a finished line waits for a cloud that answers; what is left then, the next run or `cloud sync` tells it.
constexpr std::chrono::seconds last_words{60};

/// A restart first settles what the last run left open; then boards are admitted. A cloud elsewhere is told beside
/// them.
Task<> run_to_the_end(Line& line, FirmwarePreparer& firmware, Loop& loop, Station& station,
                      std::function<Task<Result<void>>()> start, std::shared_ptr<Beginning> beginning, bool stub,
                      LineSummary& summary, Result<void>& started, Screen& screen) {
  loop.spawn(begin(beginning, std::move(start)));
  co_await beginning->over.wait();
  if (!beginning->end) {
    summary.interrupted = true;
    co_return;
  }
  started = std::move(*beginning->end);
  if (started && !station.backlog) started = co_await reconcile(station.cloud, station.ledger, station.ledger_pool, {});
  if (!started) co_return;
  if (station.backlog) loop.spawn(station.backlog->work());
  // Compresses while the first board is being connected to.
  loop.spawn(firmware.prepare(WriteFormat::of(stub ? Speaker::stub : Speaker::rom, *station.plan.chip)));
  summary = co_await line.run();
  if (!station.backlog) co_return;
  const std::size_t left = co_await station.backlog->settle_until(loop.now() + last_words);
  if (left > 0)
    screen.sentence(fmt::format("the cloud is still to be told of {} board{}: `espmint cloud sync`, or the next run",
                                left, left == 1 ? "" : "s"));
}

Result<Exit> work(LineCommand command) {
  std::vector<std::string> said;
  take_what_lies_here(command, said);
  if (command.trial) {
    command.settings.state /= "trial";
    said.push_back(fmt::format(
        "a trial: its ledger, CA and keys lie in {}; nothing of it counts, and these boards must be prepared anew",
        command.settings.state.string()));
  }
  fs::path folder;
  TRY(Plan plan, prepare_plan(command, folder, said));
  if (plan.values) TRY(check_serial(*plan.values, command));
  if (plan.keys) TRY(check_keys(*plan.keys, command.dry_run));
  if (command.trial && plan.aws)
    return fail({Code::usage,
                 Remedy::refuse,
                 "a trial cannot register boards: its made-up identities would take the place of real ones at AWS IoT",
                 {},
                 {},
                 "--issuer local, or a virtual account (`espmint sim cloud`) with a --state of its own"});
  RealLoop loop;
  std::string root_ca;
  if (plan.aws) {
    TRY(root_ca, root_ca_for(plan, loop.wall()));
  }
  auto screen = make_screen(command.voice, loop);
  for (const std::string& sentence : said) screen->sentence(sentence);
  if (command.dry_run) {
    if (command.voice.json) {
      print_json(plan_json(plan));
    } else {
      std::fputs(describe_plan(plan).c_str(), stdout);
    }
    return Exit::good;
  }
  for (const std::string& note : plan.notes) screen->sentence(note);

  TRY(make_folder(command.settings.state, true));
  auto entropy = make_system_entropy();
  auto say = [&screen](const std::string& sentence) { screen->sentence(sentence); };
  TRY(auto issuer, Issuer::open(command.settings, plan, std::move(root_ca), command.cloud, loop, *entropy, say));
  LedgerOptions ledger_options{LedgerOptions::Mode::write, product_key(plan.product),
                               holder_note(command.one_pass ? "prepare" : "run")};
  TRY(auto ledger, Ledger::open(product_folder(command.settings, plan.product), ledger_options, loop));

  std::optional<CloudTarget> target;
  if (issuer->elsewhere()) {
    auto before = cloud_of(command.settings, plan.product);  // a damaged one is written anew
    target = CloudTarget{plan.product, *plan.aws, before && *before ? (*before)->endpoint : std::string{}};
    target->aws.region = issuer->access()->settings().region;
  }

  std::optional<KeyFile> keys;
  if (plan.keys) {
    if (command.trial) TRY(rehearse_keys(*plan.keys, command.settings));
    TRY(KeyFile file, open_keys(*plan.keys, *ledger, *screen));
    keys.emplace(std::move(file));
    TRY(check_key_words(plan, keys->field_count(), keys->names()));
  }

  auto pool = make_thread_pool(2, PoolManners::yielding);
  auto ledger_pool = make_thread_pool(1);
  StubLibrary stubs = command.no_stub ? StubLibrary{} : load_stubs(command.settings);
  bool has_stub = has_stubs_for(stubs, *plan.chip);
  if (!has_stub && !command.no_stub)
    screen->sentence(
        "no stub flasher for this chip (scripts/setup fetches it): going through the ROM's own loader, several times "
        "slower");
  FirmwarePreparer firmware{plan, *pool};
  const RealFolder files{folder};
  NotifyingObserver observer{*screen, command.on_done};
  StationOptions options;
  options.baud = command.settings.baud;
  options.use_stub = has_stub;
  options.renew = command.renew;
  options.readmit = command.one_pass;  // a line goes by what is plugged in; a board by hand was chosen
  options.reset = !command.no_reset;
  // A board without reset wires needs a hand, and a hand sits before a terminal.
  if (stderr_is_terminal())
    options.button_patience = command.one_pass ? std::chrono::minutes{1} : std::chrono::minutes{10};
  options.serial = command.serial;
  options.keep_key_folder = (command.settings.state / "keys").string();
  Station station{loop,     *entropy, *pool, *ledger_pool, *ledger, issuer->cloud(),
                  observer, stubs,    plan,  firmware,     options, keys ? &*keys : nullptr,
                  &files};
  std::optional<Backlog> backlog;
  if (issuer->elsewhere()) {
    BacklogOptions patience{.limit = plan.aws->backlog};
    station.backlog = &backlog.emplace(loop, *entropy, issuer->cloud(), *ledger, *ledger_pool, patience, say);
  }
  auto opener = make_system_port_opener(loop);
  std::unique_ptr<PortWatcher> watcher;

  LineOptions line_options;
  line_options.ports = expand_ports(command.settings.ports);
  line_options.count = command.count;
  line_options.slots = command.slots;
  line_options.one_pass = command.one_pass;
  if (line_options.ports.empty() && !command.settings.ports.empty())
    return fail({Code::port_missing,
                 Remedy::refuse,
                 fmt::format("no port matches {}", command.settings.ports.front()),
                 {},
                 {},
                 "`espmint board list` shows what is here"});
  if (line_options.ports.empty()) {
    watcher = make_port_watcher(loop);
    std::vector<PortInfo> there = list_ports();
    if (std::none_of(there.begin(), there.end(), is_known_adapter)) {
      screen->sentence("waiting for a board to be plugged in");
      for (const Fault& fault : usb_faults())
        screen->sentence(fmt::format("{} [{}]", describe(fault), name_of(fault.code)));
    }
  }
  if (auto sentence = missing_ports(line_options.ports)) {
    if (!command.one_pass) screen->sentence(*sentence);
    for (const Fault& fault : usb_faults())
      screen->sentence(fmt::format("{} [{}]", describe(fault), name_of(fault.code)));
  }
  // `prepare` without a port takes the one board that is plugged in, or the next.
  if (command.one_pass && line_options.ports.empty()) line_options.count = 1;

  LineSummary summary;
  Result<void> started;
  {
    Line line{loop, station, *opener, watcher.get(), observer, line_options};
    boost::asio::signal_set signals{loop.context(), SIGINT, SIGHUP, SIGTERM};
    auto beginning = std::make_shared<Beginning>();
    loop.spawn(watch_signals(signals, line, *screen, *beginning));
    auto start = [&]() -> Task<Result<void>> {
      std::string endpoint;
      if (target) endpoint = target->endpoint;
      Say sentence = say;
      CO_TRY(co_await issuer->start(std::move(endpoint), std::move(sentence)));
      if (!target) co_return ok();
      target->endpoint = issuer->cloud().endpoint();
      co_return remember_cloud(command.settings, *target);
    };
    loop.run(run_to_the_end(line, firmware, loop, station, start, beginning, has_stub, summary, started, *screen));
  }
  TRY(std::move(started));
  screen->summary(summary);
  return summary.exit();
}

}  // namespace

Exit run_line(const LineCommand& command) {
  auto end = work(command);
  return end ? *end : report(end.error(), command.voice);
}

Exit init_recipe(const LineCommand& command, const std::string& build, const std::string& out) {
  std::optional<FirmwareSet> set;
  if (!build.empty()) {
    auto found = find_firmware(RealFolder{}, build, {});
    if (!found) return report(found.error(), command.voice);
    set = std::move(*found);
  }
  // Paths in a recipe are relative to it.
  fs::path beside = fs::absolute(out).parent_path();
  std::string from_recipe =
      build.empty() || fs::path{build}.is_absolute() ? build : fs::absolute(build).lexically_relative(beside).string();
  std::string text = commented_recipe(set ? &*set : nullptr, from_recipe);
  auto made = create_file(out, as_bytes(text));
  if (!made) return report(made.error(), command.voice);
  if (command.voice.json) {
    print_json({{"v", 1}, {"event", "written"}, {"file", out}});
  } else if (!command.voice.quiet) {
    std::fputs(fmt::format("wrote {}; `espmint run --dry-run` shows what it does\n", out).c_str(), stdout);
  }
  return Exit::good;
}

}  // namespace espmint::app
