#!/usr/bin/env python3
"""Kills the line with SIGKILL at chosen and at random moments, restarts it, and checks the ledger's rules from outside:
with its own reading of the database and of the boards' flash.

  torture.py ESPMINT [--kills N] [--boards N] [--seed N] [--hits N]

Prints how often a kill found boards RESERVED, EXPOSED and WRITTEN; each must be at least --hits. Exit 0 when all rules
held and every board ended VERIFIED.
"""
import argparse
import collections
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

KEY = re.compile(rb"-----BEGIN EC PRIVATE KEY-----\n[A-Za-z0-9+/=\n]{100,400}-----END EC PRIVATE KEY-----\n")
AIM = {"RESERVED": "flash-firmware", "EXPOSED": "flash-identity", "WRITTEN": "evidence"}


class Broken(Exception):
    pass


class Boards:
    """The virtual boards, and the sockets that play the operator's hands."""

    def __init__(self, program, count, seed, folder):
        command = [program, "sim", "board", "--count", str(count), "--preset", "instant", "--seed", str(seed), "--json",
                   "--dir", str(folder)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.all = [json.loads(self.process.stdout.readline()) for _ in range(count)]
        self.next_mac = 0x24D7EB800000 + (seed & 0xFFF) * 0x100

    def tell(self, board, line):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(board["control"])
            s.sendall((line + "\n").encode())
            answer = s.recv(200).decode().strip()
        if answer != "ok":
            raise Broken("control %r answered %r" % (line, answer))

    def replace(self, board):
        self.next_mac += 1
        board["mac"] = "%012x" % self.next_mac
        self.tell(board, "unplug")
        self.tell(board, "swap " + board["mac"])
        self.tell(board, "plug")

    def close(self):
        self.process.terminate()
        self.process.wait()


def public_key(pem, known={}):
    if pem not in known:
        der = subprocess.run(["openssl", "ec", "-pubout", "-outform", "DER"], input=pem, capture_output=True).stdout
        known[pem] = hashlib.sha256(der).hexdigest() if der else None
    return known[pem]


class Ledger:
    """A copy of the ledger as the kill left it, read with SQL of our own."""

    def __init__(self, folder):
        with tempfile.TemporaryDirectory() as copy:
            for name in ("ledger.db", "ledger.db-wal"):
                if (folder / name).exists():
                    shutil.copy(folder / name, copy)
            db = sqlite3.connect(pathlib.Path(copy) / "ledger.db")
            q = lambda sql: db.execute(sql).fetchall()
            self.boards = q("select number, mac, device_id, exposed from board")
            self.identities = q("select attempt, board, state from identity")
            self.certificates = q("select attempt, board, sha256, public_key_sha256, state from certificate")
            self.evidence = {row[0] for row in q("select attempt from evidence")}
            self.audit = q("select seq, event, device from audit order by seq")
            db.close()
        self.mac_of = {number: mac for number, mac, _, _ in self.boards}

    def states(self, boards):
        """State of each board that is plugged in, as far as it has an open one."""
        macs = {board["mac"] for board in boards}
        return {self.mac_of[board]: state for _, board, state in self.identities if self.mac_of[board] in macs and state in AIM}

    def verified(self):
        return {self.mac_of[board] for _, board, state in self.identities if state == "VERIFIED"}

    def check(self, boards, seen_ids):
        live, keys = collections.Counter(), {}
        state_of = {attempt: state for attempt, _, state in self.identities}
        for attempt, board, sha, key, state in self.certificates:
            if state == "LIVE":
                live[board] += 1
            if key in keys:
                raise Broken("one key in two certificates")
            keys[key] = (attempt, board)
        if any(count > 1 for count in live.values()):
            raise Broken("two live certificates for one board")
        for attempt, board, state in self.identities:
            if state == "VERIFIED" and attempt not in self.evidence:
                raise Broken("attempt %d is VERIFIED without evidence" % attempt)
        for number, mac, device, exposed in self.boards:
            if exposed and seen_ids.setdefault(mac, device) != device:
                raise Broken("board %s changed its id from %s to %s" % (mac, seen_ids[mac], device))
        if [seq for seq, _, _ in self.audit] != list(range(1, len(self.audit) + 1)):
            raise Broken("the audit rows have a gap")
        # What is really on the boards, whatever the ledger says.
        on_flash = {}
        for board in boards:
            flash = pathlib.Path(board["flash_file"]).read_bytes()
            for pem in set(KEY.findall(flash)):
                key = public_key(pem)
                if key is None:
                    continue  # torn while it was written
                if on_flash.setdefault(key, board["mac"]) != board["mac"]:
                    raise Broken("one key on two boards: %s and %s" % (on_flash[key], board["mac"]))
                if key not in keys:
                    raise Broken("board %s holds a key that the ledger never heard of" % board["mac"])
                attempt, owner = keys[key]
                if self.mac_of[owner] != board["mac"]:
                    raise Broken("board %s holds the key of %s" % (board["mac"], self.mac_of[owner]))
                if state_of[attempt] in ("RESERVED", "RELEASED"):
                    raise Broken("board %s holds a key that is only %s" % (board["mac"], state_of[attempt]))


def start_line(program, state, build, boards, extra):
    command = [program, "run", "--json", "--state", str(state), "--firmware", str(build)] + extra
    for board in boards:
        command += ["--port", board["rfc2217"]]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill_when(process, aim, dice, fresh):
    """Reads events until one of the fresh boards enters the aimed-at step, waits a moment, kills."""
    wanted = AIM.get(aim)
    skip = dice.randrange(0, max(1, len(fresh) - 1))
    deadline = time.monotonic() + (10 if wanted else dice.uniform(0.05, 1.2))
    watchdog = threading.Timer(max(0.0, deadline - time.monotonic()), process.kill)
    watchdog.start()
    if wanted:
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "step" and event["step"] == wanted and (not fresh or event["slot"] in fresh):
                if skip == 0:
                    time.sleep(dice.uniform(0, {"RESERVED": 0.01, "EXPOSED": 0.008, "WRITTEN": 0.3}[aim]))
                    break
                skip -= 1
    else:
        process.stdout.read()
    process.send_signal(signal.SIGKILL)
    watchdog.cancel()
    process.wait()
    process.stdout.close()
    process.stderr.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--boards", type=int, default=6)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--hits", type=int, default=20)
    a = parser.parse_args()
    seed = a.seed if a.seed is not None else int.from_bytes(os.urandom(3), "little")
    dice = random.Random(seed)
    program = os.path.abspath(a.program)
    print("seed %d" % seed, flush=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix="espmint-torture-"))
    started = time.monotonic()
    boards = None
    try:
        subprocess.run([program, "sim", "firmware", str(work / "build"), "--app-size", "64K", "-q"], check=True)
        boards = Boards(program, a.boards, seed, work / "boards")
        state, ledger_folder = work / "state", work / "state/products/thermostat"
        hits, seen_ids, kills = collections.Counter(), {}, 0
        # A busy machine may need a few kills more to hit the shortest state often enough.
        while kills < a.kills or (kills < 2 * a.kills and any(hits[name] < a.hits for name in AIM)):
            # Finished boards make room for new ones; some unfinished ones are taken away too, most are left to resume.
            before = {}
            if (ledger_folder / "ledger.db").exists():
                ledger = Ledger(ledger_folder)
                before = ledger.states(boards.all)
                done = ledger.verified()
                for board in boards.all:
                    if board["mac"] in done or (board["mac"] in before and dice.random() < 0.4):
                        boards.replace(board)
            fresh = {board["rfc2217"] for board in boards.all if board["mac"] not in before}
            rare = min(AIM, key=lambda s: hits[s])
            aim = rare if dice.random() < 0.8 else "random"
            process = start_line(program, state, work / "build", boards.all, [])
            kill_when(process, aim, dice, fresh)
            kills += 1
            if not (ledger_folder / "ledger.db").exists():
                continue
            ledger = Ledger(ledger_folder)
            ledger.check(boards.all, seen_ids)
            # A hit is a board that this very run had brought into the state.
            after = ledger.states(boards.all)
            for name in {name for mac, name in after.items() if before.get(mac) != name}:
                hits[name] += 1
        # What a restart makes of it: every board ends VERIFIED, under the id that it had.
        process = start_line(program, state, work / "build", boards.all, ["--count", str(a.boards)])
        out, err = process.communicate(timeout=120)
        if process.returncode != 0:
            raise Broken("the last run ended with %d: %s" % (process.returncode, err or out[-2000:]))
        ledger = Ledger(ledger_folder)
        ledger.check(boards.all, seen_ids)
        missing = {board["mac"] for board in boards.all} - ledger.verified()
        if missing:
            raise Broken("not VERIFIED after the last run: %s" % ", ".join(sorted(missing)))
        subprocess.run([program, "audit", "verify", "--state", str(state), "-q"], check=True, stdout=subprocess.DEVNULL)
        few = [name for name in AIM if hits[name] < a.hits]
        print("%d kills in %.1f s: %s; %d boards verified, %d audit rows" % (
            kills, time.monotonic() - started, ", ".join("%s %d" % (n, hits[n]) for n in AIM), len(ledger.verified()), len(ledger.audit)))
        if few:
            raise Broken("too few kills found boards %s" % ", ".join(few))
        return 0
    except Broken as broken:
        print("BROKEN (seed %d): %s" % (seed, broken))
        return 1
    finally:
        if boards:
            boards.close()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
