// sim/cloud/caller_for_tests.hpp: somebody with a key who calls the virtual cloud, for its own tests. The arithmetic of
// the signature is the cloud's own; that it is right, botocore's vectors in signature_test.cpp say.
#pragma once

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>
#include <string>

#include "base/hash.hpp"
#include "base/text.hpp"
#include "sim/cloud/iot.hpp"

namespace espmint::sim {

struct Said {
  int status = 0;
  std::string error;  // the type, without where it came from
  nlohmann::json body;
  [[nodiscard]] bool good() const { return status == 200; }
  [[nodiscard]] std::string text(const std::string& member) const { return body.value(member, ""); }
};

/// "a:b/c" as a label of a path.
inline std::string label(std::string_view text) {
  std::string out;
  for (unsigned char c : text)
    out += std::isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~' ? std::string(1, static_cast<char>(c))
                                                                           : fmt::format("%{:02X}", c);
  return out;
}

/// Without the dashes of a time: "20261122T081530Z".
inline std::string amz_date(WallTime at) {
  std::string text = to_string(at);
  std::erase_if(text, [](char c) { return c == '-' || c == ':'; });
  return text;
}

inline void sign(CloudRequest& request, const AccessKey& key, std::string_view region, WallTime now,
                 std::string_view service = "iot") {
  request.headers.push_back({"X-Amz-Date", amz_date(now)});
  if (!key.token.empty()) request.headers.push_back({"X-Amz-Security-Token", key.token});
  if (!request.header("host")) request.headers.push_back({"Host", fmt::format("iot.{}.amazonaws.com", region)});
  std::vector<std::string> names;
  std::string list;
  for (const HttpHeader& header : request.headers) names.push_back(lower(header.name));
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) list += (list.empty() ? "" : ";") + name;
  std::string scope = fmt::format("{}/{}/{}/aws4_request", amz_date(now).substr(0, 8), region, service);
  std::string signature = signature_of(canonical_request(request, names), amz_date(now), scope, key.secret);
  request.headers.push_back(
      {"Authorization", fmt::format("AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={}, Signature={}", key.id, scope,
                                    list, signature)});
}

inline Said said_by(const HttpReply& reply) {
  Said said{.status = reply.status, .error = {}, .body = nlohmann::json::parse(reply.body, nullptr, false)};
  if (reply.body.empty()) said.body = nlohmann::json::object();
  for (const HttpHeader& header : reply.headers)
    if (header.name == "x-amzn-ErrorType") said.error = header.value.substr(0, header.value.find(':'));
  return said;
}

/// Calls straight into a cloud.
class Caller {
 public:
  Caller(Iot& cloud, const Clock& clock) : cloud_(cloud), clock_(clock), user_(&cloud.admin()) {}
  void be(const IotUser& user) { user_ = &user; }
  [[nodiscard]] CloudRequest request(std::string method, std::string target, std::string body = {},
                                     std::string principal = {}) const {
    CloudRequest out{.method = std::move(method), .target = std::move(target)};
    out.body = std::move(body);
    if (!out.body.empty()) out.headers.push_back({"Content-Type", "application/json"});
    if (!principal.empty()) out.headers.push_back({"x-amzn-principal", std::move(principal)});
    sign(out, user_->key, cloud_.region(), clock_.wall());
    return out;
  }
  Said call(std::string method, std::string target, const nlohmann::json& body = {}, std::string principal = {}) {
    return said_by(cloud_.answer(
        request(std::move(method), std::move(target), body.is_null() ? "" : body.dump(), std::move(principal))));
  }

 private:
  Iot& cloud_;
  const Clock& clock_;
  const IotUser* user_;
};

/// A key and requests signed by it.
class Device {
 public:
  explicit Device(const std::string& curve = "P-256") : key_(EVP_EC_gen(curve.c_str()), EVP_PKEY_free) {}
  [[nodiscard]] std::string csr(const std::string& common_name) const {
    std::unique_ptr<X509_REQ, decltype(&X509_REQ_free)> made{X509_REQ_new(), X509_REQ_free};
    X509_REQ_set_pubkey(made.get(), key_.get());
    X509_NAME* name = X509_REQ_get_subject_name(made.get());
    if (!common_name.empty())
      X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(common_name.data()),
                                 static_cast<int>(common_name.size()), -1, 0);
    X509_REQ_sign(made.get(), key_.get(), EVP_sha256());
    BIO* bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509_REQ(bio, made.get());
    return taken(bio);
  }
  /// Signed by another's key; empty `issuer`: by its own. `authority`: with CA:TRUE.
  [[nodiscard]] std::string certificate(const std::string& common_name, const Device* issuer = nullptr,
                                        const std::string& issuer_name = {}, bool authority = false) const;
  [[nodiscard]] Bytes public_key() const {
    unsigned char* der = nullptr;
    int size = i2d_PUBKEY(key_.get(), &der);
    Bytes out(der, der + size);
    OPENSSL_free(der);
    return out;
  }

 private:
  static std::string taken(BIO* bio) {
    char* data = nullptr;
    long size = BIO_get_mem_data(bio, &data);
    std::string text(data, static_cast<std::size_t>(size));
    BIO_free(bio);
    return text;
  }
  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key_;
};

inline std::string Device::certificate(const std::string& common_name, const Device* issuer,
                                       const std::string& issuer_name, bool authority) const {
  std::unique_ptr<X509, decltype(&X509_free)> made{X509_new(), X509_free};
  X509_set_version(made.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(made.get()), 7);
  ASN1_TIME_set_string(X509_getm_notBefore(made.get()), "20200101000000Z");
  ASN1_TIME_set_string(X509_getm_notAfter(made.get()), "20491231235959Z");
  X509_set_pubkey(made.get(), key_.get());
  auto name = [](X509_NAME* at, const std::string& text) {
    X509_NAME_add_entry_by_txt(at, "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(text.data()),
                               static_cast<int>(text.size()), -1, 0);
  };
  name(X509_get_subject_name(made.get()), common_name);
  name(X509_get_issuer_name(made.get()), issuer ? issuer_name : common_name);
  if (authority) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, NID_basic_constraints, "critical,CA:TRUE");
    X509_add_ext(made.get(), extension, -1);
    X509_EXTENSION_free(extension);
  }
  X509_sign(made.get(), issuer ? issuer->key_.get() : key_.get(), EVP_sha256());
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(bio, made.get());
  return taken(bio);
}

}  // namespace espmint::sim
