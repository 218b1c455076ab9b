#include "app/screen.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <map>

#include "app/json.hpp"
#include "base/text.hpp"

namespace espmint::app {
namespace {

std::string done_sentence(const RunOutcome& outcome, bool colour) {
  const RunRecord& record = outcome.record;
  std::string id = !record.device_id.empty() ? record.device_id : outcome.board ? to_string(outcome.board->mac) : "";
  if (outcome.verdict == Verdict::verified) {
    std::string how = outcome.already ? fmt::format("already VERIFIED on {}", outcome.already_since) : "VERIFIED";
    return fmt::format("{} {} {} in {:.1f} s", painted(Colour::green, "PASS", colour), id, how, record.seconds);
  }
  std::string why = outcome.fault ? describe(*outcome.fault) : std::string{"no reason given"};
  std::string verdict = outcome.verdict == Verdict::failed ? "" : " " + std::string{name_of(outcome.verdict)};
  return fmt::format("{}{}{}{}: {}", painted(Colour::red, "FAIL", colour), id.empty() ? "" : " ", id, verdict, why);
}

std::string ignored_sentence(const PortInfo& port) {
  return fmt::format("{}  ignored: {} is no adapter that boards use; name it with --port to use it", port.name,
                     port.product.empty() ? "this" : escape_controls(port.product));
}

/// One line as things happen, for logs and pipes.
class PlainScreen final : public Screen {
 public:
  explicit PlainScreen(const Voice& voice) : voice_(voice), colour_(wants_colour(stdout_is_terminal())) {}
  void sentence(const std::string& text) override {
    if (!voice_.quiet) say(text);
  }
  void on_waiting(const std::string& slot) override {
    if (!voice_.quiet) say(fmt::format("{}  waiting for a board", slot));
  }
  void on_ignored(const PortInfo& port) override {
    if (!voice_.quiet) say(ignored_sentence(port));
  }
  void on_board(const std::string& slot, const BoardInfo& board) override {
    if (!voice_.quiet)
      say(fmt::format("{}  {} revision {}, MAC {}, {} flash", slot, board.chip->title, to_string(board.revision),
                      to_string_with_colons(board.mac), show_bytes(board.flash_size)));
  }
  void on_step(const std::string& slot, Step step) override {
    if (voice_.verbose) say(fmt::format("{}  {}", slot, spec_of(step).doing));
  }
  void on_note(const std::string& slot, const std::string& text) override {
    if (!voice_.quiet) say(fmt::format("{}  {}", slot, text));
  }
  void on_done(const std::string& slot, const RunOutcome& outcome) override {
    say(fmt::format("{}  {}{}", slot, done_sentence(outcome, colour_), voice_.bell ? "\a" : ""));
  }
  void summary(const LineSummary& summary) override { say(summary_sentence(summary)); }

 private:
  static void say(const std::string& text) {
    std::fputs((text + "\n").c_str(), stdout);
    std::fflush(stdout);
  }
  Voice voice_;
  bool colour_;
};

/// One line a slot, redrawn in place; what is to be kept scrolls away above.
class LiveScreen final : public Screen {
 public:
  LiveScreen(const Voice& voice, const Clock& clock) : voice_(voice), clock_(clock), colour_(wants_colour(true)) {}
  ~LiveScreen() override { draw(true); }

  void sentence(const std::string& text) override {
    if (!voice_.quiet) scroll(text);
  }
  void on_waiting(const std::string& slot) override { state(slot) = {}, draw(true); }
  void on_ignored(const PortInfo& port) override { sentence(ignored_sentence(port)); }
  void on_started(const std::string& slot) override {
    state(slot) = {};
    state(slot).started = clock_.now();
    state(slot).doing = "connecting";
    draw(true);
  }
  void on_board(const std::string& slot, const BoardInfo& board) override {
    state(slot).id = to_string(board.mac), draw(true);
  }
  void on_step(const std::string& slot, Step step) override { state(slot).doing = spec_of(step).doing, draw(true); }
  void on_progress(const std::string& slot, std::uint64_t done, std::uint64_t total) override {
    Line& line = state(slot);
    if (line.total == 0) line.first_bytes = clock_.now();
    line.done = done;
    line.total = total;
    draw(false);
  }
  void on_note(const std::string& slot, const std::string& text) override { sentence(slot + "  " + text); }
  void on_done(const std::string& slot, const RunOutcome& outcome) override {
    Line& line = state(slot);
    line.verdict = done_sentence(outcome, colour_);
    outcome.verdict == Verdict::verified ? ++passed_ : ++failed_;
    if (voice_.bell) std::fputs("\a", stdout);
    draw(true);
  }
  void on_left(const std::string& slot) override {
    if (!state(slot).verdict.empty()) scroll(slot + "  " + state(slot).verdict);
    state(slot) = {};
    draw(true);
  }
  void summary(const LineSummary& summary) override {
    for (auto& [slot, line] : lines_)
      if (!line.verdict.empty()) scroll(slot + "  " + line.verdict);
    lines_.clear();
    erase();
    finished_ = true;
    std::fputs((summary_sentence(summary) + "\n").c_str(), stdout);
    std::fflush(stdout);
  }

 private:
  struct Line {
    std::string id, doing, verdict;
    std::uint64_t done = 0, total = 0;
    Instant started{}, first_bytes{};
  };
  Line& state(const std::string& slot) { return lines_[slot]; }

  void erase() {
    if (drawn_ > 0) std::fputs(fmt::format("\x1b[{}A\x1b[J", drawn_).c_str(), stdout);
    drawn_ = 0;
  }
  void scroll(const std::string& text) {
    erase();
    std::fputs((text + "\n").c_str(), stdout);
    draw(true);
  }
  void draw(bool now) {
    if (finished_) return;
    if (!now && clock_.now() - last_ < std::chrono::milliseconds{100}) return;
    last_ = clock_.now();
    erase();
    auto columns = static_cast<std::size_t>(terminal_columns());
    std::string out;
    for (const auto& [slot, line] : lines_) {
      std::string text;
      if (!line.verdict.empty()) {
        text = line.verdict;
      } else if (line.doing.empty()) {
        text = painted(Colour::dim, "waiting for a board", colour_);
      } else if (line.total > 0) {
        double spent = std::chrono::duration<double>(clock_.now() - line.first_bytes).count();
        double rate = spent > 0.2 ? static_cast<double>(line.done) / spent / 1024 : 0;
        text = fmt::format("{} {} {:3}% {:4.0f} KB/s  {}", line.id, progress_bar(line.done, line.total, 20),
                           line.done * 100 / line.total, rate, line.doing);
      } else {
        text = fmt::format("{} {}", line.id.empty() ? "············" : line.id, line.doing);
      }
      std::string row = slot + "  " + text;
      if (line.verdict.empty() && row.size() > columns * 3) row.resize(columns * 3);
      out += row + "\n";
      // A verdict longer than the window takes more than one row of it.
      drawn_ +=
          1 + static_cast<int>((line.verdict.empty() ? 0 : (slot.size() + 2 + line.verdict.size() - 1)) / columns);
    }
    out += painted(Colour::dim, fmt::format("passed {}, failed {}", passed_, failed_), colour_) + "\n";
    ++drawn_;
    std::fputs(out.c_str(), stdout);
    std::fflush(stdout);
  }

  Voice voice_;
  const Clock& clock_;
  bool colour_, finished_ = false;
  std::map<std::string, Line> lines_;
  int drawn_ = 0, passed_ = 0, failed_ = 0;
  Instant last_{};
};

/// docs/formats/events.md
class JsonScreen final : public Screen {
 public:
  explicit JsonScreen(const Voice& voice) : voice_(voice) {}
  void sentence(const std::string& text) override { print_json(event("note", {}, {{"text", text}})); }
  void on_waiting(const std::string& slot) override { print_json(event("waiting", slot)); }
  void on_ignored(const PortInfo& port) override {
    print_json(event("ignored", port.name, {{"product", port.product}}));
  }
  void on_started(const std::string& slot) override { print_json(event("start", slot)); }
  void on_board(const std::string& slot, const BoardInfo& board) override {
    Json json = event("board", slot);
    json.update(board_json(board));
    print_json(json);
  }
  void on_step(const std::string& slot, Step step) override {
    print_json(event("step", slot, {{"step", spec_of(step).name}}));
  }
  void on_progress(const std::string& slot, std::uint64_t done, std::uint64_t total) override {
    // A line every 5 %, not one a frame.
    int now = total ? static_cast<int>(done * 20 / total) : 0;
    if (std::exchange(twentieth_[slot], now) == now && done != total) return;
    print_json(event("progress", slot, {{"done", done}, {"total", total}}));
  }
  void on_note(const std::string& slot, const std::string& text) override {
    print_json(event("note", slot, {{"text", text}}));
  }
  void on_done(const std::string& slot, const RunOutcome& outcome) override {
    Json json = event("done", slot);
    json.update(run_json(outcome.record));
    json["already"] = outcome.already;
    if (outcome.board) json.update(board_json(*outcome.board));
    if (outcome.fault) json["code"] = name_of(outcome.fault->code), json["fault"] = describe(*outcome.fault);
    json["flashed_bytes"] = outcome.flashed_bytes;
    json["wire_bytes"] = outcome.wire_bytes;
    json["evidence"] = outcome.evidence.empty() ? Json{} : Json(outcome.evidence);
    json["key"] = outcome.key ? Json(*outcome.key) : Json{};
    json["selftest"] = outcome.record.selftest.empty() ? Json{} : Json::object();
    for (const auto& [name, value] : outcome.record.selftest) json["selftest"][name] = value;
    print_json(json);
  }
  void on_left(const std::string& slot) override { print_json(event("left", slot)); }
  void summary(const LineSummary& summary) override {
    Json json = event("summary", {},
                      {{"passed", summary.passed},
                       {"failed", summary.failed},
                       {"seconds", summary.seconds},
                       {"interrupted", summary.interrupted}});
    json["causes"] = Json::object();
    for (const auto& [name, boards] : summary.causes) json["causes"][name] = boards;
    if (summary.stopped_by)
      json["code"] = name_of(summary.stopped_by->code), json["fault"] = describe(*summary.stopped_by);
    print_json(json);
  }

 private:
  static Json event(std::string_view name, const std::string& slot, Json more = Json::object()) {
    Json json{{"v", 1}, {"event", name}};
    if (!slot.empty()) json["slot"] = slot;
    json.update(more);
    return json;
  }
  Voice voice_;
  std::map<std::string, int> twentieth_;
};

}  // namespace

std::unique_ptr<Screen> make_screen(const Voice& voice, const Clock& clock) {
  if (voice.json) return std::make_unique<JsonScreen>(voice);
  if (stdout_is_terminal() && !voice.verbose && !voice.quiet) return std::make_unique<LiveScreen>(voice, clock);
  return std::make_unique<PlainScreen>(voice);
}

std::string summary_sentence(const LineSummary& summary) {
  std::string causes;
  for (const auto& [name, boards] : summary.causes)
    causes += fmt::format("{}{} {}", causes.empty() ? "" : ", ", name, boards);
  std::string out = fmt::format("passed {}, failed {}{}, {:.1f} s", summary.passed, summary.failed,
                                causes.empty() ? "" : " (" + causes + ")", summary.seconds);
  if (summary.stopped_by) out += "; stopped: " + describe(*summary.stopped_by);
  if (summary.interrupted) out += "; interrupted";
  return out;
}

}  // namespace espmint::app
