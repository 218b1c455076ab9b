// ledger/key_file.hpp: the user's keys.csv beside the ledger: imported once per change, then kept as a pessimistic
// picture of it. The ledger decides; the file says "available" only of keys that were never exposed, at every moment.
// The rules and what an edited file means: docs/formats/keys-csv.md.
#pragma once

#include <filesystem>
#include <unordered_map>

#include "base/secret.hpp"
#include "io/file.hpp"
#include "ledger/key_csv.hpp"
#include "ledger/ledger.hpp"

namespace espmint {

struct KeyFileOptions {
  KeyCsvOptions csv;
  /// The script that marked this file marks after the board has answered, so its first unmarked row may be on a board
  /// already; true: the user knows that it is not.
  bool first_unmarked_unused = false;
  std::string holder;  // what a second process is told: "pid 4711 on line-3: espmint run"
};

/// What reading the file meant, in words for a person; rows are named by their number in the file, never by content.
struct KeyFileReport {
  std::size_t rows = 0, imported = 0, usable = 0;
  std::vector<std::string> refused;   // "row 3 repeats row 1, which is used"
  std::vector<std::string> warnings;  // "row 401 is quarantined: …"
};

class KeyFile {
 public:
  /// Locks the file (`<name>.lock`), removes what a crash left, imports new rows, and rewrites the file where it does not
  /// say what the ledger says; durable when it returns. Faults: input_missing, input_invalid (with rows), ledger_locked,
  /// ledger_refused (network file system), output_unwritable, disk_full, the ledger's.
  static Result<KeyFile> open(std::filesystem::path, Ledger&, KeyFileOptions);
  KeyFile(KeyFile&&) = default;
  KeyFile& operator=(KeyFile&&) = delete;
  ~KeyFile();

  [[nodiscard]] const KeyFileReport& report() const { return report_; }
  /// The first usable key in the file's order; none: exhausted. Looks at the file again when it was edited.
  Result<std::optional<std::int64_t>> next();
  /// The fields of a key that is in the file, those that the recipe names or all. Fault ledger_refused: its row is gone.
  Result<std::vector<Secret>> fields(std::int64_t number);
  /// The key whose fields are exactly these, if the ledger knows one.
  Result<std::optional<PoolKey>> key_with(const std::vector<std::string>& values);
  /// Reads the file and reports anew.
  Result<void> look_again() { return load(path_); }
  /// Writes what the ledger now says of this key behind its row; durable when it returns.
  Result<void> mark(std::int64_t number);

 private:
  KeyFile(std::filesystem::path path, Ledger& ledger, KeyFileOptions options, FileLock lock)
      : path_(std::move(path)), ledger_(&ledger), options_(std::move(options)), lock_(std::move(lock)) {}
  struct Stamp {
    std::uint64_t device = 0, inode = 0, size = 0;
    std::int64_t modified = 0;
    bool operator==(const Stamp&) const = default;
  };
  Result<Stamp> stamp() const;
  /// Reads, imports and projects.
  Result<void> load(const std::filesystem::path& from);
  Result<void> load_if_edited();
  Result<void> import();
  Result<void> project();
  Result<void> obey_mark(const KeyRow&, const PoolKey&);
  Result<void> write(const std::string& text);
  [[nodiscard]] std::string_view row_text(const KeyRow& row) const { return std::string_view{text_}.substr(row.begin, row.bytes); }
  [[nodiscard]] std::string_view user_part(const KeyRow& row) const {
    return std::string_view{text_}.substr(row.begin, row.user_bytes);
  }
  [[nodiscard]] std::string mark_of(const PoolKey&) const;

  std::filesystem::path path_;
  Ledger* ledger_;
  KeyFileOptions options_;
  FileLock lock_;
  KeyFileReport report_;
  std::string text_;  // the file as it is on disk: the secrets; wiped at its end
  KeyCsv csv_;
  std::vector<std::int64_t> numbers_;  // of each row; 0: refused
  std::unordered_map<std::int64_t, std::size_t> row_of_;
  std::size_t next_ = 0;  // rows before it are not usable
  Stamp stamp_;
};

}  // namespace espmint
