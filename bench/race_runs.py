"""What bench/race.py runs: the job, virtual boards, and one run of each contestant on them.

Every run gets boards of its own, made from the same seed for all contestants of one repetition: the same MACs, old bytes
and erase times. A run counts only if the flash holds the job's bytes afterwards.
"""
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
SHIM_SOURCE = HERE.parent / "tests" / "pty" / "modem_shim.c"
REGISTRATION_SECONDS = 1.5  # of the scripts' cloud calls, one after the other
ATTEMPTS = 4  # of one of many processes


class Failed(Exception):
    """A run that does not count, with the reason."""


class Job:
    """Files and where they go: a build folder of `sim firmware`, and a 64 KiB storage image with 4 KiB in it."""

    def __init__(self, program, folder, app_size="1MB"):
        self.folder = pathlib.Path(folder)
        subprocess.run([program, "sim", "firmware", str(folder), "--app-size", app_size, "-q"], check=True)
        arguments = json.loads((self.folder / "flasher_args.json").read_text())
        self.parts = sorted((int(at, 0), self.folder / name) for at, name in arguments["flash_files"].items())
        listing = subprocess.run([program, "image", "partitions", "list", str(self.folder / "partition_table" / "partition-table.bin")],
                                 check=True, capture_output=True, text=True).stdout
        rows = [line.split(",") for line in listing.splitlines() if line and not line.startswith("#")]
        storage = next(row for row in rows if row[2] in ("spiffs", "130"))
        size = as_bytes(storage[4])
        image = bytes((37 * i * i + i // 7) & 0xFF for i in range(4096)) + b"\xff" * (size - 4096)
        (self.folder / "storage.bin").write_bytes(image)
        self.firmware = list(self.parts)
        self.parts.append((as_bytes(storage[3]), self.folder / "storage.bin"))

    def bytes(self):
        return sum(path.stat().st_size for _, path in self.parts)

    def arguments(self):
        return [word for at, path in self.parts for word in (hex(at), str(path))]

    def check(self, board, parts):
        with open(board["flash_file"], "rb") as flash:
            for at, path in parts:
                flash.seek(at)
                wanted = path.read_bytes()
                if flash.read(len(wanted)) != wanted:
                    raise Failed("the flash of %s differs from %s" % (board["mac"], path.name))


def as_bytes(text):
    text = text.strip()
    for ending, factor in (("K", 1024), ("M", 1024 * 1024)):
        if text.endswith(ending):
            return int(text[:-1], 0) * factor
    return int(text, 0)


class Boards:
    """`espmint sim board` for one run."""

    def __init__(self, program, count, preset, seed, dirty, cores=None):
        command = [program, "sim", "board", "--count", str(count), "--preset", preset, "--seed", str(seed), "--json"]
        command += ["--dirty"] if dirty else []
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        if cores:
            os.sched_setaffinity(self.process.pid, cores)
        self.all = [json.loads(self.process.stdout.readline()) for _ in range(count)]
        self.cpu = 0.0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        _, _, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = 0
        self.process.stdout.close()
        self.cpu = usage.ru_utime + usage.ru_stime


class Carrier:
    """How a tool reaches a board: its pty with modem lines that a preload shim plays, or RFC 2217."""

    def __init__(self, folder, kind):
        self.kind, self.shim = kind, pathlib.Path(folder) / "modem_shim.so"
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if kind == "pty":
            if not compiler:
                raise SystemExit("no C compiler for the modem shim: use --carrier rfc2217")
            subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", str(self.shim), str(SHIM_SOURCE), "-ldl", "-lpthread"], check=True)

    def port(self, board):
        return board["pty"] if self.kind == "pty" else board["rfc2217"]

    def environment(self, board):
        more = {"LD_PRELOAD": str(self.shim), "ESPMINT_SHIM_CONTROL": board["control"]} if self.kind == "pty" else {}
        return {**os.environ, **more, "NO_COLOR": "1"}


def run_together(commands, cores=None):
    """Starts all at once; seconds until each ended, and CPU seconds of all. One of several that fails is started again,
    as whoever stands there would: on few cores some of 64 esptools time out."""
    began = time.monotonic()
    running, starts = {}, [0] * len(commands)

    def start(number):
        command, environment = commands[number]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if cores:
            os.sched_setaffinity(process.pid, cores)
        running[process.pid] = (number, process)
        starts[number] += 1

    for number in range(len(commands)):
        start(number)
    took, cpu, said = [None] * len(commands), 0.0, {}
    # Their output is a few KiB, less than a pipe holds: it is read at the end.
    while running:
        pid, status, usage = os.wait4(-1, 0)
        if pid not in running:
            continue
        number, process = running.pop(pid)
        process.returncode = os.waitstatus_to_exitcode(status)
        took[number] = time.monotonic() - began
        cpu += usage.ru_utime + usage.ru_stime
        said[number] = process.stdout.read().decode(errors="replace")
        process.stdout.close()
        if process.returncode != 0:
            if len(commands) > 1 and starts[number] < ATTEMPTS:
                start(number)
                continue
            for _, (_, other) in running.items():
                other.terminate()
            raise Failed("%s ended with %d: %s" % (commands[number][0][:3], process.returncode, said[number][-400:]))
    if sum(starts) > len(commands):
        print("%d of %d were started again" % (sum(starts) - len(commands), len(commands)), file=sys.stderr)
    return took, cpu


class Esptool:
    """esptool as its users call it: a process per board. `stub`: a folder of stub files that replace its own."""

    def __init__(self, name, python, script, folder, stub=None):
        self.name, self.python, self.script = name, python, pathlib.Path(script)
        if stub:
            # A copy beside the original's: nothing of it is changed or kept.
            copy = pathlib.Path(folder) / name.replace(" ", "-")
            shutil.copytree(self.script.parent, copy, symlinks=True, ignore=shutil.ignore_patterns(".git", "test", "docs"))
            for target in copy.rglob("stub_flasher/**/esp32.json"):
                target.write_bytes((pathlib.Path(stub) / "esp32.json").read_bytes())
            self.script = copy / self.script.name
        self.version = subprocess.run([python, str(self.script), "version"], check=True, capture_output=True, text=True).stdout.split()[-1]

    def call(self, carrier, board, baud, *words):
        # The chip is named: guessing it would cost one more connection.
        return ([self.python, str(self.script), "--chip", "esp32", "-p", carrier.port(board), "-b", str(baud), *words],
                carrier.environment(board))

    def write(self, job, carrier, boards, baud, cores):
        words = ["write_flash", "-z", *job.arguments()]
        took, cpu = run_together([self.call(carrier, board, baud, *words) for board in boards], cores)
        return {"done": took, "cpu": cpu, "parts": job.parts}

    def script_flow(self, job, carrier, boards, baud, cores):
        """The MAC, the registration, the flash, one after the other, as provisioning scripts do."""
        began = time.monotonic()
        _, first = run_together([self.call(carrier, board, baud, "read_mac") for board in boards], cores)
        time.sleep(REGISTRATION_SECONDS)
        before = time.monotonic() - began
        run = self.write(job, carrier, boards, baud, cores)
        return {"done": [before + t for t in run["done"]], "cpu": first + run["cpu"], "parts": job.parts}


class Espmint:
    def __init__(self, program):
        self.name, self.program = "espmint", program
        self.version = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout.split()[1]

    def write(self, job, carrier, boards, baud, cores):
        """One process per board: only a desk writes without a recipe."""
        commands = [([self.program, "flash", "write", "--json", "-p", carrier.port(board), "-b", str(baud), *job.arguments()],
                     carrier.environment(board)) for board in boards]
        took, cpu = run_together(commands, cores)
        return {"done": took, "cpu": cpu, "parts": job.parts}

    def line(self, job, carrier, boards, baud, cores):
        """The whole flow: firmware, an identity of its own, read back after a reset, started, challenged, recorded."""
        one = len(boards) == 1
        # One shim plays one board's lines: many boards are reached by RFC 2217.
        ports = [carrier.port(boards[0])] if one else [board["rfc2217"] for board in boards]
        environment = carrier.environment(boards[0]) if one else {**os.environ}
        with State(self.program, job) as state:
            return self.prepare(state, job, ports, environment, baud, cores)

    def rework(self, job, carrier, boards, baud, cores):
        """The same boards again, all of them right already: seconds of the second time."""
        ports, environment = [board["rfc2217"] for board in boards], {**os.environ}
        with State(self.program, job) as state:
            self.prepare(state, job, ports, environment, baud, cores)
            again = self.prepare(state, job, ports, environment, baud, cores)
        if not all(event["already"] for event in again["events"]):
            raise Failed("a board that was right was taken for another")
        return again

    def prepare(self, state, job, ports, environment, baud, cores):
        command = [self.program, "run", "--json", "--state", state, "--firmware", str(job.folder), "--baud", str(baud), "--count", str(len(ports))]
        for port in ports:
            command += ["--port", port]
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        if cores:
            os.sched_setaffinity(process.pid, cores)
        events = [(time.monotonic() - began, json.loads(line)) for line in process.stdout]
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        done = [(at, event) for at, event in events if event["event"] == "done"]
        if process.returncode != 0 or any(event["verdict"] != "VERIFIED" for _, event in done):
            raise Failed("the line ended with %d: %s" % (process.returncode, [e for _, e in done][:1]))
        started, wrote = {}, {}
        for at, event in events:
            if event["event"] == "start":
                started[event["slot"]] = at
            elif event["event"] == "step" and event["step"] == "evidence":
                wrote[event["slot"]] = at
        return {"done": [at for at, _ in done], "wrote": list(wrote.values()), "cpu": usage.ru_utime + usage.ru_stime,
                "events": [event for _, event in done], "parts": job.firmware, "rss": usage.ru_maxrss / 1024,
                "device": [wrote[slot] - started[slot] for slot in wrote],
                "wire": statistics.median(event["wire_bytes"] for _, event in done)}


class State:
    """A state folder that has a CA and a ledger already, as on every day but the first."""

    def __init__(self, program, job):
        self.folder = tempfile.mkdtemp(prefix="espmint-race-state-")
        subprocess.run([program, "prepare", "--state", self.folder, "--firmware", str(job.folder), "--port", "/dev/null/none", "-q"],
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        return self.folder

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)


def one_run(program, job, run, carrier, count, baud, preset, dirty, seed, tool_cores=None, board_cores=None):
    """Boards, one contestant, the check of every flash."""
    with Boards(program, count, preset, seed, dirty, board_cores) as boards:
        result = run(job, carrier, boards.all, baud, tool_cores)
        for board in boards.all:
            job.check(board, result["parts"])
    result["boards_cpu"] = boards.cpu
    return result

