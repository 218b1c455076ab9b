// What each application does through the virtual wire. Which one runs is decided by the image in the board's flash.
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <zlib.h>

#include "sim/app_firmware.hpp"
#include "sim/desk_for_tests.hpp"
#include "sim/digest.hpp"
#include "sim/make_firmware.hpp"
#include "sim/nvs.hpp"

namespace espmint::sim {
namespace {

using std::chrono::seconds;

/// A desk whose board has this application in its flash.
struct Product : Desk {
  explicit Product(std::string kind, std::string preset = "fast") : Desk{{.preset = std::move(preset)}} {
    Firmware firmware = *make_firmware({.app_bytes = 64_KiB, .app = std::move(kind)});
    std::copy(firmware.bootloader.begin(), firmware.bootloader.end(), flash.begin() + firmware.bootloader_at);
    std::copy(firmware.partition_table.begin(), firmware.partition_table.end(), flash.begin() + firmware.table_at);
    std::copy(firmware.app.begin(), firmware.app.end(), flash.begin() + firmware.app_at);
    reset(false);
  }
  /// What is said within a span.
  std::string hear_for(Time span) {
    Bytes out;
    Time until = now + span;
    while (now < until) {
      std::array<std::uint8_t, 4096> some;
      std::size_t count = board.transmit(now, some);
      append(out, ByteView{some}.first(count));
      if (count > 0) continue;
      now = std::clamp(board.next_event().value_or(until), now, until);
      board.advance(now);
    }
    return std::string{as_text(out)};
  }
  std::string type(std::string_view text, Time span = seconds{2}) {
    send(as_bytes(text));
    return hear_for(span);
  }
  [[nodiscard]] std::optional<std::string> stored(std::string_view key) {
    return Nvs{NorFlash{flash}, 0x9000, 0x6000}.get_string("provision", key);
  }
};

std::size_t count_of(std::string_view text, std::string_view what) {
  std::size_t count = 0;
  for (std::size_t at = text.find(what); at != text.npos; at = text.find(what, at + 1)) ++count;
  return count;
}

std::string_view after(std::string_view text, std::string_view what) {
  std::size_t at = text.find(what);
  return at == text.npos ? std::string_view{} : text.substr(at);
}

TEST(Firmware, IsWhatItsImageSaysAndEveryKindBoots) {
  for (const AppKind& kind : all_app_kinds()) {
    Product product{std::string{kind.name}};
    product.hear_for(seconds{1});
    EXPECT_EQ(product.board.state(), "app") << kind.name;
  }
  EXPECT_FALSE(make_firmware({.app = "old4"}));
  EXPECT_EQ(make_firmware({.app_bytes = 4_KiB, .app = "mute"})->app.size(), 4_KiB);
}

TEST(Firmware, PromptsTwiceASecond) {
  for (std::string kind : {"old3", "old5", "forgetful", "mute", "device-line"}) {
    Product product{kind};
    EXPECT_NE(after(product.hear_for(seconds{1}), "Provisioning\r\n"), "") << kind;
    EXPECT_EQ(count_of(product.hear_for(seconds{10}), "Provisioning\r\n"), 20u) << kind;
  }
}

TEST(Old3, StoresALineRestartsAndShowsIt) {
  for (std::string preset : {"fast", "instant"}) {
    Product product{"old3", preset};
    product.hear_for(seconds{1});
    std::string said = product.type("alpha-1,bravo-22,charlie-333\r\n");
    EXPECT_TRUE(said.starts_with("Provisioned\r\n") || said.starts_with("Provisioning\r\nProvisioned\r\n")) << said;
    EXPECT_NE(said.find("rst:0xc (SW_CPU_RESET)"), said.npos);
    std::string_view report = "Provisioned\r\nKey1: alpha-1\r\nKey2: bravo-22\r\nKey3: charlie-333\r\n";
    EXPECT_EQ(after(after(said, "rst:"), "Provisioned"), report);
    EXPECT_EQ(product.stored("key3"), "charlie-333");
    product.reset(false);
    EXPECT_EQ(after(product.hear_for(seconds{5}), "Provisioned"), report);
  }
}

TEST(Old3, KeepsACutLineForEver) {
  Product product{"old3"};
  product.hear_for(seconds{1});
  std::string said = product.type("alpha-1,bra", milliseconds{900});
  EXPECT_EQ(count_of(said, "Provisioned"), 0u);
  EXPECT_LE(count_of(said, "Provisioning"), 1u);  // it reads, and does nothing else
  said = product.hear_for(seconds{2});
  EXPECT_EQ(after(after(said, "rst:"), "Provisioned"), "Provisioned\r\nKey1: alpha-1\r\nKey2: bra\r\nKey3: \r\n");
  said = product.type("alpha-1,bravo-22,charlie-333\r\n");
  EXPECT_EQ(said, "");
  EXPECT_EQ(product.stored("key2"), "bra");
}

TEST(Old3, IgnoresALineWithoutComma) {
  Product product{"old3"};
  product.hear_for(seconds{1});
  EXPECT_EQ(count_of(product.type("hello\r\n"), "Provisioned"), 0u);
  EXPECT_EQ(count_of(product.type("hello, but cut", seconds{4}), "Provisioned"), 2u);
}

TEST(Old3, GivesTheRestOfALongLineToTheLastField) {
  Product product{"old3"};
  product.hear_for(seconds{1});
  product.type("a,b,c,d\n");
  EXPECT_EQ(product.stored("key3"), "c,d");
}

TEST(Old5, ShowsFiveNamesAndItsAddressAgainAndAgain) {
  Product product{"old5"};
  product.hear_for(seconds{1});
  std::string said = product.type("26011bda,n,a,k,e\r\n", seconds{10});
  EXPECT_EQ(after(after(said, "rst:"), "Provisioned").substr(0, 78),
            "Provisioned\r\ndevAddr: 26011bda\r\nnwkSKey: n\r\nappSKey: a\r\nappKey: k\r\ndevEui: e\r\n");
  EXPECT_EQ(count_of(said, "devAddr en bytes: 0x26 0x01 0x1b 0xda\r\n"), 3u);
  EXPECT_EQ(product.stored("devEui"), "e");
}

TEST(Forgetful, SaysProvisionedAndPromptsAgain) {
  Product product{"forgetful"};
  product.hear_for(seconds{1});
  std::string said = product.type("alpha-1,bravo-22,charlie-333\r\n", seconds{3});
  EXPECT_EQ(count_of(said, "Provisioned\r\n"), 1u);
  EXPECT_GE(count_of(after(said, "rst:"), "Provisioning\r\n"), 3u);
  EXPECT_EQ(product.stored("key1"), std::nullopt);
}

TEST(Mute, StoresAndShowsNothing) {
  Product product{"mute"};
  product.hear_for(seconds{1});
  std::string said = product.type("alpha-1,bravo-22,charlie-333\r\n", seconds{3});
  EXPECT_EQ(after(after(said, "rst:"), "Provisioned"), "Provisioned\r\n");
  EXPECT_EQ(product.stored("key1"), "alpha-1");
}

TEST(DeviceLine, StoresAWholeLineAndShowsDigests) {
  Product product{"device-line"};
  product.hear_for(seconds{1});
  std::string said = product.type("alpha-1,bravo-22,charlie-333\r\n", seconds{3});
  EXPECT_EQ(after(after(said, "rst:0xc"), "Provisioned"),
            "Provisioned\r\nkey1: sha256:5b2c711c178a34ab\r\nkey2: sha256:25e7f1f766b4c809\r\n"
            "key3: sha256:315bd69b6df0602a\r\n");
  EXPECT_EQ(product.stored("key3"), "charlie-333");
}

TEST(DeviceLine, RefusesACutLineAndTakesTheNextWholeOne) {
  Product product{"device-line"};
  product.hear_for(seconds{1});
  std::string said = product.type("alpha-1,bra", seconds{4});
  EXPECT_EQ(count_of(said, "Provisioned"), 0u);
  EXPECT_GE(count_of(said, "Provisioning"), 7u);
  EXPECT_EQ(product.stored("key1"), std::nullopt);
  EXPECT_NE(after(product.type("alpha-1,bravo-22,charlie-333\r\n"), "Refused: "), "");
  EXPECT_NE(after(product.type("alpha-1,bravo-22,charlie-333\r\n"), "Provisioned"), "");
  EXPECT_EQ(product.stored("key3"), "charlie-333");
}

TEST(DeviceLine, HasItsKeyOrPromptsWhenAResetFallsBehindTheLine) {
  for (Time pause = Time{0}; pause < milliseconds{3}; pause += microseconds{150}) {
    Product product{"device-line"};
    product.hear_for(seconds{1});
    product.send(as_bytes("alpha-1,bravo-22,charlie-333\r\n"));
    product.wait(pause);
    product.reset(false);
    std::string said = product.hear_for(seconds{2});
    bool prompts = count_of(said, "Provisioning") > 0;
    EXPECT_EQ(product.stored("key3").has_value(), !prompts);
  }
}

// The framed dialect by hand: docs/formats/handshake.md.
Bytes framed(std::uint8_t type, ByteView payload = {}) {
  Bytes body{1, type};
  put_u16(body, static_cast<std::uint16_t>(payload.size()));
  append(body, payload);
  Bytes frame{0xf5, 'E', 'M', 'K'};
  append(frame, body);
  put_u32(frame, static_cast<std::uint32_t>(crc32(0, body.data(), static_cast<uInt>(body.size()))));
  return frame;
}

Bytes joined(std::initializer_list<ByteView> pieces) {
  Bytes out;
  for (ByteView piece : pieces) append(out, piece);
  return out;
}

TEST(DeviceFramed, TakesItsKeyKeepsItAndLocks) {
  Product product{"device-framed"};
  ByteView mac = product.board.mac().octets;
  Bytes nonce = *from_hex("00112233445566778899aabbccddeeff");
  Bytes fields = to_bytes(
      "\x07"
      "alpha-1"
      "\x08"
      "bravo-22"
      "\x0b"
      "charlie-333");
  Bytes proof = digest(EVP_sha256(), joined({nonce, mac, fields}));
  auto ask = [&](const Bytes& frame) { return product.type(as_text(frame), milliseconds{200}); };
  auto holds = [](const std::string& said, const Bytes& frame) { return said.find(as_text(frame)) != said.npos; };

  Bytes hello = framed(0x90, joined({Bytes{1}, mac, Bytes{0, 3, 9}, as_bytes("sim 1.0.0")}));
  EXPECT_EQ(count_of(product.hear_for(seconds{4}), as_text(hello)), 8u);
  EXPECT_TRUE(holds(ask(framed(0x11, nonce)), framed(0x91, joined({mac, nonce, Bytes{0}}))));
  Bytes key = framed(0x12, joined({nonce, mac, Bytes{3}, fields}));
  EXPECT_TRUE(holds(ask(key), framed(0x92, proof)));
  EXPECT_TRUE(holds(ask(key), framed(0x92, proof)));
  EXPECT_EQ(product.stored("key2"), "bravo-22");

  product.reset(false);
  product.hear_for(seconds{2});
  EXPECT_TRUE(holds(ask(framed(0x13, nonce)), framed(0x93, proof)));
  ask(framed(0x11, nonce));
  EXPECT_TRUE(holds(ask(framed(0x15, joined({nonce, mac}))), framed(0x95, mac)));
  EXPECT_TRUE(holds(ask(key), framed(0xff, Bytes{0x12, 7})));

  product.reset(false);
  product.hear_for(seconds{2});
  EXPECT_TRUE(holds(ask(framed(0x11, nonce)), framed(0x91, joined({mac, nonce, Bytes{2}}))));
}

}  // namespace
}  // namespace espmint::sim
