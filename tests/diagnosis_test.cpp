// Every symptom of a virtual board, and the sentence that a person gets for it within five seconds of virtual time.
#include <gtest/gtest.h>

#include "io/loop.hpp"
#include "rom/connect.hpp"
#include "rom/identify.hpp"
#include "sim/virtual_port.hpp"
#include "tests/bench.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;
using sim::Symptom;

struct Sick {
  friend void PrintTo(const Sick& sick, std::ostream* out) { *out << sick.chip << ": " << sick.says; }
  Symptom symptom;
  Code code;
  std::string_view says;
  std::string_view chip = "esp32";
  bool reset = true;
};

/// As `board info` does: connect, identify, ask the flash for its id.
Task<> look(sim::VirtualPorts& ports, Clock& clock, bool reset, Result<void>& end) {
  auto opened = co_await ports.open("a");
  if (!opened) {
    end = fail(opened.error());
    co_return;
  }
  Loader loader{**opened, clock};
  end = co_await connect(loader, {.reset = reset});
  if (!end) co_return;
  auto board = co_await identify(loader);
  if (!board) {
    end = fail(board.error());
    co_return;
  }
  BoardInfo info = *board;
  end = co_await read_flash_id(loader, info);
}

class Diagnosed : public testing::TestWithParam<Sick> {};

TEST_P(Diagnosed, WithinFiveSeconds) {
  const Sick& sick = GetParam();
  for (std::string_view preset : {"fast", "instant"}) {
    VirtualLoop loop;
    sim::VirtualPorts ports{loop};
    ports.add("a", {.chip = std::string{sick.chip}, .preset = std::string{preset}, .seed = 11, .symptom = sick.symptom},
              4_MiB);
    const Instant start = loop.now();
    Result<void> end;
    loop.run(look(ports, loop, sick.reset, end));
    ASSERT_FALSE(end) << preset;
    EXPECT_EQ(name_of(end.error().code), name_of(sick.code)) << preset << ": " << describe(end.error());
    EXPECT_NE(describe(end.error()).find(sick.says), std::string::npos) << preset << ": " << describe(end.error());
    EXPECT_EQ(end.error().remedy == Remedy::stop_line, false);
    EXPECT_LE(loop.now() - start, 5s) << preset;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Symptoms, Diagnosed,
    testing::Values(
        Sick{Symptom::silent, Code::board_silent, "not a single byte came back"},
        Sick{Symptom::tx_broken, Code::board_deaf, "Check the TX wire"},
        Sick{Symptom::tx_broken, Code::board_deaf, "Check the TX wire", "esp32c3"},
        Sick{Symptom::echo, Code::line_echo, "TX and RX are joined"},
        Sick{Symptom::noise, Code::noisy_line, "only noise comes at 115200 baud"},
        Sick{Symptom::wrong_boot_mode, Code::board_not_in_download_mode, "BOOT pin (GPIO0) is not wired to DTR"},
        Sick{Symptom::wrong_boot_mode, Code::board_not_in_download_mode, "BOOT pin (GPIO9) is not wired to DTR",
             "esp32c3"},
        Sick{Symptom::second_strap, Code::board_not_in_download_mode, "GPIO2 must be low or open"},
        Sick{Symptom::second_strap, Code::board_not_in_download_mode, "GPIO8 must be high", "esp32c3"},
        Sick{Symptom::second_strap, Code::board_not_in_download_mode, "GPIO46 must be low or open", "esp32s3"},
        Sick{Symptom::no_reset_wire, Code::no_reset_lines, "RTS is not wired to EN"},
        Sick{Symptom::crash_loop, Code::board_not_in_download_mode, "which crashes"},
        Sick{Symptom::brown_out, Code::brown_out, "the board's supply voltage breaks down"},
        Sick{Symptom::brown_out, Code::brown_out, "the board's supply voltage breaks down", "esp32s3"},
        Sick{Symptom::flash_dead, Code::flash_unknown, "solder joints"},
        Sick{Symptom::flash_dead, Code::flash_unknown, "solder joints", "esp32c3"},
        Sick{Symptom::flash_unread, Code::flash_unknown, "cannot read its flash"},
        Sick{Symptom::voltage_strap, Code::voltage_strap, "GPIO12 (MTDI) is high"},
        Sick{Symptom::voltage_strap, Code::voltage_strap, "GPIO12 (MTDI) is high", "esp32", false},
        Sick{Symptom::gps, Code::foreign_device, "a GPS receiver is on this port"}),
    [](const testing::TestParamInfo<Sick>& one) {
      std::string name;
      for (const sim::SymptomRow& row : sim::all_symptoms())
        if (row.symptom == one.param.symptom) name = row.name;
      std::replace(name.begin(), name.end(), '-', '_');
      return name + "_" + std::string{one.param.chip} + (one.param.reset ? "" : "_no_reset");
    });

TEST(Diagnosis, EverySymptomOfTheVirtualBoardHasAName) {
  for (const sim::SymptomRow& row : sim::all_symptoms()) EXPECT_EQ(sim::symptom_named(row.name), row.symptom);
  EXPECT_FALSE(sim::symptom_named("measles"));
}

TEST(Diagnosis, ASlotThatMetOneGoesOnWithTheNextBoard) {
  Bench bench{Seed{41}};
  bench.plug_in("a", {.symptom = Symptom::brown_out});
  LineSummary summary = bench.run({.ports = {"a"}, .count = 1}, 20s);
  EXPECT_EQ(summary.failed, 1u);
  ASSERT_TRUE(bench.listener.done["a"].front().fault);
  EXPECT_EQ(bench.listener.done["a"].front().fault->code, Code::brown_out);
  EXPECT_LE(bench.listener.done["a"].front().record.seconds, 5.0);
}

/// Seconds from port ready to verdict of the good boards, in the order of their slots.
std::vector<double> cycles(Symptom eighth) {
  Bench bench{Seed{42}};
  std::vector<std::string> slots;
  for (int i = 0; i < 7; ++i) slots.push_back("good" + std::to_string(i));
  for (const std::string& slot : slots) bench.plug_in(slot, {.preset = "fast"});
  LineOptions options{.ports = slots, .count = 7};
  if (eighth != Symptom::none) {
    bench.plug_in("hostile", {.preset = "fast", .symptom = eighth});
    options.ports.push_back("hostile");
    options.count = 8;
  }
  bench.run(options);
  std::vector<double> seconds;
  for (const std::string& slot : slots) {
    const RunOutcome& outcome = bench.listener.done[slot].front();
    EXPECT_EQ(outcome.verdict, Verdict::verified) << (outcome.fault ? describe(*outcome.fault) : "");
    seconds.push_back(outcome.record.seconds);
  }
  return seconds;
}

TEST(Line, SevenGoodBoardsAreNotSlowedByAHostileEighth) {
  const std::vector<double> alone = cycles(Symptom::none);
  for (Symptom hostile :
       {Symptom::silent, Symptom::noise, Symptom::echo, Symptom::brown_out, Symptom::crash_loop, Symptom::gps}) {
    const std::vector<double> beside = cycles(hostile);
    for (std::size_t i = 0; i < alone.size(); ++i)
      EXPECT_LE(beside[i], alone[i] * 1.05) << "board " << i << " beside symptom " << static_cast<int>(hostile);
  }
}

}  // namespace
}  // namespace espmint
