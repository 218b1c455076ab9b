#include "cloud/aws/aws_cloud.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/base64.hpp"
#include "base/text.hpp"
#include "cloud/aws/policy.hpp"
#include "cloud/local.hpp"

namespace espmint::aws {
namespace {

constexpr int thing_attempts = 2;  // the second where somebody changed the thing meanwhile
constexpr std::string_view advice_setup = "`espmint cloud setup` makes it, with the admin's credentials";

CloudWays ways_of(Issuance issuance) {
  CloudWays ways{.enrolment = {{act::policy, act::thing}, {act::attach}}, .completion = {act::activate, act::retire}};
  ways.issues_elsewhere = issuance != Issuance::own_ca;
  ways.makes_keys = issuance == Issuance::aws_keys;
  ways.can_wait = issuance == Issuance::own_ca;
  if (ways.can_wait) ways.enrolment.insert(ways.enrolment.begin(), {act::register_});
  return ways;
}

Fault missing(std::string what, std::string_view name) {
  Fault fault{Code::cloud_refused, Remedy::refuse, std::move(what)};
  fault.seen = fmt::format("\"{}\"", escape_controls(name));
  fault.advice = advice_setup;
  return fault;
}

std::string pem_of_csr(ByteView der) {
  constexpr std::size_t columns = 64;
  const std::string text = to_base64(der);
  std::string pem = "-----BEGIN CERTIFICATE REQUEST-----\n";
  for (std::size_t at = 0; at < text.size(); at += columns) pem += text.substr(at, columns) + "\n";
  return pem + "-----END CERTIFICATE REQUEST-----\n";
}

/// The service's PEM as a certificate; what is none was not what it documents.
Result<Certificate> certificate_in(const CreatedCertificate& created) {
  auto certificate = parse_certificate(as_bytes(created.pem));
  if (certificate) return certificate;
  Fault fault{Code::cloud_reply_invalid, Remedy::reconcile, "the service's certificate is none"};
  fault.seen = fmt::format("{}: {}", created.arn, certificate.error().what);
  return fail(std::move(fault));
}

}  // namespace

AwsCloud::AwsCloud(Client& client, Signer* signer, AwsOptions options)
    : iot_(client),
      region_(client.region()),
      signer_(signer),
      options_(std::move(options)),
      attributes_(options_.attributes),
      ways_(ways_of(options_.issuance)) {
  attributes_.insert_or_assign(std::string{mark_attribute}, mark_of(options_.product));
}

// What every board needs

Result<void> AwsCloud::check_options() const {
  TRY(check_policy_name(options_.policy_name));
  if (!options_.thing_type.empty()) TRY(check_thing_name(options_.thing_type, "thing type"));
  for (const std::string& group : options_.groups) TRY(check_thing_name(group, "thing group"));
  if (auto own = options_.attributes.find(std::string{mark_attribute});
      own != options_.attributes.end() && own->second != mark_of(options_.product)) {
    Fault fault{Code::cloud_refused, Remedy::refuse, "an attribute has the name of our mark"};
    fault.seen = fmt::format("\"{}\"", mark_attribute);
    fault.advice = "Give it another name; nothing was sent";
    return fail(std::move(fault));
  }
  return check_attributes(attributes_, !options_.thing_type.empty());
}

Task<Result<void>> AwsCloud::start() {
  CO_TRY(check_options());
  if (options_.issuance == Issuance::own_ca && signer_ == nullptr)
    co_return fail({Code::ca_missing, Remedy::stop_line, "certificates are to be made here, and there is no CA"});
  if (options_.endpoint.empty()) {
    CO_TRY(options_.endpoint, granted(co_await iot_.describe_endpoint()));
  }
  co_return co_await check_what_is_there();
}

Task<Result<void>> AwsCloud::check_what_is_there() {
  CO_TRY(Reply<Policy> policy, co_await iot_.get_policy(options_.policy_name));
  if (policy.refusal == Refusal::absent) co_return fail(missing("there is no such policy", options_.policy_name));
  if (policy.refusal) co_return fail(refused(policy.operation, policy.words));
  if (!options_.any_policy) CO_TRY(check_policy(options_.policy_name, policy.value.document));
  for (const std::string& group : options_.groups) {
    CO_TRY(Reply<> there, co_await iot_.describe_thing_group(group));
    if (there.refusal == Refusal::absent) co_return fail(missing("there is no such thing group", group));
    if (there.refusal) co_return fail(refused(there.operation, there.words));
  }
  if (options_.thing_type.empty()) co_return ok();
  CO_TRY(Reply<ThingType> type, co_await iot_.describe_thing_type(options_.thing_type));
  if (type.refusal == Refusal::absent) co_return fail(missing("there is no such thing type", options_.thing_type));
  if (type.refusal) co_return fail(refused(type.operation, type.words));
  if (type.value.deprecated) {
    Fault fault{Code::cloud_refused, Remedy::refuse, "the thing type is deprecated: no thing can have it any more"};
    fault.seen = fmt::format("\"{}\"", options_.thing_type);
    fault.advice = "Undo that in the console, or name another in the recipe";
    co_return fail(std::move(fault));
  }
  co_return ok();
}

// A certificate

Task<Result<Issued>> AwsCloud::issue(IssueRequest request) {
  const std::string device_id = request.device_id;
  Result<Issued> issued = co_await issue_certificate(std::move(request));
  if (!issued) issued.error().where.board = device_id;
  co_return issued;
}

Task<Result<Issued>> AwsCloud::issue_certificate(IssueRequest request) {
  CO_TRY(check_thing_name(request.device_id, "thing"));
  if (options_.issuance == Issuance::aws_keys) co_return co_await issue_with_keys();
  if (options_.issuance == Issuance::csr) co_return co_await issue_from_csr(std::move(request));
  if (signer_ == nullptr) co_return fail({Code::ca_missing, Remedy::stop_line, "there is no CA to sign with"});
  LocalCloud here{*signer_};
  co_return co_await here.issue(std::move(request));
}

Task<Result<Issued>> AwsCloud::issue_from_csr(IssueRequest request) {
  CO_TRY(CertificateRequest asked, request_for(request.device_id, request.csr_der));
  std::string pem = pem_of_csr(request.csr_der);
  CO_TRY(CreatedCertificate created, granted(co_await iot_.create_certificate_from_csr(std::move(pem))));
  CO_TRY(Certificate certificate, certificate_in(created));
  Result<void> checked = check_answer(certificate, asked);
  if (!checked) {
    checked.error().seen += ", " + created.arn;  // nobody's; the doctor finds it by the board's name in it
    checked.error().where.step = "CreateCertificateFromCsr";
    checked.error().advice = "What answers is not AWS IoT, or has a certificate provider that ignores requests";
    co_return fail(std::move(checked.error()));
  }
  co_return Issued{std::move(certificate), std::move(created.arn), {}};
}

Task<Result<Issued>> AwsCloud::issue_with_keys() {
  CO_TRY(CreatedCertificate created, granted(co_await iot_.create_keys_and_certificate()));
  CO_TRY(Certificate certificate, certificate_in(created));
  auto key = PrivateKey::from_pem(created.private_key_pem);
  if (!key || key->public_key_der() != certificate.public_key_der) {
    Fault fault{Code::certificate_invalid, Remedy::stop_line,
                "the service's key and certificate do not belong together"};
    fault.seen = created.arn;
    co_return fail(std::move(fault));
  }
  co_return Issued{std::move(certificate), std::move(created.arn), std::move(created.private_key_pem)};
}

// What the cloud is told of it

Task<Result<std::string>> AwsCloud::perform(std::string act, CloudSubject subject) {
  const std::string device_id = subject.device_id;
  Result<std::string> answer = co_await act_on(std::move(act), std::move(subject));
  if (!answer) answer.error().where.board = device_id;
  co_return answer;
}

Task<Result<std::string>> AwsCloud::act_on(std::string act, CloudSubject subject) {
  const std::string thing = subject.device_id;
  CO_TRY(check_thing_name(thing, "thing"));
  // arn:aws:iot:REGION:ACCOUNT:cert/ID: what another region has this one would call absent, and so done.
  if (const auto parts = split(subject.cloud_id, ':'); parts.size() > 3 && parts[3] != region_)
    co_return fail({Code::cloud_refused,
                    Remedy::refuse,
                    "its certificate is another region's",
                    {},
                    subject.cloud_id,
                    "Give --region"});
  std::string nothing_new;
  if (act == act::thing) {
    CO_TRY(co_await make_thing(thing));
    CO_TRY(co_await join_groups(thing));
    co_return nothing_new;
  }
  if (act == act::register_) co_return co_await register_certificate(std::move(subject));
  if (act == act::revoke && subject.cloud_id.empty()) {
    CO_TRY(std::string found, co_await find_by_digest(subject.certificate));
    if (!found.empty()) CO_TRY(co_await revoke(std::move(found)));
    co_return nothing_new;
  }
  CO_TRY(std::string arn, co_await arn_of(std::move(subject)));
  if (act == act::policy) {
    CO_TRY(Reply<> attached, co_await iot_.attach_policy(options_.policy_name, arn));
    const bool is_missing = attached.refusal == Refusal::absent;
    std::string advice{is_missing ? advice_setup : std::string_view{}};
    if (attached.refusal) co_return fail(refused(attached.operation, attached.words, std::move(advice)));
  } else if (act == act::attach) {
    CO_TRY(granted(co_await iot_.attach_thing_principal(thing, arn)));
  } else if (act == act::activate) {
    std::string active{status::active};
    CO_TRY(granted(co_await iot_.update_certificate(certificate_id_of(arn), std::move(active))));
  } else if (act == act::retire) {
    co_return co_await retire_others(thing, arn);
  } else if (act == act::revoke) {
    CO_TRY(co_await revoke(arn));
  } else {
    co_return fail({Code::internal, Remedy::refuse, fmt::format("AWS IoT has no act {}", act)});
  }
  co_return nothing_new;
}

Task<Result<std::string>> AwsCloud::arn_of(CloudSubject subject) {
  if (is_certificate_arn(subject.cloud_id)) co_return std::move(subject.cloud_id);
  // Its ARN was answered and then lost: registering again tells it.
  if (subject.cloud_id.empty() && options_.issuance == Issuance::own_ca)
    co_return co_await register_certificate(std::move(subject));
  Fault fault{Code::cloud_refused, Remedy::refuse, "it is not known what AWS IoT calls this certificate"};
  fault.seen = fmt::format("\"{}\"", escape_controls(subject.cloud_id.substr(0, 256)));
  co_return fail(std::move(fault));
}

Task<Result<std::string>> AwsCloud::find_by_digest(Sha256 certificate) {
  // AWS calls a certificate by the SHA-256 of its DER, as far as anyone has seen; so what is found is compared.
  CO_TRY(Reply<CertificateEntry> found, co_await iot_.describe_certificate(to_hex(certificate)));
  std::string none;
  if (found.refusal == Refusal::absent) co_return none;
  if (found.refusal) co_return fail(refused(found.operation, found.words));
  auto same = parse_certificate(as_bytes(found.value.pem));
  if (!same || same->sha256 != certificate) co_return none;
  co_return std::move(found.value.arn);
}

Task<Result<std::string>> AwsCloud::register_certificate(CloudSubject subject) {
  CO_TRY(Certificate certificate, parse_certificate(subject.certificate_der));
  CO_TRY(Reply<CreatedCertificate> known, co_await iot_.register_certificate_without_ca(certificate.pem));
  if (!known.refusal) co_return std::move(known.value.arn);
  if (known.refusal != Refusal::exists) co_return fail(refused(known.operation, known.words));
  if (!known.resource_arn.empty()) co_return std::move(known.resource_arn);
  CO_TRY(std::string arn, co_await find_by_digest(certificate.sha256));
  if (arn.empty()) co_return fail(refused(known.operation, known.words));
  co_return arn;
}

// A thing

Task<Result<void>> AwsCloud::make_thing(std::string thing) {
  for (int attempt = 0; attempt < thing_attempts; ++attempt) {
    CO_TRY(Reply<Thing> made, co_await iot_.create_thing(thing, options_.thing_type, attributes_));
    if (!made.refusal) co_return ok();
    if (made.refusal == Refusal::absent) co_return fail(missing("there is no such thing type", options_.thing_type));
    if (made.refusal != Refusal::exists) co_return fail(refused(made.operation, made.words));

    CO_TRY(Reply<Thing> described, co_await iot_.describe_thing(thing));
    if (described.refusal == Refusal::absent) continue;  // deleted meanwhile
    if (described.refusal) co_return fail(refused(described.operation, described.words));
    const Thing& there = described.value;
    auto mark = there.attributes.find(std::string{mark_attribute});
    const bool is_ours = mark != there.attributes.end() && mark->second == mark_of(options_.product);
    if (!is_ours && !options_.adopt) {
      Fault fault{Code::thing_foreign, Remedy::refuse, "a thing of this name is there, and it is not this product's"};
      fault.seen = mark == there.attributes.end()
                       ? fmt::format("no attribute \"{}\"", mark_attribute)
                       : fmt::format("{} = \"{}\"", mark_attribute, escape_controls(mark->second));
      fault.where.step = "DescribeThing";
      fault.advice = "If it is this board's thing, say adopt = true in [cloud.aws]; it keeps its id, groups and jobs";
      co_return fail(std::move(fault));
    }
    const bool has_all = std::all_of(attributes_.begin(), attributes_.end(), [&there](const auto& one) {
      auto value = there.attributes.find(one.first);
      return value != there.attributes.end() && value->second == one.second;
    });
    if (has_all && (options_.thing_type.empty() || there.type == options_.thing_type)) co_return ok();
    CO_TRY(Reply<> merged, co_await iot_.update_thing(thing, options_.thing_type, attributes_, there.version));
    if (!merged.refusal) co_return ok();
    if (merged.refusal != Refusal::conflict && merged.refusal != Refusal::absent)
      co_return fail(refused(merged.operation, merged.words));
  }
  Fault busy{Code::cloud_refused, Remedy::retry, "somebody else keeps changing the thing"};
  busy.where.step = "UpdateThing";
  co_return fail(std::move(busy));
}

Task<Result<void>> AwsCloud::join_groups(std::string thing) {
  for (const std::string& group : options_.groups) {
    CO_TRY(Reply<> joined, co_await iot_.add_thing_to_group(thing, group));
    if (joined.refusal) {
      std::string advice = fmt::format("Make the thing group {}, or take it out of the recipe", group);
      co_return fail(refused(joined.operation, joined.words, std::move(advice)));
    }
  }
  co_return ok();
}

// Certificates that are no longer accepted

Task<Result<std::string>> AwsCloud::retire_others(std::string thing, std::string own_arn) {
  // All of them before the first is detached: a list that shrinks while it is read skips some.
  CO_TRY(std::vector<std::string> principals, granted(co_await iot_.principals_of(thing)));
  if (std::find(principals.begin(), principals.end(), own_arn) == principals.end())
    CO_TRY(granted(co_await iot_.attach_thing_principal(thing, own_arn)));  // make before break
  std::string ended;
  for (std::string& principal : principals) {
    if (principal == own_arn || !is_certificate_arn(principal)) continue;
    ended += (ended.empty() ? "" : " ") + std::string{certificate_id_of(principal)};
    CO_TRY(co_await retire_one(thing, std::move(principal)));
  }
  co_return ended;
}

Task<Result<void>> AwsCloud::retire_one(std::string thing, std::string arn) {
  CO_TRY(Reply<std::vector<std::string>> things, co_await iot_.things_of(arn));
  if (things.refusal == Refusal::absent) co_return ok();
  if (things.refusal) co_return fail(refused(things.operation, things.words));
  // A whole fleet may share one certificate: the others' boards must not go dark for this one.
  const bool is_shared = std::any_of(things.value.begin(), things.value.end(),
                                     [&thing](const std::string& other) { return other != thing; });
  if (!is_shared) {
    std::string inactive{status::inactive};
    CO_TRY(Reply<> updated, co_await iot_.update_certificate(certificate_id_of(arn), std::move(inactive)));
    if (updated.refusal == Refusal::absent) co_return ok();
    if (updated.refusal == Refusal::full) co_return fail(refused(updated.operation, updated.words));
  }
  CO_TRY(Reply<> detached, co_await iot_.detach_thing_principal(thing, arn));
  if (detached.refusal && detached.refusal != Refusal::absent)
    co_return fail(refused(detached.operation, detached.words));
  co_return ok();
}

Task<Result<void>> AwsCloud::revoke(std::string arn) {
  std::string inactive{status::inactive};
  CO_TRY(Reply<> updated, co_await iot_.update_certificate(certificate_id_of(arn), std::move(inactive)));
  if (updated.refusal == Refusal::absent) co_return ok();
  if (updated.refusal) co_return fail(refused(updated.operation, updated.words));
  CO_TRY(Reply<std::vector<std::string>> things, co_await iot_.things_of(arn));
  if (things.refusal && things.refusal != Refusal::absent) co_return fail(refused(things.operation, things.words));
  for (const std::string& thing : things.value) {
    CO_TRY(Reply<> detached, co_await iot_.detach_thing_principal(thing, arn));
    if (detached.refusal && detached.refusal != Refusal::absent)
      co_return fail(refused(detached.operation, detached.words));
  }
  CO_TRY(Reply<std::vector<std::string>> policies, co_await iot_.policies_of(arn));
  if (policies.refusal && policies.refusal != Refusal::absent)
    co_return fail(refused(policies.operation, policies.words));
  for (const std::string& policy : policies.value) {
    CO_TRY(Reply<> detached, co_await iot_.detach_policy(policy, arn));
    if (detached.refusal && detached.refusal != Refusal::absent)
      co_return fail(refused(detached.operation, detached.words));
  }
  co_return ok();
}

}  // namespace espmint::aws
