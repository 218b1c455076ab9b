#!/usr/bin/env python3
"""A developer's desk through the real program, on virtual boards over RFC 2217 and ptys (preset instant).

  desk_test.py ESPMINT [UNITTEST WORDS ...]
"""
import hashlib
import json
import os
import pathlib
import pty
import random
import re
import select
import shlex
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import cli_test as cli
import side_by_side
from cli_test import CommandLineTest, Running, environment, espmint, tell

BOARD_COUNT = 40
LAST_64K = 0x3F0000


def flash_of(board, offset, size):
    with open(board["flash_file"], "rb") as file:
        file.seek(offset)
        return file.read(size)


def noise(size, seed=1):
    return random.Random(seed).randbytes(size)


class DeskTest(CommandLineTest):
    def setUp(self):
        super().setUp()
        self.board = cli.BOARDS.take()
        self.port = ("--port", self.board["rfc2217"])

    def file(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        return path

    def flashed(self):
        """The board with firmware on it that says things."""
        parts = cli.parts()
        words = []
        for at, part in ((0x1000, "bootloader"), (0x8000, "table"), (0x10000, "app")):
            words += [hex(at), self.file(part, parts[part])]
        self.assert_good(espmint("flash", "write", *words, *self.port))
        return self.board


class SlowWire:
    """Between the program and a board's RFC 2217 server: at speeds above `limit` nothing of what the board says arrives."""

    def __init__(self, url, limit):
        self.target, self.limit, self.speed, self.speeds = url.split("//")[1], limit, 115200, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "rfc2217://127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def close(self):
        self.listener.close()

    def serve(self):
        host, port = self.target.rsplit(":", 1)
        client, _ = self.listener.accept()
        with client, socket.create_connection((host, int(port))) as board:
            while True:
                for ready in select.select([client, board], [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    if ready is client:
                        for asked in re.finditer(rb"\xff\xfa\x2c\x01(....)\xff\xf0", data, re.DOTALL):
                            self.speed = struct.unpack(">I", asked.group(1))[0]
                            self.speeds.append(self.speed)
                        board.sendall(data)
                    else:
                        client.sendall(data if self.speed <= self.limit else self.telnet_only(data))

    @staticmethod
    def telnet_only(data):
        return b"".join(re.findall(rb"\xff\xfa.*?\xff\xf0|\xff[\xfb-\xfe].", data, re.DOTALL))


class Monitor(DeskTest):
    def test_until_ends_with_the_line_that_was_looked_for(self):
        outcome = espmint("board", "monitor", *self.port, "--reset", "--until", "rst:", "--for", "10")
        self.assert_good(outcome, "rst:")
        self.assertLess(outcome.seconds, 8)

    def test_time_over_without_the_line_is_1_and_without_a_wish_0(self):
        outcome = espmint("board", "monitor", *self.port, "--reset", "--until", "never said", "--for", "1")
        self.assert_calm(outcome)
        self.assertEqual(outcome.code, 1, str(outcome))
        self.assertEqual(espmint("board", "monitor", *self.port, "--for", "0.3").code, 0)

    def test_lines_are_events_in_json(self):
        outcome = espmint("board", "monitor", *self.port, "--reset", "--until", "rst:", "--for", "10", "--json")
        self.assert_good(outcome)
        lines = [event for event in outcome.events if event["event"] == "line"]
        self.assertTrue(any("rst:" in event["text"] and event["seconds"] >= 0 for event in lines), str(outcome))
        self.assertEqual(outcome.events[-1]["event"], "end")
        self.assertEqual(outcome.events[-1]["why"], "until")

    def test_filters_choose_what_is_shown_and_the_log_has_everything(self):
        log = self.folder / "log"
        outcome = espmint("board", "monitor", *self.port, "--reset", "--for", "2", "--filter", "rst:", "--timestamps", "--log", log)
        self.assert_good(outcome)
        shown = outcome.out.splitlines()
        self.assertTrue(shown)
        for line in shown:
            self.assertRegex(line, r"^\[ +\d+\.\d{3}\] .*rst:")
        self.assertIn(b"\r\n", log.read_bytes())
        self.assertGreater(len(log.read_bytes().splitlines()), len(shown))
        outcome = espmint("board", "monitor", *self.port, "--reset", "--for", "2", "--exclude", "rst:")
        self.assertNotIn("rst:", outcome.out)

    def test_a_pattern_that_is_none_is_named_before_any_port_is_opened(self):
        self.assert_fault(espmint("board", "monitor", "--port", "/dev/ttyNOPE", "--filter", "(a"), 2, "usage", "(a")

    def test_a_log_that_cannot_be_written_is_said_first(self):
        self.assert_fault(espmint("board", "monitor", "--port", "/dev/ttyNOPE", "--log", "/nonexistent/log"), 3, "output-unwritable", "/nonexistent/log")

    def test_no_such_port(self):
        self.assert_fault(espmint("board", "monitor", "--port", "/dev/ttyNOPE"), 4, "port-missing", "/dev/ttyNOPE")

    def test_ctrl_c_is_a_good_end_and_the_port_is_free_again(self):
        running = Running("board", "monitor", *self.port, "--reset")
        running.wait_for("rst:")
        running.signal(signal.SIGINT)
        self.assert_good(running.end())
        self.assert_good(espmint("board", "info", *self.port))

    def test_it_survives_the_cable(self):
        running = Running("board", "monitor", *self.port, "--reset", "--json")
        running.wait_for("rst:")
        tell(self.board, "unplug")
        running.wait_for("port-gone")
        tell(self.board, "plug")
        running.wait_for("port-back")
        count = len(running.lines)
        deadline = time.monotonic() + 10
        while len(running.lines) == count and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertGreater(len(running.lines), count, "it says nothing any more")
        running.signal(signal.SIGTERM)
        self.assert_good(running.end())

    def test_what_a_board_says_cannot_steer_the_terminal(self):
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        running = Running("board", "monitor", "--port", os.ttyname(slave), "--until", "end")
        time.sleep(0.7)
        os.close(slave)
        os.write(master, b"\x1b]0;owned\x07\x1b[2Jhello \x1b[0;31mred\x1b[0m \xff\r\nthe end\r\n")
        outcome = running.end()
        self.assert_good(outcome)
        self.assertNotIn("\x1b", outcome.out)
        self.assertEqual(outcome.out.splitlines()[0], "\\x1b]0;owned\\x07\\x1b[2Jhello red \\xff")

    def test_a_prompt_without_a_line_end_is_shown(self):
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        running = Running("board", "monitor", "--port", os.ttyname(slave), "--until", "login:", "--for", "10")
        time.sleep(0.7)
        os.close(slave)
        os.write(master, b"login: ")
        self.assert_good(running.end(), "login:")


class Selftest(DeskTest):
    def test_a_good_board_passes_and_keeps_its_flash(self):
        before = hashlib.sha256(flash_of(self.board, 0, 0x400000)).digest()
        report = self.folder / "report.txt"
        outcome = espmint("board", "selftest", *self.port, "--report", report, timeout=120)
        self.assert_good(outcome)
        for name in ("reset: tight", "baud 115200", "baud 3000000", "ROM: write, MD5", "stub: write, MD5", "read back", "erase, MD5", "put back"):
            self.assertRegex(outcome.out, r"(?m)^ok +%s" % name)
        self.assertEqual(hashlib.sha256(flash_of(self.board, 0, 0x400000)).digest(), before)
        text = report.read_text()
        for word in ("all that is required works", "ESP32 revision", "heard after reset: tight", "rst:", "MAC", "no keys", "0x3f0000"):
            self.assertIn(word, text)

    def test_what_a_named_region_holds_is_put_back(self):
        content = noise(5000)
        self.assert_good(espmint("flash", "write", "0x200000", self.file("data", content), *self.port))
        outcome = espmint("board", "selftest", *self.port, "--region", "0x200000,8K", "--json", timeout=120)
        self.assert_good(outcome)
        last = outcome.events[-1]
        self.assertEqual((last["event"], last["good"], last["put_back"]), ("selftest", True, True))
        self.assertEqual(last["mac"], self.board["mac"])
        checks = {event["name"]: event for event in outcome.events if event["event"] == "check"}
        self.assertEqual(checks["put back"]["state"], "ok")
        self.assertEqual(flash_of(self.board, 0x200000, 5000), content)

    def test_a_partition_with_content_is_not_touched(self):
        self.flashed()
        before = flash_of(self.board, 0x10000, 0x10000)
        outcome = espmint("board", "selftest", *self.port, "--region", "0x10000,64K", timeout=60)
        self.assert_fault(outcome, 2, "usage", "factory", "--force")
        self.assertEqual(flash_of(self.board, 0x10000, 0x10000), before)

    def test_a_region_that_is_none(self):
        for region in ("0x1000", "a,b", "0x1000,0x800,1"):
            self.assert_fault(espmint("board", "selftest", "--port", "/dev/ttyNOPE", "--region", region), 2, "usage")

    def test_ctrl_c_puts_back_what_was_there(self):
        content = noise(0x10000, 3)
        self.assert_good(espmint("flash", "write", hex(LAST_64K), self.file("data", content), *self.port))
        running = Running("board", "selftest", *self.port)
        running.wait_for("ROM: write")
        running.signal(signal.SIGINT)
        outcome = running.end(60)
        self.assertEqual(outcome.code, 130, str(outcome))
        self.assertEqual(flash_of(self.board, LAST_64K, 0x10000), content)

    def test_a_silent_board_is_a_report_too(self):
        tell(self.board, "power 0")
        report = self.folder / "report.txt"
        outcome = espmint("board", "selftest", *self.port, "--report", report, timeout=60)
        self.assertEqual(outcome.code, 4, str(outcome))
        self.assertIn("[board-silent]", report.read_text())


class Flash(DeskTest):
    def test_progress_is_events_in_json_and_nothing_in_a_pipe(self):
        data = self.file("data", noise(300_000))
        outcome = espmint("flash", "write", "0x20000", data, *self.port)
        self.assert_good(outcome)
        self.assertEqual(outcome.err, "")
        for words, what in ((("write", "0x20000", data), "write"), (("verify", "0x20000", data), "verify"),
                            (("read", "0x20000", "300000", self.folder / "copy"), "read"), (("erase", "0x20000", "0x50000"), "erase")):
            outcome = espmint("flash", *words, *self.port, "--json")
            self.assert_good(outcome)
            told = [event for event in outcome.events if event["event"] == "progress"]
            self.assertTrue(told, str(outcome))
            self.assertTrue(all(event["what"] == what for event in told), str(outcome))
            self.assertEqual(told[-1]["done"], told[-1]["total"])
            self.assertLessEqual(len(told), 3 + 5 * outcome.seconds)

    def test_progress_is_one_line_on_a_terminal_that_the_result_takes_the_place_of(self):
        data = self.file("data", noise(900_000))
        seen = self.on_a_terminal("flash", "write", "0x20000", data, *self.port)
        self.assertRegex(seen, r"0x020000 data [█░]+ 100%")
        self.assertTrue(seen.rstrip().endswith("verified"), seen)
        self.assertIn("verified", seen)

    def on_a_terminal(self, *words):
        master, slave = pty.openpty()
        process = subprocess.Popen([cli.PROGRAM, *map(str, words)], stdin=subprocess.DEVNULL, stdout=slave, stderr=slave, env=environment(TERM="xterm"))
        os.close(slave)
        seen = b""
        while True:
            try:
                some = os.read(master, 4096)
            except OSError:
                break
            if not some:
                break
            seen += some
        os.close(master)
        self.assertEqual(process.wait(20), 0, seen)
        return seen.decode()

    def test_verify_names_the_first_sectors_that_differ(self):
        content = bytearray(noise(700_000))
        self.assert_good(espmint("flash", "write", "0x20000", self.file("data", content), *self.port))
        content[400_000] ^= 1
        content[650_000] ^= 1
        other = self.file("other", content)
        at = 0x20000 + 400_000 // 4096 * 4096
        outcome = espmint("flash", "verify", "0x20000", other, *self.port)
        self.assertEqual(outcome.code, 1, str(outcome))
        self.assertIn("DIFFERS at %#x to %#x" % (at, at + 4095), outcome.out)
        outcome = espmint("flash", "verify", "0x20000", other, *self.port, "--json")
        said = [event for event in outcome.events if event["event"] == "verified"][0]
        self.assertEqual((said["equal"], said["first_difference"]), (False, {"offset": at, "size": 4096}))

    def test_erasing_all_says_what_it_does(self):
        self.assert_good(espmint("flash", "write", "0x20000", self.file("data", b"x" * 100), *self.port))
        outcome = espmint("flash", "erase", "--all", *self.port)
        self.assert_good(outcome, "erasing all 4 MB", "erased")
        self.assertEqual(flash_of(self.board, 0, 0x400000), b"\xff" * 0x400000)

    def test_the_bootloaders_header_says_what_is_wished_with_a_valid_digest(self):
        bootloader = self.file("bootloader.bin", cli.parts()["bootloader"])
        words = ("--flash-mode", "dout", "--flash-freq", "20m", "--flash-size", "2MB")
        self.assert_good(espmint("flash", "write", "0x1000", bootloader, *words, *self.port))
        copy = self.file("copy", flash_of(self.board, 0x1000, bootloader.stat().st_size))
        said = espmint("image", "app", "list", "--json", copy)
        self.assert_good(said)
        image = json.loads(said.out)
        self.assertEqual((copy.read_bytes()[2], copy.read_bytes()[3]), (3, 0x12), image)
        self.assert_good(espmint("image", "app", "check", copy))
        self.assert_good(espmint("flash", "write", "0x1000", bootloader, *self.port))
        self.assertEqual(flash_of(self.board, 0x1000, bootloader.stat().st_size), bootloader.read_bytes())

    def test_a_bootloader_inside_a_merged_file_is_changed_too(self):
        whole = self.file("merged.bin", cli.merged()[:0x30000])
        self.assert_good(espmint("flash", "write", "0", whole, "--flash-mode", "qout", *self.port))
        self.assertEqual(flash_of(self.board, 0x1002, 1), b"\x01")
        self.assertEqual(flash_of(self.board, 0x8000, 0x1000), whole.read_bytes()[0x8000:0x9000])

    def test_verify_knows_the_header_that_a_write_with_the_same_words_makes(self):
        bootloader = self.file("bootloader.bin", cli.parts()["bootloader"])
        whole = self.file("merged.bin", cli.merged()[:0x30000])
        words = ("--flash-mode", "dout", "--flash-freq", "20m", "--flash-size", "2MB")
        for at, file in (("0x1000", bootloader), ("0", whole)):
            with self.subTest(at):
                self.assert_good(espmint("flash", "write", at, file, *words, *self.port))
                self.assert_good(espmint("flash", "verify", at, file, *words, *self.port), "equal")
                for other in ((), words[:4], words[2:], ("--flash-mode", "qio", *words[2:])):
                    self.assert_fault(espmint("flash", "verify", at, file, *other, *self.port), 1, "flash-differs", "0x1000")
        self.assert_fault(espmint("flash", "verify", "0x1000", bootloader, "--flash-mode", "fast", *self.port), 2, "usage", "--flash-mode")

    def test_verify_knows_the_size_that_a_line_sets(self):
        bootloader = self.file("bootloader.bin", cli.parts()["bootloader"])
        self.assert_good(espmint("flash", "write", "0x1000", bootloader, "--flash-size", "detect", *self.port))
        self.assert_good(espmint("flash", "verify", "0x1000", bootloader, *self.port), "equal")

    def test_headers_that_cannot_be(self):
        bootloader = self.file("bootloader.bin", cli.parts()["bootloader"])
        for words, said in ((("--flash-mode", "fast"), "--flash-mode"), (("--flash-freq", "24m"), "--flash-freq"),
                            (("--flash-size", "3MB"), "--flash-size"), (("--flash-size", "16MB"), "4 MB")):
            self.assert_fault(espmint("flash", "write", "0x1000", bootloader, *words, *self.port), 2, "usage", said)

    def test_encryption_is_refused_where_the_rom_cannot(self):
        data = self.file("data", noise(100))
        self.assert_fault(espmint("flash", "write", "0x20000", data, "--encrypt", *self.port), 2, "usage", "does not encrypt")


class Speeds(DeskTest):
    def test_a_speed_that_the_wire_does_not_carry_costs_a_reset_and_not_the_command(self):
        wire = SlowWire(self.board["rfc2217"], 500_000)
        self.addCleanup(wire.close)
        content = noise(20_000)
        outcome = espmint("flash", "write", "0x20000", self.file("data", content), "--port", wire.url, "--baud", "921600", timeout=40)
        self.assert_good(outcome, "921600 baud does not work here, going on at 460800", "verified")
        self.assertEqual(flash_of(self.board, 0x20000, len(content)), content)
        self.assertIn(460800, wire.speeds)


class EncryptedFlash(DeskTest):
    def test_encryption_is_refused_on_a_board_whose_encryption_is_off(self):
        boards = cli.Boards(1, self.folder / "c3", "--chip", "esp32c3")
        self.addCleanup(boards.close)
        data = self.file("data", noise(3000))
        port = ("--port", boards.take()["rfc2217"])
        self.assert_fault(espmint("flash", "write", "0x20000", data, "--encrypt", *port), 2, "usage", "encryption of this board is off", "--force")
        self.assert_good(espmint("flash", "write", "0x20000", data, "--encrypt", "--force", *port), "encrypted")


class Pages(CommandLineTest):
    """Completion and manual pages, made from the command line itself."""

    def complete(self, *words):
        script = espmint("completion", "bash")
        self.assert_good(script)
        quoted = " ".join(shlex.quote(word) for word in words)
        call = 'COMP_WORDS=(%s); COMP_CWORD=%d; _espmint; printf "%%s\\n" "${COMPREPLY[@]}"' % (quoted, len(words) - 1)
        done = subprocess.run(["bash", "-c", script.out.replace("complete -o", ": complete -o") + call], stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout.split()

    def test_words_and_options_are_completed(self):
        self.assertEqual(self.complete("espmint", "bo"), ["board"])
        self.assertEqual(self.complete("espmint", "board", "--port", "flash", "mon"), ["monitor"])
        self.assertEqual(self.complete("espmint", "board", "monitor", "--fi"), ["--filter"])
        self.assertEqual(self.complete("espmint", "flash", "write", "--flash-mode", "d"), ["dio", "dout"])
        self.assertIn("--json", self.complete("espmint", "board", "monitor", "--"))

    def test_other_shells_know_the_same_words(self):
        for shell in ("zsh", "fish"):
            script = espmint("completion", shell)
            self.assert_good(script, "monitor", "selftest", "board monitor")
        self.assert_fault(espmint("completion", "tcsh"), 2, "usage", "tcsh")

    def test_there_is_a_manual_page_for_each_command(self):
        self.assert_good(espmint("man", self.folder / "man"))
        page = (self.folder / "man/espmint-board-monitor.1").read_text()
        for word in (".TH espmint-board-monitor 1", "\\-\\-until", ".SH NOTES"):
            self.assertIn(word, page)


class Buttons(DeskTest):
    def test_a_board_that_cannot_be_reset_is_waited_for_until_a_hand_has_pressed_its_buttons(self):
        running = Running("board", "info", "--port", os.path.realpath(self.board["pty"]), "--wait", "30", "--json")
        running.wait_for('"waiting"', 20)
        for line in ("dtr 0", "rts 1", "dtr 1", "rts 0"):  # what a hand at BOOT and RESET does
            tell(self.board, line)
            time.sleep(0.12)
        outcome = running.end(20)
        self.assertEqual(outcome.code, 0, str(outcome))
        self.assertIn("hold BOOT, press RESET", outcome.err)
        self.assertEqual(outcome.events[-1]["mac"], self.board["mac"])

    def test_nobody_is_waited_for_without_a_terminal_unless_asked(self):
        started = time.monotonic()
        outcome = espmint("board", "info", "--port", os.path.realpath(self.board["pty"]))
        self.assertNotEqual(outcome.code, 0)
        self.assertLess(time.monotonic() - started, 12)


def setUpModule():
    cli.FIRMWARE = cli.WORK / "firmware"
    (cli.WORK / "home").mkdir()
    made = espmint("sim", "firmware", cli.FIRMWARE, "--app-size", "64K")
    if made.code != 0:
        raise RuntimeError(str(made))
    cli.BOARDS = cli.Boards(BOARD_COUNT, cli.WORK / "boards")


def tearDownModule():
    if cli.BOARDS:
        cli.BOARDS.close()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    cli.PROGRAM = os.path.abspath(sys.argv.pop(1))
    if len(sys.argv) == 1:
        sys.exit(side_by_side.run(cli.PROGRAM))
    with tempfile.TemporaryDirectory(prefix="espmint-desk-") as work:
        cli.WORK = pathlib.Path(work)
        sys.exit(not unittest.main(exit=False).result.wasSuccessful())
