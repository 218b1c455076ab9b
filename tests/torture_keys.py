#!/usr/bin/env python3
"""Kills a line that hands out a keys.csv with SIGKILL, at chosen and at random moments, while boards come and go;
restarts it, and checks from outside, with its own reading of the ledger, of the file and of the boards' flash, that no
key is on two boards, that the file never offers a key that was exposed, and that nothing is lost.

  torture_keys.py ESPMINT [--keys old3|old5|device-line] [--kills N] [--boards N] [--hits N] [--seed N]
                  [--used] [--empty-first] [--save DIR]

--used: a third of the rows was given out by a station whose records are lost; its boards come back among the others.
Prints how often a kill found keys RESERVED, EXPOSED and WRITTEN; each must be at least --hits. Exit 0 when all rules
held and every key of the file ended VERIFIED, or QUARANTINED with a reason.
"""
import argparse
import collections
import hashlib
import json
import os
import pathlib
import queue
import random
import re
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib

from torture import Boards, Broken

FIELDS = {"old3": ("key1", "key2", "key3"), "device-line": ("key1", "key2", "key3"),
          "old5": ("devAddr", "nwkSKey", "appSKey", "appKey", "devEui")}
AIM = {"RESERVED": "flash-firmware", "EXPOSED": "hand-over", "WRITTEN": "hand-over"}
# A secret: this word, its row (5 hex), its field (1 hex) and chance (20 hex). So a piece of one tells whose it is.
WORD = "5ec2e7"
SECRET = re.compile(WORD.encode() + rb"([0-9a-f]{5})?([0-9a-f][0-9a-f]{20})?")
WORD_IN_HEX = " ".join("0x" + WORD[i:i + 2] for i in range(0, len(WORD), 2))  # as old5 prints its first field
# What may happen to a key: event → states before, state after. Written down anew here, from docs/ledger.md.
STEPS = {"key_reserved": ("AVAILABLE", "RESERVED"), "key_released": ("RESERVED", "AVAILABLE"),
         "key_exposed": ("RESERVED", "EXPOSED"), "key_written": ("EXPOSED", "WRITTEN"),
         "key_verified": ("WRITTEN", "VERIFIED"), "key_quarantined": ("EXPOSED WRITTEN", "QUARANTINED"),
         "key_bound": ("VERIFIED QUARANTINED", "VERIFIED")}
FREE = ("", "available")  # what the file says of a row that any program would take for unused
MOST_KEPT = 60            # finished boards whose flash is kept so that they may come back
ROUND_TIMEOUT = 60.0      # seconds that a line without kills may take for one more verdict


def tail_of(text):
    return text[-800:].decode(errors="replace")


class KeyFile:
    """The user's keys.csv, and what the user remembers of it."""

    def __init__(self, path, names, dice):
        self.path, self.names, self.dice = path, names, dice
        self.end = dice.choice(["\n", "\r\n"])
        self.head = dice.choice(["", ",".join(names) + self.end])
        self.rows, self.users = [], []  # values; the bytes that were typed
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(self.head.encode())

    def add(self, count):
        """Rows at the file's end, as an editor adds them."""
        with self.path.open("ab") as file:
            for _ in range(count):
                row = len(self.rows)
                values = ["%s%05x%x%020x" % (WORD, row, field, self.dice.getrandbits(80))
                          for field in range(len(self.names))]
                typed = ",".join('"%s"' % value if self.dice.random() < 0.1 else value for value in values)
                self.rows.append(values)
                self.users.append(typed)
                file.write((typed + self.end).encode())

    def marks(self):
        """What stands behind each row: "", "available", "Provisioned" or [STATE, DEVICE]; the file must be whole."""
        text = self.path.read_bytes().decode()
        if not text.startswith(self.head) or not text.endswith(self.end):
            raise Broken("the file's header or its last line end is not as it was")
        lines = text[len(self.head):].split(self.end)[:-1]
        if len(lines) != len(self.users):
            raise Broken("the file has %d rows, the user wrote %d" % (len(lines), len(self.users)))
        out = []
        for number, (line, typed) in enumerate(zip(lines, self.users)):
            if not line.startswith(typed):
                raise Broken("row %d of the file is not what the user typed" % number)
            mark = line[len(typed):].split(",")[1:]
            if line[len(typed):] not in ("", ",available", ",Provisioned") and (
                    len(mark) != 5 or mark[0] != "Provisioned" or mark[4] != "Provisioned"):
                raise Broken("row %d of the file has a strange mark: %s" % (number, line[len(typed):]))
            out.append(mark[1:3] if len(mark) == 5 else mark[0] if mark else "")
        return out

    def in_flash(self, flash):
        """Rows of which anything lies in these bytes, and those that lie there whole."""
        pieces = collections.defaultdict(set)
        for found in SECRET.finditer(flash):
            if found[1] is None:
                raise Broken("a flash holds a piece of a key, too short to tell which")
            pieces[int(found[1], 16)].add(found[0].decode())
        return set(pieces), {row for row, texts in pieces.items() if texts >= set(self.rows[row])}


class Ledger:
    """The ledger as a kill left it: a copy, read with SQL of our own."""

    def __init__(self, folder, rows):
        with tempfile.TemporaryDirectory() as copy:
            for name in ("ledger.db", "ledger.db-wal"):
                if (folder / name).exists():
                    shutil.copy(folder / name, copy)
            db = sqlite3.connect(pathlib.Path(copy) / "ledger.db")
            q = lambda sql: db.execute(sql).fetchall()
            try:
                salt = q("select value from meta where key = 'ledger_id'")[0][0]
                self.keys = q("select row_sha256, state, device, coalesce(mac, ''), pool_key.number, pool_key.audit "
                              "from pool_key left join board on board.number = pool_key.board")
                self.audit = q("select seq, event, device, detail, hash from audit order by seq")
            except (sqlite3.OperationalError, IndexError):
                salt, self.keys, self.audit = "", [], []  # killed before the ledger was made
            db.close()
        sized = lambda text: struct.pack("<I", len(text)) + text.encode()
        digest_of = lambda values: hashlib.sha256(sized(salt) + b"".join(map(sized, values))).digest()
        digests = {digest_of(values): row for row, values in enumerate(rows)}
        self.state, self.device, self.changed, self.number = {}, {}, {}, {}
        for digest, state, device, mac, number, changed in self.keys:
            if digest not in digests:
                raise Broken("key %d of the ledger is no row of the file" % number)
            row = digests[digest]
            self.state[row], self.device[row], self.changed[row], self.number[row] = state, device, changed, number
            if state in ("EXPOSED", "WRITTEN") and mac != device:
                raise Broken("row %d is %s for %s, on board %s" % (row, state, device, mac or "unknown"))
        self.last = self.audit[-1][0] if self.audit else 0

    def counts(self):
        return collections.Counter(self.state.values())


class Line:
    """One run of the program; what it says is kept for the search for secrets."""

    def __init__(self, torture, extra=()):
        command = [torture.program, "run", "--json", "--state", str(torture.state),
                   "--csv-file", str(torture.file.path), "--firmware", str(torture.work / "build"), *extra]
        for board in torture.boards.all:
            command += ["--port", board["rfc2217"]]
        self.verdicts = torture.verdicts
        self.err = tempfile.TemporaryFile()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.err)
        self.events, self.said, self.began = queue.Queue(), [], time.monotonic()
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.said.append(line)
            try:
                self.events.put(json.loads(line))
            except ValueError:
                pass  # cut off by the kill
        self.events.put(None)

    def event(self, until):
        """The next event; {} when the time is over, None when the line has ended."""
        try:
            return self.events.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            return {}

    def end(self, kill=False):
        """Waits until it has ended. Its output, and the boards that it called VERIFIED."""
        if kill:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=ROUND_TIMEOUT)
        self.reader.join()
        self.process.stdout.close()
        self.err.seek(0)
        text = b"".join(self.said) + self.err.read()
        self.err.close()
        green = set()
        for line in self.said:
            if b'"event":"done"' not in line or not line.endswith(b"\n"):
                continue
            done = json.loads(line)
            self.verdicts[done["code"] or done["verdict"]] += 1
            if done["verdict"] == "VERIFIED":
                green.add(done["mac"])
        return text, green


class Torture:
    def __init__(self, program, kind, seed, count, used, work):
        self.program, self.kind, self.dice, self.work = program, kind, random.Random(seed), work
        self.state, self.ledger_folder = work / "state", work / "state/products/thermostat"
        make = [program, "sim", "firmware", str(work / "build"), "--app", kind, "--app-size", "64K", "-q"]
        subprocess.run(make, check=True)
        self.boards = Boards(program, count, seed, work / "boards")
        self.file = KeyFile(work / "csv" / "keys.csv", FIELDS[kind], self.dice)
        self.ever = collections.defaultdict(set)    # MAC → rows of which its flash ever held anything
        self.whole = collections.defaultdict(set)   # MAC → rows that it held whole
        self.owner = {}                             # row → MAC
        self.away = {}                              # MAC → flash, packed, of boards that are not plugged in
        self.before_us = set()                      # MACs of boards that an older station gave a key
        self.walk = {}                              # row → (state, device), by the audit's rows so far
        self.by_number = {}                         # the ledger's number → row
        self.last_audit = None                      # (seq, hash)
        self.hits, self.good, self.kills = collections.Counter(), collections.defaultdict(list), 0
        self.between = 0                            # kills between RESERVED in the ledger and its mark in the file
        self.unmarked = 0                           # kills that found rows as the user had typed them
        self.away_and_back = 0
        self.verdicts = collections.Counter()       # of all runs, by verdict or fault
        self.use_by_others() if used else self.file.add(3 * count)

    # ---- boards come and go

    def flash_of(self, board):
        return pathlib.Path(board["flash_file"])

    def look(self, board):
        """What its flash holds now goes into the record, and is checked against every other board's."""
        mac = board["mac"]
        flash = self.flash_of(board).read_bytes()
        rows, whole = self.file.in_flash(flash)
        self.ever[mac] |= rows
        self.whole[mac] |= whole
        for row in rows:
            if self.owner.setdefault(row, mac) != mac:
                raise Broken("row %d is on two boards: %s and %s" % (row, self.owner[row], mac))
        if len(self.ever[mac]) > 1:
            raise Broken("board %s holds more than one key: rows %s" % (mac, sorted(self.ever[mac])))
        return flash

    def replace(self, board, mac=None):
        """Unplugs it and plugs in another: the one that is named and comes back as it left, or a new one."""
        self.boards.tell(board, "unplug")
        flash = self.look(board)
        self.away[board["mac"]] = zlib.compress(flash, 1)
        if mac is None:
            self.boards.next_mac += 1
            board["mac"] = "%012x" % self.boards.next_mac
            self.boards.tell(board, "swap " + board["mac"])
        else:
            with self.flash_of(board).open("r+b") as file:
                file.write(zlib.decompress(self.away.pop(mac)))
            board["mac"] = mac
            self.away_and_back += 1
            self.boards.tell(board, "swap %s keep" % mac)
        self.boards.tell(board, "plug")

    def someone(self, ledger, unfinished=0.5):
        """Who comes next: a board that left early, one that is finished already, or (None) a new one."""
        done = {ledger.device[row] for row, state in ledger.state.items() if state in ("VERIFIED", "QUARANTINED")}
        done |= self.before_us - self.unsettled(ledger)
        early = sorted(mac for mac in self.away if mac not in done)
        finished = sorted(mac for mac in self.away if mac in done)
        for mac in finished[:-MOST_KEPT]:
            del self.away[mac]
        finished = finished[-MOST_KEPT:]
        roll = self.dice.random()
        if early and roll < unfinished:
            return self.dice.choice(early)
        return self.dice.choice(finished) if finished and roll > 0.9 else None

    def use_by_others(self):
        """A station whose ledger is lost gave keys to as many boards as there are. Its script marks a row after the
        board has answered, so the last one that it gave is not marked."""
        count = len(self.boards.all)
        self.file.add(count)
        mine, self.state = self.state, self.work / "others"
        text, green = Line(self, ["--count", str(count)]).end()
        self.state = mine
        if len(green) != count:
            raise Broken("the other station did not finish its boards: %s" % text[-500:])
        rows, typed = self.file.rows, self.file.users
        for board in self.boards.all:
            self.before_us.add(board["mac"])
            self.replace(board)
        shutil.rmtree(self.work / "others")
        shutil.rmtree(self.file.path.parent)
        fresh = KeyFile(self.file.path, self.file.names, self.dice)
        fresh.rows, fresh.users = rows, typed
        with fresh.path.open("ab") as file:
            for row, text in enumerate(typed):
                file.write((text + (",Provisioned" if row + 1 < count else "") + fresh.end).encode())
        fresh.add(2 * count)
        self.file = fresh

    # ---- the rules

    def check_output(self, text):
        for word in (WORD, WORD_IN_HEX, WORD.encode().hex()):
            if word.encode() in text:
                at = text.index(word.encode())
                raise Broken("a secret was printed: …%s…" % text[max(0, at - 200):at + 40].decode(errors="replace"))

    def check_state_folder(self):
        for path in self.state.rglob("*"):
            if path.is_file() and WORD.encode() in path.read_bytes():
                raise Broken("a secret is in %s" % path.relative_to(self.state))
        known = {"keys.csv", "keys.csv.prev", "keys.csv.lock"}
        strange = {path.name for path in self.file.path.parent.iterdir()} - known
        for name in strange:
            if not re.fullmatch(r"\.keys\.csv\..*\.tmp|keys\.csv\.prev\.new", name):
                raise Broken("a file beside the keys that nobody knows: %s" % name)
        return strange

    def walk_audit(self, ledger):
        """Each key's own way through the states, row by row of the chain; it must end where the table says."""
        self.by_number.update({number: row for row, number in ledger.number.items()})
        if self.last_audit:
            seq, digest = self.last_audit
            if len(ledger.audit) < seq or ledger.audit[seq - 1][4] != digest:
                raise Broken("audit row %d is gone or was changed" % seq)
        for seq, event, device, detail, digest in ledger.audit[self.last_audit[0] if self.last_audit else 0:]:
            self.last_audit = (seq, digest)
            detail = json.loads(detail)
            if event == "keys_imported":
                others = {number: (state, owner) for number, state, owner in detail["not_available"]}
                for number in range(detail["first"], detail["first"] + detail["count"]):
                    if self.by_number[number] in self.walk:
                        raise Broken("key %d was imported twice" % number)
                    self.walk[self.by_number[number]] = others.get(number, ("AVAILABLE", ""))
            if not event.startswith("key_"):
                continue
            row = self.by_number[detail["key"]]
            if event not in STEPS:
                raise Broken("audit row %d: nobody asked for %s" % (seq, event))
            state, owner = self.walk[row]
            if state not in STEPS[event][0]:
                raise Broken("audit row %d: %s of row %d, which was %s" % (seq, event, row, state))
            if owner and device != owner:
                raise Broken("audit row %d: %s of row %d for %s, but it is %s's" % (seq, event, row, device, owner))
            self.walk[row] = (STEPS[event][1], "" if event == "key_released" else device)
        for row, state in ledger.state.items():
            if self.walk.get(row) != (state, ledger.device[row]):
                raise Broken("row %d is %s of %s, the audit says %s" % (
                    row, state, ledger.device[row], self.walk.get(row)))

    def check(self, ledger, green):
        self.walk_audit(ledger)
        owners = collections.Counter(device for device in ledger.device.values() if device)
        for device, count in owners.items():
            if count > 1:
                raise Broken("the ledger gives board %s %d keys" % (device, count))
        verified = {ledger.device[row] for row, state in ledger.state.items() if state == "VERIFIED"}
        if green - verified:
            raise Broken("called VERIFIED, but not so in the ledger: %s" % ", ".join(sorted(green - verified)))
        marks = self.file.marks()
        self.unmarked += "" in marks
        for row, mark in enumerate(marks):
            state = ledger.state.get(row)
            if mark not in FREE:
                continue  # the safe side, whatever the ledger says
            if state == "RESERVED" and mark == "available":
                self.between += 1
            elif state not in (None, "AVAILABLE") and not (mark == "" and ledger.device[row] == ""):
                raise Broken("the file offers row %d, which is %s of %s" % (row, state, ledger.device[row]))
            if row in self.owner and (mark == "available" or self.owner[row] not in self.before_us):
                raise Broken("the file offers row %d, which is on board %s" % (row, self.owner[row]))
        for row, mac in self.owner.items():
            if mac in self.before_us and ledger.device.get(row) in ("", None):
                continue  # an older station gave it; not yet recognised
            state, device = ledger.state.get(row), ledger.device.get(row)
            if state not in ("EXPOSED", "WRITTEN", "VERIFIED", "QUARANTINED") or device != mac:
                raise Broken("board %s holds row %d, which is %s of %s" % (mac, row, state, device))
        for row, state in ledger.state.items():
            mac = ledger.device[row]
            if state == "VERIFIED" and mac and row not in self.whole[mac]:
                raise Broken("row %d is VERIFIED, but board %s never held it whole" % (row, mac))
            if mac and state in ("EXPOSED", "WRITTEN", "VERIFIED") and self.ever[mac] - {row}:
                raise Broken("row %d is %s of board %s, which holds rows %s" % (row, state, mac, self.ever[mac]))

    def read_ledger(self):
        return Ledger(self.ledger_folder, self.file.rows) if (self.ledger_folder / "ledger.db").exists() else None

    # ---- kills

    def kill_once(self, before, few):
        """One run up to its kill: at an aimed-at moment of a new board, at any moment, or while it starts."""
        dice, roll = self.dice, self.dice.random()
        rare = min(AIM, key=lambda state: self.hits[state])
        aim = rare if roll < (0.9 if few else 0.7) else None
        # New rows are imported and marked in the first moments.
        starting = len(self.file.rows) > len(before.state if before else ()) and dice.random() < 0.3
        aim = None if starting else aim
        delay = dice.uniform(0, 0.08) if starting or roll > 0.95 else dice.uniform(0, 1.2)
        if aim:
            known = self.good[aim]
            delay = dice.uniform(0, 0.4 if aim == "RESERVED" else 1.0)
            if known and dice.random() < 0.7:
                delay = max(0.0, dice.choice(known[-20:]) + dice.gauss(0, 0.02))
        line = Line(self)
        now = time.monotonic()
        swap_at = now + dice.uniform(0, 1.0) if before and dice.random() < 0.5 else None
        kill_at, aimed_at = (now + delay, now) if not aim else (now + 5.0, None)
        while True:
            event = line.event(min(kill_at, swap_at or kill_at))
            now = time.monotonic()
            if swap_at and now >= swap_at:
                swap_at = None
                self.replace(dice.choice(self.boards.all), self.someone(before))
            if event is None or now >= kill_at:
                break
            if aim and not aimed_at and event.get("event") == "step" and event["step"] == AIM[aim]:
                aimed_at, kill_at = now, now + delay
        ended = event is None
        text, green = line.end(kill=True)
        self.kills += 1
        if ended and line.process.returncode != -signal.SIGKILL:
            raise Broken("the line ended by itself with %d: %s" % (line.process.returncode, tail_of(text)))
        self.check_output(text)
        for board in self.boards.all:
            self.look(board)
        ledger = self.read_ledger()
        if ledger is None:
            return None
        self.check(ledger, green)
        self.check_state_folder()
        # A hit is a key that this very run had brought into the state.
        last = before.last if before else 0
        for state in {state for row, state in ledger.state.items() if ledger.changed[row] > last and state in AIM}:
            self.hits[state] += 1
            if aim == state and aimed_at:
                self.good[state].append(delay)
        return ledger

    def change_boards(self, ledger):
        """While no line runs: finished boards make room, some unfinished ones are taken away too."""
        macs = {ledger.device[row]: state for row, state in ledger.state.items() if ledger.device[row]}
        for board in self.boards.all:
            state = macs.get(board["mac"])
            if state in ("VERIFIED", "QUARANTINED") or (state and self.dice.random() < 0.3):
                self.replace(board, self.someone(ledger))
        given = sum(1 for state in ledger.state.values() if state != "AVAILABLE")
        if len(self.file.rows) - given < 2 * len(self.boards.all):
            self.file.add(len(self.boards.all) // 2)

    def kill_often(self, kills, hits):
        ledger = None
        # A busy machine may need a few kills more to hit the shortest state often enough.
        while self.kills < kills or (self.kills < 2 * kills and any(self.hits[state] < hits for state in AIM)):
            if ledger:
                self.change_boards(ledger)
            ledger = self.kill_once(ledger, any(self.hits[state] < hits for state in AIM)) or ledger

    # ---- the end

    def finish(self, empty_first):
        """Runs without kills until every key is on its board. `empty_first`: boards that left with a key in doubt come
        back only when the pool has no other key."""
        if empty_first:
            for board in self.boards.all:
                self.replace(board)
            self.run_until_empty([])
        # Twice: a key that was reserved when the line ended is free again.
        for _ in range(2):
            ledger = self.read_ledger()
            self.run_until_empty(sorted(self.unsettled(ledger)))
            if self.is_settled(self.read_ledger()):
                return

    def unsettled(self, ledger):
        """Boards that hold, or may hold, a key and have no verdict."""
        macs = {ledger.device[row] for row, state in ledger.state.items() if state in ("EXPOSED", "WRITTEN")}
        if self.kind != "device-line":  # which shows digests only, and so cannot be recognised
            macs |= self.before_us - set(ledger.device.values())
        return macs

    def is_settled(self, ledger):
        return not self.unsettled(ledger) and "AVAILABLE" not in ledger.state.values()

    def run_until_empty(self, waiting):
        """One line without kills: first the boards that wait for their own key, then new ones until no key is left."""
        here = {board["mac"] for board in self.boards.all}
        pending, waiting, idle = set(waiting), [mac for mac in waiting if mac not in here], []

        def next_for(board, plugged):
            if waiting:
                self.replace(board, waiting.pop())
            elif pending:  # nobody new yet: one who finds no key ends the line
                if plugged:
                    self.boards.tell(board, "unplug")
                idle.append(board)
            else:
                self.replace(board)

        for board in self.boards.all:
            if board["mac"] not in pending:
                next_for(board, True)
        line = Line(self)
        slots = {board["rfc2217"]: board for board in self.boards.all}
        verdicts = collections.Counter()
        while (event := line.event(time.monotonic() + ROUND_TIMEOUT)) is not None:
            if not event:
                line.end(kill=True)
                raise Broken("no verdict for %d s, after %s" % (ROUND_TIMEOUT, dict(verdicts)))
            if event["event"] != "done" or event["code"] == "pool-exhausted":
                continue
            verdicts[event["code"] or event["verdict"]] += 1
            pending.discard(event["mac"])
            next_for(slots[event["slot"]], True)
            while idle and not pending:
                self.replace(idle.pop())
        text, green = line.end()
        for board in idle:
            self.replace(board)
        self.check_output(text)
        for board in self.boards.all:
            self.look(board)
        self.check(self.read_ledger(), green)
        if line.process.returncode != 6 or b"pool-exhausted" not in text:
            raise Broken("the line ended with %d, not for want of keys: %s" % (line.process.returncode, tail_of(text)))
        if pending:
            raise Broken("the line ended (%d) while boards %s wait to finish with the keys that they hold: %s" % (
                line.process.returncode, ", ".join(sorted(pending)), tail_of(text)))

    def judge(self):
        """Every key on its board, or quarantined for a reason; and the chain is whole."""
        ledger = self.read_ledger()
        reasons = {}
        for _, event, _, detail, _ in ledger.audit:
            detail = json.loads(detail)
            if event == "key_quarantined":
                reasons[detail["key"]] = detail["why"]
            if event == "keys_imported":
                reasons.update({number: "doubtful in the file" for number, state, _ in detail["not_available"]
                                if state == "QUARANTINED"})
        for row, values in enumerate(self.file.rows):
            state = ledger.state.get(row)
            if state == "QUARANTINED" and reasons.get(ledger.number[row]):
                continue
            if state != "VERIFIED":
                raise Broken("row %d ended %s of %s" % (row, state, ledger.device.get(row)))
        for row, mark in enumerate(self.file.marks()):
            if not isinstance(mark, list) or mark != [ledger.state[row], ledger.device[row]]:
                raise Broken("the file says %s of row %d, which is %s" % (mark, row, ledger.state[row]))
        left = self.check_state_folder()
        if left:
            raise Broken("left beside the keys: %s" % ", ".join(sorted(left)))
        ask = [self.program, "audit", "verify", "--state", str(self.state)]
        verify = subprocess.run(ask, capture_output=True, text=True)
        if verify.returncode != 0:
            raise Broken("audit verify: %s" % (verify.stdout + verify.stderr)[-600:])
        return ledger, reasons


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--keys", choices=sorted(FIELDS), default="old3")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--boards", type=int, default=8)
    parser.add_argument("--hits", type=int, default=8)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--used", action="store_true")
    parser.add_argument("--empty-first", action="store_true",
                        help="Boards with a key in doubt come back only when the pool has no other key")
    parser.add_argument("--save", help="Keep everything in this folder when a rule is broken")
    a = parser.parse_args()
    seed = a.seed if a.seed is not None else int.from_bytes(os.urandom(3), "little")
    print("keys of %s, seed %d" % (a.keys, seed), flush=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix="espmint-torture-"))
    started, torture = time.monotonic(), None
    try:
        torture = Torture(os.path.abspath(a.program), a.keys, seed, a.boards, a.used, work)
        torture.kill_often(a.kills, a.hits)
        torture.finish(a.empty_first)
        ledger, reasons = torture.judge()
        print("%d kills in %.1f s: %s; %d between a RESERVED and its mark, %d with new rows not yet marked" % (
            torture.kills, time.monotonic() - started, ", ".join("%s %d" % (n, torture.hits[n]) for n in AIM),
            torture.between, torture.unmarked))
        print("%d boards came back; keys: %s; %d audit rows; verdicts: %s" % (
            torture.away_and_back, ", ".join("%d %s" % (n, s) for s, n in sorted(ledger.counts().items())), ledger.last,
            ", ".join("%d %s" % (n, s) for s, n in sorted(torture.verdicts.items()))))
        for row, number in sorted(ledger.number.items()):
            if number in reasons:
                print("  key %d was QUARANTINED (%s), now it is %s" % (number, reasons[number], ledger.state[row]))
        few = [name for name in AIM if torture.hits[name] < a.hits]
        if few:
            raise Broken("too few kills found keys %s" % ", ".join(few))
        return 0
    except Broken as broken:
        print("BROKEN (keys of %s, seed %d, kill %d): %s" % (a.keys, seed, torture.kills if torture else 0, broken))
        if a.save:
            shutil.copytree(work, a.save, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.control", "*.pty"))
        return 1
    finally:
        if torture:
            torture.boards.close()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
