#!/usr/bin/env python3
"""Every format of identity through the real program, then what the virtual board's own readers find in its flash.

  images_cli_test.py ESPMINT [UNITTEST WORDS ...]
"""
import hashlib
import os
import pathlib
import sys
import tempfile
import unittest

import cli_test as cli
from cli_test import Boards, espmint

RECIPES = {
    "spiffs": "",
    "littlefs": "",
    "fat": '[[image]]\nformat = "fat"\n',
    "nvs": '[[image]]\nformat = "nvs"\npartition = "identity"\n',
    "nvs-encrypted": '[[image]]\nformat = "nvs"\npartition = "identity"\nencryption = "keys"\n',
}


class ImagesTest(cli.CommandLineTest):
    def board(self, *options):
        boards = Boards(1, pathlib.Path(tempfile.mkdtemp(dir=self.folder)), *options)
        self.addCleanup(boards.close)
        return boards.take()

    def product(self, identity, recipe, *words, **files):
        """A folder with a recipe and the build that it is for."""
        folder = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        size = ("--storage-size", "1M") if identity == "fat" else ()
        self.assert_good(espmint("sim", "firmware", folder / "build", "--app-size", "64K", "--identity", identity, *size, *words))
        (folder / "recipe.toml").write_text(recipe)
        for name, text in files.items():
            (folder / name.replace("__", ".")).write_bytes(text)
        return folder

    def prepare_from(self, folder, board, *words):
        return espmint("prepare", folder, "--port", board["rfc2217"], "--state", self.folder / "state", "--json", *words)

    def read_by_the_board(self, board, *words):
        outcome = espmint("sim", "read", board["flash_file"], "--json", *words)
        self.assertIn(outcome.code, (0, 1), str(outcome))  # 1: a partition that nobody wrote does not mount
        return outcome.events

    def done(self, outcome):
        return [event for event in outcome.events if event["event"] == "done"][-1]


class EveryFormat(ImagesTest):
    def test_is_written_proved_and_read_by_the_board_itself(self):
        for identity, recipe in RECIPES.items():
            with self.subTest(identity):
                board = self.board()
                folder = self.product(identity, recipe + '[product]\nname = "%s"\n' % identity)
                outcome = self.prepare_from(folder, board)
                self.assert_good(outcome)
                self.assertEqual(self.done(outcome)["evidence"], "rom-digest+challenge", str(outcome))
                found = [event for event in self.read_by_the_board(board) if event["event"] == "identity"][0]
                self.assertTrue(found["belongs_together"], found)
                self.assertTrue(found["root_ca"], found)
                again = self.prepare_from(folder, board)
                self.assert_good(again)
                self.assertTrue(self.done(again)["already"], str(again))

    def test_of_nvs_is_encrypted_by_a_key_in_the_efuses(self):
        key = os.urandom(32)
        folder = self.product("nvs", '[[image]]\nformat = "nvs"\npartition = "identity"\nencryption = "hmac"\nhmac_key = "hmac.bin"\n', "--chip", "esp32s3", hmac__bin=key)
        board = self.board("--chip", "esp32s3", "--hmac-key", folder / "hmac.bin")
        outcome = self.prepare_from(folder, board)
        self.assert_good(outcome)
        found = [event for event in self.read_by_the_board(board, "--hmac-key", folder / "hmac.bin") if event["event"] == "identity"][0]
        self.assertTrue(found["belongs_together"], found)


class Values(ImagesTest):
    RECIPE = """
[[image]]
partition = "nvs"
format = "nvs"
keep = true
entries = { wifi = { ssid = "{values.ssid}", psk = "{values.psk}", channel = { value = 6, encoding = "u8" } } }
[values]
csv = "values.csv"
by = "%s"
"""

    def sha(self, text):
        return hashlib.sha256(text.encode()).hexdigest()

    def entries(self, board):
        table = [event for event in self.read_by_the_board(board) if event.get("label") == "nvs"][0]
        return {file["name"]: file["sha256"] for file in table["files"]}

    def test_come_from_the_boards_row(self):
        board = self.board()
        folder = self.product("spiffs", self.RECIPE % "mac", values__csv=("mac,ssid,psk\n%s,lab,top secret\n" % board["mac"]).encode())
        outcome = self.prepare_from(folder, board)
        self.assert_good(outcome)
        self.assertNotIn("top secret", str(outcome))
        entries = self.entries(board)
        self.assertEqual((entries["wifi/ssid"], entries["wifi/psk"]), (self.sha("lab"), self.sha("top secret")))
        plan = espmint("run", folder, "--dry-run", "--json")
        self.assert_good(plan)
        told = [event for event in plan.events if event["event"] == "plan"][0]
        self.assertEqual([image["format"] for image in told["images"]], ["nvs"])

    def test_that_are_missing_refuse_the_board_before_a_byte_is_written(self):
        board = self.board()
        before = pathlib.Path(board["flash_file"]).read_bytes()
        folder = self.product("spiffs", self.RECIPE % "mac", values__csv=b"mac,ssid,psk\n000000000001,lab,x\n")
        outcome = self.prepare_from(folder, board)
        self.assertEqual(outcome.code, 1, str(outcome))
        self.assertEqual(self.done(outcome)["code"], "values-missing")
        self.assertIn(board["mac"], self.done(outcome)["fault"])
        self.assertEqual(pathlib.Path(board["flash_file"]).read_bytes(), before)

    def test_are_joined_by_a_scanned_serial_number(self):
        board = self.board()
        folder = self.product("spiffs", self.RECIPE % "serial", values__csv=b"serial,ssid,psk\nSN-7,lab,x\n")
        self.assert_fault(self.prepare_from(folder, board), 2, "usage", "--serial")
        self.assert_good(self.prepare_from(folder, board, "--serial", "SN-7"))
        self.assertEqual(self.entries(board)["wifi/ssid"], self.sha("lab"))

    def test_of_every_row_are_checked_before_the_first_board(self):
        recipe = '[[image]]\nformat = "nvs"\nentries = { net = { port = { value = "{values.port}", encoding = "u16" } } }\n[values]\ncsv = "v.csv"\n'
        folder = self.product("spiffs", recipe, v__csv=b"mac,port\n24d7eb000001,8883\n24d7eb000002,88830\n")
        outcome = espmint("run", folder, "--dry-run")
        self.assert_fault(outcome, 3, "input-invalid", "24d7eb000002", "net.port")
        self.assertNotIn("88830", str(outcome))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    cli.PROGRAM = os.path.abspath(sys.argv.pop(1))
    with tempfile.TemporaryDirectory(prefix="espmint-images-") as work:
        cli.WORK = pathlib.Path(work)
        (cli.WORK / "home").mkdir()
        sys.exit(not unittest.main(exit=False).result.wasSuccessful())
