#include "app/plan_json.hpp"

namespace espmint::app {

Json plan_json(const Plan& plan) {
  Json json{{"v", 1}, {"event", "plan"}, {"product", plan.product}, {"chip", plan.chip->name}, {"digest", to_hex(plan.digest)},
            {"firmware_version", plan.firmware_version}, {"firmware_sha256", to_hex(plan.firmware_sha256)}};
  json["regions"] = Json::array();
  for (const PlannedRegion& region : plan.regions)
    json["regions"].push_back({{"offset", region.at.bytes}, {"size", region.bytes->size()}, {"label", region.label}, {"source", region.source}});
  json["erases"] = Json::array();
  for (const PlannedErase& erase : plan.erases)
    json["erases"].push_back({{"offset", erase.range.at.bytes}, {"size", erase.range.size}, {"label", erase.label}, {"why", erase.why}});
  json["identity"] = nullptr;
  if (plan.identity) {
    const IdentityPlan& identity = *plan.identity;
    Json files = Json::array();
    for (const IdentityFile& file : identity.files) files.push_back({{"path", file.path}, {"content", file.content}});
    for (const FileOwned& file : identity.shared_files) files.push_back({{"path", file.path}, {"size", file.content.size()}});
    json["identity"] = Json{{"partition", identity.partition.name}, {"offset", identity.partition.range.at.bytes}, {"size", identity.partition.range.size},
                            {"key", plan.key}, {"issuer", plan.issuer}, {"id", plan.id_template}, {"files", files}};
  }
  json["notes"] = plan.notes;
  return json;
}

}  // namespace espmint::app
