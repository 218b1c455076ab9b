// cloud/aws/aws_cloud.hpp: AWS IoT Core as a Cloud: each step of enrolling a board, each of which may be told twice.
//   AwsCloud cloud{client, nullptr, options};
//   CO_TRY(co_await cloud.start());                 once per line: endpoint, policy, thing type
#pragma once

#include "cloud/aws/iot.hpp"
#include "cloud/cloud.hpp"

namespace espmint::aws {

/// Where a certificate comes from.
enum class Issuance {
  csr,       // AWS signs the board's request
  own_ca,    // signed here, registered without AWS knowing the CA: may wait for the network
  aws_keys,  // AWS makes the key, too: it crosses the network
};

struct AwsOptions {
  Issuance issuance = Issuance::csr;
  std::string policy_name;
  std::string thing_type;           // empty: none
  Attributes attributes;            // of every thing, besides our mark
  std::vector<std::string> groups;  // every thing's; they must be there
  bool adopt = false;               // things that are not ours may be merged with
  bool any_policy = false;          // what the linter refuses is taken: somebody said that they know
  std::string product;              // our mark is made of it
  std::string root_ca_pem;          // what boards trust AWS by
  std::string endpoint;             // empty: asked for
};

class AwsCloud final : public Cloud {
 public:
  /// `signer`: for own_ca. What is handed in must outlive this.
  AwsCloud(Client& client, Signer* signer, AwsOptions options);

  /// Names, then what every board needs: the endpoint, the policy, the thing type. Faults: the client's; cloud_refused
  /// (refuse) for what is missing, deprecated or not safe to give to boards.
  Task<Result<void>> start();

  /// For a line that starts without a network, with certificates of our own: what start() would have asked for.
  void assume_endpoint(std::string endpoint) { options_.endpoint = std::move(endpoint); }

  [[nodiscard]] std::string_view name() const override { return "aws"; }
  [[nodiscard]] const CloudWays& ways() const override { return ways_; }
  Task<Result<Issued>> issue(IssueRequest request) override;
  /// A new board takes one call for each act, with own_ca also one to register. Retiring keeps active what other things
  /// use, too, and makes sure first that the board's own certificate is the thing's.
  Task<Result<std::string>> perform(std::string act, CloudSubject subject) override;
  [[nodiscard]] std::string root_ca_pem() const override { return options_.root_ca_pem; }
  [[nodiscard]] std::string endpoint() const override { return options_.endpoint; }

 private:
  [[nodiscard]] Result<void> check_options() const;
  Task<Result<void>> check_what_is_there();
  Task<Result<Issued>> issue_certificate(IssueRequest request);
  Task<Result<Issued>> issue_from_csr(IssueRequest request);
  Task<Result<Issued>> issue_with_keys();
  Task<Result<std::string>> act_on(std::string act, CloudSubject subject);
  Task<Result<std::string>> arn_of(CloudSubject subject);
  /// Empty: the service has no such certificate.
  Task<Result<std::string>> find_by_digest(Sha256 certificate);
  Task<Result<std::string>> register_certificate(CloudSubject subject);
  Task<Result<void>> make_thing(std::string thing);
  Task<Result<void>> join_groups(std::string thing);
  Task<Result<std::string>> retire_others(std::string thing, std::string own_arn);
  Task<Result<void>> retire_one(std::string thing, std::string arn);
  Task<Result<void>> revoke(std::string arn);

  Iot iot_;
  std::string region_;
  Signer* signer_;
  AwsOptions options_;
  Attributes attributes_;  // with our mark
  CloudWays ways_;
};

}  // namespace espmint::aws
