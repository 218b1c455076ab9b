// ledger/sqlite.hpp: SQLite with owners: a database that ends its statements, rows read by column, faults instead of
// codes.
//   TRY(Database db, Database::open(path, Database::Mode::read_write));
//   TRY(db.run("UPDATE board SET held = ?2 WHERE number = ?1", {number, why}));
//   TRY(auto state, db.first("SELECT state FROM identity WHERE attempt = ?1", {7}, [](const Row& row) { return
//   row.text(0); }));
// Statements are prepared once and kept. A value of this type belongs to one thread at a time.
#pragma once

#include <array>
#include <concepts>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/bytes.hpp"
#include "base/result.hpp"

struct sqlite3;
struct sqlite3_stmt;

namespace espmint {

/// A value on its way into a statement; views must live until the call returns.
class Arg {
 public:
  enum class Kind { null, integer, real, text, blob };
  Arg(std::nullptr_t) {}  // NOLINT: implicit by purpose
  Arg(std::integral auto value) : kind_(Kind::integer), integer_(static_cast<std::int64_t>(value)) {}  // NOLINT
  Arg(double value) : kind_(Kind::real), real_(value) {}                                               // NOLINT
  Arg(std::string_view value) : kind_(Kind::text), bytes_(as_bytes(value)) {}                          // NOLINT
  Arg(const std::string& value) : Arg(std::string_view{value}) {}                                      // NOLINT
  Arg(const char* value) : Arg(std::string_view{value}) {}                                             // NOLINT
  Arg(const Bytes& value) : kind_(Kind::blob), bytes_(value) {}                                        // NOLINT
  Arg(ByteView value) : kind_(Kind::blob), bytes_(value) {}                                            // NOLINT
  template <typename T>
  Arg(const std::optional<T>& value) : Arg(nullptr) {  // NOLINT
    if (value) *this = Arg(*value);
  }
  void bind(sqlite3_stmt*, int at) const;

 private:
  Kind kind_ = Kind::null;
  std::int64_t integer_ = 0;
  double real_ = 0;
  ByteView bytes_;
};

/// The row a statement stands on; columns count from 0.
class Row {
 public:
  explicit Row(sqlite3_stmt* statement) : statement_(statement) {}
  [[nodiscard]] bool is_null(int column) const;
  [[nodiscard]] std::int64_t integer(int column) const;
  [[nodiscard]] double real(int column) const;
  [[nodiscard]] std::string text(int column) const;  // also of numbers; empty for NULL
  [[nodiscard]] Bytes blob(int column) const;
  // The same without a copy; they end with the row.
  [[nodiscard]] std::string_view view(int column) const;
  [[nodiscard]] ByteView bytes(int column) const;
  /// A digest kept as hex; all zero when the text is no such digest.
  template <std::size_t N>
  [[nodiscard]] std::array<std::uint8_t, N> digest(int column) const {
    std::array<std::uint8_t, N> out{};
    auto bytes = from_hex(text(column));
    if (bytes && bytes->size() == N) std::copy(bytes->begin(), bytes->end(), out.begin());
    return out;
  }

 private:
  sqlite3_stmt* statement_;
};

class Database {
 public:
  /// `frozen`: the file alone, for media where nothing can be written beside it and nobody writes.
  enum class Mode { read_write, read_only, frozen };
  /// Creates the file when it is absent (read_write). An empty path is a database in memory. After the first I/O fault
  /// every further call returns that fault: a failed write or fsync is never tried again on the same open file.
  /// Every fault of this type carries the file's path; which code: docs/ledger.md, Faults.
  static Result<Database> open(const std::filesystem::path&, Mode);
  Database(Database&&) noexcept = default;
  Database& operator=(Database&&) noexcept = default;

  /// One statement, whose rows, if any, are not looked at.
  Result<void> run(std::string_view sql, std::initializer_list<Arg> args = {});
  /// Several statements, not kept.
  Result<void> script(const std::string& sql);
  Result<void> each(std::string_view sql, std::initializer_list<Arg> args, const std::function<void(const Row&)>& see);
  template <typename Read>
  auto first(std::string_view sql, std::initializer_list<Arg> args, Read read)
      -> Result<std::optional<std::invoke_result_t<Read, const Row&>>> {
    std::optional<std::invoke_result_t<Read, const Row&>> out;
    auto done = each(sql, args, [&](const Row& row) {
      if (!out) out = read(row);
    });
    if (!done) return fail(std::move(done.error()));
    return out;
  }
  /// The first column of the first row as a number; 0 when there is none.
  Result<std::int64_t> number(std::string_view sql, std::initializer_list<Arg> args = {});
  /// Ends an open transaction without it; also after an I/O fault.
  void roll_back() noexcept;

 private:
  struct Close {
    void operator()(sqlite3*) const;
  };
  struct Finalize {
    void operator()(sqlite3_stmt*) const;
  };
  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  Database(sqlite3* handle, std::filesystem::path path) : handle_(handle), path_(std::move(path)) {}
  Result<sqlite3_stmt*> prepare(std::string_view sql);
  [[nodiscard]] Fault fault(int code);

  std::unique_ptr<sqlite3, Close> handle_;
  std::filesystem::path path_;
  std::optional<Fault> broken_;
  // After the handle, so that it ends first.
  std::unordered_map<std::string, std::unique_ptr<sqlite3_stmt, Finalize>, Hash, std::equal_to<>> statements_;
};

}  // namespace espmint
