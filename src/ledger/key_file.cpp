#include "ledger/key_file.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "base/text.hpp"

namespace espmint {
namespace {

namespace fs = std::filesystem;

constexpr ByteCount largest_file = 1024_MiB;
// Two writes within one tick of the kernel's clock (4 ms at 250 Hz) leave the same time; a file system that keeps whole
// seconds, or two, says so by its zeros.
constexpr std::int64_t usual_tick_ns = 20'000'000, coarse_tick_ns = 2'100'000'000, second_ns = 1'000'000'000;

void wipe_text(std::string& text) { wipe(ByteSpan{reinterpret_cast<std::uint8_t*>(text.data()), text.size()}); }

std::int64_t nanoseconds_of(const timespec& time) { return time.tv_sec * second_ns + time.tv_nsec; }

/// Room to grow into: marks come one by one, and a text that moves leaves a copy of the secrets behind.
std::size_t with_room(std::size_t bytes) { return bytes + bytes / 16 + 64 * 1024; }

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

}  // namespace

Fault in_key_file(Fault fault, const fs::path& path) {
  std::string& where = fault.where.input;
  where = where.empty() || where == path.string() ? path.string() : fmt::format("{}, {}", path.string(), where);
  return fault;
}

Result<std::string> read_key_text(const fs::path& path) {
  std::string text;
  std::error_code ignored;
  const auto expected = fs::file_size(path, ignored);
  if (!ignored && expected <= largest_file) text.reserve(with_room(expected));
  std::size_t line_bytes = 0;
  auto read = read_parts(path, largest_file, [&](ByteView part) {
    std::string_view more = as_text(part);
    text += more;
    for (std::size_t begin = 0;;) {
      const std::size_t end = std::min(more.find('\n', begin), more.size());
      line_bytes += end - begin;
      if (line_bytes > longest_key_row + 1) return false;  // one more: of CR LF
      if (end == more.size()) break;
      line_bytes = 0;
      begin = end + 1;
    }
    return more.find('\0') == std::string_view::npos;  // nearly all that is binary has one soon
  });
  if (read) return text;
  wipe_text(text);
  return fail(std::move(read.error()));
}

KeyFile::~KeyFile() { wipe_text(text_); }

Result<KeyFile> KeyFile::open(fs::path path, Ledger& ledger, KeyFileOptions options) {
  std::error_code ignored;
  if (fs::is_symlink(path, ignored)) path = fs::weakly_canonical(path, ignored);
  if (!fs::exists(path, ignored))
    return fail({Code::input_missing,
                 Remedy::refuse,
                 fmt::format("there is no {}", path.string()),
                 {},
                 {},
                 "Put the keys there, or name their file with --csv-file"});
  auto refused = [&](Code code, std::string what, std::string seen, std::string advice) {
    Fault fault{code, Remedy::refuse, std::move(what), {}, std::move(seen), std::move(advice)};
    fault.where.input = path.string();
    return fault;
  };
  if (path.extension() == ".prev")
    return fail(
        refused(Code::input_invalid, "this is the picture of a pool before its last change",
                "it may say `available` of a key that is on a board by now",
                fmt::format("Use {}; where that is lost, a copy of this one under its name, with the ledger in place",
                            path.stem().string())));
  if (is_on_network(path))
    return fail(refused(Code::ledger_refused, "a pool of keys does not work on a network file system",
                        "locks and renames are not kept there", "Copy the file to a disk of this machine"));
  TRY(FileLock lock, FileLock::acquire(path.string() + ".lock", options.holder));
  KeyFile file{std::move(path), ledger, std::move(options), std::move(lock)};
  remove_left_overs(file.path_);
  // A rebuilt ledger believes what the file says of its keys: it must not be a picture that a power cut takes back.
  TRY(make_durable(file.path_));
  TRY(file.load(file.path_));
  return file;
}

Result<KeyFile::Stamp> KeyFile::stamp() const {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  struct stat facts {};
  if (::stat(path_.c_str(), &facts) != 0)
    return fail({Code::input_missing,
                 Remedy::stop_line,
                 fmt::format("{} is gone", path_.string()),
                 {},
                 {},
                 fmt::format("Restore it, or take {}", previous().string())});
  Stamp out{facts.st_dev, facts.st_ino, static_cast<std::uint64_t>(facts.st_size), nanoseconds_of(facts.st_mtim),
            nanoseconds_of(facts.st_ctim)};
  // A write sets the time of change to its own; one that puts it back leaves its trace in the inode's. So it is the
  // former that must lie a tick behind us.
  const bool whole_seconds = facts.st_mtim.tv_nsec == 0 && facts.st_ctim.tv_nsec == 0;
  out.certain = out.modified + (whole_seconds ? coarse_tick_ns : usual_tick_ns) < nanoseconds_of(now);
  return out;
}

bool KeyFile::holds_our_text(const fs::path& path) const {
  std::size_t at = 0;
  auto read = read_parts(path, largest_file, [&](ByteView part) {
    bool same = as_text(part) == std::string_view{text_}.substr(at, part.size());
    at += same ? part.size() : 0;
    return same;
  });
  return read && at == text_.size();
}

Result<void> KeyFile::load_if_edited() {
  TRY(Stamp now, stamp());
  if (stamp_.certain && now.same_file(stamp_)) return ok();
  // Touched, or too young to tell: its bytes decide.
  if (stamp_.inode == 0 || now.size != text_.size() || !holds_our_text(path_)) return load(path_);
  stamp_ = now;  // from before the bytes were read
  return ok();
}

Result<void> KeyFile::load(const fs::path& from) {
  TRY(Stamp read, stamp());
  stamp_ = Stamp{};  // where this ends with a fault, the rows in memory are of no file: read anew
  TRY(std::string text, read_key_text(from));
  wipe_text(text_);
  text_ = std::move(text);
  auto csv = parse_key_csv(text_, options_.csv);
  if (!csv) return fail(in_key_file(std::move(csv.error()), path_));
  csv_ = std::move(*csv);
  report_ = {};
  report_.rows = csv_.rows.size();
  TRY(import());
  stamp_ = read;
  return project(from != path_);
}

std::string KeyFile::mark_of(const PoolKey& key) const {
  if (key.state == KeyState::available) return available_mark(csv_.delimiter);
  return given_mark(csv_.delimiter, name_of(key.state), key.device, key.when);
}

std::optional<std::size_t> KeyFile::row_of(std::int64_t number) const {
  if (number < 1 || std::cmp_greater_equal(number, row_of_.size()) || row_of_[static_cast<std::size_t>(number)] == 0)
    return std::nullopt;
  return row_of_[static_cast<std::size_t>(number)] - 1;
}

Result<void> KeyFile::project(bool always) {
  // Every row behind the one before, with the same line end: else the file is written once, so that it is.
  std::uint64_t end = csv_.header_bytes;
  bool changes = always;
  for (std::size_t i = 0; i < csv_.rows.size(); ++i) {
    const KeyRow& row = csv_.rows[i];
    changes = changes || row.begin != end || wants_[i] != Want::as_it_is;
    end = row.begin + row.bytes + csv_.line_end.size();
    const bool free = wants_[i] == Want::available || (wants_[i] == Want::as_it_is && row.mark == KeyMark::available);
    report_.usable += numbers_[i] != 0 && free;
  }
  if (!changes && end == text_.size()) return ok();
  std::string text;
  text.reserve(with_room(text_.size() + csv_.rows.size() * 12));
  text.append(text_, 0, csv_.header_bytes);
  const std::string available = available_mark(csv_.delimiter), refused = given_mark(csv_.delimiter, "REFUSED", "", "");
  for (std::size_t i = 0; i < csv_.rows.size(); ++i) {
    KeyRow& row = csv_.rows[i];
    const std::uint64_t begin = text.size();
    switch (wants_[i]) {
      case Want::as_it_is:
        text += row_text(row);
        break;
      case Want::available:
        (text += user_part(row)) += available;
        break;
      case Want::given:
        (text += user_part(row)) += given_.at(i);
        break;
      case Want::refused:
        (text += user_part(row)) += refused;
        break;  // never given out, by us or by a script that looks for the word
    }
    if (wants_[i] != Want::as_it_is) row.mark = wants_[i] == Want::available ? KeyMark::available : KeyMark::ours;
    row.begin = begin;
    row.bytes = static_cast<std::uint32_t>(text.size() - begin);
    text += csv_.line_end;
  }
  wants_.assign(wants_.size(), Want::as_it_is);
  given_.clear();
  const ByteView whole = as_bytes(text);
  auto edited = write(std::span{&whole, 1});
  std::swap(text, text_);
  wipe_text(text);
  if (!edited) return fail(std::move(edited.error()));
  return *edited ? load(previous()) : ok();
}

Result<bool> KeyFile::write(std::span<const ByteView> pieces) {
  // The picture before this one stays under another name, for whoever must see what happened.
  std::string before = previous().string(), link = before + ".new";
  ::unlink(link.c_str());
  if (::link(path_.c_str(), link.c_str()) == 0 && ::rename(link.c_str(), before.c_str()) != 0) ::unlink(link.c_str());
  const Stamp read =
      std::exchange(stamp_, Stamp{});  // where writing fails, the rows in memory are of no file: read anew
  TRY(write_file(path_, pieces, FileMode::owner_only));
  TRY(stamp_, stamp());
  // Whoever wrote between our reading and our renaming wrote into the file that is now the previous one.
  struct stat facts {};
  if (::stat(before.c_str(), &facts) != 0 || facts.st_ino != read.inode) return false;
  if (static_cast<std::uint64_t>(facts.st_size) != read.size || nanoseconds_of(facts.st_mtim) != read.modified)
    return true;
  return !read.certain && !holds_our_text(before);
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
  auto at = row_of(number);
  if (!at) {
    Fault fault{Code::ledger_refused, Remedy::refuse, fmt::format("key {} is not in the file any more", number)};
    fault.advice = fmt::format("Restore its row, from {} or a backup", previous().string());
    return fail(in_key_file(std::move(fault), path_));
  }
  std::vector<std::string> values = key_values(user_part(csv_.rows[*at]), csv_.delimiter);
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

std::vector<std::string> KeyFile::names() const {
  return options_.csv.columns.empty() ? csv_.columns : options_.csv.columns;
}

Result<std::optional<PoolKey>> KeyFile::key_with(const std::vector<std::string>& values) {
  return ledger_->key_with_row(pool_digests(ledger_->salt(), values).row);
}

/// In place where there is room, as there nearly always is.
void KeyFile::replace_text(std::size_t at, std::size_t bytes, std::string_view with) {
  if (text_.size() - bytes + with.size() > text_.capacity()) {
    std::string larger;
    larger.reserve(with_room(text_.size() + with.size()));
    larger = text_;
    std::swap(larger, text_);
    wipe_text(larger);
  }
  text_.replace(at, bytes, with);
}

Result<void> KeyFile::mark(std::int64_t number) {
  TRY(load_if_edited());
  auto index = row_of(number);
  if (!index) return ok();  // its row was removed: what the file does not name it does not offer
  TRY(std::vector<PoolKey> found, ledger_->pool_keys(number, 1));
  KeyRow& row = csv_.rows[*index];
  const std::string mark = mark_of(found.front());
  const std::size_t at = row.begin + row.user_bytes, old_bytes = row.bytes - row.user_bytes;
  const std::string_view text = text_;
  if (text.substr(at, old_bytes) == mark) return ok();
  const std::array pieces{as_bytes(text.substr(0, at)), as_bytes(mark), as_bytes(text.substr(at + old_bytes))};
  TRY(bool edited, write(pieces));
  if (edited) return load(previous());
  replace_text(at, old_bytes, mark);
  row.mark = found.front().state == KeyState::available ? KeyMark::available : KeyMark::ours;
  row.bytes = row.user_bytes + static_cast<std::uint32_t>(mark.size());
  const std::uint64_t grown = mark.size() - old_bytes;  // modulo 2^64 where it shrinks
  for (std::size_t i = *index + 1; i < csv_.rows.size(); ++i) csv_.rows[i].begin += grown;
  if (row.mark == KeyMark::available) next_ = std::min(next_, *index);
  return ok();
}

}  // namespace espmint
