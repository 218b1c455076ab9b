#include "app/issuer.hpp"

#include <fmt/format.h>

#include "app/workspace.hpp"

namespace espmint::app {
namespace {

aws::Issuance issuance_of(AwsIssuance kind) {
  if (kind == AwsIssuance::own_ca) return aws::Issuance::own_ca;
  return kind == AwsIssuance::aws_keys ? aws::Issuance::aws_keys : aws::Issuance::csr;
}

/// Certificates are made here, whoever is told of them.
bool signs_here(const Plan& plan) {
  return !plan.aws || plan.aws->issuance == AwsIssuance::own_ca || plan.aws->issuance == AwsIssuance::bulk ||
         plan.aws->issuance == AwsIssuance::jitp;
}
bool tells_aws(const Plan& plan) {
  return plan.aws && plan.aws->issuance != AwsIssuance::bulk && plan.aws->issuance != AwsIssuance::jitp;
}

/// Somebody waits before the screen for the first word.
constexpr unsigned tries_at_start = 3;

}  // namespace

aws::AwsOptions aws_options(const AwsPlan& plan, const std::string& product) {
  aws::AwsOptions out;
  out.issuance = issuance_of(plan.issuance);
  out.policy_name = plan.policy_name;
  out.thing_type = plan.thing_type;
  out.attributes = {plan.attributes.begin(), plan.attributes.end()};
  out.groups = plan.groups;
  out.adopt = plan.adopt;
  out.product = product_key(product);
  out.endpoint = plan.data_endpoint;
  return out;
}

Result<std::unique_ptr<Issuer>> Issuer::open(const Settings& settings, const Plan& plan, std::string root_ca,
                                             const CloudFlags& flags, Loop& loop, Entropy& entropy, const Say& say) {
  auto issuer = std::make_unique<Issuer>();
  if (signs_here(plan)) {
    bool made = false;
    TRY(LocalCa ca, open_or_make_ca(settings, loop.wall(), made));
    issuer->ca_.emplace(std::move(ca));
    if (made)
      say(fmt::format("made a CA in {}: back this folder up, whoever has it can make devices of yours",
                      ca_folder(settings).string()));
  }
  if (tells_aws(plan)) {
    TRY(issuer->access_, AwsAccess::open(*plan.aws, flags, loop, entropy));
    aws::AwsOptions options = aws_options(*plan.aws, plan.product);
    options.root_ca_pem = std::move(root_ca);
    options.any_policy = flags.i_know;
    auto cloud = std::make_unique<aws::AwsCloud>(issuer->access_->client(), issuer->ca_ ? &*issuer->ca_ : nullptr,
                                                 std::move(options));
    issuer->aws_ = cloud.get();
    issuer->endpoint_ = plan.aws->data_endpoint;
    issuer->cloud_ = std::move(cloud);
  } else {
    issuer->cloud_ = std::make_unique<LocalCloud>(*issuer->ca_, std::move(root_ca),
                                                  plan.aws ? plan.aws->data_endpoint : std::string{});
  }
  return issuer;
}

Task<Result<void>> Issuer::start(std::string endpoint, Say say) {
  if (!aws_) co_return ok();
  aws::SigningClient& client = access_->client();
  client.set_tries(tries_at_start);
  auto started = co_await aws_->start();
  client.set_tries(aws::ClientSettings{}.tries);
  if (!endpoint_.empty()) endpoint = endpoint_;
  const bool goes_without =
      !started && started.error().code == Code::cloud_unreachable && aws_->ways().can_wait && !endpoint.empty();
  if (!goes_without) co_return started;
  say(fmt::format("{}; the line goes on without it, boards will connect to {}", describe(started.error()), endpoint));
  aws_->assume_endpoint(std::move(endpoint));
  co_return ok();
}

}  // namespace espmint::app
