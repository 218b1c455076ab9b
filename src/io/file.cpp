#include "io/file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <thread>

#include "base/secret.hpp"
#include "base/text.hpp"
#include "io/descriptor.hpp"

namespace espmint {

namespace fs = std::filesystem;

namespace {

Fault cannot_read(const fs::path& path, std::string why) {
  return {Code::input_unreadable, Remedy::refuse, fmt::format("cannot read {}", path.string()), {}, std::move(why)};
}

Fault cannot_write(const fs::path& path, int error) {
  // EFBIG is the limit a shell or a service sets; to whoever writes it is the same wall.
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    const auto left = free_bytes(path);
    return {Code::disk_full,
            Remedy::stop_line,
            fmt::format("no room left to write {}", path.string()),
            {},
            left ? fmt::format("{}; {} free there", error_text(error), show_bytes(*left)) : error_text(error),
            "free some space there, then start again; nothing was half written"};
  }
  std::string advice;
  if (error == EACCES || error == EPERM) advice = "check who owns the folder and this file";
  if (error == EROFS) advice = "this file system is mounted read-only: choose another folder";
  if (error == ENOENT) advice = "create the folder first";
  return {Code::output_unwritable, Remedy::refuse,   fmt::format("cannot write {}", path.string()), {},
          error_text(error),       std::move(advice)};
}

fs::path folder_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path{"."}; }

/// A rename or a new name is durable only once its folder is.
Result<void> sync_folder(const fs::path& folder) {
  const FileHandle handle{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!handle.is_open()) return fail(cannot_write(folder, errno));
  // EINVAL: a file system that has no such call for folders (some FUSE ones); there is nothing more to ask of it.
  if (::fsync(handle.get()) != 0 && errno != EINVAL) return fail(cannot_write(folder, errno));
  return ok();
}

Result<void> write_all(int fd, ByteView bytes, const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(cannot_write(path, errno));
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  return ok();
}

/// A file beside `target` under a name that nobody else uses; it is deleted again unless it was moved into place.
class TempFile {
 public:
  static Result<TempFile> make(const fs::path& target, FileMode mode) {
    static std::atomic<unsigned> counter{0};
    for (int attempt = 0; attempt < 100; ++attempt) {
      fs::path path = folder_of(target) /
                      fmt::format(".{}.{}-{}.tmp", target.filename().string(), ::getpid(), counter.fetch_add(1));
      const int fd =
          ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, static_cast<mode_t>(mode));
      if (fd >= 0) return TempFile{std::move(path), fd};
      if (errno != EEXIST) return fail(cannot_write(target, errno));
    }
    return fail(cannot_write(target, EEXIST));
  }
  TempFile(TempFile&& other) noexcept : path_(std::exchange(other.path_, {})), handle_(std::move(other.handle_)) {}
  TempFile& operator=(TempFile&&) = delete;
  ~TempFile() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  [[nodiscard]] int fd() const { return handle_.get(); }
  [[nodiscard]] const fs::path& path() const { return path_; }
  void has_moved() { path_.clear(); }

 private:
  TempFile(fs::path path, int fd) : path_(std::move(path)), handle_(fd) {}
  fs::path path_;
  FileHandle handle_;
};

/// The file that a replacement inherits from: a stricter mode stays strict, and what root rewrites stays its owner's.
void take_over_owner_and_mode(int fd, const fs::path& target) {
  struct stat old {};
  struct stat fresh {};
  if (::stat(target.c_str(), &old) != 0 || !S_ISREG(old.st_mode) || ::fstat(fd, &fresh) != 0) return;
  if (old.st_uid != fresh.st_uid || old.st_gid != fresh.st_gid) {
    if (::fchown(fd, old.st_uid, old.st_gid) != 0) return;  // not root: it becomes ours, with the mode asked for
  }
  const mode_t wanted = fresh.st_mode & old.st_mode & 0777;
  if (wanted != (fresh.st_mode & 0777)) static_cast<void>(::fchmod(fd, wanted));
}

constexpr std::size_t early_part_bytes = 8 * 1024 * 1024;

Result<TempFile> write_temp(const fs::path& target, std::span<const ByteView> pieces, FileMode mode) {
  TRY(TempFile temp, TempFile::make(target, mode));
  take_over_owner_and_mode(temp.fd(), target);
  off_t written = 0;
  for (ByteView piece : pieces) {
    while (!piece.empty()) {
      const ByteView part = piece.first(std::min(piece.size(), early_part_bytes));
      TRY(write_all(temp.fd(), part, target));
      // The disk begins while the rest is still copied; only a hint, what fails is told by the fsync below. 84 MB on
      // ext4: 73 ms instead of 104.
      if (part.size() == early_part_bytes)
        static_cast<void>(
            ::sync_file_range(temp.fd(), written, static_cast<off_t>(part.size()), SYNC_FILE_RANGE_WRITE));
      written += static_cast<off_t>(part.size());
      piece = piece.subspan(part.size());
    }
  }
  if (::fsync(temp.fd()) != 0) {
    // What a failed fsync lost cannot be asked for again: the next one reports success.
    Fault fault = cannot_write(target, errno);
    fault.remedy = Remedy::stop_line;
    return fail(std::move(fault));
  }
  return temp;
}

/// rename() that refuses an existing target; link() where the file system has no such rename.
int rename_new(const fs::path& from, const fs::path& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return 0;
  if (errno != EINVAL && errno != ENOSYS) return errno;
  if (::link(from.c_str(), to.c_str()) != 0) return errno;
  ::unlink(from.c_str());
  return 0;
}

fs::path nearest_existing(fs::path path) {
  std::error_code ignored;
  path = fs::absolute(path, ignored);
  while (!path.empty() && path != path.root_path() && !fs::exists(path, ignored)) path = path.parent_path();
  return path;
}

}  // namespace

// ---- reading

namespace {

struct Readable {
  FileHandle handle;
  std::uint64_t bytes;  // as its folder says; 0 of a pipe
};

Fault too_large(const fs::path& path, ByteCount limit) {
  return cannot_read(path, fmt::format("it is larger than {}", show_bytes(limit)));
}

Result<Readable> open_to_read(const fs::path& path, ByteCount limit) {
  FileHandle handle{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!handle.is_open()) {
    const int error = errno;
    if (error == ENOENT || error == ENOTDIR) {
      return fail(
          {Code::input_missing, Remedy::refuse, fmt::format("there is no {}", path.string()), {}, error_text(error)});
    }
    return fail(cannot_read(path, error_text(error)));
  }
  struct stat facts {};
  if (::fstat(handle.get(), &facts) != 0) return fail(cannot_read(path, error_text(errno)));
  if (S_ISDIR(facts.st_mode)) return fail(cannot_read(path, "it is a folder"));
  if (S_ISREG(facts.st_mode) && static_cast<ByteCount>(facts.st_size) > limit) return fail(too_large(path, limit));
  return Readable{std::move(handle), static_cast<std::uint64_t>(facts.st_size)};
}

}  // namespace

Result<Bytes> read_file(const fs::path& path, ByteCount limit) {
  TRY(Readable file, open_to_read(path, limit));
  // One more than there is: the end is seen without growing, so that a secret leaves no copy behind.
  Bytes content(static_cast<std::size_t>(file.bytes) + 1);
  std::size_t filled = 0;
  for (;;) {
    // One byte more than expected: a file that grows, a pipe and /proc (size 0) are read to their end as well.
    if (filled == content.size()) content.resize(std::max<std::size_t>(4096, filled + filled / 2 + 1));
    const ssize_t count = ::read(file.handle.get(), content.data() + filled, content.size() - filled);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(cannot_read(path, error_text(errno)));
    if (count == 0) break;
    filled += static_cast<std::size_t>(count);
    if (filled > limit) return fail(too_large(path, limit));
  }
  content.resize(filled);
  return content;
}

Result<void> read_parts(const fs::path& path, ByteCount limit, const std::function<bool(ByteView)>& see) {
  TRY(Readable file, open_to_read(path, limit));
  Bytes part(static_cast<std::size_t>(std::clamp<std::uint64_t>(file.bytes + 1, 4_KiB, 1_MiB)));
  struct Wipe {
    Bytes& part;
    ~Wipe() { wipe(part); }
  } at_the_end{part};
  std::uint64_t seen = 0;
  for (bool more = true; more;) {
    const ssize_t count = ::read(file.handle.get(), part.data(), part.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(cannot_read(path, error_text(errno)));
    if (count == 0) break;
    seen += static_cast<std::uint64_t>(count);
    if (seen > limit) return fail(too_large(path, limit));
    more = see(ByteView{part}.first(static_cast<std::size_t>(count)));
  }
  return ok();
}

// ---- writing

namespace {

Result<void> write_in_place(const fs::path& path, std::span<const ByteView> pieces) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return fail(cannot_write(path, errno));
  for (ByteView bytes : pieces) {
    while (!bytes.empty()) {
      const ssize_t count = ::write(fd, bytes.data(), bytes.size());
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) {
        const int error = count < 0 ? errno : EIO;
        ::close(fd);
        return fail(cannot_write(path, error));
      }
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
  }
  if (::close(fd) != 0) return fail(cannot_write(path, errno));
  return ok();
}

}  // namespace

Result<void> write_file(const fs::path& path, ByteView bytes, FileMode mode) {
  return write_file(path, std::span{&bytes, 1}, mode);
}

Result<void> write_file(const fs::path& path, std::span<const ByteView> pieces, FileMode mode) {
  // Through a link to the file it names: renaming over the link would leave the real file as it was.
  fs::path target = path;
  std::error_code ignored;
  if (fs::is_symlink(path, ignored)) {
    target = fs::weakly_canonical(path, ignored);
    if (ignored) return fail(cannot_write(path, ignored.value()));
  }
  // A device or a pipe is written to, never replaced.
  struct stat facts {};
  if (::stat(target.c_str(), &facts) == 0 && !S_ISREG(facts.st_mode)) return write_in_place(target, pieces);
  TRY(TempFile temp, write_temp(target, pieces, mode));
  if (::rename(temp.path().c_str(), target.c_str()) != 0) return fail(cannot_write(target, errno));
  temp.has_moved();
  return sync_folder(folder_of(target));
}

Result<void> overwrite_line(const fs::path& path, ByteView line) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return fail(cannot_write(path, errno));
  const ssize_t count = ::pwrite(fd, line.data(), line.size(), 0);
  const int error = count < 0 ? errno : ENOSPC;
  ::close(fd);
  if (count == static_cast<ssize_t>(line.size())) return ok();
  return fail(cannot_write(path, error));
}

Result<void> make_durable(const fs::path& path) {
  const FileHandle handle{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!handle.is_open() || ::fsync(handle.get()) != 0) return fail(cannot_write(path, errno));
  return sync_folder(folder_of(path));
}

Result<void> rewrite_durably(const fs::path& path) {
  const FileHandle handle{::open(path.c_str(), O_RDWR | O_CLOEXEC)};
  if (!handle.is_open()) return fail(cannot_write(path, errno));
  Bytes part(1024 * 1024);
  for (off_t at = 0;;) {
    const ssize_t count = ::pread(handle.get(), part.data(), part.size(), at);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(cannot_write(path, errno));
    if (count == 0) break;
    const ssize_t written = ::pwrite(handle.get(), part.data(), static_cast<std::size_t>(count), at);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return fail(cannot_write(path, written < 0 ? errno : EIO));
    at += written;
  }
  if (::fsync(handle.get()) != 0) return fail(cannot_write(path, errno));
  return sync_folder(folder_of(path));
}

Result<void> create_file(const fs::path& path, ByteView bytes, FileMode mode) {
  const auto exists = [&] {
    Fault fault = cannot_write(path, EEXIST);
    fault.what = fmt::format("{} is there already", path.string());
    fault.advice = "it is never overwritten; move it away if you mean it";
    return fault;
  };
  struct stat facts {};
  if (::lstat(path.c_str(), &facts) == 0) return fail(exists());
  TRY(TempFile temp, write_temp(path, std::span{&bytes, 1}, mode));
  if (const int error = rename_new(temp.path(), path); error != 0) {
    return fail(error == EEXIST ? exists() : cannot_write(path, error));
  }
  temp.has_moved();
  return sync_folder(folder_of(path));
}

Result<void> make_folder(const fs::path& path, bool owner_only) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return ok();
  const fs::path parent = folder_of(path);
  if (parent != path && !fs::is_directory(parent, ignored)) TRY(make_folder(parent, owner_only));
  if (path.filename().empty() || path.filename() == ".") return ok();  // "a/b/": its parent was it
  if (::mkdir(path.c_str(), owner_only ? 0700 : 0777) != 0) {
    if (errno == EEXIST && fs::is_directory(path, ignored)) return ok();
    return fail(cannot_write(path, errno));
  }
  return sync_folder(parent);
}

// ---- file systems

std::optional<std::uint64_t> free_bytes(const fs::path& path) {
  struct statvfs facts {};
  if (::statvfs(nearest_existing(path).c_str(), &facts) != 0) return std::nullopt;
  return std::uint64_t{facts.f_bavail} * facts.f_frsize;
}

namespace {

/// The type under which a file system is mounted ("fuse.sshfs"), by the device number its files have.
std::string mounted_type(dev_t device) {
  std::ifstream mounts("/proc/self/mountinfo");
  const std::string number = fmt::format("{}:{}", major(device), minor(device));
  for (std::string line; std::getline(mounts, line);) {
    const auto fields = split(line, ' ');
    if (fields.size() < 3 || fields[2] != number) continue;
    const auto separator = std::find(fields.begin(), fields.end(), "-");
    if (separator != fields.end() && separator + 1 != fields.end()) return std::string{*(separator + 1)};
  }
  return {};
}

struct NetworkFileSystem {
  std::uint32_t magic;
  const char* name;
};
// Source: Linux, statfs(2) and include/uapi/linux/magic.h; Lustre and GPFS from their own documentation.
constexpr std::array network_file_systems{
    NetworkFileSystem{NFS_SUPER_MAGIC, "NFS"},   NetworkFileSystem{SMB_SUPER_MAGIC, "SMB"},
    NetworkFileSystem{0xfe534d42, "SMB2"},       NetworkFileSystem{0xff534d42, "CIFS"},
    NetworkFileSystem{V9FS_MAGIC, "9P"},         NetworkFileSystem{AFS_SUPER_MAGIC, "AFS"},
    NetworkFileSystem{CODA_SUPER_MAGIC, "Coda"}, NetworkFileSystem{0x00c36400, "Ceph"},
    NetworkFileSystem{0x0bd00bd0, "Lustre"},     NetworkFileSystem{0x47504653, "GPFS"},
};
// FUSE says nothing about where the bytes lie: these types keep them elsewhere.
constexpr std::array<std::string_view, 10> remote_fuse_types{
    "fuse.sshfs", "fuse.rclone",  "fuse.s3fs",     "fuse.glusterfs", "fuse.ceph-fuse",
    "fuse.davfs", "fuse.gcsfuse", "fuse.smbnetfs", "fuse.curlftpfs", "fuse.juicefs",
};

}  // namespace

bool is_on_network(const fs::path& path) {
  const fs::path there = nearest_existing(path);
  struct statfs facts {};
  if (::statfs(there.c_str(), &facts) != 0) return false;
  const auto magic = static_cast<std::uint32_t>(facts.f_type);
  for (const auto& row : network_file_systems)
    if (row.magic == magic) return true;
  if (magic != FUSE_SUPER_MAGIC) return false;
  struct stat file {};
  if (::stat(there.c_str(), &file) != 0) return false;
  const std::string type = mounted_type(file.st_dev);
  return std::find(remote_fuse_types.begin(), remote_fuse_types.end(), type) != remote_fuse_types.end();
}

// ---- locks

Result<FileLock> FileLock::acquire(const fs::path& path, const std::string& note) {
  FileHandle handle{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)};
  if (!handle.is_open()) return fail(cannot_write(path, errno));
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  // An open file description owns this lock, so closing some other descriptor of the file does not lose it.
  if (::fcntl(handle.get(), F_OFD_SETLK, &whole) != 0) {
    const int error = errno;
    if (error != EAGAIN && error != EACCES) return fail(cannot_write(path, error));
    std::array<char, 512> text{};
    const ssize_t count = ::pread(handle.get(), text.data(), text.size(), 0);
    const std::string_view holder = trim({text.data(), static_cast<std::size_t>(std::max<ssize_t>(count, 0))});
    return fail({Code::ledger_locked,
                 Remedy::refuse,
                 fmt::format("{} is locked", path.string()),
                 {},
                 holder.empty() ? std::string{"held by a process that has not said who it is"}
                                : fmt::format("held by {}", escape_controls(holder)),
                 "wait for it to end, or stop it; deleting the lock file helps nobody"});
  }
  const std::string line = note + "\n";
  if (::ftruncate(handle.get(), 0) != 0) return fail(cannot_write(path, errno));
  TRY(write_all(handle.get(), as_bytes(line), path));
  return FileLock{handle.release()};
}

Result<FileLock> FileLock::wait_for(const fs::path& path, const std::string& note, std::chrono::milliseconds patience) {
  constexpr std::chrono::milliseconds pause{20};
  const auto until = std::chrono::steady_clock::now() + patience;
  for (;;) {
    auto lock = acquire(path, note);
    if (lock || lock.error().code != Code::ledger_locked || std::chrono::steady_clock::now() >= until) return lock;
    std::this_thread::sleep_for(pause);
  }
}

FileLock::FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  FileLock old{std::exchange(fd_, std::exchange(other.fd_, -1))};
  return *this;
}

FileLock::~FileLock() {
  if (fd_ < 0) return;
  // The text goes before the lock does, so that it names nobody who has left. Should it stay: without a lock nobody
  // reads it.
  if (::ftruncate(fd_, 0) != 0) errno = 0;
  ::close(fd_);
}

}  // namespace espmint
