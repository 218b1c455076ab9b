#include "app/image_command.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/hash.hpp"
#include "image/extracted_name.hpp"

namespace espmint::app {

namespace fs = std::filesystem;

void say(const ImageOptions& options, std::string_view text) {
  if (!options.quiet && !options.json) fmt::print(stderr, "{}\n", escape_controls(text));
}

void note(const ImageOptions& options, std::string_view text) {
  if (!options.quiet) fmt::print(stderr, "espmint: {}\n", escape_controls(text));
}

CLI::App& add_verb(CLI::App& format, std::string name, std::string help, std::string examples, ImageOptions& options,
                   std::function<Result<Exit>()> run, const Finish& finish) {
  CLI::App& command = *format.add_subcommand(std::move(name), std::move(help));
  command.footer("\nExamples:\n" + std::move(examples));
  command.add_flag("--json", options.json, "One JSON object instead of text");
  command.add_flag("-q,--quiet", options.quiet, "Only faults");
  command.add_flag("-v,--verbose", options.verbose, "Every file");
  command.callback([run = std::move(run), finish, &command, &options] {
    // Said before the verb they are the program's.
    const CLI::App* program = &command;
    while (program->get_parent()) program = program->get_parent();
    options.json = options.json || program->count("--json") > 0;
    options.quiet = options.quiet || program->count("--quiet") > 0;
    options.verbose = options.verbose || program->count("--verbose") > 0;
    Result<Exit> result = run();
    if (result && (std::fflush(stdout) != 0 || std::ferror(stdout) != 0))
      result = fail(
          Fault{.code = Code::output_unwritable, .remedy = Remedy::refuse, .what = "the output cannot be written"});
    if (!result) fmt::print(stderr, "espmint: {}\n", describe(result.error()));
    finish(static_cast<int>(result ? *result : exit_of(result.error().code)));
  });
  return command;
}

CLI::App& add_format(CLI::App& image, const std::string& name, std::string help) {
  CLI::App& format = *image.add_subcommand(name, std::move(help));
  format.require_subcommand(1);
  // Its own words: CLI11 would show the examples of `image` here.
  format.footer(fmt::format("`espmint image {} VERB --help` shows each verb's options and examples", name));
  return format;
}

void add_extraction(CLI::App& command, ImageOptions& options) {
  command.add_option("-o,--output", options.out, "Folder to extract into (one named after the image)")
      ->type_name("DIR");
  command.add_flag("--force", options.force, "Overwrite files that are there and differ");
}

FileMode mode_like(const fs::path& path) {
  std::error_code error;
  fs::perms perms = fs::status(path, error).permissions();
  bool open = !error && (perms & fs::perms::others_read) != fs::perms::none;
  return open ? FileMode::everyone : FileMode::owner_only;
}

Fault bad_input(Code code, std::string what, std::string seen, std::string advice) {
  return Fault{.code = code,
               .remedy = Remedy::refuse,
               .what = std::move(what),
               .seen = std::move(seen),
               .advice = std::move(advice)};
}

Result<Exit> report_check(const ImageOptions& options, const Result<std::string>& good) {
  if (options.json) {
    Json json{{"v", 1}, {"file", options.file}, {"good", good.has_value()}};
    json["code"] = good ? Json{} : Json(name_of(good.error().code));
    json["fault"] = good ? Json{} : Json(describe(good.error()));
    print_json(json);
  } else if (good && !options.quiet) {
    fmt::print("{}\n", escape_controls(fmt::format("{}: good: {}", options.file, *good)));
  }
  if (!good) fmt::print(stderr, "espmint: {}\n", describe(good.error()));
  return good ? Exit::good : Exit::board_failed;
}

// ---------------------------------------------------------------- from a folder

namespace {

/// Paths of what lies below `folder`, each folder's files before its folders.
Result<void> walk(const fs::path& folder, const std::string& prefix, const ImageOptions& options, Folders kept,
                  std::vector<std::string>& out) {
  std::vector<std::string> files, folders;
  std::error_code error;
  for (fs::directory_iterator it{folder, error}, end; !error && it != end; it.increment(error)) {
    std::string name = it->path().filename().string();
    std::error_code ignored;
    if (!it->is_directory(ignored)) {
      files.push_back(name);
    } else if (!it->is_symlink(ignored)) {
      folders.push_back(name);
    } else {
      note(options, fmt::format("'{}{}' links to a folder and is left out", prefix, name));
    }
  }
  if (error)
    return fail(bad_input(Code::input_unreadable, fmt::format("the folder '{}' cannot be read", folder.string()),
                          error.message()));
  std::sort(files.begin(), files.end());
  std::sort(folders.begin(), folders.end());
  for (const std::string& name : files) out.push_back(prefix + name);
  for (const std::string& name : folders) {
    if (kept == Folders::kept) out.push_back(prefix + name + "/");
    TRY(walk(folder / name, prefix + name + "/", options, kept, out));
  }
  return ok();
}

/// The named ones first, in that order; the rest behind them as they were.
Result<std::vector<std::string>> ordered(std::vector<std::string> paths, const std::string& order_file) {
  TRY(Bytes text, read_file(order_file));
  std::vector<std::string> out;
  for (std::string_view line : split(as_text(text), '\n')) {
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.starts_with("./")) line.remove_prefix(2);
    if (line.starts_with('/')) line.remove_prefix(1);
    if (line.empty()) continue;
    auto found = std::find(paths.begin(), paths.end(), line);
    if (found == paths.end())
      return fail(bad_input(Code::input_invalid,
                            fmt::format("'{}' names a file that is not in the folder, or twice", order_file),
                            std::string{line}));
    out.push_back(std::move(*found));
    paths.erase(found);
  }
  out.insert(out.end(), std::make_move_iterator(paths.begin()), std::make_move_iterator(paths.end()));
  return out;
}

}  // namespace

std::vector<FileView> FolderContent::views() const {
  std::vector<FileView> out;
  for (const FileOwned& file : files) out.push_back({file.path, file.content});
  return out;
}

Result<FolderContent> read_folder(const ImageOptions& options, Folders kept, const std::string& order_file) {
  std::error_code error;
  if (!fs::is_directory(options.file, error))
    return fail(bad_input(Code::input_missing, fmt::format("there is no folder '{}'", options.file)));
  std::vector<std::string> paths;
  TRY(walk(options.file, "", options, kept, paths));
  if (!order_file.empty()) {
    TRY(paths, ordered(std::move(paths), order_file));
  }
  FolderContent out;
  for (const std::string& path : paths) {
    // The reference tools make slashes of backslashes, as their users on Windows need.
    std::string name = path;
    std::replace(name.begin(), name.end(), '\\', '/');
    if (path.ends_with('/')) {
      out.files.push_back({std::move(name), {}});
      continue;
    }
    fs::path source = fs::path{options.file} / path;
    if (fs::exists(source, error) && !fs::is_regular_file(source, error))
      return fail(
          bad_input(Code::input_unreadable, fmt::format("'{}' is neither a file nor a folder", source.string())));
    TRY(Bytes content, read_file(source));
    out.bytes += content.size();
    if (mode_like(source) == FileMode::owner_only) out.mode = FileMode::owner_only;
    out.files.push_back({std::move(name), std::move(content)});
  }
  return out;
}

Result<Exit> report_built(const ImageOptions& options, ByteView image, const FolderContent& content,
                          std::string_view format, Json extra) {
  std::size_t files = 0;
  Json list = Json::array();
  for (const FileOwned& file : content.files) {
    if (options.verbose && !options.json) say(options, fmt::format("{:>9}  {}", file.content.size(), file.path));
    if (file.is_folder()) continue;
    list.push_back({{"path", file.path}, {"size", file.content.size()}});
    ++files;
  }
  if (options.json) {
    Json json{{"v", 1}, {"out", options.out}, {"size", image.size()}, {"sha256", to_hex(sha256_of(image))}};
    json.update(extra);
    json["files"] = std::move(list);
    print_json(json);
    return Exit::good;
  }
  say(options, fmt::format("{}: {} files, {} bytes, in a {} of {}", options.out, files, content.bytes, format,
                           show_bytes(image.size())));
  return Exit::good;
}

// ---------------------------------------------------------------- to a folder

void list_files(const ImageOptions& options, const std::vector<FileOwned>& files, Json extra) {
  if (!options.json) {
    for (const FileOwned& file : files)
      fmt::print("{:>9}  {}\n", file.is_folder() ? "" : std::to_string(file.content.size()),
                 escape_controls(file.path));
    return;
  }
  Json list = Json::array(), folders = Json::array();
  for (const FileOwned& file : files) {
    if (file.is_folder())
      folders.push_back(file.path);
    else
      list.push_back({{"path", file.path}, {"size", file.content.size()}, {"sha256", to_hex(sha256_of(file.content))}});
  }
  Json json{{"v", 1}, {"file", options.file}};
  json.update(extra);
  json["files"] = std::move(list);
  if (!folders.empty()) json["folders"] = std::move(folders);
  print_json(json);
}

namespace {

/// "storage" for "build/storage.bin", in the current folder; nothing lies in a folder that the image itself is.
fs::path folder_named_after(const fs::path& image) {
  return image.has_extension() ? image.stem() : fs::path{image.filename().string() + ".files"};
}

bool holds_something_else(const fs::path& target, const Bytes& content) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(target, error))) return false;
  auto there = read_file(target);
  return !there || *there != content;
}

bool is_private_key(const FileOwned& file) {
  return as_text(file.content).find("PRIVATE KEY-----") != std::string_view::npos ||
         file.path.find("private") != std::string::npos;
}

/// Before anything is written: no name that leads out of `root`, nothing there that would be lost.
Result<void> check_target(const ImageOptions& options, const std::vector<FileOwned>& files, const fs::path& folder,
                          const fs::path& root) {
  // A link that lies in the folder already could lead out of it.
  for (const FileOwned& file : files) {
    std::error_code error;
    fs::path parent = fs::weakly_canonical(root / fs::path{file.path}.parent_path(), error);
    auto [end, _] = std::mismatch(root.begin(), root.end(), parent.begin(), parent.end());
    if (error || end != root.end())
      return fail(bad_input(Code::output_unwritable,
                            fmt::format("'{}' would be written outside of '{}'", file.path, folder.string()),
                            "a link in the folder leads out of it", "extract into an empty folder"));
  }
  for (const FileOwned& file : files)
    if (!options.force && !file.is_folder() && holds_something_else(root / file.path, file.content))
      return fail(
          bad_input(Code::output_unwritable, fmt::format("'{}' is there already", (folder / file.path).string()),
                    "its content is another; nothing was extracted", "--force overwrites it, -o names another folder"));
  return ok();
}

}  // namespace

Result<Exit> extract_files(const ImageOptions& options, const std::vector<FileOwned>& files, Json extra, bool secret) {
  std::vector<std::string> names;
  for (const FileOwned& file : files) names.push_back(file.path);
  TRY(in_input(check_extracted_names(names), options.file));

  fs::path folder = options.out.empty() ? folder_named_after(options.file) : fs::path{options.out};
  TRY(make_folder(folder));
  std::error_code error;
  fs::path root = fs::canonical(folder, error);
  FileMode mode = secret ? FileMode::owner_only : mode_like(options.file);
  TRY(check_target(options, files, folder, root));
  std::size_t count = 0;
  for (const FileOwned& file : files) {
    fs::path target = root / file.path;
    TRY(make_folder(target.parent_path()));
    if (file.is_folder()) continue;
    TRY(write_file(target, file.content, is_private_key(file) ? FileMode::owner_only : mode));
    if (options.verbose) say(options, fmt::format("{:>9}  {}", file.content.size(), file.path));
    ++count;
  }
  if (options.json) {
    Json json{{"v", 1}, {"file", options.file}, {"out", folder.string()}};
    json.update(extra);
    json["files"] = names;
    print_json(json);
  } else {
    say(options, fmt::format("{}: {} files extracted", folder.string(), count));
  }
  return Exit::good;
}

}  // namespace espmint::app
