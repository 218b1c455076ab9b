#!/usr/bin/env python3
"""NVS images through the real program: modes, what is left behind when a command fails, tables and back, batches.

  nvs_cli_test.py ESPMINT [UNITTEST WORDS ...]

Bytes are compared with the reference tool's by the golden corpus; here is what a person and a script meet.
"""
import json
import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import unittest

PROGRAM = None  # argv[1], made absolute
TABLE = "key,type,encoding,value\nwifi,namespace,,\nssid,data,string,net\npassword,data,string,top$ecret\nport,data,u16,8883\n"


class NvsImages(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="espmint-nvs-")
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)
        self.write("in.csv", TABLE)

    def write(self, name, text, mode=0o644):
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def nvs(self, *words):
        return subprocess.run([PROGRAM, "image", "nvs", *map(str, words)], cwd=self.folder, capture_output=True, text=True, timeout=60)

    def good(self, *words):
        outcome = self.nvs(*words)
        self.assertEqual(outcome.returncode, 0, outcome.stderr)
        return outcome

    def refused(self, code, words, *arguments):
        outcome = self.nvs(*arguments)
        self.assertEqual(outcome.returncode, code, outcome.stderr)
        self.assertIn(words, outcome.stderr)
        self.assertNotIn("top$ecret", outcome.stdout + outcome.stderr)
        return outcome

    def mode(self, name):
        return stat.S_IMODE((self.folder / name).stat().st_mode)

    def names(self):
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*"))

    def bytes(self, name):
        return (self.folder / name).read_bytes()

    def test_values_are_shown_on_demand_only(self):
        self.good("build", "--size", "12K", "in.csv", "-o", "nvs.bin")
        for words in (("list",), ("list", "--json"), ("check",)):
            self.assertNotIn("top$ecret", self.good(*words, "nvs.bin").stdout)
        self.assertIn('wifi.password = "top$ecret"', self.good("list", "--values", "nvs.bin").stdout)
        entries = json.loads(self.good("list", "--values", "--json", "nvs.bin").stdout)["entries"]
        self.assertEqual([entry["value"] for entry in entries], ["net", "top$ecret", 8883])

    def test_outputs_are_as_secret_as_what_they_are_made_of(self):
        self.good("keys", "-o", "keys.bin")
        self.assertEqual(self.mode("keys.bin"), 0o600)
        self.good("build", "--size", "12K", "in.csv", "-o", "open.bin")
        self.assertEqual(self.mode("open.bin"), 0o644)
        self.good("build", "--size", "12K", "--key-file", "keys.bin", "in.csv", "-o", "closed.bin")
        self.assertEqual(self.mode("closed.bin"), 0o600)
        (self.folder / "closed.bin").chmod(0o644)
        self.good("decrypt", "closed.bin", "--key-file", "keys.bin", "-o", "plain.bin")
        self.assertEqual(self.mode("plain.bin"), 0o600)
        self.assertEqual(self.bytes("plain.bin"), self.bytes("open.bin"))
        self.good("extract", "--key-file", "keys.bin", "closed.bin", "-o", "out")
        self.assertEqual(self.mode("out/nvs.csv"), 0o600)
        self.write("cert.pem", "-----", 0o600)
        self.write("named.csv", "key,type,encoding,value\nn,namespace,,\ncert,file,string,cert.pem\n")
        self.good("build", "--size", "12K", "named.csv", "-o", "named.bin")
        self.assertEqual(self.mode("named.bin"), 0o600)

    def test_nothing_is_left_behind_when_a_command_fails(self):
        self.write("bad.csv", TABLE + "port2,data,u8,top$ecret\n")
        self.write("long.csv", TABLE + "long,data,string," + "top$ecret" * 600 + "\n")
        self.good("keys", "-o", "keys.bin")
        self.good("build", "--size", "12K", "in.csv", "-o", "nvs.bin")
        before = self.names()
        self.refused(3, "bad.csv:6", "build", "--size", "12K", "bad.csv", "-o", "x.bin")
        self.refused(3, "long.csv:6", "build", "--size", "12K", "long.csv", "-o", "x.bin")
        self.refused(3, "x.csv", "build", "--size", "12K", "x.csv", "-o", "x.bin")
        self.refused(3, "multiple of 4096", "build", "--size", "10K", "in.csv", "-o", "x.bin")
        self.refused(3, "not encrypted", "decrypt", "nvs.bin", "--key-file", "keys.bin", "-o", "x.bin")
        self.refused(2, "--key-file", "decrypt", "nvs.bin", "-o", "x.bin")
        self.refused(3, "no file with NVS keys", "build", "--size", "12K", "--key-file", "in.csv", "in.csv", "-o", "x.bin")
        self.refused(3, "HMAC key is 32 bytes", "keys", "--hmac-key", "in.csv", "-o", "x.bin")
        self.refused(1, "not whole pages", "check", "in.csv")
        self.assertEqual(self.names(), before)

    def test_keys_are_never_written_over(self):
        self.good("keys", "-o", "keys.bin")
        first = self.bytes("keys.bin")
        self.refused(3, "is there already", "keys", "-o", "keys.bin")
        self.assertEqual(self.bytes("keys.bin"), first)
        self.good("keys", "-o", "other.bin")
        self.assertNotEqual(self.bytes("other.bin"), first)
        self.good("build", "--size", "12K", "--key-file", "keys.bin", "in.csv", "-o", "nvs.bin")
        self.refused(3, "do not open", "list", "--key-file", "other.bin", "nvs.bin")
        self.refused(3, "is encrypted", "list", "nvs.bin")

    def test_a_table_and_back(self):
        self.write("in.csv", TABLE + 'note,data,string,"a, ""b""\nc"\nraw,data,hex2bin,' + "ab" * 100 + "\n")
        self.good("build", "--size", "12K", "in.csv", "-o", "nvs.bin")
        self.write("again.csv", self.good("list", "--csv", "nvs.bin").stdout)
        self.good("build", "--size", "12K", "again.csv", "-o", "again.bin")
        self.assertEqual(self.bytes("again.bin"), self.bytes("nvs.bin"))
        self.good("extract", "nvs.bin")
        self.assertEqual(sorted(os.listdir(self.folder / "nvs")), ["nvs.csv", "wifi.raw.bin"])
        self.good("build", "--size", "12K", "nvs/nvs.csv", "-o", "again.bin")
        self.assertEqual(self.bytes("again.bin"), self.bytes("nvs.bin"))

    def test_a_batch_is_written_when_all_rows_are_good(self):
        self.write("config.csv", "n,namespace,\nid,data,u8\ncert,file,string\n")
        self.write("cert.pem", "-----", 0o600)
        values = self.write("values.csv", "id,cert\n1,cert.pem\n256,cert.pem\n")
        before = self.names()
        self.refused(3, "values.csv:3", "batch", "config.csv", "values.csv", "--size", "12K", "-o", "out")
        self.assertEqual(self.names(), before)
        values.write_text("id,cert\n1,cert.pem\n2,cert.pem\n")
        for _ in range(2):  # the same again changes nothing
            self.good("batch", "config.csv", "values.csv", "--size", "12K", "--prefix", "p", "--fileid", "id", "-o", "out")
        self.assertEqual([name for name in self.names() if "." in name[4:] and name.startswith("out/")],
                         ["out/bin/p-1.bin", "out/bin/p-2.bin", "out/csv/p-1.csv", "out/csv/p-2.csv"])
        self.assertEqual((self.mode("out/bin/p-1.bin"), self.mode("out/csv/p-1.csv")), (0o600, 0o600))
        (self.folder / "out/bin/p-1.bin").unlink()
        (self.folder / "out/csv/p-2.csv").write_text("mine")
        self.refused(3, "p-2.csv", "batch", "config.csv", "values.csv", "--size", "12K", "--prefix", "p", "-o", "out")
        self.assertFalse((self.folder / "out/bin/p-1.bin").exists())
        self.assertEqual(self.bytes("out/csv/p-2.csv"), b"mine")
        self.good("batch", "--force", "config.csv", "values.csv", "--size", "12K", "--prefix", "p", "-o", "out")
        self.refused(2, "--prefix", "batch", "config.csv", "values.csv", "--size", "12K", "--prefix", "../p", "-o", "out")


if __name__ == "__main__":
    PROGRAM = str(pathlib.Path(sys.argv.pop(1)).resolve())
    unittest.main()
