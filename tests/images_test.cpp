// Boards whose identity lies in other images than a SPIFFS: whole runs in virtual time, then what the virtual board's
// own readers find in its flash.
#include <gtest/gtest.h>

#include "sim/boot.hpp"
#include "sim/identity_source.hpp"
#include "tests/line_words.hpp"

namespace espmint {
namespace {

std::string fault_of(Bench& bench, const std::string& slot) {
  return last(bench, slot).fault ? describe(*last(bench, slot).fault) : "";
}

std::vector<sim::Mounted> mounted(Bench& bench, const std::string& slot) {
  std::string fault;
  auto table = sim::read_partition_table(bench.flash(slot), bench.plan.table_at.bytes, fault);
  EXPECT_TRUE(table) << fault;
  return table ? sim::mount_all(bench.flash(slot), *table) : std::vector<sim::Mounted>{};
}

std::map<std::string, std::string> files_on(Bench& bench, const std::string& slot, const std::string& label) {
  std::map<std::string, std::string> out;
  for (const sim::Mounted& one : mounted(bench, slot))
    if (one.partition.label == label) {
      EXPECT_EQ(one.fault, "");
      for (const sim::StoredFile& file : one.files) out[file.name] = as_text(file.content);
    }
  return out;
}

struct Kind {
  std::string identity, recipe;
  ByteCount storage = 64_KiB;
};
void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.identity; }

class Identity : public testing::TestWithParam<Kind> {
 protected:
  static BenchImages images() { return {GetParam().identity, GetParam().storage, GetParam().recipe}; }
};

TEST_P(Identity, IsReadByTheBoardsOwnReaderAndProvedByItsFirmware) {
  Bench bench{Seed{21}, {}, {}, nullptr, images()};
  bench.plug_in("a", {}, true);
  LineSummary summary = bench.run(once("a"));
  ASSERT_EQ(summary.exit(), Exit::good) << fault_of(bench, "a");
  EXPECT_EQ(last(bench, "a").evidence, "rom-digest+challenge");
  auto found = sim::find_identity(mounted(bench, "a"));
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->belongs_together);
  auto device = bench.device("a");
  ASSERT_TRUE(device);
  auto certificate = parse_certificate(found->certificate->content);
  ASSERT_TRUE(certificate);
  EXPECT_EQ(certificate->der, device->certificate->der);
  EXPECT_EQ(as_text(found->root_ca->content), bench.ca().root().pem);
  expect_sound(bench);
}

TEST_P(Identity, StaysWhenTheBoardComesAgain) {
  Bench bench{Seed{22}, {}, {}, nullptr, images()};
  bench.plug_in("a");
  ASSERT_EQ(bench.run(once("a")).exit(), Exit::good) << fault_of(bench, "a");
  Bytes before{bench.flash("a").begin(), bench.flash("a").end()};
  ASSERT_EQ(bench.run(once("a")).exit(), Exit::good) << fault_of(bench, "a");
  EXPECT_TRUE(last(bench, "a").already);
  EXPECT_TRUE(std::ranges::equal(before, bench.flash("a")));
  // Another board's identity in its place is not its own.
  bench.plug_in("b");
  ASSERT_EQ(bench.run(once("b")).exit(), Exit::good) << fault_of(bench, "b");
  for (const ImagePlan& image : bench.plan.images) {
    const auto at = static_cast<std::ptrdiff_t>(image.partition.range.at.bytes);
    std::copy_n(bench.flash("b").begin() + at, image.partition.range.size, bench.flash("a").begin() + at);
    if (!image.keys_partition) continue;
    const auto keys_at = static_cast<std::ptrdiff_t>(image.keys_partition->range.at.bytes);
    std::copy_n(bench.flash("b").begin() + keys_at, image.keys_partition->range.size,
                bench.flash("a").begin() + keys_at);
  }
  EXPECT_NE(bench.run(once("a")).exit(), Exit::good);
  EXPECT_EQ(last(bench, "a").fault->code, Code::board_held);
  expect_sound(bench);
}

INSTANTIATE_TEST_SUITE_P(
    EveryFormat, Identity,
    testing::Values(Kind{"spiffs", ""}, Kind{"littlefs", ""}, Kind{"fat", "[[image]]\nformat = \"fat\"\n", 1_MiB},
                    Kind{"nvs", "[[image]]\nformat = \"nvs\"\npartition = \"identity\"\n"},
                    Kind{"nvs-encrypted",
                         "[[image]]\nformat = \"nvs\"\npartition = \"identity\"\nencryption = \"keys\"\n"}),
    [](const auto& of) {
      std::string name = of.param.identity;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

TEST(Images, WithAPemTooLongForFirmwareInTheFieldSayWhichFile) {
  BenchImages images{"spiffs", 64_KiB,
                     "[[image]]\npartition = \"storage\"\nfiles = { \"certificate.pem.crt\" = \"{certificate}" +
                         std::string(2048, '#') +
                         "\", \"private.pem.key\" = \"{private_key}\", \"aws-root-ca.pem\" = \"{root_ca}\" }\n"};
  Bench bench{Seed{0x26}, {}, {}, nullptr, images};
  bench.plug_in("a");
  ASSERT_EQ(bench.run(once("a")).exit(), Exit::good) << fault_of(bench, "a");
  ASSERT_EQ(bench.listener.notes.size(), 1u);
  EXPECT_NE(bench.listener.notes.front().find("certificate.pem.crt has 2"), std::string::npos)
      << bench.listener.notes.front();
}

TEST(Images, OfOneBoardAreManyAndEachIsReadByTheBoard) {
  BenchImages images{"littlefs", 64_KiB, R"(
[[image]]
partition = "storage"
format = "littlefs"
files = { "certificate.pem.crt" = "{certificate}", "private.pem.key" = "{private_key}", "aws-root-ca.pem" = "{root_ca}", "cal/{mac}.bin" = { file = "cal/{mac}.bin" } }
[[image]]
partition = "nvs"
format = "nvs"
csv = "nvs.csv"
entries = { net = { port = { value = 8883, encoding = "u16" }, psk = "{values.psk}" } }
[values]
csv = "values.csv"
)"};
  images.files.put("nvs.csv", "key,type,encoding,value\nwifi,namespace,,\nssid,data,string,{values.ssid}\n");
  images.files.put("values.csv", "mac,ssid,psk\n24d7eb002301,lab,\"s e,cret\"\n24d7eb002303,office,other\n");
  images.files.put("cal/24d7eb002301.bin", "calibration of 01");
  Bench bench{Seed{0x23}, {}, {}, nullptr, images};
  bench.plug_in("a");
  ASSERT_EQ(bench.run(once("a")).exit(), Exit::good) << fault_of(bench, "a");
  auto files = files_on(bench, "a", "storage");
  EXPECT_EQ(files.size(), 4u);
  EXPECT_EQ(files["cal/24d7eb002301.bin"], "calibration of 01");
  auto entries = files_on(bench, "a", "nvs");
  EXPECT_EQ(entries["wifi/ssid"], "lab");
  EXPECT_EQ(entries["net/psk"], "s e,cret");
  for (const auto& run : bench.listener.notes) EXPECT_EQ(run.find("s e,cret"), std::string::npos);

  // Neither a board without a row nor one without its file is written to.
  for (const char* slot : {"b", "c"}) {
    bench.plug_in(slot);
    EXPECT_NE(bench.run(once(slot)).exit(), Exit::good);
    EXPECT_TRUE(std::ranges::all_of(bench.flash(slot), [](std::uint8_t byte) { return byte == 0xff; })) << slot;
    EXPECT_FALSE(bench.device(slot) && bench.device(slot)->certificate) << slot;
  }
  EXPECT_EQ(last(bench, "b").fault->code, Code::values_missing);
  EXPECT_EQ(last(bench, "c").fault->code, Code::input_missing);
  expect_sound(bench);
}

TEST(Images, ThatAreTheSameForEveryBoardArePartsOfTheFirmware) {
  BenchImages images{
      "spiffs", 64_KiB,
      "[[image]]\nformat = \"spiffs\"\nfiles = { \"a.txt\" = \"all\", \"b.bin\" = { file = \"b.bin\" } }\n"};
  images.files.put("b.bin", "B");
  Bench bench{Seed{24}, {}, {}, nullptr, images};
  EXPECT_FALSE(bench.plan.has_identity());
  bench.plug_in("a");
  ASSERT_EQ(bench.run(once("a")).exit(), Exit::good) << fault_of(bench, "a");
  EXPECT_EQ(files_on(bench, "a", "storage"), (std::map<std::string, std::string>{{"/a.txt", "all"}, {"/b.bin", "B"}}));
}

TEST(Images, KeepWhatTheBoardHolds) {
  BenchImages user{
      "nvs", 64_KiB,
      "[[image]]\npartition = \"identity\"\nformat = \"nvs\"\nentries = { user = { name = \"kitchen {mac}\" } }\n"};
  Bytes flash;
  {
    Bench before{Seed{25}, {}, {}, nullptr, user};
    before.plug_in("a");
    ASSERT_EQ(before.run(once("a")).exit(), Exit::good) << fault_of(before, "a");
    flash.assign(before.flash("a").begin(), before.flash("a").end());
  }

  BenchImages images{"nvs", 64_KiB, "[[image]]\npartition = \"identity\"\nformat = \"nvs\"\nkeep = true\n"};
  Bench bench{Seed{25}, {}, {}, nullptr, images};
  bench.plug_in("a", {}, flash);
  ASSERT_EQ(bench.run(once("a")).exit(), Exit::good) << fault_of(bench, "a");
  auto entries = files_on(bench, "a", "identity");
  EXPECT_EQ(entries["user/name"], "kitchen 24d7eb001901");
  EXPECT_EQ(entries.size(), 4u);

  // What cannot be read cannot be kept: nothing is written.
  bench.plug_in("b");
  const FlashRange& range = bench.plan.images.front().partition.range;
  std::fill_n(bench.flash("b").begin() + range.at.bytes, range.size, std::uint8_t{0x5a});
  EXPECT_NE(bench.run(once("b")).exit(), Exit::good);
  EXPECT_EQ(last(bench, "b").fault->code, Code::image_invalid);
  EXPECT_EQ(bench.flash("b")[range.at.bytes], 0x5a);
  EXPECT_EQ(bench.flash("b")[bench.plan.regions.front().at.bytes], 0xff) << "not even firmware";
}

// ---------------------------------------------------------------- keys of the pool

constexpr const char* key_recipe = R"(
[keys]
csv = "keys.csv"
[[image]]
partition = "storage"
format = "littlefs"
files = { "certificate.pem.crt" = "{certificate}", "private.pem.key" = "{private_key}", "aws-root-ca.pem" = "{root_ca}", "key.txt" = "{key.1}:{key.token}" }
)";
constexpr const char* key_rows = "id,token\nK1,1111111111111111\nK2,2222222222222222\n";

BenchImages with_keys() { return {"littlefs", 64_KiB, key_recipe}; }

TEST(KeyInAnImage, IsOneBoardsForEver) {
  Bench bench{Seed{26}, {}, {.csv = key_rows}, nullptr, with_keys()};
  bench.plug_in("a");
  bench.plug_in("b");
  for (const char* slot : {"a", "b", "a"}) ASSERT_EQ(bench.run(once(slot)).exit(), Exit::good) << fault_of(bench, slot);
  EXPECT_EQ(files_on(bench, "a", "storage")["key.txt"], "K1:1111111111111111");
  EXPECT_EQ(files_on(bench, "b", "storage")["key.txt"], "K2:2222222222222222");
  EXPECT_TRUE(last(bench, "a").already);
  bench.plug_in("c");
  EXPECT_NE(bench.run(once("c")).exit(), Exit::good);
  EXPECT_EQ(last(bench, "c").fault->code, Code::pool_exhausted);
  expect_sound(bench);
}

TEST(KeyInAnImage, IsExposedBeforeAByteOfItLeaves) {
  Bench bench{Seed{27}, {}, {.csv = key_rows}, nullptr, with_keys()};
  bench.plug_in("a");
  std::optional<KeyState> state;
  bool writing = false;
  bench.listener.when_step = [&](const std::string&, Step step) { writing = step == Step::flash_identity; };
  bench.before_send = [&](const std::string&, ByteView bytes) {
    if (!writing || state || bytes.size() < 256) return;  // a block of the image
    auto keys = bench.ledger().keys_of("24d7eb001b01");
    if (keys && !keys->empty()) state = keys->back().state;
  };
  ASSERT_EQ(bench.run(once("a")).exit(), Exit::good) << fault_of(bench, "a");
  EXPECT_EQ(state, KeyState::exposed);
  auto keys = bench.ledger().keys_of("24d7eb001b01");
  ASSERT_TRUE(keys);
  EXPECT_EQ(keys->back().state, KeyState::verified);
}

TEST(KeyInAnImage, WaitsForItsBoardThroughAPulledCable) {
  Bench bench{Seed{28}, {}, {.csv = key_rows}, nullptr, with_keys()};
  bench.plug_in("a");
  int blocks = 0;
  bool writing = false;
  bench.listener.when_step = [&](const std::string&, Step step) { writing = step == Step::flash_identity; };
  bench.before_send = [&](const std::string&, ByteView bytes) {
    if (writing && bytes.size() >= 256 && ++blocks == 1) bench.ports().unplug("a");
  };
  EXPECT_NE(bench.run(once("a")).exit(), Exit::good);
  bench.before_send = nullptr;
  bench.plug_in("b");
  ASSERT_EQ(bench.run(once("b")).exit(), Exit::good) << fault_of(bench, "b");
  EXPECT_EQ(files_on(bench, "b", "storage")["key.txt"], "K2:2222222222222222")
      << "the first is a's, whatever became of it";
  bench.ports().plug("a");
  ASSERT_EQ(bench.run(once("a")).exit(), Exit::good) << fault_of(bench, "a");
  EXPECT_EQ(files_on(bench, "a", "storage")["key.txt"], "K1:1111111111111111");
  expect_sound(bench);
}

/// An image with an identity, and a key that the firmware is to be sent: it never asks, so neither is proved. Then the
/// recipe puts the key into the image.
TEST(KeyInAnImage, IsNotProvedByAnImageThatWasMadeWithoutIt) {
  std::string on_the_wire = key_recipe;
  on_the_wire.replace(on_the_wire.find(", \"key.txt\""),
                      on_the_wire.find(" }", on_the_wire.find("key.txt")) - on_the_wire.find(", \"key.txt\""), "");
  const std::filesystem::path keep = std::filesystem::temp_directory_path() / "espmint-images-wire-test";
  std::filesystem::remove_all(keep);
  std::filesystem::create_directories(keep);
  Bytes flash;
  {
    Bench bench{Seed{30}, keep, {.csv = key_rows}, nullptr, {"littlefs", 64_KiB, on_the_wire}};
    bench.plug_in("a");
    EXPECT_NE(bench.run(once("a")).exit(), Exit::good);
    flash.assign(bench.flash("a").begin(), bench.flash("a").end());
  }
  Bench bench{Seed{30}, keep, {.csv = key_rows}, nullptr, with_keys()};
  bench.loop.run([](VirtualLoop& loop) -> Task<> { co_await loop.sleep_for(std::chrono::hours{1}); }(bench.loop));
  bench.plug_in("a", {}, flash);
  ASSERT_EQ(bench.run(once("a")).exit(), Exit::good) << fault_of(bench, "a");
  EXPECT_EQ(files_on(bench, "a", "storage")["key.txt"], "K1:1111111111111111");
  std::filesystem::remove_all(keep);
}

TEST(KeyInAnImage, IsNotForABoardThatIsVerifiedWithoutOne) {
  BenchImages without{"littlefs", 64_KiB, ""};
  std::filesystem::path keep;
  Bytes flash;
  {
    Bench bench{Seed{29}, {}, {}, nullptr, without};
    bench.plug_in("a");
    ASSERT_EQ(bench.run(once("a")).exit(), Exit::good) << fault_of(bench, "a");
    flash.assign(bench.flash("a").begin(), bench.flash("a").end());
    keep = std::filesystem::temp_directory_path() / "espmint-images-test";
    std::filesystem::remove_all(keep);
    bench.reopen_ledger();
    std::filesystem::copy(bench.folder(), keep, std::filesystem::copy_options::recursive);
  }
  std::filesystem::remove(keep / "ledger" / "ledger.lock");
  Bench bench{Seed{29}, keep, {.csv = key_rows}, nullptr, with_keys()};
  bench.plug_in("a", {}, flash);
  EXPECT_NE(bench.run(once("a")).exit(), Exit::good);
  EXPECT_EQ(last(bench, "a").fault->code, Code::board_held) << fault_of(bench, "a");
  EXPECT_NE(fault_of(bench, "a").find("--renew"), std::string::npos);
  bench.options.renew = true;
  ASSERT_EQ(bench.run(once("a")).exit(), Exit::good) << fault_of(bench, "a");
  EXPECT_EQ(files_on(bench, "a", "storage")["key.txt"], "K1:1111111111111111");
  std::filesystem::remove_all(keep);
}

}  // namespace
}  // namespace espmint
