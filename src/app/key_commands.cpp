#include "app/key_commands.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <map>

#include "app/desk_commands.hpp"
#include "app/json.hpp"
#include "app/workspace.hpp"
#include "base/text.hpp"
#include "io/entropy.hpp"
#include "io/loop.hpp"
#include "recipe/recipe.hpp"

namespace espmint::app {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t rehearsal_keys = 1000;

KeyFileOptions options_of(const KeysPlan& keys) {
  KeyFileOptions options;
  options.csv.delimiter = keys.delimiter;
  options.csv.fields = keys.fields;
  options.csv.columns = keys.columns;
  options.csv.shared = keys.shared;
  return options;
}

Result<std::unique_ptr<Ledger>> open_to_write(const KeyCommand& command, const Clock& clock, const std::string& verb) {
  // The first import may come before the first run; then the product must be named, for nothing else tells it.
  std::string product = command.record.product;
  if (product.empty() || !products(command.record.settings).empty()) {
    TRY(product, choose_product(command.record.settings, product));
  }
  TRY(make_folder(command.record.settings.state, true));
  LedgerOptions options{LedgerOptions::Mode::write, product_key(product), holder_note("keys " + verb)};
  return Ledger::open(product_folder(command.record.settings, product), options, clock);
}

Result<std::unique_ptr<Ledger>> open_to_read(const KeyCommand& command, const Clock& clock) {
  TRY(std::string product, choose_product(command.record.settings, command.record.product));
  return open_ledger_to_read(command.record.settings, product, clock);
}

void tell_report(const KeyFileReport& report, const fs::path& file, const std::function<void(const std::string&)>& say) {
  say(fmt::format("keys: {} of {} usable in {}{}", report.usable, report.rows, file.string(),
                  report.imported ? fmt::format(", {} new", report.imported) : ""));
  for (const std::string& sentence : report.refused) say("  " + sentence);
  for (const std::string& sentence : report.warnings) say("  " + sentence);
}

Exit ended(const Result<void>& end, const KeyCommand& command) {
  return end ? Exit::good : report(end.error(), command.record.voice);
}

void print(const KeyCommand& command, const std::string& sentence, Json json) {
  if (command.record.voice.json) {
    print_json(json);
  } else if (!command.record.voice.quiet) {
    std::fputs((escape_controls(sentence) + "\n").c_str(), stdout);
  }
}

Result<void> import(const KeyCommand& command) {
  RealLoop clock;
  TRY(auto ledger, open_to_write(command, clock, "import"));
  KeyFileOptions options;
  std::error_code ignored;
  if (fs::exists("recipe.toml", ignored)) {
    TRY(Bytes text, read_file("recipe.toml", 1_MiB));
    TRY(Recipe recipe, parse_recipe(as_text(text), "recipe.toml"));
    if (recipe.keys) options = options_of(*recipe.keys);
  }
  options.first_unmarked_unused = command.first_unmarked_unused;
  options.holder = holder_note("keys import");
  TRY(KeyFile file, KeyFile::open(command.file, *ledger, options));
  if (command.first_unmarked_unused) {
    // Said later, it frees what an earlier import quarantined on suspicion, and nothing else.
    TRY(std::vector<std::int64_t> suspected, ledger->suspected_keys());
    for (std::int64_t key : suspected) TRY(ledger->acquit_key(key, "the user says that its row was never sent"));
    for (std::int64_t key : suspected) TRY(file.mark(key));
    if (!suspected.empty()) TRY(file.look_again());
  }
  const KeyFileReport& report = file.report();
  tell_report(report, command.file, [&](const std::string& sentence) {
    if (!command.record.voice.json && !command.record.voice.quiet) std::fputs((escape_controls(sentence) + "\n").c_str(), stdout);
  });
  if (command.record.voice.json)
    print_json({{"v", 1}, {"event", "keys"}, {"file", command.file}, {"rows", report.rows}, {"imported", report.imported},
                {"usable", report.usable}, {"refused", report.refused}, {"warnings", report.warnings}});
  return ok();
}

Result<void> status(const KeyCommand& command) {
  RealLoop clock;
  TRY(auto ledger, open_to_read(command, clock));
  TRY(std::vector<PoolKey> keys, ledger->pool());
  std::map<std::string, std::size_t> counts;
  for (const PoolKey& key : keys) ++counts[std::string{name_of(key.state)}];
  std::string sentence = fmt::format("{} keys", keys.size());
  Json json{{"v", 1}, {"event", "keys"}, {"keys", keys.size()}};
  for (const auto& [state, count] : counts) {
    sentence += fmt::format("{} {} {}", &state == &counts.begin()->first ? ":" : ",", count, state);
    json[lower(state)] = count;
  }
  print(command, sentence, json);
  for (const PoolKey& key : keys)
    if (key.state == KeyState::quarantined)
      print(command, fmt::format("key {} is QUARANTINED {}", key.number, key.device.empty() ? "and may be on a board that nobody knows" : "to " + key.device),
            {{"v", 1}, {"event", "quarantined"}, {"key", key.number}, {"device", key.device.empty() ? Json{} : Json(key.device)}, {"since", key.when}});
  return ok();
}

Result<void> export_all(const KeyCommand& command) {
  RealLoop clock;
  TRY(auto ledger, open_to_read(command, clock));
  TRY(std::vector<PoolKey> keys, ledger->pool());
  if (!command.record.voice.json) std::fputs("key,state,device,since\n", stdout);
  for (const PoolKey& key : keys) {
    if (command.record.voice.json) {
      print_json({{"v", 1}, {"key", key.number}, {"state", name_of(key.state)}, {"device", key.device.empty() ? Json{} : Json(key.device)}, {"since", key.when}});
    } else {
      std::fputs(fmt::format("{},{},{},{}\n", key.number, name_of(key.state), key.device, key.when).c_str(), stdout);
    }
  }
  return ok();
}

Result<void> release(const KeyCommand& command) {
  RealLoop clock;
  TRY(auto ledger, open_to_write(command, clock, "release"));
  TRY(ledger->trust_key(command.number, command.why.empty() ? "a person released it" : command.why));
  print(command, fmt::format("key {} may be given to its board once more; the file says so at the next run", command.number),
        {{"v", 1}, {"event", "released"}, {"key", command.number}});
  return ok();
}

Result<void> retire(const KeyCommand& command) {
  if (command.by.size() < 2 || command.by[0] == command.by[1])
    return fail({Code::usage, Remedy::refuse, "two people answer for a key that is retired", {}, {}, "Say both: --by ANN --by BOB"});
  RealLoop clock;
  TRY(auto ledger, open_to_write(command, clock, "retire"));
  TRY(ledger->retire_key(command.number, fmt::format("{}", fmt::join(command.by, ", ")), command.why));
  print(command, fmt::format("key {} is RETIRED, for ever", command.number), {{"v", 1}, {"event", "retired"}, {"key", command.number}});
  return ok();
}

}  // namespace

Result<KeyFile> open_keys(const KeysPlan& keys, Ledger& ledger, Screen& screen) {
  KeyFileOptions options = options_of(keys);
  options.holder = holder_note("run");
  TRY(KeyFile file, KeyFile::open(keys.csv, ledger, options));
  tell_report(file.report(), keys.csv, [&](const std::string& sentence) { screen.sentence(sentence); });
  TRY(std::vector<PoolKey> pool, ledger.pool());
  // A board whose key is under way needs none of the pool's.
  bool waited_for = std::any_of(pool.begin(), pool.end(), [](const PoolKey& key) {
    return key.state == KeyState::exposed || key.state == KeyState::written;
  });
  if (file.report().usable == 0 && !waited_for) {
    Fault fault{Code::pool_exhausted, Remedy::refuse, "the pool has no key left"};
    fault.seen = fmt::format("0 of {} usable{}", file.report().rows,
                             file.report().refused.empty() ? "" : ": " + file.report().refused.front());
    fault.where.input = keys.csv;
    fault.advice = "Add rows to it";
    return fail(std::move(fault));
  }
  return file;
}

Result<void> rehearse_keys(KeysPlan& keys, const Settings& settings) {
  TRY(Bytes real, read_file(keys.csv, 1024_MiB));
  KeyCsvOptions options = options_of(keys).csv;
  TRY(KeyCsv csv, in_input(parse_key_csv(as_text(real), options), keys.csv));
  fs::path path = settings.state / "rehearsal-keys.csv";
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    // Fields as long as the first row's, of hexadecimal digits: what firmware checks of a key's shape still holds.
    std::vector<std::size_t> lengths(std::max<std::size_t>(csv.fields, 1), 16);
    if (!csv.rows.empty()) {
      auto values = key_values(as_text(real).substr(csv.rows[0].begin, csv.rows[0].user_bytes), csv.delimiter);
      for (std::size_t i = 0; i < lengths.size() && i < values.size(); ++i) lengths[i] = std::max<std::size_t>(values[i].size(), 8);
    }
    auto entropy = make_system_entropy();
    std::string text{as_text(real).substr(0, csv.header_bytes)};
    for (std::size_t row = 0; row < rehearsal_keys; ++row) {
      for (std::size_t i = 0; i < lengths.size(); ++i) {
        Bytes random((lengths[i] + 1) / 2);
        entropy->fill(random);
        text += to_hex(random).substr(0, lengths[i]) + (i + 1 < lengths.size() ? std::string(1, csv.delimiter) : "\n");
      }
    }
    TRY(create_file(path, as_bytes(text), FileMode::owner_only));
  }
  wipe(real);
  keys.csv = path.string();
  return ok();
}

Exit keys_import(const KeyCommand& command) { return ended(import(command), command); }
Exit keys_status(const KeyCommand& command) { return ended(status(command), command); }
Exit keys_export(const KeyCommand& command) { return ended(export_all(command), command); }
Exit keys_release(const KeyCommand& command) { return ended(release(command), command); }
Exit keys_retire(const KeyCommand& command) { return ended(retire(command), command); }

}  // namespace espmint::app
