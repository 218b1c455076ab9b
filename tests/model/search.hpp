// tests/model/search.hpp: breadth first over every state, so that the first violation found is a shortest one.
#pragma once

#include <algorithm>
#include <bitset>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/model/key_order.hpp"

namespace espmint::model {

/// States in the order they were found, each once: an open hash table of 4-byte indices beside them.
class Visited {
 public:
  Visited() : table_(std::size_t{1} << 16, empty) {}
  /// True when it was not there; it then has the index size() - 1.
  bool insert(Packed state, std::uint32_t parent) {
    if (2 * (states_.size() + 1) > table_.size()) grow();
    std::size_t at = slot_of(state);
    if (table_[at] != empty) return false;
    table_[at] = static_cast<std::uint32_t>(states_.size());
    states_.push_back(state);
    parents_.push_back(parent);
    return true;
  }
  std::size_t size() const { return states_.size(); }
  Packed operator[](std::size_t index) const { return states_[index]; }
  std::uint32_t parent(std::size_t index) const { return parents_[index]; }

 private:
  static constexpr std::uint32_t empty = 0xffff'ffff;
  static std::size_t hash(Packed state) {
    std::uint64_t h = (state.low ^ (state.high * 0x9e37'79b9'7f4a'7c15)) * 0xbf58'476d'1ce4'e5b9;
    h = (h ^ (h >> 29)) * 0x94d0'49bb'1331'11eb;
    return h ^ (h >> 32);
  }
  std::size_t slot_of(Packed state) const {
    std::size_t at = hash(state) & (table_.size() - 1);
    while (table_[at] != empty && !(states_[table_[at]] == state)) at = (at + 1) & (table_.size() - 1);
    return at;
  }
  void grow() {
    table_.assign(2 * table_.size(), empty);
    for (std::size_t i = 0; i < states_.size(); ++i) table_[slot_of(states_[i])] = static_cast<std::uint32_t>(i);
  }

  std::vector<Packed> states_;
  std::vector<std::uint32_t> parents_;
  std::vector<std::uint32_t> table_;
};

struct SearchOptions {
  std::size_t most_states = 40'000'000;  // 1.6 GiB at the worst moment of growth
  bool fold_symmetry = true;             // one state stands for all its renumberings
  bool count_unfolded = false;           // with it: also count what it stands for
};

struct Report {
  std::size_t states = 0;
  std::size_t unfolded_states = 0;  // with count_unfolded
  std::size_t transitions = 0;
  std::size_t all_verified = 0;  // states in which every board is VERIFIED
  int depth = 0;                 // of the last state visited
  bool complete = false;         // false: stopped by a violation or by most_states
  const Watcher* violation = nullptr;
  std::vector<Action> trace;                               // the shortest way to the violation
  std::bitset<static_cast<std::size_t>(Act::count)> acts;  // that happened at least once
  double seconds = 0;
};

namespace search_detail {

inline Packed folded(const Setup& setup, const State& state, bool fold, std::vector<State>& others) {
  if (!fold) return pack(setup, state);
  renumbered(setup, state, Numberings::sorted, others);
  Packed least = pack(setup, others[0]);
  for (std::size_t i = 1; i < others.size(); ++i) least = std::min(least, pack(setup, others[i]));
  return least;
}

inline std::size_t renumberings(const Setup& setup, const State& state, std::vector<State>& others) {
  std::vector<Packed> all;
  renumbered(setup, state, Numberings::all, others);
  for (const State& other : others) all.push_back(pack(setup, other));
  std::sort(all.begin(), all.end());
  return static_cast<std::size_t>(std::unique(all.begin(), all.end()) - all.begin());
}

/// Walks the indices from the first state again with one numbering, so that board 1 stays board 1.
inline std::vector<Action> retrace(const Setup& setup, const Visited& visited, std::uint32_t last, bool fold) {
  std::vector<std::uint32_t> path;
  for (std::uint32_t at = last; at != 0; at = visited.parent(at)) path.push_back(at);
  std::vector<Action> trace;
  std::vector<Edge> edges;
  std::vector<State> others;
  State state = first_state(setup);
  for (auto at = path.rbegin(); at != path.rend(); ++at) {
    next(setup, state, edges);
    for (const Edge& edge : edges) {
      if (!(folded(setup, edge.to, fold, others) == visited[*at])) continue;
      trace.push_back(edge.action);
      state = edge.to;
      break;
    }
  }
  return trace;
}

}  // namespace search_detail

/// Visits every state that `setup` can reach and asks every watcher in each. Stops at the first violation.
inline Report search(const Setup& setup, SearchOptions options = {}) {
  using namespace search_detail;
  auto started = std::chrono::steady_clock::now();
  Report report;
  Visited visited;
  std::vector<Edge> edges;
  std::vector<State> others;
  visited.insert(folded(setup, first_state(setup), options.fold_symmetry, others), 0);
  std::size_t end_of_level = 1;
  for (std::size_t at = 0; at < visited.size() && visited.size() < options.most_states; ++at) {
    if (at == end_of_level) {
      ++report.depth;
      end_of_level = visited.size();
    }
    State state = unpack(setup, visited[at]);
    report.violation = violated(setup, state);
    if (report.violation) {
      report.trace = retrace(setup, visited, static_cast<std::uint32_t>(at), options.fold_symmetry);
      break;
    }
    report.all_verified += all_verified(setup, state);
    if (options.count_unfolded) report.unfolded_states += renumberings(setup, state, others);
    next(setup, state, edges);
    report.transitions += edges.size();
    for (const Edge& edge : edges) {
      report.acts.set(static_cast<std::size_t>(edge.action.act));
      visited.insert(folded(setup, edge.to, options.fold_symmetry, others), static_cast<std::uint32_t>(at));
    }
    report.complete = at + 1 == visited.size();
  }
  report.states = visited.size();
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  return report;
}

}  // namespace espmint::model
