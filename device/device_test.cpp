#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "device/include/espmint_device.hpp"
#include "device/src/frame.hpp"
#include "device/src/hashes.hpp"

namespace espmint::device {
namespace {

using Octets = std::vector<std::uint8_t>;

constexpr const char* names[]{"key1", "key2",  "key3",  "key4",  "key5",  "key6",  "key7",  "key8",
                              "key9", "key10", "key11", "key12", "key13", "key14", "key15", "key16"};

Octets bytes_of(std::string_view text) { return {text.begin(), text.end()}; }

Octets octets(std::string_view hex) {
  auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  Octets out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    out.push_back(static_cast<std::uint8_t>(digit(hex[i]) << 4 | digit(hex[i + 1])));
  return out;
}

std::string hex(const Octets& bytes) {
  std::string out;
  for (std::uint8_t byte : bytes) {
    out += "0123456789abcdef"[byte >> 4];
    out += "0123456789abcdef"[byte & 15];
  }
  return out;
}

/// Flash that can lose its power after so many writes.
struct Memory final : Storage {
  std::vector<std::string> fields;
  bool done = false, locked = false;
  int writes_left = 1000;
  int commits = 0;
  bool forgetful = false;

  bool write() { return writes_left-- > 0; }
  State state() override { return !done ? State::unprovisioned : locked ? State::locked : State::provisioned; }
  int read(std::size_t index, std::uint8_t* into) override {
    if (index >= fields.size() || fields[index].size() > max_field_bytes) return -1;
    std::copy(fields[index].begin(), fields[index].end(), into);
    return static_cast<int>(fields[index].size());
  }
  bool commit(const View* views, std::size_t count) override {
    ++commits;
    fields.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
      if (!write()) return false;
      fields[i].assign(views[i].data, views[i].data + views[i].size);
    }
    if (!write()) return false;
    if (!forgetful) done = true;
    return true;
  }
  bool lock() override { return locked = write(); }
};

struct Recorder final : SerialLine {
  Octets heard;
  void write(View bytes) override { heard.insert(heard.end(), bytes.data, bytes.data + bytes.size); }
};

struct App final : Application {
  int restarts = 0;
  void restart() override { ++restarts; }
  std::size_t selftest(SelftestValue* into, std::size_t) override {
    into[0] = {"vbat_mv", 3301};
    into[1] = {"temp_dc", -12};
    return 2;
  }
};

/// A board whose memory outlives its restarts.
struct Board {
  explicit Board(Dialect chosen, std::size_t wanted = 3) : dialect(chosen), fields(wanted) { restart(); }

  void restart() {
    provisioner.reset(new Provisioner{Options{dialect, names, fields, {0x24, 0xd7, 0xeb, 0x12, 0x34, 0x56}, "1.4.0"},
                                      memory, wire, app});
  }
  void wait(std::uint32_t span) {
    for (std::uint32_t i = 0; i < span; i += 10) provisioner->poll(now += 10);
  }
  Octets say(const Octets& bytes) {
    wire.heard.clear();
    provisioner->receive(bytes.data(), bytes.size());
    return wire.heard;
  }
  std::string say(std::string_view text) {
    Octets answer = say(bytes_of(text));
    return {answer.begin(), answer.end()};
  }
  std::string hear(std::uint32_t span) {
    wire.heard.clear();
    wait(span);
    return {wire.heard.begin(), wire.heard.end()};
  }

  Dialect dialect;
  std::size_t fields;
  Memory memory;
  Recorder wire;
  App app;
  std::uint32_t now = 0xffff'f000;  // wraps after four seconds
  std::unique_ptr<Provisioner> provisioner;
};

// --- hashes ---------------------------------------------------------------------------------------------------------

std::string sha256(const Octets& bytes) {
  Sha256 hash;
  hash.add(bytes.data(), bytes.size());
  Octets digest(32);
  hash.finish(digest.data());
  return hex(digest);
}

// Source: NIST, Cryptographic Standards and Guidelines, examples of SHA-256; the million of "a" is FIPS 180-2's.
TEST(Hashes, Sha256GivesThePublishedDigests) {
  EXPECT_EQ(sha256({}), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256(bytes_of("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256(bytes_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256(Octets(1'000'000, 'a')), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Hashes, Sha256DoesNotCareAboutThePieces) {
  Octets bytes;
  for (int i = 0; i < 300; ++i) bytes.push_back(static_cast<std::uint8_t>(i * 7));
  for (std::size_t piece : {1u, 55u, 56u, 63u, 64u, 65u, 128u}) {
    Sha256 hash;
    for (std::size_t at = 0; at < bytes.size(); at += piece)
      hash.add(bytes.data() + at, std::min(piece, bytes.size() - at));
    Octets digest(32);
    hash.finish(digest.data());
    EXPECT_EQ(hex(digest), sha256(bytes)) << piece;
  }
}

TEST(Hashes, Crc32GivesTheCheckValue) {
  Octets check = bytes_of("123456789");
  EXPECT_EQ(crc32(check.data(), check.size()), 0xcbf4'3926u);
  EXPECT_EQ(crc32(nullptr, 0), 0u);
}

// --- the line dialect -----------------------------------------------------------------------------------------------

TEST(Line, PromptsTwiceASecond) {
  Board board{Dialect::line};
  EXPECT_EQ(board.hear(1100), "Provisioning\r\nProvisioning\r\nProvisioning\r\n");
  EXPECT_EQ(board.hear(5000).size(), 10 * std::string_view{"Provisioning\r\n"}.size());  // the clock wraps on the way
}

TEST(Line, StoresAWholeLineSaysSoAndRestarts) {
  for (std::string_view end : {"\r\n", "\n"}) {
    Board board{Dialect::line};
    EXPECT_EQ(board.say("alpha-1,bravo-22,charlie-333" + std::string{end}), "Provisioned\r\n");
    EXPECT_EQ(board.memory.fields, (std::vector<std::string>{"alpha-1", "bravo-22", "charlie-333"}));
    EXPECT_EQ(board.app.restarts, 0);
    EXPECT_EQ(board.hear(200), "");
    EXPECT_GE(board.app.restarts, 1);
  }
}

TEST(Line, TellsDigestsAndNeverTheKey) {
  Board board{Dialect::line};
  std::string all = board.say("alpha-1,bravo-22,charlie-333\r\n");
  board.restart();
  std::string report = board.hear(50);
  EXPECT_EQ(report,
            "Provisioned\r\n"
            "key1: sha256:5b2c711c178a34ab\r\n"
            "key2: sha256:25e7f1f766b4c809\r\n"
            "key3: sha256:315bd69b6df0602a\r\n");
  EXPECT_EQ(board.hear(3000), "");
  EXPECT_EQ(board.say("\r\n"), report);
  EXPECT_EQ(board.say("delta-4,echo-55,foxtrot-666\r\n"), report);
  EXPECT_EQ(board.memory.commits, 1);
  for (std::string_view secret : {"alpha", "bravo", "charlie", "delta"})
    EXPECT_EQ((all + report).find(secret), all.npos);
}

TEST(Line, NeverTakesALineThatWasCut) {
  Board board{Dialect::line};
  EXPECT_EQ(board.say("alpha-1,bravo-22,charl"), "");
  EXPECT_EQ(board.hear(5000).find("Provisioned"), std::string::npos);
  // What comes then might be its end; only a line of its own counts.
  EXPECT_EQ(board.say("ie-333\r\n"), "Refused: the line was cut or too long\r\n");
  EXPECT_EQ(board.memory.commits, 0);
  EXPECT_EQ(board.say("alpha-1,bravo-22,charlie-333\r\n"), "Provisioned\r\n");
}

TEST(Line, DoesNotJoinACutLineAndTheNext) {
  Board board{Dialect::line, 1};
  board.say("alp");
  board.wait(1200);
  EXPECT_EQ(board.say("alpha-1\r\n"), "Refused: the line was cut or too long\r\n");
  EXPECT_EQ(board.say("alpha-1\r\n"), "Provisioned\r\n");
  EXPECT_EQ(board.memory.fields, std::vector<std::string>{"alpha-1"});
}

TEST(Line, TakesASlowLineByteByByte) {
  Board board{Dialect::line};
  for (char c : std::string_view{"alpha-1,bravo-22,charlie-333\r"}) {
    EXPECT_EQ(board.say(std::string{c}), "");
    board.wait(700);
  }
  EXPECT_EQ(board.say("\n"), "Provisioned\r\n");
}

TEST(Line, RefusesOtherNumbersOfFieldsAndBadFields) {
  struct Row {
    std::string line, answer;
  };
  const std::string bad = "Refused: a field is empty, too long, or has control characters\r\n";
  const Row rows[]{
      {"alpha-1\n", "Refused: too few fields\r\n"},
      {"alpha-1,bravo-22\r\n", "Refused: too few fields\r\n"},
      {"a,b,c,d\n", "Refused: too many fields\r\n"},
      {"a,b,\n", bad},
      {",,\n", bad},
      {"a,b\rb,c\n", bad},
      {std::string{"a,b,c\0d\n", 8}, bad},
      {"a,b,c\r\r\n", bad},
      {"a,b," + std::string(129, 'x') + "\n", bad},
      {std::string(128 * 3 + 4, 'x') + "\n", "Refused: the line was cut or too long\r\n"},
      {std::string(100'000, ',') + "\n", "Refused: the line was cut or too long\r\n"},
      {"\n", ""},
      {"\r\n", ""},
  };
  for (const Row& row : rows) {
    Board board{Dialect::line};
    EXPECT_EQ(board.say(row.line), row.answer) << row.line.substr(0, 40);
    EXPECT_EQ(board.memory.commits, 0);
    EXPECT_EQ(board.hear(600).substr(0, 12), "Provisioning");
  }
}

TEST(Line, TakesTheLongestKey) {
  Board board{Dialect::line, 16};
  std::string line;
  for (int i = 0; i < 16; ++i) line += (i > 0 ? "," : "") + std::string(128, static_cast<char>('a' + i));
  EXPECT_EQ(board.say(line + "\r\n"), "Provisioned\r\n");
  EXPECT_EQ(board.memory.fields.at(15), std::string(128, 'p'));
}

TEST(Line, PowerLostInTheMiddleOfStoringLeavesABoardWithoutKey) {
  for (int writes = 0; writes < 4; ++writes) {
    Board board{Dialect::line};
    board.memory.writes_left = writes;
    EXPECT_EQ(board.say("alpha-1,bravo-22,charlie-333\n"), "Refused: it could not be stored\r\n");
    board.memory.writes_left = 1000;
    board.restart();
    EXPECT_EQ(board.hear(50), "Provisioning\r\n");
    EXPECT_EQ(board.say("delta-4,echo-55,foxtrot-666\n"), "Provisioned\r\n");
    EXPECT_EQ(board.memory.fields.at(2), "foxtrot-666");
  }
}

TEST(Line, DoesNotBelieveAStorageThatForgets) {
  Board board{Dialect::line};
  board.memory.forgetful = true;
  EXPECT_EQ(board.say("a,b,c\n"), "Refused: it could not be stored\r\n");
}

// --- the framed dialect ---------------------------------------------------------------------------------------------

const Octets nonce = octets("00112233445566778899aabbccddeeff");
const Octets mac = octets("24d7eb123456");
const std::vector<std::string> key{"alpha-1", "bravo-22", "charlie-333"};

Octets frame(std::uint8_t type, const Octets& payload, std::uint8_t version = 1) {
  Octets out = octets("f5454d4b");
  out.push_back(version);
  out.push_back(type);
  out.push_back(static_cast<std::uint8_t>(payload.size()));
  out.push_back(static_cast<std::uint8_t>(payload.size() >> 8));
  out.insert(out.end(), payload.begin(), payload.end());
  std::uint32_t crc = crc32(out.data() + 4, out.size() - 4);
  for (int i = 0; i < 4; ++i) out.push_back(static_cast<std::uint8_t>(crc >> 8 * i));
  return out;
}

Octets operator+(Octets a, const Octets& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Octets prefixed(const std::vector<std::string>& fields) {
  Octets out;
  for (const std::string& field : fields) {
    out.push_back(static_cast<std::uint8_t>(field.size()));
    out.insert(out.end(), field.begin(), field.end());
  }
  return out;
}

Octets key_frame(const std::vector<std::string>& fields, const Octets& with = nonce, const Octets& to = mac) {
  return frame(type::key, with + to + Octets{static_cast<std::uint8_t>(fields.size())} + prefixed(fields));
}

Octets refusal(std::uint8_t what, std::uint8_t why) { return frame(type::refused, {what, why}); }
Octets challenge() { return frame(type::challenge, nonce); }
Octets stored(const std::vector<std::string>& fields) {
  return frame(type::stored, octets(sha256(nonce + mac + prefixed(fields))));
}

/// The block ```hex of docs/formats/handshake.md: who says which bytes.
std::vector<std::pair<std::string, std::string>> worked_example() {
  std::ifstream page{std::string{ESPMINT_SOURCE_DIR} + "/docs/formats/handshake.md"};
  std::vector<std::pair<std::string, std::string>> spoken;
  bool inside = false;
  for (std::string line; std::getline(page, line);) {
    if (line == "```hex") {
      inside = true;
    } else if (line == "```") {
      inside = false;
    } else if (inside && line.starts_with("        ")) {
      spoken.back().second += line.substr(8);
    } else if (inside && !line.starts_with("#")) {
      spoken.emplace_back(line.substr(0, line.find(' ')), line.substr(8));
    }
  }
  return spoken;
}

TEST(Framed, SpeaksTheWorkedExampleOfItsPage) {
  Board board{Dialect::framed};
  Octets said;
  board.wait(10);
  said = board.wire.heard;
  auto spoken = worked_example();
  ASSERT_EQ(spoken.size(), 13u);
  for (const auto& [who, bytes] : spoken) {
    if (who == "station") {
      said = board.say(octets(bytes));
    } else {
      EXPECT_EQ(hex(said), bytes);
    }
  }
  EXPECT_EQ(board.memory.fields, key);
}

TEST(Framed, SaysHelloTwiceASecondUntilItHasAKey) {
  Board board{Dialect::framed};
  std::size_t hello = 8 + 15 + 4;
  EXPECT_EQ(board.hear(1100).size(), 3 * hello);
  board.say(challenge() + key_frame(key));
  EXPECT_EQ(board.hear(2000).size(), 0u);
  EXPECT_EQ(board.say(frame(type::hail, {})).size(), hello);
}

TEST(Framed, SaysHelloOnceAtTheStartWhenItHasAKey) {
  Board board{Dialect::framed};
  board.say(challenge() + key_frame(key));
  board.restart();
  EXPECT_EQ(board.hear(2000).size(), 8u + 15 + 4);
}

TEST(Framed, RefusesWhatWasMeantForAnotherBoardOrAnotherTime) {
  Board board{Dialect::framed};
  EXPECT_EQ(board.say(key_frame(key)), refusal(type::key, reason::other_nonce));  // no challenge yet
  EXPECT_EQ(board.say(key_frame(key, Octets(16, 0))), refusal(type::key, reason::other_nonce));
  board.say(challenge());
  EXPECT_EQ(board.say(key_frame(key, Octets(16, 9))), refusal(type::key, reason::other_nonce));
  EXPECT_EQ(board.say(key_frame(key, nonce, octets("24d7eb123457"))), refusal(type::key, reason::other_mac));
  EXPECT_EQ(board.say(frame(type::lock, nonce + mac)), refusal(type::lock, reason::not_provisioned));
  EXPECT_EQ(board.say(frame(type::readback, nonce)), refusal(type::readback, reason::not_provisioned));
  EXPECT_EQ(board.memory.commits, 0);
  board.restart();
  EXPECT_EQ(board.say(key_frame(key)), refusal(type::key, reason::other_nonce));  // the challenge died with the reset
}

TEST(Framed, TakesAKeyOnceAndSaysSoAsOftenAsAsked) {
  Board board{Dialect::framed};
  board.say(challenge());
  EXPECT_EQ(board.say(key_frame(key)), stored(key));
  EXPECT_EQ(board.say(key_frame(key)), stored(key));
  EXPECT_EQ(board.memory.commits, 1);
  EXPECT_EQ(board.say(key_frame({"alpha-1", "bravo-22", "charlie-334"})), refusal(type::key, reason::has_another_key));
  EXPECT_EQ(board.say(key_frame({"alpha-1", "bravo-22", "charlie-33"})), refusal(type::key, reason::has_another_key));
  board.restart();
  board.say(challenge());
  EXPECT_EQ(board.say(key_frame(key)), stored(key));
  EXPECT_EQ(board.memory.fields, key);
}

TEST(Framed, ALockedBoardTakesNoKeyNotEvenItsOwn) {
  Board board{Dialect::framed};
  board.say(challenge() + key_frame(key));
  EXPECT_EQ(board.say(frame(type::lock, nonce + octets("24d7eb123457"))), refusal(type::lock, reason::other_mac));
  EXPECT_EQ(board.say(frame(type::lock, nonce + mac)), frame(type::locked, mac));
  EXPECT_EQ(board.say(frame(type::lock, nonce + mac)), frame(type::locked, mac));
  EXPECT_EQ(board.say(key_frame(key)), refusal(type::key, reason::is_locked));
  board.restart();
  EXPECT_EQ(board.say(challenge()), frame(type::echo, mac + nonce + Octets{2}));
  EXPECT_EQ(board.say(key_frame(key)), refusal(type::key, reason::is_locked));
  EXPECT_EQ(board.say(frame(type::readback, nonce)).at(5), type::digest);
}

TEST(Framed, RefusesKeysOfTheWrongForm) {
  Board board{Dialect::framed};
  board.say(challenge());
  auto answer = [&](const std::vector<std::string>& fields) { return board.say(key_frame(fields)); };
  EXPECT_EQ(answer({"a", "b"}), refusal(type::key, reason::field_count));
  EXPECT_EQ(answer({"a", "b", "c", "d"}), refusal(type::key, reason::field_count));
  EXPECT_EQ(answer({"a", "b", ""}), refusal(type::key, reason::bad_field));
  EXPECT_EQ(answer({"a", "b", "c\n"}), refusal(type::key, reason::bad_field));
  EXPECT_EQ(answer({"a", "b", std::string(1, '\0')}), refusal(type::key, reason::bad_field));
  EXPECT_EQ(answer({"a", "b", std::string(129, 'x')}), refusal(type::key, reason::bad_field));
  Octets whole = nonce + mac + Octets{3} + prefixed({"a", "b", "c"});
  for (std::size_t cut = 0; cut < whole.size(); ++cut) {
    Octets part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(cut));
    EXPECT_EQ(board.say(frame(type::key, part)), refusal(type::key, reason::malformed)) << cut;
  }
  EXPECT_EQ(board.say(frame(type::key, whole + Octets{0})), refusal(type::key, reason::malformed));
  EXPECT_EQ(board.say(frame(0x16, {})), refusal(0x16, reason::unknown_type));
  EXPECT_EQ(board.say(frame(type::hail, {}, 2)), refusal(type::hail, reason::unknown_version));
  EXPECT_EQ(board.say(frame(type::hello, {})), Octets{});
  EXPECT_EQ(board.memory.commits, 0);
}

TEST(Framed, TakesTheLongestKey) {
  Board board{Dialect::framed, 16};
  std::vector<std::string> fields(16, std::string(128, '~'));
  board.say(challenge());
  EXPECT_EQ(board.say(key_frame(fields)), stored(fields));
}

TEST(Framed, ADamagedByteAnywhereStoresNothing) {
  Octets good = key_frame(key);
  for (std::size_t i = 0; i < good.size(); ++i) {
    Board board{Dialect::framed};
    board.say(challenge());
    Octets damaged = good;
    damaged[i] = static_cast<std::uint8_t>(damaged[i] ^ 0x10);
    board.say(damaged);
    EXPECT_EQ(board.memory.commits, 0) << i;
    board.wait(300);  // a length that became longer waits for bytes that never come
    EXPECT_EQ(board.say(good), stored(key)) << i;
  }
}

TEST(Framed, FindsFramesAmongNoiseAndInPieces) {
  Board board{Dialect::framed};
  Octets noise = bytes_of("I (312) app: started\r\n") + octets("f5f5454d4bff") + octets("f5454d4b0110ffff");
  Octets stream = noise + challenge() + octets("f5454d") + key_frame(key);
  Octets said;
  for (std::uint8_t byte : stream) {
    Octets answer = board.say(Octets{byte});
    said = said + answer;
    board.provisioner->poll(board.now += 1);
  }
  EXPECT_NE(hex(said).find(hex(stored(key))), std::string::npos);
}

TEST(Framed, ReportsAStorageThatFails) {
  for (int writes = 0; writes < 4; ++writes) {
    Board board{Dialect::framed};
    board.say(challenge());
    board.memory.writes_left = writes;
    EXPECT_EQ(board.say(key_frame(key)), refusal(type::key, reason::storage));
    EXPECT_EQ(board.provisioner->state(), State::unprovisioned);
    board.memory.writes_left = 1000;
    EXPECT_EQ(board.say(key_frame(key)), stored(key));
    board.memory.fields[1] = "bravo-23";  // flash that changed its mind
    EXPECT_NE(board.say(frame(type::readback, nonce)).at(5), type::refused);
    board.memory.fields.pop_back();
    EXPECT_EQ(board.say(frame(type::readback, nonce)), refusal(type::readback, reason::storage));
  }
}

TEST(Framed, NeverSaysTheKey) {
  Board board{Dialect::framed};
  std::string all;
  for (const Octets& part : {challenge(), key_frame(key), key_frame(key, Octets(16, 1)), frame(type::readback, nonce),
                             frame(type::hail, {}), frame(type::selftest, {})}) {
    Octets said = board.say(part);
    all.append(said.begin(), said.end());
  }
  board.restart();
  all += board.hear(2000);
  for (const std::string& field : key) EXPECT_EQ(all.find(field), all.npos);
}

}  // namespace
}  // namespace espmint::device
