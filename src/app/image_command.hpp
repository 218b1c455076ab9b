// app/image_command.hpp: what the verbs of `espmint image FORMAT` share: options, reports, and files from and to
// folders.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "app/json.hpp"
#include "app/terminal.hpp"
#include "base/text.hpp"
#include "image/file_tree.hpp"
#include "io/file.hpp"

namespace espmint::app {

struct ImageOptions : Voice {
  std::string file;  // its input
  std::string out;
  bool force = false;  // extracting may overwrite
};

/// What was done; not data, so on stderr.
void say(const ImageOptions&, std::string_view text);
/// What the person may want to know about what was done.
void note(const ImageOptions&, std::string_view text);

using Finish = std::function<void(int)>;

/// A verb without its own options: --json, -q, -v, and how its result becomes an exit code.
CLI::App& add_verb(CLI::App& format, std::string name, std::string help, std::string examples, ImageOptions&,
                   std::function<Result<Exit>()> run, const Finish&);

template <typename Options>
CLI::App& add_command(CLI::App& format, std::string name, std::string help, std::string examples,
                      const std::shared_ptr<Options>& options, Result<Exit> (*run)(const Options&),
                      const Finish& finish) {
  return add_verb(
      format, std::move(name), std::move(help), std::move(examples), *options, [options, run] { return run(*options); },
      finish);
}

/// `espmint image NAME`.
CLI::App& add_format(CLI::App& image, const std::string& name, std::string help);

/// 4096, 0xF0000, 960K, 4MB.
template <typename Number>
CLI::Option* number_option(CLI::App& command, const std::string& name, Number& target, const std::string& help) {
  return command
      .add_option_function<std::string>(
          name,
          [&target, name](const std::string& text) {
            std::optional<std::uint64_t> number = parse_number(text);
            if (!number || *number > std::numeric_limits<Number>::max())
              throw CLI::ValidationError(name, "'" + text + "' is no number here (4096, 0xF0000, 960K, 4MB)");
            target = static_cast<Number>(*number);
          },
          help)
      ->type_name("N");
}

/// -o and --force of `extract`.
void add_extraction(CLI::App& command, ImageOptions&);

/// What is made of secret files is as hard to read as they are.
FileMode mode_like(const std::filesystem::path&);

Fault bad_input(Code, std::string what, std::string seen = {}, std::string advice = {});

/// A check that failed is an answer, not a wrong input: exit 1.
Result<Exit> report_check(const ImageOptions&, const Result<std::string>& good);

/// What lies below a folder, to be put into an image.
struct FolderContent {
  std::vector<FileOwned> files;        // in the order they are put in
  FileMode mode = FileMode::everyone;  // of an image made of them
  ByteCount bytes = 0;                 // of all together
  [[nodiscard]] std::vector<FileView> views() const;
};
enum class Folders {
  left_out,  // a flat file system: "a/b.txt" is a name
  kept,      // each folder before what it holds, as an entry whose path ends in '/'
};
/// A folder's files by byte value of their names, then its folders by byte value; where `order_file` is named, the
/// paths in it first, in its order.
Result<FolderContent> read_folder(const ImageOptions&, Folders, const std::string& order_file = {});

/// Size and path, a line each, or with --json `extra` and their list with SHA-256.
void list_files(const ImageOptions&, const std::vector<FileOwned>&, Json extra);
/// Into the folder -o, or one named after the image; never outside of it, nothing overwritten without --force.
/// Files are as hard to read as the image, or, with `secret`, for their owner only.
Result<Exit> extract_files(const ImageOptions&, const std::vector<FileOwned>&, Json extra, bool secret = false);
/// What `build` says when its image is written; `extra` is what the format adds to the JSON.
Result<Exit> report_built(const ImageOptions&, ByteView image, const FolderContent&, std::string_view format,
                          Json extra);

// One a format; each adds its verbs below `image`.
void add_spiffs(CLI::App& image, const Finish&);
void add_littlefs(CLI::App& image, const Finish&);
void add_partitions(CLI::App& image, const Finish&);
void add_app(CLI::App& image, const Finish&);
void add_fat(CLI::App& image, const Finish&);
void add_nvs(CLI::App& image, const Finish&);
void add_merge(CLI::App& image, const Finish&);  // `image merge` and `image split`

}  // namespace espmint::app
