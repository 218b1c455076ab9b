#include "recipe/plan_cloud.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "recipe/words.hpp"

namespace espmint {
namespace {

constexpr std::size_t longest_file = 64 * 1024;
// Without white space. Source: AWS IoT Core quotas, "Policy document size".
constexpr std::size_t longest_policy = 2048;
// Firmware in the field reads each PEM into a char[2048].
constexpr std::size_t longest_pem = 2047;

/// A small file that [cloud.aws] names, as text.
Result<std::string> read_beside(const PlanOptions& options, const std::string& path) {
  if (!options.folder)
    return fail({Code::input_missing, Remedy::refuse, fmt::format("'{}' cannot be read here", path), {}, {}, {}});
  TRY(Bytes bytes, options.folder->read(path));
  if (bytes.size() <= longest_file) return std::string{as_text(bytes)};
  Fault fault{Code::input_invalid, Remedy::refuse, fmt::format("'{}' is larger than what [cloud.aws] names", path)};
  fault.seen = fmt::format("it has {} bytes", bytes.size());
  return fail(std::move(fault));
}

/// What every AWS account would say of it; whether it allows too much is judged by those who send it.
Result<void> check_policy(const std::string& path, const std::string& text) {
  auto refuse = [&path](std::string seen, std::string advice) {
    Fault fault{Code::cloud_refused, Remedy::refuse, fmt::format("AWS would refuse the policy '{}'", path)};
    fault.seen = std::move(seen);
    fault.advice = std::move(advice);
    return fail(std::move(fault));
  };
  auto policy = nlohmann::json::parse(text, nullptr, false);
  if (!policy.is_object())
    return refuse("it is no JSON object", "A policy is JSON: { \"Version\": \"2012-10-17\", … }");
  auto size = static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](unsigned char c) { return std::isspace(c) == 0; }));
  if (size > longest_policy)
    return refuse(fmt::format("it has {} characters without white space, AWS takes {}", size, longest_policy),
                  "Use policy variables and fewer statements");
  return ok();
}

/// What the line will do at AWS, in one line.
std::string sentence_of(const AwsPlan& aws) {
  std::string out =
      fmt::format("AWS IoT Core: region {}, policy {} ({})", aws.region.empty() ? "from the environment" : aws.region,
                  aws.policy_name, aws.policy_file.empty() ? "generated" : aws.policy_file);
  if (!aws.thing_type.empty()) out += ", thing type " + aws.thing_type;
  std::vector<std::string> attributes;
  for (const auto& [name, value] : aws.attributes) attributes.push_back(name + "=" + value);
  if (!attributes.empty()) out += fmt::format(", attributes {}", fmt::join(attributes, " "));
  if (!aws.groups.empty()) out += fmt::format(", groups {}", fmt::join(aws.groups, " "));
  if (aws.adopt) out += ", things of others are adopted";
  if (!aws.data_endpoint.empty()) out += ", broker " + aws.data_endpoint;
  return out + fmt::format(", issuance {}", name_of(aws.issuance));
}

bool has_one_of(const Template& content, std::initializer_list<std::string_view> wanted) {
  auto words = words_of(content.text);
  return !content.from_disk &&
         std::ranges::any_of(wanted, [&](std::string_view word) { return std::ranges::count(words, word) > 0; });
}

}  // namespace

std::string_view name_of(AwsIssuance issuance) {
  constexpr std::array<std::string_view, 5> names{"csr", "own-ca", "aws-keys", "bulk", "jitp"};
  return names[static_cast<std::size_t>(issuance)];
}

Result<void> plan_cloud(const Recipe& recipe, const PlanOptions& options, Plan& plan) {
  if (recipe.issuer != "aws") return ok();
  AwsPlan aws = recipe.aws.value_or(AwsPlan{});
  const std::string key = product_name_of(plan.product);
  if (aws.policy_name.empty()) aws.policy_name = key + "-device";
  if (aws.topic_prefix.empty()) aws.topic_prefix = key;
  if (!aws.policy_file.empty()) {
    TRY(aws.policy_text, read_beside(options, aws.policy_file));
    TRY(check_policy(aws.policy_file, aws.policy_text));
  }
  if (!aws.root_ca_file.empty()) {
    TRY(aws.root_ca_text, read_beside(options, aws.root_ca_file));
  }
  plan.notes.push_back(sentence_of(aws));
  if (aws.issuance == AwsIssuance::aws_keys) {
    plan.key = "rsa-2048";
    plan.notes.emplace_back(
        "warning: with issuance aws-keys each private key is made by AWS, crosses the network and is RSA-2048; with "
        "csr, "
        "the default, it never leaves this station");
  }
  plan.aws = std::move(aws);
  return ok();
}

std::string digest_text(const AwsPlan& aws) {
  return fmt::format("aws {} {} {} {} {}", aws.region, aws.data_endpoint, name_of(aws.issuance), aws.amazon_root,
                     aws.root_ca_text);
}

std::vector<std::string> notes_on_long_pem(const Plan& plan, const BoardValues& values, bool own) {
  std::vector<std::string> out;
  for (const ImagePlan& image : plan.images)
    for (const ImageFile& file : image.files) {
      const bool boards_own = has_one_of(file.content, {"certificate", "private_key"});
      if (boards_own != own || (!own && !has_one_of(file.content, {"root_ca"}))) continue;
      auto content = expand(file.content.text, values);
      if (!content || content->reveal().size() <= longest_pem) continue;
      out.push_back(fmt::format("warning: {} has {} bytes; firmware in the field reads it into a buffer of {}",
                                file.path, content->reveal().size(), longest_pem));
    }
  return out;
}

}  // namespace espmint
