#!/usr/bin/env python3
"""The program on plain ptys: with modem lines that a preload shim plays, and without any.

  pty_test.py ESPMINT [unittest's arguments]

Some boards stand behind an Emulator: a pty that never garbles a byte whatever the speeds, and that is slow to answer, as
an emulator of the chip is. Exit 77 when there is no C compiler for the shim.
"""
import collections
import ctypes
import fcntl
import itertools
import json
import os
import pathlib
import random
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import tty
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import side_by_side  # noqa: E402
CHANGE_BAUDRATE = b"\xc0\x00\x0f\x08\x00"  # how such a frame begins
TCGETS2, TCSETS2, BOTHER, CBAUD, IBSHIFT = 0x802C542A, 0x402C542B, 0o10000, 0o10017, 16
PROGRAM, SHIM, FOLDER, NUMBERS = "", None, None, itertools.count()


def speed_of(fd):
    return struct.unpack("=4I20B2I", fcntl.ioctl(fd, TCGETS2, bytes(44)))[-1]


def set_speed(fd, speed):
    line = list(struct.unpack("=4I20B2I", fcntl.ioctl(fd, TCGETS2, bytes(44))))
    line[2] = line[2] & ~(CBAUD | CBAUD << IBSHIFT) | BOTHER | BOTHER << IBSHIFT
    line[-2:] = [speed, speed]
    fcntl.ioctl(fd, TCSETS2, struct.pack("=4I20B2I", *line))


def tell(control, line):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(control)
        s.sendall(line.encode() + b"\n")
        answer = s.recv(200).decode().strip()
    if answer != "ok":
        raise AssertionError("control %r answered %r" % (line, answer))


def end_with_us():
    """In a child before it is the program: a test that is killed leaves no boards behind."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


class Board:
    """One virtual board of the program under test."""

    def __init__(self, *arguments):
        command = [PROGRAM, "sim", "board", "--count", "1", "--preset", "instant", "--json", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=end_with_us)
        about = json.loads(self.process.stdout.readline())
        self.mac, self.pty, self.control, self.flash_file = (about[k] for k in ("mac", "pty", "control", "flash_file"))

    def flash(self, offset, size):
        with open(self.flash_file, "rb") as file:
            file.seek(offset)
            return file.read(size)

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        self.process.stdout.close()


class Emulator:
    """A pty and a control socket in front of a board that behave as an emulator's.

    The board understands every byte, for its speed is only known here: set when the ROM or stub is asked for another and
    the host follows, back to 115200 at a reset. `latency` delays every answer; for `boot` seconds after a reset, and for
    `asleep` seconds after the first byte ever (it looks for an opened pty only now and then), bytes wait in the pty.
    """

    def __init__(self, board, latency=0.0, boot=0.0, asleep=0.0):
        self.board, self.latency, self.boot, self.asleep = board, latency, boot, asleep
        self.mac, self.flash, self.flash_file = board.mac, board.flash, board.flash_file
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        set_speed(self.slave, 115200)
        self.pty = os.ttyname(self.slave)
        self.wire = os.open(os.path.realpath(board.pty), os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self.wire)
        set_speed(self.wire, 115200)
        for fd in (self.master, self.wire):
            os.set_blocking(fd, False)
        self.speed, self.change_asked, self.tail = 115200, False, b""
        self.held_until, self.first_byte, self.rts = 0.0, True, False
        self.deaf_to_lines = False  # they are not wired
        self.to_board, self.to_host = collections.deque(), collections.deque()
        self.control = str(FOLDER / ("emulator%d" % next(NUMBERS)))
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.control)
        self.listener.listen()
        self.running = True
        self.broken = None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def close(self):
        self.running = False
        self.thread.join()
        for fd in (self.master, self.slave, self.wire):
            os.close(fd)
        self.listener.close()
        if self.broken:
            raise self.broken

    def run(self):
        clients = []
        try:
            while self.running:
                self.turn(clients)
        except Exception as error:  # told by close(); the shim must not wait for an answer meanwhile
            self.broken = error
        for one in clients:
            one.close()

    def turn(self, clients):
        self.follow_speed()
        ready, _, _ = select.select([self.master, self.wire, self.listener, *clients], [], [], 0.002)
        now = time.monotonic()
        for one in ready:
            if one is self.listener:
                clients.append(self.listener.accept()[0])
            elif one == self.master:
                self.from_host(os.read(self.master, 65536), now)
            elif one == self.wire:
                self.to_host.append((now + self.latency, os.read(self.wire, 65536)))
            elif not self.play_lines(one):
                clients.remove(one)
                one.close()
        self.deliver(self.to_board, self.wire)
        self.deliver(self.to_host, self.master)

    def from_host(self, data, now):
        if self.first_byte:
            self.first_byte, self.held_until = False, max(self.held_until, now + self.asleep)
        self.change_asked |= CHANGE_BAUDRATE in self.tail + data
        self.tail = (self.tail + data)[1 - len(CHANGE_BAUDRATE):]
        self.to_board.append((now, data))

    def follow_speed(self):
        wanted = speed_of(self.slave)
        if self.change_asked and wanted != self.speed:
            self.change_asked, self.speed = False, wanted
            set_speed(self.wire, wanted)

    def play_lines(self, client):
        """Whether the client is still there."""
        lines = client.recv(1000).decode().splitlines()
        for line in lines:
            if not self.deaf_to_lines:
                self.play(line)
            client.sendall(b"ok\n")
        return bool(lines)

    def play(self, line):
        if line == "rts 1":
            self.to_host.clear()
        if line == "rts 0" and self.rts:
            self.held_until = max(self.held_until, time.monotonic() + self.boot)
            self.speed, self.change_asked = 115200, False
            set_speed(self.wire, 115200)
        if line.startswith("rts"):
            self.rts = line == "rts 1"
        tell(self.board.control, line)

    def deliver(self, queue, fd):
        while queue and max(queue[0][0], self.held_until) <= time.monotonic():
            due, data = queue.popleft()
            try:
                data = data[os.write(fd, data):]
            except BlockingIOError:  # the other side is busy: again in a moment
                queue.appendleft((due, data))
                return
            if data:
                queue.appendleft((due, data))


class PtyTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=FOLDER))
        self.log = self.folder / "ioctls"
        dice = random.Random(self.id())
        self.first = self.file("first.bin", b"a table, say. " * 2000)
        self.second = self.file("second.bin", dice.randbytes(70001))

    def file(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        return path

    def board(self, *arguments, emulator=None):
        board = Board(*arguments)
        self.addCleanup(board.close)
        if emulator is not None:
            board = Emulator(board, **emulator)
            self.addCleanup(board.close)
        return board

    def espmint(self, board, *arguments, shim=True, lacks="", expect=0):
        """Runs the program on the board's pty; the JSON lines it printed. `expect` None: with whatever exit code."""
        environment = dict(os.environ, HOME=str(self.folder), ESPMINT_STATE=str(self.folder / "state"))
        for name in ("LD_PRELOAD", "ESPMINT_SHIM_CONTROL", "ESPMINT_SHIM_LOG", "ESPMINT_SHIM_LACKS"):
            environment.pop(name, None)
        if shim:
            environment.update(LD_PRELOAD=str(SHIM), ESPMINT_SHIM_CONTROL=board.control, ESPMINT_SHIM_LOG=str(self.log),
                               ESPMINT_SHIM_LACKS=lacks)
        command = [PROGRAM, *map(str, arguments), "--port", board.pty, "--json"]
        done = subprocess.run(command, env=environment, cwd=self.folder, capture_output=True, text=True, timeout=60)
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        if expect is not None:
            self.assertEqual(done.returncode, expect, "%s\n%s%s" % (" ".join(command), done.stdout, done.stderr))
        return lines

    def write_both(self, board, *options, **how):
        self.espmint(board, "flash", "write", "0x8000", self.first, "0x10000", self.second, *options, **how)
        self.assertEqual(board.flash(0x8000, 28000), self.first.read_bytes())
        self.assertEqual(board.flash(0x10000, 70001), self.second.read_bytes())

    def prepare(self, board, *options, **how):
        if not (self.folder / "firmware").exists():
            subprocess.run([PROGRAM, "sim", "firmware", "--app-size", "64K", str(self.folder / "firmware")], check=True,
                           capture_output=True)
        lines = self.espmint(board, "prepare", "--firmware", self.folder / "firmware", *options, **how)
        return [line for line in lines if line.get("event") == "done"][-1]

    def into_download_mode(self, board):
        for line in ("dtr 0", "rts 1", "dtr 1", "rts 0"):
            tell(board.control, line)
        time.sleep(0.5)  # EN is up and the ROM listens
        tell(board.control, "dtr 0")


class WithModemLines(PtyTest):
    def test_says_who_the_board_is(self):
        board = self.board()
        info, = self.espmint(board, "board", "info")
        self.assertEqual((info["mac"], info["chip"], info["flash_size"]), (board.mac, "esp32", 4 << 20))

    def test_writes_verifies_reads_and_erases(self):
        board = self.board("--dirty")
        for options in ([], ["--no-stub"]):
            with self.subTest(options=options):
                self.write_both(board, *options)
                self.espmint(board, "flash", "verify", "0x8000", self.first, "0x10000", self.second, *options)
                copy = self.folder / "copy"
                self.espmint(board, "flash", "read", "0x8000", "0x20000" if not options else "0x1000", copy, *options)
                self.assertEqual(copy.read_bytes(), board.flash(0x8000, copy.stat().st_size))
                self.espmint(board, "flash", "erase", "0x8000", "0x2000", *options)
                self.assertEqual(board.flash(0x8000, 0x2000), b"\xff" * 0x2000)
                self.espmint(board, "flash", "verify", "0x8000", self.first, expect=1)

    def test_runs_at_any_speed(self):
        board = self.board()
        for baud in ("115200", "921600", "2000000"):
            for options in ([], ["--no-stub"]):
                with self.subTest(baud=baud, options=options):
                    self.espmint(board, "flash", "erase", "0x8000", "0x30000")
                    self.write_both(board, "--baud", baud, *options)

    def test_prepares_a_board(self):
        board = self.board()
        done = self.prepare(board)
        self.assertEqual((done["verdict"], done["mac"]), ("VERIFIED", board.mac))
        self.assertEqual(self.prepare(board)["verdict"], "VERIFIED")

    def test_prepares_a_c3(self):
        board = self.board("--chip", "esp32c3")
        subprocess.run([PROGRAM, "sim", "firmware", "--chip", "esp32c3", "--app-size", "64K", str(self.folder / "firmware")],
                       check=True, capture_output=True)
        self.assertEqual(self.prepare(board)["verdict"], "VERIFIED")

    def test_sets_the_lines_one_by_one_where_they_cannot_be_set_together(self):
        for lacks in ("tiocmset", "tiocmget", "tiocmget,tiocmset"):
            with self.subTest(lacks=lacks):
                board = self.board()
                info, = self.espmint(board, "board", "info", lacks=lacks)
                self.assertEqual(info["mac"], board.mac)
                self.assertEqual(self.prepare(board, lacks=lacks)["verdict"], "VERIFIED")
                shutil.rmtree(self.folder / "state")

    def test_leaves_the_lines_alone_when_told_to(self):
        board = self.board()
        self.into_download_mode(board)
        self.espmint(board, "board", "info", "--no-reset")
        self.assertFalse(self.log.exists(), "opening or closing touched the lines")

    def test_ends_with_both_lines_released(self):
        board = self.board()
        self.espmint(board, "board", "info")
        changes = [line for line in self.log.read_text().splitlines() if not line.startswith("tiocm")]
        last = {line.split()[0]: line.split()[1] for line in changes}
        self.assertEqual(last, {"dtr": "0", "rts": "0"})


class WithoutModemLines(PtyTest):
    def test_uses_a_board_that_is_in_download_mode(self):
        board = self.board()
        self.into_download_mode(board)
        info, = self.espmint(board, "board", "info", shim=False)
        self.assertEqual(info["mac"], board.mac)
        self.write_both(board, shim=False)

    def test_finds_the_board_again_with_each_command(self):
        board = self.board()
        self.into_download_mode(board)
        for options in (["--no-stub"], [], [], ["--no-stub"], []):
            with self.subTest(options=options):
                self.write_both(board, *options, shim=False)

    def test_stays_usable_after_stay(self):
        board = self.board()
        self.write_both(board, "--stay")
        copy = self.folder / "copy"
        self.espmint(board, "flash", "read", "0x10000", "0x4000", copy, "--no-reset")
        self.assertEqual(copy.read_bytes(), board.flash(0x10000, 0x4000))

    def test_ends_at_written_and_says_why(self):
        board = self.board()
        self.into_download_mode(board)
        done = self.prepare(board, shim=False, expect=1)
        self.assertEqual((done["verdict"], done["mac"]), ("WRITTEN", board.mac))
        self.assertEqual(done["code"], "no-reset-lines", done)
        self.assertIn("DTR", done["fault"])

    def test_says_so_when_the_board_runs_its_application(self):
        board = self.board()
        fault = self.espmint(board, "board", "info", shim=False, expect=4)[-1]
        self.assertIn("no reset lines", json.dumps(fault))


class BehindAnEmulator(PtyTest):
    def everything(self, board, **how):
        info, = self.espmint(board, "board", "info", **how)
        self.assertEqual((info["mac"], info["flash_size"]), (board.mac, 4 << 20))
        for options in ([], ["--no-stub"]):
            self.write_both(board, *options, **how)
        self.assertEqual(self.prepare(board, **how)["verdict"], "VERIFIED")

    def test_does_everything(self):
        self.everything(self.board(emulator={}))

    def test_waits_for_a_rom_that_is_slow_to_boot(self):
        for boot in (0.15, 0.3, 0.6, 0.9):
            with self.subTest(boot=boot):
                board = self.board(emulator={"boot": boot})
                info, = self.espmint(board, "board", "info")
                self.assertEqual((info["mac"], info["flash_size"]), (board.mac, 4 << 20))
                self.write_both(board)

    def test_waits_for_an_emulator_that_looks_now_and_then(self):
        board = self.board(emulator={"asleep": 1.1})
        info, = self.espmint(board, "board", "info")
        self.assertEqual((info["mac"], info["flash_size"]), (board.mac, 4 << 20))

    def test_takes_late_answers_for_what_they_answer(self):
        # Longer than the program waits before it asks again: an answer must not be taken for that of a later question.
        for latency in (0.07, 0.2):
            with self.subTest(latency=latency):
                board = self.board(emulator={"latency": latency})
                self.espmint(board, "flash", "write", "0x8000", self.first)
                self.assertEqual(board.flash(0x8000, 28000), self.first.read_bytes())

    def test_is_not_taken_in_by_a_stub_that_no_line_resets(self):
        board = self.board(emulator={})
        self.into_download_mode(board)
        self.write_both(board, shim=False)
        board.deaf_to_lines = True
        fault = self.espmint(board, "board", "info", expect=None)[-1]
        self.assertEqual(fault["code"], "no-reset-lines", fault)
        info, = self.espmint(board, "board", "info", "--no-reset")
        self.assertEqual(info["mac"], board.mac)

    def test_is_not_taken_in_by_a_rom_that_no_line_resets(self):
        # The ROM waits in download mode and answers at once: that is no reset, and evidence without one is none.
        board = self.board(emulator={})
        self.into_download_mode(board)
        board.deaf_to_lines = True
        done = self.prepare(board, "--no-stub", expect=1)
        self.assertEqual((done["verdict"], done["code"]), ("WRITTEN", "no-reset-lines"), done)
        self.assertIn("boot message", done["fault"])

    def test_meets_its_own_stub_again_on_a_plain_pty(self):
        board = self.board(emulator={})
        self.into_download_mode(board)
        for options in ([], [], ["--no-stub"]):
            with self.subTest(options=options):
                self.write_both(board, *options, shim=False)
                info, = self.espmint(board, "board", "info", shim=False)
                self.assertEqual((info["mac"], info["flash_size"]), (board.mac, 4 << 20))
        self.assertEqual(self.prepare(board, shim=False, expect=1)["verdict"], "WRITTEN")


def main():
    global PROGRAM, SHIM, FOLDER
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    PROGRAM = str(pathlib.Path(sys.argv.pop(1)).resolve())
    if len(sys.argv) == 1:
        sys.exit(side_by_side.run(PROGRAM, tests_each=1))
    compiler = shutil.which("cc")
    if not compiler:
        print("SKIPPED: there is no C compiler (cc) for the modem-line shim", file=sys.stderr)
        sys.exit(77)
    with tempfile.TemporaryDirectory(prefix="espmint-pty-") as folder:
        FOLDER = pathlib.Path(folder)
        SHIM = FOLDER / "modem_shim.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-o", str(SHIM), str(HERE / "modem_shim.c"),
                        "-ldl", "-pthread"], check=True)
        result = unittest.main(exit=False, verbosity=2).result
    sys.exit(not result.wasSuccessful())


if __name__ == "__main__":
    main()
