#!/usr/bin/env python3
"""Sick boards through the real program: the code, a sentence with advice, within five seconds of real time.

  diagnosis_test.py ESPMINT [UNITTEST WORDS ...]
"""
import os
import pathlib
import sys
import tempfile
import unittest

import cli_test as cli
import side_by_side
from cli_test import espmint

SECONDS = 5.0
CHECKOUT = pathlib.Path(__file__).resolve().parent.parent


class ASickBoard(unittest.TestCase):
    def diagnosed(self, symptom, code, words, exit_code=4, *options):
        boards = cli.Boards(1, cli.WORK / (symptom + "-".join(options)), "--symptom", symptom, *options)
        try:
            outcome = espmint("board", "info", "--json", "--port", boards.take()["rfc2217"])
        finally:
            boards.close()
        self.assertEqual(outcome.code, exit_code, str(outcome))
        fault = outcome.events[-1]
        self.assertEqual(fault["code"], code, str(outcome))
        self.assertIn("[%s]" % code, outcome.err)
        self.assertIn(words, outcome.err)
        self.assertLess(outcome.seconds, SECONDS, str(outcome))
        self.assertTrue((CHECKOUT / "docs/faults" / (code + ".md")).is_file(), code)
        self.assertNotRegex(outcome.err, cli.CRASH)

    def test_a_silent_one(self):
        self.diagnosed("silent", "board-silent", "not a single byte came back")

    def test_one_with_a_broken_wire(self):
        self.diagnosed("tx-broken", "board-deaf", "Check the TX wire")

    def test_joined_wires(self):
        self.diagnosed("echo", "line-echo", "TX and RX are joined")

    def test_noise(self):
        self.diagnosed("noise", "noisy-line", "only noise comes at 115200 baud")

    def test_one_whose_boot_pin_is_not_wired(self):
        self.diagnosed("wrong-boot-mode", "board-not-in-download-mode", "BOOT pin (GPIO9)", 4, "--chip", "esp32c3")

    def test_one_that_crashes(self):
        self.diagnosed("crash-loop", "board-not-in-download-mode", "which crashes")

    def test_one_without_enough_current(self):
        self.diagnosed("brown-out", "brown-out", "supply voltage breaks down", 1)

    def test_one_with_a_dead_flash(self):
        self.diagnosed("flash-dead", "flash-unknown", "solder joints", 1)

    def test_one_with_a_wrong_strap(self):
        self.diagnosed("voltage-strap", "voltage-strap", "GPIO12", 1)

    def test_something_else(self):
        self.diagnosed("gps", "foreign-device", "GPS receiver")


class TheVirtualBoard(unittest.TestCase):
    def test_lists_its_symptoms(self):
        self.assertIn("brown-out", espmint("sim", "board", "--help").out)

    def test_names_them_when_one_is_unknown(self):
        outcome = espmint("sim", "board", "--symptom", "measles")
        self.assertEqual(outcome.code, 2)
        self.assertIn("voltage-strap", outcome.err)


class EveryCode(unittest.TestCase):
    def test_has_a_page_and_a_row(self):
        table = (CHECKOUT / "src/base/fault_codes.hpp").read_text()
        index = (CHECKOUT / "docs/faults/README.md").read_text()
        names = [line.split('"')[1] for line in table.splitlines() if line.strip().startswith("CodeSpec{Code::")]
        self.assertGreater(len(names), 50)
        for name in names:
            self.assertTrue((CHECKOUT / "docs/faults" / (name + ".md")).is_file(), name)
            self.assertIn("[%s](%s.md)" % (name, name), index)


def setUpModule():
    (cli.WORK / "home").mkdir()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    cli.PROGRAM = os.path.abspath(sys.argv.pop(1))
    if len(sys.argv) == 1:
        sys.exit(side_by_side.run(cli.PROGRAM, tests_each=1))
    with tempfile.TemporaryDirectory(prefix="espmint-diagnosis-") as work:
        cli.WORK = pathlib.Path(work)
        sys.exit(not unittest.main(exit=False).result.wasSuccessful())
