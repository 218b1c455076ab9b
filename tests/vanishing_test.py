#!/usr/bin/env python3
"""Boards with USB of their own, through the real program: the port vanishes at every reset and comes back.

  vanishing_test.py ESPMINT [UNITTEST WORDS ...]

Virtual boards over RFC 2217 (preset instant) that drop their connection with each reset and refuse a new one for 300 ms.
"""
import os
import pathlib
import sys
import tempfile
import time
import unittest

import cli_test as cli
import side_by_side
import keys_test as keys
from cli_test import espmint, tell
from keys_test import KeysTest, given, is_on, rows, text_of

VANISH_MS = "300"
BOARD_COUNT = 12


class BoardsWhosePortVanishesAtEachReset(KeysTest):
    def passes(self, app, fields):
        board = cli.BOARDS.take()
        table = rows(3, fields)
        self.write(text_of(table))
        outcome = self.give(board, "--count", "1", app=app, verb="run")
        self.assert_passed(outcome, board)
        self.assertTrue(is_on(board, table[0]))
        self.assertEqual(self.states(), [(1, "VERIFIED", board["mac"]), (2, "AVAILABLE", None), (3, "AVAILABLE", None)])
        self.assert_row(1, table[0], given("VERIFIED", board["mac"]))
        self.assert_ledger_whole()

    def done(self, outcome):
        return [event for event in outcome.events if event["event"] == "done"][-1]

    def test_old_firmware_of_three_fields(self):
        self.passes("old3", 3)

    def test_old_firmware_of_five_fields(self):
        self.passes("old5", 5)

    def test_new_firmware(self):
        self.passes("device-line", 3)

    def test_two_at_once_keep_their_keys_apart(self):
        boards = [cli.BOARDS.take(), cli.BOARDS.take()]
        table = rows(3)
        self.write(text_of(table))
        self.assert_good(self.give(boards, "--count", "2", verb="run"))
        held = [[key for key in (0, 1, 2) if is_on(board, table[key])] for board in boards]
        self.assertEqual(sorted(held), [[0], [1]])
        self.assert_ledger_whole()

    def test_a_board_that_comes_again_is_known(self):
        board = cli.BOARDS.take()
        self.write(text_of(rows(2)))
        self.assert_passed(self.give(board, "--count", "1", verb="run"), board)
        self.assert_passed(self.give(board), board)
        self.assertEqual(self.states()[1], (2, "AVAILABLE", None))

    def test_an_identity_is_proved_by_digest_and_challenge(self):
        board = cli.BOARDS.take()
        outcome = espmint("run", "--firmware", keys.FIRMWARE["challenge"], "--port", board["rfc2217"], "--count", "1",
                          "--json", state=self.state)
        done = self.done(outcome)
        self.assertEqual((done["verdict"], done["evidence"]), ("VERIFIED", "rom-digest+challenge"), str(outcome))

    def test_one_that_does_not_come_back_was_unplugged_and_gets_its_own_key_later(self):
        board = cli.BOARDS.take()
        table = rows(2)
        self.write(text_of(table))
        line = self.running(board, "--json", verb="prepare")
        for _ in range(2000):  # it has its key and restarts
            if is_on(board, table[0]) or line.process.poll() is not None:
                break
            time.sleep(0.005)
        self.assertTrue(is_on(board, table[0]))
        tell(board, "unplug")
        outcome = line.end()
        self.assertEqual(self.done(outcome)["code"], "port-gone", str(outcome))
        self.assertIn(self.states()[0][1], ("EXPOSED", "WRITTEN"))
        self.assertEqual(self.states()[0][2], board["mac"])
        tell(board, "plug")
        time.sleep(1)
        self.assert_passed(self.give(board), board)
        self.assertEqual(self.states(), [(1, "VERIFIED", board["mac"]), (2, "AVAILABLE", None)])
        self.assert_ledger_whole()


def setUpModule():
    (cli.WORK / "home").mkdir()
    for app in ("old3", "old5", "device-line", "challenge"):
        keys.FIRMWARE[app] = cli.WORK / ("fw-" + app)
        made = espmint("sim", "firmware", keys.FIRMWARE[app], "--app", app, "--app-size", "64K")
        if made.code != 0:
            raise RuntimeError(str(made))
    cli.BOARDS = cli.Boards(BOARD_COUNT, cli.WORK / "boards", "--vanish", VANISH_MS)


def tearDownModule():
    if cli.BOARDS:
        cli.BOARDS.close()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    cli.PROGRAM = os.path.abspath(sys.argv.pop(1))
    if len(sys.argv) == 1:
        sys.exit(side_by_side.run(cli.PROGRAM))
    with tempfile.TemporaryDirectory(prefix="espmint-vanishing-") as work:
        cli.WORK = pathlib.Path(work)
        sys.exit(not unittest.main(exit=False).result.wasSuccessful())
