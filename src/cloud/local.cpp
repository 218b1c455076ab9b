#include "cloud/local.hpp"

namespace espmint {

Task<Result<Certificate>> LocalCloud::enrol(std::string device_id, Bytes csr_der, Bytes serial) {
  CO_TRY(Certificate certificate, signer_.sign(csr_der, serial));
  CO_TRY(Bytes requested_key, public_key_of_csr(csr_der));
  if (certificate.public_key_der != requested_key || certificate.common_name != device_id) {
    Fault fault{Code::certificate_invalid, Remedy::stop_line, "the certificate that was issued is not the one asked for"};
    fault.where.board = device_id;
    fault.seen = "its subject is \"" + certificate.common_name + "\"";
    co_return fail(std::move(fault));
  }
  co_return certificate;
}

Task<Result<void>> LocalCloud::activate(std::string, Sha256) { co_return ok(); }

}  // namespace espmint
