// app/key_commands.hpp: the key pool by hand: import, status, export, release, retire; and opening it for a line.
#pragma once

#include "app/record_commands.hpp"
#include "app/screen.hpp"
#include "ledger/key_file.hpp"
#include "recipe/plan.hpp"

namespace espmint::app {

struct KeyCommand {
  RecordOptions record;
  std::string file = "keys.csv";
  bool first_unmarked_unused = false;
  std::int64_t number = 0;
  std::vector<std::string> by;  // who answers for it
  std::string why;
};

/// The plan's file beside the ledger; tells what was imported, refused and quarantined. Faults: the file's and
/// ledger's; pool_exhausted when not one key is usable.
Result<KeyFile> open_keys(const KeysPlan&, Ledger&, Screen&);
/// What can be known before anything is opened: whether the hand-shake's words can work; `and_file`: whether the file
/// is one of keys. Faults: recipe_invalid, the file's. Writes nothing.
Result<void> check_keys(const KeysPlan&, bool and_file);
/// Keys that are nobody's, of the file's shape, for a rehearsal: the plan's csv becomes a file in the state folder.
Result<void> rehearse_keys(KeysPlan&, const Settings&);

Exit keys_import(const KeyCommand&);
Exit keys_status(const KeyCommand&);
Exit keys_export(const KeyCommand&);
/// QUARANTINED to a board: that board may be given the same key once more.
Exit keys_release(const KeyCommand&);
Exit keys_retire(const KeyCommand&);

}  // namespace espmint::app
