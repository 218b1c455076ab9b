#include "app/cloud_target.hpp"

#include <array>

#include "app/json.hpp"
#include "app/workspace.hpp"
#include "io/file.hpp"

namespace espmint::app {
namespace {

namespace fs = std::filesystem;

constexpr ByteCount largest_file = 1024 * 1024;

fs::path file_of(const Settings& settings, const std::string& product) {
  return product_folder(settings, product) / "cloud.json";
}

constexpr std::array all_issuances{AwsIssuance::csr, AwsIssuance::own_ca, AwsIssuance::aws_keys, AwsIssuance::bulk,
                                   AwsIssuance::jitp};

Json json_of(const CloudTarget& target) {
  const AwsPlan& aws = target.aws;
  return {{"v", 1},
          {"product", target.product},
          {"issuer", "aws"},
          {"region", aws.region},
          {"profile", aws.profile},
          {"endpoint_url", aws.endpoint_url},
          {"data_endpoint", aws.data_endpoint},
          {"issuance", name_of(aws.issuance)},
          {"policy_name", aws.policy_name},
          {"policy_text", aws.policy_text},
          {"topic_prefix", aws.topic_prefix},
          {"thing_type", aws.thing_type},
          {"attributes", aws.attributes},
          {"groups", aws.groups},
          {"adopt", aws.adopt},
          {"amazon_root", aws.amazon_root},
          {"root_ca_text", aws.root_ca_text},
          {"backlog", aws.backlog},
          {"endpoint", target.endpoint}};
}

CloudTarget target_in(const Json& json) {
  CloudTarget target;
  target.product = json.at("product").get<std::string>();
  AwsPlan& aws = target.aws;
  aws.region = json.at("region").get<std::string>();
  aws.profile = json.at("profile").get<std::string>();
  aws.endpoint_url = json.at("endpoint_url").get<std::string>();
  aws.data_endpoint = json.at("data_endpoint").get<std::string>();
  for (AwsIssuance one : all_issuances)
    if (name_of(one) == json.at("issuance").get<std::string>()) aws.issuance = one;
  aws.policy_name = json.at("policy_name").get<std::string>();
  aws.policy_text = json.at("policy_text").get<std::string>();
  aws.topic_prefix = json.at("topic_prefix").get<std::string>();
  aws.thing_type = json.at("thing_type").get<std::string>();
  aws.attributes = json.at("attributes").get<std::map<std::string, std::string>>();
  aws.groups = json.at("groups").get<std::vector<std::string>>();
  aws.adopt = json.at("adopt").get<bool>();
  aws.amazon_root = json.at("amazon_root").get<unsigned>();
  aws.root_ca_text = json.at("root_ca_text").get<std::string>();
  aws.backlog = json.at("backlog").get<std::uint32_t>();
  target.endpoint = json.at("endpoint").get<std::string>();
  return target;
}

}  // namespace

Result<void> remember_cloud(const Settings& settings, const CloudTarget& target) {
  TRY(make_folder(product_folder(settings, target.product), true));
  std::string text = json_of(target).dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  const fs::path file = file_of(settings, target.product);
  if (auto before = read_file(file, largest_file); before && as_text(*before) == text) return ok();
  return write_file(file, as_bytes(text));
}

Result<std::optional<CloudTarget>> cloud_of(const Settings& settings, const std::string& product) {
  const fs::path file = file_of(settings, product);
  auto bytes = read_file(file, largest_file);
  if (!bytes && bytes.error().code == Code::input_missing) return std::optional<CloudTarget>{};
  if (!bytes) return fail(std::move(bytes.error()));
  try {
    return std::optional{target_in(Json::parse(as_text(*bytes)))};
  } catch (const Json::exception& error) {
    Fault fault{Code::input_invalid, Remedy::refuse, "this file is not as espmint wrote it"};
    fault.where.input = file.string();
    fault.seen = error.what();
    fault.advice = "The next `espmint run` or `espmint cloud setup` with the product's recipe writes it anew";
    return fail(std::move(fault));
  }
}

}  // namespace espmint::app
