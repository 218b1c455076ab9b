#include "app/plan_json.hpp"

#include <fmt/format.h>

namespace espmint::app {
namespace {

Json content_json(const Template& content) {
  return content.from_disk ? Json{{"file", content.text}} : Json(content.text);
}

Json image_json(const ImagePlan& image) {
  Json files = Json::array(), entries = Json::array();
  for (const ImageFile& file : image.files)
    files.push_back({{"path", file.path}, {"content", content_json(file.content)}});
  for (const FileOwned& file : image.shared_files)
    files.push_back({{"path", file.path}, {"size", file.content.size()}});
  for (const ImageEntry& entry : image.entries)
    entries.push_back({{"namespace", entry.space},
                       {"key", entry.key},
                       {"encoding", entry.encoding},
                       {"content", content_json(entry.content)}});
  for (const NvsEntry& entry : image.shared_entries)
    entries.push_back({{"namespace", entry.space}, {"key", entry.key}});
  Json json{{"partition", image.partition.name},
            {"offset", image.partition.range.at.bytes},
            {"size", image.partition.range.size},
            {"format", name_of(image.format)},
            {"keep", image.keep}};
  if (image.format == ImageFormat::nvs)
    json["entries"] = std::move(entries);
  else
    json["files"] = std::move(files);
  if (image.keys_partition) json["keys_partition"] = image.keys_partition->name;
  return json;
}

Json text_or_null(const std::string& text) { return text.empty() ? Json{} : Json(text); }

Json aws_json(const AwsPlan& aws) {
  Json json{{"region", text_or_null(aws.region)},
            {"profile", text_or_null(aws.profile)},
            {"endpoint_url", text_or_null(aws.endpoint_url)},
            {"data_endpoint", text_or_null(aws.data_endpoint)},
            {"issuance", name_of(aws.issuance)},
            {"policy_name", aws.policy_name},
            {"policy_file", text_or_null(aws.policy_file)},
            {"topic_prefix", aws.topic_prefix},
            {"thing_type", text_or_null(aws.thing_type)},
            {"attributes", aws.attributes},
            {"groups", aws.groups},
            {"adopt", aws.adopt},
            {"backlog", aws.backlog}};
  json["root_ca"] = aws.root_ca_file.empty() ? fmt::format("amazon-root-ca-{}", aws.amazon_root) : aws.root_ca_file;
  return json;
}

}  // namespace

Json plan_json(const Plan& plan) {
  Json json{{"v", 1},
            {"event", "plan"},
            {"product", plan.product},
            {"chip", plan.chip->name},
            {"digest", to_hex(plan.digest)},
            {"firmware_version", plan.firmware_version},
            {"firmware_sha256", to_hex(plan.firmware_sha256)}};
  json["regions"] = Json::array();
  for (const PlannedRegion& region : plan.regions)
    json["regions"].push_back({{"offset", region.at.bytes},
                               {"size", region.bytes->size()},
                               {"label", region.label},
                               {"source", region.source}});
  json["erases"] = Json::array();
  for (const PlannedErase& erase : plan.erases)
    json["erases"].push_back(
        {{"offset", erase.range.at.bytes}, {"size", erase.range.size}, {"label", erase.label}, {"why", erase.why}});
  json["images"] = Json::array();
  for (const ImagePlan& image : plan.images) json["images"].push_back(image_json(image));
  json["identity"] = nullptr;
  if (plan.has_identity()) {
    // The first of them, in the form it had when there could be only one.
    json["identity"] = json["images"].front();
    json["identity"].update(Json{{"key", plan.key}, {"issuer", plan.issuer}, {"id", plan.id_template}});
  }
  json["aws"] = plan.aws ? aws_json(*plan.aws) : Json{};
  json["notes"] = plan.notes;
  return json;
}

}  // namespace espmint::app
