// A shift that is stopped at every durable write, then again at every durable write of its recovery. The process that
// runs it tells a pipe what was acknowledged to it; that, and not the ledger, is what the ledger is held against.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <map>
#include <random>
#include <sstream>

#include "ledger/test_ledger.hpp"

namespace espmint {
namespace {

constexpr int stopped = 42;

/// Where the child says what it was told: "attempt STATE" a line.
class Witness {
 public:
  Witness() {
    if (::pipe(ends_.data()) != 0) std::abort();
  }
  Witness(const Witness&) = delete;
  Witness& operator=(const Witness&) = delete;
  ~Witness() {
    ::close(ends_[0]);
    ::close(ends_[1]);
  }
  void say(std::int64_t attempt, std::string_view state) const {
    std::string line = fmt::format("{} {}\n", attempt, state);
    if (::write(ends_[1], line.data(), line.size()) != static_cast<ssize_t>(line.size())) ::_exit(1);
  }
  /// Everything said so far; the newest word per attempt.
  std::map<std::int64_t, std::string> hear() {
    ::close(ends_[1]);
    ends_[1] = -1;
    std::string text;
    std::array<char, 4096> buffer{};
    for (ssize_t n = 0; (n = ::read(ends_[0], buffer.data(), buffer.size())) > 0;)
      text.append(buffer.data(), static_cast<std::size_t>(n));
    std::map<std::int64_t, std::string> out;
    std::istringstream lines{text};
    std::int64_t attempt = 0;
    for (std::string state; lines >> attempt >> state;) out[attempt] = state;
    return out;
  }

 private:
  std::array<int, 2> ends_{-1, -1};
};

/// What a shift does: a plain board, one that is unplugged before and one after exposure, a renewal kept and a renewal
/// dropped, a clone. Each step is said aloud once it has returned.
void work_a_shift(Ledger& ledger, const Witness& witness) {
  auto said = [&](Attempt attempt, std::string_view state) {
    witness.say(attempt.number, state);
    return attempt;
  };
  auto reserve = [&](int n, bool renew = false) {
    Attempt attempt = said(reserve_board(ledger, n, renew), "RESERVED");
    must(ledger.record_certificate(attempt, certificate_of(attempt.number)));
    return attempt;
  };
  auto expose = [&](Attempt attempt) {
    must(ledger.expose(attempt));
    return said(attempt, "EXPOSED");
  };
  auto finish = [&](Attempt attempt) {
    must(ledger.mark_written(attempt));
    said(attempt, "WRITTEN");
    must(ledger.mark_verified(attempt, evidence_of(certificate_of(attempt.number))));
    return said(attempt, "VERIFIED");
  };
  Attempt plain = reserve(1);
  must(ledger.settle(plain, "enrol", "done"));
  finish(expose(plain));
  must(ledger.settle(plain, "activate", "done"));
  must(ledger.record_run(run_of(1, certificate_of(plain.number).sha256)));
  Attempt unplugged = reserve(2);
  must(ledger.release(unplugged, "unplugged"));
  said(unplugged, "RELEASED");
  Attempt lost = expose(reserve(3));
  must(ledger.burn(lost, "the key is gone"));
  said(lost, "BURNED");
  finish(expose(reserve(3)));
  Attempt renewed = expose(reserve(1, true));
  witness.say(plain.number, "BURNED");
  finish(renewed);
  must(ledger.release(reserve(3, true), "unplugged"));
  BoardIdentity clone = board_of(3);
  clone.flash_id = 1;
  must(ledger.admit(clone, plan_a));
  expose(reserve(4));
  reserve(5);
}

/// Runs `work` in a child that is stopped at its n-th durable point; whether it was (else it ran to its end).
template <typename Work>
bool stop_at(int nth, Work work) {
  ::pid_t child = ::fork();
  if (child == 0) {
    int seen = 0;
    set_ledger_crash_hook([&](std::string_view) {
      if (++seen == nth) ::_exit(stopped);
    });
    work();
    ::_exit(0);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == stopped)) << "at point " << nth;
  return WIFEXITED(status) && WEXITSTATUS(status) == stopped;
}

/// What the file says of each attempt.
std::map<std::int64_t, std::string> states_in(const TestFolder& folder) {
  std::map<std::int64_t, std::string> out;
  Database db = must(Database::open(database_in(folder.path()), Database::Mode::read_only));
  must(db.each("SELECT attempt, state FROM identity", {}, [&](const Row& row) { out[row.integer(0)] = row.text(1); }));
  return out;
}

/// The states that a promise of `told` allows after a crash in the step that follows and a recovery.
bool keeps_the_promise(const std::string& told, const std::string& found) {
  static const std::map<std::string, std::string> allowed{
      {"RESERVED", "RELEASED EXPOSED"},  // EXPOSED: committed, and the word about it not said
      {"EXPOSED", "EXPOSED WRITTEN BURNED"},
      {"WRITTEN", "WRITTEN VERIFIED"},
      {"VERIFIED", "VERIFIED BURNED"},  // BURNED: by a renewal
      {"RELEASED", "RELEASED"},
      {"BURNED", "BURNED"},
  };
  return allowed.at(told).find(found) != std::string::npos;
}

TEST(Crash, AtEveryDurablePointOfAShiftTheRulesHoldAndNothingSaidIsLost) {
  int points = 0;
  for (int nth = 1;; ++nth, ++points) {
    SCOPED_TRACE(fmt::format("stopped at durable point {}", nth));
    TestFolder folder;
    TestClock clock;
    Witness witness;
    bool was_stopped = stop_at(nth, [&] { work_a_shift(*open_ledger(folder, clock), witness); });
    auto told = witness.hear();
    // Before anything is mended: every rule but the freeing holds already, and the chain is whole.
    if (std::filesystem::exists(head_in(folder.path()))) {
      ASSERT_EQ(violations_of(folder), "");
    }
    {
      auto ledger = open_ledger(folder, clock);
      ASSERT_EQ(violations_of(folder), "");
      auto found = states_in(folder);
      for (const auto& [attempt, state] : told) {
        ASSERT_TRUE(found.contains(attempt));
        EXPECT_TRUE(keeps_the_promise(state, found[attempt]))
            << "attempt " << attempt << " was said to be " << state << " and is " << found[attempt];
      }
      for (const auto& [attempt, state] : found) EXPECT_NE(state, "RESERVED");
      verify_board(*ledger, 77);  // and the line goes on
    }
    ASSERT_EQ(violations_of(folder), "");
    if (!was_stopped) break;
  }
  EXPECT_GE(points, 140);  // fewer: the shift no longer does what it is here for
}

TEST(Crash, AtEveryDurablePointOfTheRecoveryTheNextOneFinishes) {
  TestClock clock;
  TestFolder origin;
  {
    auto ledger = open_ledger(origin, clock);
    verify_board(*ledger, 1);
    expose_board(*ledger, 2);
    for (int n : {3, 4, 5}) record_board(*ledger, n);
    record_board(*ledger, 1, true);
  }
  for (int nth = 1;; ++nth) {
    SCOPED_TRACE(fmt::format("stopped at durable point {}", nth));
    TestFolder folder;
    std::filesystem::copy(origin.path(), folder.path(), std::filesystem::copy_options::recursive);
    bool was_stopped = stop_at(nth, [&] { open_ledger(folder, clock); });
    auto ledger = open_ledger(folder, clock);
    ASSERT_EQ(violations_of(folder), "");
    for (const auto& [attempt, state] : states_in(folder)) EXPECT_NE(state, "RESERVED");
    EXPECT_EQ(must(ledger->admit(board_of(1), plan_a)).kind, Admission::Kind::verified);
    EXPECT_EQ(must(ledger->admit(board_of(2), plan_a)).kind, Admission::Kind::resume);
    if (!was_stopped) {
      EXPECT_GE(nth, 16);  // four frees of four points
      break;
    }
  }
}

// The head is a witness, not a crutch: with every head but the first lost, the ledger is as safe.
TEST(Crash, WithoutAnyHeadWriteReachingTheDiskTheLedgerStillOpens) {
  TestFolder folder;
  TestClock clock;
  open_ledger(folder, clock).reset();
  auto first_head = head_in(folder.path());
  std::filesystem::copy(first_head, folder.top() / "head");
  {
    auto ledger = open_ledger(folder, clock);
    for (int n = 1; n < 20; ++n) verify_board(*ledger, n);
  }
  std::filesystem::copy(folder.top() / "head", first_head, std::filesystem::copy_options::overwrite_existing);
  auto ledger = open_ledger(folder, clock);
  EXPECT_EQ(violations_of(folder), "");
}

// Random calls in random order, legal or not, with restarts between: whatever is answered, the rules hold.
TEST(Property, WhateverIsCalledInWhateverOrderTheRulesHold) {
  for (unsigned seed : {1u, 4711u, 20261121u}) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    std::mt19937 dice{seed};
    auto roll = [&](int sides) { return static_cast<int>(dice() % static_cast<unsigned>(sides)); };
    TestFolder folder;
    TestClock clock;
    auto ledger = open_ledger(folder, clock);
    std::vector<Attempt> attempts{{1, id_of(1)}};
    std::map<std::int64_t, std::string> known;
    int accepted = 0;
    for (int call = 0; call < 400; ++call) {
      Attempt attempt = attempts[static_cast<std::size_t>(roll(static_cast<int>(attempts.size())))];
      if (roll(3) > 0) attempt = attempts.back();
      CertificateRecord record = certificate_of(attempt.number);
      int n = 1 + roll(6);
      clock.time += std::chrono::seconds{roll(3)};
      auto count = [&](const auto& result) { accepted += result ? 1 : 0; };
      switch (roll(12)) {
        case 0:
        case 1:
        case 2: {
          auto got = ledger->reserve(board_of(n), id_of(n), plan_a, 5, roll(2) == 0);
          if (got) attempts.push_back(*got);
          count(got);
          break;
        }
        case 3:
        case 4:
          count(ledger->record_certificate(attempt, record));
          break;
        case 5:
        case 6:
          count(ledger->expose(attempt));
          break;
        case 7:
          count(ledger->mark_written(attempt));
          break;
        case 8:
          count(ledger->mark_verified(attempt, evidence_of(record)));
          break;
        case 9:
          count(roll(2) == 0 ? ledger->release(attempt, "x") : ledger->burn(attempt, "x"));
          break;
        case 10:
          count(ledger->settle(attempt, roll(2) == 0 ? "enrol" : "activate", "done"));
          break;
        default:
          if (roll(4) > 0) break;
          ledger.reset();
          ledger = open_ledger(folder, clock);
      }
      if (call % 40 != 0) continue;
      ASSERT_EQ(violations_of(folder), "") << "after call " << call;
      auto now = states_in(folder);
      for (const auto& [number, state] : known) {
        static const std::map<std::string, int> rank{{"RESERVED", 0}, {"RELEASED", 9}, {"EXPOSED", 1},
                                                     {"WRITTEN", 2},  {"VERIFIED", 3}, {"BURNED", 9}};
        EXPECT_GE(rank.at(now[number]), rank.at(state)) << "attempt " << number << " went back";
        EXPECT_TRUE((state != "RELEASED" && state != "BURNED") || now[number] == state);
      }
      known = now;
    }
    EXPECT_GT(accepted, 60);
    auto devices = must(ledger->devices());
    EXPECT_LE(std::count_if(devices.begin(), devices.end(), [](const DeviceRecord& d) { return d.certificate; }), 6);
    ledger.reset();
    Database db = must(Database::open(database_in(folder.path()), Database::Mode::read_only));
    EXPECT_LE(must(db.number("SELECT count(*) FROM board WHERE exposed = 1")), 5);  // I8
  }
}

}  // namespace
}  // namespace espmint
