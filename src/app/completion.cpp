#include "app/completion.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/text.hpp"
#include "chip/chip.hpp"
#include "sim/symptoms.hpp"

namespace espmint::app {
namespace {

/// One command, as deep as it lies: path "board monitor"; empty for the program.
struct Command {
  std::string path;
  const CLI::App* app;
};

void collect(const CLI::App& app, const std::string& path, std::vector<Command>& out) {
  out.push_back({path, &app});
  for (const CLI::App* below : app.get_subcommands(std::function<bool(const CLI::App*)>{})) {
    if (!below->get_name().empty())
      collect(*below, path.empty() ? below->get_name() : path + " " + below->get_name(), out);
  }
}

std::vector<const CLI::App*> verbs_of(const CLI::App& app) {
  return app.get_subcommands(std::function<bool(const CLI::App*)>{});
}

/// "--port", "-p"
std::vector<std::string> spellings(const CLI::Option& option) {
  std::vector<std::string> out;
  for (const std::string& name : option.get_lnames()) out.push_back("--" + name);
  for (const std::string& name : option.get_snames()) out.push_back("-" + name);
  return out;
}
bool takes_value(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

/// What stands behind an option: words to choose from, or one of the three kinds; what is not here is a file.
struct Values {
  std::string_view option, words;
};
constexpr std::string_view ports = "@ports", folders = "@folders", nothing = "@nothing", chips = "@chips",
                           symptoms = "@symptoms";
constexpr std::array values{
    Values{"--port", ports},
    Values{"--chip", chips},
    Values{"--baud", "115200 460800 921600 1500000 2000000 3000000"},
    Values{"--provisioned", "hold erase"},
    Values{"--flash-mode", "keep qio qout dio dout"},
    Values{"--flash-freq", "keep 80m 60m 48m 40m 30m 26m 24m 20m 16m 15m 12m"},
    Values{"--flash-size", "keep detect 1MB 2MB 4MB 8MB 16MB 32MB 64MB 128MB"},
    Values{"--identity", "spiffs littlefs fat nvs nvs-encrypted"},
    Values{"--app", "challenge old3 old5 device-line device-framed forgetful mute"},
    Values{"--preset", "fast classic no-boost instant"},
    Values{"--symptom", symptoms},
    Values{"--state", folders},
    Values{"--dir", folders},
    Values{"--files", folders},
    Values{"--count", nothing},
    Values{"--slots", nothing},
    Values{"--boards", nothing},
    Values{"--seed", nothing},
    Values{"--product", nothing},
    Values{"--partition", nothing},
    Values{"--name", nothing},
    Values{"--by", nothing},
    Values{"--why", nothing},
    Values{"--for", nothing},
    Values{"--wait", nothing},
    Values{"--filter", nothing},
    Values{"--exclude", nothing},
    Values{"--until", nothing},
    Values{"--region", nothing},
};

std::string words_for(std::string_view kind) {
  if (kind == symptoms) {
    std::string names;
    for (const sim::SymptomRow& row : sim::all_symptoms())
      names += fmt::format("{}{}", names.empty() ? "" : " ", row.name);
    return names;
  }
  if (kind != chips) return std::string{kind};
  std::string out = "auto";
  for (const ChipSpec& chip : all_chips()) out += fmt::format(" {}", chip.name);
  return out;
}

/// Spellings of every option that takes a value → what may stand behind it.
std::map<std::string, std::string> value_words(const std::vector<Command>& commands) {
  std::map<std::string, std::string> out;
  for (const Command& command : commands)
    for (const CLI::Option* option : command.app->get_options({})) {
      if (!takes_value(*option)) continue;
      const std::vector<std::string> names = spellings(*option);
      std::string words = "@files";
      for (const Values& row : values)
        if (std::find(names.begin(), names.end(), row.option) != names.end()) words = words_for(row.words);
      for (const std::string& name : names) out[name] = words;
    }
  return out;
}

/// The same turned round, "--port|-p" by words, so that a script has one line for each kind.
std::map<std::string, std::string> by_words(const std::map<std::string, std::string>& options,
                                            std::string_view between) {
  std::map<std::string, std::string> out;
  for (const auto& [option, words] : options) {
    std::string& line = out[words];
    line += line.empty() ? option : fmt::format("{}{}", between, option);
  }
  return out;
}

std::string join(const std::vector<std::string>& words, std::string_view between) {
  std::string out;
  for (const std::string& word : words) out += out.empty() ? word : fmt::format("{}{}", between, word);
  return out;
}

/// In single quotes for a shell; what closes them is left out.
std::string shell_word(std::string_view text) {
  std::string out = "'";
  for (char c : text)
    if (c != '\'' && c != '\\' && c != '\n') out += c;
  return out + "'";
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> out;
  for (const CLI::Option* option : app.get_options({}))
    for (const std::string& name : spellings(*option))
      if (name.starts_with("--")) out.push_back(name);
  return out;
}

std::string paths_pattern(const std::vector<Command>& commands) {
  std::vector<std::string> out;
  for (const Command& command : commands)
    if (!command.path.empty()) out.push_back("'" + command.path + "'");
  return join(out, "|");
}

// ---------------------------------------------------------------------------------------------------- the shells

constexpr std::string_view bash_frame = R"(# Completion of espmint for bash; made by `espmint completion bash`.
_espmint() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}}
  local path='' skip=no words='' options='' i one
  COMPREPLY=()
  case $before in
{values}  esac
  for ((i = 1; i < COMP_CWORD; ++i)); do
    one=${{COMP_WORDS[i]}}
    if [[ $skip == yes ]]; then skip=no; continue; fi
    case $one in
      {with_value}) skip=yes; continue ;;
      -*) continue ;;
    esac
    case ${{path:+$path }}$one in
      {paths}) path=${{path:+$path }}$one ;;
    esac
  done
  case $path in
{commands}  esac
  if [[ $word == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$options {everywhere}" -- "$word")
  elif [[ -n $words ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
  else
    mapfile -t COMPREPLY < <(compgen -f -- "$word")
  fi
}}
complete -o filenames -F _espmint espmint
)";

std::string bash_value(const std::string& words) {
  // A URL's colon splits words in bash, so only devices are offered.
  if (words == ports)
    return "mapfile -t COMPREPLY < <(compgen -G '/dev/ttyUSB*'; compgen -G '/dev/ttyACM*'; compgen -f -- \"$word\")";
  if (words == folders) return "mapfile -t COMPREPLY < <(compgen -d -- \"$word\")";
  if (words == nothing) return ":";
  if (words == "@files") return "mapfile -t COMPREPLY < <(compgen -f -- \"$word\")";
  return fmt::format("mapfile -t COMPREPLY < <(compgen -W '{}' -- \"$word\")", words);
}

std::string bash_script(const std::vector<Command>& commands) {
  const auto options = value_words(commands);
  std::string value_lines, command_lines;
  for (const auto& [words, names] : by_words(options, "|"))
    value_lines += fmt::format("    {}) {}; return ;;\n", names, bash_value(words));
  for (const Command& command : commands) {
    std::vector<std::string> words;
    for (const CLI::App* verb : verbs_of(*command.app)) words.push_back(verb->get_name());
    command_lines += fmt::format("    '{}') words='{}' options='{}' ;;\n", command.path, join(words, " "),
                                 join(option_names(*command.app), " "));
  }
  std::vector<std::string> with_value;
  for (const auto& [name, words] : options) with_value.push_back(name);
  return fmt::format(fmt::runtime(bash_frame), fmt::arg("values", value_lines),
                     fmt::arg("with_value", join(with_value, "|")), fmt::arg("paths", paths_pattern(commands)),
                     fmt::arg("commands", command_lines),
                     fmt::arg("everywhere", join(option_names(*commands.front().app), " ")));
}

constexpr std::string_view zsh_frame = R"(#compdef espmint
# Completion of espmint for zsh; made by `espmint completion zsh`.
_espmint() {{
  local place='' skip=no one
  local -a verbs options
  for one in "${{(@)words[2,CURRENT-1]}}"; do
    if [[ $skip == yes ]]; then skip=no; continue; fi
    case $one in
      ({with_value}) skip=yes; continue ;;
      (-*) continue ;;
    esac
    case ${{place:+$place }}$one in
      ({paths}) place=${{place:+$place }}$one ;;
    esac
  done
  case $words[CURRENT-1] in
{values}  esac
  case $place in
{commands}  esac
  if [[ $PREFIX == -* ]]; then
    _describe option options
  elif (( $#verbs )); then
    _describe command verbs
  else
    _files
  fi
}}
_espmint "$@"
)";

std::string zsh_value(const std::string& words) {
  if (words == ports) return "compadd -- /dev/ttyUSB*(N) /dev/ttyACM*(N); _files";
  if (words == folders) return "_files -/";
  if (words == nothing) return "_message value";
  if (words == "@files") return "_files";
  return "compadd -- " + words;
}

std::string described(std::string_view name, std::string_view text) {
  std::string line{text.substr(0, text.find('\n'))};
  std::replace(line.begin(), line.end(), ':', ' ');
  return shell_word(fmt::format("{}:{}", name, line));
}

std::string zsh_script(const std::vector<Command>& commands) {
  const auto options = value_words(commands);
  std::string value_lines, command_lines;
  for (const auto& [words, names] : by_words(options, "|"))
    value_lines += fmt::format("    ({}) {}; return ;;\n", names, zsh_value(words));
  for (const Command& command : commands) {
    std::string verbs, flags;
    for (const CLI::App* verb : verbs_of(*command.app))
      verbs += " " + described(verb->get_name(), verb->get_description());
    for (const CLI::App* app = command.app; app; app = app->get_parent())
      for (const CLI::Option* option : app->get_options({}))
        for (const std::string& name : spellings(*option))
          if (name.starts_with("--")) flags += " " + described(name, option->get_description());
    command_lines += fmt::format("    ('{}') verbs=({} ) options=({} ) ;;\n", command.path, verbs, flags);
  }
  std::vector<std::string> with_value;
  for (const auto& [name, words] : options) with_value.push_back(name);
  return fmt::format(fmt::runtime(zsh_frame), fmt::arg("values", value_lines),
                     fmt::arg("with_value", join(with_value, "|")), fmt::arg("paths", paths_pattern(commands)),
                     fmt::arg("commands", command_lines));
}

constexpr std::string_view fish_frame = R"(# Completion of espmint for fish; made by `espmint completion fish`.
function __espmint_at
    # Whether the words so far lead to exactly this command.
    set -l place
    set -l skip no
    for one in (commandline -opc)[2..-1]
        if test $skip = yes
            set skip no
            continue
        end
        switch $one
            case {with_value}
                set skip yes
                continue
            case '-*'
                continue
        end
        switch (string join ' ' $place $one)
            case {paths}
                set place $place $one
        end
    end
    test (string join ' ' $place) = "$argv[1]"
end
)";

std::string fish_value(const std::string& words) {
  if (words == ports) return " -x -a '(for port in /dev/ttyUSB* /dev/ttyACM*; echo $port; end)'";
  if (words == folders) return " -x -a '(__fish_complete_directories)'";
  if (words == nothing) return " -x";
  if (words == "@files") return " -r";
  return fmt::format(" -x -a '{}'", words);
}

std::string fish_script(const std::vector<Command>& commands) {
  const auto options = value_words(commands);
  std::vector<std::string> with_value, paths;
  for (const auto& [name, words] : options) with_value.push_back(name);
  for (const Command& command : commands)
    if (!command.path.empty()) paths.push_back("'" + command.path + "'");
  std::string out = fmt::format(fmt::runtime(fish_frame), fmt::arg("with_value", join(with_value, " ")),
                                fmt::arg("paths", join(paths, " ")));
  for (const Command& command : commands) {
    const std::string here = command.path.empty() ? "" : fmt::format(" -n '__espmint_at \"{}\"'", command.path);
    for (const CLI::App* verb : verbs_of(*command.app))
      out += fmt::format("complete -c espmint -n '__espmint_at \"{}\"' -f -a {} -d {}\n", command.path,
                         verb->get_name(), shell_word(verb->get_description()));
    for (const CLI::Option* option : command.app->get_options({})) {
      std::string names;
      for (const std::string& name : option->get_lnames()) names += " -l " + name;
      for (const std::string& name : option->get_snames()) names += " -s " + name;
      if (names.empty()) continue;
      const std::string value = takes_value(*option) ? fish_value(options.at(spellings(*option).front())) : "";
      out +=
          fmt::format("complete -c espmint{}{}{} -d {}\n", here, names, value, shell_word(option->get_description()));
    }
  }
  return out;
}

// ---------------------------------------------------------------------------------------------------- man

std::string roff(std::string_view text) {
  std::string out;
  bool line_start = true;
  for (char c : text) {
    if (line_start && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
    line_start = c == '\n';
  }
  return out;
}

std::string option_roff(const CLI::Option& option) {
  std::string names;
  for (const std::string& name : spellings(option))
    names += fmt::format("{}\\fB{}\\fR", names.empty() ? "" : ", ", roff(name));
  if (names.empty()) names = fmt::format("\\fI{}\\fR", roff(option.get_name(true)));
  // "FLOAT:FLOAT in [0 - 1e+09]": the kind is enough.
  const std::string kind = option.get_type_name();
  if (takes_value(option) && !option.get_positional())
    names += fmt::format(" \\fI{}\\fR", roff(kind.substr(0, kind.find(':'))));
  return fmt::format(".TP\n{}\n{}\n", names, roff(option.get_description()));
}

std::string man_page(const Command& command, std::string_view version) {
  const CLI::App& app = *command.app;
  const std::string name = command.path.empty() ? "espmint" : "espmint " + command.path;
  std::string title = name;
  std::replace(title.begin(), title.end(), ' ', '-');
  std::string out = fmt::format(".TH {} 1 \"\" \"espmint {}\" \"espmint\"\n", title, version);
  out += fmt::format(".SH NAME\n{} \\- {}\n", roff(title), roff(app.get_description()));
  std::string positional, verbs, flags;
  for (const CLI::Option* option : app.get_options({})) {
    flags += option_roff(*option);
    if (option->get_positional())
      positional += fmt::format(fmt::runtime(option->get_required() ? " \\fI{}\\fR" : " [\\fI{}\\fR]"),
                                roff(option->get_name(true)));
  }
  for (const CLI::App* verb : verbs_of(app))
    verbs += fmt::format(".TP\n\\fB{}\\fR\n{}\n", roff(name + " " + verb->get_name()), roff(verb->get_description()));
  out += fmt::format(".SH SYNOPSIS\n\\fB{}\\fR [\\fIoptions\\fR]{}{}\n", roff(name), positional,
                     verbs.empty() ? "" : " \\fIcommand\\fR");
  if (!verbs.empty()) out += ".SH COMMANDS\n" + verbs;
  out += ".SH OPTIONS\n" + flags;
  if (!command.path.empty()) out += ".PP\nOptions of \\fBespmint\\fR(1) hold for every command.\n";
  if (const std::string footer{trim(app.get_footer())}; !footer.empty())
    out += fmt::format(".SH NOTES\n.nf\n{}\n.fi\n", roff(footer));
  if (!command.path.empty()) out += ".SH SEE ALSO\n\\fBespmint\\fR(1)\n";
  return out;
}

}  // namespace

std::optional<std::string> completion_script(const CLI::App& program, std::string_view shell) {
  std::vector<Command> commands;
  collect(program, "", commands);
  if (shell == "bash") return bash_script(commands);
  if (shell == "zsh") return zsh_script(commands);
  if (shell == "fish") return fish_script(commands);
  return std::nullopt;
}

std::map<std::string, std::string> man_pages(const CLI::App& program, std::string_view version) {
  std::vector<Command> commands;
  collect(program, "", commands);
  std::map<std::string, std::string> out;
  for (const Command& command : commands) {
    std::string file = command.path.empty() ? "espmint" : "espmint-" + command.path;
    std::replace(file.begin(), file.end(), ' ', '-');
    out[file + ".1"] = man_page(command, version);
  }
  return out;
}

}  // namespace espmint::app
