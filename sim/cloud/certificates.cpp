// Device certificates. Source: AWS IoT API Reference, CreateCertificateFromCsr … ListCertificates; DescribeEndpoint.
#include <fmt/format.h>

#include "base/bytes.hpp"
#include "base/text.hpp"
#include "sim/cloud/account.hpp"

namespace espmint::sim::iot {
namespace {

constexpr std::size_t longest_request = 4096, serial_bytes = 20;

Outcome no_certificate(std::string_view id) {
  return not_found(fmt::format("The certificate given in the principal does not exist: {}", id));
}

Outcome bad_id(std::string_view id) { return invalid_request(fmt::format("Invalid certificate id: {}", id)); }

/// Of an id as it came: capitals name the same certificate.
DeviceCertificate* find_certificate(Account& account, const std::string& id) {
  auto at = account.certificates.find(lower(id));
  return at == account.certificates.end() ? nullptr : &at->second;
}

/// Signs and files it; the answer's first three fields.
json issued(Account& account, const Ask& ask, ByteView public_key, ByteView subject) {
  Bytes serial(serial_bytes);
  for (std::uint8_t& byte : serial) byte = account.dice.byte();
  serial[0] = static_cast<std::uint8_t>((serial[0] & 0x7f) | 0x40);
  Bytes der = account.authority.issue(public_key, subject, serial, ask.wall);
  std::string pem = pem_of_certificate(der);
  std::string id = account.add_certificate(std::move(der), ask.is_true("setAsActive") ? "ACTIVE" : "INACTIVE",
                                           "DEFAULT", {}, ask.wall);
  return {{"certificateId", id}, {"certificateArn", account.arn("cert", id)}, {"certificatePem", std::move(pem)}};
}

}  // namespace

Outcome create_certificate_from_csr(Account& account, const Ask& ask) {
  std::string pem = ask.text("certificateSigningRequest");
  if (pem.empty()) return invalid_request("certificateSigningRequest must not be empty");
  if (pem.size() > longest_request)
    return invalid_request(fmt::format("certificateSigningRequest is longer than {} characters", longest_request));
  std::string why;
  auto request = read_request_pem(pem, why);
  if (!request) return invalid_request(why);
  return answered(
      issued(account, ask, request->public_key, request->names_somebody ? ByteView{request->subject} : ByteView{}));
}

Outcome create_keys_and_certificate(Account& account, const Ask& ask) {
  KeyPair keys = make_key_pair();
  json body = issued(account, ask, keys.public_key, {});
  body["keyPair"] = {{"PublicKey", keys.public_pem}, {"PrivateKey", as_text(keys.private_pem.reveal())}};
  return answered(std::move(body));
}

Outcome describe_certificate(Account& account, const Ask& ask) {
  if (!is_certificate_id(ask.labels[0])) return bad_id(ask.labels[0]);
  const DeviceCertificate* row = find_certificate(account, ask.labels[0]);
  if (!row) return no_certificate(ask.labels[0]);
  auto read = read_certificate(row->der);
  json description{{"certificateArn", account.arn("cert", read->id)},
                   {"certificateId", read->id},
                   {"status", row->status},
                   {"certificatePem", pem_of_certificate(row->der)},
                   {"ownedBy", account.number},
                   {"creationDate", moment(row->created)},
                   {"lastModifiedDate", moment(row->modified)},
                   {"customerVersion", row->version},
                   {"transferData", json::object()},
                   {"generationId", read->id.substr(0, 32)},
                   {"validity", {{"notBefore", moment(read->not_before)}, {"notAfter", moment(read->not_after)}}},
                   {"certificateMode", row->mode}};
  if (!row->authority.empty()) description["caCertificateId"] = row->authority;
  return answered({{"certificateDescription", std::move(description)}});
}

Outcome update_certificate(Account& account, const Ask& ask) {
  if (!is_certificate_id(ask.labels[0])) return bad_id(ask.labels[0]);
  std::string status = ask.asked("newStatus");
  if (status != "ACTIVE" && status != "INACTIVE" && status != "REVOKED")
    return invalid_request(fmt::format("Invalid certificate status: {}", status));
  DeviceCertificate* row = find_certificate(account, ask.labels[0]);
  if (!row) return no_certificate(ask.labels[0]);
  if (row->status == status) return done();
  if (row->status == "REVOKED")
    return wrong_state(fmt::format("A revoked certificate stays so. Id: {}", ask.labels[0]));
  row->status = status;
  row->modified = ask.wall;
  ++row->version;
  return done();
}

Outcome delete_certificate(Account& account, const Ask& ask) {
  if (!is_certificate_id(ask.labels[0])) return bad_id(ask.labels[0]);
  DeviceCertificate* row = find_certificate(account, ask.labels[0]);
  if (!row) return no_certificate(ask.labels[0]);
  std::string id = lower(ask.labels[0]);
  if (row->status == "ACTIVE")
    return wrong_state(fmt::format("Certificate must be deactivated (not ACTIVE) before deletion. Id: {}", id));
  if (!row->things.empty())
    return delete_conflict(fmt::format("Things must be detached before deletion (arn: {})", account.arn("cert", id)));
  if (!row->policies.empty() && !ask.is_true("forceDelete"))
    return delete_conflict(
        fmt::format("Certificate policies must be detached before deletion (arn: {})", account.arn("cert", id)));
  for (const std::string& name : row->policies) {
    Policy& policy = account.policies[name];
    policy.targets.erase(account.arn("cert", id));
    policy.deletable_at = ask.now + account.delays.policy_release;
  }
  account.certificate_order.erase(row->order);
  account.certificates.erase(id);
  return done();
}

Outcome page_of_certificates(Account& account, const Ask& ask,
                             const std::function<bool(const DeviceCertificate&)>& is_listed) {
  std::vector<std::string_view> keys;
  for (const auto& [key, id] : account.certificate_order)
    if (is_listed(account.certificates[id])) keys.push_back(key);
  auto page = page_of(keys, ask, by_marker, !ask.is_true("isAscendingOrder"));
  if (!page) return invalid_request("Invalid page size or marker");
  json body{{"certificates", json::array()}};
  for (const std::string& key : page->keys) {
    const std::string& id = account.certificate_order[key];
    const DeviceCertificate& row = account.certificates[id];
    body["certificates"].push_back({{"certificateArn", account.arn("cert", id)},
                                    {"certificateId", id},
                                    {"status", row.status},
                                    {"certificateMode", row.mode},
                                    {"creationDate", moment(row.created)}});
  }
  if (!page->next.empty()) body["nextMarker"] = page->next;
  return answered(std::move(body));
}

Outcome list_certificates(Account& account, const Ask& ask) {
  return page_of_certificates(account, ask, [](const DeviceCertificate&) { return true; });
}

Outcome describe_endpoint(Account& account, const Ask& ask) {
  std::string kind = ask.asked("endpointType");
  if (kind == "iot:Data-ATS") return answered({{"endpointAddress", account.data_endpoint}});
  // The others have their own shapes; that of the old signature authority is the same name without -ats.
  std::string prefix = account.data_endpoint.substr(0, account.data_endpoint.find("-ats."));
  if (kind.empty() || kind == "iot:Data")
    return answered({{"endpointAddress", fmt::format("{}.iot.{}.amazonaws.com", prefix, account.region)}});
  if (kind == "iot:CredentialProvider")
    return answered({{"endpointAddress", fmt::format("{}.credentials.iot.{}.amazonaws.com", prefix, account.region)}});
  if (kind == "iot:Jobs")
    return answered({{"endpointAddress", fmt::format("{}.jobs.iot.{}.amazonaws.com", prefix, account.region)}});
  return invalid_request(fmt::format("Endpoint type {} is not recognized", kind));
}

}  // namespace espmint::sim::iot
