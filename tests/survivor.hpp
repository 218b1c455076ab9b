// tests/survivor.hpp: what outlives a process that stops, and a process that may: for tests of crashes.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <string>

#include "base/units.hpp"

namespace espmint {

inline constexpr ByteCount surviving_flash_bytes = 4_MiB;
inline constexpr int stopped_here = 77;  // with which a child ends at the point that it was to stop at

/// A folder for ledgers, and a board's flash that children share.
struct Survivor {
  std::filesystem::path folder;
  std::uint8_t* flash;
  Survivor() {
    std::string name = std::filesystem::temp_directory_path() / "espmint-crash-XXXXXX";
    folder = mkdtemp(name.data());
    flash = static_cast<std::uint8_t*>(
        mmap(nullptr, surviving_flash_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    std::fill_n(flash, surviving_flash_bytes, std::uint8_t{0xff});
  }
  ~Survivor() {
    munmap(flash, surviving_flash_bytes);
    std::filesystem::remove_all(folder);
  }
  Survivor(const Survivor&) = delete;
  Survivor& operator=(const Survivor&) = delete;
};

/// Lives a life in a child; true when it ended by _exit(stopped_here).
inline bool stops(const std::function<void()>& life) {
  pid_t child = fork();
  if (child == 0) {
    life();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (!WIFEXITED(status)) ADD_FAILURE() << "the child died of signal " << WTERMSIG(status);
  return WIFEXITED(status) && WEXITSTATUS(status) == stopped_here;
}

}  // namespace espmint
