// io/file.hpp: files of this machine: read whole, written durably, locked.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "base/units.hpp"

namespace espmint {

/// Faults: input_missing, input_unreadable (also: a folder, larger than `limit` bytes).
Result<Bytes> read_file(const std::filesystem::path&, ByteCount limit = 256 * 1024 * 1024);

enum class FileMode : unsigned { everyone = 0644, owner_only = 0600 };
/// Old content or new, never half: temp file O_EXCL in the same folder, write, fsync, rename, fsync the folder.
/// Faults: output_unwritable, disk_full.
Result<void> write_file(const std::filesystem::path&, ByteView, FileMode = FileMode::everyone);
/// The same of several pieces, one behind the other: a large content that changes in one place is not copied for it.
Result<void> write_file(const std::filesystem::path&, std::span<const ByteView> pieces, FileMode = FileMode::everyone);
/// Gives the content in order, in parts of at most 1 MiB that end when `see` returns; `see` says whether it wants more.
/// Faults as read_file; `limit`: of the whole file.
Result<void> read_parts(const std::filesystem::path&, ByteCount limit, const std::function<bool(ByteView)>& see);
/// Overwrites the start of a file that is there, in one write, without waiting for the disk: for a line shorter than a
/// sector whose loss at a power cut would only make it old. Faults: output_unwritable, disk_full.
Result<void> overwrite_line(const std::filesystem::path&, ByteView line);
/// Waits until a file and its name are on the disk: what is read from it then, a power cut does not take back. Faults:
/// output_unwritable.
Result<void> make_durable(const std::filesystem::path&);
/// As make_durable, also of bytes that an earlier fsync failed to write: those are in memory only, the kernel takes
/// them for written, and no later fsync writes them. So each byte is written again where it stands. Faults:
/// output_unwritable, disk_full.
Result<void> rewrite_durably(const std::filesystem::path&);
/// As write_file, but refuses a file that is there already.
Result<void> create_file(const std::filesystem::path&, ByteView, FileMode = FileMode::everyone);
/// With parents; `owner_only` applies to folders it creates. Faults: output_unwritable.
Result<void> make_folder(const std::filesystem::path&, bool owner_only = false);
/// Free bytes on the file system that holds `path` (its nearest existing parent); nothing where unknown.
std::optional<std::uint64_t> free_bytes(const std::filesystem::path&);
/// Whether the file system under `path` is a network one (NFS, SMB, 9P, FUSE remote), where locks and renames lie.
bool is_on_network(const std::filesystem::path&);

/// An OFD lock on a file that is never renamed or deleted; its text says who holds it.
class FileLock {
 public:
  /// Fault ledger_locked names the holder from the file's text. `note`: "pid 4711 on line-3: espmint run".
  static Result<FileLock> acquire(const std::filesystem::path&, const std::string& note);
  /// As acquire, but waits for the holder to end, at most so long; for locks that are held for a moment only.
  static Result<FileLock> wait_for(const std::filesystem::path&, const std::string& note,
                                   std::chrono::milliseconds patience);
  FileLock(FileLock&&) noexcept;
  FileLock& operator=(FileLock&&) noexcept;
  ~FileLock();

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_ = -1;
};

}  // namespace espmint
