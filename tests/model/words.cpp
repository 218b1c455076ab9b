// Actions in words, as a trace prints them.
#include "tests/model/key_order.hpp"

namespace espmint::model {

/// "{slot}", "{station}", "{board}", "{key}", "{how}" are filled in.
static std::string_view pattern(Act act) {
  switch (act) {
    case Act::plug:
      return "{board} is plugged into {slot}";
    case Act::unplug:
      return "{board} is unplugged from {slot}{how}";
    case Act::swap:
      return "the board in {slot} is pulled out{how}, and {board} takes its place";
    case Act::exchange:
      return "the boards in the two slots change places";
    case Act::kill:
      return "{station} dies, {how}";
    case Act::power_cut:
      return "everything stops, {how}";
    case Act::lose_ledger:
      return "the ledger is lost, {how}";
    case Act::start:
      return "{station} starts {how}";
    case Act::sync_before_rebuild:
      return "{station} syncs the folder, before it reads the CSV";
    case Act::rebuild:
      return "{station} rebuilds the ledger from the CSV, in one commit";
    case Act::free_reserved:
      return "{station} frees the RESERVED keys, in one commit";
    case Act::project_temp:
      return "{station} writes the CSV anew from the ledger, under another name, and syncs it";
    case Act::project_rename:
      return "{station} renames it to the CSV's name";
    case Act::project_sync:
      return "{station} syncs the folder and admits boards";
    case Act::admit_without_projection:
      return "{station} admits boards at once";
    case Act::identify:
      return "{slot} identifies {board}";
    case Act::board_left:
      return "{slot} sees that {board} has left";
    case Act::reserve:
      return "{slot} commits key {key} RESERVED for {board}";
    case Act::take_up_reserved:
      return "{slot} finds key {key} RESERVED for {board} and goes on with it";
    case Act::resume:
      return "{slot} finds key {key} open for {board} and resets it, to read back";
    case Act::mark_temp:
      return "{slot} writes the CSV under another name, key {key} {how}, and syncs it";
    case Act::mark_rename:
      return "{slot} renames it to the CSV's name";
    case Act::mark_sync:
      return "{slot} syncs the folder";
    case Act::write_in_place:
      return "{slot} begins to write key {key} {how} over its row in the CSV";
    case Act::end_in_place:
      return "{slot} ends writing the row";
    case Act::skip:
      return "{slot} {how}";
    case Act::confirm:
      return "{slot} opens the port again and identifies {board}";
    case Act::confirm_unasked:
      return "{slot} opens the port again and takes what is there for {board}";
    case Act::give_up:
      return "{slot} ends the run: {board} does not answer or is another";
    case Act::drop:
      return "{slot} ends the run and will release key {key}";
    case Act::expose:
      return "{slot} commits key {key} EXPOSED for {board}";
    case Act::expose_late:
      return "{slot} leaves EXPOSED for later";
    case Act::send:
      return "{slot} sends key {key}";
    case Act::store:
      return "the board in {slot} {how}";
    case Act::answer:
      return "the board in {slot} says that it is provisioned";
    case Act::no_answer:
      return "{slot} hears nothing and will send key {key} again";
    case Act::retry_with_next_key:
      return "{slot} hears nothing and commits key {key} RESERVED for {board}";
    case Act::write_down:
      return "{slot} commits key {key} WRITTEN";
    case Act::reset:
      return "{slot} resets the board";
    case Act::identify_again:
      return "{slot} identifies {board} after the reset";
    case Act::read_back:
      return "{slot} reads key {key} back";
    case Act::read_back_differs:
      return "{slot} reads something else back and will send key {key} again";
    case Act::quarantine:
      return "{slot} reads something else back and commits key {key} QUARANTINED for {board}";
    case Act::verify:
      return "{slot} commits key {key} VERIFIED";
    case Act::verify_by_banner:
      return "{slot} takes the board's word and commits key {key} VERIFIED";
    case Act::free_dropped:
      return "{slot} commits key {key} AVAILABLE";
    case Act::count:
      break;
  }
  return "";
}

std::string in_words(const Action& action) {
  std::string out{pattern(action.act)};
  auto fill = [&](std::string_view hole, const std::string& with) {
    if (auto at = out.find(hole); at != std::string::npos) out.replace(at, hole.size(), with);
  };
  fill("{slot}", "slot " + std::to_string(action.who + 1));
  fill("{station}", "station " + std::to_string(action.who + 1));
  fill("{board}", "board " + std::to_string(action.board + 1));
  fill("{key}", std::string(1, static_cast<char>('A' + action.key)));
  fill("{how}", std::string{action.how});
  return out;
}

}  // namespace espmint::model
