// Any bytes as a binary table and as CSV: a table or a fault; a table that was built reads as itself.
#include <cstdlib>

#include "image/partition_table.hpp"

using namespace espmint;

namespace {

void round_trip(const PartitionTable& table) {
  PartitionTableOptions unchecked;
  unchecked.verify = false;
  Result<Bytes> binary = build_partition_table(table, unchecked);
  if (!binary) return;
  Result<PartitionTable> again = parse_partition_table(*binary);
  if (!again) {
    // A name cut at 16 bytes may end within a character, and then is no text.
    for (const Partition& partition : table.partitions)
      if (partition.name.size() > 16) return;
    std::abort();
  }
  if (again->partitions.size() != table.partitions.size()) std::abort();
  for (std::size_t i = 0; i < table.partitions.size(); ++i) {
    const Partition &a = table.partitions[i], &b = again->partitions[i];
    if (a.type != b.type || a.subtype != b.subtype || a.range != b.range || a.encrypted != b.encrypted ||
        a.read_only != b.read_only)
      std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteView bytes{data, size};
  if (Result<PartitionTable> table = parse_partition_table(bytes)) {
    round_trip(*table);
    (void)check_partition_table(*table);
    (void)partition_csv(*table);
  }
  if (Result<PartitionTable> table = parse_partition_csv(as_text(bytes))) {
    round_trip(*table);
    (void)check_partition_table(*table);
    (void)partition_csv(*table);
  }
  return 0;
}
