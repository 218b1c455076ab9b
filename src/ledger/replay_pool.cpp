// What the chain tells of the key pool, and whether its table holds just that.
#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "base/hash.hpp"
#include "ledger/replay.hpp"

namespace espmint {
namespace {

using nlohmann::json;

struct KeyStep {
  std::string_view event, from, to;
};
constexpr std::array key_steps{
    KeyStep{"key_reserved", "AVAILABLE", "RESERVED"},
    KeyStep{"key_released", "RESERVED", "AVAILABLE"},
    KeyStep{"key_exposed", "RESERVED", "EXPOSED"},
    KeyStep{"key_written", "EXPOSED", "WRITTEN"},
    KeyStep{"key_verified", "WRITTEN", "VERIFIED"},
    KeyStep{"key_quarantined", "EXPOSED WRITTEN", "QUARANTINED"},
    KeyStep{"key_trusted", "QUARANTINED", "EXPOSED"},
    KeyStep{"key_bound", "VERIFIED QUARANTINED", "VERIFIED"},
    KeyStep{"key_suspected", "AVAILABLE", "QUARANTINED"},
    KeyStep{"key_acquitted", "QUARANTINED", "AVAILABLE"},
    KeyStep{"key_retired", "AVAILABLE QUARANTINED", "RETIRED"},
};

std::int64_t number_in(const json& detail, const char* name) {
  auto at = detail.find(name);
  return at != detail.end() && at->is_number_integer() ? at->get<std::int64_t>() : 0;
}

}  // namespace

std::string Replay::import(const AuditRow& row, const json& detail) {
  Import batch{number_in(detail, "first"), number_in(detail, "count"), detail.value("sha256", ""), row.sequence};
  std::int64_t next = imports_.empty() ? 1 : imports_.back().first + imports_.back().count;
  if (batch.first != next || batch.count < 0)
    return fmt::format("its first key would be {}, not {}", next, batch.first);
  for (const json& other : detail.value("not_available", json::array())) {
    if (!other.is_array() || other.size() != 3 || !other[0].is_number_integer()) return "it lists what is no key";
    auto number = other[0].get<std::int64_t>();
    if (number < batch.first || number >= batch.first + batch.count)
      return fmt::format("key {} is not among its own", number);
    keys_[number] = {other[1].get<std::string>(), other[2].get<std::string>(), "", row.sequence};
  }
  imports_.push_back(std::move(batch));
  return {};
}

std::string Replay::key_step(const AuditRow& row, const json& detail) {
  if (row.event == "keys_imported") return import(row, detail);
  for (const KeyStep& step : key_steps) {
    if (row.event != step.event) continue;
    std::int64_t number = number_in(detail, "key");
    if (imports_.empty() || number < 1 || number >= imports_.back().first + imports_.back().count)
      return fmt::format("there is no key {}", number);
    Key& key = keys_.try_emplace(number, Key{"AVAILABLE", "", "", 0}).first->second;
    if (step.from.find(key.state) == std::string_view::npos) return fmt::format("key {} was {}", number, key.state);
    if (step.event == "key_reserved" || step.event == "key_bound") {
      std::string board = detail.contains("board") ? detail["board"].dump() : "";
      if (!key.device.empty() && key.device != row.device_id) return fmt::format("key {} is {}'s", number, key.device);
      if (std::string why = put_board(board, detail, row.device_id, "", row.sequence); !why.empty()) return why;
      key.device = row.device_id;
      key.board = board;
    } else if (step.event == "key_suspected") {
      key.device = row.device_id;
    } else if (row.device_id != key.device) {
      return fmt::format("key {} is {}'s", number, key.device);
    }
    if ((step.event == "key_exposed" || step.event == "key_bound" || step.event == "key_trusted") && !key.board.empty())
      if (std::string why = expose_board(key.board, row.sequence); !why.empty()) return why;
    key.state = step.to;
    key.row = row.sequence;
    if (step.to == "AVAILABLE") key.device = key.board = {};
    return {};
  }
  return "no such event";
}

Result<std::optional<Replay::Finding>> Replay::compare_pool(Database& db) const {
  std::optional<Finding> first;
  auto find = [&](std::int64_t row, std::string why) {
    if (!first || row < first->row) first = Finding{row, std::move(why)};
  };
  std::size_t batch = 0;
  std::int64_t expected = 1;
  Bytes digests;
  auto end_batch = [&] {
    const Import& told = imports_[batch++];
    if (to_hex(sha256_of(digests)) != told.sha256)
      find(told.row,
           fmt::format("a key of audit row {}'s import was changed: their digests have another SHA-256", told.row));
    digests.clear();
  };
  auto skip_empty = [&] {
    while (batch < imports_.size() && expected >= imports_[batch].first + imports_[batch].count) end_batch();
  };
  TRY(db.each(
      "SELECT number, row_sha256, name_sha256, state, device, coalesce(board, ''), audit, traces FROM pool_key ORDER "
      "BY number",
      {}, [&](const Row& row) {
        std::int64_t number = row.integer(0);
        skip_empty();
        if (batch >= imports_.size() || number != expected) {
          std::int64_t who = batch < imports_.size() ? imports_[batch].row : row.integer(6);
          find(who, batch < imports_.size() ? fmt::format("key {} is missing, audit row {} tells of it", expected, who)
                                            : fmt::format("key {} is in no audit row", number));
          expected = number;
          if (batch >= imports_.size()) return;
        }
        ++expected;
        append(digests, row.blob(1));
        append(digests, row.blob(2));
        append(digests, row.blob(7));
        auto told = keys_.find(number);
        Key want = told != keys_.end() ? told->second
                                       : Key{"AVAILABLE", "", "", batch < imports_.size() ? imports_[batch].row : 0};
        if (want.row == 0 && batch < imports_.size()) want.row = imports_[batch].row;
        if (row.text(3) != want.state || row.text(4) != want.device || row.text(5) != want.board ||
            row.integer(6) != want.row)
          find(want.row, fmt::format("key {} was changed: it is {} of \"{}\", audit row {} left it {} of \"{}\"",
                                     number, row.text(3), row.text(4), want.row, want.state, want.device));
      }));
  skip_empty();
  while (batch < imports_.size()) {
    find(imports_[batch].row,
         fmt::format("keys from {} on are missing, audit row {} tells of them", expected, imports_[batch].row));
    ++batch;
  }
  return first;
}

}  // namespace espmint
