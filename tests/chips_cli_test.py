#!/usr/bin/env python3
"""Every chip through the real program: told at the desk, written and read, refused where it is locked, prepared.

  chips_cli_test.py ESPMINT [UNITTEST WORDS ...]

Virtual boards over RFC 2217 (preset instant), one process of them per chip.
"""
import os
import pathlib
import sys
import tempfile
import unittest

import cli_test as cli
import side_by_side
from cli_test import Boards, espmint

WITH_RECIPES = ("esp32", "esp32s2", "esp32s3", "esp32c2", "esp32c3", "esp32c5", "esp32c6", "esp32c61", "esp32h2", "esp32p4")
EVERY_CHIP = WITH_RECIPES + ("esp8266",)
CRYSTAL = {"esp32h2": (32,), "esp32c5": (40, 48), "esp32c2": (26, 40), "esp8266": (26, 40)}


class ChipTest(cli.CommandLineTest):
    def board(self, chip, *options):
        boards = Boards(1, self.folder / ("boards-" + chip), "--chip", chip, *options)
        self.addCleanup(boards.close)
        return boards.take()

    def part(self, size=20000):
        path = self.folder / "part.bin"
        path.write_bytes(os.urandom(size // 2) + bytes(size - size // 2))
        return path

    def info(self, board):
        outcome = espmint("board", "info", "--json", "--port", board["rfc2217"])
        self.assert_good(outcome)
        return outcome.events[0]


class EveryChip(ChipTest):
    def test_is_told_at_the_desk(self):
        for chip in EVERY_CHIP:
            with self.subTest(chip):
                board = self.board(chip)
                told = self.info(board)
                self.assertEqual((told["chip"], told["mac"], told["console"]), (chip, board["mac"], "UART"))
                self.assertIn(told["crystal_mhz"], CRYSTAL.get(chip, (40,)))
                self.assertFalse(told["secure_boot"] or told["flash_encryption"] or told["secure_download"] or told["burning"])
                self.assertEqual(len(told["keys"]), 0 if chip in ("esp32", "esp32c2", "esp8266") else 6)
                self.assert_good(espmint("board", "info", "--port", board["rfc2217"]), "burning eFuses", "not offered")

    def test_is_written_verified_read_and_erased(self):
        for chip in EVERY_CHIP:
            with self.subTest(chip):
                board, part, back = self.board(chip), self.part(), self.folder / "back.bin"
                port = ("--port", board["rfc2217"])
                self.assert_good(espmint("flash", "write", "0x10000", part, *port), "verified")
                self.assert_good(espmint("flash", "verify", "0x10000", part, *port), "equal")
                self.assert_good(espmint("flash", "read", "0x10000", str(part.stat().st_size), back, *port))
                self.assertEqual(back.read_bytes(), part.read_bytes())
                self.assert_good(espmint("flash", "erase", "0x10000", "0x5000", *port))
                flash = pathlib.Path(board["flash_file"]).read_bytes()
                self.assertEqual(flash[0x10000:0x15000], b"\xff" * 0x5000)

    def test_of_the_esp8266_the_rom_alone_is_not_trusted_with_the_flash(self):
        board = self.board("esp8266")
        before = pathlib.Path(board["flash_file"]).read_bytes()
        for words in (("write", "0x10000", self.part()), ("erase", "0x10000", "0x1000"), ("verify", "0x10000", self.part())):
            self.assert_fault(espmint("flash", *words, "--no-stub", "--port", board["rfc2217"]), 1, "command-refused",
                              "cannot prove", "stub flasher")
        self.assertEqual(pathlib.Path(board["flash_file"]).read_bytes(), before)

    def test_is_prepared(self):
        for chip in WITH_RECIPES:
            with self.subTest(chip):
                board, firmware = self.board(chip), self.folder / ("firmware-" + chip)
                made = espmint("sim", "firmware", firmware, "--chip", chip, "--app-size", "64K")
                self.assert_good(made)
                outcome = self.prepare(board, "--json", firmware=firmware, state=self.folder / ("state-" + chip))
                done = [event for event in outcome.events if event["event"] == "done"][-1]
                self.assertEqual((done["verdict"], done["chip"], done["evidence"]), ("VERIFIED", chip, "rom-digest+challenge"), str(outcome))


class LockedBoards(ChipTest):
    def test_are_refused_before_a_byte_is_written_unless_forced(self):
        for chip, lock in (("esp32", "--flash-encryption"), ("esp32c6", "--flash-encryption"), ("esp32s3", "--secure-boot")):
            with self.subTest(chip + " " + lock):
                board, part = self.board(chip, lock), self.part()
                before = pathlib.Path(board["flash_file"]).read_bytes()
                refused = espmint("flash", "write", "0x10000", part, "--port", board["rfc2217"])
                self.assert_fault(refused, 1, "board-locked", "locked", "--force")
                self.assertEqual(pathlib.Path(board["flash_file"]).read_bytes(), before)
                self.assert_good(espmint("flash", "write", "--force", "0x10000", part, "--port", board["rfc2217"]), "verified")
                told = self.info(board)
                self.assertTrue(told["flash_encryption"] or told["secure_boot"])

    def test_are_refused_before_anything_is_erased_unless_forced(self):
        for chip, lock, way_out in (("esp32", "--flash-encryption", "flash write --encrypt"), ("esp32c6", "--flash-encryption", "flash write --encrypt"),
                                    ("esp32s3", "--secure-boot", "signed images")):
            with self.subTest(chip + " " + lock):
                board = self.board(chip, lock)
                port, flash = ("--port", board["rfc2217"]), pathlib.Path(board["flash_file"])
                self.assert_good(espmint("flash", "write", "--force", "0x10000", self.part(), *port))
                before = flash.read_bytes()
                self.assert_fault(espmint("flash", "erase", "0x10000", "0x10000", *port), 1, "board-locked", "Nothing was erased", "--force", way_out)
                self.assert_fault(espmint("flash", "erase", "--all", *port), 1, "board-locked", "Nothing was erased")
                if lock == "--secure-boot":
                    self.assert_fault(espmint("flash", "erase", "--all", "--force", *port), 1, "board-locked", "bootloader", "0x8000")
                self.assertEqual(flash.read_bytes(), before)
                self.assert_good(espmint("flash", "erase", "0x10000", "0x10000", "--force", *port), "erased")
                self.assertEqual(flash.read_bytes()[0x10000:0x20000], b"\xff" * 0x10000)

    def test_say_in_secure_download_mode_what_they_are_and_are_refused(self):
        for chip in ("esp32s2", "esp32c3", "esp32h2"):
            with self.subTest(chip):
                board = self.board(chip, "--secure-download")
                told = self.info(board)
                self.assertEqual((told["chip"], told["mac"], told["revision"], told["secure_download"]), (chip, None, None, True))
                self.assert_good(espmint("board", "info", "--port", board["rfc2217"]), "not told in secure download mode")
                for words in (("write", "0x10000", self.part()), ("read", "0", "4096", self.folder / "x.bin"),
                              ("erase", "--all", "--force")):
                    self.assert_fault(espmint("flash", *words, "--port", board["rfc2217"]), 1, "board-locked", "secure download")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    cli.PROGRAM = os.path.abspath(sys.argv.pop(1))
    if len(sys.argv) == 1:
        sys.exit(side_by_side.run(cli.PROGRAM))
    with tempfile.TemporaryDirectory(prefix="espmint-chips-") as work:
        cli.WORK = pathlib.Path(work)
        (cli.WORK / "home").mkdir()
        sys.exit(not unittest.main(exit=False).result.wasSuccessful())
