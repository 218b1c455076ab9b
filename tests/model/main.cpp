// espmint-model: the larger search, by hand. Usage and results: docs/model.md.
#include <sys/resource.h>

#include <charconv>
#include <cstdio>
#include <cstring>
#include <optional>

#include "tests/model/search.hpp"

namespace espmint::model {
namespace {

constexpr std::string_view usage =
    "espmint-model [--boards N] [--keys N] [--swaps N] [--crashes N] [--losses N] [--variant NAME|all]\n"
    "              [--max-states N] [--unfolded]\n"
    "Visits every state of the order in which keys are handed to boards. N: boards and keys 1 to 3, the rest 0 to 3.\n"
    "--variant: a broken order, or a sound one (right-order); `all` runs each. --unfolded: without symmetry, slower.\n"
    "Exit code: 0 no violation in any state, 1 violation, 2 usage, 3 stopped by --max-states.\n\n";

struct Wanted {
  Bounds bounds{};
  std::string_view variant = "right-order";
  SearchOptions options{};
};

std::optional<Wanted> parse(int argc, char** argv) {
  Wanted wanted;
  struct Number {
    std::string_view name;
    int* to;
    int least;
  };
  int most_states = 0;
  Bounds& b = wanted.bounds;
  const Number numbers[] = {{"--boards", &b.boards, 1}, {"--keys", &b.keys, 1},
                            {"--swaps", &b.swaps, 0},   {"--crashes", &b.crashes, 0},
                            {"--losses", &b.losses, 0}, {"--max-states", &most_states, 1}};
  for (int i = 1; i < argc; ++i) {
    std::string_view name = argv[i];
    if (name == "--unfolded") {
      wanted.options.fold_symmetry = false;
      continue;
    }
    if (++i == argc) return {};
    std::string_view value = argv[i];
    if (name == "--variant") {
      wanted.variant = value;
      continue;
    }
    bool known = false;
    for (const Number& number : numbers) {
      if (name != number.name) continue;
      known = true;
      auto end = value.data() + value.size();
      int most = name == "--max-states" ? 2'000'000'000 : 3;
      if (std::from_chars(value.data(), end, *number.to).ptr != end || *number.to < number.least || *number.to > most)
        return {};
    }
    if (!known) return {};
  }
  if (most_states > 0) wanted.options.most_states = static_cast<std::size_t>(most_states);
  return wanted;
}

int show(const Variant& variant, const Wanted& wanted) {
  Setup setup = variant.setup(wanted.bounds);
  const Bounds& b = setup.bounds;
  std::printf("%.*s: %.*s\n", static_cast<int>(variant.name.size()), variant.name.data(),
              static_cast<int>(variant.what.size()), variant.what.data());
  if (!fits(setup)) {
    std::printf("  does not fit in 128 bits: fewer boards or keys\n");
    return 2;
  }
  std::printf("  %d boards, %d keys, %d slots, %d station%s; at most %d swaps, %d crashes, %d losses of the ledger\n",
              b.boards, b.keys, slot_count, setup.stations, setup.stations == 1 ? "" : "s", b.swaps, b.crashes,
              b.losses);
  std::fflush(stdout);
  Report report = search(setup, wanted.options);
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  std::printf("  %zu states%s, %zu transitions, depth %d, all boards VERIFIED in %zu; %.1f s, %ld MiB\n", report.states,
              wanted.options.fold_symmetry ? " (renumberings folded)" : "", report.transitions, report.depth,
              report.all_verified, report.seconds, used.ru_maxrss / 1024);
  if (report.violation) {
    std::printf("  %.*s broken (%.*s) after %zu steps:\n", static_cast<int>(report.violation->name.size()),
                report.violation->name.data(), static_cast<int>(report.violation->statement.size()),
                report.violation->statement.data(), report.trace.size());
    for (std::size_t i = 0; i < report.trace.size(); ++i)
      std::printf("  %3zu  %s\n", i + 1, in_words(report.trace[i]).c_str());
    return 1;
  }
  std::printf("  %s\n", report.complete ? "complete: 0 violations" : "stopped by --max-states: 0 violations so far");
  return report.complete ? 0 : 3;
}

int run(int argc, char** argv) {
  std::optional<Wanted> wanted = parse(argc, argv);
  int code = wanted ? -1 : 2;
  for (auto variants : {sound_orders(), broken_orders()})
    for (const Variant& variant : variants)
      if (wanted && (wanted->variant == "all" || wanted->variant == variant.name))
        code = std::max(code, show(variant, *wanted));
  if (code == 2 || code == -1) {
    std::fputs(usage.data(), stderr);
    for (auto variants : {sound_orders(), broken_orders()})
      for (const Variant& v : variants)
        std::fprintf(stderr, "  %-28.*s %.*s\n", static_cast<int>(v.name.size()), v.name.data(),
                     static_cast<int>(v.what.size()), v.what.data());
    return 2;
  }
  return code;
}

}  // namespace
}  // namespace espmint::model

int main(int argc, char** argv) { return espmint::model::run(argc, argv); }
