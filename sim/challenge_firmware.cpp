#include "sim/challenge_firmware.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "sim/spiffs_view.hpp"

namespace espmint::sim {
namespace {

constexpr std::string_view challenge_word = "espmint-challenge ";
constexpr std::size_t nonce_bytes = 16, longest_line = 256;

std::shared_ptr<EVP_PKEY> parse_key(ByteView pem) {
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  std::shared_ptr<EVP_PKEY> key{PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr), EVP_PKEY_free};
  BIO_free(bio);
  return key;
}

Bytes sign(EVP_PKEY* key, ByteView message) {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{EVP_MD_CTX_new(), EVP_MD_CTX_free};
  EVP_PKEY_CTX* parameters = nullptr;
  if (EVP_DigestSignInit(context.get(), &parameters, EVP_sha256(), nullptr, key) != 1) return {};
  if (EVP_PKEY_base_id(key) == EVP_PKEY_RSA) {
    EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING);
    EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, 32);
  }
  std::size_t length = 0;
  if (EVP_DigestSign(context.get(), nullptr, &length, message.data(), message.size()) != 1) return {};
  Bytes signature(length);
  if (EVP_DigestSign(context.get(), signature.data(), &length, message.data(), message.size()) != 1) return {};
  signature.resize(length);
  return signature;
}

std::string base64(ByteView bytes) {
  std::string out(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  int length =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), bytes.data(), static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(length));
  return out;
}

}  // namespace

ChallengeFirmware::ChallengeFirmware(const Mac& mac, ByteView flash, const std::vector<Partition>& table) : mac_(mac) {
  greeting_ = "\x1b[0;32mI (312) app: started\x1b[0m\r\n";
  for (const Partition& row : table) {
    if (row.type != 1 || row.subtype != 0x82) continue;
    std::optional<std::vector<SpiffsFile>> files = read_spiffs(flash.subspan(row.at, row.size));
    if (!files) {
      greeting_ += fmt::format(
          "\x1b[0;31mE (324) SPIFFS: mount failed, -10025\x1b[0m\r\n"
          "\x1b[0;31mE (325) app: no file system in {}\x1b[0m\r\n",
          row.label);
      continue;
    }
    for (const SpiffsFile& file : *files) {
      std::string_view text = as_text(file.content);
      bool names_a_key = file.name.ends_with(".key");
      if (!key_ && (names_a_key || text.find("PRIVATE KEY-----") != text.npos)) key_ = parse_key(file.content);
    }
    greeting_ += fmt::format("\x1b[0;32mI (331) app: {} files in {}, {}\x1b[0m\r\n", files->size(), row.label,
                             key_ ? "identity found" : "no identity");
  }
}

Reaction ChallengeFirmware::start(Time) { return {.says = to_bytes(greeting_)}; }

Reaction ChallengeFirmware::hear(Time, ByteView bytes) {
  std::string out;
  for (std::uint8_t byte : bytes) {
    if (byte == '\n') {
      if (!line_.empty() && line_.back() == '\r') line_.pop_back();
      out += answer(line_);
      line_.clear();
    } else if (line_.size() < longest_line) {
      line_ += static_cast<char>(byte);
    }
  }
  return {.says = to_bytes(out), .signs = true};
}

std::string ChallengeFirmware::answer(std::string_view line) const {
  if (!line.starts_with(challenge_word) || !key_) return {};
  std::optional<Bytes> nonce = from_hex(line.substr(challenge_word.size()));
  if (!nonce || nonce->size() != nonce_bytes) return {};
  Bytes message = to_bytes("espmint-v1");
  append(message, mac_.octets);
  append(message, *nonce);
  Bytes signature = sign(key_.get(), message);
  if (signature.empty()) return {};
  return fmt::format("espmint-proof {} {}\n", to_string(mac_), base64(signature));
}

}  // namespace espmint::sim
