#include "ledger/chain.hpp"

#include <fmt/format.h>

#include <charconv>

#include "base/text.hpp"
#include "io/file.hpp"

namespace espmint {
namespace {

constexpr std::string_view row_tag{"espmint-audit-v1\0", 17};
constexpr std::string_view head_tag = "espmint-head-v1";

void put_text(Bytes& out, std::string_view text) {
  put_u32(out, static_cast<std::uint32_t>(text.size()));
  append(out, as_bytes(text));
}

}  // namespace

Sha256 hash_of_row(const AuditRow& row, const Sha256& previous) {
  Bytes bytes;
  bytes.reserve(row_tag.size() + previous.size() + 24 + row.time.size() + row.event.size() + row.device_id.size() +
                row.detail.size());
  append(bytes, as_bytes(row_tag));
  append(bytes, previous);
  auto sequence = static_cast<std::uint64_t>(row.sequence);
  put_u32(bytes, static_cast<std::uint32_t>(sequence));
  put_u32(bytes, static_cast<std::uint32_t>(sequence >> 32));
  put_text(bytes, row.time);
  put_text(bytes, row.event);
  put_text(bytes, row.device_id);
  put_text(bytes, row.detail);
  return sha256_of(bytes);
}

std::string encode_head(const Head& head) {
  return fmt::format("{} {} {} {}\n", head_tag, head.ledger_id, head.sequence, to_hex(head.hash));
}

std::optional<Head> parse_head(std::string_view text) {
  if (!text.ends_with('\n')) return std::nullopt;
  auto fields = split(text.substr(0, text.size() - 1), ' ');
  if (fields.size() != 4 || fields[0] != head_tag || fields[1].size() != 32) return std::nullopt;
  Head out;
  out.ledger_id = std::string{fields[1]};
  auto [end, error] = std::from_chars(fields[2].data(), fields[2].data() + fields[2].size(), out.sequence);
  auto hash = from_hex(fields[3]);
  if (error != std::errc{} || !hash || hash->size() != out.hash.size()) return std::nullopt;
  std::copy(hash->begin(), hash->end(), out.hash.begin());
  // Written back and compared, so that "+7", upper-case hex and double blanks are no second way to write one head.
  if (encode_head(out) != text || out.sequence < 1) return std::nullopt;
  return out;
}

Result<std::optional<Head>> read_head(const std::filesystem::path& folder) {
  auto bytes = read_file(head_in(folder), 4096);
  if (!bytes && bytes.error().code == Code::input_missing) return std::optional<Head>{};
  Fault fault{Code::ledger_damaged,
              Remedy::stop_line,
              "ledger.head does not hold a head",
              {},
              {},
              "Restore ledger.db and ledger.head together from the newest backup"};
  fault.where.input = head_in(folder).string();
  if (!bytes) {
    fault.code = Code::ledger_io;
    fault.what = "ledger.head cannot be read";
    fault.seen = bytes.error().seen;
    return fail(std::move(fault));
  }
  // A line that grew by a digit right before a power cut: the new length may be on the disk without the new bytes (the
  // old line, then zeros), or the new bytes without their length (its end is missing). Both say whole what they say.
  std::string text{as_text(*bytes)};
  while (text.ends_with('\0')) text.pop_back();
  if (!text.ends_with('\n')) text += '\n';
  auto head = parse_head(text);
  if (!head) return fail(std::move(fault));
  return head;
}

Result<void> as_ledger_fault(Result<void> written) {
  if (written) return written;
  Fault fault = std::move(written.error());
  if (fault.code != Code::disk_full) fault.code = Code::ledger_io;
  fault.remedy = Remedy::stop_line;
  return fail(std::move(fault));
}

Result<void> write_head(const std::filesystem::path& folder, const Head& head) {
  return as_ledger_fault(write_file(head_in(folder), as_bytes(encode_head(head))));
}

Result<void> move_head(const std::filesystem::path& folder, const Head& head) {
  return as_ledger_fault(overwrite_line(head_in(folder), as_bytes(encode_head(head))));
}

}  // namespace espmint
