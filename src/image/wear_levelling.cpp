#include "image/wear_levelling.hpp"

#include <fmt/format.h>
#include <zlib.h>

#include "base/text.hpp"

namespace espmint {
namespace {

// Sources: ESP-IDF, wear_levelling component, WL_Config and WL_State; wl_fatfsgen.py (v5.4-dev, d7ca8b94).
constexpr std::uint32_t wl_sector = 4096;
constexpr std::uint32_t wl_update_rate = 16, wl_write_size = 16, wl_version = 2, wl_temp_buffer = 32;
constexpr std::size_t wl_state_header = 64, wl_state_crc_at = 60;
constexpr std::size_t wl_record_size = 16;  // of one step of the sector in reserve
constexpr std::size_t wl_config_crc_at = 32, wl_config_size = 48;
constexpr std::uint32_t wl_reserve_sectors = 1, wl_config_sectors = 1, wl_state_copies = 2, wl_safe_sectors = 2;
constexpr ByteCount wl_largest_partition = 1024_MiB;

// Fields of the state.
constexpr std::size_t wl_max_position_at = 4, wl_move_count_at = 8, wl_version_at = 24, wl_device_id_at = 28;
constexpr std::size_t wl_partition_at = 4;  // in the configuration

std::uint32_t wl_crc(ByteView bytes) {
  return static_cast<std::uint32_t>(crc32(0xffff'ffff, bytes.data(), static_cast<uInt>(bytes.size())));
}

Fault no_wear_levelling(std::string what, std::string seen, std::string advice = {}) {
  return Fault{.code = Code::image_invalid,
               .remedy = Remedy::refuse,
               .what = std::move(what),
               .seen = std::move(seen),
               .advice = std::move(advice)};
}

/// Of one copy: a record for every sector of the partition behind the header.
std::uint64_t wl_state_sectors(std::uint64_t partition_sectors) {
  return (wl_state_header + partition_sectors * wl_record_size + wl_sector - 1) / wl_sector;
}

/// All that is not the file system's.
std::uint64_t wl_overhead(std::uint64_t partition_sectors, WlMode mode) {
  return wl_reserve_sectors + wl_config_sectors + wl_state_copies * wl_state_sectors(partition_sectors) +
         (mode == WlMode::safe ? wl_safe_sectors : 0);
}

Result<void> check_wear_levelling(const WearLevelling& wl) {
  if (wl.sector_size != 512 && wl.sector_size != 4096)
    return fail(
        no_wear_levelling(fmt::format("wear levelling has sectors of 512 or 4096 bytes, not {}", wl.sector_size), {}));
  if (wl.mode == WlMode::safe && wl.sector_size != 512)
    return fail(no_wear_levelling("wear levelling has a safe mode for sectors of 512 bytes only",
                                  fmt::format("sectors of {}", wl.sector_size)));
  return ok();
}

/// Where an image has its parts, in sectors.
struct WlLayout {
  std::uint64_t movable = 0;  // the file system's and the one in reserve
  std::uint64_t state_sectors = 0;
  [[nodiscard]] ByteView state(ByteView image, unsigned copy) const {
    return image.subspan((movable + copy * state_sectors) * wl_sector, state_sectors * wl_sector);
  }
};

/// `partition`: the size for which the state was laid out; a safe image of the generator is shorter.
std::optional<WlLayout> wl_layout_in(ByteView image, std::uint64_t partition) {
  std::uint64_t sectors = image.size() / wl_sector, state = wl_state_sectors(partition / wl_sector);
  std::uint64_t behind = wl_state_copies * state + wl_config_sectors;
  if (image.size() % wl_sector != 0 || sectors < behind + wl_reserve_sectors + 1) return std::nullopt;
  return WlLayout{sectors - behind, state};
}

bool is_wl_state(ByteView state) {
  return wl_crc(state.first(wl_state_crc_at)) == get_u32(state, wl_state_crc_at) &&
         get_u32(state, wl_version_at) == wl_version;
}

struct FoundWlState {
  WlLayout layout;
  ByteView state;
};

std::optional<FoundWlState> find_wl_state_in(ByteView image, std::uint64_t partition) {
  std::optional<WlLayout> layout = wl_layout_in(image, partition);
  if (!layout) return std::nullopt;
  // The firmware prefers the first copy and mends it from the second.
  for (unsigned copy = 0; copy < wl_state_copies; ++copy)
    if (is_wl_state(layout->state(image, copy))) return FoundWlState{*layout, layout->state(image, copy)};
  return std::nullopt;
}

std::optional<FoundWlState> find_wl_state(ByteView image) {
  if (image.size() > wl_largest_partition) return std::nullopt;
  if (auto found = find_wl_state_in(image, image.size())) return found;
  // A safe image of the generator lacks the two sectors that the mode needs; its last sector says for which size it is.
  if (image.size() < wl_sector) return std::nullopt;
  ByteView config = image.last(wl_sector);
  if (wl_crc(config.first(wl_config_crc_at)) != get_u32(config, wl_config_crc_at)) return std::nullopt;
  std::uint64_t partition = get_u32(config, wl_partition_at);
  if (partition != image.size() + std::uint64_t{wl_safe_sectors} * wl_sector) return std::nullopt;
  return find_wl_state_in(image, partition);
}

/// Each step of the reserve leaves a record of four checksums behind; the first that is missing is where it stands.
std::uint32_t reserve_position(ByteView state, std::uint32_t max_position) {
  const std::uint32_t device_id = get_u32(state, wl_device_id_at);
  auto is_written = [&](std::uint32_t step) {
    ByteView record = state.subspan(wl_state_header + std::size_t{step} * wl_record_size, wl_record_size);
    for (std::uint32_t i = 0; i < wl_record_size / 4; ++i) {
      Bytes word;
      put_u32(word, device_id + step * 4 + i);
      if (wl_crc(word) != get_u32(record, i * 4)) return false;
    }
    return true;
  };
  std::uint32_t position = 0;
  while (position + 1 < max_position && is_written(position)) ++position;
  return position;
}

}  // namespace

Result<ByteCount> room_in_wear_levelling(ByteCount partition, const WearLevelling& wl) {
  TRY(check_wear_levelling(wl));
  if (partition == 0 || partition % wl_sector != 0 || partition > wl_largest_partition)
    return fail(no_wear_levelling(
        fmt::format("a partition of {} bytes cannot have wear levelling", partition),
        fmt::format("not a multiple of {}, or more than {}", wl_sector, show_bytes(wl_largest_partition))));
  std::uint64_t sectors = partition / wl_sector, overhead = wl_overhead(sectors, wl.mode);
  if (sectors <= overhead)
    return fail(Fault{.code = Code::image_no_space,
                      .remedy = Remedy::refuse,
                      .what = fmt::format("a partition of {} has no room beside wear levelling", show_bytes(partition)),
                      .seen = fmt::format("it takes {} sectors of {} bytes", overhead, wl_sector),
                      .advice = "enlarge the partition"});
  return (sectors - overhead) * wl_sector;
}

Result<ByteCount> partition_for_wear_levelling(ByteCount room, const WearLevelling& wl) {
  TRY(check_wear_levelling(wl));
  std::uint64_t wanted = (room + wl_sector - 1) / wl_sector, sectors = wanted + wl_overhead(wanted, wl.mode);
  while (sectors - wl_overhead(sectors, wl.mode) < wanted) ++sectors;  // the state grows with the partition
  return sectors * wl_sector;
}

Result<Bytes> wrap_in_wear_levelling(ByteView content, ByteCount partition, const WearLevelling& wl) {
  TRY(ByteCount room, room_in_wear_levelling(partition, wl));
  if (content.size() != room)
    return fail(no_wear_levelling(
        fmt::format("a partition of {} leaves {} bytes inside of wear levelling", show_bytes(partition), room),
        fmt::format("the file system has {}", content.size())));
  const std::uint64_t state_size = wl_state_sectors(partition / wl_sector) * wl_sector;

  Bytes state;
  for (std::uint32_t field :
       {std::uint32_t{0}, static_cast<std::uint32_t>(room / wl_sector + wl_reserve_sectors), std::uint32_t{0},
        std::uint32_t{0}, wl_update_rate, wl_sector, wl_version, wl.device_id.value_or(wl_crc(content))})
    put_u32(state, field);
  state.resize(wl_state_crc_at);
  put_u32(state, wl_crc(state));
  state.resize(state_size, 0xff);

  Bytes config;
  for (std::uint32_t field : {std::uint32_t{0}, static_cast<std::uint32_t>(partition), wl_sector, wl_sector,
                              wl_update_rate, wl_write_size, wl_version, wl_temp_buffer})
    put_u32(config, field);
  put_u32(config, wl_crc(config));
  config.resize(wl_config_size);
  config.resize(wl_sector, 0xff);

  Bytes image;
  image.reserve(wl_reserve_sectors * wl_sector + content.size() + wl_state_copies * state.size() + config.size());
  image.resize(wl_reserve_sectors * wl_sector, 0xff);
  append(image, content);
  for (unsigned copy = 0; copy < wl_state_copies; ++copy) append(image, state);
  append(image, config);
  return image;
}

bool is_wear_levelled(ByteView image) { return find_wl_state(image).has_value(); }

Result<Unwrapped> unwrap_wear_levelling(ByteView image) {
  std::optional<FoundWlState> found = find_wl_state(image);
  if (!found)
    return fail(no_wear_levelling("this has no wear levelling", "no state sector with its checksum where one belongs",
                                  "read the whole partition; encrypted flash looks like this too"));
  const auto& [layout, state] = *found;
  const std::uint64_t sectors = layout.movable - wl_reserve_sectors;
  Unwrapped out;
  out.device_id = get_u32(state, wl_device_id_at);
  out.move_count = get_u32(state, wl_move_count_at);
  if (get_u32(state, wl_max_position_at) != layout.movable || out.move_count >= sectors)
    return fail(no_wear_levelling("the wear levelling is another partition's",
                                  fmt::format("its state counts {} sectors and {} rounds, the image has {} sectors",
                                              get_u32(state, wl_max_position_at), out.move_count, layout.movable),
                                  "give the whole partition, neither more nor less"));
  out.position = reserve_position(state, static_cast<std::uint32_t>(layout.movable));
  out.content.reserve(sectors * wl_sector);
  for (std::uint64_t sector = 0; sector < sectors; ++sector) {
    std::uint64_t place = (sectors - out.move_count + sector) % sectors;
    if (place >= out.position) ++place;  // the reserve lies in front of it
    append(out.content, image.subspan(place * wl_sector, wl_sector));
  }
  return out;
}

}  // namespace espmint
