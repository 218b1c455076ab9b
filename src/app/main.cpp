#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include <fmt/format.h>

#include "app/command_line.hpp"
#include "app/completion.hpp"
#include "app/image_commands.hpp"
#include "base/text.hpp"
#include "io/file.hpp"

namespace espmint::app {

CommandLine::CommandLine(std::string_view first_word) {
  program_.set_version_flag("--version", std::string{"espmint "} + ESPMINT_VERSION);
  program_.require_subcommand(1);
  program_.fallthrough();
  program_.add_flag("--json", all_.voice.json, "One JSON object a line on standard output");
  program_.add_flag("-q,--quiet", all_.voice.quiet, "Only results and faults");
  program_.add_flag("-v,--verbose", all_.voice.verbose, "Every step");
  program_.add_option("--state", all_.flags.state,
                      "Folder of ledgers and CA (default: $ESPMINT_STATE, else the XDG state folder)");
  program_.footer(
      "Examples:\n"
      "  espmint demo                                 the whole product on virtual boards\n"
      "  espmint run --firmware build                 prepare every board that is plugged in\n"
      "  espmint board info --port /dev/ttyUSB0       who is this?\n"
      "Exit codes: 0 good, 1 a board failed, 2 usage, 3 configuration or firmware, 4 port, 5 cloud, 6 ledger, 130 "
      "interrupted");
  add_groups(first_word);
  for (CLI::App* command : program_.get_subcommands({})) let_through(*command);
}

int CommandLine::run(int argc, char** argv) {
  try {
    program_.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return program_.exit(help);
  } catch (const CLI::CallForAllHelp& help) {
    return program_.exit(help);
  } catch (const CLI::CallForVersion& version) {
    return program_.exit(version);
  } catch (const CLI::ParseError& error) {
    return static_cast<int>(misunderstood(error, {argv + 1, argv + argc}));
  }
  return static_cast<int>(delivered() ? exit_ : Exit::configuration);
}

bool CommandLine::delivered() const {
  if (exit_ != Exit::good || (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) || errno == EPIPE) return true;
  report({Code::output_unwritable,
          Remedy::refuse,
          "the output could not be written",
          {},
          std::strerror(errno),
          "Nothing of it counts; write it somewhere else"},
         {});
  return false;
}

void CommandLine::add_groups(std::string_view first_word) {
  struct Group {
    std::vector<std::string_view> words;
    void (CommandLine::*add)();
  };
  const std::array groups{Group{{"run", "prepare", "init"}, &CommandLine::add_line},
                          Group{{"demo"}, &CommandLine::add_demo},
                          Group{{"board", "flash"}, &CommandLine::add_desk},
                          Group{{"device", "ca", "keys", "audit", "doctor"}, &CommandLine::add_records},
                          Group{{"cloud"}, &CommandLine::add_cloud},
                          Group{{"sim"}, &CommandLine::add_sim},
                          Group{{"image"}, &CommandLine::add_image}};
  for (const Group& group : groups)
    if (std::find(group.words.begin(), group.words.end(), first_word) != group.words.end()) return (this->*group.add)();
  for (const Group& group : groups) (this->*group.add)();
  add_pages();  // they show all of it
}

void CommandLine::add_image() {
  add_image_commands(program_, [this](int code) { exit_ = static_cast<Exit>(code); });
}

std::string CommandLine::words_to(const CLI::App& command) {
  const CLI::App* parent = command.get_parent();
  return parent ? words_to(*parent) + " " + command.get_name() : "espmint";
}

namespace {

/// Whether the word after this one is its value: "--state", but neither "--json" nor "--state=/srv".
bool takes_the_next(const CLI::App* at, const std::string& word) {
  for (; at; at = at->get_parent())
    if (const CLI::Option* option = at->get_option_no_throw(word)) return option->get_items_expected_min() > 0;
  return false;
}

}  // namespace

Exit CommandLine::misunderstood(const CLI::ParseError& error, const std::vector<std::string>& words) {
  Fault fault{Code::usage, Remedy::refuse, error.what()};
  while (!fault.what.empty() && (fault.what.back() == '\n' || fault.what.back() == '.')) fault.what.pop_back();
  fault.advice = "`espmint --help` shows what there is";
  CLI::App* at = &program_;
  bool is_value = false;
  for (const std::string& word : words) {
    if (word == "--json") all_.voice.json = true;
    if (!at || std::exchange(is_value, false)) continue;
    std::vector<std::string_view> known;
    std::vector<std::string> names;
    bool is_option = word.starts_with("--");
    is_value = word.starts_with('-') && takes_the_next(at, word);
    if (is_option) {
      for (CLI::App* app = at; app; app = app->get_parent())
        for (const CLI::Option* option : app->get_options({}))
          for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    } else if (!word.starts_with('-')) {
      for (CLI::App* below : at->get_subcommands({})) names.push_back(below->get_name());
    }
    std::string bare = word.substr(0, word.find('='));
    bool understood = names.empty() || std::find(names.begin(), names.end(), bare) != names.end();
    if (!understood) {
      fault.what = fmt::format("\"{}\" is no {} of {}", bare, is_option ? "option" : "command", words_to(*at));
      known.assign(names.begin(), names.end());
      if (std::string meant = nearest(bare, known); !meant.empty())
        fault.advice = fmt::format("Did you mean \"{}\"?", meant);
      at = nullptr;
    } else if (!is_option && !names.empty()) {
      at = at->get_subcommand(word);
    }
  }
  return report(fault, all_.voice);
}

void CommandLine::let_through(CLI::App& command) {
  command.fallthrough();
  for (CLI::App* below : command.get_subcommands({})) let_through(*below);
}

CLI::App* CommandLine::command(CLI::App& parent, const std::string& name, const std::string& does,
                               const std::string& examples) {
  CLI::App* made = parent.add_subcommand(name, does);
  made->footer(examples.empty() ? "" : "Examples:\n" + examples);  // the parent's would be inherited
  return made;
}

CLI::App* CommandLine::noun(const std::string& name, const std::string& does) {
  CLI::App* made = program_.add_subcommand(name, does);
  made->footer(fmt::format("`espmint {} VERB --help` shows each verb's options and examples", name));
  made->require_subcommand(1);
  return made;
}

void CommandLine::add_pages() {
  auto* completion = command(program_, "completion", "Print a completion script for a shell",
                             "  espmint completion bash > ~/.local/share/bash-completion/completions/espmint\n"
                             "  espmint completion zsh > ~/.zfunc/_espmint\n");
  completion->add_option("shell", name_, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  completion->callback([this] {
    if (auto script = completion_script(program_, name_)) std::fputs(script->c_str(), stdout);
  });
  auto* man = command(program_, "man", "Write a manual page for each command into a folder",
                      "  espmint man ~/.local/share/man/man1\n");
  man->add_option("folder", out_, "Where; it is made")->required();
  man->callback([this] {
    Result<void> end = make_folder(out_);
    for (const auto& [name, text] : man_pages(program_, ESPMINT_VERSION))
      if (end) end = write_file(std::filesystem::path{out_} / name, as_bytes(text));
    exit_ = end ? Exit::good : report(end.error(), all_.voice);
  });
}

}  // namespace espmint::app

int main(int argc, char** argv) {
  // A reader that closes the pipe, or a board's connection that ends, is an error of the call, not of the process.
  // So is a file that may not grow (ulimit -f): it is a full disk to us.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  return espmint::app::CommandLine{argc > 1 ? argv[1] : ""}.run(argc, argv);
}
