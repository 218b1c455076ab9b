#!/usr/bin/env python3
"""The program as a user meets it, mostly on a bad day: wrong words, wrong files, wrong boards, hostile servers, full disks.

  cli_test.py ESPMINT [UNITTEST WORDS ...]

Everything is seen from outside: exit code, both streams, the files left behind. Boards are virtual, without times
(preset instant). What the program does not do yet as it should is marked expectedFailure with the reason.
"""
import concurrent.futures
import csv
import hashlib
import io
import json
import os
import pathlib
import pty
import re
import resource
import select
import shutil
import signal
import socket
import sqlite3
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import side_by_side

PROGRAM = None       # argv[1], made absolute
WORK = None          # everything lies below it
FIRMWARE = None      # an ESP-IDF build folder, 64 KiB app
BOARDS = None        # the bench: every test takes fresh boards from it
LEDGER = None        # a state folder with two VERIFIED boards, to be copied
BOARD_COUNT = 96
CRASH = re.compile(r"terminate called|Assertion|AddressSanitizer|runtime error|core dumped|std::|Traceback|bad_alloc")


def environment(**more):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ESPMINT_") or k == "ESPMINT_STUBS"}
    for name in ("ESPPORT", "ESPBAUD", "ESPTOOL_PORT", "ESPTOOL_BAUD", "NO_COLOR", "CLICOLOR_FORCE", "XDG_STATE_HOME"):
        kept.pop(name, None)
    kept["HOME"] = str(WORK / "home")
    kept["XDG_CONFIG_HOME"] = str(WORK / "home/config")
    kept.update(more)
    return kept


class Outcome:
    def __init__(self, code, out, err, seconds):
        self.code, self.out, self.err, self.seconds = code, out, err, seconds

    @property
    def events(self):
        return [json.loads(line) for line in self.out.splitlines()]

    def __str__(self):
        return "exit %s after %.1f s\n--- stdout\n%s\n--- stderr\n%s" % (self.code, self.seconds, self.out[-3000:], self.err[-3000:])


class Boards:
    """Virtual boards in one process."""

    def __init__(self, count, folder, *options):
        folder.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen([PROGRAM, "sim", "board", "--count", str(count), "--preset", "instant", "--json", "--dir",
                                         str(folder), *options], stdout=subprocess.PIPE, text=True, env=environment())
        self.free = [json.loads(self.process.stdout.readline()) for _ in range(count)]

    def take(self):
        return self.free.pop(0)

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


def tell(board, line):
    """A hand at the board: unplug, plug, power 0, swap MAC."""
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(board["control"])
        control.sendall((line + "\n").encode())
        answer = control.recv(200).decode().strip()
    if answer != "ok":
        raise RuntimeError("control %r answered %r" % (line, answer))


def espmint(*words, state=None, cwd=None, timeout=20, stdin=subprocess.DEVNULL, before=None, env=None, stdout=subprocess.PIPE):
    command = [PROGRAM, *map(str, words)]
    if state:
        command += ["--state", str(state)]
    started = time.monotonic()
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, stdin=stdin, cwd=cwd or WORK, timeout=timeout,
                          env=env or environment(), preexec_fn=before)
    return Outcome(done.returncode, (done.stdout or b"").decode(errors="replace"), done.stderr.decode(errors="replace"),
                   time.monotonic() - started)


def for_revision(image, oldest):
    """The image with this oldest revision (major * 100 + minor) in its header, and a digest that fits."""
    image = bytearray(image)
    struct.pack_into("<H", image, 15, oldest)
    image[-32:] = hashlib.sha256(image[:-32]).digest()
    return bytes(image)


class Running:
    """A command under way; its lines are read by a thread, so that it never waits for us."""

    def __init__(self, *words, state=None, cwd=None, env=None):
        command = [PROGRAM, *map(str, words)] + (["--state", str(state)] if state else [])
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
                                        cwd=cwd or WORK, env=env or environment())
        self.lines, self.errors = [], []
        self.readers = [threading.Thread(target=self._read, args=pair, daemon=True)
                        for pair in ((self.process.stdout, self.lines), (self.process.stderr, self.errors))]
        for reader in self.readers:
            reader.start()

    @staticmethod
    def _read(stream, lines):
        for line in stream:
            lines.append(line)

    def wait_for(self, text, seconds=10):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if any(text in line for line in self.lines):
                return
            if self.process.poll() is not None and not self.readers[0].is_alive():
                break
            time.sleep(0.005)
        if any(text in line for line in self.lines):
            return
        self.process.kill()
        raise AssertionError("%r never came:\n%s%s" % (text, "".join(self.lines), "".join(self.errors)))

    def signal(self, number):
        self.process.send_signal(number)

    def end(self, seconds=15):
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError("it hangs:\n" + "".join(self.lines)) from None
        for reader in self.readers:
            reader.join(5)
        self.process.stdout.close()
        self.process.stderr.close()
        return Outcome(code, "".join(self.lines), "".join(self.errors), time.monotonic() - self.started)


# ---------------------------------------------------------------------------------------------------- files of our own

def partition_table(rows):
    """rows: name, type, subtype, offset, size."""
    out = b"".join(struct.pack("<HBBII16sI", 0x50AA, kind, sub, at, size, name.encode(), 0) for name, kind, sub, at, size in rows)
    out += b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(out).digest()
    return out.ljust(0xC00, b"\xff")


NVS, FACTORY = ("nvs", 1, 2, 0x9000, 0x6000), ("factory", 0, 0, 0x10000, 0x100000)
TWO_SPIFFS = [NVS, FACTORY, ("certs", 1, 0x82, 0x110000, 0x10000), ("web", 1, 0x82, 0x120000, 0x10000)]
NO_SPIFFS = [NVS, FACTORY]
WHOLE_4MB = [NVS, FACTORY, ("storage", 1, 0x82, 0x110000, 0x10000), ("log", 1, 0x40, 0x120000, 0x2E0000)]
SMALL_APP = [NVS, ("factory", 0, 0, 0x10000, 0x8000), ("storage", 1, 0x82, 0x110000, 0x10000)]


def with_table(folder, rows):
    shutil.copytree(FIRMWARE, folder)
    (folder / "partition_table/partition-table.bin").write_bytes(partition_table(rows))
    return folder


def parts():
    return {"bootloader": (FIRMWARE / "bootloader/bootloader.bin").read_bytes(),
            "table": (FIRMWARE / "partition_table/partition-table.bin").read_bytes(), "app": (FIRMWARE / "thermostat.bin").read_bytes()}


def merged(size=0x400000):
    flash = bytearray(b"\xff" * size)
    p = parts()
    for at, piece in ((0x1000, p["bootloader"]), (0x8000, p["table"]), (0x10000, p["app"])):
        flash[at:at + len(piece)] = piece
    return bytes(flash)


# ---------------------------------------------------------------------------------------------------- what every test can say

class CommandLineTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=WORK, prefix="t-"))
        self.state = self.folder / "state"

    def prepare(self, board, *words, firmware=None, **more):
        more.setdefault("state", self.state)
        return espmint("prepare", "--firmware", firmware or FIRMWARE, "--port", board["rfc2217"], *words, **more)

    def assert_calm(self, outcome):
        self.assertIsNotNone(outcome.code)
        self.assertGreaterEqual(outcome.code, 0, "ended by a signal: %s" % outcome)
        self.assertNotIn(outcome.code, (134, 139), str(outcome))
        self.assertIsNone(CRASH.search(outcome.out + outcome.err), str(outcome))

    def assert_good(self, outcome, *wanted):
        self.assert_calm(outcome)
        self.assertEqual(outcome.code, 0, str(outcome))
        for text in wanted:
            self.assertIn(text, outcome.out + outcome.err, str(outcome))

    def assert_fault(self, outcome, exit_code, fault, *wanted):
        """One sentence on stderr: `espmint: …, cause and next step [code]`."""
        self.assert_calm(outcome)
        self.assertEqual(outcome.code, exit_code, str(outcome))
        lines = [line for line in outcome.err.splitlines() if line.strip()]
        self.assertEqual(len(lines), 1, "not one sentence: %s" % outcome)
        self.assertRegex(lines[0], r"^espmint: .+ \[%s\]$" % re.escape(fault), str(outcome))
        self.assertLess(len(lines[0]), 700, str(outcome))
        for text in wanted:
            self.assertIn(text.lower(), lines[0].lower(), str(outcome))

    def assert_board_failed(self, outcome, exit_code, fault, *wanted):
        """A line says it in the board's verdict, and again in the summary by its code."""
        self.assert_calm(outcome)
        self.assertEqual(outcome.code, exit_code, str(outcome))
        verdicts = [line for line in outcome.out.splitlines() if re.search(r" FAIL\b", line)]
        self.assertEqual(len(verdicts), 1, str(outcome))
        for text in wanted:
            self.assertIn(text.lower(), verdicts[0].lower(), str(outcome))
        self.assertRegex(outcome.out.splitlines()[-1], r"^passed \d+, failed 1 \(%s 1\)" % re.escape(fault), str(outcome))

    def devices(self, state=None, *words):
        outcome = espmint("device", "list", "--json", *words, state=state or self.state)
        self.assert_good(outcome)
        return outcome.events

    def assert_ledger_whole(self, state=None):
        self.assert_good(espmint("audit", "verify", state=state or self.state), "the chain is whole")


class WordsOnTheLine(CommandLineTest):
    def test_nothing_said_is_answered_with_the_next_step(self):
        self.assert_fault(espmint(), 2, "usage", "--help")

    # BUG unknown-command: the parser complains about the missing subcommand and never about the word that was typed.
    def test_an_unknown_command_is_named(self):
        self.assert_fault(espmint("rnu"), 2, "usage", "rnu")

    def test_an_unknown_command_gets_the_nearest_one_suggested(self):
        self.assert_fault(espmint("rnu"), 2, "usage", '"run"')

    # BUG unknown-command: as above, one level down.
    def test_an_unknown_command_below_a_noun_is_named(self):
        self.assert_fault(espmint("device", "lsit"), 2, "usage", "lsit", "list")

    def test_an_unknown_option_is_named(self):
        self.assert_fault(espmint("run", "--frimware", "x"), 2, "usage", "--frimware")

    # BUG unknown-option: no suggestion.
    def test_an_unknown_option_gets_the_nearest_one_suggested(self):
        self.assert_fault(espmint("run", "--frimware", "x"), 2, "usage", "--firmware")

    # BUG usage-json: a parse error gives no object on stdout.
    def test_a_wrong_word_gives_an_object_in_json(self):
        outcome = espmint("--json", "run", "--frimware", "x")
        self.assertEqual(outcome.events[-1]["code"], "usage")

    def test_wrong_speeds_are_refused_before_any_port_is_opened(self):
        for baud in ("0", "-5", "99999999", "fast", "115200.5", "0x"):
            with self.subTest(baud=baud):
                self.assert_fault(espmint("board", "info", "--port", "/dev/ttyNOPE", "--baud", baud), 2, "usage", baud)

    def test_a_wrong_speed_in_the_environment_is_named_with_its_origin(self):
        self.assert_fault(espmint("board", "info", env=environment(ESPMINT_BAUD="fast")), 2, "usage", "fast", "environment")

    def test_a_count_of_nothing_is_refused(self):
        for count in ("0", "-1", "ten"):
            with self.subTest(count=count):
                self.assert_calm(espmint("run", "--count", count))
                self.assertEqual(espmint("run", "--count", count).code, 2)

    # BUG count-range: the sentence holds a number of 309 digits (the largest double).
    def test_a_count_of_nothing_is_refused_in_words_one_can_read(self):
        self.assertLess(len(espmint("run", "--count", "0").err), 200)

    def test_every_command_has_help(self):
        for words in ((), ("run",), ("prepare",), ("init",), ("demo",), ("board", "info"), ("flash", "write"), ("device", "export"),
                      ("audit", "verify"), ("doctor",), ("sim", "board"), ("image", "spiffs"), ("ca", "show")):
            with self.subTest(words=words):
                self.assert_good(espmint(*words, "--help"), "Usage:")

    def test_faults_in_json_are_one_object_with_code_and_sentence(self):
        cases = {"port-missing": ("board", "info", "--port", "/dev/ttyNOPE"), "input-missing": ("run", "--firmware", "nix"),
                 "ledger-missing": ("device", "list"), "usage": ("flash", "write", "0x1000"), "ca-missing": ("ca", "show")}
        for code, words in cases.items():
            with self.subTest(code=code):
                outcome = espmint(*words, "--json", state=self.state)
                event = outcome.events[-1]
                self.assertEqual((event["v"], event["event"], event["code"]), (1, "fault", code), str(outcome))
                self.assertGreater(len(event["fault"]), 10)
                self.assertEqual(len(outcome.err.splitlines()), 1)

    def test_an_unknown_word_is_said_of_the_program_by_its_name(self):
        self.assert_fault(espmint("borad"), 2, "usage", '"borad" is no command of espmint.')
        self.assert_fault(espmint("flash", "wirte"), 2, "usage", '"wirte" is no command of espmint flash.')
        # The value of an option is no command.
        self.assert_fault(espmint("--state", "away", "device", "show"), 2, "usage", "id is required")
        self.assert_fault(espmint("--state", "away", "devcie"), 2, "usage", '"devcie" is no command of espmint.')
        self.assert_fault(espmint("flash", "write", "--fotce"), 2, "usage", "of espmint flash write.")

    def test_help_shows_the_examples_of_its_own_command(self):
        for words in (("flash",), ("board",), ("device",), ("image", "spiffs"), ("image", "app")):
            with self.subTest(words=words):
                out = espmint(*words, "--help").out
                self.assertNotIn("espmint demo", out)
                self.assertNotIn("espmint image partitions list", out)
        self.assertIn("--force", espmint("flash", "write", "--help").out)

    def test_a_closed_pipe_neither_kills_nor_stops_a_run_half_way(self):
        board = BOARDS.take()
        read, write = os.pipe()
        os.close(read)
        try:
            outcome = self.prepare(board, stdout=write)
        finally:
            os.close(write)
        self.assert_calm(outcome)
        self.assertEqual([d["state"] for d in self.devices()], ["VERIFIED"])

    # BUG lost-output: what is not written to stdout (full disk, closed pipe) is not noticed; exit 0 and half a CSV.
    def test_an_export_that_could_not_be_written_is_no_success(self):
        with open("/dev/full", "wb") as full:
            self.assertNotEqual(espmint("device", "export", "--csv", state=LEDGER, stdout=full).code, 0)

    def test_no_color_means_no_colour_on_a_terminal(self):
        def on_a_terminal(**more):
            ours, theirs = pty.openpty()
            subprocess.run([PROGRAM, "doctor", "--state", str(self.state)], stdout=theirs, stderr=subprocess.DEVNULL,
                           env=environment(TERM="xterm-256color", **more))
            os.close(theirs)
            text = b""
            while True:
                try:
                    piece = os.read(ours, 4096)
                except OSError:
                    break
                if not piece:
                    break
                text += piece
            os.close(ours)
            return text
        self.assertIn(b"\x1b[", on_a_terminal())
        self.assertNotIn(b"\x1b[", on_a_terminal(NO_COLOR="1"))
        self.assertNotIn("\x1b", espmint("doctor", state=self.state).out, "not on a pipe")

    def test_options_of_the_program_may_stand_before_and_behind_the_command(self):
        for words in (("--json", "device", "list"), ("device", "list", "--json"), ("device", "--json", "list")):
            with self.subTest(words=words):
                self.assertEqual(len(espmint(*words, state=LEDGER).events), 2)


class Ports(CommandLineTest):
    def test_no_such_port(self):
        self.assert_fault(espmint("board", "info", "--port", "/dev/ttyNOPE"), 4, "port-missing", "/dev/ttyNOPE", "board list")
        self.assert_board_failed(espmint("prepare", "--firmware", FIRMWARE, "--port", "/dev/ttyNOPE", state=self.state), 4,
                                 "port-missing", "/dev/ttyNOPE", "board list")

    def test_a_pattern_that_matches_nothing(self):
        self.assert_fault(espmint("run", "--firmware", FIRMWARE, "--port", "/dev/ttyNOPE*", state=self.state), 4, "port-missing", "/dev/ttyNOPE*")

    def test_nobody_at_the_address(self):
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))  # not listening
            for scheme in ("rfc2217", "socket"):
                with self.subTest(scheme=scheme):
                    name = "%s://127.0.0.1:%d" % (scheme, bound.getsockname()[1])
                    self.assert_fault(espmint("board", "info", "--port", name), 4, "port-missing", "127.0.0.1", "check")

    def test_addresses_that_cannot_be(self):
        for name in ("socket://localhost", "rfc2217://localhost:99999", "rfc2217://:1", "socket://h:-1", "ftp://x:1", "rfc2217://localhost:port"):
            with self.subTest(name=name):
                self.assert_fault(espmint("board", "info", "--port", name), 4, "port-missing", name)

    def test_files_that_are_no_serial_ports(self):
        for name in ("/dev/null", str(FIRMWARE), str(FIRMWARE / "thermostat.bin")):
            with self.subTest(name=name):
                self.assert_fault(espmint("board", "info", "--port", name), 4, "port-failed", name)
        self.assertEqual((FIRMWARE / "thermostat.bin").stat().st_size, 0x10000)

    def test_an_empty_port_name_is_a_wrong_word(self):
        self.assert_fault(espmint("board", "info", "--port", ""), 2, "usage", "--port")

    def test_a_port_that_is_not_there_yet_is_named_when_a_line_starts(self):
        run = Running("run", "--firmware", FIRMWARE, "--port", "/dev/ttyUSBO", state=self.state)
        run.wait_for("/dev/ttyUSBO: there is no such port yet")
        run.signal(signal.SIGINT)
        run.end()

    def test_a_recipe_behind_the_port_is_the_recipe(self):
        (self.folder / "lamp.toml").write_text('[product]\nname = "lamp"\n[firmware]\npath = "%s"\n' % FIRMWARE)
        outcome = espmint("run", "--dry-run", "--port", "/dev/ttyNOPE", self.folder / "lamp.toml", cwd=FIRMWARE)
        self.assert_good(outcome, "product lamp")

    # BUG twice-named: two slots race for one port; one of them fails and the exit code is 1.
    def test_a_port_named_twice_is_one_slot(self):
        board = BOARDS.take()
        self.assert_good(self.prepare(board, "--port", board["rfc2217"]), "passed 1, failed 0")

    @unittest.skipIf(os.geteuid() == 0, "root may open every port")
    def test_a_port_without_permission(self):
        ours, theirs = pty.openpty()
        name = os.ttyname(theirs)
        os.close(theirs)
        os.chmod(name, 0)
        try:
            self.assert_fault(espmint("board", "info", "--port", name), 4, "port-denied", name)
        finally:
            os.close(ours)

    def test_a_port_that_vanishes_mid_run_leaves_a_ledger_that_knows_and_a_board_that_continues(self):
        for step in ("flash-firmware", "flash-identity", "evidence"):
            with self.subTest(step=step):
                board, state = BOARDS.take(), self.folder / step
                run = Running("prepare", "--json", "--firmware", FIRMWARE, "--port", board["rfc2217"], state=state)
                run.wait_for('"step":"%s"' % step)
                tell(board, "unplug")
                outcome = run.end()
                self.assert_calm(outcome)
                summary = outcome.events[-1]
                self.assertEqual(summary["event"], "summary", str(outcome))
                if outcome.code != 0:  # the hand was late
                    self.assertEqual((outcome.code, summary["failed"]), (4, 1), str(outcome))
                    done = [e for e in outcome.events if e["event"] == "done"][0]
                    self.assertIn(done["code"], ("port-gone", "port-failed"), str(outcome))
                    self.assertIn("plug", done["fault"].lower(), str(outcome))
                self.assert_ledger_whole(state)
                tell(board, "plug")
                self.assert_good(self.prepare(board, state=state), "PASS")
                self.assertEqual([d["state"] for d in self.devices(state)], ["VERIFIED"])
                self.assert_ledger_whole(state)

    def test_a_silent_board_is_diagnosed_within_five_seconds(self):
        silent = [BOARDS.take(), BOARDS.take()]
        for board in silent:
            tell(board, "power 0")
        with concurrent.futures.ThreadPoolExecutor() as pool:
            info = pool.submit(espmint, "board", "info", "--port", silent[0]["rfc2217"])
            prepare = pool.submit(self.prepare, silent[1])
        self.assert_fault(info.result(), 4, "board-silent", silent[0]["rfc2217"], "power")
        self.assert_board_failed(prepare.result(), 4, "board-silent", "power")
        for outcome in (info.result(), prepare.result()):
            self.assertLess(outcome.seconds, 8, str(outcome))  # its own count is the promise; this machine may be busy


class HostileServers(CommandLineTest):
    """Whoever listens there, the answer is a sentence, soon, in bounded memory."""

    SAYS = {
        "nothing": [b""],
        "hangs-up": None,
        "http": [b"HTTP/1.1 400 Bad Request\r\nContent-Length: 9999999999\r\n\r\n"],
        "noise": [bytes((i * 73 + i // 7) & 0xFF for i in range(4096))],
        "frame-ends": [b"\xc0" * 65536],
        "open-frame": [b"\xc0" + b"\x41" * 65536],
        "telnet-options": [b"\xff\xfd\x2c\xff\xfb\x2c\xff\xfa\x2c" + b"\x01" * 65536],
        "open-subnegotiation": [b"\xff\xfa\x2c\x65" + b"A" * 65536],
        "huge-length": [b"\xc0\x01\x08\xff\xff\x07\x12\x20\x55" + b"\x00" * 300 + b"\xc0"],
        "sync-for-ever": [b"\xc0\x01\x08\x04\x00\x07\x12\x20\x55\x00\x00\x00\x00\xc0" * 512],
        "right-then-wrong": [b"\xc0\x01\x0a\x04\x00\xff\xff\xff\xff\x00\x00\x00\x00\xc0" * 64],
        "bad-escapes": [b"\xc0\xdb\xff\xdb\xdb\xc0" * 4096],
    }

    def serve(self, says, stop):
        server = socket.socket()
        server.bind(("127.0.0.1", 0))
        server.listen(8)
        server.settimeout(0.2)

        def talk(client):
            client.settimeout(0.2)
            sent, limit = 0, 32 * 1024 * 1024
            while not stop.is_set():
                if says is None:
                    break
                try:
                    for piece in says:
                        if piece and sent < limit:
                            sent += client.send(piece)
                    ready, _, _ = select.select([client], [], [], 0.005)
                    if ready and not client.recv(65536):
                        break
                except TimeoutError:
                    continue
                except OSError:
                    break
            client.close()

        def accept():
            while not stop.is_set():
                try:
                    client, _ = server.accept()
                except TimeoutError:
                    continue
                threading.Thread(target=talk, args=(client,), daemon=True).start()
            server.close()
        threading.Thread(target=accept, daemon=True).start()
        return server.getsockname()[1]

    def test_garbage_and_floods_end_in_one_sentence(self):
        stop = threading.Event()

        def ask(scheme, name):
            port = self.serve(self.SAYS[name], stop)
            limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
            return espmint("board", "info", "--port", "%s://127.0.0.1:%d" % (scheme, port), timeout=25, before=limit)
        try:
            with concurrent.futures.ThreadPoolExecutor(24) as pool:
                asked = {(scheme, name): pool.submit(ask, scheme, name) for scheme in ("socket", "rfc2217") for name in self.SAYS}
            for (scheme, name), outcome in asked.items():
                with self.subTest(scheme=scheme, says=name):
                    outcome = outcome.result()
                    self.assert_calm(outcome)
                    self.assertIn(outcome.code, (1, 4), str(outcome))
                    # BUG forged-lines makes "http" an exception: see below.
                    if name != "http":
                        self.assertEqual(len(outcome.err.splitlines()), 1, str(outcome))
                    self.assertRegex(outcome.err, r"(?s)^espmint: .+ \[[a-z-]+\]\n$", str(outcome))
                    self.assertLess(outcome.seconds, 10, str(outcome))
        finally:
            stop.set()

    # BUG forged-lines: line feeds that a board or server sent stand in the sentence as they are: it can write lines of its own
    # ("PASS …") into the operator's log. escape_controls() lets \n through.
    def test_what_a_board_says_cannot_begin_a_line_of_its_own(self):
        stop = threading.Event()
        try:
            port = self.serve([b"x\r\nslot1  PASS 24d7eb123456 VERIFIED\r\n"], stop)
            outcome = espmint("board", "info", "--port", "socket://127.0.0.1:%d" % port)
        finally:
            stop.set()
        self.assertEqual(len(outcome.err.splitlines()), 1, str(outcome))


    # BUG not-a-byte: "not a single byte came back" also when megabytes came, if only they lay between frame ends.
    def test_a_flood_of_frames_is_not_called_silence(self):
        stop = threading.Event()
        try:
            with concurrent.futures.ThreadPoolExecutor() as pool:
                asked = [pool.submit(espmint, "board", "info", "--port", "socket://127.0.0.1:%d" % self.serve(self.SAYS[name], stop))
                         for name in ("frame-ends", "right-then-wrong", "bad-escapes")]
            for outcome in asked:
                self.assertNotIn("not a single byte", outcome.result().err)
        finally:
            stop.set()


class WrongBoards(CommandLineTest):
    def test_the_wrong_chip_is_said_before_anything_is_written(self):
        board = BOARDS.take()
        blank = pathlib.Path(board["flash_file"]).read_bytes()
        self.assert_fault(espmint("board", "info", "--chip", "esp32s3", "--port", board["rfc2217"]), 1, "chip-mismatch", "ESP32-S3")
        c3 = self.folder / "c3"
        self.assert_good(espmint("sim", "firmware", c3, "--chip", "esp32c3", "--app-size", "64K"))
        self.assert_board_failed(self.prepare(board, firmware=c3), 1, "chip-mismatch", "ESP32-C3", "this board is ESP32")
        self.assertEqual(pathlib.Path(board["flash_file"]).read_bytes(), blank)
        self.assertEqual(self.devices(), [])

    def test_an_option_chip_that_contradicts_the_firmware(self):
        self.assert_fault(espmint("run", "--chip", "esp32s3", "--firmware", FIRMWARE, state=self.state), 3, "firmware-wrong-chip",
                          "ESP32-S3", "bootloader.bin")
        self.assert_fault(espmint("run", "--chip", "esp99", "--firmware", FIRMWARE, state=self.state), 2, "usage", "esp99", "esp32")

    def test_firmware_mixed_from_two_chips(self):
        c3, mixed = self.folder / "c3", self.folder / "mixed"
        espmint("sim", "firmware", c3, "--chip", "esp32c3", "--app-size", "64K")
        shutil.copytree(FIRMWARE, mixed)
        shutil.copy(c3 / "thermostat.bin", mixed / "thermostat.bin")
        self.assert_fault(espmint("run", "--dry-run", "--firmware", mixed), 3, "firmware-wrong-chip", "ESP32-C3", "ESP32")

    def test_a_newer_chip_than_the_board_is_said_before_anything_is_written(self):
        build = self.folder / "build"
        shutil.copytree(FIRMWARE, build)
        bootloader = build / "bootloader/bootloader.bin"
        bootloader.write_bytes(for_revision(bootloader.read_bytes(), 301))
        board = BOARDS.take()
        blank = pathlib.Path(board["flash_file"]).read_bytes()
        self.assert_board_failed(self.prepare(board, firmware=build), 1, "chip-mismatch",
                                 "bootloader.bin needs ESP32 revision 3.1 or newer, this board is 3.0")
        self.assert_fault(espmint("flash", "write", "--port", board["rfc2217"], "0x1000", bootloader), 1, "chip-mismatch", "needs ESP32 revision 3.1",
                          "--force")
        self.assertEqual(pathlib.Path(board["flash_file"]).read_bytes(), blank)

    def test_an_image_for_another_chip_is_written_by_force_only(self):
        other = self.folder / "other"
        self.assert_good(espmint("sim", "firmware", other, "--chip", "esp32c3", "--app-size", "64K"))
        board = BOARDS.take()
        app = other / "thermostat.bin"
        words = ("flash", "write", "--port", board["rfc2217"], "0x10000", app)
        self.assert_fault(espmint(*words), 1, "chip-mismatch", "thermostat.bin is for ESP32-C3, this board is ESP32", "--force")
        self.assertEqual(set(pathlib.Path(board["flash_file"]).read_bytes()), {0xFF})
        self.assert_good(espmint(*words, "--force"))
        flash = pathlib.Path(board["flash_file"]).read_bytes()
        self.assertEqual(flash[0x10000:0x10000 + app.stat().st_size], app.read_bytes())

    def test_a_table_beyond_the_flash_names_both_sizes_and_the_way_out(self):
        boards = Boards(1, self.folder / "small", "--flash-size", "2MB")
        self.addCleanup(boards.close)
        board = boards.take()
        build = with_table(self.folder / "build", WHOLE_4MB)
        self.assert_board_failed(self.prepare(board, firmware=build), 1, "flash-too-small", "4 MB", "2 MB", "rebuild")
        self.assertEqual(set(pathlib.Path(board["flash_file"]).read_bytes()) or {255}, {255})
        self.assertEqual(self.devices(), [])

    def test_a_quota_that_is_used_up_stops_the_line(self):
        recipe = self.folder / "recipe.toml"
        recipe.write_text('[product]\nquota = 1\n[firmware]\npath = "%s"\n' % FIRMWARE)
        boards = [BOARDS.take(), BOARDS.take()]
        self.assert_good(espmint("prepare", recipe, "--port", boards[0]["rfc2217"], state=self.state), "PASS")
        outcome = espmint("prepare", recipe, "--port", boards[1]["rfc2217"], state=self.state)
        self.assertEqual(outcome.code, 6, str(outcome))
        self.assertIn("quota-reached", outcome.out)
        self.assert_good(espmint("prepare", recipe, "--port", boards[0]["rfc2217"], state=self.state), "already VERIFIED")


class Firmware(CommandLineTest):
    def dry(self, *words, cwd=None):
        return espmint("run", "--dry-run", *words, cwd=cwd, state=self.state)

    def test_a_file_that_is_not_there(self):
        self.assert_fault(self.dry("--firmware", "nix"), 3, "input-missing", "nix", "build folder")

    def test_a_recipe_that_is_not_there(self):
        self.assert_fault(self.dry("nix.toml"), 3, "input-missing", "nix.toml")

    def test_a_part_that_the_build_names_and_has_not(self):
        build = self.folder / "build"
        shutil.copytree(FIRMWARE, build)
        (build / "thermostat.bin").unlink()
        self.assert_fault(self.dry("--firmware", build), 3, "firmware-incomplete", "thermostat.bin", "idf.py build")

    def test_damaged_apps_are_refused_before_any_board(self):
        app = parts()["app"]
        flipped = bytearray(app)
        flipped[len(app) // 2] ^= 0x10
        damages = {"truncated": app[:40000], "truncated-by-one": app[:-1], "header-only": app[:8], "flipped": bytes(flipped),
                   "zeros": bytes(len(app)), "text": b"<html>404</html>\n" * 100, "empty": b"", "many-segments": app[:1] + b"\xff" + app[2:],
                   "huge-segment": app[:28] + b"\xff\xff\xff\xff" + app[32:]}
        board = BOARDS.take()
        blank = pathlib.Path(board["flash_file"]).read_bytes()
        for name, damaged in damages.items():
            with self.subTest(damage=name):
                build = self.folder / name
                shutil.copytree(FIRMWARE, build)
                (build / "thermostat.bin").write_bytes(damaged)
                outcome = self.prepare(board, firmware=build)
                self.assert_calm(outcome)
                self.assertEqual(outcome.code, 3, str(outcome))
                self.assertIn("thermostat.bin", outcome.err, str(outcome))
                self.assertEqual(len(outcome.err.splitlines()), 1, str(outcome))
        self.assertEqual(pathlib.Path(board["flash_file"]).read_bytes(), blank)
        self.assertFalse((self.state / "products").exists(), "a refused firmware made a ledger")

    def test_a_damaged_table(self):
        table = bytearray(parts()["table"])
        table[0x0C] ^= 1
        for name, damaged in {"flipped": bytes(table), "empty-table": b"\xff" * 0xC00, "short": bytes(table[:40]), "text": b"# Name, Type\n" * 40}.items():
            with self.subTest(damage=name):
                build = self.folder / name
                shutil.copytree(FIRMWARE, build)
                (build / "partition_table/partition-table.bin").write_bytes(damaged)
                outcome = self.dry("--firmware", build)
                self.assert_calm(outcome)
                self.assertEqual(outcome.code, 3, str(outcome))
                self.assertEqual(len(outcome.err.splitlines()), 1, str(outcome))
                if name != "empty-table":
                    self.assertIn("partition-table.bin", outcome.err, str(outcome))

    def test_a_table_without_partitions_is_named(self):
        build = with_table(self.folder / "build", [])
        self.assertIn("partition-table.bin", self.dry("--firmware", build).err)

    def test_damaged_flasher_args(self):
        good = json.loads((FIRMWARE / "flasher_args.json").read_text())
        for name, text in {"no-json": "{", "array": "[]", "number": "7", "no-files": "{}", "list": json.dumps({**good, "flash_files": []}),
                           "bad-offset": json.dumps({**good, "flash_files": {"zzz": "thermostat.bin"}}),
                           "negative": json.dumps({**good, "flash_files": {"-0x1000": "thermostat.bin"}}),
                           "number-name": json.dumps({**good, "flash_files": {"0x1000": 7}}),
                           "deep": "[" * 200000, "settings": json.dumps({**good, "flash_settings": 7, "partition-table": [1]}) + "x"}.items():
            with self.subTest(damage=name):
                build = self.folder / name
                shutil.copytree(FIRMWARE, build)
                (build / "flasher_args.json").write_text(text)
                outcome = self.dry("--firmware", build)
                self.assert_fault(outcome, 3, "input-invalid", "flasher_args.json")

    def test_an_app_larger_than_its_partition(self):
        build = with_table(self.folder / "build", SMALL_APP)
        self.assert_fault(self.dry("--firmware", build), 3, "firmware-does-not-fit", "factory", "65536", "32768", "partitions.csv")

    def test_an_app_alone_says_what_is_missing_and_where_it_usually_lies(self):
        (self.folder / "firmware.bin").write_bytes(parts()["app"])
        for words, cwd in (((), self.folder), (("--firmware", "firmware.bin"), self.folder), (("--firmware", self.folder), None)):
            with self.subTest(words=words):
                self.assert_fault(self.dry(*words, cwd=cwd), 3, "firmware-incomplete", "bootloader.bin (for 0x1000)", "partitions.bin (for 0x8000)",
                                  ".pio/build", "bootloader/")

    def test_an_empty_folder_says_what_was_looked_for(self):
        self.assert_fault(self.dry(cwd=self.folder), 3, "firmware-incomplete", "flasher_args.json", "--firmware")

    def test_no_arguments_in_a_build_folder_and_in_the_project_around_it(self):
        self.assert_good(self.dry(cwd=FIRMWARE), "thermostat.bin", "0x10000", "ESP-IDF build folder")
        shutil.copytree(FIRMWARE, self.folder / "build")
        self.assert_good(self.dry(cwd=self.folder), "build/thermostat.bin", "ESP-IDF build folder build")

    def test_the_parts_under_the_names_of_platformio_and_arduino(self):
        p = parts()
        layouts = {"pio": {".pio/build/esp32dev/firmware.bin": "app", ".pio/build/esp32dev/bootloader.bin": "bootloader",
                           ".pio/build/esp32dev/partitions.bin": "table"},
                   "pio-environment": {"firmware.bin": "app", "bootloader.bin": "bootloader", "partitions.bin": "table"},
                   "arduino": {"lamp.ino.bin": "app", "lamp.ino.bootloader.bin": "bootloader", "lamp.ino.partitions.bin": "table",
                               "lamp.ino.merged.bin": "merged"},
                   "arduino-2": {"build/esp32.esp32.esp32/lamp.ino.bin": "app", "build/esp32.esp32.esp32/lamp.ino.bootloader.bin": "bootloader",
                                 "build/esp32.esp32.esp32/lamp.ino.partitions.bin": "table"},
                   "partition-bin": {"firmware.bin": "app", "bootloader.bin": "bootloader", "partition.bin": "table"}}
        p["merged"] = merged()
        for name, files in layouts.items():
            with self.subTest(layout=name):
                for path, what in files.items():
                    target = self.folder / name / path
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(p[what])
                outcome = self.dry("--json", cwd=self.folder / name)
                self.assert_good(outcome)
                regions = {r["offset"]: r["size"] for r in outcome.events[-1]["regions"]}
                self.assertEqual(regions, {0x1000: len(p["bootloader"]), 0x8000: 0xC00, 0x10000: len(p["app"])}, str(outcome))

    def test_a_merged_image_writes_the_same_parts(self):
        for name, data in {"merged.bin": merged(), "cut.bin": merged()[:0x20000], "from-1000.bin": merged()[0x1000:0x20000]}.items():
            with self.subTest(file=name):
                (self.folder / name).write_bytes(data)
                outcome = self.dry("--json", "--firmware", self.folder / name)
                self.assert_good(outcome)
                offsets = [r["offset"] for r in outcome.events[-1]["regions"]]
                self.assertEqual(offsets, [0x1000, 0x8000, 0x10000], str(outcome))
        board = BOARDS.take()
        self.assert_good(self.prepare(board, firmware=self.folder / "merged.bin"), "PASS")
        flash = pathlib.Path(board["flash_file"]).read_bytes()
        p = parts()
        self.assertEqual(flash[0x1000:0x1000 + len(p["bootloader"])], p["bootloader"])
        self.assertEqual(flash[0x10000:0x10000 + len(p["app"])], p["app"])

    def test_a_merged_image_cut_within_the_app_is_refused(self):
        (self.folder / "cut.bin").write_bytes(merged()[:0x18000])
        outcome = self.dry("--firmware", self.folder / "cut.bin")
        self.assert_calm(outcome)
        self.assertEqual(outcome.code, 3, str(outcome))

    def test_several_spiffs_partitions_are_asked_about_by_name(self):
        build, board = with_table(self.folder / "build", TWO_SPIFFS), BOARDS.take()
        self.assert_fault(self.dry("--firmware", build), 3, "partition-ambiguous", "certs", "web", "--partition")
        self.assert_fault(self.dry("--firmware", build, "--partition", "cert"), 3, "partition-missing", "cert", "certs")
        self.assert_good(self.prepare(board, "--partition", "certs", firmware=build), "PASS")
        flash = pathlib.Path(board["flash_file"]).read_bytes()
        self.assertIn(b"private.pem.key", flash[0x110000:0x120000])
        self.assertEqual(set(flash[0x120000:0x130000]), {255})

    def test_without_a_spiffs_partition_boards_are_flashed_verified_and_recorded_with_a_hint(self):
        build, board = with_table(self.folder / "build", NO_SPIFFS), BOARDS.take()
        outcome = self.prepare(board, firmware=build)
        self.assert_good(outcome, "PASS", "partitions.csv", "storage, data, spiffs")
        flash = pathlib.Path(board["flash_file"]).read_bytes()
        self.assertEqual(flash[0x10000:0x20000], parts()["app"])
        self.assertNotIn(b"PRIVATE KEY", flash)
        self.assert_ledger_whole()

    def test_a_board_without_identity_is_on_record(self):
        build, board = with_table(self.folder / "build", NO_SPIFFS), BOARDS.take()
        self.assert_good(self.prepare(board, firmware=build), "PASS")
        self.assertIn(board["mac"], espmint("device", "export", "--csv", state=self.state).out)

    def test_a_dry_run_touches_nothing(self):
        outcome = self.dry("--firmware", FIRMWARE, "--port", "/dev/ttyNOPE")
        self.assert_good(outcome, "0x1000", "0x8000", "0x10000", "0x110000", "certificate.pem.crt")
        self.assertFalse(self.state.exists())


class Recipes(CommandLineTest):
    def dry(self, text):
        (self.folder / "recipe.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
        return espmint("run", "--dry-run", cwd=self.folder, state=self.state)

    def test_typing_mistakes_name_the_line_and_the_key_that_was_meant(self):
        for text, wanted in (('[product]\nname = "x"\nquoat = 5\n', ("recipe.toml:3:", "product.quoat", "quota")),
                             ("[prodcut]\n", ("recipe.toml:1:", "prodcut", "product")),
                             ('[identity]\nissuer = "locla"\n', ("recipe.toml:2:", "locla", "local")),
                             ('[product]\nchip = "esp32s"\n', ("esp32s3",)),
                             ('[[image]]\npartiton = "x"\n', ("partiton", "partition")),
                             ('[identity]\nid = "board"\n', ("same for every board", "{mac}")),
                             ('[identity]\nid = "{mak}"\n', ("{mak}",)),
                             ('[[image]]\nfiles = { "a" = "{privat_key}" }\n', ("{privat_key}",))):
            with self.subTest(text=text):
                self.assert_fault(self.dry(text), 3, "recipe-invalid", *wanted)

    def test_wrong_types_name_the_line(self):
        for text in ('[product]\nquota = "many"\n', "[product]\nquota = 0\n", "[product]\nquota = 1.5\n", "[product]\nquota = -1\n", "[product]\nname = 5\n",
                     "product = 5\n", "[[product]]\n", "[image]\n", "image = []\n", "[[image]]\npartition = \"a\"\n[[image]]\npartition = \"a\"\n", "[[image]]\nfiles = 5\n",
                     "[[image]]\nfiles = { a = 1 }\n", '[identity]\nsave_private_key = "yes"\n', "[firmware]\npath = []\n", '[product]\nname = ""\n',
                     '[product]\nname = "../../etc"\n', '[cloud]\nkind = "aws"\n'):
            with self.subTest(text=text):
                self.assert_fault(self.dry(text), 3, "recipe-invalid", "recipe.toml:")

    AWS = '[firmware]\npath = "%s"\n[identity]\nissuer = "aws"\n[cloud.aws]\n'

    def test_what_aws_would_refuse_is_refused_before_any_call(self):
        for text, wanted in (('attributes = { owner = "My Co" }\n', ("recipe.toml:6:", "cloud.aws.attributes", "' '")),
                             ('attributes = { a = "1", b = "2", c = "3" }\n', ("thing_type",)),
                             ('thing_type = "a b"\n', ("recipe.toml:6:", "thing type")),
                             ('policy_name = "a/b"\n', ("policy",)),
                             ('groups = ["a b"]\n', ("group",))):
            with self.subTest(text=text):
                self.assert_fault(self.dry(self.AWS % FIRMWARE + text), 5, "cloud-refused", *wanted)
        self.assert_fault(self.dry('[identity]\nid = "th {mac}"\nissuer = "aws"\n'), 5, "cloud-refused", "recipe.toml:2:", "thing name")
        self.assert_fault(self.dry('[cloud.aws]\n'), 3, "recipe-invalid", "issuer is local")
        self.assertFalse(self.state.exists())

    def test_a_dry_run_says_what_it_will_do_at_aws(self):
        bundle = "/etc/ssl/certs/ca-certificates.crt"
        if not os.path.exists(bundle):
            self.skipTest("no ca-certificates here")
        recipe = self.AWS % FIRMWARE + 'region = "eu-central-1"\nthing_type = "lamp"\nattributes = { owner = "line-3" }\n'
        self.assert_good(self.dry(recipe), "region eu-central-1", "thing type lamp", "owner=line-3", "issuance csr", "endpoint.txt", "thing.txt",
                         "root CA: Amazon Root CA 1, expires 2038-01-17", "issuer aws")
        plan = json.loads(espmint("run", "--dry-run", "--json", cwd=self.folder, state=self.state).out.splitlines()[-1])
        self.assertEqual((plan["aws"]["region"], plan["aws"]["attributes"], plan["aws"]["endpoint_url"], plan["aws"]["root_ca"]),
                         ("eu-central-1", {"owner": "line-3"}, None, "amazon-root-ca-1"))
        self.assertEqual(plan["identity"]["issuer"], "aws")
        empty = self.folder / "empty.crt"
        empty.write_text("")
        # What this machine trusts a proxy by is not all that boards may trust AWS by.
        self.assert_good(espmint("run", "--dry-run", cwd=self.folder, state=self.state, env={**environment(), "SSL_CERT_FILE": str(empty)}),
                         "root CA: Amazon Root CA 1")
        (self.folder / "root.pem").write_text("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n")
        self.assert_fault(self.dry(recipe + 'root_ca = "root.pem"\n'), 3, "ca-invalid", "root.pem")

    def test_bad_toml_names_the_line(self):
        for text in ("[product\n", "name = \n", 'name = "x\n', "= 5", "a = 1\na = 2\n", b"\xff\xfe\x00", b"\x00" * 100, "[" * 5000, "a = " + "[" * 5000):
            with self.subTest(text=text[:20]):
                self.assert_fault(self.dry(text), 3, "recipe-invalid", "recipe.toml:")

    def test_a_recipe_from_windows_is_a_recipe(self):
        text = '\ufeff[product]\r\nname = "lamp"\r\n[firmware]\r\npath = "%s"\r\n' % FIRMWARE
        self.assert_good(self.dry(text), "product lamp")

    def test_a_recipe_that_is_a_folder_without_one(self):
        self.assert_fault(espmint("run", "--dry-run", self.folder), 3, "input-missing", "recipe.toml")

    def test_init_writes_a_recipe_that_run_uses_and_never_overwrites_one(self):
        shutil.copytree(FIRMWARE, self.folder / "build")
        self.assert_good(espmint("init", "build", cwd=self.folder), "recipe.toml", "--dry-run")
        self.assert_good(espmint("run", "--dry-run", cwd=self.folder, state=self.state), "product thermostat", "build/thermostat.bin")
        before = (self.folder / "recipe.toml").read_bytes()
        self.assert_fault(espmint("init", "build", cwd=self.folder), 3, "output-unwritable", "recipe.toml", "move it away")
        self.assertEqual((self.folder / "recipe.toml").read_bytes(), before)

    # BUG init-elsewhere: --out in another folder keeps the build path relative to here, though a recipe's paths are relative to it.
    def test_init_into_another_folder_writes_a_path_that_holds_there(self):
        shutil.copytree(FIRMWARE, self.folder / "build")
        (self.folder / "line").mkdir()
        self.assert_good(espmint("init", "build", "--out", "line/recipe.toml", cwd=self.folder))
        self.assert_good(espmint("run", "line", "--dry-run", cwd=self.folder, state=self.state))

    def test_a_settings_file_with_a_mistake_names_it(self):
        (self.folder / "espmint.toml").write_text('prot = "/dev/ttyUSB0"\n')
        self.assert_fault(espmint("board", "list", cwd=self.folder), 3, "recipe-invalid", "espmint.toml:1:", "port")


class Disks(CommandLineTest):
    def test_a_state_folder_that_cannot_be_made(self):
        (self.folder / "file").write_text("x")
        for state in (self.folder / "file", self.folder / "file/below", "/dev/null/x", "/proc/nix"):
            with self.subTest(state=state):
                outcome = self.prepare(BOARDS.free[0], state=state)
                self.assert_calm(outcome)
                self.assertIn(outcome.code, (3, 6), str(outcome))
                self.assertEqual(len(outcome.err.splitlines()), 1, str(outcome))

    def test_a_limit_of_file_size_is_a_full_disk_and_nothing_is_lost(self):
        board, state = BOARDS.take(), self.state
        self.assert_good(self.prepare(BOARDS.take()))
        held = {d["id"]: d["certificate_sha256"] for d in self.devices()}
        for limit in (0, 100, 4096, 40000, 60000):
            with self.subTest(limit=limit):
                outcome = self.prepare(board, state=state, before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
                self.assert_calm(outcome)
                self.assertIn(outcome.code, (0, 1, 6), str(outcome))
                for device, certificate in held.items():
                    self.assertIn((device, certificate), [(d["id"], d["certificate_sha256"]) for d in self.devices()])
                self.assert_ledger_whole()
        self.assert_good(self.prepare(board), "PASS")
        self.assert_ledger_whole()

    # BUG shm-size: SQLite's IOERR_SHMSIZE (no room for ledger.db-shm) is told as ledger-io, "check the disk (dmesg)", not as disk-full.
    def test_a_ledger_that_cannot_grow_ends_with_exit_6(self):
        self.assert_good(self.prepare(BOARDS.take()))
        outcome = self.prepare(BOARDS.take(), before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)))
        self.assertEqual(outcome.code, 6, str(outcome))
        self.assertIn("disk-full", outcome.out + outcome.err)

    @unittest.skipIf(os.geteuid() == 0, "root may write everywhere")
    def test_a_state_folder_that_may_not_be_written(self):
        self.state.mkdir()
        self.state.chmod(0o500)
        outcome = self.prepare(BOARDS.free[0])
        self.assertEqual(outcome.code, 3, str(outcome))
        self.assert_calm(outcome)

    def test_a_full_file_system_is_exit_6_and_the_board_continues_when_there_is_room(self):
        disk = self.folder / "disk"
        disk.mkdir()
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True) if os.geteuid() == 0 else None
        if mount is None or mount.returncode != 0:
            self.skipTest("needs the right to mount a small file system")
        self.addCleanup(lambda: subprocess.run(["umount", "-l", str(disk)], check=False))
        state, boards = disk / "state", [BOARDS.take(), BOARDS.take()]
        self.assert_good(self.prepare(boards[0], state=state), "PASS")
        ballast = disk / "ballast"
        with open(ballast, "wb", buffering=0) as f:
            try:
                while True:
                    f.write(b"x" * 4096)
            except OSError:
                pass
        outcome = self.prepare(boards[1], state=state)
        self.assert_calm(outcome)
        self.assertEqual(outcome.code, 6, str(outcome))
        self.assertIn("disk-full", outcome.out + outcome.err)
        ballast.unlink()
        self.assert_good(self.prepare(boards[1], state=state), "PASS")
        self.assertEqual(len(self.devices(state)), 2)
        self.assert_ledger_whole(state)


class Ledgers(CommandLineTest):
    def copy(self, name="copy"):
        state = self.folder / name
        shutil.copytree(LEDGER, state)
        return state, state / "products/thermostat/ledger.db"

    def test_a_ledger_that_is_none_is_refused_and_left_alone(self):
        other = self.folder / "other.db"
        with sqlite3.connect(other) as db:
            db.execute("create table music (title text)")
            db.execute("insert into music values ('Für Elise')")
        db.close()
        whole = (LEDGER / "products/thermostat/ledger.db").read_bytes()
        cases = {"garbage": (os.urandom(50000), ("ledger-foreign", "ledger-damaged")), "other-database": (other.read_bytes(), ("ledger-foreign",)),
                 "text": (b"hello\n" * 1000, ("ledger-foreign", "ledger-damaged")), "half": (whole[:len(whole) // 2], ("ledger-damaged",)),
                 "one-page-less": (whole[:-4096], ("ledger-damaged",)), "empty": (b"", ("ledger-damaged", "ledger-foreign")),
                 "zeroed-page": (whole[:8192] + bytes(4096) + whole[12288:], ("ledger-damaged",))}
        board = BOARDS.take()
        for name, (content, faults) in cases.items():
            with self.subTest(content=name):
                state, db = self.copy(name)
                db.write_bytes(content)
                outcome = self.prepare(board, state=state)
                self.assert_calm(outcome)
                self.assertEqual(outcome.code, 6, str(outcome))
                self.assertIn(outcome.err.rsplit("[", 1)[-1].rstrip("]\n"), faults, str(outcome))
                if name != "zeroed-page":  # BUG two-lines: SQLite's report of several lines stands in the sentence as it is
                    self.assertEqual(len(outcome.err.splitlines()), 1, str(outcome))
                self.assertEqual(db.read_bytes(), content, "the file was changed")
                verify = espmint("audit", "verify", state=state)
                self.assert_calm(verify)
                self.assertIn(verify.code, (1, 6), str(verify))
                self.assertEqual(espmint("doctor", state=state).code, 1)

    def test_a_ledger_that_was_deleted_is_not_made_anew(self):
        state, db = self.copy()
        db.unlink()
        outcome = self.prepare(BOARDS.take(), state=state)
        self.assertEqual(outcome.code, 6, str(outcome))
        self.assertFalse(db.exists())

    def test_an_old_copy_put_back_is_noticed(self):
        state, db = self.copy()
        old = db.read_bytes()
        self.assert_good(self.prepare(BOARDS.take(), state=state))
        db.write_bytes(old)
        outcome = self.prepare(BOARDS.take(), state=state)
        self.assertEqual(outcome.code, 6, str(outcome))
        self.assertIn("[ledger-damaged]", outcome.err)

    def test_the_ledger_of_another_product_is_refused(self):
        state, _ = self.copy()
        shutil.copytree(state / "products/thermostat", state / "products/lamp")
        recipe = self.folder / "recipe.toml"
        recipe.write_text('[product]\nname = "lamp"\n[firmware]\npath = "%s"\n' % FIRMWARE)
        outcome = espmint("prepare", recipe, "--port", BOARDS.free[0]["rfc2217"], state=state)
        self.assertEqual(outcome.code, 6, str(outcome))
        self.assertRegex(outcome.err, r"thermostat.*\[ledger-foreign\]")

    def test_a_second_process_is_told_who_holds_the_ledger_within_a_second(self):
        run = Running("run", "--firmware", FIRMWARE, "--port", BOARDS.take()["rfc2217"], state=self.state)
        run.wait_for("waiting for a board")
        try:
            for words in (("prepare",), ("run",)):
                second = espmint(*words, "--firmware", FIRMWARE, "--port", BOARDS.free[0]["rfc2217"], state=self.state)
                self.assertEqual(second.code, 6, str(second))
                self.assertLess(second.seconds, 1.0, str(second))
                self.assertIn("pid %d" % run.process.pid, second.err)
                self.assertIn("[ledger-locked]", second.err)
                self.assertEqual(len(second.err.splitlines()), 1, str(second))
            run.wait_for("PASS")
            self.assertEqual([d["state"] for d in self.devices()], ["VERIFIED"], "a reader is not locked out")
        finally:
            run.signal(signal.SIGINT)
            run.end()

    def test_two_products_side_by_side(self):
        (self.folder / "lamp.toml").write_text('[product]\nname = "lamp"\n[firmware]\npath = "%s"\n' % FIRMWARE)
        espmint("ca", "init", state=self.state)
        one = Running("prepare", "--firmware", FIRMWARE, "--port", BOARDS.take()["rfc2217"], state=self.state)
        two = Running("prepare", self.folder / "lamp.toml", "--port", BOARDS.take()["rfc2217"], state=self.state)
        self.assert_good(one.end(), "PASS")
        self.assert_good(two.end(), "PASS")
        self.assert_fault(espmint("device", "list", state=self.state), 2, "usage", "lamp", "thermostat", "--product")
        for product in ("lamp", "thermostat"):
            self.assertEqual(len(self.devices(self.state, "--product", product)), 1)
        verified = espmint("audit", "verify", state=self.state)
        self.assert_good(verified, "lamp:", "thermostat:")
        self.assert_fault(espmint("device", "list", "--product", "lmap", state=self.state), 6, "ledger-missing", "lmap")

    def test_two_first_runs_at_once_share_one_ca(self):
        (self.folder / "lamp.toml").write_text('[product]\nname = "lamp"\n[firmware]\npath = "%s"\n' % FIRMWARE)
        both = [Running("prepare", "--firmware", FIRMWARE, "--port", BOARDS.take()["rfc2217"], state=self.state),
                Running("prepare", self.folder / "lamp.toml", "--port", BOARDS.take()["rfc2217"], state=self.state)]
        for run in both:
            self.assert_good(run.end(), "PASS")


class Tampering(CommandLineTest):
    """docs/ledger.md, "The audit chain": whatever is done to the file, `audit verify` names the row."""

    def tampered(self, change):
        state = self.folder / "copy"
        if state.exists():
            shutil.rmtree(state)
        shutil.copytree(LEDGER, state)
        db = sqlite3.connect(state / "products/thermostat/ledger.db")
        triggers = db.execute("select name, sql from sqlite_master where type = 'trigger'").fetchall()
        for name, _ in triggers:
            db.execute('drop trigger "%s"' % name)
        change(db)
        for _, sql in triggers:
            db.execute(sql)
        db.commit()
        db.execute("pragma wal_checkpoint(truncate)")
        db.close()
        return espmint("audit", "verify", "--json", state=state), espmint("audit", "verify", state=state), state

    def assert_broken(self, change, *rows):
        in_json, in_words, state = self.tampered(change)
        for outcome in (in_json, in_words):
            self.assert_calm(outcome)
            self.assertIn(outcome.code, (1, 6), str(outcome))
        event = in_json.events[-1]
        self.assertIs(event["intact"], False, str(in_json))
        self.assertIn(event["broken_at"], rows, str(in_json))
        self.assertEqual(len(in_words.err.splitlines()), 1, str(in_words))
        self.assertIn(str(event["broken_at"]), in_words.err, str(in_words))
        self.assertEqual(espmint("doctor", state=state).code, 1)

    @staticmethod
    def chain(db, first=1):
        """Hashes of our own, by the documented rule."""
        previous = bytes(32)
        for seq, when, event, device, detail in db.execute("select seq, time, event, device, detail from audit order by seq").fetchall():
            text = b"".join(struct.pack("<I", len(part.encode())) + part.encode() for part in (when, event, device or "", detail))
            digest = hashlib.sha256(b"espmint-audit-v1\0" + previous + struct.pack("<Q", seq) + text).digest()
            if seq >= first:
                db.execute("update audit set previous = ?, hash = ? where seq = ?", (previous.hex(), digest.hex(), seq))
            previous = digest

    def test_the_untouched_copy_is_whole_and_follows_the_documented_rule(self):
        def check(db):
            before = db.execute("select seq, previous, hash from audit order by seq").fetchall()
            self.chain(db)
            self.assertEqual(db.execute("select seq, previous, hash from audit order by seq").fetchall(), before)
        in_json, in_words, _ = self.tampered(check)
        self.assert_good(in_json)
        self.assert_good(in_words, "the chain is whole")

    def test_a_flipped_byte(self):
        for column in ("detail", "event", "device", "time"):
            with self.subTest(column=column):
                def flip(db):
                    text, = db.execute("select %s from audit where seq = 5" % column).fetchone()
                    middle = len(text) // 2
                    db.execute("update audit set %s = ? where seq = 5" % column, (text[:middle] + chr(ord(text[middle]) ^ 1) + text[middle + 1:],))
                self.assert_broken(flip, 5)

    def test_a_dropped_row(self):
        self.assert_broken(lambda db: db.execute("delete from audit where seq = 5"), 5)

    def test_the_first_row_dropped(self):
        self.assert_broken(lambda db: db.execute("delete from audit where seq = 1"), 1)

    def test_a_dropped_row_with_the_gap_closed(self):
        def close_up(db):
            db.execute("delete from audit where seq = 5")
            for (seq,) in db.execute("select seq from audit where seq > 5 order by seq").fetchall():
                db.execute("update audit set seq = ? where seq = ?", (seq - 1, seq))
        self.assert_broken(close_up, 5)

    def test_two_rows_swapped(self):
        def swap(db):
            columns = "time, event, device, detail, previous, hash"
            a, b = (db.execute("select %s from audit where seq = ?" % columns, (seq,)).fetchone() for seq in (4, 6))
            for seq, row in ((4, b), (6, a)):
                db.execute("update audit set time=?, event=?, device=?, detail=?, previous=?, hash=? where seq = %d" % seq, row)
        self.assert_broken(swap, 4)

    def test_the_tail_cut(self):
        last = []

        def cut(db):
            last.append(db.execute("select max(seq) from audit").fetchone()[0])
            db.execute("delete from audit where seq > ?", (last[-1] - 2,))
        in_json, _, _ = self.tampered(cut)
        self.assertEqual(in_json.events[-1]["broken_at"], last[0] - 1, str(in_json))
        self.assert_broken(cut, last[0] - 1)

    def test_the_whole_chain_rewritten(self):
        def rewrite(db):
            db.execute("update audit set time = '2020-01-01T00:00:00Z' where seq = 1")
            self.chain(db)
        self.assert_broken(rewrite, 1)

    def test_the_chain_rewritten_from_a_row_on(self):
        def rewrite(db):
            detail, = db.execute("select detail from audit where seq = 5").fetchone()
            db.execute("update audit set detail = ? where seq = 5", (detail.replace("a", "b", 1),))
            self.chain(db, 5)
        self.assert_broken(rewrite, 1, 5)

    def test_every_row_gone(self):
        self.assert_broken(lambda db: db.execute("delete from audit"), 1)

    def test_a_state_changed_behind_the_chain(self):
        in_json, _, _ = self.tampered(lambda db: db.execute("update identity set state = 'BURNED' where attempt = 1"))
        self.assertEqual(in_json.code, 1, str(in_json))
        self.assertIsNotNone(in_json.events[-1]["broken_at"], str(in_json))

    def test_the_triggers_left_away_are_noticed_before_the_next_board(self):
        state = self.folder / "copy"
        shutil.copytree(LEDGER, state)
        db = sqlite3.connect(state / "products/thermostat/ledger.db")
        for (name,) in db.execute("select name from sqlite_master where type = 'trigger'").fetchall():
            db.execute('drop trigger "%s"' % name)
        db.commit()
        db.close()
        outcome = self.prepare(BOARDS.free[0], state=state)
        self.assertEqual(outcome.code, 6, str(outcome))
        self.assertIn("[ledger-damaged]", outcome.err)

    def test_the_head_lost(self):
        state = self.folder / "copy"
        shutil.copytree(LEDGER, state)
        (state / "products/thermostat/ledger.head").unlink()
        outcome = espmint("audit", "verify", state=state)
        self.assert_calm(outcome)
        self.assertIn(outcome.code, (1, 6), str(outcome))


class Images(CommandLineTest):
    def image(self):
        source = self.folder / "source"
        source.mkdir()
        (source / "readme.txt").write_text("hello")
        (source / "key.pem").write_text("-----BEGIN EC PRIVATE KEY-----\n")
        self.assert_good(espmint("image", "spiffs", "build", "--size", "64K", source, "-o", self.folder / "storage.bin"))
        return self.folder / "storage.bin"

    def test_extracting_goes_into_a_folder_named_after_the_image_and_overwrites_nothing(self):
        image = self.image()
        self.assert_good(espmint("image", "spiffs", "extract", image, cwd=self.folder))
        out = self.folder / "storage"
        self.assertEqual((out / "readme.txt").read_text(), "hello")
        self.assertEqual(stat.S_IMODE((out / "key.pem").stat().st_mode), 0o600)
        self.assert_good(espmint("image", "spiffs", "extract", image, cwd=self.folder))  # the same again changes nothing
        (out / "readme.txt").write_text("mine")
        refused = espmint("image", "spiffs", "extract", image, cwd=self.folder)
        self.assertEqual(refused.code, 3, str(refused))
        self.assertIn("readme.txt", refused.err)
        self.assertIn("--force", refused.err)
        self.assertEqual((out / "readme.txt").read_text(), "mine")
        self.assert_good(espmint("image", "spiffs", "extract", "--force", image, cwd=self.folder))
        self.assertEqual((out / "readme.txt").read_text(), "hello")


class WhatABoardReads(CommandLineTest):
    def test_a_prepared_boards_flash_is_read_by_its_own_readers(self):
        board = BOARDS.take()
        self.assert_good(self.prepare(board))
        read = espmint("sim", "read", board["flash_file"], "--json")
        self.assert_good(read)
        storage, identity = [line for line in read.events if line.get("label") == "storage"][0], read.events[-1]
        self.assertEqual((storage["kind"], storage["fault"]), ("spiffs", None))
        self.assertEqual(sorted(file["name"].strip("/") for file in storage["files"]),
                         ["aws-root-ca.pem", "certificate.pem.crt", "private.pem.key"])
        self.assertEqual((identity["partition"], identity["belongs_together"]), ("storage", True))
        exported = self.folder / "exported"
        self.assert_good(espmint("device", "export", board["mac"], "--files", exported, state=self.state))
        for file in storage["files"]:
            if "private" not in file["name"]:
                self.assertEqual(file["sha256"], hashlib.sha256((exported / file["name"].strip("/")).read_bytes()).hexdigest())
        self.assert_good(espmint("sim", "read", board["flash_file"]), "storage at 0x110000", "identity in storage", "private.pem.key")

    def test_what_does_not_mount_is_said(self):
        for kind, label, why in (("littlefs", "storage", "no LittleFS"), ("fat", "storage", "no FAT volume"), ("nvs-encrypted", "nvs_keys", "blank")):
            build, flash = self.folder / kind, self.folder / (kind + ".flash")
            self.assert_good(espmint("sim", "firmware", build, "--app-size", "64K", "--identity", kind))
            flash.write_bytes(b"\xff" * 0x8000 + (build / "partition_table/partition-table.bin").read_bytes())
            read = espmint("sim", "read", flash, "--json")
            self.assert_calm(read)
            self.assertEqual(read.code, 1, str(read))
            self.assertEqual([line["fault"] for line in read.events if line.get("label") == label], [why])
            self.assertIsNone(read.events[-1]["partition"])
        (self.folder / "blank").write_bytes(b"\xff" * 65536)
        self.assert_fault(espmint("sim", "read", self.folder / "blank"), 3, "input-invalid", "partition table")
        self.assert_fault(espmint("sim", "read", self.folder / "nothing"), 3, "input-missing")
        self.assert_fault(espmint("sim", "board", "--hmac-key", self.folder / "blank"), 3, "input-invalid", "32 bytes")
        self.assert_fault(espmint("sim", "firmware", self.folder / "x", "--identity", "paper"), 2, "usage", "littlefs")


class Records(CommandLineTest):
    def test_list_show_and_export_agree(self):
        listed = self.devices(LEDGER)
        self.assertEqual([d["state"] for d in listed], ["VERIFIED"] * 2)
        rows = list(csv.DictReader(io.StringIO(espmint("device", "export", "--csv", state=LEDGER).out)))
        self.assertEqual([r["mac"] for r in rows], [d["mac"] for d in listed])
        for row in rows:
            self.assertEqual(row["verdict"], "VERIFIED")
            for name in ("chip", "slot", "firmware_version", "firmware_sha256", "certificate_sha256", "started", "seconds"):
                self.assertTrue(row[name], name)
            self.assert_good(espmint("device", "show", row["id"], state=LEDGER), row["mac"], row["certificate_sha256"])
        exported = espmint("device", "export", "--json", state=LEDGER).events
        self.assertEqual([d["certificate_sha256"] for d in exported], [r["certificate_sha256"] for r in rows])

    def test_a_mac_is_found_however_it_is_written(self):
        mac = self.devices(LEDGER)[0]["mac"]
        self.assert_good(espmint("device", "show", mac, state=LEDGER))

    def test_a_mac_is_found_with_colons_as_board_info_prints_it(self):
        mac = self.devices(LEDGER)[0]["mac"]
        self.assert_good(espmint("device", "show", ":".join(mac[i:i + 2] for i in range(0, 12, 2)).upper(), state=LEDGER))

    def test_unknown_devices_are_said_to_be_unknown(self):
        self.assert_fault(espmint("device", "show", "nope", state=LEDGER), 2, "usage", "nope", "device list")
        self.assert_fault(espmint("device", "export", "nope", "--files", self.folder / "out", state=LEDGER), 2, "usage", "nope")
        self.assertFalse((self.folder / "out").exists())

    def test_export_without_a_format_asks_for_one(self):
        self.assert_fault(espmint("device", "export", state=LEDGER), 2, "usage", "--csv")

    def test_a_devices_files_are_its_own_and_hold_no_private_key(self):
        device = self.devices(LEDGER)[0]
        out = self.folder / "out"
        self.assert_good(espmint("device", "export", device["id"], "--files", out, state=LEDGER))
        self.assertEqual(sorted(p.name for p in out.iterdir()), ["aws-root-ca.pem", "certificate.pem.crt", "public.pem.key"])
        if shutil.which("openssl"):
            chain = subprocess.run(["openssl", "verify", "-CAfile", str(out / "aws-root-ca.pem"), str(out / "certificate.pem.crt")], capture_output=True, text=True)
            self.assertEqual(chain.returncode, 0, chain.stderr)
            key = subprocess.run(["openssl", "x509", "-in", str(out / "certificate.pem.crt"), "-noout", "-pubkey"], capture_output=True, text=True).stdout
            self.assertEqual(key, (out / "public.pem.key").read_text())

    def test_private_keys_are_kept_only_when_the_recipe_says_so_and_then_for_the_owner_alone(self):
        recipe, board = self.folder / "recipe.toml", BOARDS.take()
        recipe.write_text('[firmware]\npath = "%s"\n[identity]\nsave_private_key = true\n' % FIRMWARE)
        self.assert_good(espmint("prepare", recipe, "--port", board["rfc2217"], state=self.state), "private keys are kept")
        outcome = espmint("device", "export", board["mac"], "--files", self.folder / "out", state=self.state)
        self.assert_good(outcome, "private key")
        self.assertEqual(stat.S_IMODE((self.folder / "out/private.pem.key").stat().st_mode), 0o600)

    # BUG identified-not-recorded: a board of the wrong chip (or locked, or with too little flash) has told its MAC, but no run is
    # recorded and the verdict does not name the board.
    def test_failed_boards_are_listed_with_their_cause(self):
        recipe, board = self.folder / "recipe.toml", BOARDS.take()
        self.assertEqual(self.prepare(BOARDS.take()).code, 0)
        c3 = self.folder / "c3"
        espmint("sim", "firmware", c3, "--chip", "esp32c3", "--app-size", "64K")
        self.assertEqual(self.prepare(board, firmware=c3).code, 1)
        failed = self.devices(self.state, "--failed")
        self.assertEqual([(f["mac"], f["code"]) for f in failed], [(board["mac"], "chip-mismatch")])
        recipe.write_text('[firmware]\npath = "%s"\n' % FIRMWARE)
        self.assert_good(self.prepare(board))
        self.assertEqual(self.devices(self.state, "--failed"), [], "a board that was mended is no failed one")

    def test_failed_boards_are_exported_too(self):
        board, c3 = BOARDS.take(), self.folder / "c3"
        espmint("sim", "firmware", c3, "--chip", "esp32c3", "--app-size", "64K")
        self.prepare(board, firmware=c3)
        self.assertIn(board["mac"], espmint("device", "export", "--csv", state=self.state).out)

    def test_doctor_is_clean_on_a_good_ledger_and_finds_a_bad_one(self):
        self.assert_good(espmint("doctor", state=LEDGER), "ledger thermostat", "whole")
        self.assert_good(espmint("doctor", state=self.state))
        self.assertFalse(self.state.exists(), "doctor only reads")
        copy = self.folder / "copy"
        shutil.copytree(LEDGER, copy)
        (copy / "ca/ca.key.pem").write_text("nonsense")
        outcome = espmint("doctor", state=copy)
        self.assertEqual(outcome.code, 1, str(outcome))
        self.assertIn("WRONG", outcome.out)
        outcome = espmint("doctor", "--json", state=copy)
        self.assertTrue(all("mend" in finding for finding in outcome.events))

    def test_a_damaged_ca_is_refused_before_any_board(self):
        copy = self.folder / "copy"
        shutil.copytree(LEDGER, copy)
        (copy / "ca/ca.key.pem").write_text("nonsense")
        board = BOARDS.take()
        outcome = self.prepare(board, state=copy)
        self.assertEqual(outcome.code, 3, str(outcome))
        self.assertIn("[ca-invalid]", outcome.err)
        self.assertEqual(len(self.devices(copy)), 2)


class Runs(CommandLineTest):
    def test_a_board_that_is_verified_says_so_and_is_renewed_only_when_asked(self):
        board = BOARDS.take()
        self.assert_good(self.prepare(board), "PASS", "VERIFIED", "back this folder up")
        first = self.devices()[0]["certificate_sha256"]
        again = self.prepare(board)
        self.assert_good(again, "already VERIFIED on")
        self.assertEqual(self.devices()[0]["certificate_sha256"], first)
        self.assert_good(self.prepare(board, "--renew"), "PASS")
        self.assertNotEqual(self.devices()[0]["certificate_sha256"], first)
        self.assert_ledger_whole()

    def test_a_board_that_failed_is_listed_with_its_cause_until_it_is_mended(self):
        board = BOARDS.take()
        self.assert_good(self.prepare(board))
        self.assert_good(espmint("flash", "erase", "0x110000", "0x10000", "--port", board["rfc2217"]))
        self.assertEqual(self.prepare(board).code, 1)
        self.assertEqual([(f["mac"], f["code"]) for f in self.devices(self.state, "--failed")], [(board["mac"], "board-held")])
        self.assert_good(self.prepare(board, "--renew"), "PASS")
        self.assertEqual(self.devices(self.state, "--failed"), [])

    def test_a_board_whose_identity_was_erased_is_held_and_told_the_way_out(self):
        board = BOARDS.take()
        self.assert_good(self.prepare(board))
        self.assert_good(espmint("flash", "erase", "0x110000", "0x10000", "--port", board["rfc2217"]))
        self.assert_board_failed(self.prepare(board), 1, "board-held", "changed or erased", "--renew")
        self.assert_good(self.prepare(board, "--renew"), "PASS")

    def test_files_that_a_kept_board_does_not_get_are_said_to_be_missing(self):
        board = BOARDS.take()
        build = self.folder / "build"
        shutil.copytree(FIRMWARE, build)
        args = json.loads((build / "flasher_args.json").read_text())
        storage = next(row for row in espmint("image", "partitions", "list", "--json", build / "partition_table/partition-table.bin").events[0]["partitions"]
                       if row["subtype"] == 0x82)
        args["flash_files"][hex(storage["offset"])] = "storage.bin"
        (build / "flasher_args.json").write_text(json.dumps(args))
        source = self.folder / "source"
        source.mkdir()
        for text in ("one", "two"):
            (source / "page.html").write_text(text)
            self.assert_good(espmint("image", "spiffs", "build", "--size", str(storage["size"]), source, "-o", build / "storage.bin"))
            outcome = self.prepare(board, firmware=build)
            self.assert_good(outcome, "PASS")
            note = "storage.bin are not updated on a VERIFIED board"
            (self.assertIn if text == "two" else self.assertNotIn)(note, outcome.out + outcome.err, str(outcome))

    def test_run_ends_after_so_many_boards(self):
        boards = [BOARDS.take() for _ in range(3)]
        words = [word for board in boards for word in ("--port", board["rfc2217"])]
        outcome = espmint("run", "--firmware", FIRMWARE, "--count", "2", *words, state=self.state)
        self.assert_good(outcome, "passed 2, failed 0")
        self.assertEqual(len(self.devices()), 2)

    def test_run_goes_on_with_the_next_board_on_the_same_slot(self):
        board = BOARDS.take()
        run = Running("run", "--json", "--firmware", FIRMWARE, "--count", "2", "--port", board["rfc2217"], state=self.state)
        run.wait_for('"event":"done"')
        for line in ("unplug", "swap 24d7eb99aa01", "plug"):
            tell(board, line)
        outcome = run.end()
        self.assert_good(outcome)
        self.assertEqual({d["mac"] for d in self.devices()}, {board["mac"], "24d7eb99aa01"})

    def test_run_waits_for_a_board_that_is_not_there_yet(self):
        board = BOARDS.take()
        tell(board, "unplug")
        run = Running("run", "--firmware", FIRMWARE, "--count", "1", "--port", board["rfc2217"], state=self.state)
        run.wait_for("waiting for a board")
        time.sleep(0.3)
        tell(board, "plug")
        self.assert_good(run.end(), "passed 1, failed 0")

    def test_every_verdict_goes_to_the_on_done_program_as_json(self):
        board, note = BOARDS.take(), self.folder / "note"
        program = self.folder / "note.sh"
        program.write_text("#!/bin/sh\ncat > %s\n[ $# -eq 0 ] || echo \"$@\" > %s.arguments\n" % (note, note))
        program.chmod(0o755)
        self.assert_good(self.prepare(board, "--on-done", program))
        deadline = time.monotonic() + 3
        while (not note.exists() or not note.read_text().endswith("\n")) and time.monotonic() < deadline:
            time.sleep(0.02)
        event = json.loads(note.read_text())
        self.assertEqual((event["event"], event["mac"], event["verdict"]), ("done", board["mac"], "VERIFIED"))
        self.assertNotIn("PRIVATE", note.read_text())
        self.assertFalse(pathlib.Path(str(note) + ".arguments").exists())

    def test_an_on_done_program_that_fails_hangs_or_is_missing_spoils_no_verdict(self):
        for name, text in {"missing": None, "fails": "#!/bin/sh\nexit 7\n", "hangs": "#!/bin/sh\nexec sleep 3 >/dev/null 2>&1\n"}.items():
            with self.subTest(program=name):
                program = self.folder / name
                if text:
                    program.write_text(text)
                    program.chmod(0o755)
                outcome = self.prepare(BOARDS.take(), "--on-done", program, state=self.folder / ("state-" + name))
                self.assert_good(outcome, "PASS")
                self.assertLess(outcome.seconds, 2.9, str(outcome))
                if not text:
                    self.assertIn(str(program), outcome.out + outcome.err)

    # BUG on-done-stdout: the program writes into espmint's standard output, between (or within) its JSON lines.
    def test_an_on_done_program_does_not_write_into_the_event_stream(self):
        program = self.folder / "loud.sh"
        program.write_text("#!/bin/sh\necho printed a label\n")
        program.chmod(0o755)
        outcome = self.prepare(BOARDS.take(), "--json", "--on-done", program)
        self.assertGreater(len(outcome.events), 3)

    def interrupted(self, number, step, times=1, pause=0.0):
        board = BOARDS.take()
        run = Running("run", "--json", "--firmware", FIRMWARE, "--port", board["rfc2217"], state=self.state)
        run.wait_for(step)
        for _ in range(times):
            run.signal(number)
            time.sleep(pause)
        outcome = run.end()
        self.assert_calm(outcome)
        self.assertEqual(outcome.code, 130, str(outcome))
        summary = outcome.events[-1]
        self.assertEqual((summary["event"], summary["interrupted"]), ("summary", True), str(outcome))
        return board, outcome

    def test_signals_while_it_waits_end_it_with_a_summary(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(signal=number):
                _, outcome = self.interrupted(number, '"event":"done"')
                self.assertEqual(outcome.events[-1]["passed"], 1)
                self.assertLess(outcome.seconds, 5)

    def test_ctrl_c_before_the_key_is_out_gives_the_board_back(self):
        board, _ = self.interrupted(signal.SIGINT, '"step":"connect"')
        self.assertNotIn("EXPOSED", [d["state"] for d in self.devices()])
        self.assert_ledger_whole()
        self.assert_good(self.prepare(board), "PASS")

    def test_ctrl_c_once_finishes_a_board_that_holds_a_secret(self):
        board, outcome = self.interrupted(signal.SIGINT, '"step":"evidence"')
        self.assertEqual(outcome.events[-1]["passed"], 1, str(outcome))
        self.assertEqual([d["state"] for d in self.devices()], ["VERIFIED"])

    def test_ctrl_c_twice_stops_at_once_and_the_board_continues_later_with_one_identity(self):
        board, outcome = self.interrupted(signal.SIGINT, '"step":"evidence"', times=2, pause=0.05)
        self.assertLess(outcome.seconds, 4, str(outcome))
        self.assert_ledger_whole()
        self.assert_good(self.prepare(board), "PASS")
        self.assertEqual([d["state"] for d in self.devices()], ["VERIFIED"])
        self.assert_ledger_whole()

    def test_a_summary_in_words_is_printed_after_ctrl_c(self):
        run = Running("run", "--firmware", FIRMWARE, "--port", BOARDS.take()["rfc2217"], state=self.state)
        run.wait_for("PASS")
        run.signal(signal.SIGINT)
        outcome = run.end()
        self.assertEqual(outcome.code, 130)
        self.assertRegex(outcome.out.splitlines()[-1], r"^passed 1, failed 0.*interrupted")

    def test_a_killed_sender_of_signals_leaves_no_lock(self):
        run = Running("run", "--firmware", FIRMWARE, "--port", BOARDS.take()["rfc2217"], state=self.state)
        run.wait_for("PASS")
        run.signal(signal.SIGKILL)
        run.end()
        self.assert_good(self.prepare(BOARDS.take()), "PASS")
        self.assert_ledger_whole()

    def test_a_desk_command_is_ended_by_ctrl_c(self):
        board = BOARDS.take()
        tell(board, "power 0")
        run = Running("board", "info", "--port", board["rfc2217"])
        time.sleep(0.5)
        run.signal(signal.SIGINT)
        self.assertLess(run.end().seconds, 2)

    # BUG waits-mutely: `prepare` without a port and without a board waits for ever and says nothing of it.
    def test_prepare_without_a_board_says_that_it_waits_for_one(self):
        run = Running("prepare", "--firmware", FIRMWARE, state=self.state)
        try:
            run.wait_for("aiting for a board", 1.5)
        finally:
            run.signal(signal.SIGINT)
            run.process.wait(5)


class Flash(CommandLineTest):
    def test_reading_nothing_is_called_that(self):
        self.assert_fault(espmint("flash", "read", "0", "0", "x", "--port", "/dev/ttyNOPE"), 2, "usage", "0 bytes")

    def test_words_for_write_come_in_pairs(self):
        for words in (("0x1000",), ("0x1000", "a", "0x2000"), ()):
            with self.subTest(words=words):
                outcome = espmint("flash", "write", *words)
                self.assert_calm(outcome)
                self.assertEqual(outcome.code, 2, str(outcome))
        self.assert_fault(espmint("flash", "write", "0x1000"), 2, "usage", "OFFSET FILE")
        self.assert_fault(espmint("flash", "write", "zzz", FIRMWARE / "thermostat.bin"), 2, "usage", "zzz", "0x1000")
        self.assert_fault(espmint("flash", "write", "0x1000", "nix"), 3, "input-missing", "nix")
        self.assert_fault(espmint("flash", "write", "0x100000000", FIRMWARE / "thermostat.bin"), 2, "usage", "0x100000000")

    def test_what_does_not_fit_is_refused_before_it_is_written(self):
        board = BOARDS.take()
        app = FIRMWARE / "thermostat.bin"
        blank = pathlib.Path(board["flash_file"]).read_bytes()
        self.assert_fault(espmint("flash", "write", "0x1000", app, "0x3ff000", app, "--port", board["rfc2217"]), 1, "flash-too-small", "thermostat.bin", "4 MB")
        self.assert_fault(espmint("flash", "write", "0x1000", app, "0x2000", app, "--port", board["rfc2217"]), 2, "usage", "overlap")
        self.assert_fault(espmint("flash", "read", "0x3ff000", "8192", self.folder / "out", "--port", board["rfc2217"]), 2, "usage", "4 MB")
        self.assert_fault(espmint("flash", "read", "0xffffffff", "0xffffffff", self.folder / "out", "--port", board["rfc2217"]), 2, "usage", "4 MB")
        self.assert_fault(espmint("flash", "erase", "0x9100", "0x1000", "--port", board["rfc2217"]), 2, "usage", "4096")
        self.assert_fault(espmint("flash", "erase", "0x3ff000", "0x2000", "--port", board["rfc2217"]), 2, "usage", "4 MB")
        self.assert_fault(espmint("flash", "erase", "0x9000", "--port", board["rfc2217"]), 2, "usage", "--all")
        self.assertEqual(pathlib.Path(board["flash_file"]).read_bytes(), blank)
        self.assertFalse((self.folder / "out").exists())

    def test_what_was_written_is_verified_and_read_back(self):
        board, data = BOARDS.take(), self.folder / "data"
        data.write_bytes(os.urandom(5001))
        port = ("--port", board["rfc2217"])
        self.assert_good(espmint("flash", "write", "0x20000", data, *port), "verified")
        self.assert_good(espmint("flash", "verify", "0x20000", data, *port), "equal")
        self.assert_fault(espmint("flash", "verify", "0x21000", data, *port, "-q"), 1, "flash-differs", "data", "0x21000")
        self.assert_good(espmint("flash", "read", "0x20000", "5001", self.folder / "back", *port, "-q"))
        self.assertEqual((self.folder / "back").read_bytes(), data.read_bytes())

    # BUG unaligned-write: 0x20800 erases the sector from 0x20000 on: what lay before is gone without a word.
    def test_a_write_within_a_sector_destroys_nothing_beside_it(self):
        board, data = BOARDS.take(), self.folder / "data"
        data.write_bytes(os.urandom(4096))
        port = ("--port", board["rfc2217"])
        self.assert_good(espmint("flash", "write", "0x20000", data, *port))
        outcome = espmint("flash", "write", "0x20800", data, *port)
        kept = pathlib.Path(board["flash_file"]).read_bytes()[0x20000:0x20800] == data.read_bytes()[:0x800]
        self.assertTrue(kept or outcome.code == 2, str(outcome))

    def test_a_file_that_cannot_be_written_is_found_before_the_flash_is_read(self):
        self.assert_fault(espmint("flash", "read", "0", "4096", "/nonexistent/out", "--port", "/dev/ttyNOPE"), 3, "output-unwritable", "/nonexistent/out")

    # BUG replaces-device: the target is replaced by rename, also when it is a pipe or a device (as root even /dev/full, /dev/null).
    def test_reading_into_a_pipe_leaves_it_a_pipe(self):
        fifo = self.folder / "fifo"
        os.mkfifo(fifo)
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        espmint("flash", "read", "0", "4096", fifo, "--port", BOARDS.take()["rfc2217"])
        self.assertTrue(stat.S_ISFIFO(fifo.lstat().st_mode))


# ---------------------------------------------------------------------------------------------------- the bench

def setUpModule():
    global FIRMWARE, BOARDS, LEDGER
    FIRMWARE, LEDGER = WORK / "firmware", WORK / "ledger"
    (WORK / "home").mkdir()
    made = espmint("sim", "firmware", FIRMWARE, "--app-size", "64K")
    if made.code != 0:
        raise RuntimeError(str(made))
    BOARDS = Boards(BOARD_COUNT, WORK / "boards")
    words = [word for board in (BOARDS.take(), BOARDS.take()) for word in ("--port", board["rfc2217"])]
    made = espmint("prepare", "--firmware", FIRMWARE, *words, state=LEDGER)
    if made.code != 0:
        raise RuntimeError(str(made))


def tearDownModule():
    if BOARDS:
        BOARDS.close()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    if len(sys.argv) == 1:
        sys.exit(side_by_side.run(PROGRAM))
    with tempfile.TemporaryDirectory(prefix="espmint-cli-") as work:
        WORK = pathlib.Path(work)
        sys.exit(not unittest.main(exit=False).result.wasSuccessful())
