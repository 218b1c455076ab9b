#!/usr/bin/env python3
"""The race: espmint and esptool on the same virtual boards, with the same files, one after the other, in real time.

  race.py ESPMINT [--esptool ESPTOOL.PY] [--stub FOLDER] [--baud 921600,2000000] [--ports 1,8] [--flash fast,classic]
  race.py ESPMINT --esptool ESPTOOL.PY --stub stub/node_modules/esptool-js/lib/targets/stub_flasher --full

Flows:
  flash    one board: `flash write` against `write_flash`; several: one line against as many esptool processes
  script   one board: `run` to VERIFIED against a provisioning script's way: MAC, 1.5 s of registration, flash
  rework   boards that are right already, the line alone

`--stub` adds an esptool with the stub that espmint uses, in a copy of its folder. A run counts only if the flash is
byte-equal afterwards. The order of the contestants turns with each repetition; figures are medians, the p95 beside them.
Boards and tools share this machine: where 64 esptool processes have no core to run on, that is what is measured.
"""
import argparse
import itertools
import json
import os
import shutil
import statistics
import sys
import tempfile

from race_runs import Carrier, Espmint, Esptool, Failed, Job, one_run

FULL = {"baud": "115200,460800,921600,2000000", "ports": "1,8,32,64", "flash": "fast,classic", "state": "blank,dirty", "repeat": 5}


def p95(values):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]


def contestants(flow, count, ours, theirs):
    if flow == "rework":
        return [(ours.name, ours.rework)]
    if flow == "script":
        return [(ours.name, ours.line)] + [(tool.name + " script", tool.script_flow) for tool in theirs]
    first = (ours.name, ours.write) if count == 1 else (ours.name + " line", ours.line)
    return [first] + [(tool.name, tool.write) for tool in theirs]


def race(a, program, job, ours, theirs, carrier, flow, count, baud, preset, state):
    """One line of the table per contestant."""
    field = contestants(flow, count, ours, theirs)
    seconds, wrote, device, cpu, boards_cpu, lost = ({name: [] for name, _ in field} for _ in range(6))
    wire = None
    for repetition in range(a.repeat):
        turned = field[repetition % len(field):] + field[:repetition % len(field)]
        for name, run in turned:
            seed = 1000 * count + repetition
            try:
                result = one_run(program, job, run, carrier, count, baud, preset, state == "dirty", seed, a.tool_cores, a.board_cores)
            except Failed as failed:
                lost[name].append(str(failed))
                print("does not count: %s, %s" % (name, failed), file=sys.stderr)
                continue
            seconds[name].append(max(result["done"]))
            wrote[name].append(max(result.get("wrote") or result["done"]))
            device[name].append(statistics.median(result.get("device") or result["done"]))
            cpu[name].append(result["cpu"] / count)
            boards_cpu[name].append(result["boards_cpu"] / count)
            wire = result.get("wire", wire)
    rows = []
    for name, _ in field:
        row = {"v": 1, "flow": flow, "ports": count, "baud": baud, "flash": preset, "state": state, "contestant": name,
               "runs": len(seconds[name]), "lost": len(lost[name])}
        if seconds[name]:
            row.update(seconds=statistics.median(seconds[name]), p95=p95(seconds[name]), written=statistics.median(wrote[name]),
                       device=statistics.median(device[name]), cpu=statistics.median(cpu[name]), boards_cpu=statistics.median(boards_cpu[name]))
        rows.append(row)
    # What both have done when they are "written": every byte on the flash and its digest compared.
    base = rows[0].get("written")
    for row in rows[1:]:
        if base and "written" in row:
            row["ratio"] = row["written"] / base
            row["ratio_whole"] = row["seconds"] / rows[0]["seconds"]
    return rows


def markdown(row):
    if "seconds" not in row:
        return "| {flow} | {ports} | {baud} | {flash} {state} | {contestant} | no run counts | | | | |".format(**row)
    ratio = "%.2f" % row["ratio"] if "ratio" in row else "1"
    whole = "%.2f" % row["ratio_whole"] if "ratio_whole" in row else "1"
    return "| %s | %d | %d | %s %s | %s | %.2f | %.2f | %.2f | %s | %s | %.0f |" % (
        row["flow"], row["ports"], row["baud"], row["flash"], row["state"], row["contestant"], row["written"], row["seconds"],
        row["p95"], ratio, whole, 1000 * row["cpu"])


def words(text):
    return [word for word in text.split(",") if word]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--esptool", help="esptool.py")
    parser.add_argument("--python", default="/usr/bin/python3", help="that runs it")
    parser.add_argument("--stub", help="folder of stub files (esp32.json) for an esptool with espmint's stub")
    parser.add_argument("--flow", default="flash")
    parser.add_argument("--baud", default="921600")
    parser.add_argument("--ports", default="1")
    parser.add_argument("--flash", default="fast", help="presets of sim board")
    parser.add_argument("--state", default="blank,dirty")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--app-size", default="1MB")
    parser.add_argument("--carrier", default="pty", choices=["pty", "rfc2217"], help="of single boards, and of every esptool")
    parser.add_argument("--pin", action="store_true", help="boards on the last core, tools on the others")
    parser.add_argument("--full", action="store_true", help="all speeds, port counts, flashes and flows: hours")
    parser.add_argument("--json", action="store_true")
    a = parser.parse_args()
    if a.full:
        for name, value in FULL.items():
            setattr(a, name, value)
        a.flow = "flash,script,rework"
    cores = sorted(os.sched_getaffinity(0))
    a.board_cores, a.tool_cores = ({cores[-1]}, set(cores[:-1])) if a.pin and len(cores) > 1 else (None, None)
    folder = tempfile.mkdtemp(prefix="espmint-race-")
    try:
        program = os.path.abspath(a.program)
        job = Job(program, os.path.join(folder, "build"), a.app_size)
        carrier = Carrier(folder, a.carrier)
        ours, theirs = Espmint(program), []
        if a.esptool:
            theirs.append(Esptool("esptool", a.python, a.esptool, folder))
            theirs[0].name = "esptool " + theirs[0].version
            if a.stub:
                theirs.append(Esptool(theirs[0].name + " equal stub", a.python, a.esptool, folder, a.stub))
        if not a.json:
            print("espmint %s, %d bytes in %d files, %d cores, boards by %s, %d repetitions\n" % (
                ours.version, job.bytes(), len(job.parts), len(cores), a.carrier, a.repeat))
            print("| flow | ports | baud | flash | contestant | written s | whole s | p95 s | x espmint | whole x | CPU ms/board |")
            print("|---|---|---|---|---|---|---|---|---|---|---|")
        for flow, count, preset, state, baud in itertools.product(
                words(a.flow), map(int, words(a.ports)), words(a.flash), words(a.state), map(int, words(a.baud))):
            if (flow == "script" and count != 1) or (flow == "rework" and state == "dirty"):
                continue
            for row in race(a, program, job, ours, theirs, carrier, flow, count, baud, preset, state):
                print(json.dumps(row) if a.json else markdown(row), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
