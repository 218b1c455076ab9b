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
#include "handshake/line_dialect.hpp"
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
  if (product.empty() && products(command.record.settings).empty()) {
    Fault fault{Code::ledger_missing, Remedy::refuse,
                "there is no ledger yet, and nothing says for which product it would be"};
    fault.where.input = command.record.settings.state.string();
    fault.advice = fmt::format(
        "Name the product: `espmint keys {} … --product NAME`, as its recipe or firmware does; or let the first "
        "`espmint run` import the keys; --state names another folder",
        verb);
    return fail(std::move(fault));
  }
  TRY(product, choose_product(command.record.settings, product));
  TRY(make_folder(command.record.settings.state, true));
  LedgerOptions options{LedgerOptions::Mode::write, product_key(product), holder_note("keys " + verb)};
  return Ledger::open(product_folder(command.record.settings, product), options, clock);
}

Result<std::unique_ptr<Ledger>> open_to_read(const KeyCommand& command, const Clock& clock) {
  TRY(std::string product, choose_product(command.record.settings, command.record.product));
  return open_ledger_to_read(command.record.settings, product, clock);
}

void tell_report(const KeyFileReport& report, const fs::path& file,
                 const std::function<void(const std::string&)>& say) {
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
    if (!command.record.voice.json && !command.record.voice.quiet)
      std::fputs((escape_controls(sentence) + "\n").c_str(), stdout);
  });
  if (command.record.voice.json)
    print_json({{"v", 1},
                {"event", "keys"},
                {"file", command.file},
                {"rows", report.rows},
                {"imported", report.imported},
                {"usable", report.usable},
                {"refused", report.refused},
                {"warnings", report.warnings}});
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
      print(command,
            fmt::format("key {} is QUARANTINED {}", key.number,
                        key.device.empty() ? "and may be on a board that nobody knows" : "to " + key.device),
            {{"v", 1},
             {"event", "quarantined"},
             {"key", key.number},
             {"device", key.device.empty() ? Json{} : Json(key.device)},
             {"since", key.when}});
  return ok();
}

Result<void> export_all(const KeyCommand& command) {
  RealLoop clock;
  TRY(auto ledger, open_to_read(command, clock));
  TRY(std::vector<PoolKey> keys, ledger->pool());
  if (!command.record.voice.json) std::fputs("key,state,device,since\n", stdout);
  for (const PoolKey& key : keys) {
    if (command.record.voice.json) {
      print_json({{"v", 1},
                  {"key", key.number},
                  {"state", name_of(key.state)},
                  {"device", key.device.empty() ? Json{} : Json(key.device)},
                  {"since", key.when}});
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
  print(command,
        fmt::format("key {} may be given to its board once more; the file says so at the next run", command.number),
        {{"v", 1}, {"event", "released"}, {"key", command.number}});
  return ok();
}

Result<void> retire(const KeyCommand& command) {
  if (command.by.size() < 2 || command.by[0] == command.by[1])
    return fail({Code::usage,
                 Remedy::refuse,
                 "two people answer for a key that is retired",
                 {},
                 {},
                 "Say both: --by ANN --by BOB"});
  RealLoop clock;
  TRY(auto ledger, open_to_write(command, clock, "retire"));
  TRY(ledger->retire_key(command.number, fmt::format("{}", fmt::join(command.by, ", ")), command.why));
  print(command, fmt::format("key {} is RETIRED, for ever", command.number),
        {{"v", 1}, {"event", "retired"}, {"key", command.number}});
  return ok();
}

}  // namespace

Result<KeyFile> open_keys(const KeysPlan& keys, Ledger& ledger, Screen& screen) {
  KeyFileOptions options = options_of(keys);
  options.holder = holder_note("run");
  TRY(KeyFile file, KeyFile::open(keys.csv, ledger, options));
  tell_report(file.report(), keys.csv, [&](const std::string& sentence) { screen.sentence(sentence); });
  if (file.report().usable != 0) return file;
  // A board whose key is under way needs none of the pool's.
  bool waited_for = false;
  TRY(ledger.each_key(1, [&](const PoolKey& key) {
    waited_for = waited_for || key.state == KeyState::exposed || key.state == KeyState::written;
  }));
  if (!waited_for) {
    Fault fault{Code::pool_exhausted, Remedy::refuse, "the pool has no key left"};
    fault.seen = fmt::format("0 of {} usable{}", file.report().rows,
                             file.report().refused.empty() ? "" : ": " + file.report().refused.front());
    fault.where.input = keys.csv;
    fault.advice = "Add rows to it";
    return fail(std::move(fault));
  }
  return file;
}

namespace {

struct ReadKeys {
  std::string text;  // the secrets; wiped at its end
  KeyCsv csv;
  ReadKeys() = default;
  ReadKeys(ReadKeys&&) = default;
  ~ReadKeys() { wipe(ByteSpan{reinterpret_cast<std::uint8_t*>(text.data()), text.size()}); }
};

Result<ReadKeys> read_keys(const fs::path& path, const KeyCsvOptions& options) {
  ReadKeys out;
  TRY(out.text, read_key_text(path));
  auto csv = parse_key_csv(out.text, options);
  if (!csv) return fail(in_key_file(std::move(csv.error()), path));
  out.csv = std::move(*csv);
  return out;
}

/// What a made-up key has in common with a real one: its header, its delimiter and how long each field is. At least 8:
/// shorter ones would soon repeat.
struct KeyShape {
  std::string header;
  char delimiter = ',';
  std::vector<std::size_t> lengths;
  bool operator==(const KeyShape&) const = default;
};

KeyShape shape_of(const ReadKeys& keys) {
  KeyShape out{keys.text.substr(0, keys.csv.header_bytes), keys.csv.delimiter,
               std::vector<std::size_t>(std::max<std::size_t>(keys.csv.fields, 1), 16)};
  if (keys.csv.rows.empty()) return out;
  const KeyRow& first = keys.csv.rows.front();
  KeyValues values;
  auto cut = values.cut(std::string_view{keys.text}.substr(first.begin, first.user_bytes), keys.csv.delimiter);
  for (std::size_t i = 0; i < out.lengths.size() && i < cut.size(); ++i)
    out.lengths[i] = std::max<std::size_t>(cut[i].size(), 8);
  return out;
}

}  // namespace

Result<void> check_keys(const KeysPlan& keys, bool and_file) {
  const LineDialect dialect{keys.prompt, keys.done, keys.values};
  if (!is_usable(dialect)) {
    Fault fault{Code::recipe_invalid, Remedy::refuse, "the words of the hand-shake cannot work"};
    fault.seen = fmt::format("prompt '{}', done '{}', values '{}'", escape_controls(keys.prompt),
                             escape_controls(keys.done), escape_controls(keys.values));
    fault.advice = "prompt and done must differ; values looks like '{name}: {value}'";
    return fail(std::move(fault));
  }
  if (!and_file) return ok();
  TRY(read_keys(keys.csv, options_of(keys).csv));
  return ok();
}

Result<void> rehearse_keys(KeysPlan& keys, const Settings& settings) {
  const KeyCsvOptions options = options_of(keys).csv;
  TRY(ReadKeys real, read_keys(keys.csv, options));
  const KeyShape shape = shape_of(real);
  fs::path path = settings.state / "rehearsal-keys.csv";
  keys.csv = path.string();
  std::error_code ignored;
  if (fs::exists(path, ignored)) {
    auto there = read_keys(path, options);
    if (there && shape_of(*there) == shape) return ok();
  }
  // Fields of hexadecimal digits: what firmware checks of a key's shape still holds.
  auto entropy = make_system_entropy();
  std::string text = shape.header;
  for (std::size_t row = 0; row < rehearsal_keys; ++row) {
    for (std::size_t i = 0; i < shape.lengths.size(); ++i) {
      Bytes random((shape.lengths[i] + 1) / 2);
      entropy->fill(random);
      text += to_hex(random).substr(0, shape.lengths[i]) +
              (i + 1 < shape.lengths.size() ? std::string(1, shape.delimiter) : "\n");
    }
  }
  return write_file(path, as_bytes(text), FileMode::owner_only);
}

Exit keys_import(const KeyCommand& command) { return ended(import(command), command); }
Exit keys_status(const KeyCommand& command) { return ended(status(command), command); }
Exit keys_export(const KeyCommand& command) { return ended(export_all(command), command); }
Exit keys_release(const KeyCommand& command) { return ended(release(command), command); }
Exit keys_retire(const KeyCommand& command) { return ended(retire(command), command); }

}  // namespace espmint::app
