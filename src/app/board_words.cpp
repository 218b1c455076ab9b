// The words of lines, the demo and the desk.
#include <fmt/format.h>

#include "app/command_line.hpp"
#include "chip/chip.hpp"

namespace espmint::app {

void CommandLine::add_port_options(CLI::App* command, bool many) {
  // One value for each -p: what follows is the command's own words.
  auto* port = command->add_option("-p,--port", all_.flags.ports,
                                   "/dev/ttyUSB0, rfc2217://host:port, socket://host:port, a glob, or a USB location");
  port->check([](const std::string& name) { return name.empty() ? std::string{"a port needs a name"} : std::string{}; },
              "");
  port->allow_extra_args(false)->multi_option_policy(many ? CLI::MultiOptionPolicy::TakeAll
                                                          : CLI::MultiOptionPolicy::TakeLast);
  command->add_option("-b,--baud", all_.flags.baud, "Speed once connected (921600)");
}

void CommandLine::add_cloud_options(CLI::App* command, CloudFlags& cloud) {
  command->add_option("--endpoint-url", cloud.endpoint_url,
                      "Where AWS IoT's control plane is; wins over AWS_ENDPOINT_URL_IOT and the recipe");
  command->add_option("--region", cloud.region, "AWS region; wins over the recipe and AWS_REGION");
  command->add_option("--profile", cloud.profile,
                      "Profile of ~/.aws whose keys are used; wins over the recipe and AWS_PROFILE");
  command->add_flag("--i-know", cloud.i_know, "Also with a policy that lets every device do everything");
}

void CommandLine::add_line_options(CLI::App* command) {
  command->add_option("recipe", line_.recipe, "recipe.toml or its folder (default: here)");
  command->add_option("-f,--firmware", line_.firmware, "Build folder, merged image or app; overrides the recipe's");
  command->add_option("-c,--chip", line_.chip,
                      fmt::format("auto, {}: refused when firmware or board is another", names_of_all_chips()));
  command->add_option("--csv-file,--csv_file", line_.csv_file,
                      "Keys to hand out, one row a board; overrides the recipe's");
  command
      ->add_option("--provisioned", line_.provisioned,
                   "A board that holds an unknown key: hold (default), or erase its NVS first")
      ->check(CLI::IsMember({"hold", "erase"}));
  command->add_option("--issuer", line_.issuer, "local or aws; overrides the recipe's")
      ->check(CLI::IsMember({"local", "aws"}));
  add_cloud_options(command, line_.cloud);
  command->add_flag("--trial", line_.trial, "A rehearsal with a ledger and keys of its own");
  command->add_option("--partition", line_.partition, "Partition of the identity image, where several could be it");
  command->add_flag("--dry-run", line_.dry_run, "Print the plan and touch nothing");
  command->add_flag("--no-stub", line_.no_stub, "Flash through the ROM's own loader, several times slower");
  command->add_flag("--no-reset", line_.no_reset, "Boards are in download mode already; they end at WRITTEN");
  command->add_flag("--bell", all_.voice.bell, "Ring at each verdict");
  command->add_option("--on-done", line_.on_done, "Program that gets each verdict as JSON on its standard input");
  add_port_options(command, true);
}

void CommandLine::add_line() {
  auto* run = command(program_, "run", "The line: wait for boards, prepare each, wait for unplug, go on",
                      "  espmint run                                       with what lies here\n"
                      "  espmint run --firmware build --port /dev/ttyUSB0 --count 10\n"
                      "  espmint run thermostat/ --dry-run\n");
  add_line_options(run);
  run->add_option("-n,--count", line_.count, "End after so many boards with a verdict")
      ->check(CLI::Range(1, 1'000'000));
  run->add_option("--slots", line_.slots, "At most so many boards at once")->check(CLI::Range(1, 1024));
  on(run, [this](const Settings& settings) {
    line_.settings = settings;
    line_.voice = all_.voice;
    return run_line(line_);
  });
  auto* prepare = command(program_, "prepare", "One board, once, then exit",
                          "  espmint prepare --port /dev/ttyUSB0\n  espmint prepare --renew        a new identity for "
                          "a board that has one\n");
  add_line_options(prepare);
  prepare->add_flag("--renew", line_.renew, "Mint a new identity for a board that is VERIFIED");
  prepare->add_option("--serial", line_.serial,
                      "The board's serial number, as it was scanned: {serial}, and its row of the values");
  on(prepare, [this](const Settings& settings) {
    line_.settings = settings;
    line_.voice = all_.voice;
    line_.one_pass = true;
    return run_line(line_);
  });
  auto* init = command(program_, "init", "Write a commented recipe",
                       "  espmint init build\n  espmint init --out thermostat/recipe.toml\n");
  init->add_option("build", build_, "Build folder the recipe is for");
  init->add_option("-o,--out", out_, "File to write (recipe.toml)");
  on(init, [this](const Settings& settings) {
    line_.settings = settings;
    line_.voice = all_.voice;
    return init_recipe(line_, build_, out_.empty() ? "recipe.toml" : out_);
  });
}

void CommandLine::add_demo() {
  auto* demo = command(program_, "demo", "The whole product on virtual boards; nothing to configure",
                       "  espmint demo\n  espmint demo --boards 32\n  espmint demo --once --issuer aws\n");
  demo->add_flag("--once", once_, "Mint the boards, prove them, and exit (what it does today in any case)");
  demo->add_option("--boards", demo_.boards, "How many virtual boards (4)")->check(CLI::Range(1, 256));
  demo->add_option("--preset", demo_.preset, "Flash and wire of the virtual boards: fast, classic, instant, …");
  demo->add_option("--issuer", demo_.issuer,
                   "local, or aws: at AWS_ENDPOINT_URL_IOT where that is set, else at a virtual cloud")
      ->check(CLI::IsMember({"local", "aws"}));
  demo->add_option("--seed", demo_.seed, "Of the boards and their firmware");
  on(demo, [this](const Settings& settings) {
    demo_.settings = settings;
    demo_.voice = all_.voice;
    return run_demo(demo_);
  });
}

DeskOptions CommandLine::desk(const Settings& settings) {
  desk_.settings = settings;
  desk_.voice = all_.voice;
  return desk_;
}

void CommandLine::add_desk_options(CLI::App* command) {
  add_port_options(command, false);
  command->add_option("-c,--chip", desk_.chip, "auto, esp32, …: refused when the board is another");
  command->add_flag("--no-stub", desk_.no_stub, "Use the ROM's own loader");
  command->add_flag("--no-reset", desk_.no_reset, "The board is in download mode already");
  command->add_flag("--stay", desk_.stay, "Leave the board in download mode");
  command
      ->add_option("--wait", desk_.wait_seconds,
                   "Seconds for a hand at BOOT and RESET where no wire does it (60 at a terminal, else 0)")
      ->check(CLI::Range(0.0, 86'400.0));
}

void CommandLine::add_desk() {
  auto* board = noun("board", "One board on the desk");
  auto* info = command(*board, "info", "Chip, revision, MAC, flash, security",
                       "  espmint board info --port /dev/ttyUSB0 --json\n");
  add_desk_options(info);
  on(info, [this](const Settings& settings) { return board_info(desk(settings)); });
  auto* list = command(*board, "list", "Serial ports, and which of them boards use", "  espmint board list\n");
  on(list, [this](const Settings& settings) { return board_list(desk(settings)); });
  auto* reset =
      command(*board, "reset", "Start the application, or go into download mode", "  espmint board reset --download\n");
  add_desk_options(reset);
  reset->add_flag("--download", download_, "Into download mode");
  on(reset, [this](const Settings& settings) { return board_reset(desk(settings), download_); });

  add_monitor(*board);
  auto* selftest =
      command(*board, "selftest",
              "Try resets, speeds, ROM, stub, write, read and erase on a scratch region, and write a report",
              "  espmint board selftest --port /dev/ttyUSB0 --report selftest.txt\n  espmint board selftest --region "
              "0x3f0000,64K\n");
  add_desk_options(selftest);
  selftest->add_option("--region", selftest_.region,
                       "OFFSET,SIZE to write to; what it holds is put back (the last 64 KiB)");
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
  write->add_flag_callback(
      "--no-skip", [this] { write_.skip_equal = false; },
      "Send everything, also what is on the flash already by the board's MD5");
  on(write, [this](const Settings& settings) { return with_parts(settings, true); });
  auto* verify = command(*flash, "verify", "Compare files with the flash by the board's MD5",
                         "  espmint flash verify 0x10000 app.bin\n");
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
  auto* erase = command(*flash, "erase", "Erase a range, or all of it",
                        "  espmint flash erase --all\n  espmint flash erase 0x9000 0x6000\n");
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

void CommandLine::add_header_options(CLI::App* command, const std::string& mode_help) {
  HeaderWords& header = write_.header;
  command->add_option("--flash-mode", header.flash_mode, mode_help);
  command->add_option("--flash-freq", header.flash_frequency, "80m, 40m, 26m, 20m, … as the chip has them, or keep");
  command->add_option("--flash-size", header.flash_size, "detect, 4MB, …, or keep");
  command->add_flag_callback(
      "--detect-flash-size", [&header] { header.flash_size = "detect"; }, "The same as --flash-size detect");
}

Exit CommandLine::with_parts(const Settings& settings, bool write) {
  if (words_.size() % 2 != 0)
    return report({Code::usage, Remedy::refuse, "files come as pairs: OFFSET FILE OFFSET FILE …", {}, {}, {}},
                  all_.voice);
  FlashParts parts;
  for (std::size_t i = 0; i < words_.size(); i += 2) parts.emplace_back(words_[i], words_[i + 1]);
  return write ? flash_write(desk(settings), parts, write_) : flash_verify(desk(settings), parts, write_.header);
}

void CommandLine::add_monitor(CLI::App& board) {
  auto* monitor = command(board, "monitor", "Print what the board says, line by line, until Ctrl-C",
                          "  espmint board monitor --reset --timestamps\n"
                          "  espmint board monitor --filter 'E \\(' --log boot.log\n"
                          "  espmint board monitor --reset --until 'got ip' --for 30\n");
  add_port_options(monitor, false);
  monitor->get_option("--baud")->description("Speed of the application's console (115200)");
  monitor->add_flag("--reset", monitor_.reset, "Start the application first");
  auto take_all = [](CLI::Option* option) {
    option->allow_extra_args(false)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  };
  take_all(monitor->add_option("--filter", monitor_.filter,
                               "Only lines in which this regular expression is found; may be said again"));
  take_all(monitor->add_option("--exclude", monitor_.exclude, "Not these lines"));
  take_all(monitor->add_option("--until", monitor_.until, "End with 0 at the first such line, shown or not"));
  monitor->add_flag("--timestamps", monitor_.timestamps, "Seconds since the start before each line");
  monitor->add_option("--log", monitor_.log, "File to which every byte is appended as it came");
  monitor
      ->add_option("--for", monitor_.seconds,
                   "End after so many seconds: with 0, or with 1 where --until was not found")
      ->check(CLI::Range(0.0, 1e9));
  on(monitor, [this](const Settings& settings) {
    if (all_.flags.baud) monitor_.baud = settings.baud.per_second;
    return board_monitor(desk(settings), monitor_);
  });
}

}  // namespace espmint::app
