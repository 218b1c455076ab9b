#!/usr/bin/env python3
"""Checks that every include goes from a room to one it may know: the table below is docs/architecture.md's.

  include_graph.py SOURCE_DIR
"""
import pathlib
import re
import sys

ROOMS = {
    "base": [],
    "io": [],
    "chip": [],
    "image": [],
    "recipe": ["chip", "image"],
    "rom": ["chip", "io"],
    "handshake": ["io"],
    "identity": ["io"],
    "cloud": ["identity", "io"],
    "ledger": ["identity", "io"],
    "run": ["chip", "image", "recipe", "rom", "handshake", "identity", "cloud", "ledger", "io"],
    "line": ["run", "chip", "rom", "ledger", "io"],
    "app": ["chip", "image", "recipe", "rom", "handshake", "identity", "cloud", "ledger", "io", "run", "line", "sim"],
    "sim": ["io", "device"],
    "device": [],  # runs on chips: not even base
}
# What names the operating system belongs in io; these few say why they do.
SYSTEM = {"sys/ioctl.h", "termios.h", "sys/socket.h", "sys/inotify.h", "libudev.h", "sys/epoll.h", "pty.h"}
SYSTEM_ROOMS = {"io", "sim", "app"}


def room_of(path, top):
    parts = path.relative_to(top).parts
    return parts[1] if parts[0] == "src" else parts[0]


def main():
    top = pathlib.Path(sys.argv[1])
    files = [f for d in ("src", "sim", "device") for f in (top / d).rglob("*") if f.suffix in (".hpp", ".cpp")]
    if len(files) < 20:
        sys.exit("include_graph: found only %d sources under %s" % (len(files), top))
    wrong = []
    for path in sorted(files):
        room = room_of(path, top)
        if room not in ROOMS:
            wrong.append("%s: the room %s is not in the table" % (path.relative_to(top), room))
            continue
        test = path.stem.endswith(("_test", "_bench", "_fuzz"))
        for number, line in enumerate(path.read_text().splitlines(), 1):
            where = "%s:%d" % (path.relative_to(top), number)
            system = re.match(r"\s*#\s*include\s*<([^>]+)>", line)
            if system and system.group(1) in SYSTEM and room not in SYSTEM_ROOMS and not test:
                wrong.append("%s: <%s> belongs in io" % (where, system.group(1)))
            own = re.match(r'\s*#\s*include\s*"([^"/]+)/', line)
            if not own or own.group(1) not in ROOMS:
                continue
            to = own.group(1)
            base = to == "base" and room != "device"
            allowed = to == room or base or to in ROOMS[room] or (test and to == "sim")
            if not allowed:
                wrong.append("%s: %s may not include %s" % (where, room, to))
    print("\n".join(wrong) if wrong else "%d sources follow the table of rooms" % len(files))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
