#include "cloud/local.hpp"

#include "base/text.hpp"

namespace espmint {
namespace {

// An issuer that answers wrongly does so on every slot.
Fault answer_fault(std::string what, std::string seen) {
  return {Code::certificate_invalid, Remedy::stop_line, std::move(what), {}, std::move(seen), {}};
}

Result<Certificate> sign_for(Signer& signer, std::string_view device_id, ByteView csr_der, ByteView serial) {
  TRY(CertificateRequest request, request_for(device_id, csr_der));
  TRY(Certificate certificate, signer.sign(request, serial));
  TRY(check_answer(certificate, request));
  if (!is_issued_by(certificate, signer.root()))
    return fail(answer_fault("the new certificate does not chain to its root", "root CN " + signer.root().common_name));
  return certificate;
}

}  // namespace

Result<CertificateRequest> request_for(std::string_view device_id, ByteView csr_der) {
  TRY(CertificateRequest request, parse_csr(csr_der));
  if (request.common_name != device_id)
    return fail(
        answer_fault("the certificate request is for another device", "CN " + escape_controls(request.common_name)));
  return request;
}

Result<void> check_answer(const Certificate& answer, const CertificateRequest& request) {
  if (answer.public_key_der != request.public_key_der)
    return fail(
        answer_fault("the issuer's certificate is for another key than the request", "serial " + answer.serial));
  return ok();
}

Task<Result<Issued>> LocalCloud::issue(IssueRequest request) {
  auto certificate = sign_for(signer_, request.device_id, request.csr_der, request.serial);
  if (!certificate) {
    certificate.error().where.board = request.device_id;
    co_return fail(std::move(certificate.error()));
  }
  co_return Issued{std::move(*certificate), {}, {}};
}

Task<Result<std::string>> LocalCloud::perform(std::string, CloudSubject) { co_return std::string{}; }

}  // namespace espmint
