// Certificates made elsewhere and the authorities that signed them. Source: AWS IoT API Reference, RegisterCertificate
// … ListCertificatesByCA; AWS IoT Developer Guide, Manage your CA certificates.
#include <fmt/format.h>

#include "base/text.hpp"
#include "sim/cloud/account.hpp"

namespace espmint::sim::iot {
namespace {

constexpr std::size_t same_subject_at_most = 10;

Outcome no_authority(std::string_view id) { return not_found(fmt::format("CA certificate not found (id={})", id)); }

/// Files a certificate that was made elsewhere.
Outcome registered(Account& account, const Ask& ask, const ReadCertificate& read, std::string_view mode,
                   const std::string& authority) {
  std::string status = ask.text("status");
  if (status.empty()) status = ask.is_true("setAsActive") ? "ACTIVE" : "INACTIVE";
  if (status != "ACTIVE" && status != "INACTIVE" && status != "REVOKED")
    return invalid_request(fmt::format("Invalid certificate status: {}", status));
  if (!read.key_is_taken) return invalid_certificate("The public key of the certificate is not supported");
  if (account.certificates.contains(read.id))
    return already_exists("The certificate is already provisioned or registered", read.id,
                          account.arn("cert", read.id));
  account.add_certificate(read.der, status, mode, authority, ask.wall);
  return answered({{"certificateArn", account.arn("cert", read.id)}, {"certificateId", read.id}});
}

RegisteredAuthority* find_authority(Account& account, const Ask& ask) {
  auto at = account.authorities.find(lower(ask.labels[0]));
  return at == account.authorities.end() ? nullptr : &at->second;
}

json authority_row(const Account& account, const std::string& id, const RegisteredAuthority& authority) {
  return {{"certificateArn", account.arn("cacert", id)},
          {"certificateId", id},
          {"status", authority.status},
          {"creationDate", moment(authority.created)}};
}

}  // namespace

Outcome register_certificate_without_ca(Account& account, const Ask& ask) {
  auto read = read_certificate_pem(ask.text("certificatePem"));
  if (!read) return invalid_certificate("The certificate could not be parsed");
  return registered(account, ask, *read, "SNI_ONLY", {});
}

Outcome register_certificate(Account& account, const Ask& ask) {
  auto read = read_certificate_pem(ask.text("certificatePem"));
  if (!read) return invalid_certificate("The certificate could not be parsed");
  std::vector<std::string> candidates;
  std::string given = ask.text("caCertificatePem");
  auto given_authority = given.empty() ? std::nullopt : read_certificate_pem(given);
  if (!given.empty() && !given_authority) return invalid_certificate("The CA certificate could not be parsed");
  for (const auto& [id, authority] : account.authorities) {
    auto parent = read_certificate(authority.der);
    if (given_authority ? id == given_authority->id : parent->subject == read->issuer) candidates.push_back(id);
  }
  if (candidates.empty()) return invalid_certificate("No registered CA certificate signed this certificate");
  if (candidates.size() > 1)
    return {409, "CertificateConflictException",
            "Several registered CA certificates have this subject: give caCertificatePem"};
  const RegisteredAuthority& authority = account.authorities[candidates[0]];
  if (!is_signed_by(*read, *read_certificate(authority.der)))
    return invalid_certificate("The certificate is not signed by the CA certificate");
  if (authority.status != "ACTIVE") return wrong_state("The CA certificate is not active");
  return registered(account, ask, *read, authority.mode, candidates[0]);
}

Outcome get_registration_code(Account& account, const Ask&) {
  return answered({{"registrationCode", account.registration_code}});
}

Outcome register_ca_certificate(Account& account, const Ask& ask) {
  auto read = read_certificate_pem(ask.text("caCertificate"));
  if (!read) return invalid_certificate("The CA certificate could not be parsed");
  if (!read->is_authority) return invalid_certificate("The certificate is no CA certificate");
  if (!read->key_is_taken) return invalid_certificate("The public key of the certificate is not supported");
  if (read->not_after < ask.wall || read->not_before > ask.wall)
    return invalid_certificate("The CA certificate is not valid now");
  std::string mode = ask.text("certificateMode"), proof_pem = ask.text("verificationCertificate");
  if (mode.empty()) mode = "DEFAULT";
  if (mode != "DEFAULT" && mode != "SNI_ONLY") return invalid_request(fmt::format("Invalid certificateMode: {}", mode));
  if (mode == "SNI_ONLY" && !proof_pem.empty())
    return invalid_request("verificationCertificate must be empty where certificateMode is SNI_ONLY");
  if (mode == "DEFAULT") {
    if (proof_pem.empty())
      return invalid_request("verificationCertificate must not be empty where certificateMode is DEFAULT");
    auto proof = read_certificate_pem(proof_pem);
    if (!proof) return invalid_certificate("The verification certificate could not be parsed");
    if (!is_signed_by(*proof, *read))
      return invalid_certificate("The verification certificate is not signed by the CA certificate");
    if (proof->common_name != account.registration_code)
      return {400, "RegistrationCodeValidationException",
              "The common name of the verification certificate is not the registration code"};
  }
  if (account.authorities.contains(read->id))
    return already_exists("The CA certificate is already registered", read->id, account.arn("cacert", read->id));
  std::size_t same_subject = 0;
  for (const auto& [id, authority] : account.authorities)
    same_subject += read_certificate(authority.der)->subject == read->subject ? 1 : 0;
  if (same_subject >= same_subject_at_most)
    return limit_exceeded(fmt::format("At most {} CA certificates of one subject", same_subject_at_most));
  RegisteredAuthority authority{.der = read->der,
                                .status = ask.is_true("setAsActive") ? "ACTIVE" : "INACTIVE",
                                .mode = mode,
                                .auto_registration = ask.is_true("allowAutoRegistration") ? "ENABLE" : "DISABLE"};
  authority.configuration = ask.body.value("registrationConfig", json());
  authority.created = authority.modified = ask.wall;
  authority.order = account.next_order++;
  account.authorities[read->id] = std::move(authority);
  return answered({{"certificateArn", account.arn("cacert", read->id)}, {"certificateId", read->id}});
}

Outcome describe_ca_certificate(Account& account, const Ask& ask) {
  const RegisteredAuthority* authority = find_authority(account, ask);
  if (!authority) return no_authority(ask.labels[0]);
  auto read = read_certificate(authority->der);
  json description = authority_row(account, read->id, *authority);
  description["certificatePem"] = pem_of_certificate(authority->der);
  description["ownedBy"] = account.number;
  description["autoRegistrationStatus"] = authority->auto_registration;
  description["lastModifiedDate"] = moment(authority->modified);
  description["customerVersion"] = authority->version;
  description["generationId"] = read->id.substr(0, 32);
  description["validity"] = {{"notBefore", moment(read->not_before)}, {"notAfter", moment(read->not_after)}};
  description["certificateMode"] = authority->mode;
  json body{{"certificateDescription", std::move(description)}};
  if (!authority->configuration.is_null()) body["registrationConfig"] = authority->configuration;
  return answered(std::move(body));
}

Outcome update_ca_certificate(Account& account, const Ask& ask) {
  RegisteredAuthority* authority = find_authority(account, ask);
  if (!authority) return no_authority(ask.labels[0]);
  std::string status = ask.asked("newStatus"), automatic = ask.asked("newAutoRegistrationStatus");
  if (!status.empty() && status != "ACTIVE" && status != "INACTIVE") return invalid_request("Invalid newStatus");
  if (!automatic.empty() && automatic != "ENABLE" && automatic != "DISABLE")
    return invalid_request("Invalid newAutoRegistrationStatus");
  if (!status.empty()) authority->status = status;
  if (!automatic.empty()) authority->auto_registration = automatic;
  if (ask.body.value("removeAutoRegistration", json(false)) == true) authority->configuration = nullptr;
  if (ask.body.contains("registrationConfig")) authority->configuration = ask.body["registrationConfig"];
  authority->modified = ask.wall;
  ++authority->version;
  return done();
}

Outcome delete_ca_certificate(Account& account, const Ask& ask) {
  RegisteredAuthority* authority = find_authority(account, ask);
  if (!authority) return no_authority(ask.labels[0]);
  if (authority->status == "ACTIVE") return wrong_state("The CA certificate must be deactivated before deletion");
  account.authorities.erase(lower(ask.labels[0]));
  return answered();
}

Outcome list_ca_certificates(Account& account, const Ask& ask) {
  std::map<std::string, std::string> by_order;
  for (const auto& [id, authority] : account.authorities) by_order[order_key(authority.order)] = id;
  std::vector<std::string_view> keys;
  for (const auto& [key, id] : by_order) keys.push_back(key);
  auto page = page_of(keys, ask, by_marker, !ask.is_true("isAscendingOrder"));
  if (!page) return invalid_request("Invalid page size or marker");
  json body{{"certificates", json::array()}};
  for (const std::string& key : page->keys)
    body["certificates"].push_back(authority_row(account, by_order[key], account.authorities[by_order[key]]));
  if (!page->next.empty()) body["nextMarker"] = page->next;
  return answered(std::move(body));
}

Outcome list_certificates_by_ca(Account& account, const Ask& ask) {
  const std::string authority = lower(ask.labels[0]);
  return page_of_certificates(account, ask, [&](const DeviceCertificate& row) { return row.authority == authority; });
}

}  // namespace espmint::sim::iot
