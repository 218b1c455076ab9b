// app/json.hpp: records as the JSON lines that other programs rely on (docs/formats/events.md). Absent is null.
#pragma once

#include <nlohmann/json.hpp>

#include "ledger/ledger.hpp"
#include "rom/identify.hpp"

namespace espmint::app {

using Json = nlohmann::ordered_json;

Json board_json(const BoardInfo&);
Json run_json(const RunRecord&);
Json device_json(const DeviceRecord&);
Json fault_json(const Fault&);
/// One object, one line, on stdout. Bytes that are no UTF-8 are replaced.
void print_json(const Json&);

}  // namespace espmint::app
