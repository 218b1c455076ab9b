// tests/crash_disk_model.hpp: what CrashDisk remembers, and the system's calls as it answers them. Only its own sources
// include this.
#pragma once

#include <sys/types.h>

#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "tests/crash_disk.hpp"

namespace espmint {

/// The system's own calls, not those that this program defines. As their namesakes: -1 and errno.
namespace real {
int open(int folder, const char* path, int flags, mode_t mode);
int close(int fd);
ssize_t pread(int fd, void* into, std::size_t size, off_t at);
ssize_t pwrite(int fd, const void* from, std::size_t size, off_t at);
int truncate(int fd, off_t size);
int link(const std::string& from, const std::string& to);
int unlink(const std::string& path);
int remove_folder(const std::string& path);
int rename(const std::string& from, const std::string& to, unsigned flags);
}  // namespace real

/// SplitMix64: small, and the same everywhere.
class DiskDice {
 public:
  explicit DiskDice(std::uint64_t seed) : state_(seed) {}
  std::uint64_t roll(std::uint64_t sides);
  bool one_of(std::uint64_t sides) { return roll(sides) == 0; }

 private:
  std::uint64_t state_;
};

class CrashDisk::Model {
 public:
  /// Of a file's content. Pending changes are lost or kept by the dice. An fsync that failed leaves them so for ever;
  /// after one that succeeded behind such, durable ones stay in the list because the undoing goes through it backwards.
  enum class Fate : std::uint8_t { pending, durable, doomed };

  /// A write or a truncate, with what undoes it.
  struct Change {
    bool truncate = false;
    Fate fate = Fate::pending;
    std::uint64_t at = 0;  // of a truncate: the new size
    std::uint64_t old_size = 0, new_size = 0;
    std::string old_bytes;  // what was in the place before, up to the old end
    std::string new_bytes;
  };
  struct Inode {
    std::uint64_t born = 0;  // in the order of their meeting, which a seed's dice go by
    std::string path;        // one of its names
    std::vector<Change> changes;
  };
  /// A name that points to another inode than before; 0: to none.
  struct Entry {
    std::string path;
    std::uint64_t before = 0, after = 0;
  };
  /// What one call did to names: it is on the disk whole or not at all.
  struct NameChange {
    bool folder = false;  // made or removed a folder
    std::vector<Entry> entries;
  };
  struct Open {
    std::uint64_t inode = 0;
    unsigned generation = 0;  // of the power
    bool folder = false, append = false;
    std::string path;
  };

  explicit Model(std::filesystem::path folder);
  ~Model();

  // ---- the calls (crash_disk_calls.cpp); paths are absolute
  [[nodiscard]] bool watches(std::string_view path) const;
  int open(const std::string& path, int flags, mode_t mode);
  /// Nothing: not a descriptor of ours.
  std::optional<ssize_t> write(int fd, const void* from, std::size_t size, std::optional<off_t> at);
  std::optional<int> truncate(int fd, off_t size);
  std::optional<int> sync(int fd);
  int rename(const std::string& from, const std::string& to, unsigned flags);
  int link(const std::string& from, const std::string& to);
  int unlink(const std::string& path);
  int make_folder(const std::string& path, mode_t mode);
  int remove_folder(const std::string& path);
  void forget(int fd);
  void copied(int from, int to);

  // ---- CrashDisk's
  void cut_power(std::uint64_t seed);
  void keep();
  Hook hook;
  std::uint64_t calls = 0, failures = 0, fail_from = 0;
  Error error{};
  bool once = false, off = false, kept = false;
  unsigned generation = 0;
  std::recursive_mutex mutex;

 private:
  enum class Need { room, none };
  enum class Gate { open, half, shut };  // half: up to the next page; shut: errno says why
  Gate admit(std::string_view call, const std::string& path, Need need, bool splits = false);
  Open* find(int fd);
  Inode& inode(std::uint64_t number, const std::string& path);
  void remember(int fd, const std::string& path, std::uint64_t number, bool folder, bool append);
  int change_size(int fd, Inode& of, std::uint64_t size, std::uint64_t old_size);
  void keep_reachable(std::uint64_t number, const std::string& path);
  void make_names_durable(const std::string& folder);
  void bound(Inode& of);
  [[nodiscard]] std::string grave(std::uint64_t number) const;
  void take_up();
  void cut_content(std::uint64_t number, Inode& of, DiskDice& dice, int style);
  void cut_names(DiskDice& dice, int style);

  std::string folder_, shadow_;  // both end with '/'
  std::map<std::uint64_t, Inode> inodes_;
  std::vector<NameChange> names_;
  std::vector<Open> open_;  // by descriptor
  std::uint64_t born_ = 0;
};

/// The one that watches, if any.
extern CrashDisk::Model* watching_disk;

}  // namespace espmint
