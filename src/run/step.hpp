// run/step.hpp: the steps of one board's life, in order, and how often each may be tried. The only retry table there
// is.
#pragma once

#include <array>
#include <chrono>
#include <string_view>

#include "base/result.hpp"

namespace espmint {

enum class Step {
  connect,         // reset into download mode, SYNC, chip, MAC, eFuses, stub, speed, flash id
  admit,           // ask the ledger
  flash_firmware,  // what is not there already; while the identity is minted, enrolled and its image built
  flash_identity,  // identify again, then the image with the key
  evidence,        // reset into download mode, identify, digest of the image read back
  boot,            // let the application run
  challenge,       // it proves its key, where it knows how
  hand_over,       // its key of the pool: given, and read back after another reset and identification
  record,          // VERIFIED
};

struct StepSpec {
  Step step;
  std::string_view name;   // JSON and records
  std::string_view doing;  // what the screen says
};

inline constexpr std::array steps{
    StepSpec{Step::connect, "connect", "connecting"},
    StepSpec{Step::admit, "admit", "asking the ledger"},
    StepSpec{Step::flash_firmware, "flash-firmware", "flashing firmware"},
    StepSpec{Step::flash_identity, "flash-identity", "writing identity"},
    StepSpec{Step::evidence, "evidence", "reading back"},
    StepSpec{Step::boot, "boot", "starting"},
    StepSpec{Step::challenge, "challenge", "proving its key"},
    StepSpec{Step::hand_over, "hand-over", "handing over its key"},
    StepSpec{Step::record, "record", "recording"},
};
constexpr const StepSpec& spec_of(Step step) { return steps[static_cast<std::size_t>(step)]; }

struct RetryRule {
  Step step;
  Remedy remedy;
  int attempts;  // of the whole step, the first included
  std::chrono::milliseconds pause;
};

// Flash is written again by connecting anew: what is already there is skipped by its digest, so a repeat costs only
// what was lost. Minting and recording are not here: issuance is never repeated.
inline constexpr std::array retry_rules{
    RetryRule{Step::connect, Remedy::retry, 2, std::chrono::milliseconds{100}},
    RetryRule{Step::connect, Remedy::reconnect, 4, std::chrono::milliseconds{250}},  // a speed lower each time
    RetryRule{Step::flash_firmware, Remedy::retry, 3, std::chrono::milliseconds{0}},
    RetryRule{Step::flash_firmware, Remedy::reconnect, 3, std::chrono::milliseconds{250}},
    RetryRule{Step::flash_identity, Remedy::retry, 3, std::chrono::milliseconds{0}},
    RetryRule{Step::flash_identity, Remedy::reconnect, 3, std::chrono::milliseconds{250}},
    RetryRule{Step::evidence, Remedy::retry, 2, std::chrono::milliseconds{0}},
    RetryRule{Step::evidence, Remedy::reconnect, 3, std::chrono::milliseconds{250}},
    // It identifies the board itself; what was sent once is not sent again unless the board asks again after a reset.
    RetryRule{Step::hand_over, Remedy::reconnect, 3, std::chrono::milliseconds{250}},
    // The last rung, when the rows above are used up: a chip whose own USB hangs loses its supply once. Counted by
    // itself.
    RetryRule{Step::connect, Remedy::repower, 2, std::chrono::milliseconds{0}},
    RetryRule{Step::flash_firmware, Remedy::repower, 2, std::chrono::milliseconds{0}},
    RetryRule{Step::flash_identity, Remedy::repower, 2, std::chrono::milliseconds{0}},
    RetryRule{Step::evidence, Remedy::repower, 2, std::chrono::milliseconds{0}},
};

constexpr const RetryRule* retry_rule(Step step, Remedy remedy) {
  for (const RetryRule& rule : retry_rules)
    if (rule.step == step && rule.remedy == remedy) return &rule;
  return nullptr;
}

}  // namespace espmint
