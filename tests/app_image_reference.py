#!/usr/bin/env python3
"""Random ELF files and merges through espmint and through esptool (4.8.1), whose outputs must be the same bytes.

  app_image_reference.py ESPMINT --esptool ESPTOOL.PY [--count 20] [--seed 1] [--chips esp32,esp32c3] [--keep FOLDER]

Where esptool refuses, so must espmint; where espmint refuses and esptool does not, the words must be one of REFUSED_ON_PURPOSE.
"""
import argparse
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import elf_files

# (ours, theirs): flags drawn for each case
VARIANTS = (
    (), (), (),
    (("--no-digest", "--dont-append-digest"),),
    (("--secure-pad v2", "--secure-pad-v2"),),
    (("--use-segments", "--use_segments"),),
    (("--pad-to-size 4096", "--pad-to-size 4KB"),),
    (("--min-rev 101 --max-rev 399", "--min-rev-full 101 --max-rev-full 399"),),
    (("--flash-mode dout --flash-size 16MB", "--flash_mode dout --flash_size 16MB"),),
)
REFUSED_ON_PURPOSE = ("overlap", "segments", "nothing to load")


def run(argv, out):
    out.unlink(missing_ok=True)
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, errors="replace")
    return (out.read_bytes() if done.returncode == 0 and out.exists() else None), (done.stdout + done.stderr).strip()


def pairs_of(variant, side):
    return " ".join(pair[side] for pair in variant).split()


def one_elf(a, work, chip, seed):
    """None where both agree, else what differs."""
    elf = work / "in.elf"
    elf.write_bytes(elf_files.random_elf(chip, seed))
    variant = random.Random("variant %d" % seed).choice(VARIANTS)
    ours, our_words = run([a.espmint, "image", "app", "build", "--chip", chip, *pairs_of(variant, 0), elf, "-o", work / "ours.bin"], work / "ours.bin")
    theirs, their_words = run([a.python, a.esptool, "--chip", chip, "elf2image", *pairs_of(variant, 1), "-o", work / "theirs.bin", elf], work / "theirs.bin")
    if ours == theirs:
        return None, ours is not None
    if ours is None and any(word in our_words for word in REFUSED_ON_PURPOSE):
        return None, False
    if ours is None or theirs is None:
        return "%s; esptool: %s" % (our_words[-200:], their_words[-200:]), False
    at = next((i for i, (x, y) in enumerate(zip(ours, theirs)) if x != y), min(len(ours), len(theirs)))
    return "first difference at %#x, %d and %d bytes, %r" % (at, len(ours), len(theirs), variant), False


def one_merge(a, work, seed):
    dice = random.Random("merge %d" % seed)
    words, at = [], dice.choice((0, 0x1000, 0x10000))
    target = at
    parts = []
    for i in range(dice.randrange(1, 5)):
        content = dice.randbytes(dice.choice((1, 3, 16, 0x1001, dice.randrange(1, 0x8000))))
        (work / ("%d.bin" % i)).write_bytes(content)
        parts.append([hex(at), work / ("%d.bin" % i)])
        # Two files in one sector are refused there: they would be erased together. Here they may share it.
        at = (at + len(content) + dice.choice((0, 0, 1, 0x1000, dice.randrange(0x8000))) + 0xfff) // 0x1000 * 0x1000
    dice.shuffle(parts)
    for part in parts:
        words += part
    offset = ["--target-offset", hex(target)] if target and dice.random() < 0.5 else []
    fill = dice.random() < 0.3
    ours, our_words = run([a.espmint, "image", "merge", *offset, *(["--fill-to", "1MB"] if fill else []), *words, "-o", work / "ours.bin"], work / "ours.bin")
    theirs, their_words = run([a.python, a.esptool, "--chip", "esp32", "merge_bin", *offset, *(["--fill-flash-size", "1MB"] if fill else []), "-o", work / "theirs.bin", *words],
                              work / "theirs.bin")
    if ours == theirs:
        return None, ours is not None
    return "%s; esptool: %s; %r %r" % (our_words[-200:], their_words[-200:], ours and len(ours), theirs and len(theirs)), False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("espmint")
    parser.add_argument("--esptool", required=True)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--chips", default=",".join(elf_files.CHIPS))
    parser.add_argument("--keep", type=pathlib.Path)
    a = parser.parse_args()
    a.espmint = os.path.abspath(a.espmint)
    wrong, images, cases = 0, 0, 0
    with tempfile.TemporaryDirectory(prefix="app-image-reference-") as folder:
        work = pathlib.Path(folder)
        jobs = [(chip, lambda seed, chip=chip: one_elf(a, work, chip, seed)) for chip in a.chips.split(",")] + [("merge", lambda seed: one_merge(a, work, seed))]
        for name, job in jobs:
            for seed in range(a.seed, a.seed + a.count):
                difference, made = job(seed)
                cases += 1
                images += made
                if difference:
                    wrong += 1
                    print("%s, seed %d: %s" % (name, seed, difference))
                    if a.keep:
                        a.keep.mkdir(parents=True, exist_ok=True)
                        (a.keep / ("%s-%d.elf" % (name, seed))).write_bytes((work / "in.elf").read_bytes())
    print("%d cases, %d of them images with the same bytes, %d wrong" % (cases, images, wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
