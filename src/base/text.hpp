// base/text.hpp: text from people and for people: sizes, numbers, near misses, and bytes made safe to show.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace espmint {

/// Control bytes (but not newline and tab) as \xNN, so that a board's words cannot steer a terminal.
std::string escape_controls(std::string_view text);
/// The candidate nearest to `word` when it is near enough to be a typing mistake; empty otherwise.
std::string nearest(std::string_view word, std::span<const std::string_view> candidates);
/// "1048576", "0x100000", "1024K", "1M", "1MB": all the same number. Nothing for anything else or past 64 bits.
std::optional<std::uint64_t> parse_number(std::string_view text);
/// "4 MB", "960 KB", "100 B", as the field writes flash sizes (1 KB = 1024 B).
std::string show_bytes(std::uint64_t bytes);
std::string_view trim(std::string_view text);
std::string lower(std::string_view text);
std::vector<std::string_view> split(std::string_view text, char separator);

}  // namespace espmint
