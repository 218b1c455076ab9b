// app/screen.hpp: the line as a person or a program sees it: one live line per slot on a terminal, plain lines
// elsewhere, a stream of JSON events for programs (docs/formats/events.md).
#pragma once

#include <memory>

#include "app/terminal.hpp"
#include "line/line.hpp"

namespace espmint::app {

class Screen : public LineObserver {
 public:
  virtual void sentence(const std::string& text) = 0;  // something to know, not about one slot
  virtual void summary(const LineSummary&) = 0;
};

std::unique_ptr<Screen> make_screen(const Voice&, const Clock&);

/// "passed 30, failed 2 (board-silent 1, flash-differs 1), 94 s"
std::string summary_sentence(const LineSummary&);

}  // namespace espmint::app
