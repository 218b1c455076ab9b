// ledger/certificates.hpp: every certificate that a ledger ever recorded, for those who take certificates back.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "base/bytes.hpp"
#include "base/hash.hpp"
#include "base/result.hpp"

namespace espmint {

struct RecordedCertificate {
  std::string device_id;  // empty for a board that lost its id to a mended recipe
  std::string mac;        // 12 hex digits
  Sha256 sha256{};        // of the DER
  std::string serial;     // hex
  Bytes der;
  Bytes public_key_der;
  /// PENDING: its key never left the process yet; LIVE: the board's; BURNED: nobody's.
  enum class State { pending, live, burned } state = State::pending;
  std::string since;  // UTC
};

/// Read only; a writer may run meanwhile. In the order in which they were recorded. Faults: ledger_missing,
/// ledger_foreign, ledger_damaged, ledger_io.
Result<void> each_certificate(const std::filesystem::path& ledger_folder,
                              const std::function<void(RecordedCertificate)>& see);

}  // namespace espmint
