// run/station.hpp: what every run of a line shares: the world it acts on, the plan, and what is remembered between
// boards.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "cloud/cloud.hpp"
#include "io/entropy.hpp"
#include "io/pool.hpp"
#include "io/port.hpp"
#include "ledger/key_file.hpp"
#include "ledger/ledger.hpp"
#include "recipe/folder.hpp"
#include "recipe/plan.hpp"
#include "rom/identify.hpp"
#include "rom/stub.hpp"
#include "run/backlog.hpp"
#include "run/baud_memory.hpp"
#include "run/firmware.hpp"
#include "run/step.hpp"

namespace espmint {

/// What a run tells while it goes on. The line and the screens listen; nobody answers.
class RunObserver {
 public:
  virtual ~RunObserver() = default;
  virtual void on_step(const std::string& slot, Step) { (void)slot; }
  virtual void on_board(const std::string& slot, const BoardInfo&) { (void)slot; }
  /// Bytes of flash known to be right, of all that this board gets.
  virtual void on_progress(const std::string& slot, std::uint64_t done, std::uint64_t total) {
    (void)slot, (void)done, (void)total;
  }
  virtual void on_note(const std::string& slot, const std::string& sentence) { (void)slot, (void)sentence; }
};

/// An identity that was exposed and whose board went away before it was proved: kept in memory only, for the same
/// board.
struct PendingIdentity {
  Attempt attempt;
  CertificateRecord certificate;
  std::vector<std::shared_ptr<const PreparedRegion>> images;
  Instant until;
};

struct StationOptions {
  Baud baud{921'600};
  bool use_stub = true;
  bool renew = false;           // a VERIFIED board gets a new identity
  bool readmit = false;         // and so does one whose identity was revoked: somebody decided that it may come back
  bool reset = true;            // false: boards are in download mode already
  std::string keep_key_folder;  // not empty: private keys are saved there (recipe: save_private_key)
  Duration challenge_patience = std::chrono::milliseconds{2500};
  Duration pending_for = std::chrono::minutes{10};
  std::string serial;          // of the one board that is prepared, as it was scanned; empty: none
  Duration button_patience{};  // for a hand at BOOT and RESET where no wire does it; 0: nobody is there
};

struct Station {
  Clock& clock;
  Entropy& entropy;
  Pool& pool;         // heavy pure work
  Pool& ledger_pool;  // one thread: the ledger's calls block on the disk
  Ledger& ledger;
  Cloud& cloud;
  RunObserver& observer;
  const StubLibrary& stubs;
  const Plan& plan;
  FirmwarePreparer& firmware;
  StationOptions options;
  KeyFile* keys = nullptr;        // where the plan hands out keys; used on the ledger's pool only
  const Folder* files = nullptr;  // the recipe's: files of one board's own
  Backlog* backlog = nullptr;     // of a cloud elsewhere; none: the cloud is told at each board's end

  std::map<Mac, PendingIdentity> pending{};
  std::map<Mac, std::string>
      active{};  // boards in a run now, and their slot: one MAC in two slots is a clone or a mistake
  BaudMemory bauds{};
  // Firmware that does not know the challenge stays silent on every board: after two that booted and said nothing, the
  // rest are not waited for (policy automatic).
  int challenges_unanswered = 0;
  int challenges_answered = 0;
  bool framed_heard =
      false;              // a board with this firmware spoke the framed hand-shake: the next ones may be asked in it
  bool stopping = false;  // no new board; boards without an exposed secret stop
};

}  // namespace espmint
