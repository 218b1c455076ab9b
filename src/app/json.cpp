#include "app/json.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstdio>

namespace espmint::app {
namespace {

Json text_or_null(const std::string& text) { return text.empty() ? Json{} : Json(text); }
Json size_or_null(std::uint32_t bytes) { return bytes == 0 ? Json{} : Json(bytes); }

}  // namespace

Json board_json(const BoardInfo& board) {
  Json json;
  json["mac"] = to_string(board.mac);
  json["chip"] = board.chip->name;
  json["revision"] = to_string(board.revision);
  json["unique_id"] = text_or_null(board.unique_id);
  json["flash_id"] = board.flash_id ? Json(fmt::format("{:06x}", board.flash_id)) : Json{};
  json["flash_size"] = size_or_null(board.flash_size);
  return json;
}

Json run_json(const RunRecord& run) {
  Json json;
  bool identified = !run.board.chip.empty();
  json["mac"] = identified ? Json(to_string(run.board.mac)) : Json{};
  json["id"] = text_or_null(run.device_id);
  json["chip"] = text_or_null(run.board.chip);
  json["slot"] = run.slot;
  json["firmware_version"] = text_or_null(run.firmware_version);
  json["firmware_sha256"] = to_hex(run.firmware_sha256);
  json["certificate_sha256"] = run.certificate_sha256 ? Json(to_hex(*run.certificate_sha256)) : Json{};
  json["started"] = text_or_null(run.started);
  json["seconds"] = std::round(run.seconds * 1000) / 1000;
  json["verdict"] = run.verdict;
  json["code"] = text_or_null(run.code);
  json["fault"] = text_or_null(run.fault);
  return json;
}

Json device_json(const DeviceRecord& device) {
  Json json{{"v", 1}};
  json["mac"] = to_string(device.board.mac);
  json["id"] = text_or_null(device.id);
  json["chip"] = text_or_null(device.board.chip);
  json["state"] = name_of(device.state);
  json["certificate_sha256"] = device.certificate ? Json(to_hex(device.certificate->sha256)) : Json{};
  json["cloud_id"] = device.certificate ? text_or_null(device.certificate->cloud_id) : Json{};
  json["key"] = device.key ? Json(*device.key) : Json{};
  json["held"] = text_or_null(device.held);
  json["updated"] = text_or_null(device.updated);
  if (device.last_run) {
    const RunRecord& run = *device.last_run;
    json["slot"] = text_or_null(run.slot);
    json["firmware_version"] = text_or_null(run.firmware_version);
    json["firmware_sha256"] = to_hex(run.firmware_sha256);
    json["started"] = text_or_null(run.started);
    json["seconds"] = std::round(run.seconds * 1000) / 1000;
    json["verdict"] = text_or_null(run.verdict);
    json["code"] = text_or_null(run.code);
    json["fault"] = text_or_null(run.fault);
  }
  return json;
}

Json fault_json(const Fault& fault) {
  return Json{{"v", 1}, {"event", "fault"}, {"code", name_of(fault.code)}, {"fault", describe(fault)}};
}

void print_json(const Json& json) {
  std::string line = json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fflush(stdout);
}

}  // namespace espmint::app
