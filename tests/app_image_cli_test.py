#!/usr/bin/env python3
"""`image app build`, `image merge` and `image split` as a user meets them: files in, files out, words on stderr. No boards.

  app_image_cli_test.py ESPMINT [UNITTEST WORDS ...]
"""
import json
import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import unittest

import elf_files

PROGRAM = None

TABLE = "nvs,data,nvs,0x9000,0x6000\nfactory,app,factory,0x10000,256K\nstorage,data,spiffs,,64K\n"


class AppImageTest(unittest.TestCase):
    def setUp(self):
        work = tempfile.TemporaryDirectory(prefix="espmint-app-image-")
        self.addCleanup(work.cleanup)
        self.folder = pathlib.Path(work.name)

    def run_it(self, *words):
        done = subprocess.run([PROGRAM, "image", *map(str, words)], capture_output=True, text=True, cwd=self.folder, stdin=subprocess.DEVNULL, timeout=20)
        self.assertNotRegex(done.stderr, r"terminate called|Sanitizer|runtime error|std::|bad_alloc")
        return done

    def good(self, *words):
        done = self.run_it(*words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def refused(self, code, *words, says=()):
        done = self.run_it(*words)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        for word in says:
            self.assertIn(word, done.stderr)
        return done

    def file(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def app(self, chip="esp32", name="app.bin"):
        spec = elf_files.CHIPS[chip]
        elf = elf_files.make_elf([
            (".flash.appdesc", elf_files.BITS, elf_files.ALLOCATED, spec.data + 0x20, elf_files.description(b"thermostat")),
            (".flash.text", elf_files.BITS, elf_files.ALLOCATED | elf_files.EXECUTABLE, spec.code + 0x10020, bytes(range(250)) * 20),
            (".iram0.text", elf_files.BITS, elf_files.ALLOCATED | elf_files.EXECUTABLE, spec.ram[1], bytes(range(200)) * 9)], machine=spec.machine)
        self.file(name + ".elf", elf)
        self.good("app", "build", "--chip", chip, "--flash-mode", "dio", "--flash-size", "4MB", "--elf-sha256-offset", "0xb0", name + ".elf", "-o", name)
        return self.folder / name

    def parts(self):
        """Bootloader, table and app of an ESP32, as OFFSET FILE words."""
        self.file("boot.elf", elf_files.make_elf([(".iram.text", elf_files.BITS, elf_files.ALLOCATED | elf_files.EXECUTABLE, 0x40078000, bytes(range(100)) * 30)]))
        self.good("app", "build", "--chip", "esp32", "--flash-mode", "dio", "--flash-freq", "80m", "--flash-size", "4MB", "boot.elf", "-o", "boot.bin")
        self.file("table.csv", TABLE)
        self.good("partitions", "build", "table.csv", "-o", "table.bin")
        self.app()
        return ["0x10000", "app.bin", "0x1000", "boot.bin", "0x8000", "table.bin"]

    # ------------------------------------------------------------ app build

    def test_an_image_is_built_listed_and_checked_for_every_chip(self):
        for chip in elf_files.CHIPS:
            self.app(chip, chip + ".bin")
            listed = json.loads(self.good("app", "list", "--json", chip + ".bin").stdout)
            self.assertEqual(listed["chip"], chip)
            self.assertEqual(listed["app_desc"]["project_name"], "thermostat")
            self.assertNotEqual(listed["app_desc"]["app_elf_sha256"], "0" * 64)
            self.good("app", "check", chip + ".bin")

    def test_what_cannot_be_built_is_said_and_leaves_no_file(self):
        elf = self.file("a.elf", elf_files.make_elf([(".data", elf_files.BITS, 3, 0x3ffb0000, b"12345678")]))
        for code, words, says in (
                (2, ("--chip", "esp99", elf), ("esp99", "esp32c3")), (2, ("--chip", "esp8266", elf), ("esp8266",)),
                (2, ("--chip", "esp32", "--flash-freq", "60m", elf), ("60m",)), (2, ("--chip", "esp32", "--flash-mode", "octal", elf), ("octal",)),
                (2, ("--chip", "esp32", "--flash-size", "3MB", elf), ("3MB",)), (3, ("--chip", "esp32", "missing.elf"), ("missing.elf",)),
                (3, ("--chip", "esp32", "--elf-sha256-offset", "0x20", elf), ("SHA-256",)), (3, ("--chip", "esp32", "--flash-mmu-page-size", "16K", elf), ("64 KB",)),
                (3, ("--chip", "esp32", self.file("x.bin", b"\xe9" + bytes(40))), ("x.bin", "ESP firmware image"))):
            self.refused(code, "app", "build", *words, "-o", "out.bin", says=says)
            self.assertFalse((self.folder / "out.bin").exists(), words)
        self.refused(2, "app", "build", elf, "-o", "out.bin", says=("--chip",))

    # ------------------------------------------------------------ merge and split

    def test_a_split_file_merges_to_the_same_bytes(self):
        parts = self.parts()
        self.good("merge", *parts, "-o", "all.bin", "--fill-to", "1MB")
        whole = (self.folder / "all.bin").read_bytes()
        self.assertEqual(len(whole), 1 << 20)
        answer = json.loads(self.good("split", "--json", "all.bin", "-o", "parts").stdout)
        self.assertEqual([part["file"] for part in answer["parts"]], ["bootloader.bin", "partition-table.bin", "factory.bin"])
        self.assertEqual(answer["blank"], ["nvs", "storage"])
        self.assertEqual((self.folder / "parts/factory.bin").read_bytes(), (self.folder / "app.bin").read_bytes())
        self.assertEqual((self.folder / "parts/bootloader.bin").read_bytes(), (self.folder / "boot.bin").read_bytes())
        index = json.loads((self.folder / "parts/flasher_args.json").read_text())
        self.assertEqual(index["flash_files"]["0x1000"], "bootloader.bin")
        self.assertEqual(index["flash_settings"], {"flash_mode": "dio", "flash_size": "4MB", "flash_freq": "80m"})
        self.assertEqual(index["extra_esptool_args"]["chip"], "esp32")
        self.good("merge", "parts", "-o", "again.bin")
        self.assertEqual((self.folder / "again.bin").read_bytes(), whole)
        self.good("merge", "parts/flasher_args.json", "-o", "again2.bin")
        self.assertEqual((self.folder / "again2.bin").read_bytes(), whole)

    def test_a_dump_with_things_that_no_partition_lists_merges_to_the_same_bytes(self):
        self.good("merge", *self.parts(), "--target-offset", "0x1000", "-o", "all.bin")
        dump = bytearray((self.folder / "all.bin").read_bytes().ljust(0x80000, b"\xff"))
        dump[0x7c00:0x7c10] = b"behind the table"
        dump[0x8000:0x8010] = b"settings of nvs "
        dump[0x70001] = 0
        self.file("dump.bin", bytes(dump))
        self.good("split", "dump.bin")
        self.assertTrue((self.folder / "dump/unlisted-0x8c00.bin").exists(), "the folder is named after the file")
        self.good("merge", "dump", "-o", "again.bin")
        self.assertEqual((self.folder / "again.bin").read_bytes(), bytes(dump))

    def test_overlapping_files_are_refused_by_both_names(self):
        parts = self.parts()
        parts[parts.index("0x8000")] = "0x1800"
        self.refused(3, "merge", *parts, "-o", "all.bin", says=("boot.bin", "table.bin", "overlap"))
        self.assertFalse((self.folder / "all.bin").exists())

    def test_the_header_of_the_bootloader_is_changed_and_stays_valid(self):
        self.good("merge", *self.parts(), "--flash-mode", "qio", "--flash-freq", "40m", "--flash-size", "16MB", "-o", "all.bin")
        self.file("boot2.bin", (self.folder / "all.bin").read_bytes()[0x1000:0x8000])
        listed = json.loads(self.good("app", "list", "--json", "boot2.bin").stdout)
        self.assertEqual((listed["flash_mode"], listed["flash_freq"], listed["flash_size"], listed["hash_valid"]), ("qio", "40m", "16MB", True))

    def test_wrong_words_are_usage_and_wrong_chips_refused(self):
        parts = self.parts()
        self.refused(2, "merge", *parts[:-1], "-o", "all.bin", says=("0x8000",))
        self.refused(2, "merge", "app.bin", "0x1000", "-o", "all.bin", says=("'app.bin' is no offset",))
        self.refused(3, "merge", "nowhere", "-o", "all.bin", says=("nowhere",))
        self.refused(3, "merge", "--chip", "esp32c3", *parts, "-o", "all.bin", says=("esp32c3",))
        self.refused(2, "merge", "--chip", "esp99", *parts, "-o", "all.bin", says=("esp99",))
        self.refused(3, "merge", "0x10000", "app.bin", "--flash-size", "8MB", "-o", "all.bin", says=("bootloader",))
        self.assertFalse((self.folder / "all.bin").exists())

    def test_a_hostile_index_is_refused(self):
        for text in ("", "[]", "{}", '{"flash_files": 5}', '{"flash_files": {}}', '{"flash_files": {"x": "a"}}', '{"flash_files": {"0x0": 5}}',
                     '{"flash_files": {"0x0": "missing.bin"}}', '{"flash_files": {"0x0": "ok.bin"}, "merged": {"offset": "0x0", "size": -1}}',
                     '{"flash_files": {"0x0": "ok.bin"}, "merged": {"offset": "0x0", "size": 99999999999}}', '{"flash_files": {"0x0": "ok.bin"}, "merged": {"offset": 5}}',
                     "[" * 20000):
            self.file("ok.bin", b"1234")
            self.file("flasher_args.json", text)
            self.refused(3, "merge", "flasher_args.json", "-o", "all.bin")

    def test_names_of_partitions_stay_in_the_folder(self):
        self.file("table.csv", "../../out,data,nvs,0x9000,0x1000\n/etc/x,data,6,0xa000,0x1000\n..,data,6,0xb000,0x1000\n")
        self.good("partitions", "build", "table.csv", "-o", "table.bin")
        flash = bytearray(b"\xff" * 0xc000)
        flash[0x8000:0x8c00] = (self.folder / "table.bin").read_bytes()
        for at in (0x9000, 0xa000, 0xb000):
            flash[at] = 0x11
        self.file("deep/dump.bin", bytes(flash))
        self.good("split", "deep/dump.bin", "-o", "deep/parts")
        self.assertEqual(sorted(os.listdir(self.folder)), ["deep", "table.bin", "table.csv"])
        self.assertEqual(sorted(os.listdir(self.folder / "deep")), ["dump.bin", "parts"])
        self.assertEqual(len(os.listdir(self.folder / "deep/parts")), 5)
        self.good("merge", "deep/parts", "-o", "again.bin")
        self.assertEqual((self.folder / "again.bin").read_bytes(), bytes(flash))

    def test_splitting_overwrites_nothing_that_differs(self):
        self.good("merge", *self.parts(), "-o", "all.bin")
        self.good("split", "all.bin", "-o", "parts")
        self.good("split", "all.bin", "-o", "parts")
        (self.folder / "parts/factory.bin").write_text("mine")
        self.refused(3, "split", "all.bin", "-o", "parts", says=("factory.bin", "--force"))
        self.assertEqual((self.folder / "parts/factory.bin").read_text(), "mine")
        self.good("split", "--force", "all.bin", "-o", "parts")

    def test_parts_of_a_secret_dump_are_as_hard_to_read_as_it_is(self):
        self.good("merge", *self.parts(), "-o", "all.bin")
        (self.folder / "all.bin").chmod(0o600)
        self.good("split", "all.bin", "-o", "parts")
        self.assertEqual(stat.S_IMODE((self.folder / "parts/factory.bin").stat().st_mode), 0o600)
        self.good("merge", "parts", "-o", "again.bin")
        self.assertEqual(stat.S_IMODE((self.folder / "again.bin").stat().st_mode), 0o600)

    def test_what_is_no_dump_is_refused(self):
        app = self.app()
        self.refused(3, "split", app, "-o", "parts", says=("partition table",))
        self.refused(3, "split", self.file("empty.bin", b""), "-o", "parts", says=("partition table",))
        self.assertFalse((self.folder / "parts").exists())


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main()
