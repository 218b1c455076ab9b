// io/http_server_double.hpp: for tests: a web server on this machine's loopback with manners of the test's making,
// plain or with TLS under a CA of its own; it keeps every request as it came over the wire.
#pragma once

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace espmint {

/// A self-made CA and a certificate of it for one name; the CA's PEM is what a client would trust.
class ServerTls {
 public:
  explicit ServerTls(const std::string& name_of_host, bool http2 = false) : context_(SSL_CTX_new(TLS_server_method())) {
    EVP_PKEY* ca_key = EVP_EC_gen("P-256");
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* ca = certificate("CA of a test", ca_key, nullptr, ca_key, "critical,CA:TRUE", nullptr);
    X509* own = certificate(name_of_host, key, ca, ca_key, "CA:FALSE", name_of_host.c_str());
    SSL_CTX_use_certificate(context_, own);
    SSL_CTX_use_PrivateKey(context_, key);
    if (http2) SSL_CTX_set_alpn_select_cb(context_, &choose_http2, nullptr);
    BIO* text = BIO_new(BIO_s_mem());
    PEM_write_bio_X509(text, ca);
    char* data = nullptr;
    const long size = BIO_get_mem_data(text, &data);
    ca_pem_.assign(data, static_cast<std::size_t>(size));
    BIO_free(text);
    X509_free(own);
    X509_free(ca);
    EVP_PKEY_free(key);
    EVP_PKEY_free(ca_key);
  }
  ~ServerTls() { SSL_CTX_free(context_); }
  ServerTls(const ServerTls&) = delete;
  ServerTls& operator=(const ServerTls&) = delete;

  [[nodiscard]] SSL_CTX* context() const { return context_; }
  [[nodiscard]] const std::string& ca_pem() const { return ca_pem_; }

 private:
  static int choose_http2(SSL*, const unsigned char** out, unsigned char* size, const unsigned char*, unsigned, void*) {
    *out = reinterpret_cast<const unsigned char*>("h2");
    *size = 2;
    return SSL_TLSEXT_ERR_OK;
  }

  static X509* certificate(const std::string& name, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key,
                           const char* constraints, const char* host) {
    X509* made = X509_new();
    X509_set_version(made, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made), issuer == nullptr ? 1 : 2);
    X509_gmtime_adj(X509_getm_notBefore(made), -3600);
    X509_gmtime_adj(X509_getm_notAfter(made), 3600);
    X509_set_pubkey(made, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    X509_set_issuer_name(made, X509_get_subject_name(issuer == nullptr ? made : issuer));
    add_extension(made, NID_basic_constraints, constraints);
    if (host != nullptr) {
      const bool is_address = std::string_view{host}.find_first_not_of("0123456789.") == std::string_view::npos;
      add_extension(made, NID_subject_alt_name, ((is_address ? "IP:" : "DNS:") + std::string{host}).c_str());
    }
    X509_sign(made, issuer_key, EVP_sha256());
    return made;
  }
  static void add_extension(X509* to, int kind, const char* value) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value);
    X509_add_ext(to, extension, -1);
    X509_EXTENSION_free(extension);
  }

  SSL_CTX* context_;
  std::string ca_pem_;
};

/// One connection, as the test's manners see it. It ends when they return.
class HttpPeer {
 public:
  HttpPeer(int fd, SSL_CTX* tls, unsigned index) : fd_(fd), index_(index) {
    if (tls == nullptr) return;
    tls_ = SSL_new(tls);
    SSL_set_fd(tls_, fd_);
  }
  ~HttpPeer() {
    if (tls_ != nullptr) SSL_free(tls_);
    ::close(fd_);
  }
  HttpPeer(const HttpPeer&) = delete;
  HttpPeer& operator=(const HttpPeer&) = delete;

  [[nodiscard]] unsigned index() const { return index_; }
  bool agree_on_tls() { return tls_ == nullptr || SSL_accept(tls_) == 1; }
  bool write(std::string_view text) {
    while (!text.empty()) {
      const ssize_t count = tls_ != nullptr ? SSL_write(tls_, text.data(), static_cast<int>(text.size()))
                                            : ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      if (count <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
  }
  /// Exactly so many bytes, or fewer at the end of the connection.
  std::string read(std::size_t size) {
    while (buffer_.size() < size && fill()) {
    }
    const std::string out = buffer_.substr(0, size);
    buffer_.erase(0, out.size());
    return out;
  }
  /// Head and body of a request, byte for byte; nothing at the end of the connection.
  std::optional<std::string> read_request() {
    std::size_t head = 0;
    while ((head = buffer_.find("\r\n\r\n")) == std::string::npos)
      if (!fill()) return std::nullopt;
    const std::string field = "\r\nContent-Length: ";
    const std::size_t at = buffer_.find(field);
    std::size_t whole = head + 4;
    if (at != std::string::npos && at < head) whole += std::stoul(buffer_.substr(at + field.size()));
    return read(whole);
  }
  void shut_down() { ::shutdown(fd_, SHUT_RDWR); }

 private:
  bool fill() {
    char some[16384];
    const ssize_t count = tls_ != nullptr ? SSL_read(tls_, some, sizeof some) : ::recv(fd_, some, sizeof some, 0);
    if (count > 0) buffer_.append(some, static_cast<std::size_t>(count));
    return count > 0;
  }

  int fd_;
  unsigned index_;
  SSL* tls_ = nullptr;
  std::string buffer_;
};

class HttpServer {
 public:
  using Manners = std::function<void(HttpPeer&, HttpServer&)>;

  explicit HttpServer(Manners manners, const ServerTls* tls = nullptr) : manners_(std::move(manners)), tls_(tls) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address);
    ::listen(listener_, 128);
    socklen_t size = sizeof address;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    accepting_ = std::thread([this] { accept_all(); });
  }
  ~HttpServer() {
    ::shutdown(listener_, SHUT_RDWR);
    accepting_.join();
    {
      const std::lock_guard lock(mutex_);
      for (HttpPeer* peer : open_) peer->shut_down();
    }
    for (std::thread& thread : serving_) thread.join();
    ::close(listener_);
  }
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  [[nodiscard]] std::string url(const std::string& path = "/") const {
    return (tls_ != nullptr ? "https://" : "http://") + address() + path;
  }
  void note(std::string request) {
    const std::lock_guard lock(mutex_);
    requests_.push_back(std::move(request));
  }
  std::vector<std::string> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  [[nodiscard]] unsigned connections() const { return connections_; }

  /// Answers every request of a connection by `reply`, which is given its text.
  static Manners answering(std::function<std::string(const std::string&)> reply) {
    return [reply = std::move(reply)](HttpPeer& peer, HttpServer& server) {
      while (const auto request = peer.read_request()) {
        server.note(*request);
        if (!peer.write(reply(*request))) return;
      }
    };
  }

 private:
  void accept_all() {
    sigset_t hang_ups;  // OpenSSL writes to who has left; threads inherit the mask
    sigemptyset(&hang_ups);
    sigaddset(&hang_ups, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &hang_ups, nullptr);
    for (;;) {
      const int fd = ::accept(listener_, nullptr, nullptr);
      if (fd < 0) return;
      const int at_once = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once);
      serving_.emplace_back([this, fd, index = connections_++] { serve(fd, index); });
    }
  }
  void serve(int fd, unsigned index) {
    HttpPeer peer{fd, tls_ != nullptr ? tls_->context() : nullptr, index};
    {
      const std::lock_guard lock(mutex_);
      open_.push_back(&peer);
    }
    if (peer.agree_on_tls()) manners_(peer, *this);
    const std::lock_guard lock(mutex_);
    std::erase(open_, &peer);
  }

  Manners manners_;
  const ServerTls* tls_;
  int listener_ = -1;
  unsigned port_ = 0;
  std::atomic<unsigned> connections_ = 0;
  std::mutex mutex_;
  std::vector<std::string> requests_;
  std::vector<HttpPeer*> open_;
  std::thread accepting_;
  std::list<std::thread> serving_;
};

}  // namespace espmint
