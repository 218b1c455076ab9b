#include "tests/swarm/story.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace espmint::swarm {
namespace {

constexpr std::uint64_t latest_board = 20;  // of a life, at which its process may stop

Moment draw_moment(Dice& dice) {
  // Most harm is looked for where it hurts.
  switch (dice.roll(6)) {
    case 0:
      return {Moment::From::plugged, dice.roll(3500)};
    case 1:
      return {Moment::From::hand_over, dice.roll(24)};
    case 2:
      return {Moment::From::listening, dice.roll(dice.one_of(2) ? 600 : 4000)};
    default:
      return {Moment::From::secret, dice.roll(80)};
  }
}

Stop draw_stop(Dice& dice) {
  switch (dice.roll(7)) {
    case 0:
      return {Stop::At::point, dice.roll(dice.one_of(2) ? 400 : 4000)};
    case 1:
      return {Stop::At::secret, dice.roll(80), 1 + dice.roll(latest_board)};
    case 2:
      return {};
    default:
      return {Stop::At::hand_over, dice.roll(dice.one_of(2) ? 20 : 90), 1 + dice.roll(latest_board)};
  }
}

Visit draw_visit(Dice& dice, const Story& story) {
  Visit out;
  out.slot = dice.roll(story.slots);
  out.board = dice.roll(story.boards.size());
  out.other = dice.roll(story.boards.size());
  if (dice.one_of(2)) out.harm = static_cast<Harm>(dice.roll(harms));
  out.when = draw_moment(dice);
  if (out.harm == Harm::bytes_lost) out.when.from = Moment::From::secret;
  out.lost = 1 + dice.roll(8);
  out.pause_ms = 300 + 100 * dice.roll(20);
  return out;
}

std::string_view name_of(Harm harm) {
  static constexpr std::array<std::string_view, harms> names{
      "", "pulled", "pulled, and plugged in again", "browned out", "swapped in its fixture", "gets not all bytes"};
  return names[static_cast<std::size_t>(harm)];
}

std::string describe(const Moment& moment) {
  switch (moment.from) {
    case Moment::From::plugged:
      return fmt::format("{} ms after it was plugged in", moment.count);
    case Moment::From::hand_over:
      return fmt::format("before write {} of the hand-over", moment.count);
    case Moment::From::listening:
      return fmt::format("{} ms after the hand-over began", moment.count);
    case Moment::From::quiet:
      return fmt::format("{} ms after the last write of the hand-over", moment.count);
    case Moment::From::secret:
      break;
  }
  return fmt::format("after {} bytes of its key", moment.count);
}

std::string describe(const DiskHarm& harm) {
  static constexpr std::array<std::string_view, disk_harms> names{"", "has no room", "has room for a piece only",
                                                                  "fails", "is read-only"};
  if (harm.kind == DiskHarm::Kind::none) return {};
  return fmt::format("; at change {} the disk {}{}", harm.nth, names[static_cast<std::size_t>(harm.kind)],
                     harm.once ? ", once" : "");
}

std::string describe(const Stop& stop) {
  switch (stop.at) {
    case Stop::At::never:
      return "ends by itself";
    case Stop::At::point:
      return fmt::format("stops at point {}", stop.count);
    case Stop::At::hand_over:
      return fmt::format("stops {} points after hand-over {} began", stop.count, stop.nth);
    case Stop::At::secret:
      break;
  }
  return fmt::format("stops after {} bytes of key {} that it sends", stop.count, stop.nth);
}

// Some dangers need several things to come together. A shift in sixteen each is made for one of them, whatever else it
// has: drawn by dice of their own, so that all other shifts are as they were.

/// Boards are swapped in their fixture while the application starts or asks, which takes a second of a visit's minute.
void swap_while_it_starts(Story& story, Dice& dice) {
  for (Life& life : story.lives)
    for (Visit& visit : life.visits) {
      if (visit.harm == Harm::none || dice.one_of(3)) continue;
      visit.harm = Harm::swapped_in_the_fixture;
      visit.when = {Moment::From::quiet, 60 + dice.roll(dice.one_of(2) ? 250 : 800)};
    }
}

/// Boards come again whose firmware shows nothing of its key, and are swapped for others while that is waited for.
void swap_who_shows_nothing(Story& story, Dice& dice) {
  story.app = "mute";
  for (Life& life : story.lives)
    for (std::size_t n = 0; n + 1 < life.visits.size(); n += 2) {
      Visit &first = life.visits[n], &again = life.visits[n + 1];
      first.harm = Harm::none;
      again.slot = first.slot;
      again.board = first.board;
      again.harm = Harm::swapped_in_the_fixture;
      again.when = {Moment::From::quiet, 60 + dice.roll(2500)};
    }
}

/// A key is reserved for a board that leaves too early, again the next time, when it is sent; and then the ledger is
/// back that only knows of the first time.
void forget_the_second_time(Story& story, Dice& dice) {
  constexpr std::size_t needed = 3;
  while (story.lives.size() < needed) story.lives.push_back(story.lives.front());
  story.slots = 1;
  const std::size_t board = dice.roll(story.boards.size());
  for (std::size_t n = 0; n < needed; ++n) {
    Life& life = story.lives[n];
    for (Visit& visit : life.visits) visit.slot = 0;
    life.before = n + 1 == needed ? Before::ledger_of_before : Before::nothing;
    if (n + 1 == needed) break;
    life.stop = {};
    life.visits.resize(1 + dice.roll(3));
    Visit& meeting = n == 0 ? life.visits.back() : life.visits.front();
    meeting.board = board;
    meeting.harm = Harm::pulled;
    meeting.when =
        n == 0 ? Moment{Moment::From::hand_over, dice.roll(12)} : Moment{Moment::From::secret, dice.roll(80)};
  }
}

void make_for_a_danger(Story& story) {
  Dice dice{story.seed ^ 0x6461'6e67'6572};
  switch (dice.roll(16)) {
    case 0:
      return swap_while_it_starts(story, dice);
    case 1:
      return forget_the_second_time(story, dice);
    case 2:
      return swap_who_shows_nothing(story, dice);
    default:
      return;
  }
}

}  // namespace

std::uint64_t Dice::roll(std::uint64_t sides) {
  state_ += 0x9e3779b97f4a7c15ull;
  std::uint64_t z = state_;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return (z ^ (z >> 31)) % sides;
}

std::string secret_of(const Story& story, int key, int field) {
  // Its number twice: no single garbled byte makes another key of it.
  return fmt::format("{:04x}k{:02}f{}k{:02}{}", story.seed & 0xffff, key, field, key, secret_mark);
}

Story draw_story(std::uint64_t seed) {
  static constexpr std::array apps{"old3",        "old3", "old3",          "device-line",   "device-line",
                                   "forgetful",   "mute", "device-framed", "device-framed", "framed-forgetful",
                                   "framed-other"};
  Dice dice{seed};
  Story out;
  out.seed = seed;
  out.app = apps[dice.roll(apps.size())];
  out.automatic = dice.one_of(2);
  out.stub = dice.one_of(3);
  out.vanishes = dice.one_of(6);
  out.identity = dice.one_of(12);
  out.slots = 1 + dice.roll(3);
  for (std::size_t n = 0, count = 4 + dice.roll(most_boards - 3); n < count; ++n)
    out.boards.push_back(Mac{{0x24, 0xd7, 0xeb, 1, 0, static_cast<std::uint8_t>(n + 1)}});
  if (dice.one_of(6)) out.boards.back() = out.boards.front();
  out.keys = 2 + static_cast<int>(dice.roll(36));
  out.old_marks = dice.one_of(4);
  if (dice.one_of(6)) out.lose_one_of = 4'000 + dice.roll(40'000);
  if (dice.one_of(6)) out.garble_one_of = 4'000 + dice.roll(40'000);
  for (std::uint64_t n = 0, lives = 1 + dice.roll(3); n < lives; ++n) {
    Life life;
    for (std::uint64_t i = 0, visits = out.slots + 8 + dice.roll(56); i < visits; ++i)
      life.visits.push_back(draw_visit(dice, out));
    life.stop = draw_stop(dice);
    life.stop.power_cut = life.stop.at != Stop::At::never && dice.one_of(2);
    if (dice.one_of(6))
      life.disk = {static_cast<DiskHarm::Kind>(1 + dice.roll(disk_harms - 1)), 1 + dice.roll(300), dice.one_of(2)};
    if (n > 0 && dice.one_of(5)) life.before = !dice.one_of(3) ? Before::ledger_of_before : Before::no_ledger;
    if (dice.one_of(5)) life.wall_jump_seconds = static_cast<int>(dice.roll(7200)) - 3600;
    life.second_station = dice.one_of(5);
    out.lives.push_back(std::move(life));
  }
  make_for_a_danger(out);
  Life quiet;
  quiet.quiet = true;
  for (std::size_t board = 0; board < out.boards.size(); ++board)
    quiet.visits.push_back({board % out.slots, board, Harm::none, {}, 0, 300});
  out.lives.push_back(std::move(quiet));
  return out;
}

std::string tell(const Story& story) {
  std::string out =
      fmt::format("{}{}{}{} on {} slots, {} boards, {} keys{}{}{}{}\n", story.app, story.stub ? " by the stub" : "",
                  story.vanishes ? " on USB of its own" : "", story.automatic ? ", to be found out," : "", story.slots,
                  story.boards.size(), story.keys, story.identity ? ", with an identity" : "",
                  story.old_marks ? ", a file that an earlier script marked" : "",
                  story.lose_one_of ? fmt::format(", one byte of {} lost", story.lose_one_of) : "",
                  story.garble_one_of ? fmt::format(", one byte of {} garbled", story.garble_one_of) : "");
  for (std::size_t n = 0; n < story.boards.size(); ++n)
    for (std::size_t other = 0; other < n; ++other)
      if (story.boards[n] == story.boards[other]) out += fmt::format("board {} has the MAC of board {}\n", n, other);
  for (std::size_t n = 0; n < story.lives.size(); ++n) {
    const Life& life = story.lives[n];
    out +=
        fmt::format(" life {}{}: {}{}{}{}{}{}\n", n + 1, life.quiet ? ", quiet" : "", describe(life.stop),
                    life.stop.power_cut ? ", the power goes" : "", describe(life.disk),
                    life.before == Before::no_ledger          ? "; the ledger was deleted before"
                    : life.before == Before::ledger_of_before ? "; the ledger is the one of a life before"
                                                              : "",
                    life.wall_jump_seconds ? fmt::format("; the wall clock jumps by {} s", life.wall_jump_seconds) : "",
                    life.second_station ? "; a second station tries the same files" : "");
    for (const Visit& visit : life.visits) {
      out += fmt::format("  slot {}: board {}", visit.slot, visit.board);
      if (visit.harm != Harm::none) out += fmt::format(", {} {}", name_of(visit.harm), describe(visit.when));
      if (visit.harm == Harm::bytes_lost) out += fmt::format(": {} are lost", visit.lost);
      if (visit.harm == Harm::swapped_in_the_fixture) out += fmt::format(" for board {}", visit.other);
      out += "\n";
    }
  }
  return out;
}

std::vector<Story> smaller_stories(const Story& story) {
  std::vector<Story> out;
  auto with = [&](auto change) {
    Story less = story;
    change(less);
    out.push_back(std::move(less));
  };
  for (std::size_t n = 0; story.lives.size() > 1 && n < story.lives.size(); ++n)
    with([n](Story& less) { less.lives.erase(less.lives.begin() + static_cast<std::ptrdiff_t>(n)); });
  auto without = [&](std::size_t n, std::size_t first, std::size_t count) {
    with([=](Story& less) {
      auto& visits = less.lives[n].visits;
      auto from = visits.begin() + static_cast<std::ptrdiff_t>(first);
      visits.erase(from, from + static_cast<std::ptrdiff_t>(std::min(count, visits.size() - first)));
    });
  };
  for (std::size_t n = 0; n < story.lives.size(); ++n)
    for (std::size_t count = (story.lives[n].visits.size() + 1) / 2; count > 1; count = (count + 1) / 2) {
      for (std::size_t first = 0; first < story.lives[n].visits.size(); first += count) without(n, first, count);
      if (count == 2) break;
    }
  for (std::size_t n = 0; n < story.lives.size(); ++n) {
    const Life& life = story.lives[n];
    for (std::size_t visit = 0; visit < life.visits.size(); ++visit) without(n, visit, 1);
    for (std::size_t visit = 0; visit < life.visits.size(); ++visit)
      if (life.visits[visit].harm != Harm::none)
        with([n, visit](Story& less) { less.lives[n].visits[visit].harm = Harm::none; });
    if (life.stop.at != Stop::At::never) with([n](Story& less) { less.lives[n].stop = {}; });
    if (life.stop.nth > 1) with([n](Story& less) { --less.lives[n].stop.nth; });
    if (life.stop.power_cut) with([n](Story& less) { less.lives[n].stop.power_cut = false; });
    if (life.disk.kind != DiskHarm::Kind::none) with([n](Story& less) { less.lives[n].disk = {}; });
    if (life.before != Before::nothing) with([n](Story& less) { less.lives[n].before = Before::nothing; });
    if (life.wall_jump_seconds != 0) with([n](Story& less) { less.lives[n].wall_jump_seconds = 0; });
    if (life.second_station) with([n](Story& less) { less.lives[n].second_station = false; });
  }
  if (story.lose_one_of != 0) with([](Story& less) { less.lose_one_of = 0; });
  if (story.garble_one_of != 0) with([](Story& less) { less.garble_one_of = 0; });
  if (story.vanishes) with([](Story& less) { less.vanishes = false; });
  if (story.old_marks) with([](Story& less) { less.old_marks = false; });
  if (story.identity) with([](Story& less) { less.identity = false; });
  return out;
}

}  // namespace espmint::swarm
