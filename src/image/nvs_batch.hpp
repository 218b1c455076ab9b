// image/nvs_batch.hpp: one table for nvs_csv for each board, of a table of keys and a table of values, as ESP-IDF's
// Manufacturing Utility (mfg_gen) makes them.
//   TRY(NvsBatch batch, expand_nvs_batch({"config.csv", keys}, {"values.csv", rows}, "serial_no"));
// Pure. Source: ESP-IDF Programming Guide, Manufacturing Utility. Page: docs/formats/nvs.md.
#pragma once

#include "image/nvs_csv.hpp"

namespace espmint {

struct NvsBoard {
  std::string id;        // for its file names: 1, 2, 3, … or the value of a column
  std::size_t line = 0;  // in the table of values
  std::string csv;       // key,type,encoding,value; lines end in CRLF, as mfg_gen writes them
};

struct NvsBatch {
  std::vector<NvsBoard> boards;
  std::vector<std::string> notes;
};

/// `keys`: rows key,type,encoding and, where the first board's value is everybody's, REPEAT; namespaces between them.
/// `values`: the keys in the same order, other columns between them, then a row for each board. `id_column`: whose
/// value is the id; empty: they are counted. Faults (refuse) input_invalid at file and line, never with a value: a row
/// that is too short or too long, a key without column, ids that are alike or cannot be a file's name.
Result<NvsBatch> expand_nvs_batch(const NvsCsv& keys, const NvsCsv& values, std::string_view id_column);

}  // namespace espmint
