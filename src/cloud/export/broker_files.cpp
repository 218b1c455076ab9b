// Brokers of one's own: they know boards by our CA alone, so there is nothing to register. Source: mosquitto.conf(5) of
// Mosquitto 2.0; EMQX 5 documentation, "SSL listener", "CRL check", "ACL file".
#include <fmt/format.h>

#include "cloud/export/exports.hpp"

namespace espmint::exports {
namespace {

/// How a board's shadow is called at AWS; firmware in the field uses it with any broker.
constexpr std::string_view shadow = "$aws/things/{}/shadow/#";

/// "10.0.0.5:8883" in its two halves; no colon: every address.
struct Listen {
  std::string address, port;
};
Listen parse_listen(const std::string& text) {
  std::size_t colon = text.rfind(':');
  return colon == std::string::npos ? Listen{{}, text} : Listen{text.substr(0, colon), text.substr(colon + 1)};
}

constexpr std::string_view server_words =
    "The broker needs a certificate of its own: server.pem and server.key beside these files. For boards that trust "
    "this CA\n"
    "(issuer \"local\"), with HOST as the boards' firmware calls the broker:\n"
    "  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout server.key -subj /CN=HOST -out "
    "server.csr\n"
    "  espmint ca issue --server --csr server.csr -o server.pem\n";

}  // namespace

std::vector<ExportFile> build_mosquitto(const ExportInput& input) {
  Listen listen = parse_listen(input.listen);
  std::string conf = fmt::format(
      "# {0}: boards come in by a certificate of \"{1}\" and are who it says. Written by espmint cloud export "
      "mosquitto.\n"
      "# Paths are relative to the folder in which the broker starts: write them out in full in "
      "/etc/mosquitto/conf.d.\n"
      "listener {2}{3}\n"
      "cafile ca.pem\n"
      "crlfile ca.crl.pem\n"
      "certfile server.pem\n"
      "keyfile server.key\n"
      "require_certificate true\n"
      "use_identity_as_username true\n"
      "# One board cannot take another's connection over by taking its client id.\n"
      "use_username_as_clientid true\n"
      "allow_anonymous false\n"
      "acl_file espmint.acl\n",
      input.product, input.ca_name, listen.port, listen.address.empty() ? "" : " " + listen.address);
  std::string acl = fmt::format(
      "# %u is the CN of the board's certificate: each board has its own topics and no other.\n"
      "pattern readwrite {}/%u/#\n"
      "# Its shadow, under the names that firmware for AWS IoT uses.\n"
      "pattern readwrite {}\n",
      input.topic_prefix, fmt::format(shadow, "%u"));
  std::string readme = fmt::format(
      "Mosquitto 2 for {0}.\n\n"
      "{1}\n"
      "Copy all of it to the broker, start it with these lines, and open {2}.\n"
      "A board's topics are {3}/ID/…; its client id becomes its id.\n\n"
      "After `espmint ca revoke` or a renewal export again, copy ca.crl.pem and reload the broker (SIGHUP): then a "
      "revoked board\n"
      "does not come in again. One that is connected stays until it leaves; a restart throws it out. The list ends "
      "after 30 days,\n"
      "and then the broker lets nobody in: renew it before (cron: espmint ca crl -o FOLDER/ca.crl.pem, and reload).\n",
      input.product, server_words, listen.port, input.topic_prefix);
  return {{"mosquitto.conf", conf},
          {"espmint.acl", acl},
          {"ca.pem", input.ca_pem},
          {"ca.crl.pem", input.crl_pem},
          {"README.txt", readme}};
}

std::vector<ExportFile> build_emqx(const ExportInput& input) {
  Listen listen = parse_listen(input.listen);
  const std::string folder = "/etc/emqx/espmint/";
  std::string conf = fmt::format(
      "# {0}: boards come in by a certificate of \"{1}\" and are who it says. Written by espmint cloud export emqx.\n"
      "listeners.ssl.espmint {{\n"
      "  bind = \"{2}:{3}\"\n"
      "  ssl_options {{\n"
      "    cacertfile = \"{4}ca.pem\"\n"
      "    certfile = \"{4}server.pem\"\n"
      "    keyfile = \"{4}server.key\"\n"
      "    verify = verify_peer\n"
      "    fail_if_no_peer_cert = true\n"
      "    enable_crl_check = {5}\n"
      "  }}\n"
      "}}\n"
      "mqtt.peer_cert_as_username = cn\n"
      "mqtt.peer_cert_as_clientid = cn\n"
      "authorization {{\n"
      "  no_match = deny\n"
      "  sources = [{{ type = file, enable = true, path = \"{4}acl.conf\" }}]\n"
      "}}\n",
      input.product, input.ca_name, listen.address.empty() ? "0.0.0.0" : listen.address, listen.port, folder,
      input.crl_url.empty() ? "false" : "true");
  std::string acl = fmt::format(
      "%% ${{username}} is the CN of the board's certificate: each board has its own topics and no other.\n"
      "{{allow, all, all, [\"{}/${{username}}/#\", \"{}\"]}}.\n"
      "{{deny, all}}.\n",
      input.topic_prefix, fmt::format(shadow, "${username}"));
  std::string crl_words =
      input.crl_url.empty()
          ? "EMQX fetches the revocation list from the place that each board's certificate names (CRL distribution "
            "point), and this\n"
            "CA's certificates name none: enable_crl_check is false and ca.crl.pem is not used. To have it, make the "
            "CA with\n"
            "`espmint ca init --crl-url http://HOST/ca.crl` (or write that line to crl-url.txt in the CA's folder: it "
            "counts for\n"
            "certificates from then on), and export again. Until then keep a revoked board out by a rule of your own: "
            "a line\n"
            "{deny, {user, \"ID\"}, all, [\"#\"]}. above the others in acl.conf.\n"
          : fmt::format(
                "The revocation list must be served as {0}, and be renewed there before its 30 days end:\n"
                "  espmint ca crl --url {0} -o ca.crl.pem\n"
                "Boards whose certificates do not name that place (minted before it was set) are refused: `espmint "
                "prepare --renew`.\n",
                input.crl_url);
  std::string readme =
      fmt::format("EMQX 5 for {0}. Copy all of it to {1} and base.hocon's lines to the configuration.\n\n{2}\n{3}",
                  input.product, folder, server_words, crl_words);
  return {{"base.hocon", conf},
          {"acl.conf", acl},
          {"ca.pem", input.ca_pem},
          {"ca.crl.pem", input.crl_pem},
          {"README.txt", readme}};
}

}  // namespace espmint::exports
