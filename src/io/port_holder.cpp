#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/text.hpp"
#include "io/system_ports.hpp"

namespace espmint {

namespace fs = std::filesystem;

namespace {

std::string describe_process(long pid) {
  std::ifstream file(fmt::format("/proc/{}/comm", pid));
  std::string command;
  std::getline(file, command);
  return command.empty() ? fmt::format("pid {}", pid) : fmt::format("pid {} ({})", pid, escape_controls(command));
}

/// Compares the links' text and follows none: a stat of somebody's dead network mount would hang the line.
bool has_open(const fs::path& process, const fs::path& device) {
  std::error_code error;
  for (fs::directory_iterator entry(process / "fd", error), end; !error && entry != end; entry.increment(error)) {
    std::error_code unreadable;
    if (fs::read_symlink(entry->path(), unreadable) == device) return true;
  }
  return false;
}

/// Other users' descriptors are hidden, but /proc/locks names everybody's flocks. Source: proc(5), /proc/locks.
std::optional<long> pid_with_lock_on(const fs::path& device) {
  struct stat node {};
  if (::stat(device.c_str(), &node) != 0) return std::nullopt;
  const std::string inode = fmt::format("{:02x}:{:02x}:{}", major(node.st_dev), minor(node.st_dev), node.st_ino);
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    std::vector<std::string_view> fields;
    for (const std::string_view field : split(line, ' '))
      if (!field.empty()) fields.push_back(field);
    // "1: FLOCK  ADVISORY  WRITE 4711 00:05:123 0 EOF"; "1: -> FLOCK …" only waits for one.
    if (fields.size() < 6 || fields[1] != "FLOCK" || fields[5] != inode) continue;
    if (const auto pid = parse_number(fields[4])) return static_cast<long>(*pid);
  }
  return std::nullopt;
}

}  // namespace

std::string holder_of(const std::string& device) {
  std::error_code error;
  const fs::path node = fs::canonical(device, error);
  if (error) return {};
  bool ourselves = false;
  for (fs::directory_iterator entry("/proc", error), end; !error && entry != end; entry.increment(error)) {
    const auto pid = parse_number(entry->path().filename().string());
    if (!pid || !has_open(entry->path(), node)) continue;
    if (static_cast<long>(*pid) != ::getpid()) return describe_process(static_cast<long>(*pid));
    ourselves = true;
  }
  if (const auto pid = pid_with_lock_on(node); pid && *pid > 0) return describe_process(*pid);
  return ourselves ? describe_process(::getpid()) : std::string{};
}

}  // namespace espmint
