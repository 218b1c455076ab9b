#!/usr/bin/env python3
"""One-time keys from a user's keys.csv, through the real program, on virtual boards over RFC 2217 (preset instant).

  keys_test.py ESPMINT [UNITTEST WORDS ...]

Seen from outside: exit code, both streams, keys.csv, the state folder, and each board's flash, which shows by itself
what the board keeps. What the program would not do as it should is marked expectedFailure with the reason; nothing is.
"""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import cli_test as cli
import side_by_side
from cli_test import CommandLineTest, Running, espmint, tell

FIRMWARE = {}        # kind of application: build folder
BOARDS = None
BOARD_COUNT = 24     # of each class; a board costs next to nothing until it is used
NVS_AT, NVS_SIZE = "0x9000", "0x6000"


def row(number, fields=3):
    """Words that occur nowhere else, so that a leak can be searched for."""
    secret = lambda column: "s%dX%08x" % (column, 2654435761 * (number * 8 + column) % 2**32)
    return ["id%04d" % number, *map(secret, range(1, fields))]


def rows(count, fields=3, first=1):
    return [row(number, fields) for number in range(first, first + count)]


def text_of(table, delimiter=",", end="\n"):
    return "".join(delimiter.join(one) + end for one in table)


def is_on(board, key):
    """Whether every field of the key is in the board's flash."""
    flash = pathlib.Path(board["flash_file"]).read_bytes()
    return all(field.encode() in flash for field in key)


def given(state, device, end="\n"):
    return r",Provisioned,%s,%s,\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ,Provisioned%s" % (state, device, re.escape(end))


class KeysTest(CommandLineTest):
    def setUp(self):
        super().setUp()
        self.csv = self.folder / "keys.csv"

    def write(self, text):
        self.csv.write_bytes(text if isinstance(text, bytes) else text.encode())

    def lines(self):
        return self.csv.read_text().splitlines()

    def give(self, board, *words, app="old3", verb="prepare", **more):
        more.setdefault("state", self.state)
        ports = [word for one in (board if isinstance(board, list) else [board]) for word in ("--port", one["rfc2217"])]
        return espmint(verb, "--csv-file", self.csv, "--firmware", FIRMWARE[app], *ports, *words, **more)

    def give_by_recipe(self, board, recipe, app="old3"):
        (self.folder / "recipe.toml").write_text(recipe)
        return espmint("prepare", self.folder, "--firmware", FIRMWARE[app], "--port", board["rfc2217"],
                       state=self.state)

    def running(self, board, *words, app="old3", verb="run"):
        return Running(verb, "--csv-file", self.csv, "--firmware", FIRMWARE[app], "--port", board["rfc2217"], *words,
                       state=self.state)

    def import_file(self, *words, state=None):
        return espmint("keys", "import", self.csv, "--product", "thermostat", *words, state=state or self.state)

    def states(self, state=None):
        outcome = espmint("keys", "export", "--json", state=state or self.state)
        self.assert_good(outcome)
        return [(event["key"], event["state"], event["device"]) for event in outcome.events]

    def assert_passed(self, outcome, board):
        self.assert_good(outcome, "PASS %s" % board["mac"])

    def assert_row(self, number, key, mark):
        self.assertRegex(self.lines()[number - 1] + "\n", "^" + re.escape(",".join(key)) + mark + "$")


class FilesThatAreTakenAsTheyAre(KeysTest):
    def hands_out_its_first_key(self, text, key, app="old3"):
        board = cli.BOARDS.take()
        self.write(text)
        self.assert_passed(self.give(board, app=app), board)
        self.assertTrue(is_on(board, key))
        return board

    def test_three_fields_without_a_header(self):
        table = rows(3)
        board = self.hands_out_its_first_key(text_of(table), table[0])
        self.assert_row(1, table[0], given("VERIFIED", board["mac"]))
        self.assertEqual(self.lines()[1:], [",".join(one) + ",available" for one in table[1:]])
        self.assertEqual(self.states(), [(1, "VERIFIED", board["mac"]), (2, "AVAILABLE", None), (3, "AVAILABLE", None)])
        self.assertEqual(self.devices()[0]["key"], 1)
        self.assert_ledger_whole()

    def test_five_fields_without_a_header(self):
        table = rows(2, 5)
        board = self.hands_out_its_first_key(text_of(table), table[0], "old5")
        self.assert_row(1, table[0], given("VERIFIED", board["mac"]))

    def test_firmware_with_the_device_code_shows_digests_and_passes(self):
        table = rows(2)
        self.hands_out_its_first_key(text_of(table), table[0], "device-line")

    def test_a_header_stays_and_is_no_key(self):
        table = rows(2)
        self.hands_out_its_first_key("ID,Key1,Key2\n" + text_of(table), table[0])
        self.assertEqual(self.lines()[0], "ID,Key1,Key2")
        self.assertEqual(len(self.states()), 2)

    def test_cr_lf_and_a_byte_order_mark_stay(self):
        table = rows(2)
        board = self.hands_out_its_first_key(b"\xef\xbb\xbf" + text_of(table, end="\r\n").encode(), table[0])
        self.assertRegex(self.csv.read_bytes().decode(), "^\ufeff%s%s%s,available\r\n$" % (
            ",".join(table[0]), given("VERIFIED", board["mac"], "\r\n"), ",".join(table[1])))

    def test_quotes_stay_and_are_not_sent(self):
        key = row(1)
        self.hands_out_its_first_key('"%s",%s,"%s"\n%s' % (*key, text_of(rows(1, first=2))), key)
        self.assertTrue(self.csv.read_text().startswith('"%s",%s,"%s",Provisioned,' % tuple(key)))

    def test_semicolons_stay_and_marks_use_them(self):
        table = rows(2)
        board = self.hands_out_its_first_key(text_of(table, ";"), table[0])
        self.assertRegex(self.lines()[0],
                         ";".join(table[0]) + ";Provisioned;VERIFIED;%s;.*Z;Provisioned$" % board["mac"])
        self.assertEqual(self.lines()[1], ";".join(table[1]) + ";available")

    def test_a_last_row_without_a_line_end(self):
        self.hands_out_its_first_key(text_of(rows(1))[:-1], row(1))

    def test_both_old_scripts_skip_every_row_that_was_used(self):
        table = rows(5)
        self.write(text_of(table[:1]).rstrip() + ",Provisioned\n" + text_of(table[1:]))
        self.assert_passed(self.give(cli.BOARDS.take()), {"mac": ""})
        forgetful = self.give(cli.BOARDS.take(), app="forgetful")
        self.assertEqual(forgetful.code, 1, str(forgetful))
        used = [state != "AVAILABLE" for _, state, _ in self.states()]
        self.assertEqual(used, [True, True, True, True, False])
        cells = [line.split(",") for line in self.lines()]
        self.assertEqual([one[3] == "Provisioned" for one in cells], used)
        self.assertEqual([one[-1] == "Provisioned" for one in cells], used)

    def test_the_script_of_five_fields_skips_them_too(self):
        self.write(text_of(rows(2, 5)))
        self.give(cli.BOARDS.take(), app="old5")
        self.assertEqual([line.split(",")[-1] == "Provisioned" for line in self.lines()], [True, False])
        self.assertEqual([line.split(",")[5] == "Provisioned" for line in self.lines()], [True, False])

    def test_the_recipe_names_the_columns_to_give(self):
        table, board = rows(2), cli.BOARDS.take()
        body = "".join("%s,note%d,%s,%s\n" % (key[0], i, *key[1:]) for i, key in enumerate(table))
        self.write("id,mac,key1,key2\n" + body)
        outcome = self.give_by_recipe(board, '[keys]\ncsv = "keys.csv"\ncolumns = ["id", "key1", "key2"]\n')
        self.assert_passed(outcome, board)
        self.assertTrue(is_on(board, table[0]))
        self.assertFalse(is_on(board, ["note0"]))

    def test_a_second_run_changes_nothing_but_the_rows_it_uses(self):
        table = rows(4)
        self.write(text_of(table))
        self.give([cli.BOARDS.take()])
        before = self.lines()
        self.give([cli.BOARDS.take()])
        after = self.lines()
        self.assertEqual([i for i in range(4) if before[i] != after[i]], [1])


class FilesOfAnOldScript(KeysTest):
    QUARANTINE = "row 3 is quarantined: the script that marked this file marks a row after the board has answered"

    def half_used(self):
        self.table = rows(5)
        self.write("".join(",".join(key) + (",Provisioned\n" if i < 2 else "\n") for i, key in enumerate(self.table)))

    def test_a_half_used_file_runs_on_without_the_row_in_doubt(self):
        self.half_used()
        board = cli.BOARDS.take()
        outcome = self.give(board)
        self.assert_good(outcome, "2 of 5 usable", self.QUARANTINE, "--first-unmarked-unused")
        self.assertTrue(is_on(board, self.table[3]))
        self.assert_row(1, self.table[0], given("VERIFIED", ""))
        self.assert_row(3, self.table[2], given("QUARANTINED", ""))
        self.assert_row(4, self.table[3], given("VERIFIED", board["mac"]))

    def test_the_row_in_doubt_is_used_if_the_user_says_so(self):
        self.half_used()
        self.assert_good(self.import_file("--first-unmarked-unused"), "3 of 5 usable",
                         "row 3 is taken for unused, as you said")
        board = cli.BOARDS.take()
        self.assert_passed(self.give(board), board)
        self.assertTrue(is_on(board, self.table[2]))

    def test_or_says_so_later(self):
        self.half_used()
        self.assert_good(self.import_file(), self.QUARANTINE)
        self.assert_good(self.import_file("--first-unmarked-unused"), "3 of 5 usable")
        self.assertEqual(self.lines()[2], ",".join(self.table[2]) + ",available")

    def test_a_torn_mark_counts_as_used(self):
        table = rows(3)
        self.write("%s,Provis\n%s,\n%s\n" % tuple(",".join(key) for key in table))
        self.assert_good(self.import_file("--first-unmarked-unused"), "1 of 3 usable")
        self.assertEqual([state for _, state, _ in self.states()], ["QUARANTINED", "QUARANTINED", "AVAILABLE"])

    def test_a_torn_mark_counts_as_used_also_when_it_is_said_later(self):
        table = rows(4)
        self.write("%s,Provisioned\n%s,Provis\n%s\n%s\n" % tuple(",".join(key) for key in table))
        self.import_file()
        self.import_file("--first-unmarked-unused")
        self.assertEqual([state for _, state, _ in self.states()],
                         ["VERIFIED", "QUARANTINED", "AVAILABLE", "AVAILABLE"])

    def test_a_file_that_is_not_there_frees_nothing(self):
        self.half_used()
        self.import_file()
        outcome = espmint("keys", "import", self.folder / "nix.csv", "--first-unmarked-unused", state=self.state)
        self.assertEqual(outcome.code, 3, str(outcome))
        self.assertEqual(self.states()[2][1], "QUARANTINED")

    def test_keys_import_reads_the_recipe_that_lies_there(self):
        table = [[*row(i)[:2], "same"] for i in range(1, 5)]
        self.write(text_of(table[:1]).rstrip() + ",Provisioned\n" + text_of(table[1:]))
        (self.folder / "recipe.toml").write_text('[keys]\ncsv = "keys.csv"\nshared = [3]\n')
        outcome = espmint("keys", "import", "--product", "thermostat", "--first-unmarked-unused", state=self.state,
                          cwd=self.folder)
        self.assert_good(outcome, "3 of 4 usable")

    def test_three_equal_rows_of_which_two_are_marked(self):
        key = ",".join(row(1))
        self.write("%s,Provisioned\n%s,Provisioned\n%s\n" % (key, key, key))
        outcome = self.give(cli.BOARDS.take())
        self.assert_calm(outcome)
        self.assertEqual(outcome.code, 6, str(outcome))
        self.assertIn("0 of 3 usable: row 3 repeats row 1", outcome.err)
        self.assertIn("[pool-exhausted]", outcome.err)
        self.assertEqual([line.split(",")[-1] for line in self.lines()], ["Provisioned"] * 3)

    def test_a_board_of_the_old_script_is_recognised_and_bound_to_its_row(self):
        table, board = rows(4), cli.BOARDS.take()
        self.write(text_of(table))
        self.assert_passed(self.give(board, state=self.folder / "before"), board)  # plays the old script
        self.write("".join(",".join(key) + (",Provisioned\n" if i < 2 else "\n") for i, key in enumerate(table)))
        outcome = self.give(board)
        self.assert_good(outcome, "recognised by key 1, which an earlier script gave out")
        self.assert_row(1, table[0], given("VERIFIED", board["mac"]))
        self.assertEqual(self.lines()[3], ",".join(table[3]) + ",available")
        self.assert_ledger_whole()

    def test_a_board_with_the_row_in_doubt_is_recognised_too(self):
        table, board = rows(4), cli.BOARDS.take()
        self.write(text_of(table))
        self.give(board, state=self.folder / "before")
        self.write("".join(",".join(key) + (",Provisioned\n" if i == 3 else "\n") for i, key in enumerate(table)))
        self.assert_good(self.give(board), "row 1 is quarantined", "recognised by key 1")
        self.assertEqual(self.states()[0], (1, "VERIFIED", board["mac"]))


class WhatABoardDoes(KeysTest):
    def test_a_board_that_comes_again_keeps_its_key(self):
        table, board = rows(3), cli.BOARDS.take()
        self.write(text_of(table))
        self.assert_passed(self.give(board), board)
        tell(board, "unplug")
        tell(board, "plug")
        before = self.csv.read_bytes()
        self.assert_good(self.give(board), "already VERIFIED on")
        self.assertEqual(self.csv.read_bytes(), before)

    def test_a_board_whose_firmware_stored_nothing_is_never_green(self):
        table, board = rows(2), cli.BOARDS.take()
        self.write(text_of(table))
        outcome = self.give(board, app="forgetful")
        self.assert_board_failed(outcome, 1, "key-not-stored", "QUARANTINED", "did not store its key",
                                 "stays with this board")
        self.assertNotIn("PASS", outcome.out)
        self.assert_row(1, table[0], given("QUARANTINED", board["mac"]))
        again = self.give(board, app="forgetful")
        self.assert_board_failed(again, 1, "board-held", "its key 1 is QUARANTINED since", "`espmint keys release 1`")
        self.assertEqual(self.lines()[1], ",".join(table[1]) + ",available")

    def test_release_gives_it_the_same_key_once_more(self):
        table, board = rows(2), cli.BOARDS.take()
        self.write(text_of(table))
        self.give(board, app="forgetful")
        self.assert_good(espmint("keys", "release", "1", "--why", "firmware mended", state=self.state),
                         "key 1 may be given to its board once more")
        self.assert_passed(self.give(board), board)
        self.assertTrue(is_on(board, table[0]))
        self.assert_row(1, table[0], given("VERIFIED", board["mac"]))
        self.assert_ledger_whole()

    def test_firmware_that_never_shows_what_it_holds_ends_at_written(self):
        table, board = rows(2), cli.BOARDS.take()
        self.write(text_of(table))
        outcome = self.give(board, app="mute")
        self.assert_board_failed(outcome, 1, "key-unproven", "WRITTEN", "nothing proves what it holds")
        self.assertEqual(self.states()[0], (1, "WRITTEN", board["mac"]))
        self.assertEqual(self.lines()[0].split(",")[-1], "Provisioned")
        again = self.give(board, app="mute")
        self.assert_board_failed(again, 1, "key-unproven", "WRITTEN")
        self.assertEqual(self.states()[1][1], "AVAILABLE")

    def read_back_from_nvs(self, board):
        return self.give_by_recipe(board, '[keys]\ncsv = "keys.csv"\nnvs = "provision"\n', app="mute")

    def test_or_its_nvs_is_read_where_the_recipe_names_the_place(self):
        board = cli.BOARDS.take()
        self.write(text_of(rows(2)))
        self.assert_passed(self.read_back_from_nvs(board), board)
        self.assert_row(1, row(1), given("VERIFIED", board["mac"]))

    def test_its_nvs_is_read_again_when_it_comes_again(self):
        first, second, nvs = cli.BOARDS.take(), cli.BOARDS.take(), self.folder / "nvs.bin"
        self.write(text_of(rows(3)))
        self.read_back_from_nvs(first)
        self.read_back_from_nvs(second)
        self.assert_good(espmint("flash", "read", NVS_AT, NVS_SIZE, nvs, "--port", first["rfc2217"]))
        self.assert_good(espmint("flash", "write", NVS_AT, nvs, "--port", second["rfc2217"]))
        self.assertNotIn("PASS", self.read_back_from_nvs(second).out)

    def test_a_board_with_an_unknown_key_is_not_touched(self):
        board = cli.BOARDS.take()
        self.write(text_of(rows(1, first=900)))
        self.give(board, state=self.folder / "elsewhere")
        self.write(text_of(rows(2)))
        for words in ((), ("--provisioned", "hold")):
            outcome = self.give(board, *words)
            self.assert_board_failed(outcome, 1, "board-provisioned", "a key that is not in the pool",
                                     "--provisioned erase")
            self.assertEqual(self.lines(), [",".join(key) + ",available" for key in rows(2)])
        self.assertTrue(is_on(board, row(900)))

    def test_or_its_nvs_is_erased_and_it_gets_a_key(self):
        board = cli.BOARDS.take()
        self.write(text_of(rows(1, first=900)))
        self.give(board, state=self.folder / "elsewhere")
        self.write(text_of(rows(2)))
        self.assert_good(self.give(board, "--provisioned", "erase"), 'partition "nvs" is erased', "PASS")
        self.assertTrue(is_on(board, row(1)))
        self.assertFalse(is_on(board, row(900)))

    def test_a_board_that_forgot_its_key_gets_no_other(self):
        board = cli.BOARDS.take()
        self.write(text_of(rows(2)))
        self.assert_passed(self.give(board), board)
        self.assert_good(espmint("flash", "erase", NVS_AT, NVS_SIZE, "--port", board["rfc2217"]))
        self.assert_board_failed(self.give(board), 1, "board-held", "VERIFIED with key 1", "asks for a key again")
        self.assert_good(self.give(board, "--provisioned", "erase"), "PASS")
        self.assertTrue(is_on(board, row(1)))
        self.assertEqual(self.states()[1][1], "AVAILABLE")

    def test_two_boards_with_one_key_are_found(self):
        first, second, nvs = cli.BOARDS.take(), cli.BOARDS.take(), self.folder / "nvs.bin"
        self.write(text_of(rows(3)))
        self.assert_passed(self.give(first), first)
        self.assert_good(espmint("flash", "read", NVS_AT, NVS_SIZE, nvs, "--port", first["rfc2217"]))
        self.assert_good(espmint("flash", "write", NVS_AT, nvs, "--port", second["rfc2217"]))
        self.assert_board_failed(self.give(second), 1, "board-held", "another board's key", first["mac"])
        self.assertEqual([state for _, state, _ in self.states()], ["VERIFIED", "AVAILABLE", "AVAILABLE"])

    def test_a_silent_application_gets_no_key(self):
        self.write(text_of(rows(2)))
        outcome = self.give_by_recipe(cli.BOARDS.take(),
                                      '[keys]\ncsv = "keys.csv"\nprompt = "Give me keys"\nprompt_seconds = 2\n')
        self.assert_board_failed(outcome, 1, "application-silent", "did not ask for its key within 2 s", "Give me keys")
        self.assertEqual(self.lines(), [",".join(key) + ",available" for key in rows(2)])

    def test_killed_at_the_hand_over_the_same_board_gets_the_same_key(self):
        board, other = cli.BOARDS.take(), cli.BOARDS.take()
        self.write(text_of(rows(3)))
        run = self.running(board, "--json", app="mute", verb="prepare")
        run.wait_for('"hand-over"')
        for _ in range(1500):  # until its flash shows that the key arrived
            if is_on(board, row(1)):
                break
            time.sleep(0.01)
        self.assertTrue(is_on(board, row(1)))
        run.signal(signal.SIGKILL)
        run.end()
        self.assertTrue(self.lines()[0].endswith(",Provisioned"))
        self.assert_passed(self.give(other), other)
        self.assertTrue(is_on(other, row(2)) and not is_on(other, row(1)))
        outcome = self.give(board, app="old3")
        self.assert_passed(outcome, board)
        self.assertEqual(self.states(),
                         [(1, "VERIFIED", board["mac"]), (2, "VERIFIED", other["mac"]), (3, "AVAILABLE", None)])
        self.assert_ledger_whole()

    def test_unplugged_at_the_hand_over_and_plugged_in_again_it_gets_the_same_key(self):
        board = cli.BOARDS.take()
        self.write(text_of(rows(2)))
        run = self.running(board, "--json", "--count", "1")
        run.wait_for('"hand-over"')
        tell(board, "unplug")
        time.sleep(0.3)
        tell(board, "plug")
        outcome = run.end(30)
        self.assert_good(outcome)
        self.assertTrue(is_on(board, row(1)))
        self.assertEqual(self.states(), [(1, "VERIFIED", board["mac"]), (2, "AVAILABLE", None)])

    def test_the_quota_counts_boards_with_keys(self):
        self.write(text_of(rows(3)))
        (self.folder / "recipe.toml").write_text('[product]\nquota = 1\n[keys]\ncsv = "keys.csv"\n')
        first, second = cli.BOARDS.take(), cli.BOARDS.take()
        for board, code in ((first, 0), (second, 6), (first, 0)):
            outcome = espmint("prepare", self.folder, "--firmware", FIRMWARE["old3"], "--port", board["rfc2217"],
                              state=self.state)
            self.assertEqual(outcome.code, code, str(outcome))
        self.assertEqual([state for _, state, _ in self.states()], ["VERIFIED", "AVAILABLE", "AVAILABLE"])
        self.assertEqual(self.lines()[1], ",".join(row(2)) + ",available")

    def test_a_table_larger_than_the_flash_is_refused_before_a_key_is_touched(self):
        small = cli.Boards(1, self.folder / "boards", "--flash-size", "2MB")
        self.addCleanup(small.close)
        cli.FIRMWARE = FIRMWARE["old3"]
        firmware = cli.with_table(self.folder / "whole-4mb", cli.WHOLE_4MB)
        self.write(text_of(rows(2)))
        outcome = espmint("prepare", "--csv-file", self.csv, "--firmware", firmware, "--port", small.take()["rfc2217"],
                          state=self.state)
        self.assert_board_failed(outcome, 1, "flash-too-small")
        self.assertEqual(self.lines(), [",".join(key) + ",available" for key in rows(2)])
        self.assertEqual([state for _, state, _ in self.states()], ["AVAILABLE"] * 2)


class TheFramedHandShake(KeysTest):
    RECIPE = '[keys]\nhandshake = "%s"\n%s'

    def run_line(self, board, handshake="framed", more="", app="device-framed", **how):
        (self.folder / "recipe.toml").write_text(self.RECIPE % (handshake, more))
        return espmint("run", self.folder, "--csv-file", self.csv, "--firmware", FIRMWARE[app], "--port",
                       board["rfc2217"], "--count", "1", "--json", state=self.state, **how)

    def done(self, outcome):
        return [event for event in outcome.events if event.get("event") == "done"][-1]

    def test_a_line_gives_tests_and_locks(self):
        table, board = rows(2), cli.BOARDS.take()
        self.write(text_of(table))
        limits = 'lock = true\nselftest = { vbat_mv = [3000, 3600] }\n'
        outcome = self.run_line(board, more=limits)
        self.assertEqual(outcome.code, 0, str(outcome))
        done = self.done(outcome)
        self.assertEqual((done["verdict"], done["evidence"], done["key"]), ("VERIFIED", "framed-digest", 1))
        self.assertEqual(done["selftest"], {"vbat_mv": 3301, "temp_dc": 231})
        self.assertTrue(is_on(board, table[0]))
        self.assert_row(1, table[0], given("VERIFIED", board["mac"]))
        self.assertNotIn(table[0][1], outcome.out + outcome.err)
        self.assert_ledger_whole()
        again = self.done(self.run_line(board, more=limits))
        self.assertEqual((again["verdict"], again["already"], again["evidence"]), ("VERIFIED", True, "framed-digest"))
        self.assertEqual(self.lines()[1], ",".join(table[1]) + ",available")

    def test_a_board_that_fails_its_self_test_gets_no_key(self):
        table, board = rows(1), cli.BOARDS.take()
        self.write(text_of(table))
        outcome = self.run_line(board, more='selftest = { temp_dc = [-100, 200] }\n')
        done = self.done(outcome)
        self.assertEqual((outcome.code, done["verdict"], done["code"]), (1, "FAILED", "selftest-failed"), str(outcome))
        self.assertIn("temp_dc is 231, allowed are -100 to 200", done["fault"])
        self.assertEqual(done["selftest"]["vbat_mv"], 3301)
        self.assertFalse(is_on(board, table[0][:1]))
        self.assertEqual(self.lines()[0], ",".join(table[0]) + ",available")

    def test_auto_speaks_what_it_hears(self):
        self.write(text_of(rows(2)))
        for app, evidence in (("device-framed", "framed-digest"), ("old3", "read-back")):
            done = self.done(self.run_line(cli.BOARDS.take(), "auto", app=app))
            self.assertEqual((done["verdict"], done["evidence"]), ("VERIFIED", evidence), done)


class ThePool(KeysTest):
    def test_exhausted_it_ends_the_line_and_says_how_many_were_made(self):
        boards = [cli.BOARDS.take() for _ in range(3)]
        self.write(text_of(rows(2)))
        for board in boards[:2]:
            self.assert_passed(self.give(board), board)
        outcome = self.give(boards[2], verb="run", timeout=30)
        self.assertEqual(outcome.code, 6, str(outcome))
        self.assertIn("0 of 2 usable", outcome.err)

    def test_a_line_that_runs_out_of_keys_says_how_many_it_made(self):
        self.write(text_of(rows(1)))
        first = cli.BOARDS.take()
        run = self.running(first)
        run.wait_for("PASS")
        tell(first, "swap 24d7eb0f0f0f")
        tell(first, "unplug")
        tell(first, "plug")
        outcome = run.end(30)
        self.assertEqual(outcome.code, 6, str(outcome))
        self.assertRegex(outcome.out.splitlines()[-1],
                         r"^passed 1, failed 1 \(pool-exhausted 1\).*the pool has no key left")

    def test_the_last_key_is_still_handed_over_when_another_board_finds_none(self):
        self.write(text_of(rows(1)))
        outcome = self.give([cli.BOARDS.take(), cli.BOARDS.take()], verb="run", timeout=30)
        self.assertEqual(outcome.code, 6, str(outcome))
        self.assertRegex(outcome.out.splitlines()[-1], "^passed 1, failed 1")

    def test_the_board_that_has_the_last_key_can_still_be_finished(self):
        board = cli.BOARDS.take()
        self.write(text_of(rows(1)))
        self.give(board, app="forgetful")
        espmint("keys", "release", "1", state=self.state)
        self.assert_passed(self.give(board), board)

    def test_several_boards_at_once_get_a_key_each(self):
        boards, table = [cli.BOARDS.take() for _ in range(4)], rows(6)
        self.write(text_of(table))
        outcome = self.give(boards, "--count", "4", verb="run", timeout=30)
        self.assert_good(outcome, "passed 4, failed 0")
        holders = [[board["mac"] for board in boards if is_on(board, key)] for key in table]
        self.assertEqual([len(one) for one in holders], [1, 1, 1, 1, 0, 0])
        self.assertEqual([device for _, _, device in self.states()[:4]], [one[0] for one in holders[:4]])

    def test_status_counts_and_names_what_is_in_doubt(self):
        self.write("%s,Provisioned\n%s\n%s\n" % tuple(",".join(key) for key in rows(3)))
        self.import_file()
        self.assert_good(espmint("keys", "status", state=self.state), "3 keys: 1 AVAILABLE, 1 QUARANTINED, 1 VERIFIED",
                         "key 2 is QUARANTINED and may be on a board that nobody knows")
        event = espmint("keys", "status", "--json", state=self.state).events[0]
        self.assertEqual((event["keys"], event["available"], event["quarantined"], event["verified"]), (3, 1, 1, 1))

    def test_export_names_numbers_and_never_keys(self):
        self.write(text_of(rows(2)))
        self.import_file()
        out = espmint("keys", "export", state=self.state).out.splitlines()
        self.assertEqual(out[0], "key,state,device,since")
        self.assertTrue(out[1].startswith("1,AVAILABLE,,"))
        self.assertNotIn("id0001", "".join(out))

    def test_retiring_takes_two_people(self):
        self.write(text_of(rows(2)))
        self.import_file()
        for people in ((), ("--by", "ann"), ("--by", "ann", "--by", "ann")):
            with self.subTest(people=people):
                self.assert_fault(espmint("keys", "retire", "1", *people, state=self.state), 2, "usage", "two people")
        self.assert_good(espmint("keys", "retire", "1", "--by", "ann", "--by", "bob", "--why", "scrapped",
                                 state=self.state), "key 1 is RETIRED")
        board = cli.BOARDS.take()
        self.assert_passed(self.give(board), board)
        self.assertTrue(is_on(board, row(2)))
        self.assert_row(1, row(1), given("RETIRED", ""))
        self.assert_ledger_whole()

    def test_what_the_states_forbid_is_refused(self):
        self.write("%s,Provisioned\n%s\n%s\n" % tuple(",".join(key) for key in rows(3)))
        self.import_file()
        by = ("--by", "ann", "--by", "bob")
        for words, wanted in ((("retire", "1", *by), "it is VERIFIED"), (("release", "2"), "nobody knows"),
                              (("release", "3"), "it is AVAILABLE"),
                              (("retire", "99", *by), "no key 99")):
            with self.subTest(words=words):
                self.assert_fault(espmint("keys", *words, state=self.state), 6, "ledger-refused", wanted)

    def test_a_second_process_on_the_same_file_is_refused_by_name(self):
        self.write(text_of(rows(2)))
        run = self.running(cli.BOARDS.take())
        self.addCleanup(lambda: (run.signal(signal.SIGINT), run.end()))
        run.wait_for("PASS")
        before = self.csv.read_bytes()
        for outcome in (self.give(cli.BOARDS.take(), state=self.folder / "other"),
                        self.import_file(state=self.folder / "other")):
            self.assertEqual(outcome.code, 6, str(outcome))
            self.assertRegex(outcome.err, r"%d.*\[ledger-locked\]" % run.process.pid)
        self.assertEqual(self.csv.read_bytes(), before)
        self.assert_good(espmint("keys", "status", state=self.state), "2 keys")

    def test_a_trial_touches_neither_file_nor_ledger(self):
        board = cli.BOARDS.take()
        self.write(text_of(rows(2)))
        before = self.csv.read_bytes()
        outcome = self.give(board, "--trial")
        self.assert_good(outcome, "a trial", "PASS")
        self.assertEqual(self.csv.read_bytes(), before)
        self.assertEqual(sorted(path.name for path in self.folder.glob("keys.csv*")), ["keys.csv"])
        self.assertEqual([path.name for path in self.state.iterdir()], ["trial"])
        self.assertFalse(any(field in outcome.out + outcome.err for key in rows(2) for field in key))
        self.assertFalse(is_on(board, row(1)))

    def test_a_trial_with_another_file_has_keys_of_its_shape(self):
        self.write(text_of(rows(2)))
        self.give(cli.BOARDS.take(), "--trial")
        self.write(text_of(rows(2, 5)))
        self.give(cli.BOARDS.take(), "--trial", app="old5")
        made_up = (self.state / "trial/rehearsal-keys.csv").read_text().splitlines()
        marked = [line for line in made_up if line.endswith("Provisioned")]
        self.assertEqual(len(marked[-1].split(",")), 10)

    def test_no_secret_leaves_the_file(self):
        table, boards = rows(5), [cli.BOARDS.take() for _ in range(3)]
        self.write("%s,Provisioned\n%s" % (",".join(table[0]), text_of(table[1:])))
        said = []
        for words, app in (((), "old3"), (("--json",), "forgetful"), (("--verbose",), "mute")):
            said.append(self.give(boards.pop(), *words, app=app))
        for words in (("keys", "status"), ("keys", "export"), ("device", "list"), ("device", "export", "--json"),
                      ("audit", "verify")):
            said.append(espmint(*words, state=self.state))
        said.append(self.give(cli.BOARDS.take()))
        secrets = [field.encode() for key in table for field in key]
        for outcome in said:
            self.assertFalse([s for s in secrets if s in (outcome.out + outcome.err).encode()], str(outcome))
        for path in self.state.rglob("*"):
            if path.is_file():
                self.assertFalse([s for s in secrets if s in path.read_bytes()], str(path))
        self.assertEqual({path.name for path in self.folder.glob("*keys*")},
                         {"keys.csv", "keys.csv.lock", "keys.csv.prev"})
        self.assertEqual(self.csv.stat().st_mode & 0o077, 0)


class WithoutArguments(KeysTest):
    def old_folder(self):
        firmware = FIRMWARE["old3"]
        for name, source in (("firmware.bin", "thermostat.bin"), ("bootloader.bin", "bootloader/bootloader.bin"),
                             ("partitions.bin", "partition_table/partition-table.bin")):
            shutil.copy(firmware / source, self.folder / name)
        self.write(text_of(rows(2)))

    def test_run_takes_what_lies_here(self):
        self.old_folder()
        board = cli.BOARDS.take()
        outcome = espmint("run", "--port", board["rfc2217"], "--count", "1", state=self.state, cwd=self.folder)
        self.assert_passed(outcome, board)
        self.assertIn("keys.csv and firmware.bin lie here", outcome.out + outcome.err)
        self.assertTrue(is_on(board, row(1)))

    def test_the_words_of_the_old_script_are_enough(self):
        self.old_folder()
        board = cli.BOARDS.take()
        outcome = espmint("run", "--csv_file", "keys.csv", "--firmware", "firmware.bin", "--chip", "esp32", "--port",
                          board["rfc2217"],
                          "--count", "1", state=self.state, cwd=self.folder)
        self.assert_passed(outcome, board)
        self.assertTrue(is_on(board, row(1)))

    def test_a_dry_run_touches_nothing(self):
        self.old_folder()
        before = self.csv.read_bytes()
        self.assert_good(espmint("run", "--dry-run", state=self.state, cwd=self.folder))
        self.assertEqual(self.csv.read_bytes(), before)
        self.assertFalse(self.state.exists())


class EditedFiles(KeysTest):
    def setUp(self):
        super().setUp()
        self.table = rows(3)
        self.write(text_of(self.table))
        self.assert_good(self.import_file(), "3 of 3 usable")

    def edit(self, change):
        self.csv.write_text(change(self.csv.read_text()))

    def test_new_rows_are_imported(self):
        self.edit(lambda text: text + text_of(rows(1, first=9)))
        self.assert_good(self.import_file(), "4 of 4 usable", "1 new")

    def test_marks_that_were_removed_come_back(self):
        board = cli.BOARDS.take()
        self.give(board)
        self.write(text_of(self.table))
        self.assert_good(self.import_file(), "2 of 3 usable")
        self.assert_row(1, self.table[0], given("VERIFIED", board["mac"]))

    def test_a_changed_secret_is_refused_with_its_row(self):
        self.edit(lambda text: text.replace(self.table[1][1], "changed"))
        self.assert_good(self.import_file(), "2 of 3 usable", "row 2 was changed after it was imported as key 2")
        self.assertTrue(self.lines()[1].endswith(",Provisioned,REFUSED,,,Provisioned"))

    def test_rows_in_another_order_are_the_same_keys(self):
        self.edit(lambda text: "".join(reversed(text.splitlines(True))))
        self.assert_good(self.import_file(), "3 of 3 usable")
        board = cli.BOARDS.take()
        self.assert_passed(self.give(board), board)
        self.assertTrue(is_on(board, self.table[2]))
        self.assertEqual(self.states()[2][2], board["mac"])

    def test_a_row_that_was_removed_is_not_given_out(self):
        self.edit(lambda text: "".join(text.splitlines(True)[1:]))
        board = cli.BOARDS.take()
        self.assert_passed(self.give(board), board)
        self.assertTrue(is_on(board, self.table[1]))

    def test_rows_added_while_the_line_runs_are_used(self):
        self.csv.unlink()
        self.write(text_of(self.table[:1]))
        board = cli.BOARDS.take()
        run = self.running(board, "--count", "2")
        run.wait_for("PASS")
        with self.csv.open("a") as file:
            file.write(text_of(rows(1, first=9)))
        tell(board, "swap 24d7eb0e0e0e")
        tell(board, "unplug")
        tell(board, "plug")
        self.assert_good(run.end(30), "passed 2, failed 0")
        self.assertTrue(is_on(board, row(9)))

    def test_a_file_that_goes_away_stops_the_line(self):
        board = cli.BOARDS.take()
        run = self.running(board)
        run.wait_for("PASS")
        self.csv.rename(self.folder / "aside.csv")
        tell(board, "swap 24d7eb0d0d0d")
        tell(board, "unplug")
        tell(board, "plug")
        outcome = run.end(30)
        self.assertEqual(outcome.code, 3, str(outcome))
        self.assertRegex(outcome.out.splitlines()[-1], "^passed 1, failed 1 .*input-missing.*is gone")

    def test_after_the_loss_of_the_ledger_only_available_is_available(self):
        board = cli.BOARDS.take()
        self.give(board)
        self.give(cli.BOARDS.take(), app="forgetful")
        shutil.rmtree(self.state)
        self.assert_good(self.import_file(), "1 of 3 usable")
        self.assertEqual([state for _, state, _ in self.states()], ["VERIFIED", "QUARANTINED", "AVAILABLE"])
        self.assertEqual(self.states()[0][2], board["mac"])
        self.assert_good(self.give(board), "already VERIFIED")

    def test_a_row_that_the_old_script_marked_since_is_not_given_out(self):
        self.edit(lambda text: text.replace(",available", ",Provisioned", 1))
        board = cli.BOARDS.take()
        self.give(board)
        self.assertFalse(is_on(board, self.table[0]))

    def test_secrets_that_were_given_out_do_not_come_back_under_another_name(self):
        self.give(cli.BOARDS.take())
        self.write(",".join(["renamed", *self.table[0][1:]]) + "\n" + text_of(self.table[1:]))
        self.assertNotIn("3 of 3 usable", self.import_file().out)

    def test_a_used_row_with_another_first_field_is_refused_with_its_row(self):
        self.give(cli.BOARDS.take())
        self.edit(lambda text: text.replace(self.table[0][0], "renamed"))
        outcome = self.import_file()
        self.assertIn("row 1", outcome.out + outcome.err)

    def test_two_ledgers_that_take_turns_on_one_file_never_give_one_key_twice(self):
        boards = [cli.BOARDS.take() for _ in range(3)]
        for board, state in zip(boards, ("state", "other", "state")):
            self.give(board, state=self.folder / state)
        for key in self.table:
            self.assertLessEqual(sum(is_on(board, key) for board in boards), 1)


class FilesThatAreRefused(KeysTest):
    def refused(self, content, *wanted):
        self.write(content)
        before = self.csv.read_bytes()
        board = cli.BOARDS.take()
        for outcome in (self.import_file(), self.give(board, timeout=60)):
            self.assert_calm(outcome)
            self.assertEqual(outcome.code, 3, str(outcome)[:2000])
            last = outcome.err.splitlines()[-1]
            self.assertRegex(last, r"^espmint: .+ \[input-invalid\]$")
            self.assertLess(len(last), 700)
            for text in wanted:
                self.assertIn(text, last)
        self.assertTrue(self.csv.read_bytes() == before)
        self.assertFalse(pathlib.Path(str(self.csv) + ".prev").exists())
        self.assertEqual(self.states(), [])
        cli.BOARDS.free.append(board)

    def test_duplicate_rows(self):
        self.refused(text_of(rows(2) + rows(1)), "row 3 repeats row 1", "nothing was imported")

    def test_duplicate_first_fields(self):
        self.refused(text_of([row(1), row(2), [row(1)[0], "other", "fields"]]), "row 3 has the first field of row 1")

    def test_a_secret_that_comes_twice(self):
        self.refused(text_of([row(1), [*row(2)[:2], row(1)[2]]]), "row 2, column 3 repeats row 1", "shared = [3]")

    def test_a_row_with_a_field_too_few_behind_the_hundredth(self):
        self.refused(text_of(rows(101)) + "id9,half\n", "row 102", "2 fields, the others have 3")

    def test_a_row_with_a_field_too_few(self):
        self.refused(text_of(rows(3)) + "id9,half\n" + text_of(rows(3, first=4)), "row 4",
                     "2 fields, the others have 3")

    def test_a_row_with_many_fields_too_many(self):
        self.refused(text_of(rows(3)) + ",".join(row(9, 12)) + "\n", "row 4, column 4", "12 fields, the others have 3")

    def test_binary(self):
        self.refused(bytes(range(256)) * 16, "row 1", "control bytes")
        self.refused(b"a,b,c\0\n", "row 1", "control bytes")

    def test_bytes_that_are_no_utf_8(self):
        self.refused(b"\xff\xfe\x80,b,c\nid2,e,f\n", "row 1")

    def test_a_line_of_64_mb(self):
        self.refused(b"a" * (64 << 20), "row 1", "longer than 4096 bytes")

    def test_terminal_escapes(self):
        self.refused("id1,\x1b[2Jboo,c\n", "row 1", "control bytes", "0x1b")

    def test_an_open_quote(self):
        self.refused('id1,"b,c\nid2,e,f\n', "row 1, column 2", "a quote is opened and not closed")

    def test_an_empty_first_field(self):
        self.refused(text_of(rows(1)) + ",b,c\n", "row 2, column 1", "empty")

    def test_formulas(self):
        self.refused("=HYPERLINK(A1),b,c\nid2,e,f\n", "row 1, column 1")

    def test_a_field_that_cannot_be_sent(self):
        self.refused('"id,1",b,c\nid2,e,f\n', "row 1, column 1")

    def test_a_row_that_is_too_long_to_be_sent(self):
        self.refused(text_of([["id1", "b" * 1500, "c"], row(2)]), "row 1")

    def test_a_column_that_the_header_has_not(self):
        self.write("id,key1,key2\n" + text_of(rows(2)))
        outcome = self.give_by_recipe(cli.BOARDS.take(), '[keys]\ncsv = "keys.csv"\ncolumns = ["id", "key7"]\n')
        self.assertEqual(outcome.code, 3, str(outcome))

    def test_a_header_of_other_words_is_no_key(self):
        self.write("board_no,pin,passphrase\n" + text_of(rows(2)))
        board = cli.BOARDS.take()
        self.give(board)
        self.assertFalse(is_on(board, ["passphrase"]))

    def test_words_of_a_hand_shake_that_cannot_work(self):
        self.write(text_of(rows(2)))
        outcome = self.give_by_recipe(cli.BOARDS.take(), '[keys]\ncsv = "keys.csv"\nprompt = "Provisioned"\n')
        self.assertEqual(outcome.code, 3, str(outcome))

    def test_a_dry_run_without_the_file(self):
        outcome = espmint("run", "--dry-run", "--csv-file", self.folder / "nix.csv", "--firmware", FIRMWARE["old3"],
                          state=self.state)
        self.assertEqual(outcome.code, 3, str(outcome))

    def test_no_file_at_all(self):
        outcome = self.give(cli.BOARDS.take())
        self.assertEqual(outcome.code, 3, str(outcome))
        self.assertIn("[input-missing]", outcome.err)

    def test_a_file_without_rows(self):
        for content in (b"", b"\n\n", b"id,key1,key2\n"):
            with self.subTest(content=content):
                self.write(content)
                outcome = self.give(cli.BOARDS.take())
                self.assertEqual(outcome.code, 6, str(outcome))
                self.assertIn("0 of 0 usable", outcome.err)


# ---------------------------------------------------------------------------------------------------- the bench

def setUpModule():
    (cli.WORK / "home").mkdir()
    for app in ("old3", "old5", "device-line", "device-framed", "forgetful", "mute"):
        FIRMWARE[app] = cli.WORK / ("fw-" + app)
        made = espmint("sim", "firmware", FIRMWARE[app], "--app", app, "--app-size", "64K")
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
    with tempfile.TemporaryDirectory(prefix="espmint-keys-") as work:
        cli.WORK = pathlib.Path(work)
        sys.exit(not unittest.main(exit=False).result.wasSuccessful())
