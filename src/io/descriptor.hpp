// io/descriptor.hpp: inside this room: a descriptor with one owner, and errno as text.
#pragma once

#include <unistd.h>

#include <string>
#include <system_error>
#include <utility>

namespace espmint {

/// "No such file or directory".
inline std::string error_text(int error) { return std::generic_category().message(error); }

class FileHandle {
 public:
  FileHandle() = default;
  explicit FileHandle(int fd) : fd_(fd) {}
  FileHandle(FileHandle&& other) noexcept : fd_(other.release()) {}
  FileHandle& operator=(FileHandle&& other) noexcept {
    FileHandle old{std::exchange(fd_, other.release())};
    return *this;
  }
  ~FileHandle() {
    if (fd_ >= 0) ::close(fd_);
  }

  [[nodiscard]] bool is_open() const { return fd_ >= 0; }
  [[nodiscard]] int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_ = -1;
};

}  // namespace espmint
