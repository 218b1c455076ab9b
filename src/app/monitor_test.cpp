// What a board says, from bytes to lines; and listening to virtual boards in virtual time.
#include "app/monitor.hpp"

#include <gtest/gtest.h>

#include "io/loop.hpp"
#include "io/returning_port.hpp"
#include "sim/virtual_port.hpp"

namespace espmint::app {
namespace {

using namespace std::chrono_literals;

std::vector<std::string> texts(const std::vector<HeardLine>& lines) {
  std::vector<std::string> out;
  for (const HeardLine& line : lines) out.push_back(line.text);
  return out;
}
using Texts = std::vector<std::string>;

TEST(LineCutter, CutsAtLineEndsOfBothKindsHoweverTheBytesCome) {
  LineCutter cutter;
  EXPECT_EQ(texts(cutter.push(as_bytes("one\r\ntw"))), Texts{"one"});
  EXPECT_EQ(texts(cutter.push(as_bytes("o\n\nthree\r"))), (Texts{"two", ""}));
  EXPECT_EQ(texts(cutter.push(as_bytes("\n"))), Texts{"three"});
  EXPECT_FALSE(cutter.take_rest());
}

TEST(LineCutter, GivesAnUnfinishedLineWhenAskedAndCutsAnEndlessOne) {
  LineCutter cutter;
  EXPECT_TRUE(cutter.push(as_bytes("login: ")).empty());
  auto rest = cutter.take_rest();
  ASSERT_TRUE(rest);
  EXPECT_EQ(rest->text, "login: ");
  EXPECT_FALSE(rest->whole);
  auto lines = cutter.push(Bytes(LineCutter::longest + 1, 'x'));
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0].text.size(), LineCutter::longest);
  EXPECT_FALSE(lines[0].whole);
}

TEST(ShowHeard, LetsNoControlCharacterThrough) {
  EXPECT_EQ(show_heard("a\x07\x1b]0;title\x07z\x7f", true), "a\\x07\\x1b]0;title\\x07z\\x7f");
  EXPECT_EQ(show_heard("\x1b[2J\x1b[H", true), "\\x1b[2J\\x1b[H");
  EXPECT_EQ(show_heard("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\tend", false),
            "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\tend");
  EXPECT_EQ(show_heard("\xc2\x9b"
                       "31m",
                       true),
            "\\xc2\\x9b31m")
      << "a control character of the second kind";
  EXPECT_EQ(show_heard("\xe2\x80\xae"
                       "txt",
                       true),
            "\\xe2\\x80\\xaetxt")
      << "text from right to left";
  EXPECT_EQ(show_heard("\xff\xc0\xaf\xe2\x82", true), "\\xff\\xc0\\xaf\\xe2\\x82") << "no UTF-8";
}

TEST(ShowHeard, KeepsColoursWhereTheyAreSeenAndEndsThemWithTheLine) {
  EXPECT_EQ(show_heard("\x1b[0;32mI (23) boot\x1b[0m", false), "I (23) boot");
  EXPECT_EQ(show_heard("\x1b[0;31mE (23) boot", true), "\x1b[0;31mE (23) boot\x1b[0m");
  EXPECT_EQ(show_heard("\x1b[0;31", true), "\\x1b[0;31");
  EXPECT_EQ(without_colours("\x1b[0;32mI (23) boot\x1b[0m"), "I (23) boot");
}

TEST(Patterns, FindAnyOfSeveralAndNameTheOneThatIsNone) {
  auto patterns = Patterns::parse({"^E \\(", "heap"});
  ASSERT_TRUE(patterns);
  EXPECT_TRUE(patterns->match("E (12) wifi: no"));
  EXPECT_TRUE(patterns->match("I (12) heap_init"));
  EXPECT_FALSE(patterns->match("I (12) E (13)"));
  auto wrong = Patterns::parse({"good", "(bad"});
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, Code::usage);
  EXPECT_NE(wrong.error().what.find("(bad"), std::string::npos);
}

/// Everything that was told, as text.
struct Notebook final : MonitorEar {
  Bytes raw;
  std::vector<std::string> lines;
  int gone = 0, back = 0;
  void on_bytes(ByteView bytes) override { append(raw, bytes); }
  void on_line(const HeardLine& line, Duration) override { lines.push_back(line.text); }
  void on_gone(const Fault&) override { ++gone; }
  void on_back(const PortReturn&, const std::string&) override { ++back; }
};

/// A virtual board with blank flash: its ROM prints its banner and complains, again and again.
struct Table {
  VirtualLoop loop;
  sim::VirtualPorts ports{loop};
  Notebook ear;
  bool stop = false;
  explicit Table(sim::BoardOptions options = {}) { ports.add("a", std::move(options), 1024 * 1024); }

  static Task<> open_and_listen(Table& table, const MonitorPlan& plan, std::optional<Result<MonitorEnd>>& end) {
    auto opened = co_await table.ports.open("a");
    ReturningPort port{table.ports, table.loop, {.name = "a", .location = "a"}, std::move(*opened)};
    end = co_await monitor(port, table.loop, plan, table.ear, table.stop);
  }
  Result<MonitorEnd> listen(const MonitorPlan& plan) {
    std::optional<Result<MonitorEnd>> end;
    loop.run(open_and_listen(*this, plan, end));
    return *end;
  }
};

MonitorPlan plan_until(const std::string& pattern, Duration limit = 10s) {
  MonitorPlan plan;
  plan.reset = true;
  plan.limit = limit;
  plan.until = *Patterns::parse({pattern});
  return plan;
}

TEST(Monitor, ResetsListensAndEndsAtTheLineThatWasLookedFor) {
  Table table;
  auto end = table.listen(plan_until("rst:"));
  ASSERT_TRUE(end) << describe(end.error());
  EXPECT_EQ(end->why, MonitorEnd::Why::matched);
  EXPECT_NE(end->line.find("boot:"), std::string::npos);
  ASSERT_FALSE(table.ear.lines.empty());
  EXPECT_EQ(table.ear.lines.back(), end->line);
  EXPECT_NE(as_text(table.ear.raw).find("\r\n"), std::string::npos) << "the log has the bytes as they came";
}

TEST(Monitor, EndsWhenTheTimeIsOver) {
  Table table;
  auto end = table.listen(plan_until("never said", 3s));
  ASSERT_TRUE(end);
  EXPECT_EQ(end->why, MonitorEnd::Why::time_over);
  EXPECT_EQ(table.loop.now().time_since_epoch(), 3s);
}

TEST(Monitor, ShowsOnlyWhatIsWanted) {
  Table table;
  MonitorPlan plan = plan_until("never said", 3s);
  plan.only = *Patterns::parse({"rst:", "invalid"});
  plan.without = *Patterns::parse({"invalid"});
  ASSERT_TRUE(table.listen(plan));
  ASSERT_FALSE(table.ear.lines.empty());
  for (const std::string& line : table.ear.lines) {
    EXPECT_NE(line.find("rst:"), std::string::npos) << line;
    EXPECT_EQ(line.find("invalid"), std::string::npos) << line;
  }
}

TEST(Monitor, SurvivesAPortThatGoesWithTheResetAndComesBack) {
  Table table{{.native_usb = {.away = 300ms}}};
  auto end = table.listen(plan_until("invalid header"));
  ASSERT_TRUE(end) << describe(end.error());
  EXPECT_EQ(end->why, MonitorEnd::Why::matched) << as_text(table.ear.raw);
  EXPECT_GE(table.ear.gone, 1);
  EXPECT_EQ(table.ear.gone, table.ear.back);
}

Task<> pull_and_plug(Table& table) {
  co_await table.loop.sleep_for(1s);
  table.ports.unplug("a");
  co_await table.loop.sleep_for(20s);
  table.ports.plug("a");
}

TEST(Monitor, WaitsForAnUnpluggedBoardAsLongAsItTakes) {
  Table table;
  MonitorPlan plan = plan_until("never said", 30s);
  plan.reset = false;
  table.loop.spawn(pull_and_plug(table));
  auto end = table.listen(plan);
  ASSERT_TRUE(end) << describe(end.error());
  EXPECT_EQ(table.ear.gone, 1);
  EXPECT_EQ(table.ear.back, 1);
  EXPECT_EQ(end->why, MonitorEnd::Why::time_over);
}

Task<> stop_after(Table& table, Duration pause) {
  co_await table.loop.sleep_for(pause);
  table.stop = true;
}

TEST(Monitor, StopsWhenAsked) {
  Table table;
  table.loop.spawn(stop_after(table, 2s));
  MonitorPlan plan;
  auto end = table.listen(plan);
  ASSERT_TRUE(end);
  EXPECT_EQ(end->why, MonitorEnd::Why::stopped);
  EXPECT_LT(table.loop.now().time_since_epoch(), 3s);
}

}  // namespace
}  // namespace espmint::app
