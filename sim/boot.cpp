#include "sim/boot.hpp"

#include <fmt/format.h>

#include <array>

#include "sim/digest.hpp"

namespace espmint::sim {
namespace {

constexpr std::size_t long_header = 24, short_header = 8, segment_header = 8;
/// The ESP8266's images have no chip, no revisions and no digest.
std::size_t header_bytes_of(const ChipRow& chip) { return chip.bare_rom ? short_header : long_header; }
constexpr std::uint32_t partition_table_at = 0x8000, partition_table_bytes = 0xc00, entry_bytes = 32;

/// The bootloader's log lines, coloured and stamped as it prints them.
class Log {
 public:
  void info(std::string_view tag, const std::string& message) { line("0;32", 'I', tag, message); }
  void error(std::string_view tag, const std::string& message) { line("0;31", 'E', tag, message); }
  std::string text;

 private:
  void line(std::string_view colour, char level, std::string_view tag, const std::string& message) {
    text += fmt::format("\x1b[{}m{} ({}) {}: {}\x1b[0m\r\n", colour, level, now_ms_, tag, message);
    now_ms_ += 3;
  }
  unsigned now_ms_ = 29;
};

bool segment_fits(const ChipRow& chip, std::uint32_t address, std::uint32_t size) {
  std::uint64_t end = std::uint64_t{address} + size;
  for (const AddressRange& range : {chip.map_data, chip.map_code, chip.ram, chip.other_ram, chip.tight_ram})
    if (range.holds(address) && end <= range.end) return true;
  return false;
}

bool is_mapped(const ChipRow& chip, std::uint32_t address) {
  return chip.map_data.holds(address) || chip.map_code.holds(address);
}

const Partition* find(const std::vector<Partition>& table, std::uint8_t type, std::uint8_t subtype) {
  for (const Partition& row : table)
    if (row.type == type && row.subtype == subtype) return &row;
  return nullptr;
}

std::string_view usage_of(const Partition& row) {
  struct Usage {
    std::uint8_t type, subtype;
    std::string_view text;
  };
  constexpr std::array usages{Usage{0, 0x00, "factory app"}, Usage{1, 0x00, "OTA data"}, Usage{1, 0x01, "RF data"},
                              Usage{1, 0x02, "WiFi data"}, Usage{1, 0x04, "NVS keys"}};
  for (const Usage& usage : usages)
    if (usage.type == row.type && usage.subtype == row.subtype) return usage.text;
  return row.type == 0 ? "OTA app" : "Unknown data";
}

/// CRC-32 over the sequence number, as the bootloader checks an OTA data record.
std::uint32_t ota_crc(ByteView four) {
  std::uint32_t crc = 0;  // ESP-IDF hands in all ones as the previous value, which the routine inverts
  for (std::uint8_t byte : four) {
    crc ^= byte;
    for (int i = 0; i < 8; ++i) crc = crc & 1 ? crc >> 1 ^ 0xedb8'8320 : crc >> 1;
  }
  return ~crc;
}

/// Which application slots to try, best first.
std::vector<const Partition*> candidates(const std::vector<Partition>& table, ByteView flash) {
  std::vector<const Partition*> out, ota;
  for (std::uint8_t subtype = 0x10; subtype < 0x20; ++subtype)
    if (const Partition* slot = find(table, 0, subtype)) ota.push_back(slot);
  const Partition* factory = find(table, 0, 0);
  const Partition* data = find(table, 1, 0);
  std::uint32_t best = 0;
  if (data && !ota.empty() && std::uint64_t{data->at} + 0x2000 <= flash.size()) {
    for (std::uint32_t sector : {0u, 0x1000u}) {
      ByteView record = flash.subspan(data->at + sector, 32);
      std::uint32_t sequence = get_u32(record, 0);
      if (sequence == 0xffff'ffff || get_u32(record, 28) != ota_crc(record.first(4))) continue;
      best = std::max(best, sequence);
    }
  }
  if (best != 0) out.push_back(ota[(best - 1) % ota.size()]);
  if (factory) out.push_back(factory);
  for (const Partition* slot : ota) out.push_back(slot);
  return out;
}

std::string c_text(ByteView bytes) {
  std::string_view text = as_text(bytes);
  std::string out;
  for (char c : text.substr(0, text.find('\0')))
    if (c >= 0x20 && c < 0x7f) out += c;
  return out;
}

void say_application(Log& log, ByteView flash, const ImageCheck& app, const ChipRow& chip) {
  log.info("cpu_start", "Pro cpu up.");
  // esp_app_desc_t lies at the start of the first mapped segment.
  if (!app.segments.empty() && app.segments[0].size >= 256) {
    ByteView desc = flash.subspan(app.segments[0].flash_at, 256);
    if (get_u32(desc, 0) == 0xabcd'5432) {
      log.info("cpu_start", "Application information:");
      log.info("cpu_start", "Project name:     " + c_text(desc.subspan(48, 32)));
      log.info("cpu_start", "App version:      " + c_text(desc.subspan(16, 32)));
      log.info("cpu_start", "Compile time:     " + c_text(desc.subspan(96, 16)) + " " + c_text(desc.subspan(80, 16)));
      log.info("cpu_start", "ELF file SHA256:  " + to_hex(desc.subspan(144, 8)) + "...");
      log.info("cpu_start", "ESP-IDF:          " + c_text(desc.subspan(112, 32)));
    }
  }
  log.info("cpu_start", fmt::format("Starting app cpu, entry point is 0x{:08x}", app.entry));
  log.info("heap_init", "Initializing. RAM available for dynamic allocation:");
  log.info("spi_flash", "detected chip: generic");
  log.info("cpu_start", fmt::format("Starting scheduler on {}.", chip.image_chip_id == 5 ? "CPU0" : "PRO CPU"));
}

std::string kind_of(ByteView flash, const ImageCheck& app) {
  if (app.segments.empty() || app.segments[0].size < app_description_bytes + app_marker_bytes) return {};
  std::string text = c_text(flash.subspan(app.segments[0].flash_at + app_description_bytes, app_marker_bytes));
  return text.starts_with(app_marker) ? text.substr(app_marker.size()) : std::string{};
}

std::string version(unsigned full) { return fmt::format("v{}.{}", full / 100, full % 100); }

/// What the second-stage bootloader says of a chip that is older or newer than the header allows; empty for a fitting
/// one. Of itself it asks for the oldest only.
/// Source: ESP-IDF, App Image Format (min_chip_rev_full, max_chip_rev_full); Chip Revision.
std::string unfit_revision(const Chip& chip, ByteView header, bool is_bootloader) {
  if (chip.row().bare_rom) return {};
  unsigned oldest = get_u16(header, 15), newest = get_u16(header, 17);
  // Before ESP-IDF 5 one byte said a major revision, on the ESP32-C3 a minor one.
  constexpr std::uint16_t esp32c3 = 5;
  if (oldest == 0 && newest == 0) oldest = chip.row().image_chip_id == esp32c3 ? header[14] : header[14] * 100u;
  if (chip.revision < oldest)
    return fmt::format("Image requires chip rev >= {}, but chip is {}", version(oldest), version(chip.revision));
  bool has_newest = newest != 0 && newest != 0xffff;
  if (!is_bootloader && has_newest && chip.revision > newest)
    return fmt::format("Image requires chip rev <= {}, but chip is {}", version(newest), version(chip.revision));
  return {};
}

}  // namespace

ImageCheck check_image(const ChipRow& chip, ByteView flash, std::uint32_t at, std::uint32_t limit) {
  ImageCheck check;
  auto bad = [&check](std::string fault) {
    check.fault = std::move(fault);
    return check;
  };
  std::uint64_t end = std::min<std::uint64_t>(std::uint64_t{at} + limit, flash.size());
  std::size_t header_bytes = header_bytes_of(chip);
  if (at + header_bytes > end) return bad("image lies outside the flash");
  ByteView header = flash.subspan(at, header_bytes);
  if (header[0] != image_magic)
    return bad(fmt::format("image at 0x{:x} has invalid magic byte (nothing flashed here?)", at));
  if (header[1] == 0 || header[1] > 16)
    return bad(fmt::format("image at 0x{:x} segment count {} exceeds max 16", at, header[1]));
  bool is_long = header_bytes == long_header;
  if (is_long && get_u16(header, 12) != chip.image_chip_id && get_u16(header, 12) != 0xffff)
    return bad(fmt::format("mismatch chip ID, expected {}, found {}", chip.image_chip_id, get_u16(header, 12)));
  check.entry = get_u32(header, 4);
  std::uint64_t next = at + header_bytes;
  std::uint8_t checksum = 0xef;
  for (unsigned i = 0; i < header[1]; ++i) {
    if (next + segment_header > end) return bad(fmt::format("segment {} header lies outside its partition", i));
    std::uint32_t address = get_u32(flash, next), size = get_u32(flash, next + 4);
    next += segment_header;
    if (next + size > end) return bad(fmt::format("segment {} length 0x{:x} runs past its partition", i, size));
    if (size % 4 != 0) return bad(fmt::format("unaligned segment length 0x{:x}", size));
    if (size != 0 && address != 0 && !segment_fits(chip, address, size))
      return bad(fmt::format("segment {}: bad load address range 0x{:08x}-0x{:08x}", i, address, address + size));
    if (is_mapped(chip, address) && (next - address) % 0x10000 != 0)
      return bad(fmt::format("segment {} load address 0x{:08x}, doesn't match data 0x{:08x}", i, address, next));
    for (std::uint8_t byte : flash.subspan(next, size)) checksum = static_cast<std::uint8_t>(checksum ^ byte);
    check.segments.push_back({static_cast<std::uint32_t>(next), address, size});
    next += size;
  }
  // The checksum is the last byte of a block of 16.
  std::uint64_t last = at + ((next - at) | 15);
  if (last >= end) return bad("checksum lies outside its partition");
  if (flash[last] != checksum)
    return bad(fmt::format("Checksum failed. Calculated 0x{:x} read 0x{:x}", checksum, flash[last]));
  next = last + 1;
  if (is_long && header[23] == 1) {
    if (next + digest_bytes > end) return bad("digest lies outside its partition");
    Bytes computed = digest(EVP_sha256(), flash.subspan(at, next - at));
    if (!std::equal(computed.begin(), computed.end(), flash.begin() + static_cast<std::ptrdiff_t>(next)))
      return bad("Image hash failed - image is corrupt");
    next += digest_bytes;
  }
  check.size = static_cast<std::uint32_t>(next - at);
  return check;
}

std::optional<std::vector<Partition>> read_partition_table(ByteView flash, std::uint32_t at, std::string& fault) {
  if (std::uint64_t{at} + partition_table_bytes > flash.size()) {
    fault = "partition table lies outside the flash";
    return std::nullopt;
  }
  ByteView table = flash.subspan(at, partition_table_bytes);
  std::vector<Partition> rows;
  for (std::uint32_t i = 0; i + entry_bytes <= partition_table_bytes; i += entry_bytes) {
    ByteView entry = table.subspan(i, entry_bytes);
    std::uint16_t magic = get_u16(entry, 0);
    if (magic == 0x50aa) {
      Partition row{c_text(entry.subspan(12, 16)), entry[2], entry[3], get_u32(entry, 4), get_u32(entry, 8)};
      if (std::uint64_t{row.at} + row.size > flash.size()) {
        fault = fmt::format("partition {} invalid - offset 0x{:x} size 0x{:x} exceeds flash chip size 0x{:x}", i / 32,
                            row.at, row.size, flash.size());
        return std::nullopt;
      }
      rows.push_back(std::move(row));
    } else if (magic == 0xebeb) {
      Bytes computed = digest(EVP_md5(), table.first(i));
      if (!std::equal(computed.begin(), computed.end(), entry.begin() + 16)) {
        fault = "partition table has incorrect MD5 checksum";
        return std::nullopt;
      }
    } else if (magic == 0xffff) {
      if (!rows.empty()) return rows;
      fault = "partition 0 invalid magic number 0xffff";
      return std::nullopt;
    } else {
      fault = fmt::format("partition {} invalid magic number 0x{:x}", i / 32, magic);
      return std::nullopt;
    }
  }
  fault = "partition table has no end";
  return std::nullopt;
}

namespace {

/// The ROM's part: the bootloader's header, segments and checksum.
bool boot_rom(const Chip& specimen, ByteView flash, std::string& text) {
  const ChipRow& chip = specimen.row();
  std::uint32_t at = chip.bootloader_offset;
  std::size_t header_bytes = header_bytes_of(chip);
  ByteView header = flash.size() >= at + header_bytes ? flash.subspan(at, header_bytes) : ByteView{};
  if (header.empty() || header[0] != image_magic || specimen.security.flash_encryption) {
    std::uint32_t word = header.empty() ? 0xffff'ffff : get_u32(header, 0);
    constexpr std::uint32_t as_deciphered = 0x5bd1'e995;  // clear text read through the cipher is noise
    if (specimen.security.flash_encryption) word ^= as_deciphered;
    if (chip.bare_rom) text += "ets_main.c 542 \r\n";
    for (int i = 0; i < 8 && !chip.bare_rom; ++i) text += fmt::format("invalid header: 0x{:08x}\r\n", word);
    return false;
  }
  text += chip.flash_setup;
  constexpr std::array modes{"QIO", "QOUT", "DIO", "DOUT"};
  if (!chip.bare_rom)
    text += fmt::format("mode:{}, clock div:{}\r\n", header[2] < 4 ? modes[header[2]] : "DIO",
                        (header[3] & 0xf) == 0xf ? 1 : 2);
  std::uint32_t room = at < partition_table_at ? partition_table_at - at : 0x8000;
  ImageCheck loader = check_image(chip, flash, at, room);
  for (const ImageCheck::Segment& segment : loader.segments)
    text += fmt::format(fmt::runtime(chip.load_format), segment.address, segment.size);
  if (!loader.fault.empty()) {
    text += "csum err:" + loader.fault + "\r\nets_main.c 371 \r\n";
    return false;
  }
  if (specimen.security.secure_boot) {
    // A sector of its own behind the image. Source: ESP-IDF, Secure Boot V2, Signature Block Format.
    std::uint64_t block = (std::uint64_t{at} + loader.size + 0xfff) & ~std::uint64_t{0xfff};
    bool is_signed =
        block + 2 <= flash.size() && flash[block] == 0xe7 && (flash[block + 1] == 2 || flash[block + 1] == 3);
    if (!is_signed) {
      text += "secure boot verification failed\r\n";
      return false;
    }
    text += "secure boot verification succeeded\r\n";
  }
  text += chip.bare_rom ? fmt::format("csum 0x{:02x}\r\n", flash[at + loader.size - 1])
                        : fmt::format("entry 0x{:08x}\r\n", loader.entry);
  return true;
}

std::string_view flash_size_text(const ChipRow& chip, std::uint8_t code) {
  constexpr std::array sizes{"1MB", "2MB", "4MB", "8MB", "16MB", "32MB", "64MB", "128MB"};
  constexpr std::array old_sizes{"512KB", "256KB", "1MB", "2MB", "4MB", "2MB", "4MB", "?", "8MB", "16MB"};
  if (chip.bare_rom) return code < old_sizes.size() ? old_sizes[code] : "?";
  return code < sizes.size() ? sizes[code] : "?";
}

}  // namespace

Boot boot(const Chip& specimen, ByteView flash) {
  const ChipRow& chip = specimen.row();
  Boot result;
  if (!boot_rom(specimen, flash, result.rom_text)) return result;
  ByteView header = flash.subspan(chip.bootloader_offset, header_bytes_of(chip));

  Log log;
  log.info("boot", "ESP-IDF v5.1.2 2nd stage bootloader");
  log.info("boot", fmt::format("SPI Flash Size : {}", flash_size_text(chip, header[3] >> 4)));
  if (!chip.bare_rom) log.info("boot", fmt::format("chip revision: {}", version(specimen.revision)));
  if (std::string unfit = unfit_revision(specimen, header, true); !unfit.empty()) {
    log.error("boot_comm", unfit);
    result.log = std::move(log.text);
    return result;
  }
  std::string fault;
  std::optional<std::vector<Partition>> table = read_partition_table(flash, partition_table_at, fault);
  if (!table) {
    log.error("flash_parts", fault);
    log.error("boot", "Failed to verify partition table");
    log.error("boot", "load partition table error!");
    result.log = std::move(log.text);
    return result;
  }
  result.partitions = std::move(*table);
  log.info("boot", "Partition Table:");
  log.info("boot", "## Label            Usage          Type ST Offset   Length");
  for (std::size_t i = 0; i < result.partitions.size(); ++i) {
    const Partition& row = result.partitions[i];
    log.info("boot", fmt::format("{:2} {:<16} {:<16} {:02x} {:02x} {:08x} {:08x}", i, row.label, usage_of(row),
                                 row.type, row.subtype, row.at, row.size));
  }
  log.info("boot", "End of partition table");
  for (const Partition* slot : candidates(result.partitions, flash)) {
    ImageCheck app = check_image(chip, flash, slot->at, slot->size);
    if (std::string unfit;
        app.fault.empty() &&
        !(unfit = unfit_revision(specimen, flash.subspan(slot->at, header_bytes_of(chip)), false)).empty()) {
      log.error("boot_comm", unfit);
      log.error("boot", fmt::format("{} app partition is not bootable", slot->subtype == 0 ? "Factory" : "OTA"));
      continue;
    }
    if (!app.fault.empty()) {
      log.error("esp_image", app.fault);
      log.error("boot", fmt::format("{} app partition is not bootable", slot->subtype == 0 ? "Factory" : "OTA"));
      continue;
    }
    for (std::size_t i = 0; i < app.segments.size(); ++i)
      log.info("esp_image",
               fmt::format("segment {}: paddr={:08x} vaddr={:08x} size={:05x}h ({:6}) {}", i, app.segments[i].flash_at,
                           app.segments[i].address, app.segments[i].size, app.segments[i].size,
                           is_mapped(chip, app.segments[i].address) ? "map" : "load"));
    log.info("boot", fmt::format("Loaded app from partition at offset 0x{:x}", slot->at));
    say_application(log, flash, app, chip);
    result.app_kind = kind_of(flash, app);
    result.running = true;
    break;
  }
  if (!result.running) log.error("boot", "No bootable app partitions in the partition table");
  result.log = std::move(log.text);
  return result;
}

}  // namespace espmint::sim
