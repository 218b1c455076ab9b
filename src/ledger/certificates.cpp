#include "ledger/certificates.hpp"

#include "ledger/store.hpp"

namespace espmint {

Result<void> each_certificate(const std::filesystem::path& ledger_folder,
                              const std::function<void(RecordedCertificate)>& see) {
  TRY(Database db, open_database(ledger_folder, Database::Mode::read_only));
  return db.each(
      "SELECT board.device_id, board.mac, certificate.sha256, certificate.serial, certificate.der, "
      "certificate.public_key_der, certificate.state, audit.time FROM certificate "
      "JOIN board ON board.number = certificate.board JOIN audit ON seq = certificate.audit ORDER BY "
      "certificate.attempt",
      {}, [&](const Row& row) {
        RecordedCertificate one{row.text(0), row.text(1), row.digest<32>(2), row.text(3), row.blob(4),
                                row.blob(5), {},          row.text(7)};
        using State = RecordedCertificate::State;
        one.state = row.text(6) == "BURNED" ? State::burned : row.text(6) == "LIVE" ? State::live : State::pending;
        see(std::move(one));
      });
}

}  // namespace espmint
