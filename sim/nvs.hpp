// sim/nvs.hpp: the virtual board's own NVS library: reads and writes the partition as the firmware's would, on NOR
// flash, entry after entry. Writes strings and u8; reads every type, and keeps what it does not write.
//   Nvs nvs{flash, 0x9000, 0x6000};
//   nvs.set_string("provision", "key1", "…");
//   nvs.get_u8("provision", "done")          // 1, or nothing
//   nvs.all()                                // every value, of every namespace
// Encrypted partitions: sim/nvs_keys.hpp. Shares nothing with the station's builder. Source: ESP-IDF Programming Guide,
// NVS Library, Internals; reads versions 1 and 2, writes version 2.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "sim/nor_flash.hpp"
#include "sim/stored_file.hpp"

namespace espmint::sim {

class Nvs {
 public:
  static constexpr std::uint32_t page_bytes = 4096, entry_bytes = 32, entries = 126;
  static constexpr std::size_t longest_key = 15, longest_string = 4000;  // the string with its NUL

  /// The partition lies at `at`, whole pages; a part that lies beyond the chip is left out.
  Nvs(NorFlash flash, std::uint32_t at, std::uint32_t size);

  [[nodiscard]] std::optional<std::uint8_t> get_u8(std::string_view name_space, std::string_view key) const;
  [[nodiscard]] std::optional<std::string> get_string(std::string_view name_space, std::string_view key) const;
  /// False when there is no room or the name is no name. An equal value is not written again.
  bool set_u8(std::string_view name_space, std::string_view key, std::uint8_t value);
  bool set_string(std::string_view name_space, std::string_view key, std::string_view value);

  /// The newest value of each name, as they lie: integers little-endian, strings without their NUL, blobs put together.
  /// What lacks a part, or has a wrong checksum, is left out.
  [[nodiscard]] std::vector<StoredFile> all() const;
  /// Pages in use that hold entries, but not one whose checksum is right: encrypted, or with another key.
  [[nodiscard]] bool is_unreadable() const;
  /// Without one the library does not start, unless the partition is too small to be written: below 3 pages.
  [[nodiscard]] bool has_free_page() const { return pages_ < 3 || used_pages().size() < pages_; }

 private:
  struct Place {
    std::uint32_t page, entry, span;
  };
  using Entry = std::array<std::uint8_t, entry_bytes>;

  [[nodiscard]] std::uint32_t address(std::uint32_t page) const { return at_ + page * page_bytes; }
  [[nodiscard]] std::uint32_t address(const Place& place) const;
  [[nodiscard]] std::uint32_t state_of(std::uint32_t page) const;
  [[nodiscard]] std::uint32_t sequence_of(std::uint32_t page) const;
  [[nodiscard]] unsigned entry_state(std::uint32_t page, std::uint32_t entry) const;
  void set_entry_state(std::uint32_t page, std::uint32_t entry, unsigned state);
  [[nodiscard]] std::uint32_t first_empty(std::uint32_t page) const;
  /// Written entries whose own checksum is right, in order.
  [[nodiscard]] std::vector<Place> items(std::uint32_t page) const;
  [[nodiscard]] std::vector<std::uint32_t> used_pages() const;  // oldest first
  /// What lies behind an entry of variable length; nothing when its checksum is wrong.
  [[nodiscard]] std::optional<Bytes> data_of(const Place&) const;
  [[nodiscard]] ByteView entry_at(const Place&) const;
  [[nodiscard]] std::optional<Place> find(std::uint8_t space, std::uint8_t type, std::string_view key) const;
  [[nodiscard]] std::optional<std::uint8_t> find_space(std::string_view name) const;
  std::optional<std::uint8_t> make_space(std::string_view name);
  bool put(std::uint8_t space, std::uint8_t type, std::string_view key, ByteView value, ByteView data);
  void erase(const Place&);
  std::optional<std::uint32_t> page_for(std::uint32_t span);
  std::optional<std::uint32_t> open_page(std::uint32_t page);
  std::optional<std::uint32_t> collect_garbage(std::uint32_t into);

  mutable NorFlash flash_;
  std::uint32_t at_, pages_;
};

}  // namespace espmint::sim
