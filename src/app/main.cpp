// The command line: words to options to one call. What the words do lies in the *_commands files.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include <fmt/format.h>

#include "app/completion.hpp"
#include "app/desk_commands.hpp"
#include "app/image_commands.hpp"
#include "app/key_commands.hpp"
#include "app/line_commands.hpp"
#include "app/record_commands.hpp"
#include "app/settings.hpp"
#include "app/sim_commands.hpp"
#include "base/text.hpp"
#include "chip/chip.hpp"
#include "sim/make_firmware.hpp"
#include "sim/symptoms.hpp"
#include "io/file.hpp"

namespace espmint::app {
namespace {

/// What every command takes, wherever on the line it is said.
struct Everywhere {
  SettingFlags flags;
  Voice voice;
};

class CommandLine {
 public:
  explicit CommandLine(std::string_view first_word) {
    program_.set_version_flag("--version", std::string{"espmint "} + ESPMINT_VERSION);
    program_.require_subcommand(1);
    program_.fallthrough();
    program_.add_flag("--json", all_.voice.json, "One JSON object a line on standard output");
    program_.add_flag("-q,--quiet", all_.voice.quiet, "Only results and faults");
    program_.add_flag("-v,--verbose", all_.voice.verbose, "Every step");
    program_.add_option("--state", all_.flags.state, "Folder of ledgers and CA (default: $ESPMINT_STATE, else the XDG state folder)");
    program_.footer(
        "Examples:\n"
        "  espmint demo                                 the whole product on virtual boards\n"
        "  espmint run --firmware build                 prepare every board that is plugged in\n"
        "  espmint board info --port /dev/ttyUSB0       who is this?\n"
        "Exit codes: 0 good, 1 a board failed, 2 usage, 3 configuration or firmware, 4 port, 5 cloud, 6 ledger, 130 interrupted");
    add_groups(first_word);
    for (CLI::App* command : program_.get_subcommands({})) let_through(*command);
  }

  int run(int argc, char** argv) {
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

 private:
  /// Output that never arrived is no success; a reader that went away wanted no more.
  [[nodiscard]] bool delivered() const {
    if (exit_ != Exit::good || (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) || errno == EPIPE) return true;
    report({Code::output_unwritable, Remedy::refuse, "the output could not be written", {}, std::strerror(errno), "Nothing of it counts; write it somewhere else"}, {});
    return false;
  }

  /// All commands, or those of the group that the first word names: making the rest is a tenth of a short command's time.
  void add_groups(std::string_view first_word) {
    struct Group {
      std::vector<std::string_view> words;
      void (CommandLine::*add)();
    };
    const std::array groups{Group{{"run", "prepare", "init"}, &CommandLine::add_line},
                            Group{{"demo"}, &CommandLine::add_demo},
                            Group{{"board", "flash"}, &CommandLine::add_desk},
                            Group{{"device", "ca", "keys", "audit", "doctor"}, &CommandLine::add_records},
                            Group{{"sim"}, &CommandLine::add_sim},
                            Group{{"image"}, &CommandLine::add_image}};
    for (const Group& group : groups)
      if (std::find(group.words.begin(), group.words.end(), first_word) != group.words.end())
        return (this->*group.add)();
    for (const Group& group : groups) (this->*group.add)();
    add_pages();  // they show all of it
  }
  void add_image() {
    add_image_commands(program_, [this](int code) { exit_ = static_cast<Exit>(code); });
  }

  /// "espmint flash write"
  static std::string words_to(const CLI::App& command) {
    const CLI::App* parent = command.get_parent();
    return parent ? words_to(*parent) + " " + command.get_name() : "espmint";
  }

  /// Says which word was not understood, and which was probably meant.
  Exit misunderstood(const CLI::ParseError& error, const std::vector<std::string>& words) {
    Fault fault{Code::usage, Remedy::refuse, error.what()};
    while (!fault.what.empty() && (fault.what.back() == '\n' || fault.what.back() == '.')) fault.what.pop_back();
    fault.advice = "`espmint --help` shows what there is";
    CLI::App* at = &program_;
    for (const std::string& word : words) {
      if (word == "--json") all_.voice.json = true;
      if (!at) continue;
      std::vector<std::string_view> known;
      std::vector<std::string> names;
      bool is_option = word.starts_with("--");
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
        if (std::string meant = nearest(bare, known); !meant.empty()) fault.advice = fmt::format("Did you mean \"{}\"?", meant);
        at = nullptr;
      } else if (!is_option && !names.empty()) {
        at = at->get_subcommand(word);
      }
    }
    return report(fault, all_.voice);
  }

  /// Flags of the program may stand behind any command's words.
  static void let_through(CLI::App& command) {
    command.fallthrough();
    for (CLI::App* below : command.get_subcommands({})) let_through(*below);
  }

  CLI::App* command(CLI::App& parent, const std::string& name, const std::string& does, const std::string& examples) {
    CLI::App* made = parent.add_subcommand(name, does);
    made->footer(examples.empty() ? "" : "Examples:\n" + examples);  // the parent's would be inherited
    return made;
  }
  CLI::App* noun(const std::string& name, const std::string& does) {
    CLI::App* made = program_.add_subcommand(name, does);
    made->footer(fmt::format("`espmint {} VERB --help` shows each verb's options and examples", name));
    made->require_subcommand(1);
    return made;
  }

  /// Runs `work` with the settings that hold by then.
  template <typename Work>
  void on(CLI::App* command, Work work) {
    command->callback([this, work] {
      auto settings = load_settings(all_.flags);
      exit_ = settings ? work(*settings) : report(settings.error(), all_.voice);
    });
  }

  void add_port_options(CLI::App* command, bool many) {
    // One value for each -p: what follows is the command's own words.
    auto* port = command->add_option("-p,--port", all_.flags.ports,
                                     "/dev/ttyUSB0, rfc2217://host:port, socket://host:port, a glob, or a USB location");
    port->check([](const std::string& name) { return name.empty() ? std::string{"a port needs a name"} : std::string{}; }, "");
    port->allow_extra_args(false)->multi_option_policy(many ? CLI::MultiOptionPolicy::TakeAll : CLI::MultiOptionPolicy::TakeLast);
    command->add_option("-b,--baud", all_.flags.baud, "Speed once connected (921600)");
  }

  void add_line_options(CLI::App* command) {
    command->add_option("recipe", line_.recipe, "recipe.toml or its folder (default: here)");
    command->add_option("-f,--firmware", line_.firmware, "Build folder, merged image or app; overrides the recipe's");
    command->add_option("-c,--chip", line_.chip, fmt::format("auto, {}: refused when firmware or board is another", names_of_all_chips()));
    command->add_option("--csv-file,--csv_file", line_.csv_file, "Keys to hand out, one row a board; overrides the recipe's");
    command->add_option("--provisioned", line_.provisioned, "A board that holds an unknown key: hold (default), or erase its NVS first")->check(CLI::IsMember({"hold", "erase"}));
    command->add_flag("--trial", line_.trial, "A rehearsal with a ledger and keys of its own");
    command->add_option("--partition", line_.partition, "Partition of the identity image, where several could be it");
    command->add_flag("--dry-run", line_.dry_run, "Print the plan and touch nothing");
    command->add_flag("--no-stub", line_.no_stub, "Flash through the ROM's own loader, several times slower");
    command->add_flag("--no-reset", line_.no_reset, "Boards are in download mode already; they end at WRITTEN");
    command->add_flag("--bell", all_.voice.bell, "Ring at each verdict");
    command->add_option("--on-done", line_.on_done, "Program that gets each verdict as JSON on its standard input");
    add_port_options(command, true);
  }

  void add_line() {
    auto* run = command(program_, "run", "The line: wait for boards, prepare each, wait for unplug, go on",
                        "  espmint run                                       with what lies here\n"
                        "  espmint run --firmware build --port /dev/ttyUSB0 --count 10\n"
                        "  espmint run thermostat/ --dry-run\n");
    add_line_options(run);
    run->add_option("-n,--count", line_.count, "End after so many boards with a verdict")->check(CLI::Range(1, 1'000'000));
    run->add_option("--slots", line_.slots, "At most so many boards at once")->check(CLI::Range(1, 1024));
    on(run, [this](const Settings& settings) {
      line_.settings = settings;
      line_.voice = all_.voice;
      return run_line(line_);
    });
    auto* prepare = command(program_, "prepare", "One board, once, then exit",
                            "  espmint prepare --port /dev/ttyUSB0\n  espmint prepare --renew        a new identity for a board that has one\n");
    add_line_options(prepare);
    prepare->add_flag("--renew", line_.renew, "Mint a new identity for a board that is VERIFIED");
    prepare->add_option("--serial", line_.serial, "The board's serial number, as it was scanned: {serial}, and its row of the values");
    on(prepare, [this](const Settings& settings) {
      line_.settings = settings;
      line_.voice = all_.voice;
      line_.one_pass = true;
      return run_line(line_);
    });
    auto* init = command(program_, "init", "Write a commented recipe", "  espmint init build\n  espmint init --out thermostat/recipe.toml\n");
    init->add_option("build", build_, "Build folder the recipe is for");
    init->add_option("-o,--out", out_, "File to write (recipe.toml)");
    on(init, [this](const Settings& settings) {
      line_.settings = settings;
      line_.voice = all_.voice;
      return init_recipe(line_, build_, out_.empty() ? "recipe.toml" : out_);
    });
  }

  void add_demo() {
    auto* demo = command(program_, "demo", "The whole product on virtual boards; nothing to configure",
                         "  espmint demo\n  espmint demo --boards 32\n");
    demo->add_flag("--once", once_, "Mint the boards, prove them, and exit (what it does today in any case)");
    demo->add_option("--boards", demo_.boards, "How many virtual boards (4)")->check(CLI::Range(1, 256));
    demo->add_option("--preset", demo_.preset, "Flash and wire of the virtual boards: fast, classic, instant, …");
    demo->add_option("--seed", demo_.seed, "Of the boards and their firmware");
    on(demo, [this](const Settings& settings) {
      demo_.settings = settings;
      demo_.voice = all_.voice;
      return run_demo(demo_);
    });
  }

  DeskOptions desk(const Settings& settings) {
    desk_.settings = settings;
    desk_.voice = all_.voice;
    return desk_;
  }
  void add_desk_options(CLI::App* command) {
    add_port_options(command, false);
    command->add_option("-c,--chip", desk_.chip, "auto, esp32, …: refused when the board is another");
    command->add_flag("--no-stub", desk_.no_stub, "Use the ROM's own loader");
    command->add_flag("--no-reset", desk_.no_reset, "The board is in download mode already");
    command->add_flag("--stay", desk_.stay, "Leave the board in download mode");
    command->add_option("--wait", desk_.wait_seconds, "Seconds for a hand at BOOT and RESET where no wire does it (60 at a terminal, else 0)")
        ->check(CLI::Range(0.0, 86'400.0));
  }

  void add_desk() {
    auto* board = noun("board", "One board on the desk");
    auto* info = command(*board, "info", "Chip, revision, MAC, flash, security", "  espmint board info --port /dev/ttyUSB0 --json\n");
    add_desk_options(info);
    on(info, [this](const Settings& settings) { return board_info(desk(settings)); });
    auto* list = command(*board, "list", "Serial ports, and which of them boards use", "  espmint board list\n");
    on(list, [this](const Settings& settings) { return board_list(desk(settings)); });
    auto* reset = command(*board, "reset", "Start the application, or go into download mode", "  espmint board reset --download\n");
    add_desk_options(reset);
    reset->add_flag("--download", download_, "Into download mode");
    on(reset, [this](const Settings& settings) { return board_reset(desk(settings), download_); });

    add_monitor(*board);
    auto* selftest = command(*board, "selftest", "Try resets, speeds, ROM, stub, write, read and erase on a scratch region, and write a report",
                             "  espmint board selftest --port /dev/ttyUSB0 --report selftest.txt\n  espmint board selftest --region 0x3f0000,64K\n");
    add_desk_options(selftest);
    selftest->add_option("--region", selftest_.region, "OFFSET,SIZE to write to; what it holds is put back (the last 64 KiB)");
    selftest->add_option("--report", selftest_.report, "File for the report; it has the MAC and no keys");
    selftest->add_flag("--force", selftest_.force, "Also where a partition with content lies");
    on(selftest, [this](const Settings& settings) { return board_selftest(desk(settings), selftest_); });

    auto* flash = noun("flash", "Flash memory of one board");
    auto* write = command(*flash, "write", "Write files, compressed, and verify them by the board's MD5",
                          "  espmint flash write 0x1000 bootloader.bin 0x8000 partition-table.bin 0x10000 app.bin\n");
    add_desk_options(write);
    write->add_option("parts", words_, "OFFSET FILE …")->required();
    add_header_options(write, "The bootloader's header is made to say: qio, qout, dio, dout, or keep");
    write->add_flag("--encrypt", write_.encrypt, "Encrypted by the chip's ROM with its own key");
    write->add_flag("--force", write_.force, "Also images that are for another chip or another revision of it");
    write->add_flag_callback("--no-skip", [this] { write_.skip_equal = false; }, "Send everything, also what is on the flash already by the board's MD5");
    on(write, [this](const Settings& settings) { return with_parts(settings, true); });
    auto* verify = command(*flash, "verify", "Compare files with the flash by the board's MD5", "  espmint flash verify 0x10000 app.bin\n");
    add_desk_options(verify);
    verify->add_option("parts", words_, "OFFSET FILE …")->required();
    add_header_options(verify, "What the bootloader's header was made to say: qio, qout, dio, dout, or keep");
    on(verify, [this](const Settings& settings) { return with_parts(settings, false); });
    auto* read = command(*flash, "read", "Read a range into a file", "  espmint flash read 0 4MB whole.bin\n");
    add_desk_options(read);
    read->add_option("offset", offset_, "Where")->required();
    read->add_option("size", size_, "How much: 4096, 0x1000, 64K, 4MB")->required();
    read->add_option("file", file_, "File to write")->required();
    on(read, [this](const Settings& settings) { return flash_read(desk(settings), offset_, size_, file_); });
    auto* erase = command(*flash, "erase", "Erase a range, or all of it", "  espmint flash erase --all\n  espmint flash erase 0x9000 0x6000\n");
    add_desk_options(erase);
    erase->add_option("offset", offset_, "Where, a multiple of 4096");
    erase->add_option("size", size_, "How much, a multiple of 4096");
    erase->add_flag("--all", whole_, "The whole flash");
    erase->add_flag("--force", force_erase_, "Also on a locked board, where something that starts can be written again");
    on(erase, [this](const Settings& settings) {
      if (whole_ == !offset_.empty() || offset_.empty() != size_.empty())
        return report({Code::usage, Remedy::refuse, "say OFFSET and SIZE, or --all", {}, {}, {}}, all_.voice);
      return flash_erase(desk(settings), offset_, size_, force_erase_);
    });
  }

  void add_header_options(CLI::App* command, const std::string& mode_help) {
    HeaderWords& header = write_.header;
    command->add_option("--flash-mode", header.flash_mode, mode_help);
    command->add_option("--flash-freq", header.flash_frequency, "80m, 40m, 26m, 20m, … as the chip has them, or keep");
    command->add_option("--flash-size", header.flash_size, "detect, 4MB, …, or keep");
    command->add_flag_callback("--detect-flash-size", [&header] { header.flash_size = "detect"; }, "The same as --flash-size detect");
  }

  Exit with_parts(const Settings& settings, bool write) {
    if (words_.size() % 2 != 0)
      return report({Code::usage, Remedy::refuse, "files come as pairs: OFFSET FILE OFFSET FILE …", {}, {}, {}}, all_.voice);
    FlashParts parts;
    for (std::size_t i = 0; i < words_.size(); i += 2) parts.emplace_back(words_[i], words_[i + 1]);
    return write ? flash_write(desk(settings), parts, write_) : flash_verify(desk(settings), parts, write_.header);
  }

  void add_monitor(CLI::App& board) {
    auto* monitor = command(board, "monitor", "Print what the board says, line by line, until Ctrl-C",
                            "  espmint board monitor --reset --timestamps\n"
                            "  espmint board monitor --filter 'E \\(' --log boot.log\n"
                            "  espmint board monitor --reset --until 'got ip' --for 30\n");
    add_port_options(monitor, false);
    monitor->get_option("--baud")->description("Speed of the application's console (115200)");
    monitor->add_flag("--reset", monitor_.reset, "Start the application first");
    auto take_all = [](CLI::Option* option) { option->allow_extra_args(false)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll); };
    take_all(monitor->add_option("--filter", monitor_.filter, "Only lines in which this regular expression is found; may be said again"));
    take_all(monitor->add_option("--exclude", monitor_.exclude, "Not these lines"));
    take_all(monitor->add_option("--until", monitor_.until, "End with 0 at the first such line, shown or not"));
    monitor->add_flag("--timestamps", monitor_.timestamps, "Seconds since the start before each line");
    monitor->add_option("--log", monitor_.log, "File to which every byte is appended as it came");
    monitor->add_option("--for", monitor_.seconds, "End after so many seconds: with 0, or with 1 where --until was not found")
        ->check(CLI::Range(0.0, 1e9));
    on(monitor, [this](const Settings& settings) {
      if (all_.flags.baud) monitor_.baud = settings.baud.per_second;
      return board_monitor(desk(settings), monitor_);
    });
  }

  RecordOptions record(const Settings& settings) { return {settings, all_.voice, product_}; }
  void add_product_option(CLI::App* command) {
    command->add_option("--product", product_, "Whose ledger (default: the only one)");
  }

  void add_records() {
    auto* device = noun("device", "What was made");
    auto* list = command(*device, "list", "All devices", "  espmint device list --failed\n");
    add_product_option(list);
    list->add_flag("--failed", failed_, "Boards whose last run did not end VERIFIED, with the cause");
    on(list, [this](const Settings& settings) { return device_list(record(settings), failed_); });
    auto* show = command(*device, "show", "One device", "  espmint device show 24d7eb123456\n");
    add_product_option(show);
    show->add_option("id", id_, "Device id or MAC")->required();
    on(show, [this](const Settings& settings) { return device_show(record(settings), id_); });
    auto* exported = command(*device, "export", "All devices as CSV or JSON lines, or one device's files",
                             "  espmint device export --csv > made.csv\n  espmint device export 24d7eb123456 --files folder\n");
    add_product_option(exported);
    exported->add_option("id", id_, "Device whose files are wanted");
    exported->add_flag("--csv", csv_, "CSV");
    exported->add_option("--files", file_, "Folder for certificate.pem.crt, public.pem.key, aws-root-ca.pem");
    on(exported, [this](const Settings& settings) {
      if (id_.empty() != file_.empty())
        return report({Code::usage, Remedy::refuse, "one device's files need both: ID and --files DIR", {}, {}, {}}, all_.voice);
      if (!id_.empty()) return device_export_files(record(settings), id_, file_);
      if (!csv_ && !all_.voice.json) return report({Code::usage, Remedy::refuse, "say --csv or --json", {}, {}, {}}, all_.voice);
      return device_export(record(settings), csv_);
    });

    auto* ca = noun("ca", "The local certificate authority");
    auto* init = command(*ca, "init", "Make one (the first run does it by itself)", "  espmint ca init --name \"Acme devices\"\n");
    init->add_option("--name", name_, "Its common name");
    on(init, [this](const Settings& settings) { return ca_init(record(settings), name_); });
    on(command(*ca, "show", "Where it is, how long it lasts", "  espmint ca show --json\n"),
       [this](const Settings& settings) { return ca_show(record(settings)); });

    auto* keys = noun("keys", "The pool of one-time keys");
    auto* keys_in = command(*keys, "import", "Read a keys.csv into the pool and mark its rows (a run does it by itself)",
                           "  espmint keys import keys.csv --product thermostat\n  espmint keys import --first-unmarked-unused\n");
    keys_in->add_option("file", keys_.file, "keys.csv");
    keys_in->add_flag("--first-unmarked-unused", keys_.first_unmarked_unused,
                     "The first row that an earlier script left unmarked was never sent to a board: use it");
    auto* pool_status = command(*keys, "status", "How many keys are left, and which are in doubt", "  espmint keys status --json\n");
    auto* keys_out = command(*keys, "export", "Every key's number, state and device; never the key", "  espmint keys export > keys-state.csv\n");
    auto* release = command(*keys, "release", "Give a quarantined key to its own board once more", "  espmint keys release 17 --why \"firmware mended\"\n");
    auto* retire = command(*keys, "retire", "Never use a key; two people answer for it", "  espmint keys retire 17 --by ann --by bob --why scrapped\n");
    for (CLI::App* one : {release, retire}) {
      one->add_option("key", keys_.number, "Its number")->required();
      one->add_option("--why", keys_.why, "For the audit");
    }
    retire->add_option("--by", keys_.by, "Who answers; twice");
    using Verb = Exit (*)(const KeyCommand&);
    for (auto [verb, does] : {std::pair<CLI::App*, Verb>{keys_in, keys_import}, {pool_status, keys_status}, {keys_out, keys_export}, {release, keys_release}, {retire, keys_retire}}) {
      add_product_option(verb);
      on(verb, [this, does = does](const Settings& settings) {
        keys_.record = record(settings);
        return does(keys_);
      });
    }

    auto* audit = noun("audit", "Proof");
    auto* verify = command(*audit, "verify", "Check every row of the audit chain", "  espmint audit verify\n");
    add_product_option(verify);
    on(verify, [this](const Settings& settings) { return audit_verify(record(settings)); });
    on(command(program_, "doctor", "What is wrong with this machine or line, with the mend (exit 0 clean, 1 findings)", "  espmint doctor --json\n"),
       [this](const Settings& settings) { return doctor(record(settings)); });
  }

  void add_sim() {
    auto* sim = noun("sim", "Virtual boards for rehearsal");
    auto* board = command(*sim, "board", "Run virtual boards until interrupted; one JSON line each",
                          "  espmint sim board --count 4 --json\n  espmint sim board --preset classic --dirty\n"
                          "  espmint sim board --symptom brown-out\n");
    board->add_option("--count", sim_.count, "How many (1)")->check(CLI::Range(1, 1024));
    board->add_option("--chip", sim_.chip, "esp32, esp32s2, …: every chip that is played");
    board->add_option("--revision", sim_.revision, "Of the chip: 3.1");
    board->add_option("--crystal", sim_.crystal_mhz, "MHz, where the chip takes several")->check(CLI::Range(20, 60));
    board->add_flag("--secure-boot", sim_.secure_boot, "Burnt: only a signed bootloader boots");
    board->add_flag("--flash-encryption", sim_.flash_encryption, "Burnt: nothing written in clear boots");
    board->add_flag("--secure-download", sim_.secure_download, "Burnt: the ROM writes flash and does little else");
    board->add_option("--hmac-key", sim_.hmac_key, "Burnt: 32 bytes from this file, for encrypted NVS");
    board->add_option("--flash-size", sim_.flash_size, "4MB");
    board->add_option("--preset", sim_.preset, "Times of flash and wire: fast, classic, no-boost, instant, …");
    board->add_option("--seed", sim_.seed, "Of MACs and faults");
    board->add_flag("--dirty", sim_.dirty, "Flash holds old bytes");
    board->add_option("--vanish", sim_.vanish_ms, "Native USB: the port vanishes for so many milliseconds at every reset")
        ->check(CLI::Range(1, 60'000));
    board->add_option("--symptom", sim_.symptom, "What is wrong with them: " + sim::symptom_names());
    board->add_option("--dir", sim_.folder, "Folder for flash files and links (default: temporary)");
    board->callback([this] {
      sim_.voice = all_.voice;
      exit_ = sim_board(sim_);
    });
    auto* firmware = command(*sim, "firmware", "Write a deterministic ESP-IDF-shaped build folder", "  espmint sim firmware build\n");
    firmware->add_option("folder", simfw_.folder, "Where")->required();
    firmware->add_option("--chip", simfw_.chip, "esp32, esp32s2, …: every chip that is played");
    firmware->add_option("--app-size", simfw_.app_size, "1MB");
    firmware->add_option("--storage-size", simfw_.storage_size, "Of the partition for the identity (64K)");
    firmware->add_option("--app", simfw_.app,
                         "What the board does: challenge, old3, old5, device-line, device-framed, forgetful, mute, "
                         "framed-forgetful, framed-other, framed-stranger");
    std::string kinds;
    for (std::string_view kind : sim::all_identity_kinds()) kinds += (kinds.empty() ? "" : ", ") + std::string{kind};
    firmware->add_option("--identity", simfw_.identity, "Where the identity is to lie: " + kinds);
    firmware->add_option("--seed", simfw_.seed, "Of the bytes");
    firmware->callback([this] {
      simfw_.voice = all_.voice;
      exit_ = sim_firmware(simfw_);
    });
    auto* read = command(*sim, "read", "What a virtual board's own readers find in its flash: names, sizes, SHA-256",
                         "  espmint sim read board0.flash --json\n");
    read->add_option("file", simread_.file, "The whole flash")->required();
    read->add_option("--hmac-key", simread_.hmac_key, "32 bytes, as burnt into the board, for encrypted NVS");
    read->callback([this] {
      simread_.voice = all_.voice;
      exit_ = sim_read(simread_);
    });
  }

  /// What shells and `man` know of this command line.
  void add_pages() {
    auto* completion = command(program_, "completion", "Print a completion script for a shell",
                               "  espmint completion bash > ~/.local/share/bash-completion/completions/espmint\n"
                               "  espmint completion zsh > ~/.zfunc/_espmint\n");
    completion->add_option("shell", name_, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
    completion->callback([this] {
      if (auto script = completion_script(program_, name_)) std::fputs(script->c_str(), stdout);
    });
    auto* man = command(program_, "man", "Write a manual page for each command into a folder", "  espmint man ~/.local/share/man/man1\n");
    man->add_option("folder", out_, "Where; it is made")->required();
    man->callback([this] {
      Result<void> end = make_folder(out_);
      for (const auto& [name, text] : man_pages(program_, ESPMINT_VERSION))
        if (end) end = write_file(std::filesystem::path{out_} / name, as_bytes(text));
      exit_ = end ? Exit::good : report(end.error(), all_.voice);
    });
  }

  CLI::App program_{"espmint: the production station for ESP32 products", "espmint"};
  Everywhere all_;
  LineCommand line_;
  KeyCommand keys_;
  DemoCommand demo_;
  DeskOptions desk_;
  WriteOptions write_;
  MonitorOptions monitor_;
  SelftestWords selftest_;
  SimBoardCommand sim_;
  SimFirmwareCommand simfw_;
  SimReadCommand simread_;
  std::string build_, out_, offset_, size_, file_, id_, name_, product_;
  std::vector<std::string> words_;
  bool once_ = false, download_ = false, whole_ = false, force_erase_ = false, failed_ = false, csv_ = false;
  Exit exit_ = Exit::good;
};

}  // namespace
}  // namespace espmint::app

int main(int argc, char** argv) {
  // A reader that closes the pipe, or a board's connection that ends, is an error of the call, not of the process.
  // So is a file that may not grow (ulimit -f): it is a full disk to us.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  return espmint::app::CommandLine{argc > 1 ? argv[1] : ""}.run(argc, argv);
}
