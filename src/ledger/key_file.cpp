#include "ledger/key_file.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/text.hpp"

namespace espmint {
namespace {

namespace fs = std::filesystem;

constexpr ByteCount largest_file = 1024_MiB;
constexpr std::size_t longest_sent_line = 1024;  // with its commas; firmware in the field has no larger buffer
constexpr std::size_t most_told = 20;  // rows named one by one; of more the number is told

struct DigestHash {
  std::size_t operator()(const Sha256& digest) const {
    std::size_t out = 0;
    std::copy_n(digest.begin(), sizeof out, reinterpret_cast<std::uint8_t*>(&out));
    return out;
  }
};
template <typename T>
using ByDigest = std::unordered_map<Sha256, T, DigestHash>;

Fault about(const fs::path& path, std::string what, std::string seen = {}, std::string advice = {}) {
  Fault fault{Code::input_invalid, Remedy::refuse, std::move(what), {}, std::move(seen), std::move(advice)};
  fault.where.input = path.string();
  return fault;
}

void wipe_text(std::string& text) { wipe(ByteSpan{reinterpret_cast<std::uint8_t*>(text.data()), text.size()}); }

std::int64_t nanoseconds_of(const struct stat& facts) { return facts.st_mtim.tv_sec * 1'000'000'000ll + facts.st_mtim.tv_nsec; }

bool is_used(KeyMark mark) { return mark == KeyMark::legacy || mark == KeyMark::torn || mark == KeyMark::ours; }

void tell(std::vector<std::string>& list, std::string sentence) {
  if (list.size() < most_told) list.push_back(std::move(sentence));
  else if (list.size() == most_told) list.push_back("and more");
}

/// What a crash left beside the file: temp files that were never renamed. Ours to remove, for the lock is ours.
void remove_left_overs(const fs::path& path) {
  std::error_code ignored;
  const std::string prefix = "." + path.filename().string() + ".";
  fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path{"."};
  for (const fs::directory_entry& entry : fs::directory_iterator{folder, ignored}) {
    std::string name = entry.path().filename().string();
    if (name.starts_with(prefix) && name.ends_with(".tmp")) fs::remove(entry.path(), ignored);
  }
}

/// How an unknown row enters the pool, by what stands behind it.
PoolImport import_of(const KeyRow& row, std::string_view text, char delimiter, PoolDigests digests) {
  PoolImport out{digests, KeyState::available, ""};
  switch (row.mark) {
    case KeyMark::none:
    case KeyMark::available: break;
    case KeyMark::legacy: out.state = KeyState::verified; break;
    case KeyMark::torn: out.state = KeyState::quarantined; break;
    case KeyMark::ours: {
      KeyMarkText mark = mark_text(text, row, delimiter);
      out.state = mark.state == name_of(KeyState::verified) ? KeyState::verified : KeyState::quarantined;
      out.device = mark.device;
    }
  }
  return out;
}

}  // namespace

KeyFile::~KeyFile() { wipe_text(text_); }

Result<KeyFile> KeyFile::open(fs::path path, Ledger& ledger, KeyFileOptions options) {
  std::error_code ignored;
  if (fs::is_symlink(path, ignored)) path = fs::weakly_canonical(path, ignored);
  if (!fs::exists(path, ignored))
    return fail({Code::input_missing, Remedy::refuse, fmt::format("there is no {}", path.string()), {}, {},
                 "Put the keys there, or name their file with --csv-file"});
  if (is_on_network(path)) {
    Fault fault = about(path, "a pool of keys does not work on a network file system", "locks and renames are not kept there",
                        "Copy the file to a disk of this machine");
    fault.code = Code::ledger_refused;
    return fail(std::move(fault));
  }
  TRY(FileLock lock, FileLock::acquire(path.string() + ".lock", options.holder));
  KeyFile file{std::move(path), ledger, std::move(options), std::move(lock)};
  remove_left_overs(file.path_);
  // A rebuilt ledger believes what the file says of its keys: it must not be a picture that a power cut takes back.
  TRY(make_durable(file.path_));
  TRY(file.load(file.path_));
  return file;
}

Result<KeyFile::Stamp> KeyFile::stamp() const {
  struct stat facts {};
  if (::stat(path_.c_str(), &facts) != 0)
    return fail({Code::input_missing, Remedy::stop_line, fmt::format("{} is gone", path_.string()), {}, {},
                 fmt::format("Restore it, or take {}.prev", path_.string())});
  return Stamp{facts.st_dev, facts.st_ino, static_cast<std::uint64_t>(facts.st_size), nanoseconds_of(facts)};
}

Result<void> KeyFile::load_if_edited() {
  TRY(Stamp now, stamp());
  return now == stamp_ ? ok() : load(path_);
}

Result<void> KeyFile::load(const fs::path& from) {
  TRY(stamp_, stamp());
  TRY(Bytes bytes, read_file(from, largest_file));
  wipe_text(text_);
  text_.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  wipe(bytes);
  TRY(csv_, in_input(parse_key_csv(text_, options_.csv), path_.string()));
  report_ = {};
  report_.rows = csv_.rows.size();
  TRY(import());
  return project();
}

Result<void> KeyFile::import() {
  TRY(std::vector<PoolKey> known, ledger_->pool());
  ByDigest<std::size_t> by_row, by_name;
  for (std::size_t i = 0; i < known.size(); ++i) {
    by_row.emplace(known[i].digests.row, i);
    by_name.emplace(known[i].digests.name, i);
  }
  numbers_.assign(csv_.rows.size(), 0);
  row_of_.clear();
  next_ = 0;

  struct Seen {
    std::size_t row;  // index of the first row that had it
    bool used;
  };
  ByDigest<Seen> rows_seen, names_seen;
  std::vector<ByDigest<Seen>> columns_seen(csv_.fields);
  std::vector<PoolImport> fresh;
  std::vector<std::size_t> fresh_rows;
  bool marked_by_others = false, first_unmarked_met = false;
  auto line = [&](std::size_t i) { return csv_.rows[i].line; };

  // Rows that were given out first, so that a free row that equals one of them is known for what it is.
  for (bool used : {true, false}) {
    for (std::size_t i = 0; i < csv_.rows.size(); ++i) {
      const KeyRow& row = csv_.rows[i];
      if (is_used(row.mark) != used) continue;
      std::vector<std::string> values = key_values(user_part(row), csv_.delimiter);
      PoolDigests digests = pool_digests(ledger_->salt(), values);
      auto [same_row, is_new_row] = rows_seen.try_emplace(digests.row, Seen{i, used});
      auto [same_name, is_new_name] = names_seen.try_emplace(digests.name, Seen{i, used});
      if (!is_new_row || !is_new_name) {
        const Seen& other = is_new_row ? same_name->second : same_row->second;
        const char* how = is_new_row ? "has the first field of" : "repeats";
        if (used) {
          tell(report_.warnings, fmt::format("row {} {} row {}; both are marked as used", line(i), how, line(other.row)));
        } else if (other.used) {
          tell(report_.refused, fmt::format("row {} {} row {}, which is already used", line(i), how, line(other.row)));
        } else {
          return fail(about(path_, fmt::format("row {} {} row {}", line(i), how, line(other.row)), {},
                            "One key for one board: remove one of them; nothing was imported"));
        }
        for (std::string& value : values) wipe_text(value);
        continue;
      }
      // Any other column that comes up twice may be a secret that two boards would share.
      std::optional<std::string> twin;
      for (std::uint32_t column = 1; column < csv_.fields && column < values.size() && !twin; ++column) {
        if (std::find(options_.csv.shared.begin(), options_.csv.shared.end(), column + 1) != options_.csv.shared.end()) continue;
        Sha256 digest = pool_digests(ledger_->salt(), {values[column]}).row;
        auto [same, is_new] = columns_seen[column].try_emplace(digest, Seen{i, used});
        if (is_new || used) continue;
        std::string says = fmt::format("row {}, column {} repeats row {}", line(i), column + 1, line(same->second.row));
        if (same->second.used) {
          twin = says + ", which is already used";
        } else {
          for (std::string& value : values) wipe_text(value);
          return fail(about(path_, std::move(says), {},
                            fmt::format("Two boards would share a secret; if column {} may repeat, say `shared = [{}]` under [keys] "
                                        "in the recipe; nothing was imported",
                                        column + 1, column + 1)));
        }
      }
      std::size_t line_bytes = values.size();
      std::size_t comma_in = 0;  // column, from 1
      for (std::size_t column = 0; column < values.size(); ++column) {
        line_bytes += values[column].size();
        if (comma_in == 0 && values[column].find_first_of(",\r\n") != std::string::npos) comma_in = column + 1;
      }
      for (std::string& value : values) wipe_text(value);
      if (!used && options_.csv.columns.empty() && (comma_in != 0 || line_bytes > longest_sent_line))
        return fail(about(path_, fmt::format("row {}{} cannot be sent as a line", line(i), comma_in ? fmt::format(", column {}", comma_in) : ""), {},
                          fmt::format("The hand-shake joins the fields with commas, up to {} bytes: no field may hold one; nothing was imported", longest_sent_line)));
      if (twin) {
        tell(report_.refused, std::move(*twin));
        continue;
      }
      if (auto at = by_row.find(digests.row); at != by_row.end()) {
        const PoolKey& key = known[at->second];
        numbers_[i] = key.number;
        TRY(obey_mark(row, key));
        continue;
      }
      if (auto at = by_name.find(digests.name); at != by_name.end()) {
        tell(report_.refused, fmt::format("row {} was changed after it was imported as key {}: it is not used", line(i),
                                          known[at->second].number));
        continue;
      }
      fresh.push_back(import_of(row, row_text(row), csv_.delimiter, digests));
      fresh_rows.push_back(i);
      marked_by_others = marked_by_others || row.mark == KeyMark::legacy || row.mark == KeyMark::torn;
      if (row.mark == KeyMark::none && marked_by_others && !first_unmarked_met) {
        first_unmarked_met = true;
        if (options_.first_unmarked_unused) {
          tell(report_.warnings, fmt::format("row {} is taken for unused, as you said", line(i)));
        } else {
          fresh.back().state = KeyState::quarantined;
          fresh.back().suspected = true;
          tell(report_.warnings,
               fmt::format("row {} is quarantined: the script that marked this file marks a row after the board has answered, so this "
                           "one may be on a board; if it is not: `espmint keys import --first-unmarked-unused`",
                           line(i)));
        }
      }
    }
  }
  // A rebuilt ledger: two rows of one device, and nobody knows which it holds.
  std::unordered_map<std::string, std::size_t> owner;
  for (std::size_t i = 0; i < fresh.size(); ++i) {
    if (fresh[i].device.empty()) continue;
    auto [at, is_new] = owner.try_emplace(fresh[i].device, i);
    if (is_new) continue;
    fresh[i].state = fresh[at->second].state = KeyState::quarantined;
    tell(report_.warnings, fmt::format("rows {} and {} name one device: both are quarantined", line(fresh_rows[at->second]), line(fresh_rows[i])));
  }
  if (!fresh.empty()) {
    // In the file's order, whatever order they were judged in.
    std::vector<std::size_t> order(fresh.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return fresh_rows[a] < fresh_rows[b]; });
    std::vector<PoolImport> rows;
    rows.reserve(fresh.size());
    for (std::size_t i : order) rows.push_back(std::move(fresh[i]));
    TRY(std::int64_t first, ledger_->import_keys(rows, path_.filename().string()));
    for (std::size_t i = 0; i < order.size(); ++i) numbers_[fresh_rows[order[i]]] = first + static_cast<std::int64_t>(i);
    report_.imported = fresh.size();
  }
  for (std::size_t i = 0; i < numbers_.size(); ++i)
    if (numbers_[i] != 0) row_of_.emplace(numbers_[i], i);
  return ok();
}

/// A mark that is not ours on a key that we hold for free: somebody else has given it out.
Result<void> KeyFile::obey_mark(const KeyRow& row, const PoolKey& key) {
  if (key.state != KeyState::available || !is_used(row.mark)) return ok();
  std::string device;
  if (row.mark == KeyMark::ours) {
    KeyMarkText mark = mark_text(row_text(row), row, csv_.delimiter);
    device = mark.device;
    // What a crash of ours left: RESERVED for the board that it was freed from.
    if (mark.state == name_of(KeyState::reserved) && !key.freed_from.empty() && key.freed_from == device) return ok();
  }
  tell(report_.warnings, fmt::format("row {} is marked as used, not by this ledger: key {} is quarantined", row.line, key.number));
  return ledger_->suspect_key(key.number, device, "its row was marked by somebody else");
}

std::string KeyFile::mark_of(const PoolKey& key) const {
  if (key.state == KeyState::available) return available_mark(csv_.delimiter);
  return given_mark(csv_.delimiter, name_of(key.state), key.device, key.when);
}

Result<void> KeyFile::project() {
  TRY(std::vector<PoolKey> known, ledger_->pool());
  std::string text = text_.substr(0, csv_.header_bytes);
  text.reserve(text_.size() + csv_.rows.size() * 12);
  for (std::size_t i = 0; i < csv_.rows.size(); ++i) {
    KeyRow& row = csv_.rows[i];
    const std::uint64_t begin = text.size();
    text += user_part(row);
    if (numbers_[i] != 0) {
      const PoolKey& key = known.at(static_cast<std::size_t>(numbers_[i] - 1));
      text += mark_of(key);
      report_.usable += key.state == KeyState::available;
      row.mark = key.state == KeyState::available ? KeyMark::available : KeyMark::ours;
    } else if (is_used(row.mark)) {
      text += row_text(row).substr(row.user_bytes);  // a repeated row of a script before us: history, left as it is
    } else {
      text += given_mark(csv_.delimiter, "REFUSED", "", "");  // never given out, by us or by a script that looks for the word
      row.mark = KeyMark::ours;
    }
    row.begin = begin;
    row.bytes = static_cast<std::uint32_t>(text.size() - begin);
    text += csv_.line_end;
  }
  if (text == text_) {
    wipe_text(text);
    return ok();
  }
  return write(text);
}

Result<void> KeyFile::write(const std::string& text) {
  // The picture before this one stays under another name, for whoever must see what happened.
  std::string previous = path_.string() + ".prev", link = previous + ".new";
  ::unlink(link.c_str());
  if (::link(path_.c_str(), link.c_str()) == 0 && ::rename(link.c_str(), previous.c_str()) != 0) ::unlink(link.c_str());
  const Stamp read = std::exchange(stamp_, Stamp{});  // where writing fails, the rows in memory are of no file: read anew
  TRY(write_file(path_, as_bytes(text), FileMode::owner_only));
  wipe_text(text_);
  text_ = text;
  TRY(stamp_, stamp());
  // Whoever wrote between our reading and our renaming wrote into the file that is now the previous one.
  struct stat before {};
  if (::stat(previous.c_str(), &before) != 0 || before.st_ino != read.inode) return ok();
  bool edited = static_cast<std::uint64_t>(before.st_size) != read.size || nanoseconds_of(before) != read.modified;
  return edited ? load(previous) : ok();
}

Result<std::optional<std::int64_t>> KeyFile::next() {
  TRY(load_if_edited());
  for (; next_ < csv_.rows.size(); ++next_) {
    if (csv_.rows[next_].mark != KeyMark::available || numbers_[next_] == 0) continue;
    return numbers_[next_];
  }
  return std::optional<std::int64_t>{};
}

Result<std::vector<Secret>> KeyFile::fields(std::int64_t number) {
  TRY(load_if_edited());
  auto at = row_of_.find(number);
  if (at == row_of_.end()) {
    Fault fault = about(path_, fmt::format("key {} is not in the file any more", number), {},
                        fmt::format("Restore its row, from {}.prev or a backup", path_.string()));
    fault.code = Code::ledger_refused;
    return fail(std::move(fault));
  }
  std::vector<std::string> values = key_values(user_part(csv_.rows[at->second]), csv_.delimiter);
  std::vector<Secret> out;
  auto take = [&](std::string& value) { out.emplace_back(Bytes(value.begin(), value.end())); };
  if (options_.csv.columns.empty() || csv_.columns.empty()) {
    for (std::string& value : values) take(value);
  } else {
    for (const std::string& name : options_.csv.columns)
      for (std::size_t i = 0; i < csv_.columns.size() && i < values.size(); ++i)
        if (lower(trim(csv_.columns[i])) == lower(name)) take(values[i]);
  }
  for (std::string& value : values) wipe_text(value);
  return out;
}

Result<std::optional<PoolKey>> KeyFile::key_with(const std::vector<std::string>& values) {
  return ledger_->key_with_row(pool_digests(ledger_->salt(), values).row);
}

Result<void> KeyFile::mark(std::int64_t number) {
  TRY(load_if_edited());
  auto at = row_of_.find(number);
  if (at == row_of_.end()) return ok();  // its row was removed: what the file does not name it does not offer
  TRY(std::vector<PoolKey> found, ledger_->pool_keys(number, 1));
  KeyRow& row = csv_.rows[at->second];
  std::string mark = mark_of(found.front());
  std::string text = text_.substr(0, row.begin + row.user_bytes);
  text.reserve(text_.size() + mark.size());
  text += mark;
  text += std::string_view{text_}.substr(row.begin + row.bytes);
  const auto grown = static_cast<std::int64_t>(text.size()) - static_cast<std::int64_t>(text_.size());
  if (text == text_) return ok();
  // The rows first: where the file was edited meanwhile, write() reads it anew and they are others.
  const std::size_t index = at->second;
  row.bytes = static_cast<std::uint32_t>(row.bytes + grown);
  row.mark = found.front().state == KeyState::available ? KeyMark::available : KeyMark::ours;
  for (std::size_t i = index + 1; i < csv_.rows.size(); ++i)
    csv_.rows[i].begin = static_cast<std::uint64_t>(static_cast<std::int64_t>(csv_.rows[i].begin) + grown);
  if (row.mark == KeyMark::available) next_ = std::min(next_, index);
  TRY(write(text));
  return ok();
}

}  // namespace espmint
