#include "image/wear_levelling.hpp"

#include <gtest/gtest.h>
#include <zlib.h>

#include <random>

#include "image/fat.hpp"

namespace espmint {
namespace {

constexpr std::size_t sector = 4096;

/// Every sector another one.
Bytes content(std::size_t sectors) {
  Bytes out(sectors * sector);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::uint8_t>(i / sector * 31 + i % 251);
  return out;
}

std::uint32_t crc_of(ByteView bytes) {
  return static_cast<std::uint32_t>(crc32(0xffff'ffff, bytes.data(), static_cast<uInt>(bytes.size())));
}

TEST(WearLevelling, LaysOutThePartitionAsTheReferenceDoes) {
  Bytes inside = content(124);
  Bytes image = wrap_in_wear_levelling(inside, 512_KiB, {.device_id = 0x55aa1234}).value();
  ASSERT_EQ(image.size(), 512_KiB);
  EXPECT_EQ(to_hex(ByteView{image}.first(8)), "ffffffffffffffff");
  EXPECT_TRUE(std::equal(inside.begin(), inside.end(), image.begin() + sector));
  // From an image of wl_fatfsgen.py, ESP-IDF v5.4-dev (d7ca8b94).
  const std::string state =
      "000000007d00000000000000000000001000000000100000020000003412aa55"
      "00000000000000000000000000000000000000000000000000000000c6a16c8a";
  const std::string config =
      "00000000000008000010000000100000100000001000000002000000200000002414ceb0000000000000000000000000";
  EXPECT_EQ(to_hex(ByteView{image}.subspan(125 * sector, 64)), state);
  EXPECT_EQ(to_hex(ByteView{image}.subspan(126 * sector, 64)), state);
  EXPECT_EQ(to_hex(ByteView{image}.subspan(127 * sector, 48)), config);
  EXPECT_EQ(image[125 * sector + 64], 0xff);
  EXPECT_EQ(image.back(), 0xff);
}

TEST(WearLevelling, IsTwoSectorsShortInSafeModeAsTheReferenceIs) {
  WearLevelling safe{.sector_size = 512, .mode = WlMode::safe, .device_id = 0x55aa1234};
  EXPECT_EQ(room_in_wear_levelling(512_KiB, safe).value(), 122 * sector);
  Bytes inside = content(122);
  Bytes image = wrap_in_wear_levelling(inside, 512_KiB, safe).value();
  EXPECT_EQ(image.size(), 126 * sector);
  EXPECT_EQ(to_hex(ByteView{image}.subspan(123 * sector, 8)), "000000007b000000");
  EXPECT_EQ(to_hex(ByteView{image}.subspan(123 * sector + 60, 4)), "34c912c7");
  ASSERT_TRUE(is_wear_levelled(image));
  EXPECT_TRUE(unwrap_wear_levelling(image).value().content == inside);
}

TEST(WearLevelling, NeedsMoreStateInLargerPartitions) {
  EXPECT_EQ(room_in_wear_levelling(252 * sector, {}).value(), (252 - 4) * sector);
  EXPECT_EQ(room_in_wear_levelling(253 * sector, {}).value(), (253 - 6) * sector);
  EXPECT_EQ(room_in_wear_levelling(1_MiB, {}).value(), (256 - 6) * sector);
}

TEST(WearLevelling, FindsTheSmallestPartitionForARoom) {
  for (const WearLevelling& wl : {WearLevelling{}, WearLevelling{.sector_size = 512, .mode = WlMode::safe}}) {
    for (ByteCount room = 1; room < 2_MiB; room += 4000) {
      ByteCount partition = partition_for_wear_levelling(room, wl).value();
      ASSERT_GE(room_in_wear_levelling(partition, wl).value(), room);
      Result<ByteCount> less = room_in_wear_levelling(partition - sector, wl);
      ASSERT_TRUE(!less || *less < room) << room;
    }
  }
}

TEST(WearLevelling, RefusesWhatCannotBe) {
  auto code = [](ByteCount partition, const WearLevelling& wl) {
    Result<ByteCount> room = room_in_wear_levelling(partition, wl);
    return room ? Code::internal : room.error().code;
  };
  EXPECT_EQ(code(1_MiB, {.sector_size = 1024}), Code::image_invalid);
  EXPECT_EQ(code(1_MiB, {.sector_size = 4096, .mode = WlMode::safe}), Code::image_invalid);
  EXPECT_EQ(code(1_MiB, {.sector_size = 512, .mode = WlMode::safe}), Code::internal);
  EXPECT_EQ(code(0, {}), Code::image_invalid);
  EXPECT_EQ(code(1_MiB + 512, {}), Code::image_invalid);
  EXPECT_EQ(code(~ByteCount{0} - 4095, {}), Code::image_invalid);
  EXPECT_EQ(code(4 * sector, {}), Code::image_no_space);
  EXPECT_EQ(code(5 * sector, {}), Code::internal);
  EXPECT_FALSE(wrap_in_wear_levelling(content(2), 5 * sector, {}));
}

TEST(WearLevelling, ChoosesADeviceIdByTheContent) {
  auto id_of = [](const Bytes& inside) {
    return unwrap_wear_levelling(wrap_in_wear_levelling(inside, 5 * sector, {}).value()).value().device_id;
  };
  EXPECT_EQ(id_of(content(1)), id_of(content(1)));
  EXPECT_NE(id_of(content(1)), id_of(Bytes(sector, 0)));
}

/// The firmware's side: each write of a sector may move the reserve by one. Source: WL_Flash.cpp.
class FirmwareLevelling {
 public:
  explicit FirmwareLevelling(Bytes image) : image_(std::move(image)) {
    std::size_t sectors = image_.size() / sector;
    state_size_ = (64 + sectors * 16 + sector - 1) / sector * sector;
    state_at_ = image_.size() - sector - 2 * state_size_;
    max_position_ = get_u32(image_, state_at_ + 4);
    device_id_ = get_u32(image_, state_at_ + 28);
  }
  void step() {
    std::size_t from = (position_ + 1) % max_position_;
    std::copy_n(image_.begin() + static_cast<std::ptrdiff_t>(from * sector), sector,
                image_.begin() + static_cast<std::ptrdiff_t>(position_ * sector));
    // What the sector held stays there; the reserve's bytes mean nothing.
    for (std::size_t copy = 0; copy < 2; ++copy) {
      for (std::uint32_t i = 0; i < 4; ++i) {
        Bytes word;
        put_u32(word, device_id_ + static_cast<std::uint32_t>(position_) * 4 + i);
        set_u32(image_, state_at_ + copy * state_size_ + 64 + position_ * 16 + i * 4, crc_of(word));
      }
    }
    if (++position_ < max_position_) return;
    position_ = 0;
    if (++move_count_ >= max_position_ - 1) move_count_ = 0;
    for (std::size_t copy = 0; copy < 2; ++copy) {
      std::size_t at = state_at_ + copy * state_size_;
      set_u32(image_, at + 8, move_count_);
      set_u32(image_, at + 60, crc_of(ByteView{image_}.subspan(at, 60)));
      std::fill_n(image_.begin() + static_cast<std::ptrdiff_t>(at + 64), state_size_ - 64, std::uint8_t{0xff});
    }
  }
  Bytes image_;
  std::size_t state_at_ = 0, state_size_ = 0, position_ = 0, max_position_ = 0;
  std::uint32_t move_count_ = 0, device_id_ = 0;
};

TEST(WearLevelling, UnwrapsWhatTheFirmwareHasMovedAbout) {
  Bytes inside = content(7);
  FirmwareLevelling firmware{wrap_in_wear_levelling(inside, 11 * sector, {}).value()};
  for (int step = 0; step < 200; ++step) {  // eight steps a round, and the rounds come round after seven
    Result<Unwrapped> seen = unwrap_wear_levelling(firmware.image_);
    ASSERT_TRUE(seen) << describe(seen.error());
    ASSERT_TRUE(seen->content == inside) << step;
    EXPECT_EQ(seen->position, firmware.position_);
    EXPECT_EQ(seen->move_count, firmware.move_count_);
    firmware.step();
  }
}

TEST(WearLevelling, TakesTheSecondStateWhereTheFirstWasBeingWritten) {
  Bytes inside = content(7);
  FirmwareLevelling firmware{wrap_in_wear_levelling(inside, 11 * sector, {}).value()};
  for (int step = 0; step < 13; ++step) firmware.step();
  std::fill_n(firmware.image_.begin() + static_cast<std::ptrdiff_t>(firmware.state_at_), sector, std::uint8_t{0xff});
  ASSERT_TRUE(is_wear_levelled(firmware.image_));
  EXPECT_TRUE(unwrap_wear_levelling(firmware.image_).value().content == inside);
  std::fill_n(firmware.image_.begin() + static_cast<std::ptrdiff_t>(firmware.state_at_ + sector), sector,
              std::uint8_t{0xff});
  EXPECT_FALSE(is_wear_levelled(firmware.image_));
  EXPECT_FALSE(unwrap_wear_levelling(firmware.image_));
}

TEST(WearLevelling, RefusesAStateThatCountsOtherSectors) {
  Bytes image = wrap_in_wear_levelling(content(7), 11 * sector, {}).value();
  auto refuses = [&](std::size_t field, std::uint32_t value) {
    Bytes changed = image;
    for (std::size_t at : {8 * sector, 9 * sector}) {
      set_u32(changed, at + field, value);
      set_u32(changed, at + 60, crc_of(ByteView{changed}.subspan(at, 60)));
    }
    EXPECT_FALSE(unwrap_wear_levelling(changed)) << field;
  };
  refuses(4, 7);
  refuses(4, 0xffff'ffff);
  refuses(8, 7);
  refuses(8, 0xffff'ffff);
  refuses(24, 1);  // version
}

TEST(WearLevelling, IsNotSeenInAPlainFileSystem) {
  EXPECT_FALSE(is_wear_levelled({}));
  EXPECT_FALSE(is_wear_levelled(Bytes(1_MiB, 0)));
  EXPECT_FALSE(is_wear_levelled(Bytes(1_MiB, 0xff)));
  EXPECT_FALSE(is_wear_levelled(build_fat(512_KiB, {}, {}).value()));
}

TEST(WearLevelling, SurvivesTruncationsAndFlippedBits) {
  Bytes inside = content(7);
  Bytes image = wrap_in_wear_levelling(inside, 11 * sector, {}).value();
  for (std::size_t size = 0; size < image.size(); size += 16)
    ASSERT_FALSE(unwrap_wear_levelling(ByteView{image}.first(size))) << size;
  for (std::size_t bit = 8 * sector * 8; bit < (8 * sector + 128) * 8; ++bit) {
    image[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
    Result<Unwrapped> seen = unwrap_wear_levelling(image);
    ASSERT_TRUE(seen) << bit;  // the other copy is whole, and a record that does not fit is none
    ASSERT_TRUE(seen->content == inside) << bit;
    image[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
  }
}

TEST(WearLevelling, CarriesAFatFromEndToEnd) {
  Bytes certificate(1224, 'c');
  FileView file{"certificate.pem.crt", certificate};
  FatGeometry geometry{.long_names = true};
  Bytes volume = build_fat(room_in_wear_levelling(1_MiB, {}).value(), geometry, {&file, 1}).value();
  Bytes partition = wrap_in_wear_levelling(volume, 1_MiB, {}).value();
  EXPECT_FALSE(read_fat(partition));
  std::vector<FileOwned> files = read_fat(unwrap_wear_levelling(partition).value().content).value();
  ASSERT_EQ(files.size(), 1u);
  EXPECT_EQ(files[0].path, file.path);
  EXPECT_TRUE(files[0].content == certificate);
}

}  // namespace
}  // namespace espmint
