#!/usr/bin/env python3
"""Copies the sources of some rooms and plants the bugs of bugs.py in the copies, each behind a switch.

  plant_bugs.py SOURCES OUT ROOM...     writes OUT/ROOM/*.cpp and OUT/bugs.inc, and prints the names of the sources
"""
import pathlib
import sys

from bugs import BUGS

SWITCH = "(::espmint::seeded_bug == {})"


def edits_of(bug):
    return bug.get("edits") or [bug]


def main(sources, out, *rooms):
    sources, out = pathlib.Path(sources), pathlib.Path(out)
    planned = {}  # file -> find -> [(number, plant)]
    for number, bug in enumerate(BUGS, 1):
        for edit in edits_of(bug):
            planned.setdefault(edit["file"], {}).setdefault(edit["find"], []).append((number, edit["plant"]))
    for room in rooms:
        (out / room).mkdir(parents=True, exist_ok=True)
        for source in sorted((sources / room).glob("*.cpp")):
            if source.stem.endswith(("_test", "_bench", "_fuzz")):
                continue
            name = f"{room}/{source.name}"
            text = source.read_text()
            for find, plants in planned.pop(name, {}).items():
                if text.count(find) != 1:
                    numbers = ", ".join(str(number) for number, _ in plants)
                    sys.exit(f"bugs.py: bug {numbers}: what it looks for is in {name} {text.count(find)} times:\n{find}")
                text = text.replace(find, merged(find, plants))
            text = '#include "tests/swarm/seeded_bug.hpp"\n' + text
            target = out / name
            if not target.exists() or target.read_text() != text:
                target.write_text(text)
            print(target)
    if planned:
        sys.exit(f"bugs.py names files outside of {', '.join(rooms)}: {', '.join(planned)}")
    (out / "bugs.inc").write_text("".join('{{{}, "{}"}},\n'.format(n, bug["what"].replace('"', '\\"')) for n, bug in enumerate(BUGS, 1)))


def merged(find, plants):
    text = find
    for number, plant in plants:
        if find not in text:
            sys.exit(f"bugs.py: bug {number} changes a place that another bug has re-written:\n{text}")
        text = text.replace(find, plant.replace("BUG", SWITCH.format(number)), 1)
    return text


if __name__ == "__main__":
    main(*sys.argv[1:])
