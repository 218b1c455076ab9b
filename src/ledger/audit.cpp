// audit verify: the chain, then the head outside, then the tables; the first row that does not fit is named.
#include <fmt/format.h>

#include "ledger/replay.hpp"
#include "ledger/store.hpp"

namespace espmint {
namespace {

constexpr std::string_view all_rows =
    "SELECT seq, time, event, device, detail, previous, hash FROM audit WHERE seq >= ?1 ORDER BY seq";

struct LinkedRow {
  AuditRow row;
  std::string previous, hash;  // as the row has them: hex
};

LinkedRow read_linked(const Row& row) {
  return {{row.integer(0), row.text(1), row.text(2), row.text(3), row.text(4)}, row.text(5), row.text(6)};
}

const std::string no_hash(64, '0');  // before the first row

/// Whether the row's hash is that of its texts and links at this place of the chain.
bool fits(const LinkedRow& linked, std::int64_t sequence) {
  auto previous = from_hex(linked.previous);
  if (!previous || previous->size() != 32) return false;
  Sha256 before{};
  std::copy(previous->begin(), previous->end(), before.begin());
  if (linked.row.sequence == sequence) return to_hex(hash_of_row(linked.row, before)) == linked.hash;
  AuditRow moved = linked.row;
  moved.sequence = sequence;
  return to_hex(hash_of_row(moved, before)) == linked.hash;
}

/// The texts of one row with the place and the links of another.
bool texts_fit(LinkedRow place, const LinkedRow& texts) {
  place.row.time = texts.row.time;
  place.row.event = texts.row.event;
  place.row.device_id = texts.row.device_id;
  place.row.detail = texts.row.detail;
  return fits(place, place.row.sequence);
}

/// A row whose own hash is wrong: changed, or is it another row's place that it stands in?
Result<std::string> why_it_does_not_fit(Database& db, const LinkedRow& wrong) {
  const std::int64_t here = wrong.row.sequence;
  std::string why = fmt::format("row {} was changed", here);
  bool found = false;
  TRY(db.each(all_rows, {here + 1}, [&](const Row& row) {
    if (found) return;
    LinkedRow other = read_linked(row);
    const std::int64_t there = other.row.sequence;
    const bool belongs_there = fits(wrong, there);
    const bool belongs_here = fits(other, here);
    if ((belongs_there && belongs_here) || (texts_fit(wrong, other) && texts_fit(other, wrong))) {
      found = true;
      why = fmt::format("rows {} and {} are swapped", here, there);
    } else if (belongs_there) {
      found = true;
      why = fmt::format("row {} is missing: row {} stands in its place", here, there);
    }
  }));
  // The last row, renumbered over the gap that a removed one left: no row stands behind it to compare with.
  if (!found && fits(wrong, here + 1))
    why = fmt::format("row {} is missing: row {} stands in its place", here, here + 1);
  return why;
}

}  // namespace

Result<AuditReport> verify_audit(const std::filesystem::path& folder) {
  // The head first: a writer commits before it moves the head, so a snapshot taken later holds what it names.
  auto head = read_head(folder);
  if (!head && head.error().code == Code::ledger_io) return fail(std::move(head.error()));
  TRY(Database db, open_database(folder, Database::Mode::read_only));
  TRY(db.run("BEGIN"));
  AuditReport report;
  Replay replay;
  std::optional<Replay::Finding> impossible;
  std::optional<LinkedRow> wrong;
  LinkedRow last{{}, no_hash, no_hash};
  TRY(db.each(all_rows, {std::int64_t{-0x7fffffffffffffff}}, [&](const Row& row) {
    ++report.rows;
    if (report.broken_at) return;
    LinkedRow linked = read_linked(row);
    const std::int64_t expected = last.row.sequence + 1;
    if (linked.row.sequence != expected) {
      report.broken_at = expected;
      report.why = linked.row.sequence > expected + 1
                       ? fmt::format("rows {} to {} are missing", expected, linked.row.sequence - 1)
                       : fmt::format("row {} is missing", expected);
      if (linked.row.sequence < expected) {
        report.broken_at = linked.row.sequence;
        report.why = fmt::format("row {} was added", linked.row.sequence);
      }
    } else if (!fits(linked, expected) ||
               (linked.previous != last.hash && from_hex(linked.previous) == from_hex(last.hash))) {
      report.broken_at = expected;  // the second: the same digest in other letters
      wrong = linked;
    } else if (linked.previous != last.hash) {
      // This row is whole and remembers another hash: the one before was changed, hash and all.
      report.broken_at = std::max<std::int64_t>(expected - 1, 1);
      report.why = fmt::format("row {} was changed: row {} remembers another hash of it", expected - 1, expected);
      if (expected == 1) report.why = "row 1 was changed: nothing can be before it";
    } else if (linked.row.time < last.row.time) {
      report.broken_at = expected;
      report.why = fmt::format("row {} is earlier than the one before", expected);
    } else if (!impossible) {
      impossible = replay.apply(linked.row);
    }
    last = std::move(linked);
  }));
  if (wrong) {
    TRY(report.why, why_it_does_not_fit(db, *wrong));
  }
  report.head = last.hash;
  if (report.broken_at) return report;

  // Whole in itself; but is it the chain that was written?
  const std::int64_t newest = last.row.sequence;
  if (newest == 0) {
    report.broken_at = 1;
    report.why = "row 1 is missing: the chain is empty";
  } else if (!head) {
    report.broken_at = newest;
    report.why = "ledger.head does not hold a head: nothing outside the ledger vouches for its rows";
  } else if (*head && (*head)->sequence > newest) {
    report.broken_at = newest + 1;
    const std::int64_t count = (*head)->sequence - newest;
    report.why = count == 1 ? fmt::format("the last row, {}, was cut off", newest + 1)
                            : fmt::format("the last {} rows were cut off, from row {} on", count, newest + 1);
  } else {
    TRY(std::string id, meta(db, "ledger_id"));
    TRY(std::string why, difference_of_head(db, id, *head));
    if (!why.empty()) {
      report.broken_at = *head ? 1 : newest;
      report.why = *head ? fmt::format("the chain was re-written from row 1 on: {}", why) : why;
    }
  }
  if (report.broken_at) return report;

  if (!impossible) {
    TRY(impossible, replay.compare(db));
  }
  if (impossible) {
    report.broken_at = impossible->row;
    report.why = std::move(impossible->why);
  }
  return report;
}

}  // namespace espmint
