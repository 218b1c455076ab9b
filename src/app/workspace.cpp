#include "app/workspace.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "io/file.hpp"

namespace espmint::app {
namespace fs = std::filesystem;

fs::path ca_folder(const Settings& settings) { return settings.state / "ca"; }

std::string product_key(const std::string& product) {
  std::string folder;
  for (char c : product)
    folder += std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.' ? c : '-';
  if (folder.empty() || folder.front() == '.') folder.insert(0, "product");
  return folder;
}

fs::path product_folder(const Settings& settings, const std::string& product) {
  return settings.state / "products" / product_key(product);
}

std::vector<std::string> products(const Settings& settings) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(settings.state / "products", ignored))
    if (fs::exists(entry.path() / "ledger.db", ignored)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

Result<LocalCa> open_or_make_ca(const Settings& settings, WallTime now, bool& made) {
  made = false;
  auto there = LocalCa::open(ca_folder(settings), now);
  if (there) return there;
  TRY(make_folder(settings.state, true));
  // Two first runs at once: the second waits, then finds the first one's, of which it may have seen a half before.
  TRY(FileLock lock,
      FileLock::wait_for(settings.state / "ca.lock", holder_note("making the CA"), std::chrono::seconds{20}));
  there = LocalCa::open(ca_folder(settings), now);
  if (there || there.error().code != Code::ca_missing) return there;
  made = true;
  return LocalCa::init(ca_folder(settings), "espmint local CA", now);
}

fs::path stub_folder(const Settings& settings) {
  std::error_code error;
  std::vector<fs::path> places;
  if (!settings.stubs.empty()) places.push_back(settings.stubs);
  fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (!error) {
    places.push_back(program.parent_path() / "share/espmint/stub");
    places.push_back(program.parent_path().parent_path() / "share/espmint/stub");
  }
  for (const fs::path& place : places)
    if (fs::is_directory(place, error)) return place;
  return {};
}

StubLibrary load_stubs(const Settings& settings) {
  StubLibrary library;
  fs::path folder = stub_folder(settings);
  if (folder.empty()) return library;
  for (const ChipSpec& chip : all_chips())
    for (const StubFile& file : chip.stubs) {
      if (file.name.empty()) continue;
      auto bytes = read_file(folder / file.name, 1024 * 1024);
      if (!bytes) continue;
      if (auto stub = parse_stub(*bytes))
        library[std::string{file.name}] = std::make_shared<const StubImage>(std::move(*stub));
    }
  return library;
}

std::string holder_note(const std::string& command) {
  char host[256] = "?";
  (void)gethostname(host, sizeof host - 1);
  return fmt::format("pid {} on {}: espmint {}", getpid(), host, command);
}

Result<std::string> choose_product(const Settings& settings, const std::string& named) {
  if (!named.empty()) return named;
  auto all = products(settings);
  if (all.size() == 1) return all.front();
  if (all.empty()) {
    Fault fault{Code::ledger_missing, Remedy::refuse, "there is no ledger yet"};
    fault.where.input = settings.state.string();
    fault.advice = "`espmint run` or `espmint prepare` makes one with the first board; --state names another folder";
    return fail(std::move(fault));
  }
  Fault fault{Code::usage, Remedy::refuse, "there are several products here"};
  for (const auto& name : all) fault.seen += (fault.seen.empty() ? "" : ", ") + name;
  fault.advice = "Say which with --product";
  return fail(std::move(fault));
}

Result<std::unique_ptr<Ledger>> open_ledger_to_read(const Settings& settings, const std::string& product,
                                                    const Clock& clock) {
  return Ledger::open(product_folder(settings, product), {LedgerOptions::Mode::read, product_key(product), {}}, clock);
}

Result<Bytes> RealFolder::read(const std::string& path) const { return read_file(base_ / path); }
bool RealFolder::exists(const std::string& path) const {
  std::error_code ignored;
  return fs::exists(base_ / path, ignored);
}
bool RealFolder::is_folder(const std::string& path) const {
  std::error_code ignored;
  return fs::is_directory(base_ / path, ignored);
}
std::vector<std::string> RealFolder::list(const std::string& path) const {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(base_ / path, ignored))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace espmint::app
