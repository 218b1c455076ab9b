// tests/line_words.hpp: what tests of whole lines say again and again.
#pragma once

#include <gtest/gtest.h>

#include "ledger/invariants.hpp"
#include "tests/bench.hpp"

namespace espmint {

inline LineOptions once(const std::string& port) {
  LineOptions options;
  options.ports = {port};
  options.one_pass = true;
  return options;
}

inline const RunOutcome& last(Bench& bench, const std::string& slot) { return bench.listener.done[slot].back(); }

inline void expect_sound(Bench& bench) {
  auto violations = find_violations(bench.folder() / "ledger");
  ASSERT_TRUE(violations) << describe(violations.error());
  for (const auto& violation : *violations) ADD_FAILURE() << violation;
}

}  // namespace espmint
