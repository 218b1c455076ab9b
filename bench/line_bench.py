#!/usr/bin/env python3
"""Measures the line as a user meets it: the program in one process, virtual boards in another, real time.

  line_bench.py ESPMINT [--boards 1,32] [--baud 921600] [--preset fast] [--repeat 3]

Prints for each number of boards: seconds to flashed-and-verified and to VERIFIED (medians and slowest board), the ratio
to the wire limit (bytes sent x 10 / baud), the station's CPU per board and its peak memory. Then the time from process
start to the first modem-line edge. Timing goals live here, not in tests; machines are noisy.
"""
import argparse
import json
import os
import pathlib
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time


def start_boards(program, count, preset, seed):
    process = subprocess.Popen([program, "sim", "board", "--count", str(count), "--preset", preset, "--seed", str(seed), "--json"],
                               stdout=subprocess.PIPE, text=True)
    return process, [json.loads(process.stdout.readline()) for _ in range(count)]


def run_line(program, build, boards, baud):
    state = tempfile.mkdtemp(prefix="espmint-bench-")
    command = [program, "run", "--json", "--state", state, "--firmware", build, "--baud", str(baud), "--count", str(len(boards))]
    for board in boards:
        command += ["--port", board["rfc2217"]]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    events = []
    for line in process.stdout:
        events.append((time.monotonic() - began, json.loads(line)))
    _, status, usage = os.wait4(process.pid, 0)
    shutil.rmtree(state, ignore_errors=True)
    if status != 0:
        sys.exit("the line ended with status %d: %s" % (status, [e for _, e in events if e["event"] == "done"]))
    cpu = usage.ru_utime + usage.ru_stime
    starts, flashed, done = {}, {}, {}
    for at, event in events:
        slot = event.get("slot")
        if event["event"] == "start":
            starts[slot] = at
        elif event["event"] == "step" and event["step"] == "evidence":
            flashed[slot] = at - starts[slot]
        elif event["event"] == "done":
            done[slot] = event
    wire = statistics.median(e["wire_bytes"] for e in done.values()) * 10 / baud
    return {"flashed": list(flashed.values()), "verified": [e["seconds"] for e in done.values()], "wire": wire,
            "wall": events[-1][0], "cpu": cpu, "rss": usage.ru_maxrss / 1024}


def first_edge(program, build):
    """Seconds from process start to the first SET-CONTROL of DTR or RTS at an RFC 2217 server."""
    server = socket.create_server(("127.0.0.1", 0))
    seen = {}

    def serve():
        client, _ = server.accept()
        data = b""
        while "edge" not in seen:
            part = client.recv(4096)
            if not part:
                return
            data += part
            at = 0
            while True:  # acknowledge every sub-negotiation, agree to every option
                at = data.find(b"\xff", at)
                if at < 0 or at + 2 >= len(data):
                    break
                word = data[at + 1]
                if word in (251, 253):
                    client.sendall(bytes([255, 253 if word == 251 else 251, data[at + 2]]))
                    at += 3
                elif word == 250:
                    end = data.find(b"\xff\xf0", at)
                    if end < 0:
                        break
                    if data[at + 2] == 44 and data[at + 3] == 5 and data[at + 4] in (8, 9, 11, 12):
                        seen["edge"] = time.monotonic()
                    client.sendall(bytes([255, 250, 44, data[at + 3] + 100]) + data[at + 4:end] + b"\xff\xf0")
                    at = end + 2
                else:
                    at += 3
            data = data[at:] if at >= 0 else b""

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    state = tempfile.mkdtemp(prefix="espmint-bench-")
    # A CA and a ledger are there on every run but the first: this one ends at a port that is not.
    subprocess.run([program, "prepare", "--state", state, "--firmware", build, "--port", "/dev/null/none", "-q"],
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    began = time.monotonic()
    process = subprocess.Popen([program, "run", "-q", "--state", state, "--firmware", build, "--port",
                                "rfc2217://127.0.0.1:%d" % server.getsockname()[1]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    thread.join(10)
    process.kill()
    process.wait()
    shutil.rmtree(state, ignore_errors=True)
    return seen.get("edge", float("nan")) - began


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--boards", default="1,32")
    parser.add_argument("--baud", type=int, default=921600)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--repeat", type=int, default=3)
    a = parser.parse_args()
    program = os.path.abspath(a.program)
    build = tempfile.mkdtemp(prefix="espmint-bench-build-")
    subprocess.run([program, "sim", "firmware", build, "-q"], check=True)
    single = None
    print("%6s %9s %9s %9s %7s %9s %9s %8s" % ("boards", "flashed", "x wire", "VERIFIED", "batch", "x one", "CPU ms", "RSS MB"))
    for count in [int(n) for n in a.boards.split(",")]:
        results = []
        for i in range(a.repeat):
            sim, boards = start_boards(program, count, a.preset, 1000 * count + i)
            try:
                results.append(run_line(program, build, boards, a.baud))
            finally:
                sim.terminate()
                sim.wait()
        middle = lambda key: statistics.median(key(r) for r in results)
        batch = middle(lambda r: max(r["verified"]))
        single = single or batch
        flashed = middle(lambda r: statistics.median(r["flashed"]))
        print("%6d %7.2f s %9.2f %7.2f s %5.2f s %9.2f %9.1f %8.1f" % (
            count, flashed, flashed / middle(lambda r: r["wire"]), middle(lambda r: statistics.median(r["verified"])), batch,
            batch / single, 1000 * middle(lambda r: r["cpu"]) / count, middle(lambda r: r["rss"])))
    print("process start to the first modem-line edge: %.0f ms" % (1000 * statistics.median(first_edge(program, build) for _ in range(5))))
    shutil.rmtree(build, ignore_errors=True)


if __name__ == "__main__":
    main()
