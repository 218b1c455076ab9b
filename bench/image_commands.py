#!/usr/bin/env python3
"""Wall time of every image command, from process start to process end, beside the reference tool's where it is given.

  image_commands.py ESPMINT [--runs 15] [--esptool ESPTOOL.PY] [--spiffsgen PY] [--gen-esp32part PY] [--nvs-gen PY]
                            [--fatfsgen PY] [--wl-fatfsgen PY] [--mklittlefs PROGRAM] [--python PYTHON] [--only WORD,WORD]

Prints a Markdown table: the median of the runs' wall time, the slowest beside it, and the CPU it took (what is left is waiting, for the disk or for others on the
machine). Aims: 10 ms for each command, and a fourth of the reference's time at most.
Commands that this espmint does not know are left out with a word on stderr. Exit code 0 when every aim is met, else 1.

The outputs are compared, too, where both tools should make the same bytes: what is fast and wrong is no result.
"""
import argparse
import hashlib
import os
import pathlib
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests"))
import elf_files  # noqa: E402

AIM_SECONDS, AIM_TIMES = 0.010, 4

NVS_CSV = """key,type,encoding,value
device,namespace,,
name,data,string,thermostat
serial,data,u32,4711
limit,data,i16,-40
token,data,hex2bin,0123456789abcdef0123456789abcdef
wifi,namespace,,
ssid,data,string,factory
password,data,string,not-a-secret
"""
TABLE_CSV = """nvs,data,nvs,0x9000,0x6000
otadata,data,ota,0xf000,0x2000
app0,app,ota_0,0x20000,1M
app1,app,ota_1,,1M
storage,data,spiffs,,0xF0000
"""


class Inputs:
    """A folder of certificate-sized files, CSVs, and firmware of 1 MiB, the same for every tool."""

    def __init__(self, folder):
        dice = random.Random(4711)
        self.folder = folder
        self.files = folder / "files"
        self.files.mkdir()
        for name, size in (("ROOT.PEM", 1188), ("CERT.PEM", 1224), ("KEY.PEM", 1679)):
            (self.files / name).write_bytes(dice.randbytes(size))
        self.nvs_csv, self.table_csv = folder / "nvs.csv", folder / "table.csv"
        self.nvs_csv.write_text(NVS_CSV)
        self.table_csv.write_text(TABLE_CSV)
        self.key = folder / "key.bin"
        self.key.write_bytes(self.nvs_key(bytes(range(64))))
        chip = elf_files.CHIPS["esp32"]
        flags = elf_files.ALLOCATED | elf_files.EXECUTABLE
        self.elf = folder / "app.elf"
        self.elf.write_bytes(elf_files.make_elf([
            (".flash.appdesc", elf_files.BITS, elf_files.ALLOCATED, chip.data + 0x20, elf_files.description() + dice.randbytes(200_000)),
            (".flash.text", elf_files.BITS, flags, chip.code + 0x20, dice.randbytes(700_000)),
            (".iram0.text", elf_files.BITS, flags, chip.ram[1], dice.randbytes(90_000)),
            (".dram0.data", elf_files.BITS, elf_files.ALLOCATED | elf_files.WRITE, chip.ram[0], dice.randbytes(20_000)),
            (".debug_info", elf_files.BITS, 0, 0, dice.randbytes(3_000_000))]))
        self.boot_elf = folder / "bootloader.elf"
        self.boot_elf.write_bytes(elf_files.make_elf([(".iram.text", elf_files.BITS, flags, 0x40078000, dice.randbytes(20_000)),
                                                      (".dram0.data", elf_files.BITS, elf_files.ALLOCATED | elf_files.WRITE, 0x3fff0000, dice.randbytes(3_000))]))

    @staticmethod
    def nvs_key(keys):
        import zlib
        return (keys + zlib.crc32(keys, 0xffffffff).to_bytes(4, "little")).ljust(4096, b"\xff")


class Command:
    """One row: our words, the reference's where there is one, and whether both make the same bytes."""

    def __init__(self, name, ours, theirs=None, same=False, needs=()):
        self.name, self.ours, self.theirs, self.same, self.needs = name, ours, theirs, same, needs


def commands(a, inputs):
    files, csv, table, elf, key = inputs.files, inputs.nvs_csv, inputs.table_csv, inputs.elf, inputs.key

    def tool(path, *words):
        return [a.python, path, *words] if path else None

    def esptool(*words):
        return tool(a.esptool, "--chip", "esp32", *words)

    header = ["--flash-mode", "dio", "--flash-freq", "80m", "--flash-size", "4MB"]
    their_header = ["--flash_mode", "dio", "--flash_freq", "80m", "--flash_size", "4MB"]
    parts = ["0x1000", "BOOT", "0x8000", "TABLE", "0x20000", "APP"]
    return [
        Command("app build, ELF of 4 MB", ["app", "build", "--chip", "esp32", *header, elf, "-o", "OUT"],
                esptool("elf2image", *their_header, "-o", "OUT", elf), same=True),
        Command("app list", ["app", "list", "APP"], esptool("image_info", "--version", "2", "APP"), needs=["APP"]),
        Command("app check", ["app", "check", "APP"], needs=["APP"]),
        Command("partitions build", ["partitions", "build", table, "-o", "OUT"], tool(a.gen_esp32part, "-q", table, "OUT"), same=True),
        Command("partitions list", ["partitions", "list", "TABLE"], tool(a.gen_esp32part, "-q", "TABLE"), needs=["TABLE"]),
        Command("merge, 1.2 MB", ["merge", "--chip", "esp32", *parts, "-o", "OUT"], esptool("merge_bin", "-o", "OUT", *parts), same=True,
                needs=["BOOT", "TABLE", "APP"]),
        Command("split, 1.2 MB", ["split", "MERGED", "-o", "DIR"], needs=["MERGED"]),
        Command("spiffs build, 0xF0000", ["spiffs", "build", "--size", "0xF0000", files, "-o", "OUT"], tool(a.spiffsgen, "0xF0000", files, "OUT")),
        Command("spiffs list", ["spiffs", "list", "SPIFFS"], needs=["SPIFFS"]),
        Command("spiffs extract", ["spiffs", "extract", "SPIFFS", "-o", "DIR"], needs=["SPIFFS"]),
        Command("nvs build, 0x6000", ["nvs", "build", "--size", "0x6000", csv, "-o", "OUT"], tool(a.nvs_gen, "generate", csv, "OUT", "0x6000"), same=True),
        Command("nvs build, encrypted", ["nvs", "build", "--size", "0x6000", "--key-file", key, csv, "-o", "OUT"],
                tool(a.nvs_gen, "encrypt", csv, "OUT", "0x6000", "--inputkey", key), same=True),
        Command("nvs list", ["nvs", "list", "NVS"], needs=["NVS"]),
        Command("fat build, 1 MB", ["fat", "build", "--size", "1M", files, "-o", "OUT"],
                tool(a.fatfsgen, files, "--partition_size", "1048576", "--output_file", "OUT")),
        Command("fat build, wear levelling", ["fat", "build", "--wear-levelling", "--size", "1M", files, "-o", "OUT"],
                tool(a.wl_fatfsgen, files, "--partition_size", "1048576", "--output_file", "OUT")),
        Command("fat list", ["fat", "list", "FAT"], needs=["FAT"]),
        Command("littlefs build, 1 MB", ["littlefs", "build", "--size", "1M", files, "-o", "OUT"],
                [a.mklittlefs, "-c", files, "-b", "4096", "-s", "1048576", "OUT"] if a.mklittlefs else None),
        Command("littlefs list", ["littlefs", "list", "LITTLEFS"], needs=["LITTLEFS"]),
    ]


def prepare(a, inputs):
    """What the reading commands read; only what this espmint can make."""
    made = {}

    def make(word, *words):
        out = inputs.folder / (word.lower() + ".bin")
        if subprocess.run([a.espmint, "image", *map(str, words), "-o", str(out)], capture_output=True).returncode == 0:
            made[word] = out

    make("APP", "app", "build", "--chip", "esp32", inputs.elf)
    make("BOOT", "app", "build", "--chip", "esp32", inputs.boot_elf)
    make("TABLE", "partitions", "build", inputs.table_csv)
    if {"APP", "BOOT", "TABLE"} <= set(made):
        make("MERGED", "merge", "0x1000", made["BOOT"], "0x8000", made["TABLE"], "0x20000", made["APP"])
    make("SPIFFS", "spiffs", "build", "--size", "0xF0000", inputs.files)
    make("NVS", "nvs", "build", "--size", "0x6000", inputs.nvs_csv)
    make("FAT", "fat", "build", "--size", "1M", inputs.files)
    make("LITTLEFS", "littlefs", "build", "--size", "1M", inputs.files)
    return made


def is_known(espmint, words):
    """Whether the program has this verb: its help says so."""
    verb = ["image", *(word for word in words[:2] if str(word).isalpha() and str(word).islower())]
    return "Usage: espmint " + " ".join(verb) in subprocess.run([espmint, *verb, "--help"], capture_output=True, text=True).stdout


def cpu_of_children():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(argv, made, scratch, runs):
    """Seconds of each run, the median of their CPU seconds, and what the first left in OUT."""
    seconds, cpu, output = [], [], None
    out, folder = scratch / "out.bin", scratch / "dir"
    places = {"OUT": out, "DIR": folder, **made}
    argv = [str(places.get(word, word)) for word in argv]
    for _ in range(runs + 1):  # the first warms the caches up
        shutil.rmtree(folder, ignore_errors=True)
        out.unlink(missing_ok=True)
        start, used = time.perf_counter(), cpu_of_children()
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        seconds.append(time.perf_counter() - start)
        cpu.append(cpu_of_children() - used)
        if done.returncode != 0:
            raise RuntimeError("%s ended with %d: %s" % (" ".join(argv), done.returncode, done.stderr.decode(errors="replace").strip()[-200:]))
        if output is None and out.exists():
            output = hashlib.sha256(out.read_bytes()).hexdigest()
    return seconds[1:], statistics.median(cpu[1:]), output


def row(command, a, made, scratch):
    """A line of the table, and whether the aims are met."""
    ours, our_cpu, our_bytes = measure([a.espmint, "image", *command.ours], made, scratch, a.runs)
    median = statistics.median(ours)
    good = median <= AIM_SECONDS
    cells = [command.name, "%.1f ms" % (median * 1000), "%.1f ms" % (max(ours) * 1000), "%.1f ms" % (our_cpu * 1000), "–", "–"]
    if command.theirs:
        theirs, _, their_bytes = measure(command.theirs, made, scratch, a.reference_runs)
        times = statistics.median(theirs) / median
        cells[4:] = ["%.0f ms" % (statistics.median(theirs) * 1000), "%.0f" % times]
        good = good and times >= AIM_TIMES
        if command.same and our_bytes != their_bytes:
            cells.append("**other bytes**")
            return cells, False
    cells.append("" if good else "**missed**")
    return cells, good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("espmint")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--reference-runs", type=int, default=5)
    parser.add_argument("--python", default=sys.executable, help="runs the reference tools")
    parser.add_argument("--only", default="", help="rows whose name has one of these words")
    for tool in ("esptool", "spiffsgen", "gen-esp32part", "nvs-gen", "fatfsgen", "wl-fatfsgen", "mklittlefs"):
        parser.add_argument("--" + tool)
    a = parser.parse_args()
    a.espmint = os.path.abspath(a.espmint)
    words = [word for word in a.only.split(",") if word]
    all_good, lines = True, []
    with tempfile.TemporaryDirectory(prefix="image-bench-") as work:
        scratch = pathlib.Path(work)
        inputs = Inputs(scratch)
        made = prepare(a, inputs)
        for command in commands(a, inputs):
            if words and not any(word in command.name for word in words):
                continue
            if not is_known(a.espmint, command.ours) or not set(command.needs) <= set(made):
                print("not known to this espmint, left out: image %s" % command.name, file=sys.stderr)
                continue
            try:
                cells, good = row(command, a, made, scratch)
            except RuntimeError as failed:
                cells, good = [command.name, "failed: %s" % failed, "", "", "", "", ""], False
            all_good = all_good and good
            lines.append(cells)
            print("| %s |" % " | ".join(cells), file=sys.stderr, flush=True)
    print("| `espmint image …` | median | slowest | CPU | reference | × | aim: %.0f ms, × %d |" % (AIM_SECONDS * 1000, AIM_TIMES))
    print("|---|---|---|---|---|---|---|")
    for cells in lines:
        print("| %s |" % " | ".join(cells))
    return 0 if all_good else 1


if __name__ == "__main__":
    sys.exit(main())
