// image/nvs_csv.hpp: the tables from which ESP-IDF's nvs_partition_gen 0.2.0 builds NVS partitions, read and written.
//   TRY(NvsTable table, parse_nvs_csv({{"in.csv", text}}, read_beside, {}));
//   TRY(Bytes partition, build_nvs(24_KiB, {.twice = true}, table.entries));
// Columns key, type (namespace, data, file), encoding, value. Pure: files that rows name come in through a call.
// Source: ESP-IDF Programming Guide, NVS Partition Generator Utility; behaviour of 0.2.0. Page: docs/formats/nvs.md.
#pragma once

#include <functional>
#include <span>

#include "image/file_tree.hpp"
#include "image/nvs_build.hpp"

namespace espmint {

struct NvsCsv {
  std::string name;  // for faults
  std::string_view text;
};

struct NvsCsvOptions {
  NvsVersion version = NvsVersion::v2;  // how long values may be
  /// As 0.2.0: sta.apinfo, sta.pmk and sta.apsw behind the first of sta.ssid and sta.pswd; ap.pmk_info before the last
  /// of ap.ssid, ap.passwd and ap.authmode.
  bool wifi_extras = true;
};

struct NvsTable {
  std::vector<NvsEntry> entries;   // for build_nvs, with `twice`; each namespace first as an entry of its own
  std::vector<std::string> notes;  // what the person may not have meant; no values
};

/// The content of what a row of type `file` names, relative to the CSV `name`.
using NvsFileReader = std::function<Result<Bytes>(const std::string& name, const std::string& path)>;

/// Several tables are one behind the other: a namespace goes on into the next. Faults (refuse) name file and line and
/// never a value: input_invalid, and what `read` says.
Result<NvsTable> parse_nvs_csv(std::span<const NvsCsv>, const NvsFileReader& read, const NvsCsvOptions& = {});

/// An entry as a row of type `data` gives it: `encoding` is "u8" to "i64", "string", "hex2bin", "base64", "binary", …
/// Fault (refuse) input_invalid, which quotes neither names nor value: whoever asks knows them.
Result<NvsEntry> nvs_entry(std::string space, std::string key, std::string_view encoding, ByteView value);

struct NvsCsvText {
  std::string csv;
  std::vector<FileOwned> files;  // that its rows of type `file` name
  bool has_wifi_extras = false;  // built again, it wants wifi_extras off
};
enum class NvsValues {
  inside,   // all in the table
  in_files  // blobs of more than 64 bytes, and strings that no table can hold
};
/// A table that is built to the same entries again; one namespace behind the other. Fault (refuse) image_invalid: a
/// name, or with `inside` a string, that no such table can hold.
Result<NvsCsvText> encode_nvs_csv(std::span<const NvsEntry>, NvsValues);

}  // namespace espmint
