#include "app/board_report.hpp"

#include <fmt/format.h>

#include <cstdio>

#include "app/json.hpp"
#include "app/terminal.hpp"

namespace espmint::app {
namespace {

std::string_view jtag_words(const Security& security) {
  if (security.jtag_hard) return "switched off for good";
  return security.jtag_soft ? "switched off, until an HMAC key switches it on" : "usable";
}

std::string_view download_words(const Security& security) {
  if (security.download_disabled) return "switched off for good";
  return security.secure_download ? "secure: writes only, nothing is told or read back" : "open";
}

Json security_json(const BoardInfo& board, unsigned crystal) {
  const Security& security = board.security;
  Json json;
  json["crystal_mhz"] = crystal ? Json(crystal) : Json{};
  json["console"] = name_of(board.console);
  json["secure_boot"] = security.secure_boot;
  json["flash_encryption"] = security.flash_encryption;
  json["jtag_disabled"] = security.jtag_disabled();
  json["jtag"] = security.jtag_hard ? "disabled" : security.jtag_soft ? "soft-disabled" : "usable";
  json["download_disabled"] = security.download_disabled;
  json["secure_download"] = security.secure_download;
  Json keys = Json::array();
  for (std::size_t i = 0; i < security.key_purposes.size(); ++i)
    keys.push_back({{"key", i},
                    {"purpose", security.key_purposes[i]},
                    {"words", key_purpose_words(*board.chip, security.key_purposes[i])}});
  json["keys"] = std::move(keys);
  json["burning"] = false;
  return json;
}

}  // namespace

Task<Result<void>> show_board(Loader& loader, const BoardInfo& board, const std::string& port, const Voice& voice) {
  const Security& security = board.security;
  const bool told_all = board.mac != Mac{};  // not in secure download mode
  unsigned crystal = 0;
  if (told_all) {
    CO_TRY(crystal, co_await loader.read_crystal());
  }
  if (voice.json) {
    Json json{{"v", 1}};
    json.update(board_json(board));
    if (!told_all) json["mac"] = json["revision"] = Json{};
    json["port"] = port;
    json.update(security_json(board, crystal));
    print_json(json);
    co_return ok();
  }
  auto row = [](std::string_view name, std::string_view value) {
    std::fputs(fmt::format("{:<18}{}\n", name, value).c_str(), stdout);
  };
  constexpr std::string_view untold = "not told in secure download mode";
  row("port", port);
  row("chip", told_all ? fmt::format("{} revision {}", board.chip->title, to_string(board.revision))
                       : std::string{board.chip->title});
  row("MAC", told_all ? to_string_with_colons(board.mac) : std::string{untold});
  if (!board.unique_id.empty()) row("unique id", board.unique_id);
  if (crystal != 0) row("crystal", fmt::format("{} MHz", crystal));
  row("flash", told_all ? fmt::format("{} (JEDEC id {:06x})", show_bytes(board.flash_size), board.flash_id)
                        : std::string{untold});
  if (board.console != Console::unknown) row("talks over", name_of(board.console));
  row("secure boot", security.secure_boot ? "on" : "off");
  row("flash encryption", security.flash_encryption ? "on" : "off");
  row("JTAG", jtag_words(security));
  row("download mode", download_words(security));
  for (std::size_t i = 0; i < security.key_purposes.size(); ++i)
    row(fmt::format("KEY{}", i), key_purpose_words(*board.chip, security.key_purposes[i]));
  row("burning eFuses", "not offered by this version");
  co_return ok();
}

}  // namespace espmint::app
