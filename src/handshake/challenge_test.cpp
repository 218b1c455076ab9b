// The challenge on a line where a board answers as the test tells it to, in virtual time.
#include "handshake/challenge.hpp"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include <functional>
#include <map>

#include "base/base64.hpp"
#include "io/loop.hpp"

namespace espmint {
namespace {

using namespace std::chrono_literals;
using Kind = ChallengeOutcome::Kind;

const Mac mac = *parse_mac("24d7eb123456"), other_mac = *parse_mac("24d7eb999999");
const Nonce nonce{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};

/// A board's key, signing by calls of its own: the station's code only ever verifies.
class BoardKey {
 public:
  explicit BoardKey(bool rsa = false)
      : key_(rsa ? EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", std::size_t{2048})
                 : EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256")) {}
  ~BoardKey() { EVP_PKEY_free(key_); }
  BoardKey(const BoardKey&) = delete;
  BoardKey& operator=(const BoardKey&) = delete;

  [[nodiscard]] Bytes public_der() const {
    unsigned char* der = nullptr;
    int size = i2d_PUBKEY(key_, &der);
    Bytes out{der, der + size};
    OPENSSL_free(der);
    return out;
  }
  [[nodiscard]] Bytes sign(ByteView message, int padding = RSA_PKCS1_PSS_PADDING, int salt = 32) const {
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    EVP_PKEY_CTX* parameters = nullptr;
    EVP_DigestSignInit(context, &parameters, EVP_sha256(), nullptr, key_);
    if (EVP_PKEY_is_a(key_, "RSA") == 1) {
      EVP_PKEY_CTX_set_rsa_padding(parameters, padding);
      if (padding == RSA_PKCS1_PSS_PADDING) EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, salt);
    }
    std::size_t length = 0;
    EVP_DigestSign(context, nullptr, &length, message.data(), message.size());
    Bytes signature(length);
    EVP_DigestSign(context, signature.data(), &length, message.data(), message.size());
    signature.resize(length);
    EVP_MD_CTX_free(context);
    return signature;
  }
  [[nodiscard]] std::string proof(const Mac& as, const Nonce& of = nonce) const {
    Bytes message = to_bytes("espmint-v1");
    append(message, as.octets);
    append(message, of);
    return "espmint-proof " + to_string(as) + " " + to_base64(sign(message));
  }

 private:
  EVP_PKEY* key_;
};

/// What the board says, and when; `hears` is asked at each whole line that the station sent.
class ScriptedPort final : public Port {
 public:
  explicit ScriptedPort(Clock& clock) : clock_(clock) {}
  void says(Duration at, const std::string& text) { pending_.emplace(Instant{at}, text); }
  std::function<void(ScriptedPort&, std::string)> hears = [](ScriptedPort&, const std::string&) {};
  void answers(Duration after, const std::string& text) { pending_.emplace(clock_.now() + after, text); }
  std::optional<Duration> gone_at;
  std::vector<Instant> asked;

  Task<Result<std::size_t>> read_some(ByteSpan into, Instant deadline) override {
    Instant next = pending_.empty() ? deadline : std::min(deadline, pending_.begin()->first);
    if (gone_at) next = std::min(next, Instant{*gone_at});
    if (next > clock_.now()) co_await clock_.sleep_until(next);
    if (gone_at && clock_.now() >= Instant{*gone_at})
      co_return fail({Code::port_gone, Remedy::reconnect, "the port is gone"});
    if (pending_.empty() || pending_.begin()->first > clock_.now()) co_return std::size_t{0};
    std::string& text = pending_.begin()->second;
    std::size_t count = std::min(into.size(), text.size());
    std::copy_n(text.begin(), count, into.begin());
    text.erase(0, count);
    if (text.empty()) pending_.erase(pending_.begin());
    co_return count;
  }
  Task<Result<void>> write(ByteView bytes, Instant) override {
    for (std::uint8_t byte : bytes) {
      if (byte != '\n') {
        line_ += static_cast<char>(byte);
      } else if (!line_.empty()) {
        asked.push_back(clock_.now());
        hears(*this, std::exchange(line_, {}));
      }
    }
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
  std::string line_, name_ = "scripted";
};

struct Line {
  VirtualLoop loop;
  ScriptedPort port{loop};
  BoardKey key;

  Result<ChallengeOutcome> challenge_for(Duration patience) { return challenge_with(key.public_der(), patience); }
  Result<ChallengeOutcome> challenge_with(Bytes public_key, Duration patience) {
    std::optional<Result<ChallengeOutcome>> out;
    loop.run(ask(*this, std::move(public_key), Instant{patience}, out));
    return std::move(*out);
  }

 private:
  static Task<> ask(Line& line, Bytes public_key, Instant deadline, std::optional<Result<ChallengeOutcome>>& out) {
    out.emplace(co_await challenge(line.port, line.loop, mac, nonce, std::move(public_key), deadline));
  }
};

constexpr std::string_view banner =
    "ets Jul 29 2019 12:21:46\r\n\r\nrst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\r\n"
    "\x1b[0;32mI (312) app: started\x1b[0m\r\n";

TEST(ChallengeBytes, AreWhatTheFormatPageSays) {
  EXPECT_EQ(challenge_line(nonce), "espmint-challenge 00112233445566778899aabbccddeeff\n");
  EXPECT_EQ(to_hex(challenge_message(mac, nonce)),
            "6573706d696e742d7631"  // espmint-v1
            "24d7eb123456"
            "00112233445566778899aabbccddeeff");
}

TEST(ChallengeBytes, TheWorkedExampleOfTheFormatPageProves) {
  Bytes key = *from_hex(
      "3059301306072a8648ce3d020106082a8648ce3d0301070342000460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60"
      "f29fb6"
      "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299");
  auto proof = parse_proof_line(
      "espmint-proof 24d7eb123456 "
      "MEUCIQDfxdOAdm0VHR5jkKk5TUK4phyQ/xJwIblAJLNOCLv+CgIgbevzSdBjMRjAuSP+hiun+X00fr32FAZg2RWTta+RP7Q=");
  ASSERT_TRUE(proof);
  EXPECT_TRUE(proves(*proof, mac, nonce, key));
}

TEST(ProofLine, IsFoundBehindNoiseAndBeforeColours) {
  BoardKey key;
  std::string proof = key.proof(mac);
  for (const std::string& line : {proof, proof + "\r", "\xff\x80\x00" + proof, "I (331) app: " + proof + "\x1b[0m",
                                  "espmint-proof 24d7eb12espmint-proof " + proof.substr(14)}) {
    auto read = parse_proof_line(line);
    ASSERT_TRUE(read) << line;
    EXPECT_EQ(read->mac, mac);
    EXPECT_TRUE(proves(*read, mac, nonce, key.public_der()));
  }
}

TEST(ProofLine, IsNothingElse) {
  BoardKey key;
  std::string proof = key.proof(mac);
  for (std::size_t size = 0; size < proof.size(); ++size) {
    auto read = parse_proof_line(std::string_view{proof}.substr(0, size));
    if (read) {
      EXPECT_FALSE(proves(*read, mac, nonce, key.public_der())) << size;
    }
  }
  for (const std::string& line :
       {std::string{}, std::string{"espmint-proof"}, std::string{"espmint-proof 24d7eb123456 "},
        std::string{"espmint-proof 24d7eb12345 QUJD"}, std::string{"espmint-proof 24d7eb12345g QUJD"},
        std::string{"espmint-proof 24d7eb123456 QUJ"}, std::string{"espmint-proof 24d7eb123456 QUJD junk"},
        std::string{"espmint-proof 24d7eb123456  QUJD"}, std::string{"Espmint-Proof 24d7eb123456 QUJD"},
        "espmint-proof 24d7eb123456 " + std::string(2048, 'A'), std::string(100'000, ' ') + proof})
    EXPECT_FALSE(parse_proof_line(line)) << line.substr(0, 80);
}

TEST(Proof, HoldsForOneBoardOneNonceOneKey) {
  BoardKey key, another;
  ProofLine proof = *parse_proof_line(key.proof(mac));
  EXPECT_TRUE(proves(proof, mac, nonce, key.public_der()));
  EXPECT_FALSE(proves(proof, other_mac, nonce, key.public_der()));
  EXPECT_FALSE(proves({other_mac, proof.signature}, other_mac, nonce, key.public_der()))
      << "the MAC is signed, not only said";
  EXPECT_FALSE(proves(proof, mac, nonce, another.public_der()));
  Nonce next = nonce;
  next[15] ^= 1;
  EXPECT_FALSE(proves(proof, mac, next, key.public_der())) << "yesterday's answer";
  for (std::size_t at = 0; at < proof.signature.size(); ++at) {
    ProofLine bent = proof;
    bent.signature[at] ^= 1;
    EXPECT_FALSE(proves(bent, mac, nonce, key.public_der())) << at;
  }
  for (std::size_t size = 0; size < proof.signature.size(); ++size)
    EXPECT_FALSE(
        proves({mac, Bytes{proof.signature.begin(), proof.signature.begin() + static_cast<std::ptrdiff_t>(size)}}, mac,
               nonce, key.public_der()));
}

TEST(Proof, ByAnRsaKeyIsPssWithASaltOf32) {
  BoardKey key{true};
  std::string line = key.proof(mac);
  EXPECT_LT(line.size(), longest_proof_line) << "an RSA-2048 proof fits a line";
  EXPECT_TRUE(proves(*parse_proof_line(line), mac, nonce, key.public_der()));
  Bytes message = challenge_message(mac, nonce);
  EXPECT_FALSE(proves({mac, key.sign(message, RSA_PKCS1_PADDING)}, mac, nonce, key.public_der()));
  EXPECT_FALSE(proves({mac, key.sign(message, RSA_PKCS1_PSS_PADDING, 20)}, mac, nonce, key.public_der()));
}

TEST(Proof, NeedsAKeyToHoldItAgainst) {
  BoardKey key;
  ProofLine proof = *parse_proof_line(key.proof(mac));
  EXPECT_FALSE(proves(proof, mac, nonce, {}));
  Bytes longer = key.public_der();
  longer.push_back(0);
  EXPECT_FALSE(proves(proof, mac, nonce, longer));
  EVP_PKEY* edwards = EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519");
  unsigned char* der = nullptr;
  int size = i2d_PUBKEY(edwards, &der);
  EXPECT_FALSE(proves(proof, mac, nonce, {der, static_cast<std::size_t>(size)}));
  OPENSSL_free(der);
  EVP_PKEY_free(edwards);
}

TEST(Challenge, IsProvedAsSoonAsTheApplicationHearsIt) {
  Line line;
  line.port.says(50ms, std::string{banner});
  line.port.hears = [&](ScriptedPort& port, const std::string& question) {
    EXPECT_EQ(question + "\n", challenge_line(nonce));
    // Still booting: what comes before 600 ms is lost.
    if (port.asked.back() >= Instant{600ms}) port.answers(30ms, line.key.proof(mac) + "\r\n");
  };
  auto outcome = line.challenge_for(2500ms);
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->kind, Kind::proved);
  EXPECT_EQ(outcome->seen, "");
  EXPECT_NE(outcome->boot_log.find("POWERON_RESET"), std::string::npos);
  EXPECT_EQ(line.loop.now(), Instant{780ms}) << "asked at 0, 250, 500, 750 ms";
  EXPECT_EQ(line.port.asked.size(), 4u);
}

TEST(Challenge, ReadsAProofThatArrivesInPieces) {
  Line line;
  std::string proof = "noise" + line.key.proof(mac) + "\n";
  for (std::size_t at = 0; at < proof.size(); ++at)
    line.port.says(std::chrono::milliseconds{100 + at}, proof.substr(at, 1));
  EXPECT_EQ(line.challenge_for(2500ms)->kind, Kind::proved);
}

TEST(Challenge, IsSilentForFirmwareThatDoesNotKnowIt) {
  Line line;
  line.port.says(50ms, std::string{banner});
  auto outcome = line.challenge_for(1s);
  EXPECT_EQ(outcome->kind, Kind::silent);
  EXPECT_EQ(line.loop.now(), Instant{1s});
  EXPECT_EQ(outcome->seen, "\\x1b[0;32mI (312) app: started\\x1b[0m");
  EXPECT_EQ(line.port.asked.size(), 4u);
}

TEST(Challenge, IsSilentForADeadBoardAndAnEcho) {
  Line dead;
  auto outcome = dead.challenge_for(1s);
  EXPECT_EQ(outcome->kind, Kind::silent);
  EXPECT_EQ(outcome->boot_log, "");
  EXPECT_EQ(outcome->seen, "");
  Line echo;
  echo.port.hears = [](ScriptedPort& port, const std::string& question) { port.answers(1ms, question + "\n"); };
  EXPECT_EQ(echo.challenge_for(1s)->kind, Kind::silent);
}

TEST(Challenge, IsWrongForAnotherBoardsKey) {
  Line line;
  BoardKey stolen;
  line.port.hears = [&](ScriptedPort& port, const std::string&) { port.answers(5ms, stolen.proof(mac) + "\n"); };
  auto outcome = line.challenge_for(2500ms);
  EXPECT_EQ(outcome->kind, Kind::wrong);
  EXPECT_NE(outcome->seen.find("not by the key of the certificate"), std::string::npos);
  EXPECT_EQ(line.loop.now(), Instant{255ms}) << "the second wrong proof settles it";
}

TEST(Challenge, IsWrongForAnotherBoardsMac) {
  Line line;
  line.port.hears = [&](ScriptedPort& port, const std::string&) {
    port.answers(5ms, line.key.proof(other_mac) + "\n");
  };
  auto outcome = line.challenge_for(2500ms);
  EXPECT_EQ(outcome->kind, Kind::wrong);
  EXPECT_EQ(outcome->seen, "its proof is for board 24d7eb999999, this is 24d7eb123456");
}

TEST(Challenge, IsWrongAfterASingleWrongProofWhenNoBetterOneComes) {
  Line line;
  BoardKey stolen;
  line.port.says(10ms, stolen.proof(mac) + "\n");
  EXPECT_EQ(line.challenge_for(1s)->kind, Kind::wrong);
  EXPECT_EQ(line.loop.now(), Instant{1s});
}

TEST(Challenge, CondemnsNoBoardForAByteDamagedOnTheLine) {
  Line line;
  line.port.hears = [&](ScriptedPort& port, const std::string&) {
    std::string proof = line.key.proof(mac);
    if (port.asked.size() == 1) proof[60] = proof[60] == 'A' ? 'B' : 'A';
    port.answers(5ms, proof + "\n");
  };
  auto outcome = line.challenge_for(2500ms);
  EXPECT_EQ(outcome->kind, Kind::proved);
  EXPECT_EQ(outcome->seen, "");
}

TEST(Challenge, SurvivesAFloodAndKeepsItsTail) {
  Line line;
  std::string flood;
  for (int i = 0; i < 20'000; ++i) flood += static_cast<char>(i % 251);
  line.port.says(10ms, std::string(100'000, 'x'));
  line.port.says(20ms, "\n" + flood + "\n");
  line.port.says(30ms, std::string(600, 'y') + line.key.proof(mac) + "\n");  // too long a line proves nothing
  line.port.says(40ms, "last words");
  auto outcome = line.challenge_for(200ms);
  EXPECT_EQ(outcome->kind, Kind::silent);
  EXPECT_LE(outcome->boot_log.size(), 4096u);
  EXPECT_TRUE(outcome->boot_log.ends_with("last words"));
  EXPECT_EQ(outcome->seen, "last words");
  for (char c : outcome->boot_log) EXPECT_TRUE(c == '\n' || (c >= 0x20 && c < 0x7f)) << static_cast<int>(c);
  EXPECT_TRUE(line.key.proof(mac).size() < 600);
}

TEST(Challenge, HandsUpAPortThatVanishes) {
  Line line;
  line.port.gone_at = 300ms;
  auto outcome = line.challenge_for(1s);
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code, Code::port_gone);
}

TEST(Challenge, AsksNothingWhenThereIsNoTimeLeft) {
  Line line;
  auto outcome = line.challenge_for(0ms);
  EXPECT_EQ(outcome->kind, Kind::silent);
  EXPECT_TRUE(line.port.asked.empty());
}

TEST(Challenge, AcceptsAnRsaBoard) {
  Line line;
  BoardKey rsa{true};
  line.port.hears = [&](ScriptedPort& port, const std::string&) { port.answers(80ms, rsa.proof(mac) + "\r\n"); };
  EXPECT_EQ(line.challenge_with(rsa.public_der(), 1s)->kind, Kind::proved);
}

}  // namespace
}  // namespace espmint
