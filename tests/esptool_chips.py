#!/usr/bin/env python3
"""Lets a real esptool loose on a virtual board of every chip: the arbiter of whether a board answers as its chip does.

    tests/esptool_chips.py /path/to/esptool.py [--program build/espmint] [--chips esp32c6,esp32p4]

Not part of ctest: esptool is under the GPL and no part of espmint; it runs as a black box over RFC 2217, by the python3
that runs this script, which needs what esptool needs (pyserial, …). Without it this skips. What comes back is compared
with the board's flash file, so that no half of a mistake can agree with the other. Prints a table for docs/esptool.md.
"""
import argparse
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import time

# What esptool calls the chip, and the crystal it must find.
CHIPS = {
    "esp8266": ("ESP8266", 26), "esp32": ("ESP32", 40), "esp32s2": ("ESP32-S2", 40), "esp32s3": ("ESP32-S3", 40),
    "esp32c2": ("ESP32-C2", 26), "esp32c3": ("ESP32-C3", 40), "esp32c5": ("ESP32-C5", 48), "esp32c6": ("ESP32-C6", 40),
    "esp32c61": ("ESP32-C61", 40), "esp32h2": ("ESP32-H2", 32), "esp32p4": ("ESP32-P4", 40),
}
WITHOUT_SECURITY_INFO = ("esp8266", "esp32")
WIDE_FLASH = {"4": ("esp32s3", "esp32p4"), "5": ("esp32s3", "esp32p4", "esp32c5", "esp32c61")}  # by major version
SECONDS = 120  # for one command of esptool


class Board:
    """`espmint sim board` of one chip; `json` is its line."""

    def __init__(self, program, chip, *options):
        self.process = subprocess.Popen([program, "sim", "board", "--chip", chip, "--preset", "instant", *options],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(self.process.stderr.read())
        self.json = json.loads(line)

    def flash(self, at, size):
        with open(self.json["flash_file"], "rb") as file:
            file.seek(at)
            return file.read(size)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


class Esptool:
    def __init__(self, path):
        self.command = [sys.executable, str(path)]

    def version(self):
        out = subprocess.run(self.command + ["version"], capture_output=True, text=True, timeout=SECONDS)
        found = re.search(r"v?(\d+\.\d+\S*)", out.stdout)
        return found.group(1) if found else None

    def __call__(self, board, *arguments):
        """Exit code and output."""
        out = subprocess.run(self.command + ["-p", board.json["rfc2217"], *map(str, arguments)], capture_output=True,
                             text=True, timeout=SECONDS)
        return out.returncode, out.stdout + out.stderr


class Check:
    """One chip's steps; each is a method whose name is its column."""

    steps = ("mac", "flash_id", "stub", "verify", "read", "erase", "rom", "rom_read", "security", "secure_download", "wide")

    def __init__(self, esptool, program, chip, folder):
        self.esptool, self.program, self.chip, self.folder = esptool, program, chip, folder
        self.name, self.crystal = CHIPS[chip]
        dice = random.Random(chip)
        words = [bytes(dice.randrange(256) for _ in range(12)) for _ in range(400)]
        self.content = b"".join(dice.choice(words) for _ in range(8000))[:90_000]
        self.file = folder / f"{chip}.bin"
        self.file.write_bytes(self.content)

    def tool(self, *arguments, board=None, want=()):
        code, out = self.esptool(board or self.board, *arguments)
        problem = None if code == 0 else f"exit {code}"
        for text in want:
            if not re.search(text, out):
                problem = problem or f"no {text!r}"
        if problem:
            raise AssertionError(f"{problem}: {' '.join(map(str, arguments))}\n{out[-1500:]}")
        return out

    def mac(self):
        mac = ":".join(self.board.json["mac"].replace(":", "")[i:i + 2] for i in range(0, 12, 2))
        out = self.tool("read_mac", want=[re.escape(self.name) + r"\b(?!-)", "(?i)" + mac, rf"{self.crystal} ?MHz"])
        revision = re.search(r"revision (v\d\.\d)", out)
        return revision.group(1) if revision else "yes"

    def flash_id(self):
        self.tool("flash_id", want=[r"(?i)\bc8\b", r"4016", "4MB"])
        self.tool("--no-stub", "flash_id", want=[r"(?i)\bc8\b", r"4016", "4MB"])

    def stub(self):
        self.tool("-b", 921600, "write_flash", "0x10000", self.file, want=["Hash of data verified"])
        assert self.board.flash(0x10000, len(self.content)) == self.content, "the flash file differs"

    def verify(self):
        self.tool("-b", 460800, "verify_flash", "0x10000", self.file, want=["(?i)digest matched"])

    def read(self):
        back = self.folder / "back.bin"
        self.tool("-b", 460800, "read_flash", "0x10000", len(self.content), back)
        assert back.read_bytes() == self.content, "what was read differs"

    def erase(self):
        self.tool("erase_region", "0x10000", "0x2000")
        assert self.board.flash(0x10000, 0x2000) == b"\xff" * 0x2000, "not blank"
        assert self.board.flash(0x12000, 64) == self.content[0x2000:0x2040], "too much erased"
        self.tool("erase_flash")
        assert self.board.flash(0, 4 << 20).count(b"\xff") == 4 << 20, "not blank"

    def rom(self):
        # The ESP8266's ROM has no digest and keeps its baud.
        want = [] if self.chip == "esp8266" else ["Hash of data verified"]
        baud = 115200 if self.chip == "esp8266" else 460800
        at, behind = 0x2D000, 0x2D000 + (len(self.content) + 0xfff & ~0xfff)
        old = self.folder / "old.bin"
        old.write_bytes(bytes(behind - at) + self.content[:4096])  # zeros: only an erase makes ones of them
        self.tool("-b", 921600, "write_flash", hex(at), old, want=["Hash of data verified"])
        self.tool("--no-stub", "-b", baud, "write_flash", hex(at), self.file, want=want)
        assert self.board.flash(at, len(self.content)) == self.content, "the flash file differs"
        # The ESP8266's ROM erases more than it is asked; esptool asks for less.
        assert self.board.flash(behind, 4096) == self.content[:4096], "what lay behind was erased"

    def rom_read(self):
        if self.chip == "esp8266":
            return "none"
        back = self.folder / "back.bin"
        self.tool("--no-stub", "read_flash", "0x2d000", 2048, back)
        assert back.read_bytes() == self.content[:2048], "what was read differs"

    def security(self):
        if self.chip in WITHOUT_SECURITY_INFO:
            return "none"
        with Board(self.program, self.chip, "--secure-boot", "--flash-encryption") as board:
            self.tool("--no-stub", "get_security_info", board=board,
                      want=["(?i)secure boot: enabled", "(?i)flash encryption: enabled"])

    def secure_download(self):
        if self.chip in WITHOUT_SECURITY_INFO:
            return "none"
        with Board(self.program, self.chip, "--secure-download", "--flash-size", "4MB") as board:
            self.tool("--chip", self.chip, "--no-stub", "write_flash", "--flash_size", "4MB", "0x300000", self.file, board=board)
            assert board.flash(0x300000, len(self.content)) == self.content, "the flash file differs"
            code, out = self.esptool(board, "--chip", self.chip, "--no-stub", "dump_mem", "0x40001000", 16,
                                     self.folder / "memory.bin")
            assert code != 0, "memory was read in Secure Download Mode"

    def wide(self):
        if self.chip not in WIDE_FLASH.get(self.esptool.version()[0], ()):
            return "–"
        with Board(self.program, self.chip, "--flash-size", "32MB") as board:
            self.tool("-b", 921600, "write_flash", "0x1800000", self.file, board=board, want=["Hash of data verified"])
            assert board.flash(0x1800000, len(self.content)) == self.content, "the flash file differs"

    def run(self):
        results = {}
        with Board(self.program, self.chip) as self.board:
            for step in self.steps:
                begin = time.monotonic()
                try:
                    results[step] = getattr(self, step)() or "yes"
                except (AssertionError, subprocess.TimeoutExpired) as problem:
                    results[step] = "NO"
                    print(f"{self.chip} {step}: {problem}", file=sys.stderr)
                    if step == "mac":
                        return results
                print(f"{self.chip} {step}: {results[step]} ({time.monotonic() - begin:.1f} s)", flush=True)
        return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("esptool", help="esptool.py of a checkout")
    parser.add_argument("--program", default=os.environ.get("ESPMINT", "build/espmint"))
    parser.add_argument("--chips", default=",".join(CHIPS))
    parser.add_argument("--steps", default=",".join(Check.steps))
    arguments = parser.parse_args()
    if not pathlib.Path(arguments.esptool).exists():
        print(f"skipped: no esptool at {arguments.esptool}")
        return 0
    esptool = Esptool(arguments.esptool)
    version = esptool.version()
    if not version:
        print("skipped: this esptool does not run (are its Python packages there?)")
        return 0
    Check.steps = tuple(step for step in Check.steps if step in arguments.steps.split(","))
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        for chip in arguments.chips.split(","):
            rows[chip] = Check(esptool, arguments.program, chip, pathlib.Path(folder)).run()
    print(f"\n| {version} | " + " | ".join(Check.steps) + " |\n|---|" + "---|" * len(Check.steps))
    for chip, row in rows.items():
        print(f"| {chip} | " + " | ".join(row.get(step, "") for step in Check.steps) + " |")
    return 1 if any("NO" in row.values() for row in rows.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
