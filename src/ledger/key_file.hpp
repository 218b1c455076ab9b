// ledger/key_file.hpp: the user's keys.csv beside the ledger: imported once per change, then kept as a pessimistic
// picture of it. The ledger decides; the file says "available" only of keys that were never exposed, at every moment.
// The rules and what an edited file means: docs/formats/keys-csv.md.
#pragma once

#include <filesystem>
#include <span>
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

/// The text of a user's file of keys, as far as it can be one: reading ends where a byte or a line shows that it is
/// none, so that memory stays bounded by what is good. parse_key_csv() then says what is wrong. Faults as read_file.
Result<std::string> read_key_text(const std::filesystem::path&);
/// Where a parser's fault names row and column, the file in front of them.
Fault in_key_file(Fault, const std::filesystem::path&);

class KeyFile {
 public:
  /// Locks the file (`<name>.lock`), removes what a crash left, imports new rows, and rewrites the file where it does
  /// not say what the ledger says; durable when it returns. Faults: input_missing, input_invalid (with rows),
  /// ledger_locked, ledger_refused (network file system), output_unwritable, disk_full, the ledger's.
  static Result<KeyFile> open(std::filesystem::path, Ledger&, KeyFileOptions);
  KeyFile(KeyFile&&) = default;
  KeyFile& operator=(KeyFile&&) = delete;
  ~KeyFile();

  [[nodiscard]] const KeyFileReport& report() const { return report_; }
  /// The first usable key in the file's order; none: exhausted. Looks at the file again when it was edited.
  Result<std::optional<std::int64_t>> next();
  /// The fields of a key that is in the file, those that the recipe names or all. Fault ledger_refused: its row is
  /// gone.
  Result<std::vector<Secret>> fields(std::int64_t number);
  /// What the file's header calls these fields; empty where it has none.
  [[nodiscard]] std::vector<std::string> names() const;
  [[nodiscard]] std::size_t field_count() const {
    return options_.csv.columns.empty() ? csv_.fields : options_.csv.columns.size();
  }
  /// The key whose fields are exactly these, if the ledger knows one.
  Result<std::optional<PoolKey>> key_with(const std::vector<std::string>& values);
  /// Reads the file and reports anew.
  Result<void> look_again() { return load(path_); }
  /// Writes what the ledger now says of this key behind its row; durable when it returns.
  Result<void> mark(std::int64_t number);

 private:
  KeyFile(std::filesystem::path path, Ledger& ledger, KeyFileOptions options, FileLock lock)
      : path_(std::move(path)), ledger_(&ledger), options_(std::move(options)), lock_(std::move(lock)) {}
  /// What a look at the file's inode shows. `certain`: whoever writes into it from now on leaves another one.
  struct Stamp {
    std::uint64_t device = 0, inode = 0, size = 0;
    std::int64_t modified = 0, changed = 0;  // ns
    bool certain = false;
    [[nodiscard]] bool same_file(const Stamp& other) const {
      return device == other.device && inode == other.inode && size == other.size && modified == other.modified &&
             changed == other.changed;
    }
  };
  Result<Stamp> stamp() const;
  /// Reads, imports and projects.
  Result<void> load(const std::filesystem::path& from);
  Result<void> load_if_edited();
  /// Whether the file holds what text_ does, byte by byte.
  [[nodiscard]] bool holds_our_text(const std::filesystem::path&) const;

  // key_import.cpp: whose row is whose, and what is to stand behind it.
  struct Judged;
  Result<void> import();
  Result<void> match(Judged&);
  Result<void> judge_unknown(Judged&);
  Result<void> import_fresh(Judged&);
  Result<void> obey_marks(Judged&);
  void settle(std::size_t row, const PoolKey&);
  void give_up(std::size_t row);
  Result<void> check_that_it_can_be_sent(const KeyRow&, std::span<const std::string_view> values) const;

  /// Writes what `wants_` says behind the rows. `always`: also where nothing changes.
  Result<void> project(bool always);
  /// Replaces the file; true: somebody wrote meanwhile into what is now the previous one.
  Result<bool> write(std::span<const ByteView> pieces);
  void replace_text(std::size_t at, std::size_t bytes, std::string_view with);
  [[nodiscard]] std::filesystem::path previous() const { return path_.string() + ".prev"; }
  [[nodiscard]] std::string_view row_text(const KeyRow& row) const {
    return std::string_view{text_}.substr(row.begin, row.bytes);
  }
  [[nodiscard]] std::string_view user_part(const KeyRow& row) const {
    return std::string_view{text_}.substr(row.begin, row.user_bytes);
  }
  [[nodiscard]] std::string mark_of(const PoolKey&) const;
  [[nodiscard]] std::optional<std::size_t> row_of(std::int64_t number) const;

  enum class Want : std::uint8_t { as_it_is, available, given, refused };
  std::filesystem::path path_;
  Ledger* ledger_;
  KeyFileOptions options_;
  FileLock lock_;
  KeyFileReport report_;
  std::string text_;  // the file as it is on disk: the secrets; wiped at its end
  KeyCsv csv_;
  std::vector<std::int64_t> numbers_;                   // of each row; 0: refused
  std::vector<std::uint32_t> row_of_;                   // by number: the row's index + 1; 0: it has none
  std::vector<Want> wants_;                             // of each row, until it is written
  std::unordered_map<std::size_t, std::string> given_;  // by row: the mark of those that are wanted `given`
  std::size_t next_ = 0;                                // rows before it are not usable
  Stamp stamp_;
};

}  // namespace espmint
