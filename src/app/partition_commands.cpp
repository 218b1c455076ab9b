#include <fmt/format.h>

#include <cstdlib>

#include "app/image_command.hpp"
#include "base/hash.hpp"
#include "image/partition_table.hpp"

namespace espmint::app {
namespace {

struct PartitionOptions : ImageOptions {
  PartitionTableOptions table;
  std::string secure = "none";
  ByteCount flash_size = 0;
  bool no_md5 = false, no_verify = false;

  [[nodiscard]] PartitionTableOptions chosen() const {
    PartitionTableOptions result = table;
    result.md5 = !no_md5;
    result.verify = !no_verify;
    if (flash_size != 0) result.flash_size = flash_size;
    result.secure = secure == "v1" ? SecureBoot::v1 : secure == "v2" ? SecureBoot::v2 : SecureBoot::none;
    return result;
  }
};

/// $NAME and ${NAME} of the environment, as the reference tool puts them into a table; unknown ones stay.
std::string with_environment(std::string_view text) {
  std::string out;
  auto in_name = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
  while (!text.empty()) {
    std::size_t dollar = std::min(text.find('$'), text.size());
    out += text.substr(0, dollar);
    text.remove_prefix(dollar);
    if (text.empty()) break;
    std::size_t whole = 1;
    std::string name;
    if (text.starts_with("${")) {
      std::size_t close = text.find_first_of("}\n", 2);
      if (close != std::string_view::npos && text[close] == '}') {
        name = text.substr(2, close - 2);
        whole = close + 1;
      }
    } else {
      while (whole < text.size() && in_name(text[whole])) ++whole;
      name = text.substr(1, whole - 1);
    }
    const char* value = name.empty() ? nullptr : std::getenv(name.c_str());
    out += value != nullptr ? std::string_view{value} : text.substr(0, whole);
    text.remove_prefix(whole);
  }
  return out;
}

/// Binary or CSV, told apart by the magic of a first entry.
Result<PartitionTable> parse_any_table(ByteView bytes, const PartitionTableOptions& options) {
  if (bytes.size() >= 2 && bytes[0] == 0xaa && bytes[1] == 0x50) return parse_partition_table(bytes, options);
  return parse_partition_csv(with_environment(as_text(bytes)), options);
}

Result<Exit> build_partitions_command(const PartitionOptions& options) {
  TRY(Bytes input, read_file(options.file));
  PartitionTableOptions chosen = options.chosen();
  TRY(PartitionTable table, in_input(parse_any_table(input, chosen), options.file));
  TRY(Bytes binary, in_input(build_partition_table(table, chosen), options.file));
  TRY(write_file(options.out, binary));
  if (options.json) {
    print_json({{"v", 1},
                {"out", options.out},
                {"size", binary.size()},
                {"sha256", to_hex(sha256_of(binary))},
                {"partitions", table.partitions.size()},
                {"end", table.end()}});
    return Exit::good;
  }
  if (options.verbose) say(options, partition_csv(table));
  say(options,
      fmt::format("{}: {} partitions, the last ends at {:#x}", options.out, table.partitions.size(), table.end()));
  return Exit::good;
}

Result<Exit> list_partitions_command(const PartitionOptions& options) {
  TRY(Bytes input, read_file(options.file));
  PartitionTableOptions chosen = options.chosen();
  TRY(PartitionTable table, in_input(parse_any_table(input, chosen), options.file));
  if (chosen.verify) TRY(in_input(check_partition_table(table, chosen), options.file));
  if (!options.json) {
    fmt::print("{}", escape_controls(partition_csv(table)));
    return Exit::good;
  }
  Json rows = Json::array();
  for (const Partition& p : table.partitions)
    rows.push_back({{"name", p.name},
                    {"type", p.type},
                    {"subtype", p.subtype},
                    {"offset", p.range.at.bytes},
                    {"size", p.range.size},
                    {"encrypted", p.encrypted},
                    {"readonly", p.read_only}});
  print_json({{"v", 1}, {"file", options.file}, {"partitions", std::move(rows)}});
  return Exit::good;
}

Result<Exit> check_partitions_command(const PartitionOptions& options) {
  TRY(Bytes input, read_file(options.file));
  auto summary = [&]() -> Result<std::string> {
    PartitionTableOptions chosen = options.chosen();
    TRY(PartitionTable table, in_input(parse_any_table(input, chosen), options.file));
    TRY(in_input(check_partition_table(table, chosen), options.file));
    return fmt::format("{} partitions, the last ends at {:#x}", table.partitions.size(), table.end());
  };
  return report_check(options, summary());
}

}  // namespace

void add_partitions(CLI::App& image, const Finish& finish) {
  CLI::App& partitions = add_format(image, "partitions", "Partition tables");
  auto add = [&](const char* name, const char* help, const char* examples,
                 Result<Exit> (*run)(const PartitionOptions&)) {
    auto options = std::make_shared<PartitionOptions>();
    CLI::App& command = add_command(partitions, name, help, examples, options, run, finish);
    number_option(command, "--offset", options->table.offset.bytes, "Where the table lies in flash (0x8000)");
    command.add_flag("--no-md5", options->no_md5, "Without the MD5 entry");
    number_option(command, "--flash-size", options->flash_size, "The table must end within it, such as 4MB");
    command.add_option("--secure", options->secure, "Secure boot the apps must suit")
        ->check(CLI::IsMember({"none", "v1", "v2"}))
        ->type_name("none|v1|v2");
    if (run != &check_partitions_command) command.add_flag("--no-verify", options->no_verify, "Do not check the table");
    command.add_option("table", options->file, "Partition table, CSV or binary")->required()->type_name("TABLE");
    if (run == &build_partitions_command)
      command.add_option("-o,--output", options->out, "Table to write")->required()->type_name("OUT");
  };
  add("build", "The binary table of a CSV, bit for bit as ESP-IDF makes it",
      "  espmint image partitions build partitions.csv -o partition-table.bin\n"
      "  espmint image partitions build --offset 0x10000 --flash-size 4MB --secure v2 partitions.csv -o table.bin\n",
      &build_partitions_command);
  add("list", "The table as CSV, every offset filled in",
      "  espmint image partitions list build/partition_table/partition-table.bin\n  espmint image partitions list "
      "--json partitions.csv\n",
      &list_partitions_command);
  add("check", "Overlaps, alignment, names, flash size (exit 0, else 1)",
      "  espmint image partitions check --flash-size 4MB partitions.csv\n", &check_partitions_command);
}

}  // namespace espmint::app
