// ledger/test_disk.hpp: a disk that fails at the n-th call. It stands before SQLite's own file layer as the default VFS
// while it lives; every call that does not fail goes through.
#pragma once

#include <sqlite3.h>

#include <cstring>

namespace espmint {

class FailingDisk {
 public:
  enum class Call { write, sync };
  /// From the `nth` call on (counted from 1) the disk answers `code`; for ever, or `once`.
  FailingDisk(Call call, int nth, int code, bool once = false) {
    plan() = {call, nth, code, once, 0, 0};
    real() = sqlite3_vfs_find(nullptr);
    vfs_ = *real();
    vfs_.zName = "failing";
    vfs_.szOsFile = static_cast<int>(sizeof(File)) + real()->szOsFile;
    vfs_.xOpen = &open;
    sqlite3_vfs_register(&vfs_, 1);
  }
  FailingDisk(const FailingDisk&) = delete;
  FailingDisk& operator=(const FailingDisk&) = delete;
  ~FailingDisk() {
    sqlite3_vfs_unregister(&vfs_);
    sqlite3_vfs_register(real(), 1);
  }
  /// How many calls have failed.
  [[nodiscard]] static int failures() { return plan().failed; }
  static void heal() { plan().nth = 1 << 30; }
  static void fail_from_now() { plan().nth = plan().seen + 1; }

 private:
  struct Plan {
    Call call = Call::write;
    int nth = 0, code = 0;
    bool once = false;
    int seen = 0, failed = 0;
  };
  struct File {
    sqlite3_file base;
    [[nodiscard]] sqlite3_file* inner() { return reinterpret_cast<sqlite3_file*>(this + 1); }
  };
  static Plan& plan() {
    static Plan it;
    return it;
  }
  static sqlite3_vfs*& real() {
    static sqlite3_vfs* it = nullptr;
    return it;
  }
  static int answer(Call call) {
    Plan& now = plan();
    if (call != now.call || ++now.seen < now.nth || (now.once && now.failed > 0)) return SQLITE_OK;
    ++now.failed;
    return now.code;
  }
  static sqlite3_file* inner(sqlite3_file* file) { return reinterpret_cast<File*>(file)->inner(); }
  static const sqlite3_io_methods* of(sqlite3_file* file) { return inner(file)->pMethods; }

  static int open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out_flags) {
    static const sqlite3_io_methods methods{
        3,
        [](sqlite3_file* f) { return of(f)->xClose(inner(f)); },
        [](sqlite3_file* f, void* to, int n, sqlite3_int64 at) { return of(f)->xRead(inner(f), to, n, at); },
        [](sqlite3_file* f, const void* from, int n, sqlite3_int64 at) {
          int failed = answer(Call::write);
          return failed != SQLITE_OK ? failed : of(f)->xWrite(inner(f), from, n, at);
        },
        [](sqlite3_file* f, sqlite3_int64 n) { return of(f)->xTruncate(inner(f), n); },
        [](sqlite3_file* f, int how) {
          int failed = answer(Call::sync);
          return failed != SQLITE_OK ? failed : of(f)->xSync(inner(f), how);
        },
        [](sqlite3_file* f, sqlite3_int64* n) { return of(f)->xFileSize(inner(f), n); },
        [](sqlite3_file* f, int how) { return of(f)->xLock(inner(f), how); },
        [](sqlite3_file* f, int how) { return of(f)->xUnlock(inner(f), how); },
        [](sqlite3_file* f, int* out) { return of(f)->xCheckReservedLock(inner(f), out); },
        [](sqlite3_file* f, int what, void* with) { return of(f)->xFileControl(inner(f), what, with); },
        [](sqlite3_file* f) { return of(f)->xSectorSize(inner(f)); },
        [](sqlite3_file* f) { return of(f)->xDeviceCharacteristics(inner(f)); },
        [](sqlite3_file* f, int at, int n, int grow, void volatile** to) {
          return of(f)->xShmMap(inner(f), at, n, grow, to);
        },
        [](sqlite3_file* f, int at, int n, int how) { return of(f)->xShmLock(inner(f), at, n, how); },
        [](sqlite3_file* f) { of(f)->xShmBarrier(inner(f)); },
        [](sqlite3_file* f, int drop) { return of(f)->xShmUnmap(inner(f), drop); },
        // Memory-mapped pages would go round xWrite; the answer "none" is allowed.
        [](sqlite3_file*, sqlite3_int64, int, void** to) {
          *to = nullptr;
          return SQLITE_OK;
        },
        [](sqlite3_file*, sqlite3_int64, void*) { return SQLITE_OK; },
    };
    auto* mine = reinterpret_cast<File*>(file);
    std::memset(mine, 0, sizeof(File));
    int code = real()->xOpen(real(), name, mine->inner(), flags, out_flags);
    // Without methods SQLite does not close: right when the inner file did not open.
    mine->base.pMethods = mine->inner()->pMethods ? &methods : nullptr;
    return code;
  }

  sqlite3_vfs vfs_{};
};

}  // namespace espmint
