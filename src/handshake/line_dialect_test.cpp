// The text hand-shake with a board that answers as the test tells it to, in virtual time.
#include "handshake/line_dialect.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "io/loop.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;
using Said = Greeting::Kind;
using Came = Delivery::Kind;

const LineDialect dialect;

constexpr std::string_view rom_text =
    "ets Jul 29 2019 12:21:46\r\n\r\nrst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n"
    "configsip: 0, SPIWP:0xee\r\nclk_drv:0x00,q_drv:0x00,d_drv:0x00,cs0_drv:0x00,hd_drv:0x00,wp_drv:0x00\r\n"
    "mode:DIO, clock div:2\r\nload:0x3fff0030,len:1344\r\nho 0 tail 12 room 4\r\nentry 0x400805f0\r\n"
    "\x1b[0;32mI (29) boot: ESP-IDF v5.1 2nd stage bootloader\x1b[0m\r\n";
const std::string address = "260B1234", network_key = "00112233445566778899AABBCCDDEEFF",
                  app_key = "FFEEDDCCBBAA99887766554433221100";
const std::string three_values =
    "devAddr: " + address + "\r\nnwkSKey: " + network_key + "\r\nappSKey: " + app_key + "\r\n";

std::vector<Secret> secrets(std::initializer_list<std::string_view> fields) {
  std::vector<Secret> out;
  for (std::string_view field : fields) out.emplace_back(to_bytes(field));
  return out;
}
std::vector<Secret> three_fields() { return secrets({address, network_key, app_key}); }
Secret three_line() { return key_line(three_fields()).value(); }

/// What the board says, and when; `hears` is told of each write.
class BoardPort final : public Port {
 public:
  explicit BoardPort(Clock& clock) : clock_(clock) {}
  void says(Duration at, std::string_view text) { pending_.emplace(Instant{at}, text); }
  void answers(Duration after, std::string_view text) { pending_.emplace(clock_.now() + after, text); }
  void prompts(Duration from, Duration until, std::string_view line = "Provisioning\r\n") {
    for (Duration at = from; at < until; at += 500ms) says(at, line);
  }
  void falls_silent() { pending_.clear(); }
  std::function<void(BoardPort&)> hears = [](BoardPort&) {};
  std::optional<Duration> gone_at;
  std::size_t piece = 4096;
  std::vector<std::string> written;
  std::vector<Instant> written_at;

  Task<Result<std::size_t>> read_some(ByteSpan into, Instant deadline) override {
    Instant next = pending_.empty() ? deadline : std::min(deadline, pending_.begin()->first);
    if (gone_at) next = std::min(next, Instant{*gone_at});
    if (next > clock_.now()) co_await clock_.sleep_until(next);
    if (gone_at && clock_.now() >= Instant{*gone_at})
      co_return fail({Code::port_gone, Remedy::reconnect, "the port is gone"});
    if (pending_.empty() || pending_.begin()->first > clock_.now()) co_return std::size_t{0};
    std::string& text = pending_.begin()->second;
    std::size_t count = std::min({into.size(), text.size(), piece});
    std::copy_n(text.begin(), count, into.begin());
    text.erase(0, count);
    if (text.empty()) pending_.erase(pending_.begin());
    co_return count;
  }
  Task<Result<void>> write(ByteView bytes, Instant) override {
    written.emplace_back(as_text(bytes));
    written_at.push_back(clock_.now());
    hears(*this);
    co_return ok();
  }
  Task<Result<void>> set_baud(Baud) override { co_return ok(); }
  Task<Result<void>> set_dtr(bool) override { co_return ok(); }
  Task<Result<void>> set_rts(bool) override { co_return ok(); }
  Task<Result<void>> set_dtr_rts(bool, bool) override { co_return ok(); }
  Task<Result<void>> discard_input() override { co_return ok(); }
  void close() override {}
  [[nodiscard]] const std::string& name() const override { return name_; }

 private:
  Clock& clock_;
  std::multimap<Instant, std::string> pending_;
  std::string name_ = "scripted";
};

struct Bench {
  VirtualLoop loop;
  BoardPort port{loop};
  LineDialect words;

  Result<Greeting> listens(std::size_t expected_values = 3, Duration deadline = 60s) {
    std::optional<Result<Greeting>> out;
    loop.run(do_listen(*this, expected_values, Instant{deadline}, out));
    return std::move(*out);
  }
  Result<Delivery> delivers(Duration deadline = 60s) {
    std::optional<Result<Delivery>> out;
    loop.run(do_deliver(*this, Instant{deadline}, out));
    return std::move(*out);
  }

 private:
  static Task<> do_listen(Bench& bench, std::size_t count, Instant deadline, std::optional<Result<Greeting>>& out) {
    out.emplace(co_await listen(bench.port, bench.loop, bench.words, count, deadline));
  }
  static Task<> do_deliver(Bench& bench, Instant deadline, std::optional<Result<Delivery>>& out) {
    const Secret line = three_line();
    out.emplace(co_await deliver(bench.port, bench.loop, bench.words, line, deadline));
  }
};

void expect_no_secret(const std::string& log) {
  for (const std::string& secret : {address, network_key, app_key})
    EXPECT_EQ(log.find(secret), std::string::npos) << log;
  for (char c : log) EXPECT_TRUE(c == '\n' || (c >= 0x20 && c < 0x7f)) << static_cast<int>(c);
  EXPECT_LE(log.size(), 4096u);
}

TEST(LineDialect, IsUsableOnlyWithTwoWordsAndAPattern) {
  EXPECT_TRUE(is_usable(dialect));
  for (std::string_view values : {"", "{name}", "{value}", "{name}{value}", "{name} {value}", "{value}: {name}",
                                  "{name}: {value}.", "{name}x{value}", "{name} is {value}", "{name}:"}) {
    LineDialect own;
    own.values = values;
    EXPECT_FALSE(is_usable(own)) << values;
  }
  LineDialect same;
  same.done = " Provisioning ";
  EXPECT_FALSE(is_usable(same));
  Bench bench;
  bench.words.prompt = "";
  for (const Result<Greeting>& refused : {bench.listens()}) {
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::recipe_invalid);
    EXPECT_EQ(refused.error().remedy, Remedy::refuse);
  }
  EXPECT_EQ(bench.delivers().error().code, Code::recipe_invalid);
}

TEST(Listen, HearsThePromptBehindTheBootLog) {
  Bench bench;
  bench.port.says(10ms, rom_text);
  bench.port.says(40ms, "I (312) app: started\r\n");
  bench.port.prompts(400ms, 2s);
  auto greeting = bench.listens();
  ASSERT_TRUE(greeting);
  EXPECT_EQ(greeting->kind, Said::prompt);
  EXPECT_EQ(greeting->boots, 1);
  EXPECT_FALSE(greeting->bootloader_talked);
  EXPECT_TRUE(greeting->values.empty());
  EXPECT_EQ(bench.loop.now(), Instant{400ms});
  EXPECT_NE(greeting->boot_log.find("rst:0x1 (POWERON_RESET),boot:0x13"), std::string::npos) << greeting->boot_log;
  EXPECT_NE(greeting->boot_log.find("I (29) boot: ESP-IDF v5.1 2nd stage bootloader"), std::string::npos);
}

TEST(Listen, HearsAWholePromptOnly) {
  Bench bench;
  bench.port.says(10ms, "ioning\r\nProvisio");
  bench.port.says(20ms, "ning");
  auto greeting = bench.listens(3, 1s);
  EXPECT_EQ(greeting->kind, Said::silent) << "its end has not come";
  EXPECT_EQ(bench.loop.now(), Instant{1s});
}

TEST(Listen, ReadsTheValuesByOrder) {
  for (std::size_t piece : {1u, 2u, 3u, 7u, 100u, 4096u}) {
    Bench bench;
    bench.port.piece = piece;
    bench.port.says(10ms, std::string{rom_text} + "Provisioned\r\n" + three_values + "more: than asked for\r\n");
    auto greeting = bench.listens();
    ASSERT_TRUE(greeting);
    EXPECT_EQ(greeting->kind, Said::provisioned);
    ASSERT_EQ(greeting->values.size(), 3u);
    EXPECT_EQ(greeting->values[0].first, "devAddr");
    EXPECT_EQ(first_difference(*greeting, three_fields()), std::nullopt);
    EXPECT_EQ(first_difference(*greeting, secrets({network_key, address, app_key})), 1u);
    EXPECT_EQ(first_difference(*greeting, secrets({address, app_key, network_key})), 2u);
    EXPECT_EQ(bench.loop.now(), Instant{10ms}) << "as soon as the last one came";
    expect_no_secret(greeting->boot_log);
    EXPECT_NE(greeting->boot_log.find("nwkSKey: ***"), std::string::npos) << greeting->boot_log;
  }
}

TEST(Listen, EveryCutOfTheAnswerIsReadTheSame) {
  const std::string answer = std::string{rom_text} + "Provisioned\r\n" + three_values;
  for (std::size_t cut = 0; cut <= answer.size(); ++cut) {
    Bench bench;
    bench.port.says(10ms, answer.substr(0, cut));
    bench.port.says(30ms, answer.substr(cut));
    auto greeting = bench.listens();
    ASSERT_EQ(greeting->kind, Said::provisioned) << cut;
    EXPECT_EQ(first_difference(*greeting, three_fields()), std::nullopt) << cut;
    EXPECT_EQ(greeting->boots, 1);
  }
}

TEST(Listen, AnAnswerThatEndsEarlyNeverReadsAsWhole) {
  const std::string answer = "Provisioned\r\n" + three_values;
  for (std::size_t end = 0; end + 1 < answer.size(); ++end) {
    Bench bench;
    bench.port.says(10ms, answer.substr(0, end));
    auto greeting = bench.listens();
    EXPECT_NE(first_difference(*greeting, three_fields()), std::nullopt) << end;
    expect_no_secret(greeting->boot_log);
    EXPECT_EQ(greeting->kind, end < 13 ? Said::silent : Said::provisioned) << end;
    EXPECT_EQ(bench.loop.now(), end < 13 ? Instant{60s} : Instant{5010ms}) << end;
  }
}

TEST(Listen, PassesOverLogsDumpsAndColours) {
  Bench bench;
  bench.port.says(10ms,
                  "\x1b[0;32mI (312) app: Provisioned\x1b[0m\r\n"
                  "I (330) wifi:mode : sta (24:d7:eb:12:34:56)\r\n"
                  "\x1b[0;32mdevAddr: " +
                      address +
                      "\x1b[0m\r\n"
                      "devAddr en bytes: 0x26, 0x0B, 0x12, 0x34\r\n"
                      "\r\nnwkSKey: " +
                      network_key + "\r\r\n");
  bench.port.says(3s, "nwkSKey en bytes: 0x00, 0x11\r\nappSKey: " + app_key + "\n");
  auto greeting = bench.listens();
  EXPECT_EQ(first_difference(*greeting, three_fields()), std::nullopt);
  expect_no_secret(greeting->boot_log);
  EXPECT_EQ(greeting->boot_log.find("0x26"), std::string::npos) << greeting->boot_log;
}

TEST(Listen, BlanksAtAValuesEndAreTheValues) {
  Bench bench;
  bench.port.says(10ms, "Provisioned\r\nKey1: abc \r\nKey2:  def\r\n");
  auto greeting = bench.listens(2);
  EXPECT_EQ(first_difference(*greeting, secrets({"abc ", " def"})), std::nullopt);
  EXPECT_EQ(first_difference(*greeting, secrets({"abc", " def"})), 1u);
  EXPECT_EQ(first_difference(*greeting, secrets({"abc ", "def"})), 2u);
}

TEST(Listen, NeverMixesTheValuesOfTwoBoots) {
  Bench bench;
  bench.port.says(10ms, "Provisioned\r\ndevAddr: " + address + "\r\n");
  bench.port.says(100ms, std::string{rom_text} + "nwkSKey: " + network_key + "\r\nappSKey: " + app_key + "\r\n");
  auto greeting = bench.listens(3, 2s);
  EXPECT_EQ(greeting->kind, Said::silent) << "it has not said `done` since the banner";
  EXPECT_TRUE(greeting->values.empty());

  Bench whole;
  whole.port.says(10ms, std::string{rom_text} + "Provisioned\r\nx: y\r\n");
  whole.port.says(100ms, std::string{rom_text} + "Provisioned\r\n" + three_values);
  greeting = whole.listens();
  EXPECT_EQ(first_difference(*greeting, three_fields()), std::nullopt);
  EXPECT_EQ(greeting->boots, 2);
}

TEST(Listen, ABannerRightBehindAPromptTakesItBack) {
  Bench bench;
  bench.port.says(10ms, "Provisioning\r\nrst:0x1 (POWERON),boot:0xc (SPI_FAST_FLASH_BOOT)\r\n");
  bench.port.says(700ms, "Provisioned\r\n" + three_values);
  auto greeting = bench.listens();
  EXPECT_EQ(greeting->kind, Said::provisioned);
  EXPECT_EQ(greeting->boots, 1);
}

TEST(Listen, ABoardThatSaysProvisionedAndPromptsAgainIsNotProvisioned) {
  Bench bench;
  bench.port.says(10ms, "Provisioned\r\n");
  bench.port.says(300ms, std::string{rom_text} + "Provisioning\r\n");
  EXPECT_EQ(bench.listens()->kind, Said::prompt);
  Bench quiet;
  quiet.port.says(10ms, "Provisioned\r\n");
  quiet.port.says(300ms, "Provisioning\r\n");
  EXPECT_EQ(quiet.listens()->kind, Said::prompt);
}

TEST(Listen, ValuesBeforeDoneDoNotCount) {
  Bench bench;
  bench.port.says(10ms, three_values + "Provisioned\r\n");
  auto greeting = bench.listens();
  EXPECT_EQ(greeting->kind, Said::provisioned);
  EXPECT_TRUE(greeting->values.empty());
  expect_no_secret(greeting->boot_log);
  EXPECT_EQ(first_difference(*greeting, three_fields()), 1u);
}

TEST(Listen, WithNoValueExpectedDoneIsEnough) {
  Bench bench;
  bench.port.says(10ms, "Provisioned\r\n");
  EXPECT_EQ(bench.listens(0)->kind, Said::provisioned);
  EXPECT_EQ(bench.loop.now(), Instant{10ms});
}

TEST(Listen, TellsABootloaderFromAnApplication) {
  Bench loader;
  loader.port.says(10ms, std::string{rom_text} + "I (31) boot: No bootable app partitions in the partition table\r\n");
  auto greeting = loader.listens(3, 2s);
  EXPECT_EQ(greeting->kind, Said::silent);
  EXPECT_TRUE(greeting->bootloader_talked);
  Bench app;
  app.port.says(10ms, std::string{rom_text} + "I (312) app: hello\r\n");
  EXPECT_FALSE(app.listens(3, 2s)->bootloader_talked);
  Bench dead;
  greeting = dead.listens(3, 2s);
  EXPECT_EQ(greeting->kind, Said::silent);
  EXPECT_FALSE(greeting->bootloader_talked);
  EXPECT_EQ(greeting->boot_log, "");
}

TEST(Listen, CountsTheBootsOfABoardThatKeepsRestarting) {
  Bench bench;
  for (int i = 0; i < 20; ++i) bench.port.says(std::chrono::milliseconds{100 * i}, rom_text);
  auto greeting = bench.listens(3, 5s);
  EXPECT_EQ(greeting->boots, 20);
  EXPECT_TRUE(greeting->bootloader_talked);
  expect_no_secret(greeting->boot_log);
}

TEST(Listen, SurvivesFloodsAndKeepsTheLogsTail) {
  Bench bench;
  std::string strange;
  for (int i = 0; i < 20'000; ++i) strange += static_cast<char>(i % 251);
  bench.port.says(10ms, std::string(200'000, 'x'));
  bench.port.says(20ms, "\n" + strange + "\n");
  bench.port.says(30ms, "Provisioned\r\n");
  for (int i = 0; i < 5'000; ++i) bench.port.says(40ms, "I (1) app: chatter\r\n");
  bench.port.says(50ms, "Key1: " + std::string(100'000, 'k') + "\r\n");
  bench.port.says(60ms, three_values + "last words");
  auto greeting = bench.listens();
  EXPECT_EQ(first_difference(*greeting, three_fields()), std::nullopt) << "a line too long is no value";
  expect_no_secret(greeting->boot_log);
  EXPECT_GT(greeting->boot_log.size(), 4000u);
}

TEST(Listen, ShowsNoKeyInWhateverFormItIsPrinted) {
  Bench bench;
  bench.port.says(10ms, network_key.substr(20) + "\r\n");  // the rest of a line
  bench.port.says(20ms, "I (330) app: appSKey: " + app_key + "\r\nstored " + network_key + " and " + app_key + ".\r\n");
  bench.port.says(30ms, "I (340) app: pin: 4711\r\nI (12) boot: chip revision: v3.0\r\ndevAddr: " + address);
  auto greeting = bench.listens(3, 1s);
  expect_no_secret(greeting->boot_log);
  EXPECT_EQ(greeting->boot_log.find(network_key.substr(20)), std::string::npos);
  EXPECT_EQ(greeting->boot_log.find("4711"), std::string::npos);
  EXPECT_NE(greeting->boot_log.find("chip revision: v3.0"), std::string::npos) << "the bootloader knows no key";
  EXPECT_NE(greeting->boot_log.find("stored *** and ***."), std::string::npos) << greeting->boot_log;
}

std::string hello_frame() {
  Bytes payload{1};
  append(payload, Mac{{0x24, 0xd7, 0xeb, 0x12, 0x34, 0x56}}.octets);
  append(payload, Bytes{0, 3, 5, '1', '.', '4', '.', '0'});
  return std::string{as_text(encode_frame(FrameType::hello, payload))};
}

TEST(Listen, HearsAHelloOfTheFramedDialectAndSaysNothing) {
  for (std::size_t piece : {1, 7, 4096}) {
    Bench bench;
    bench.port.piece = piece;
    bench.port.says(10ms, rom_text);
    bench.port.says(400ms, "I (312) app: started\r\n" + hello_frame());
    auto greeting = bench.listens();
    ASSERT_TRUE(greeting);
    ASSERT_EQ(greeting->kind, Said::framed);
    EXPECT_EQ(greeting->hello->firmware, "1.4.0");
    EXPECT_EQ(bench.loop.now(), Instant{400ms});
    EXPECT_TRUE(bench.port.written.empty()) << "to old firmware any byte is the start of a key";
  }
}

TEST(Listen, AHelloThatIsCutDoesNotSwallowTheNextOne) {
  Bench bench;
  bench.port.says(100ms, hello_frame().substr(0, 20));
  bench.port.says(600ms, hello_frame());
  EXPECT_EQ(bench.listens()->kind, Said::framed);
  EXPECT_EQ(bench.loop.now(), Instant{600ms});
}

TEST(Listen, OtherFramesAreNoHello) {
  Bench bench;
  bench.port.says(100ms, std::string{as_text(encode_frame(FrameType::hail, {}))});
  bench.port.prompts(400ms, 2s);
  EXPECT_EQ(bench.listens()->kind, Said::prompt);
}

TEST(Listen, HandsUpAPortThatVanishes) {
  Bench bench;
  bench.port.gone_at = 300ms;
  auto greeting = bench.listens();
  ASSERT_FALSE(greeting);
  EXPECT_EQ(greeting.error().code, Code::port_gone);
}

TEST(Deliver, SendsOneLineInOneWriteRightBehindAFreshPrompt) {
  Bench bench;
  bench.port.prompts(100ms, 1s);
  bench.port.hears = [](BoardPort& port) {
    port.falls_silent();
    port.answers(80ms, "Provisioned\r\n");
    port.answers(200ms, rom_text);
  };
  auto delivery = bench.delivers();
  ASSERT_TRUE(delivery);
  EXPECT_EQ(delivery->kind, Came::accepted);
  EXPECT_TRUE(delivery->sent);
  EXPECT_EQ(delivery->boots, 0);
  EXPECT_EQ(bench.port.written, std::vector<std::string>{address + "," + network_key + "," + app_key + "\r\n"});
  EXPECT_EQ(bench.port.written_at[0], Instant{100ms});
  EXPECT_EQ(bench.loop.now(), Instant{180ms});
}

TEST(Deliver, APromptFromTheBuffersDoesNotCount) {
  Bench bench;
  bench.port.says(0ms, "Provisioning\r\nProvisioning\r\n");
  bench.port.says(20ms, "Provisioning\r\n");  // still on its way when the call began
  auto delivery = bench.delivers(5s);
  EXPECT_EQ(delivery->kind, Came::silent);
  EXPECT_FALSE(delivery->sent);
  EXPECT_TRUE(bench.port.written.empty());
  EXPECT_EQ(bench.loop.now(), Instant{5s});
}

TEST(Deliver, EveryCutOfAPromptIsOnePrompt) {
  const std::string prompt = "\x1b[0;32mI (312) app: Provisioning\x1b[0m\r\n";
  for (std::size_t cut = 0; cut <= prompt.size(); ++cut) {
    Bench bench;
    bench.port.says(100ms, prompt.substr(0, cut));
    bench.port.says(130ms, prompt.substr(cut));
    bench.port.hears = [](BoardPort& port) { port.answers(10ms, "Provisioned\r\n"); };
    EXPECT_EQ(bench.delivers(5s)->kind, Came::accepted) << cut;
    EXPECT_EQ(bench.port.written.size(), 1u);
    EXPECT_EQ(bench.port.written_at[0], cut == prompt.size() ? Instant{100ms} : Instant{130ms}) << cut;
  }
}

TEST(Deliver, SendsNothingWhereABoardBoots) {
  for (std::string_view sign :
       {"rst:0x1 (POWERON),boot:0xc (SPI_FAST_FLASH_BOOT)\r\n", "WERON),boot:0xc (SPI_FAST_FLASH_BOOT)\r\n",
        "load:0x3fff0030,len:1344\r\n", "I (29) boot: ESP-IDF v5.1 2nd stage bootloader\r\n", "Provisioned\r\n"}) {
    // In the buffers, before the prompt, right behind it, and behind it in the same read.
    for (Duration at : {0ms, 90ms, 100ms}) {
      Bench bench;
      bench.port.says(at, sign);
      bench.port.prompts(100ms, 3s);
      auto delivery = bench.delivers();
      EXPECT_EQ(delivery->kind, Came::board_restarted) << sign;
      EXPECT_FALSE(delivery->sent);
      EXPECT_TRUE(bench.port.written.empty());
    }
    Bench bench;
    bench.port.says(100ms, "Provisioning\r\n" + std::string{sign} + "Provisioning\r\n");
    EXPECT_EQ(bench.delivers()->kind, Came::board_restarted) << sign;
    EXPECT_TRUE(bench.port.written.empty());
  }
}

TEST(Deliver, WaitsForTheNextPromptWhereMoreTextFollows) {
  Bench bench;
  bench.port.says(100ms, "Provisioning\r\nrst:0x1 (POW");
  bench.port.says(600ms, "ERON),boot:0xc (SPI_FAST_FLASH_BOOT)\r\n");
  EXPECT_EQ(bench.delivers()->kind, Came::board_restarted);
  EXPECT_TRUE(bench.port.written.empty());

  Bench just_behind;  // a read of its own, at the same moment
  just_behind.port.says(100ms, "Provisioning\r\n");
  just_behind.port.says(100ms, "rst:0x1 (POW");
  just_behind.port.says(600ms, "ERON),boot:0xc (SPI_FAST_FLASH_BOOT)\r\n");
  EXPECT_EQ(just_behind.delivers()->kind, Came::board_restarted);
  EXPECT_TRUE(just_behind.port.written.empty());

  Bench chatty;
  chatty.port.says(100ms, "Provisioning\r\nwaiting for k");
  chatty.port.says(300ms, "eys\r\n");
  chatty.port.says(600ms, "Provisioning\r\nwaiting for keys\r\n");
  chatty.port.hears = [](BoardPort& port) { port.answers(10ms, "Provisioned\r\n"); };
  EXPECT_EQ(chatty.delivers()->kind, Came::accepted);
  EXPECT_EQ(chatty.port.written_at, std::vector<Instant>{Instant{600ms}}) << "at 300 ms the prompt is no longer fresh";
}

TEST(Deliver, IsSilentForABoardThatNeverPromptsOrNeverAnswers) {
  Bench mute;
  auto delivery = mute.delivers(60s);
  EXPECT_EQ(delivery->kind, Came::silent);
  EXPECT_FALSE(delivery->sent);
  EXPECT_EQ(mute.loop.now(), Instant{60s});

  Bench deaf;
  deaf.port.says(100ms, "Provisioning\r\n");
  delivery = deaf.delivers(60s);
  EXPECT_EQ(delivery->kind, Came::silent);
  EXPECT_TRUE(delivery->sent);
  EXPECT_EQ(deaf.loop.now(), Instant{30'100ms});
  EXPECT_EQ(deaf.port.written.size(), 1u);
}

TEST(Deliver, NeverSendsTwiceToABoardThatPromptsAgain) {
  Bench bench;
  bench.port.prompts(100ms, 60s);
  auto delivery = bench.delivers();
  EXPECT_EQ(delivery->kind, Came::prompted_again);
  EXPECT_TRUE(delivery->sent);
  EXPECT_EQ(bench.port.written.size(), 1u);
  EXPECT_EQ(bench.loop.now(), Instant{3100ms});
}

TEST(Deliver, ARefusalEndsTheWait) {
  Bench bench;
  bench.port.says(100ms, "Provisioning\r\n");
  bench.port.hears = [](BoardPort& port) { port.answers(20ms, "Refused: 3 fields are wanted\r\n"); };
  auto delivery = bench.delivers();
  EXPECT_EQ(delivery->kind, Came::prompted_again);
  EXPECT_EQ(bench.loop.now(), Instant{120ms});
  EXPECT_NE(delivery->boot_log.find("Refused: 3 fields are wanted"), std::string::npos) << delivery->boot_log;
}

TEST(Deliver, APromptThatCrossedTheLineIsNoRefusal) {
  Bench bench;
  bench.port.prompts(100ms, 1200ms);
  bench.port.says(1500ms, "Provisioned\r\n");
  EXPECT_EQ(bench.delivers()->kind, Came::accepted);
  EXPECT_EQ(bench.loop.now(), Instant{1500ms});
}

TEST(Deliver, APromptAfterARestartIsARefusal) {
  Bench bench;
  bench.port.says(100ms, "Provisioning\r\n");
  bench.port.says(400ms, rom_text);
  bench.port.says(900ms, "Provisioning\r\n");
  auto delivery = bench.delivers();
  EXPECT_EQ(delivery->kind, Came::prompted_again);
  EXPECT_EQ(delivery->boots, 1);
  EXPECT_EQ(bench.loop.now(), Instant{900ms});
}

TEST(Deliver, DoneAfterTheRestartIsAcceptedToo) {
  Bench bench;
  bench.port.says(100ms, "Provisioning\r\n");
  bench.port.says(400ms, rom_text);
  bench.port.says(900ms, "Provisioned\r\n");
  auto delivery = bench.delivers();
  EXPECT_EQ(delivery->kind, Came::accepted);
  EXPECT_EQ(delivery->boots, 1);
}

TEST(Deliver, ShowsNothingOfWhatItSentEvenWhenItIsEchoed) {
  Bench bench;
  bench.port.says(100ms, "Provisioning\r\n");
  bench.port.hears = [](BoardPort& port) {
    port.answers(10ms, port.written[0]);
    port.answers(20ms,
                 "got <" + address + "> and " + network_key.substr(0, 16) + "\r" + network_key.substr(16) + "\r\n");
    port.answers(25ms, "cut <" + address.substr(0, 4) + "\r" + address.substr(4) + ">\r\n");
    port.answers(30ms, "partly " + app_key);
  };
  auto delivery = bench.delivers();
  expect_no_secret(delivery->boot_log);
  EXPECT_NE(delivery->boot_log.find("cut <***>"), std::string::npos) << delivery->boot_log;
  EXPECT_NE(delivery->boot_log.find("got <***> and ***"), std::string::npos) << delivery->boot_log;
}

TEST(Deliver, HandsUpAPortThatVanishes) {
  Bench bench;
  bench.port.says(100ms, "Provisioning\r\n");
  bench.port.gone_at = 400ms;
  auto delivery = bench.delivers();
  ASSERT_FALSE(delivery);
  EXPECT_EQ(delivery.error().code, Code::port_gone);
  EXPECT_EQ(bench.port.written.size(), 1u);
}

}  // namespace
}  // namespace espmint
