// tests/crash_disk.hpp: a disk that behaves as a real one when the power goes, below SQLite and below our own files.
// The test's executable defines the system's file calls itself (crash_disk_calls.cpp), so whatever is linked or loaded
// meets them; files below one watched folder stay real files there, and what was written, truncated, created, renamed
// and unlinked since the last fsync is remembered beside them.
//   CrashDisk disk{folder};
//   disk.before_each([&](std::string_view call, const std::string& path) { … });   // may cut the power or _exit
//   disk.cut_power(seed);    // the folder becomes one that a power cut could have left
//   disk.power_on();
// Of names: as POSIX has it, only the folder's own fsync makes a new name, a rename or an unlink durable, never the
// file's. Not modelled: what stdio creates (std::ofstream; it counts as durable), shared mappings, renamed folders,
// symlinks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace espmint {

class CrashDisk {
 public:
  /// Watches `folder`, which exists; one disk at a time in a process, forked children inherit it. What the process
  /// before left with keep_for_next_life() is taken up; everything else that is there counts as durable.
  explicit CrashDisk(const std::filesystem::path& folder);
  CrashDisk(const CrashDisk&) = delete;
  CrashDisk& operator=(const CrashDisk&) = delete;
  ~CrashDisk();

  /// Rewrites the folder: each file becomes its durable content and some of what was pending, whole or torn at sectors
  /// of 512 bytes; each folder its durable entries and some of the pending changes. Now and then all is lost, or
  /// nothing. Then the disk is off: calls that would change it answer EIO, and descriptors opened before stay dead for
  /// ever.
  void cut_power(std::uint64_t seed);
  void power_on();

  enum class Error {
    enospc,       // whatever needs room: new names, writes
    short_write,  // of one write that crosses a page only the first goes through, then as enospc
    eio,  // an fsync that fails takes along the file's pending content: later ones succeed and write nothing of it
    read_only,  // EROFS, as after an error that made the kernel remount; also of opening for writing
  };
  /// The n-th changing call from now (the next is 1) fails, and all after it unless `once`. Calls that this error does
  /// not meet (an unlink needs no room) are passed over.
  void fail_at(std::uint64_t n, Error, bool once = false);
  void heal();

  /// Is told of each call that would change the disk, before it does: "create", "write", "truncate", "fsync", "rename",
  /// "link", "unlink", "mkdir", "rmdir".
  using Hook = std::function<void(std::string_view call, const std::string& path)>;
  void before_each(Hook hook);
  /// Changing calls so far, and how many of them failed by fail_at().
  [[nodiscard]] std::uint64_t calls() const;
  [[nodiscard]] std::uint64_t failures() const;

  /// A process that ends takes nothing from the disk: what is pending now is still pending for the next CrashDisk of
  /// this folder, in whatever process. To be called right before _exit.
  void keep_for_next_life();

  class Model;

 private:
  std::unique_ptr<Model> model_;
};

}  // namespace espmint
