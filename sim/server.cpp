#include "sim/server.hpp"

#include <fmt/format.h>
#include <stdlib.h>  // NOLINT: mkdtemp is POSIX

#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <nlohmann/json.hpp>
#include <ostream>
#include <tuple>

#include "base/text.hpp"
#include "sim/board_host.hpp"
#include "sim/efuse.hpp"

namespace espmint::sim {
namespace asio = boost::asio;

namespace {

Result<void> check(const ServerOptions& options) {
  auto refuse = [](std::string what, std::string advice) {
    return fail({.code = Code::usage, .remedy = Remedy::refuse, .what = std::move(what), .advice = std::move(advice)});
  };
  const ChipRow* chip = chip_row_named(options.chip);
  if (!chip) {
    std::string known;
    for (const ChipRow& row : all_chip_rows()) known += fmt::format("{}{}", known.empty() ? "" : ", ", row.name);
    return refuse("there is no virtual " + options.chip, "known: " + known);
  }
  if (options.revision && !can_have_revision(*chip, *options.revision))
    return refuse(fmt::format("no {} has revision {}.{}", chip->name, *options.revision / 100, *options.revision % 100),
                  fmt::format("the usual one is {}.{}", chip->revision / 100, chip->revision % 100));
  Security possible = possible_security(*chip);
  const Security& wanted = options.security;
  for (auto [has, can, what] : {std::tuple{wanted.secure_boot, possible.secure_boot, "secure boot"},
                                {wanted.flash_encryption, possible.flash_encryption, "flash encryption"},
                                {wanted.secure_download, possible.secure_download, "secure download mode"},
                                {!options.hmac_key.empty(), possible.hmac_key, "key for HMAC"}})
    if (has && !can) return refuse(fmt::format("the {} knows no {}", chip->name, what), "another chip, or without");
  if (!options.hmac_key.empty() && options.hmac_key.size() != hmac_key_bytes)
    return refuse(fmt::format("an HMAC key has 32 B, this one {}", options.hmac_key.size()), "32 random bytes");
  if (!preset_named(options.preset)) {
    std::string known;
    for (const Preset& row : presets) known += fmt::format("{}{}", known.empty() ? "" : ", ", row.name);
    return refuse("there is no preset " + options.preset, "known: " + known);
  }
  if (!options.symptom.empty() && !symptom_named(options.symptom))
    return refuse("there is no symptom " + options.symptom, "known: " + symptom_names());
  bool is_power_of_two = (options.flash_size & (options.flash_size - 1)) == 0;
  if (!is_power_of_two || options.flash_size < 256_KiB || options.flash_size > 128_MiB)
    return refuse("no flash chip has " + show_bytes(options.flash_size), "a power of two from 256 KB to 128 MB");
  if (options.count == 0 || options.count > 1000) return refuse("that many boards are not possible", "1 to 1000");
  return ok();
}

}  // namespace

std::string to_json_line(const BoardAddress& board) {
  nlohmann::ordered_json line;
  line["v"] = 1;
  line["mac"] = to_string(board.mac);
  line["chip"] = board.chip;
  line["rfc2217"] = board.rfc2217;
  line["pty"] = board.pty;
  line["control"] = board.control;
  line["flash_file"] = board.flash_file;
  return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Mac mac_of(std::uint64_t seed, unsigned index) {
  // A stretch of consecutive addresses, as a reel of modules has.
  std::uint32_t first = static_cast<std::uint32_t>(Dice{seed}.roll()) & 0xff'ffff;
  std::uint32_t own = (first + index) & 0xff'ffff;
  return Mac{{0x24, 0xd7, 0xeb, static_cast<std::uint8_t>(own >> 16), static_cast<std::uint8_t>(own >> 8),
              static_cast<std::uint8_t>(own)}};
}

Result<std::unique_ptr<BoardServer>> BoardServer::start(asio::io_context& context, ServerOptions options) {
  TRY(check(options));
  std::unique_ptr<BoardServer> server{new BoardServer};
  std::error_code error;
  if (options.folder.empty()) {
    std::string pattern = (std::filesystem::temp_directory_path(error) / "espmint-sim-XXXXXX").string();
    if (!::mkdtemp(pattern.data())) error = {errno, std::system_category()};
    server->folder_ = pattern;
    server->remove_folder_ = !error;
  } else {
    std::filesystem::create_directories(options.folder, error);
    server->folder_ = std::filesystem::absolute(options.folder);
  }
  if (error) {
    return fail({.code = Code::output_unwritable,
                 .remedy = Remedy::refuse,
                 .what = "cannot make the folder for the boards",
                 .where = {.input = server->folder_.string()},
                 .seen = error.message()});
  }
  for (unsigned i = 0; i < options.count; ++i) {
    std::filesystem::path stem = server->folder_ / fmt::format("board{}", i);
    std::string flash_path = stem.string() + ".flash";
    TRY(FlashFile flash, FlashFile::open(flash_path, options.flash_size));
    std::uint64_t seed = options.seed * 1'000'003 + i;
    if (options.dirty && flash.is_new()) NorFlash{flash.bytes()}.make_dirty(seed);
    BoardOptions about{.chip = options.chip, .mac = mac_of(options.seed, i), .preset = options.preset, .seed = seed};
    about.faults = options.faults;
    about.faults.seed += i;
    about.native_usb = options.native_usb;
    about.revision = options.revision;
    about.crystal_mhz = options.crystal_mhz;
    about.security = options.security;
    about.hmac_key = options.hmac_key;
    about.symptom = symptom_named(options.symptom).value_or(Symptom::none);
    std::uint64_t spread = options.rtc_spread_per_mille;
    about.rtc_per_mille = static_cast<int>(Dice{seed}.below(2 * spread + 1)) - static_cast<int>(spread);
    auto host = std::make_shared<BoardHost>(context, about, std::move(flash), stem);
    server->hosts_.push_back(host);
    TRY(host->open());
    server->addresses_.push_back({about.mac, options.chip, fmt::format("rfc2217://127.0.0.1:{}", host->tcp_port()),
                                  host->pty_path(), host->control_path(), flash_path});
  }
  return server;
}

BoardServer::~BoardServer() {
  for (const auto& host : hosts_) host->close();
  std::error_code ignored;
  if (remove_folder_) std::filesystem::remove_all(folder_, ignored);
}

std::string BoardServer::control(std::size_t board, std::string_view line) {
  return board < hosts_.size() ? hosts_[board]->control(line) : "error there is no such board";
}

std::vector<std::string> BoardServer::warnings() const {
  std::vector<std::string> all;
  for (const auto& host : hosts_)
    for (const std::string& warning : host->board().warnings())
      all.push_back(fmt::format("{}: {}", to_string(host->board().mac()), warning));
  return all;
}

Result<void> run_boards(const ServerOptions& options, std::ostream& out) {
  asio::io_context context{1};
  asio::signal_set signals{context, SIGINT, SIGTERM};
  signals.async_wait([&context](const boost::system::error_code& error, int) {
    if (!error) context.stop();
  });
  TRY(std::unique_ptr<BoardServer> server, BoardServer::start(context, options));
  for (const BoardAddress& board : server->boards()) out << to_json_line(board) << '\n';
  out.flush();
  context.run();
  return ok();
}

}  // namespace espmint::sim
