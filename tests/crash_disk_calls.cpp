// The system's file calls, as this program and the libraries that it loads (SQLite, libstdc++) meet them: the linker
// exports what a shared library refers to, and the executable's definition wins. Under names of our own with the symbol
// beside them, so that no header's inline form or attribute stands against them. libc's own callers (stdio, opendir) do
// not come by here: what std::ofstream creates counts as durable.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstring>

#include "tests/crash_disk_model.hpp"

namespace espmint {

namespace real {

int open(int folder, const char* path, int flags, mode_t mode) {
  return static_cast<int>(::syscall(SYS_openat, folder, path, flags, mode));
}
int close(int fd) { return static_cast<int>(::syscall(SYS_close, fd)); }
ssize_t pread(int fd, void* into, std::size_t size, off_t at) { return ::syscall(SYS_pread64, fd, into, size, at); }
ssize_t pwrite(int fd, const void* from, std::size_t size, off_t at) {
  return ::syscall(SYS_pwrite64, fd, from, size, at);
}
int truncate(int fd, off_t size) { return static_cast<int>(::syscall(SYS_ftruncate, fd, size)); }
int link(const std::string& from, const std::string& to) {
  return static_cast<int>(::syscall(SYS_linkat, AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), 0));
}
int unlink(const std::string& path) { return static_cast<int>(::syscall(SYS_unlinkat, AT_FDCWD, path.c_str(), 0)); }
int remove_folder(const std::string& path) {
  return static_cast<int>(::syscall(SYS_unlinkat, AT_FDCWD, path.c_str(), AT_REMOVEDIR));
}
int rename(const std::string& from, const std::string& to, unsigned flags) {
  return static_cast<int>(::syscall(SYS_renameat2, AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags));
}

}  // namespace real

namespace {

/// Holds the model, and leaves errno as it was where the call succeeds.
class Watching {
 public:
  Watching() : model_(watching_disk), error_(errno) {
    if (model_) model_->mutex.lock();
  }
  Watching(const Watching&) = delete;
  Watching& operator=(const Watching&) = delete;
  ~Watching() {
    if (model_) model_->mutex.unlock();
  }
  explicit operator bool() const { return model_ != nullptr; }
  CrashDisk::Model* operator->() const { return model_; }
  template <typename T>
  T done(T result) const {
    if (result >= 0) errno = error_;
    return result;
  }

 private:
  CrashDisk::Model* model_;
  int error_;
};

std::string link_of(const std::string& name) {
  std::array<char, 4096> text{};
  const ssize_t size = ::readlink(name.c_str(), text.data(), text.size());
  return {text.data(), static_cast<std::size_t>(size > 0 ? size : 0)};
}

std::string absolute(int folder, const char* path) {
  std::string out = path;
  if (!out.starts_with('/'))
    out = link_of(folder == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/" + std::to_string(folder)) + "/" + out;
  if (out.find("//") != std::string::npos || out.find("/.") != std::string::npos)
    out = std::filesystem::path{out}.lexically_normal();
  if (out.size() > 1 && out.ends_with('/')) out.pop_back();
  return out;
}

int open_at(int folder, const char* path, int flags, mode_t mode) {
  if (Watching disk; disk && path) {
    if (std::string name = absolute(folder, path); disk->watches(name)) return disk.done(disk->open(name, flags, mode));
    const int fd = real::open(folder, path, flags, mode);
    disk->forget(fd);
    return fd;
  }
  return real::open(folder, path, flags, mode);
}

int rename_at(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) {
  if (Watching disk; disk) {
    std::string old_name = absolute(from_folder, from), new_name = absolute(to_folder, to);
    if (disk->watches(old_name) || disk->watches(new_name)) return disk.done(disk->rename(old_name, new_name, flags));
  }
  return static_cast<int>(::syscall(SYS_renameat2, from_folder, from, to_folder, to, flags));
}

int unlink_at(int folder, const char* path, int flags) {
  if (Watching disk; disk)
    if (std::string name = absolute(folder, path); disk->watches(name))
      return disk.done((flags & AT_REMOVEDIR) != 0 ? disk->remove_folder(name) : disk->unlink(name));
  return static_cast<int>(::syscall(SYS_unlinkat, folder, path, flags));
}

int link_at(int from_folder, const char* from, int to_folder, const char* to, int flags) {
  if (Watching disk; disk) {
    std::string old_name = absolute(from_folder, from), new_name = absolute(to_folder, to);
    if (disk->watches(new_name)) return disk.done(disk->link(old_name, new_name));
  }
  return static_cast<int>(::syscall(SYS_linkat, from_folder, from, to_folder, to, flags));
}

int make_folder_at(int folder, const char* path, mode_t mode) {
  if (Watching disk; disk)
    if (std::string name = absolute(folder, path); disk->watches(name)) return disk.done(disk->make_folder(name, mode));
  return static_cast<int>(::syscall(SYS_mkdirat, folder, path, mode));
}

ssize_t write_at(int fd, const void* from, std::size_t size, std::optional<off_t> at) {
  if (Watching disk; disk)
    if (auto answer = disk->write(fd, from, size, at)) return disk.done(*answer);
  return at ? real::pwrite(fd, from, size, *at) : ::syscall(SYS_write, fd, from, size);
}

int truncate_to(int fd, off_t size) {
  if (Watching disk; disk)
    if (auto answer = disk->truncate(fd, size)) return disk.done(*answer);
  return real::truncate(fd, size);
}

int sync_with(long call, int fd) {
  if (Watching disk; disk)
    if (auto answer = disk->sync(fd)) return disk.done(*answer);
  return static_cast<int>(::syscall(call, fd));
}

int copied(int from, int to) {
  if (Watching disk; disk && to >= 0) disk->copied(from, to);
  return to;
}

mode_t mode_of(int flags, va_list args) {
  return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(args, mode_t) : 0;
}

}  // namespace
}  // namespace espmint

using namespace espmint;

extern "C" {

int disk_open(const char* path, int flags, ...) __asm__("open");
int disk_open64(const char* path, int flags, ...) __asm__("open64");
int disk_openat(int folder, const char* path, int flags, ...) __asm__("openat");
int disk_openat64(int folder, const char* path, int flags, ...) __asm__("openat64");
int disk_open_2(const char* path, int flags) __asm__("__open_2");
int disk_open64_2(const char* path, int flags) __asm__("__open64_2");
int disk_openat_2(int folder, const char* path, int flags) __asm__("__openat_2");
int disk_openat64_2(int folder, const char* path, int flags) __asm__("__openat64_2");
int disk_close(int fd) __asm__("close");
int disk_dup(int fd) __asm__("dup");
int disk_dup2(int from, int to) __asm__("dup2");
int disk_dup3(int from, int to, int flags) __asm__("dup3");
ssize_t disk_write(int fd, const void* from, std::size_t size) __asm__("write");
ssize_t disk_pwrite(int fd, const void* from, std::size_t size, off_t at) __asm__("pwrite");
ssize_t disk_pwrite64(int fd, const void* from, std::size_t size, off_t at) __asm__("pwrite64");
ssize_t disk_writev(int fd, const struct iovec* parts, int count) __asm__("writev");
int disk_ftruncate(int fd, off_t size) __asm__("ftruncate");
int disk_ftruncate64(int fd, off_t size) __asm__("ftruncate64");
int disk_fsync(int fd) __asm__("fsync");
int disk_fdatasync(int fd) __asm__("fdatasync");
int disk_rename(const char* from, const char* to) __asm__("rename");
int disk_renameat(int from_folder, const char* from, int to_folder, const char* to) __asm__("renameat");
int disk_renameat2(int from_folder, const char* from, int to_folder, const char* to,
                   unsigned flags) __asm__("renameat2");
int disk_link(const char* from, const char* to) __asm__("link");
int disk_linkat(int from_folder, const char* from, int to_folder, const char* to, int flags) __asm__("linkat");
int disk_unlink(const char* path) __asm__("unlink");
int disk_unlinkat(int folder, const char* path, int flags) __asm__("unlinkat");
int disk_remove(const char* path) __asm__("remove");
int disk_mkdir(const char* path, mode_t mode) __asm__("mkdir");
int disk_rmdir(const char* path) __asm__("rmdir");

#define ESPMINT_OPEN(name, folder, first, ...)  \
  int name(__VA_ARGS__, int flags, ...) {       \
    va_list args;                               \
    va_start(args, flags);                      \
    const mode_t mode = mode_of(flags, args);   \
    va_end(args);                               \
    return open_at(folder, first, flags, mode); \
  }
ESPMINT_OPEN(disk_open, AT_FDCWD, path, const char* path)
ESPMINT_OPEN(disk_open64, AT_FDCWD, path, const char* path)
ESPMINT_OPEN(disk_openat, folder, path, int folder, const char* path)
ESPMINT_OPEN(disk_openat64, folder, path, int folder, const char* path)
#undef ESPMINT_OPEN
int disk_open_2(const char* path, int flags) { return open_at(AT_FDCWD, path, flags, 0); }
int disk_open64_2(const char* path, int flags) { return open_at(AT_FDCWD, path, flags, 0); }
int disk_openat_2(int folder, const char* path, int flags) { return open_at(folder, path, flags, 0); }
int disk_openat64_2(int folder, const char* path, int flags) { return open_at(folder, path, flags, 0); }

int disk_close(int fd) {
  if (Watching disk; disk) disk->forget(fd);
  return real::close(fd);
}
int disk_dup(int fd) { return copied(fd, static_cast<int>(::syscall(SYS_dup, fd))); }
int disk_dup2(int from, int to) {
  return copied(from,
                from == to ? ::fcntl(from, F_GETFD) < 0 ? -1 : to : static_cast<int>(::syscall(SYS_dup3, from, to, 0)));
}
int disk_dup3(int from, int to, int flags) {
  return copied(from, static_cast<int>(::syscall(SYS_dup3, from, to, flags)));
}

ssize_t disk_write(int fd, const void* from, std::size_t size) { return write_at(fd, from, size, std::nullopt); }
ssize_t disk_pwrite(int fd, const void* from, std::size_t size, off_t at) { return write_at(fd, from, size, at); }
ssize_t disk_pwrite64(int fd, const void* from, std::size_t size, off_t at) { return write_at(fd, from, size, at); }
ssize_t disk_writev(int fd, const struct iovec* parts, int count) {
  if (!watching_disk) return ::syscall(SYS_writev, fd, parts, count);
  std::string whole;
  for (int i = 0; i < count; ++i) whole.append(static_cast<const char*>(parts[i].iov_base), parts[i].iov_len);
  return write_at(fd, whole.data(), whole.size(), std::nullopt);
}
int disk_ftruncate(int fd, off_t size) { return truncate_to(fd, size); }
int disk_ftruncate64(int fd, off_t size) { return truncate_to(fd, size); }
int disk_fsync(int fd) { return sync_with(SYS_fsync, fd); }
int disk_fdatasync(int fd) { return sync_with(SYS_fdatasync, fd); }

int disk_rename(const char* from, const char* to) { return rename_at(AT_FDCWD, from, AT_FDCWD, to, 0); }
int disk_renameat(int from_folder, const char* from, int to_folder, const char* to) {
  return rename_at(from_folder, from, to_folder, to, 0);
}
int disk_renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) {
  return rename_at(from_folder, from, to_folder, to, flags);
}
int disk_link(const char* from, const char* to) { return link_at(AT_FDCWD, from, AT_FDCWD, to, 0); }
int disk_linkat(int from_folder, const char* from, int to_folder, const char* to, int flags) {
  return link_at(from_folder, from, to_folder, to, flags);
}
int disk_unlink(const char* path) { return unlink_at(AT_FDCWD, path, 0); }
int disk_unlinkat(int folder, const char* path, int flags) { return unlink_at(folder, path, flags); }
int disk_remove(const char* path) {
  struct stat facts {};
  const bool folder = ::lstat(path, &facts) == 0 && S_ISDIR(facts.st_mode);
  return unlink_at(AT_FDCWD, path, folder ? AT_REMOVEDIR : 0);
}
int disk_mkdir(const char* path, mode_t mode) { return make_folder_at(AT_FDCWD, path, mode); }
int disk_rmdir(const char* path) { return unlink_at(AT_FDCWD, path, AT_REMOVEDIR); }

}  // extern "C"
