#include "tests/crash_disk.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>

#include "tests/crash_disk_model.hpp"

namespace espmint {

namespace fs = std::filesystem;

constinit CrashDisk::Model* watching_disk = nullptr;

namespace {

constexpr std::uint64_t sector_bytes = 512, page_bytes = 4096;
// A kernel writes back what nobody syncs after some 30 s; here after so many changes of one file.
constexpr std::size_t most_changes = 4096;

/// How much of what was pending a power cut leaves.
enum Style : int { all_lost, all_kept, first_ones, some };

bool is_in(const std::string& folder, const std::string& path) {
  return path.size() > folder.size() && path.starts_with(folder) && path.find_last_of('/') == folder.size();
}

/// Inode number of a regular file; 0: there is none.
std::uint64_t file_at(const std::string& path) {
  struct stat facts {};
  return ::lstat(path.c_str(), &facts) == 0 && S_ISREG(facts.st_mode) ? facts.st_ino : 0;
}

}  // namespace

std::uint64_t DiskDice::roll(std::uint64_t sides) {
  state_ += 0x9e3779b97f4a7c15ull;
  std::uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return (z ^ (z >> 31)) % sides;
}

using Model = CrashDisk::Model;

CrashDisk::CrashDisk(const fs::path& folder) : model_(std::make_unique<Model>(folder)) { watching_disk = model_.get(); }
CrashDisk::~CrashDisk() { watching_disk = nullptr; }
void CrashDisk::cut_power(std::uint64_t seed) { model_->cut_power(seed); }
void CrashDisk::power_on() { model_->off = false; }
void CrashDisk::fail_at(std::uint64_t n, Error error, bool once) {
  model_->fail_from = model_->calls + n;
  model_->error = error;
  model_->once = once;
}
void CrashDisk::heal() { model_->fail_from = 0; }
void CrashDisk::before_each(Hook hook) { model_->hook = std::move(hook); }
std::uint64_t CrashDisk::calls() const { return model_->calls; }
std::uint64_t CrashDisk::failures() const { return model_->failures; }
void CrashDisk::keep_for_next_life() { model_->keep(); }

Model::Model(fs::path folder) : folder_(fs::canonical(folder).string() + "/"), shadow_(folder_) {
  // Beside the folder, on the same file system: what was unlinked lives on here under its inode's number.
  shadow_.insert(shadow_.size() - 1, ".crash-disk");
  fs::create_directory(shadow_);
  take_up();
}

Model::~Model() {
  std::error_code ignored;
  if (!kept) fs::remove_all(shadow_, ignored);
}

std::string Model::grave(std::uint64_t number) const { return shadow_ + std::to_string(number); }

bool Model::watches(std::string_view path) const {
  // SQLite's shared memory holds nothing that is meant to outlive its processes.
  if (path.starts_with(folder_)) return !path.ends_with("-shm");
  return path.size() + 1 == folder_.size() && folder_.starts_with(path);  // the folder itself
}

// ---- may it go through

Model::Gate Model::admit(std::string_view call, const std::string& path, Need need, bool splits) {
  if (hook && !off) hook(call, path);
  ++calls;
  if (off) {
    errno = EIO;
    return Gate::shut;
  }
  const bool needs_room = error == Error::enospc || error == Error::short_write;
  if (fail_from == 0 || calls < fail_from || (needs_room && need == Need::none)) return Gate::open;
  ++failures;
  if (error == Error::short_write) {
    error = Error::enospc;
    if (splits) return Gate::half;
  }
  if (once) fail_from = 0;
  errno = error == Error::enospc ? ENOSPC : error == Error::eio ? EIO : EROFS;
  return Gate::shut;
}

// ---- descriptors

void Model::remember(int fd, const std::string& path, std::uint64_t number, bool folder, bool append) {
  const auto at = static_cast<std::size_t>(fd);
  if (open_.size() <= at) open_.resize(at + 1);
  open_[at] = {number, generation, folder, append, path};
}

void Model::forget(int fd) {
  if (fd >= 0 && static_cast<std::size_t>(fd) < open_.size()) open_[static_cast<std::size_t>(fd)].path.clear();
}

void Model::copied(int from, int to) {
  if (from == to || to < 0) return;
  forget(to);
  if (Open* open = find(from)) {
    Open copy = *open;
    remember(to, copy.path, copy.inode, copy.folder, copy.append);
    open_[static_cast<std::size_t>(to)].generation = copy.generation;
  }
}

/// Nothing also of a number that libc closed and gave to something else.
Model::Open* Model::find(int fd) {
  if (fd < 0 || static_cast<std::size_t>(fd) >= open_.size()) return nullptr;
  Open& open = open_[static_cast<std::size_t>(fd)];
  if (open.path.empty()) return nullptr;
  struct stat facts {};
  if (::fstat(fd, &facts) == 0 && facts.st_ino == open.inode) return &open;
  open.path.clear();
  return nullptr;
}

int Model::open(const std::string& path, int flags, mode_t mode) {
  const bool writes = (flags & O_ACCMODE) != O_RDONLY;
  struct stat facts {};
  const bool exists = ::stat(path.c_str(), &facts) == 0;
  const bool creates = !exists && (flags & O_CREAT) != 0;
  const bool truncates = exists && S_ISREG(facts.st_mode) && writes && (flags & O_TRUNC) != 0 && facts.st_size > 0;
  if ((flags & O_EXCL) == 0 || !exists) {
    if (creates || truncates) {
      const char* call = creates ? "create" : "truncate";
      if (admit(call, path, creates ? Need::room : Need::none) != Gate::open) return -1;
    } else if (writes && off) {
      return errno = EIO, -1;
    } else if (writes && fail_from != 0 && calls + 1 >= fail_from && error == Error::read_only && !once) {
      ++failures;
      return errno = EROFS, -1;
    }
  }
  // Read as well, for the old bytes of what is overwritten; truncated by us, for the same reason.
  int wanted = flags & ~(truncates ? O_TRUNC : 0);
  if ((flags & O_ACCMODE) == O_WRONLY) wanted = (wanted & ~O_ACCMODE) | O_RDWR;
  const int fd = real::open(AT_FDCWD, path.c_str(), wanted, mode);
  if (fd < 0 || ::fstat(fd, &facts) != 0) return fd;
  forget(fd);
  if (!S_ISREG(facts.st_mode) && !S_ISDIR(facts.st_mode)) return fd;
  remember(fd, path, facts.st_ino, S_ISDIR(facts.st_mode), (flags & O_APPEND) != 0);
  if (creates) {
    inodes_.erase(facts.st_ino);  // of a file long gone
    names_.push_back({false, {{path, 0, facts.st_ino}}});
  }
  if (truncates) change_size(fd, inode(facts.st_ino, path), 0, static_cast<std::uint64_t>(facts.st_size));
  return fd;
}

// ---- content

Model::Inode& Model::inode(std::uint64_t number, const std::string& path) {
  auto [at, is_new] = inodes_.try_emplace(number);
  if (is_new) at->second.born = ++born_;
  at->second.path = path;
  return at->second;
}

void Model::bound(Inode& of) {
  auto is_doomed = [](const Change& change) { return change.fate == Fate::doomed; };
  if (of.changes.size() < most_changes || std::any_of(of.changes.begin(), of.changes.end(), is_doomed)) return;
  of.changes.erase(of.changes.begin(), of.changes.begin() + most_changes / 2);
}

std::optional<ssize_t> Model::write(int fd, const void* from, std::size_t size, std::optional<off_t> at) {
  const Open* found = find(fd);
  if (!found || found->folder) return std::nullopt;
  const Open open = *found;
  if (open.generation != generation) return errno = EIO, -1;
  struct stat facts {};
  if (::fstat(fd, &facts) != 0) return -1;
  Change change;
  change.old_size = static_cast<std::uint64_t>(facts.st_size);
  const bool moves = !at;
  if (open.append)
    at = facts.st_size;
  else if (!at)
    at = ::lseek(fd, 0, SEEK_CUR);
  change.at = static_cast<std::uint64_t>(*at);
  // A kernel takes a write page by page, so that one page is never split.
  const std::uint64_t next_page = (change.at / page_bytes + 1) * page_bytes;
  const Gate gate = admit("write", open.path, Need::room, change.at + size > next_page);
  if (gate == Gate::shut) return -1;
  if (gate == Gate::half) size = next_page - change.at;
  if (change.at < change.old_size) {
    change.old_bytes.resize(std::min<std::uint64_t>(size, change.old_size - change.at));
    if (real::pread(fd, change.old_bytes.data(), change.old_bytes.size(), *at) < 0) return -1;
  }
  const ssize_t count = real::pwrite(fd, from, size, *at);
  if (count <= 0) return count;
  if (moves) ::lseek(fd, *at + count, SEEK_SET);
  const auto written = static_cast<std::size_t>(count);
  change.old_bytes.resize(std::min(change.old_bytes.size(), written));
  change.new_bytes.assign(static_cast<const char*>(from), written);
  change.new_size = std::max(change.old_size, change.at + written);
  Inode& of = inode(open.inode, open.path);
  bound(of);
  of.changes.push_back(std::move(change));
  return count;
}

int Model::change_size(int fd, Inode& of, std::uint64_t size, std::uint64_t old_size) {
  Change change;
  change.truncate = true;
  change.at = change.new_size = size;
  change.old_size = old_size;
  if (size < old_size) {
    change.old_bytes.resize(old_size - size);
    if (real::pread(fd, change.old_bytes.data(), change.old_bytes.size(), static_cast<off_t>(size)) < 0) return -1;
  }
  if (real::truncate(fd, static_cast<off_t>(size)) != 0) return -1;
  bound(of);
  of.changes.push_back(std::move(change));
  return 0;
}

std::optional<int> Model::truncate(int fd, off_t size) {
  const Open* found = find(fd);
  if (!found || found->folder) return std::nullopt;
  const Open open = *found;
  if (open.generation != generation) return errno = EIO, -1;
  if (admit("truncate", open.path, Need::none) != Gate::open) return -1;
  struct stat facts {};
  if (::fstat(fd, &facts) != 0) return -1;
  if (facts.st_size == size) return 0;
  return change_size(fd, inode(open.inode, open.path), static_cast<std::uint64_t>(size),
                     static_cast<std::uint64_t>(facts.st_size));
}

std::optional<int> Model::sync(int fd) {
  const Open* found = find(fd);
  if (!found) return std::nullopt;
  const Open open = *found;
  if (open.generation != generation) return errno = EIO, -1;
  const Gate gate = admit("fsync", open.path, Need::none);
  if (off) return -1;
  if (open.folder) {
    // Names are the journal's: where it fails for good nothing is written any more, else it tries again.
    if (gate == Gate::open) make_names_durable(open.path);
  } else if (auto at = inodes_.find(open.inode); at != inodes_.end()) {
    bool doomed = false;
    for (Change& change : at->second.changes) {
      // What a failed fsync lost is clean to the kernel: no later one writes it.
      if (change.fate == Fate::pending) change.fate = gate == Gate::open ? Fate::durable : Fate::doomed;
      doomed = doomed || change.fate == Fate::doomed;
    }
    if (!doomed) inodes_.erase(at);
  }
  return gate == Gate::open ? 0 : -1;
}

// ---- names

void Model::keep_reachable(std::uint64_t number, const std::string& path) {
  if (number != 0) real::link(path, grave(number));  // may be there already
}

void Model::make_names_durable(const std::string& folder) {
  std::vector<std::uint64_t> left;
  std::erase_if(names_, [&](const NameChange& change) {
    const bool here = std::any_of(change.entries.begin(), change.entries.end(),
                                  [&](const Entry& entry) { return is_in(folder, entry.path); });
    for (const Entry& entry : change.entries)
      if (here && entry.before != 0 && !change.folder) left.push_back(entry.before);
    return here;
  });
  for (std::uint64_t number : left) {
    const bool needed = std::any_of(names_.begin(), names_.end(), [&](const NameChange& change) {
      return std::any_of(change.entries.begin(), change.entries.end(),
                         [&](const Entry& entry) { return entry.before == number || entry.after == number; });
    });
    if (!needed) real::unlink(grave(number));
  }
}

int Model::rename(const std::string& from, const std::string& to, unsigned flags) {
  const std::uint64_t moved = file_at(from), replaced = file_at(to);
  // A folder's rename counts as durable; nothing here renames one.
  if (moved == 0 || moved == replaced || (flags != 0 && replaced != 0)) return real::rename(from, to, flags);
  if (admit("rename", to, Need::room) != Gate::open) return -1;
  if (watches(to)) keep_reachable(replaced, to);
  if (!watches(to)) keep_reachable(moved, from);
  if (real::rename(from, to, flags) != 0) return -1;
  NameChange change;
  if (watches(from)) change.entries.push_back({from, moved, 0});
  if (watches(to)) change.entries.push_back({to, replaced, moved});
  names_.push_back(std::move(change));
  if (auto at = inodes_.find(moved); at != inodes_.end()) at->second.path = to;
  for (Open& open : open_)
    if (open.inode == moved && !open.path.empty()) open.path = to;
  return 0;
}

int Model::link(const std::string& from, const std::string& to) {
  const std::uint64_t number = file_at(from);
  if (number == 0 || file_at(to) != 0) return real::link(from, to);
  if (admit("link", to, Need::room) != Gate::open) return -1;
  if (real::link(from, to) != 0) return -1;
  if (watches(to)) names_.push_back({false, {{to, 0, number}}});
  return 0;
}

int Model::unlink(const std::string& path) {
  const std::uint64_t number = file_at(path);
  if (number == 0) return real::unlink(path);
  if (admit("unlink", path, Need::none) != Gate::open) return -1;
  keep_reachable(number, path);
  if (real::unlink(path) != 0) return -1;
  names_.push_back({false, {{path, number, 0}}});
  return 0;
}

int Model::make_folder(const std::string& path, mode_t mode) {
  struct stat facts {};
  if (::lstat(path.c_str(), &facts) == 0) return errno = EEXIST, -1;
  if (admit("mkdir", path, Need::room) != Gate::open) return -1;
  if (::mkdirat(AT_FDCWD, path.c_str(), mode) != 0 || ::lstat(path.c_str(), &facts) != 0) return -1;
  names_.push_back({true, {{path, 0, facts.st_ino}}});
  return 0;
}

int Model::remove_folder(const std::string& path) {
  struct stat facts {};
  if (::lstat(path.c_str(), &facts) != 0) return -1;
  if (admit("rmdir", path, Need::none) != Gate::open) return -1;
  if (real::remove_folder(path) != 0) return -1;
  names_.push_back({true, {{path, facts.st_ino, 0}}});
  return 0;
}

// ---- the power goes

namespace {

void put(int fd, const Model::Change& change, std::uint64_t from, std::uint64_t to) {
  real::pwrite(fd, change.new_bytes.data() + from, to - from, static_cast<off_t>(change.at + from));
}

/// Some of a write's sectors (or pages) reach the disk.
void put_torn(int fd, const Model::Change& change, DiskDice& dice) {
  const std::uint64_t unit = dice.one_of(2) ? sector_bytes : page_bytes;
  const std::uint64_t size = change.new_bytes.size(), first = change.at / unit, last = (change.at + size - 1) / unit;
  const std::uint64_t border = first + dice.roll(last - first + 1);
  const std::uint64_t how = dice.roll(3);  // up to the border, from it on, scattered
  for (std::uint64_t at = first; at <= last; ++at) {
    const bool there = how == 0 ? at < border : how == 1 ? at >= border : dice.one_of(2);
    const std::uint64_t begin = std::max(at * unit, change.at) - change.at;
    if (there) put(fd, change, begin, std::min((at + 1) * unit - change.at, size));
  }
}

bool is_kept(Model::Fate fate, int style, std::size_t nth, std::size_t border, DiskDice& dice) {
  if (fate == Model::Fate::durable) return true;
  if (fate == Model::Fate::doomed) return dice.one_of(4) && style != all_lost;
  if (style == first_ones) return nth < border;
  return style == all_kept || (style == some && dice.one_of(2));
}

}  // namespace

void Model::cut_content(std::uint64_t number, Inode& of, DiskDice& dice, int style) {
  std::string path = grave(number);
  if (file_at(path) != number) path = of.path;
  if (file_at(path) != number) return;  // without a name, and nothing brings one back
  const int fd = real::open(AT_FDCWD, path.c_str(), O_RDWR | O_CLOEXEC, 0);
  if (fd < 0) return;
  for (auto change = of.changes.rbegin(); change != of.changes.rend(); ++change) {
    if (change->truncate) real::truncate(fd, static_cast<off_t>(change->old_size));
    real::pwrite(fd, change->old_bytes.data(), change->old_bytes.size(), static_cast<off_t>(change->at));
    if (!change->truncate) real::truncate(fd, static_cast<off_t>(change->old_size));
  }
  const std::size_t border = dice.roll(of.changes.size() + 1);
  for (std::size_t nth = 0; nth < of.changes.size(); ++nth) {
    const Change& change = of.changes[nth];
    struct stat facts {};
    if (is_kept(change.fate, style, nth, border, dice)) {
      if (change.truncate)
        real::truncate(fd, static_cast<off_t>(change.new_size));
      else
        put(fd, change, 0, change.new_bytes.size());
    } else if (!change.truncate && style != all_lost) {
      const bool at_the_border = style == first_ones && nth == border;
      if (at_the_border || (style == some && dice.one_of(3))) put_torn(fd, change, dice);
      // The new length may be on the disk without the bytes.
      if (dice.one_of(8) && ::fstat(fd, &facts) == 0 && facts.st_size < static_cast<off_t>(change.new_size))
        real::truncate(fd, static_cast<off_t>(change.new_size));
    }
  }
  real::close(fd);
}

void Model::cut_names(DiskDice& dice, int style) {
  std::map<std::string, std::uint64_t> now;  // every path that changed, and its inode on the disk
  std::map<std::uint64_t, std::size_t> count;
  std::map<std::string, bool> folders;
  for (auto change = names_.rbegin(); change != names_.rend(); ++change)
    for (const Entry& entry : change->entries) {
      now[entry.path] = entry.before;
      folders[entry.path] = change->folder;
      // What cannot be had by its present name is among the graves.
      if (!change->folder && file_at(entry.path) != 0) keep_reachable(file_at(entry.path), entry.path);
    }
  for (const auto& [path, number] : now) count[number] += number != 0;
  const std::size_t border = dice.roll(names_.size() + 1);
  for (std::size_t nth = 0; nth < names_.size(); ++nth) {
    const NameChange& change = names_[nth];
    if (!is_kept(Fate::pending, style, nth, border, dice)) continue;
    // A rename whose file is still under an older name than the one it is moved from was not yet to be done.
    if (change.entries.size() == 2 && now[change.entries[0].path] != change.entries[0].before &&
        count[change.entries[0].before] > 0)
      continue;
    for (const Entry& entry : change.entries) {
      std::uint64_t& there = now[entry.path];
      if (there != 0) --count[there];
      there = entry.after;
      if (there != 0) ++count[there];
    }
  }
  for (const auto& [path, number] : now)
    if (!folders[path] && file_at(path) != 0) real::unlink(path);
  for (const auto& [path, number] : now)
    if (folders[path] && number == 0) {
      std::error_code ignored;
      fs::remove_all(path, ignored);
    }
  for (const auto& [path, number] : now) {
    if (number == 0) continue;
    if (folders[path])
      ::mkdirat(AT_FDCWD, path.c_str(), 0700);
    else
      real::link(grave(number), path);  // not where its folder is lost
  }
}

void Model::cut_power(std::uint64_t seed) {
  const std::lock_guard lock{mutex};
  DiskDice dice{seed};
  watching_disk = nullptr;  // what is done now is no call of the program's
  const std::uint64_t roll = dice.roll(8);
  auto style = [&] { return roll == 0 ? all_lost : roll == 1 ? all_kept : dice.one_of(2) ? first_ones : some; };
  std::vector<std::pair<std::uint64_t, std::uint64_t>> order;
  for (const auto& [number, of] : inodes_) order.emplace_back(of.born, number);
  std::sort(order.begin(), order.end());
  for (const auto& [born, number] : order) cut_content(number, inodes_.at(number), dice, style());
  cut_names(dice, style());
  std::error_code ignored;
  std::vector<fs::path> shared;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator{folder_, ignored})
    if (entry.path().string().ends_with("-shm")) shared.push_back(entry.path());
  for (const fs::path& path : shared) fs::remove(path, ignored);
  for (const fs::directory_entry& entry : fs::directory_iterator{shadow_, ignored}) fs::remove(entry.path(), ignored);
  inodes_.clear();
  names_.clear();
  ++generation;
  off = true;
  watching_disk = this;
}

// ---- from one process to the next

namespace {

struct Writer {
  std::ofstream out;
  void number(std::uint64_t value) { out.write(reinterpret_cast<const char*>(&value), sizeof value); }
  void text(const std::string& value) {
    number(value.size());
    out.write(value.data(), static_cast<std::streamsize>(value.size()));
  }
};

struct Reader {
  std::ifstream in;
  std::uint64_t number() {
    std::uint64_t value = 0;
    in.read(reinterpret_cast<char*>(&value), sizeof value);
    return value;
  }
  std::string text() {
    std::string value(number(), '\0');
    in.read(value.data(), static_cast<std::streamsize>(value.size()));
    return value;
  }
};

}  // namespace

void Model::keep() {
  const std::lock_guard lock{mutex};
  kept = true;
  Writer to{std::ofstream{shadow_ + "pending", std::ios::binary}};
  to.number(born_);
  to.number(inodes_.size());
  for (const auto& [number, of] : inodes_) {
    for (std::uint64_t value : {number, of.born, std::uint64_t{of.changes.size()}}) to.number(value);
    to.text(of.path);
    for (const Change& change : of.changes) {
      for (std::uint64_t value : {std::uint64_t{change.truncate}, static_cast<std::uint64_t>(change.fate), change.at,
                                  change.old_size, change.new_size})
        to.number(value);
      to.text(change.old_bytes);
      to.text(change.new_bytes);
    }
  }
  to.number(names_.size());
  for (const NameChange& change : names_) {
    for (std::uint64_t value : {std::uint64_t{change.folder}, std::uint64_t{change.entries.size()}}) to.number(value);
    for (const Entry& entry : change.entries) {
      to.text(entry.path);
      to.number(entry.before);
      to.number(entry.after);
    }
  }
}

void Model::take_up() {
  Reader from{std::ifstream{shadow_ + "pending", std::ios::binary}};
  if (!from.in) return;
  born_ = from.number();
  for (std::uint64_t left = from.number(); left > 0; --left) {
    Inode& of = inodes_[from.number()];
    of.born = from.number();
    of.changes.resize(from.number());
    of.path = from.text();
    for (Change& change : of.changes) {
      change.truncate = from.number() != 0;
      change.fate = static_cast<Fate>(from.number());
      change.at = from.number();
      change.old_size = from.number();
      change.new_size = from.number();
      change.old_bytes = from.text();
      change.new_bytes = from.text();
    }
  }
  names_.resize(from.number());
  for (NameChange& change : names_) {
    change.folder = from.number() != 0;
    change.entries.resize(from.number());
    for (Entry& entry : change.entries) {
      entry.path = from.text();
      entry.before = from.number();
      entry.after = from.number();
    }
  }
  from.in.close();
  real::unlink(shadow_ + "pending");
}

}  // namespace espmint
