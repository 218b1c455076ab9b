// Reading keys.csv against the ledger: which row is which key, which rows are new, which are refused, and what is to
// stand behind each. The rules: docs/formats/keys-csv.md.
#include <fmt/format.h>

#include <bit>

#include "base/text.hpp"
#include "ledger/key_file.hpp"

namespace espmint {
namespace {

constexpr std::size_t longest_sent_line = 1024;  // with its commas; firmware in the field has no larger buffer
constexpr std::size_t most_told = 20;            // rows named one by one; of more the number is told
// A key is first looked for where the file's order has it, with some rows before it added, changed or refused.
constexpr std::size_t rows_looked_ahead = 64;

struct DigestHash {
  std::size_t operator()(const Sha256& digest) const {
    std::size_t out = 0;
    std::copy_n(digest.begin(), sizeof out, reinterpret_cast<std::uint8_t*>(&out));
    return out;
  }
};
template <typename T>
using ByDigest = std::unordered_map<Sha256, T, DigestHash>;

bool is_used(KeyMark mark) { return mark == KeyMark::legacy || mark == KeyMark::torn || mark == KeyMark::ours; }

void tell(std::vector<std::string>& list, std::string sentence) {
  if (list.size() < most_told) {
    list.push_back(std::move(sentence));
  } else if (list.size() == most_told) {
    list.push_back("and more");
  }
}

/// The row that has a value already. Open addressing: a hash of the value and the row's index in one word; the value
/// itself is compared where the text lies. A million rows take 16 MiB a column.
class FirstRows {
 public:
  explicit FirstRows(std::size_t rows) : slots_(std::bit_ceil(2 * rows + 2), 0) {}
  /// `is_same(row)`: whether that row has this value. Nothing: `row` is the first.
  template <typename IsSame>
  std::optional<std::size_t> find_or_put(std::string_view value, std::size_t row, IsSame is_same) {
    const std::uint64_t hash = std::hash<std::string_view>{}(value);
    const std::uint64_t tag = hash & 0xffff'ffff'0000'0000u;
    for (std::size_t at = hash & (slots_.size() - 1);; at = (at + 1) & (slots_.size() - 1)) {
      std::uint64_t& slot = slots_[at];
      if (slot == 0) {
        slot = tag | (row + 1);
        return std::nullopt;
      }
      const std::size_t other = (slot & 0xffff'ffffu) - 1;
      if ((slot & 0xffff'ffff'0000'0000u) == tag && is_same(other)) return other;
    }
  }

 private:
  std::vector<std::uint64_t> slots_;
};

std::vector<std::uint64_t> traces_in(const Bytes& encoded) {
  std::vector<std::uint64_t> out;
  for (std::size_t i = 0; i + 8 <= encoded.size(); i += 8)
    out.push_back(get_u32(encoded, i) | static_cast<std::uint64_t>(get_u32(encoded, i + 4)) << 32);
  return out;
}

}  // namespace

struct KeyFile::Judged {
  std::vector<Sha256> digests;          // of each row
  std::vector<PoolKey> gone;            // keys that no row of the file is
  std::vector<std::size_t> marked;      // rows of free keys that bear somebody's mark
  std::vector<PoolImport> fresh;        // new rows, as they enter the pool …
  std::vector<std::size_t> fresh_rows;  // … and which they are
};

Result<void> KeyFile::import() {
  numbers_.assign(csv_.rows.size(), 0);
  wants_.assign(csv_.rows.size(), Want::refused);
  given_.clear();
  next_ = 0;
  if (csv_.guessed_header)
    tell(report_.warnings,
         "the first row is taken for a header: words above a column of numbers; it is never given out");
  Judged judged;
  TRY(match(judged));
  const bool has_unknown = std::find(numbers_.begin(), numbers_.end(), 0) != numbers_.end();
  if (has_unknown) TRY(judge_unknown(judged));
  for (std::size_t i = 0; i < numbers_.size(); ++i)
    if (numbers_[i] == 0 && is_used(csv_.rows[i].mark)) wants_[i] = Want::as_it_is;  // of a script before us: history
  if (!judged.fresh.empty()) TRY(import_fresh(judged));
  TRY(obey_marks(judged));
  std::int64_t highest = 0;
  for (std::int64_t number : numbers_) highest = std::max(highest, number);
  row_of_.assign(static_cast<std::size_t>(highest) + 1, 0);
  for (std::size_t i = 0; i < numbers_.size(); ++i)
    row_of_[static_cast<std::size_t>(numbers_[i])] = static_cast<std::uint32_t>(i + 1);
  row_of_[0] = 0;
  return ok();
}

/// What the ledger says of a row's key, and so what is to stand behind it.
void KeyFile::settle(std::size_t row, const PoolKey& key) {
  numbers_[row] = key.number;
  const KeyRow& at = csv_.rows[row];
  wants_[row] = Want::as_it_is;
  if (key.state == KeyState::available) {
    if (at.mark != KeyMark::available) wants_[row] = Want::available;
    return;
  }
  std::string mark = mark_of(key);
  if (row_text(at).substr(at.user_bytes) == mark) return;
  wants_[row] = Want::given;
  given_[row] = std::move(mark);
}

void KeyFile::give_up(std::size_t row) {
  numbers_[row] = 0;
  wants_[row] = Want::refused;
  given_.erase(row);
}

/// Every row against every key, by digest: nothing that was noted of the file before is believed.
Result<void> KeyFile::match(Judged& judged) {
  const std::size_t rows = csv_.rows.size();
  judged.digests.reserve(rows);
  {
    PoolDigester digester{ledger_->salt()};
    KeyValues values;
    for (const KeyRow& row : csv_.rows) {
      std::span<const std::string_view> cut = values.cut(user_part(row), csv_.delimiter);
      if (!is_used(row.mark)) TRY(check_that_it_can_be_sent(row, cut));
      judged.digests.push_back(digester.row(cut));
    }
  }
  auto take = [&](std::size_t row, const PoolKey& key) {
    settle(row, key);
    if (key.state == KeyState::available && is_used(csv_.rows[row].mark)) judged.marked.push_back(row);
  };
  std::size_t expected = 0;
  TRY(ledger_->each_key(1, [&](const PoolKey& key) {
    const std::size_t end = std::min(rows, expected + rows_looked_ahead);
    for (std::size_t i = expected; i < end; ++i) {
      if (numbers_[i] != 0 || judged.digests[i] != key.digests.row) continue;
      take(i, key);
      expected = i + 1;
      return;
    }
    judged.gone.push_back(key);
  }));
  if (expected == 0 && judged.gone.empty()) return ok();  // the pool is empty
  ByDigest<std::size_t> left, left_used;                  // rows without a key yet; of equal ones the first
  for (std::size_t i = 0; i < rows; ++i) {
    if (numbers_[i] != 0) continue;
    if (!judged.gone.empty()) left.emplace(judged.digests[i], i);
    if (is_used(csv_.rows[i].mark)) left_used.emplace(judged.digests[i], i);
  }
  // Of two equal rows the marked one is the key's, wherever it stands.
  for (std::size_t i = 0; i < rows && !left_used.empty(); ++i) {
    if (numbers_[i] == 0 || is_used(csv_.rows[i].mark)) continue;
    auto at = left_used.find(judged.digests[i]);
    if (at == left_used.end()) continue;
    TRY(std::vector<PoolKey> key, ledger_->pool_keys(numbers_[i], 1));
    give_up(i);
    take(at->second, key.front());
    left.erase(at->first);
    left_used.erase(at);
  }
  std::erase_if(judged.gone, [&](const PoolKey& key) {
    auto at = left.find(key.digests.row);
    if (at == left.end()) return false;
    auto used = left_used.find(key.digests.row);
    take(used != left_used.end() ? used->second : at->second, key);
    left.erase(at);
    return true;
  });
  return ok();
}

Result<void> KeyFile::check_that_it_can_be_sent(const KeyRow& row, std::span<const std::string_view> values) const {
  if (!options_.csv.columns.empty()) return ok();
  std::size_t line_bytes = values.size();
  std::size_t comma_in = 0;  // column, from 1
  for (std::size_t column = 0; column < values.size(); ++column) {
    line_bytes += values[column].size();
    if (comma_in == 0 && values[column].find(',') != std::string_view::npos) comma_in = column + 1;
  }
  if (comma_in == 0 && line_bytes <= longest_sent_line) return ok();
  Fault fault{
      Code::input_invalid, Remedy::refuse,
      fmt::format("row {}{} cannot be sent as a line", row.line, comma_in ? fmt::format(", column {}", comma_in) : "")};
  fault.advice = fmt::format(
      "The hand-shake joins the fields with commas, up to {} bytes: no field may hold one; nothing was imported",
      longest_sent_line);
  return fail(in_key_file(std::move(fault), path_));
}

/// Rows that are no key of the pool. What is unique is asked of all rows then, for a known one may repeat a new one;
/// rows that were given out go first, so that a free row that equals one of them is known for what it is.
Result<void> KeyFile::judge_unknown(Judged& judged) {
  const std::size_t rows = csv_.rows.size();
  KeyValues values, others;
  PoolDigester digester{ledger_->salt()};
  auto line = [&](std::size_t i) { return csv_.rows[i].line; };
  auto field_of = [&](std::size_t row, std::size_t column) {
    return others.cut(user_part(csv_.rows[row]), csv_.delimiter)[column];
  };
  auto is_shared = [&](std::size_t column) {
    return std::find(options_.csv.shared.begin(), options_.csv.shared.end(), column + 1) != options_.csv.shared.end();
  };
  auto refused = [&](std::string what, std::size_t row, std::size_t column, std::string advice) {
    Fault fault{Code::input_invalid, Remedy::refuse, std::move(what), {}, {}, std::move(advice)};
    fault.where.input = fmt::format("row {}, column {}", line(row), column);
    return in_key_file(std::move(fault), path_);
  };
  std::vector<FirstRows> seen;
  for (std::uint32_t column = 0; column < csv_.fields; ++column)
    seen.emplace_back(column == 0 || !is_shared(column) ? rows : 0);
  ByDigest<PoolKey*> gone_names;
  std::unordered_map<std::uint64_t, PoolKey*> gone_traces;
  for (PoolKey& key : judged.gone) {
    gone_names.emplace(key.digests.name, &key);
    for (std::uint64_t trace : traces_in(key.digests.traces)) gone_traces.emplace(trace, &key);
  }
  /// A key whose words came back otherwise than they were imported: never a key of its own.
  auto kin_of = [&](std::span<const std::string_view> cut, const std::vector<PoolDigester::Trace>& traces,
                    const Sha256& name) -> std::optional<std::pair<PoolKey*, std::string>> {
    if (judged.gone.empty()) return std::nullopt;
    if (auto at = gone_names.find(name); at != gone_names.end())
      return std::pair{at->second, fmt::format("was changed after it was imported as key {}", at->second->number)};
    for (const PoolDigester::Trace& trace : traces) {
      if (auto at = gone_traces.find(trace.digest); at != gone_traces.end())
        return std::pair{at->second, fmt::format("{}has {} of key {} under another first field",
                                                 trace.column ? fmt::format("(column {}) ", trace.column) : "",
                                                 cut.size() == 2 || trace.column ? "the secret" : "the secrets",
                                                 at->second->number)};
    }
    return std::nullopt;
  };

  bool marked_by_others = false, first_unmarked_met = false;
  for (bool used : {true, false}) {
    for (std::size_t i = 0; i < rows; ++i) {
      const KeyRow& row = csv_.rows[i];
      if (is_used(row.mark) != used) continue;
      std::span<const std::string_view> cut = values.cut(user_part(row), csv_.delimiter);
      if (auto other = seen[0].find_or_put(cut[0], i, [&](std::size_t at) { return field_of(at, 0) == cut[0]; })) {
        const bool repeats = judged.digests[*other] == judged.digests[i];
        std::string says =
            fmt::format("row {} {} row {}", line(i), repeats ? "repeats" : "has the first field of", line(*other));
        const bool other_is_used = is_used(csv_.rows[*other].mark);
        if (used) {
          tell(report_.warnings, says + "; both are marked as used");
        } else if (other_is_used) {
          tell(report_.refused, says + ", which is already used");
        } else {
          return fail(
              refused(std::move(says), i, 1, "One key for one board: remove one of them; nothing was imported"));
        }
        give_up(i);
        continue;
      }
      // Any other column that comes up twice may be a secret that two boards would share.
      std::optional<std::string> twin;
      for (std::uint32_t column = 1; column < csv_.fields && column < cut.size() && !twin; ++column) {
        if (is_shared(column)) continue;
        auto other = seen[column].find_or_put(cut[column], i,
                                              [&](std::size_t at) { return field_of(at, column) == cut[column]; });
        if (!other || used) continue;
        std::string says = fmt::format("row {}, column {} repeats row {}", line(i), column + 1, line(*other));
        if (!is_used(csv_.rows[*other].mark))
          return fail(
              refused(std::move(says), i, column + 1,
                      fmt::format("Two boards would share a secret; if column {} may repeat, say `shared = [{}]` under "
                                  "[keys] in the recipe; nothing was imported",
                                  column + 1, column + 1)));
        twin = says + ", which is already used";
      }
      if (twin) {
        tell(report_.refused, std::move(*twin));
        give_up(i);
        continue;
      }
      if (numbers_[i] != 0) continue;

      PoolImport fresh;
      fresh.digests.row = judged.digests[i];
      fresh.digests.name = digester.name(cut[0]);
      std::vector<PoolDigester::Trace> traces = digester.traces(cut, options_.csv.shared);
      if (auto kin = kin_of(cut, traces, fresh.digests.name)) {
        tell(report_.refused, fmt::format("row {} {}: it is not used", line(i), kin->second));
        // Marked by somebody: that key is on a board, whatever name it has there.
        const bool by_us =
            row.mark == KeyMark::ours && mark_text(row_text(row), row, csv_.delimiter).state == "REFUSED";
        if (used && !by_us && kin->first->state == KeyState::available) {
          TRY(ledger_->suspect_key(kin->first->number, "", "a row with its words was marked by somebody else"));
          kin->first->state = KeyState::quarantined;
        }
        continue;
      }
      fresh.digests.traces = encode_traces(traces);
      switch (row.mark) {
        case KeyMark::none:
        case KeyMark::available:
          break;
        case KeyMark::legacy:
          fresh.state = KeyState::verified;
          break;
        case KeyMark::torn:
          fresh.state = KeyState::quarantined;
          break;
        case KeyMark::ours: {
          KeyMarkText mark = mark_text(row_text(row), row, csv_.delimiter);
          fresh.state = mark.state == name_of(KeyState::verified) ? KeyState::verified : KeyState::quarantined;
          fresh.device = mark.device;
        }
      }
      marked_by_others = marked_by_others || row.mark == KeyMark::legacy || row.mark == KeyMark::torn;
      if (row.mark == KeyMark::none && marked_by_others && !first_unmarked_met) {
        first_unmarked_met = true;
        if (options_.first_unmarked_unused) {
          tell(report_.warnings, fmt::format("row {} is taken for unused, as you said", line(i)));
        } else {
          fresh.state = KeyState::quarantined;
          fresh.suspected = true;
          tell(report_.warnings,
               fmt::format("row {} is quarantined: the script that marked this file marks a row after the board has "
                           "answered, so this "
                           "one may be on a board; if it is not: `espmint keys import --first-unmarked-unused`",
                           line(i)));
        }
      }
      judged.fresh.push_back(std::move(fresh));
      judged.fresh_rows.push_back(i);
    }
  }
  return ok();
}

Result<void> KeyFile::import_fresh(Judged& judged) {
  std::vector<PoolImport>& fresh = judged.fresh;
  auto line = [&](std::size_t i) { return csv_.rows[judged.fresh_rows[i]].line; };
  // A rebuilt ledger: two rows of one device, and nobody knows which it holds.
  std::unordered_map<std::string, std::size_t> owner;
  for (std::size_t i = 0; i < fresh.size(); ++i) {
    if (fresh[i].device.empty()) continue;
    auto [at, is_new] = owner.try_emplace(fresh[i].device, i);
    if (!is_new) {
      fresh[i].state = fresh[at->second].state = KeyState::quarantined;
      tell(report_.warnings,
           fmt::format("rows {} and {} name one device: both are quarantined", line(at->second), line(i)));
      continue;
    }
    TRY(std::vector<PoolKey> has, ledger_->keys_of(fresh[i].device));
    if (has.empty()) continue;
    tell(report_.warnings, fmt::format("row {} names {}, which has key {}: it is quarantined, of no device", line(i),
                                       escape_controls(fresh[i].device), has.back().number));
    fresh[i].state = KeyState::quarantined;
    fresh[i].device.clear();
  }
  // In the file's order, whatever order they were judged in.
  std::vector<std::size_t> order(fresh.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return judged.fresh_rows[a] < judged.fresh_rows[b]; });
  std::vector<PoolImport> rows;
  rows.reserve(fresh.size());
  for (std::size_t i : order) rows.push_back(std::move(fresh[i]));
  TRY(std::int64_t first, ledger_->import_keys(rows, path_.filename().string()));
  report_.imported = rows.size();
  return ledger_->each_key(first, [&](const PoolKey& key) {
    settle(judged.fresh_rows[order[static_cast<std::size_t>(key.number - first)]], key);
  });
}

/// A mark that is not ours on a key that we hold for free: somebody else has given it out.
Result<void> KeyFile::obey_marks(Judged& judged) {
  for (std::size_t i : judged.marked) {
    const KeyRow& row = csv_.rows[i];
    TRY(std::vector<PoolKey> found, ledger_->pool_keys(numbers_[i], 1));
    const PoolKey& key = found.front();
    std::string device;
    if (row.mark == KeyMark::ours) {
      KeyMarkText mark = mark_text(row_text(row), row, csv_.delimiter);
      device = mark.device;
      // What a crash of ours left: nothing of that reservation was sent, or the ledger would not have freed it.
      TRY(bool ours, mark.state == name_of(KeyState::reserved) ? ledger_->was_reserved(key.number, device, mark.time)
                                                               : Result<bool>{false});
      if (ours) continue;
      TRY(std::vector<PoolKey> has, ledger_->keys_of(device));
      if (!has.empty()) device.clear();  // nobody knows which of the two it holds
    }
    tell(report_.warnings,
         fmt::format("row {} is marked as used, not by this ledger: key {} is quarantined", row.line, key.number));
    TRY(ledger_->suspect_key(key.number, device, "its row was marked by somebody else"));
    TRY(found, ledger_->pool_keys(numbers_[i], 1));
    settle(i, found.front());
  }
  return ok();
}

}  // namespace espmint
