#include "app/aws_access.hpp"

#include <fmt/format.h>

#include "cloud/aws/credentials.hpp"

namespace espmint::app {
namespace {

const std::string& first_of(const std::string& flag, const std::string& recipe) { return flag.empty() ? recipe : flag; }

aws::Surroundings surroundings(const CloudFlags& flags) {
  aws::Surroundings here = aws::surroundings_of_this_process();
  if (flags.environment.empty()) return here;
  here.variable = [ours = flags.environment,
                   theirs = std::move(here.variable)](const std::string& name) -> std::optional<std::string> {
    auto at = ours.find(name);
    return at == ours.end() ? theirs(name) : at->second;
  };
  return here;
}

}  // namespace

Result<std::unique_ptr<AwsAccess>> AwsAccess::open(const AwsPlan& plan, const CloudFlags& flags, Loop& loop,
                                                   Entropy& entropy) {
  auto access = std::make_unique<AwsAccess>();
  aws::Surroundings here = surroundings(flags);
  // AWS_PROFILE is said for this command, the recipe's for every one.
  const bool said = flags.profile.empty() && aws::variable_of(here, "AWS_PROFILE");
  const std::string profile = said ? std::string{} : first_of(flags.profile, plan.profile);
  TRY(access->settings_, aws::find_settings(here, {profile, first_of(flags.region, plan.region),
                                                   first_of(flags.endpoint_url, plan.endpoint_url)}));
  TRY(aws::EndpointUrl endpoint, aws::parse_endpoint(access->settings_.endpoint));
  HttpOptions options;
  options.ca_file = access->settings_.ca_bundle;
  options.user_agent = fmt::format("espmint/{}", ESPMINT_VERSION);
  access->http_ = flags.connect ? flags.connect(loop) : make_http_client(loop, options);
  access->metadata_ = make_http_client(loop, {.proxies = false});
  access->credentials_ = aws::make_credential_chain(std::move(here), profile, {loop, *access->metadata_});
  aws::ClientSettings settings;
  settings.region = access->settings_.region;
  settings.endpoint = std::move(endpoint);
  settings.timeout = std::chrono::seconds{10};  // calls take a fifth of one; who never answers holds nobody up for long
  access->client_ =
      std::make_unique<aws::SigningClient>(*access->http_, *access->credentials_, loop, entropy, std::move(settings));
  return access;
}

}  // namespace espmint::app
