#include "io/program.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include "io/file.hpp"
#include "io/loop.hpp"
#include "io/test_folder.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;

Task<> run_into(Program program, std::optional<Result<Secret>>& out) {
  out.emplace(co_await run_program(std::move(program)));
}

Result<Secret> run(Program program) {
  RealLoop loop;
  std::optional<Result<Secret>> out;
  loop.run(run_into(std::move(program), out));
  return std::move(*out);
}
Program shell(std::string script) { return {{"sh", "-c", std::move(script)}}; }

std::string output_of(Program program) {
  const auto output = run(std::move(program));
  return output ? std::string{as_text(output->reveal())} : "fault: " + describe(output.error());
}
std::string fault_of(Program program) {
  const auto output = run(std::move(program));
  return output ? "no fault" : describe(output.error());
}

TEST(RunProgram, GivesWhatItPrints) {
  EXPECT_EQ(output_of({{"printf", "%s-%s", "a b", "$HOME;*"}}), "a b-$HOME;*");
  EXPECT_EQ(output_of({{"true"}}), "");
  EXPECT_EQ(output_of(shell("head -c 60000 /dev/zero | tr '\\0' x")), std::string(60000, 'x'));
}

TEST(RunProgram, GivesItNoInputNoTerminalAndNoneOfOurFiles) {
  EXPECT_EQ(output_of({{"cat"}}), "");
  EXPECT_NE(fault_of(shell("exec 2>/dev/null; cat < /dev/tty")).find("ended with status"), std::string::npos);
  const int ours = ::dup(0);
  EXPECT_EQ(output_of(shell("ls /proc/self/fd | wc -l")), "4\n");  // ls reads the folder by the fourth
  ::close(ours);
}

TEST(RunProgram, SaysHowItFailedAndQuotesNothing) {
  EXPECT_NE(fault_of({{"espmint-no-such-program"}}).find("espmint-no-such-program"), std::string::npos);
  EXPECT_NE(fault_of({{"espmint-no-such-program"}}).find("No such file"), std::string::npos);
  const std::string fault = fault_of(shell("echo key; exit 7"));
  EXPECT_NE(fault.find("status 7"), std::string::npos) << fault;
  EXPECT_EQ(fault.find("key"), std::string::npos) << fault;
  EXPECT_NE(fault_of(shell("kill -9 $$")).find("signal 9"), std::string::npos);
  EXPECT_NE(fault_of({{}}).find("no program"), std::string::npos);
}

TEST(RunProgram, EndsWhatPrintsWithoutEnd) {
  EXPECT_NE(fault_of({{"yes"}, 5s, 1000}).find("more than 1000 bytes"), std::string::npos);
  EXPECT_EQ(output_of({{"printf", "%01000d", "0"}, 5s, 1000}).size(), 1000u);
}

TEST(RunProgram, EndsWhatTakesTooLongWithAllItStarted) {
  TestFolder folder;
  const auto start = steady_now();
  for (const std::string script : {"sleep 30", "sleep 30 & sleep 30", "exec >&-; sleep 30"}) {
    Program program = shell(script);
    program.timeout = 100ms;
    EXPECT_NE(fault_of(std::move(program)).find("longer than 0.1 s"), std::string::npos) << script;
  }
  EXPECT_LT(steady_now() - start, 5s);
  const std::string late = (folder / "late").string();
  Program program = shell("(sleep 0.4; touch " + late + ") & sleep 30");
  program.timeout = 100ms;
  EXPECT_NE(fault_of(std::move(program)), "no fault");
  ::usleep(600'000);
  EXPECT_FALSE(std::filesystem::exists(late));
}

Task<> leave_behind(RealLoop& loop, Program program, std::optional<Result<Secret>>& out) {
  loop.spawn(run_into(std::move(program), out));
  co_await loop.sleep_for(50ms);
}

TEST(RunProgram, EndsItsProgramWithTheLoop) {
  std::optional<Result<Secret>> out;
  const auto start = steady_now();
  {
    RealLoop loop;
    loop.run(leave_behind(loop, shell("sleep 30"), out));
  }
  EXPECT_FALSE(out);
  EXPECT_LT(steady_now() - start, 5s);
}

TEST(CommandLine, IsSplitAsAShellWouldWithoutExpanding) {
  using Words = std::vector<std::string>;
  const auto words = [](std::string_view line) {
    auto split = split_command_line(line);
    return split ? *split : Words{"fault"};
  };
  EXPECT_EQ(words("aws configure  export-credentials\t--profile x\n"),
            (Words{"aws", "configure", "export-credentials", "--profile", "x"}));
  EXPECT_EQ(words(R"("/opt/my tools/keys" 'a b'c "" $HOME *)"),
            (Words{"/opt/my tools/keys", "a bc", "", "$HOME", "*"}));
  EXPECT_EQ(words(R"(a\ b "c\"d\\e\f" 'g\h' i\"j # k)"), (Words{"a b", R"(c"d\e\f)", R"(g\h)", "i\"j", "#", "k"}));
  for (const std::string line : {"", "  ", "a 'b", "a \"b", "a\\", "'' a"})
    EXPECT_EQ(words(line), Words{"fault"}) << line;
  EXPECT_EQ(words(std::string_view{"a\0b", 3}), Words{"fault"});
}

}  // namespace
}  // namespace espmint
