#include "base/result.hpp"

#include <fmt/format.h>

#include "base/text.hpp"

namespace espmint {

std::string describe(const Fault& fault) {
  std::string out = fault.what;
  const Where& where = fault.where;
  std::string place = where.input;
  auto add = [&place](std::string_view label, std::string_view value) {
    if (value.empty()) return;
    if (!place.empty()) place += ", ";
    place += label;
    place += value;
  };
  add("", where.slot);
  add("board ", where.board);
  add("step ", where.step);
  if (where.offset) add("at ", fmt::format("{:#x}", *where.offset));
  if (!place.empty()) out += " (" + place + ")";
  if (!fault.seen.empty()) out += ": " + fault.seen;
  if (!fault.advice.empty()) {
    std::string advice = fault.advice;
    // A sentence of its own, unless it starts with a command or a name in quotes.
    if (advice.front() >= 'a' && advice.front() <= 'z' && advice.find("://") > advice.find(' '))
      advice.front() = static_cast<char>(advice.front() - 32);
    out += (out.ends_with('.') ? " " : ". ") + advice;
  }
  // One line, whatever the other side put into it: a forged line feed could look like a verdict of ours.
  out = escape_controls(out);
  for (char& c : out)
    if (c == '\n' || c == '\t') c = ' ';
  return out;
}

}  // namespace espmint
