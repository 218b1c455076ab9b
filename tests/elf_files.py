"""ELF files as a linker for these chips would leave them, and odder ones: for tests and benches. Source: ELF 1.2."""
import random
import struct

BITS, NO_BITS, NOTE, INIT_ARRAY, FINI_ARRAY, PREINIT_ARRAY = 1, 8, 7, 14, 15, 16
WRITE, ALLOCATED, EXECUTABLE = 1, 2, 4
XTENSA, RISCV = 94, 243


class Chip:
    """Where a chip has mapped data, mapped code, and RAM for both."""

    def __init__(self, machine, data, code, ram):
        self.machine, self.data, self.code, self.ram = machine, data, code, ram


CHIPS = {
    "esp32": Chip(XTENSA, 0x3f400000, 0x400d0000, (0x3ffb0000, 0x40080000)),
    "esp32s2": Chip(XTENSA, 0x3f000000, 0x40080000, (0x3ffc0000, 0x40028000)),
    "esp32s3": Chip(XTENSA, 0x3c000000, 0x42000000, (0x3fc90000, 0x40374000)),
    "esp32c2": Chip(RISCV, 0x3c000000, 0x42000000, (0x3fca0000, 0x4037c000)),
    "esp32c3": Chip(RISCV, 0x3c000000, 0x42000000, (0x3fc80000, 0x40380000)),
    "esp32c5": Chip(RISCV, 0x42000000, 0x42200000, (0x40800000, 0x40820000)),
    "esp32c6": Chip(RISCV, 0x42800000, 0x42000000, (0x40800000, 0x40820000)),
    "esp32c61": Chip(RISCV, 0x42000000, 0x42200000, (0x40800000, 0x40820000)),
    "esp32h2": Chip(RISCV, 0x42800000, 0x42000000, (0x40800000, 0x40820000)),
    "esp32p4": Chip(RISCV, 0x40000000, 0x40400000, (0x4ff00000, 0x4ff40000)),
}


def make_elf(sections, entry=0x40080400, machine=XTENSA, segments=None, kind=2):
    """`sections`: (name, type, flags, address, content); `segments`: (type, virtual, physical, content), else one a section."""
    headers = len(sections) if segments is None else len(segments)
    start = 52 + 32 * headers
    names, body = b"\0", b""
    section_rows, segment_rows = [bytes(40)], []

    def place(content):
        nonlocal body
        body += bytes(-(start + len(body)) % 16)
        at = start + len(body)
        body += content
        return at

    for name, type_, flags, address, content in sections:
        in_file = b"" if type_ == NO_BITS else content
        at = place(in_file)
        section_rows.append(struct.pack("<10I", len(names), type_, flags, address, at, len(content), 0, 0, 16, 0))
        names += name.encode() + b"\0"
        if segments is None:
            segment_rows.append(struct.pack("<8I", 1, at, address, address, len(in_file), len(content), 5, 16))
    for type_, virtual, physical, content in segments or []:
        segment_rows.append(struct.pack("<8I", type_, place(content), virtual, physical, len(content), len(content), 5, 16))
    name_of_names = len(names)
    names += b".shstrtab\0"
    names_at = place(names)
    section_rows.append(struct.pack("<10I", name_of_names, 3, 0, 0, names_at, len(names), 0, 0, 1, 0))
    rows_at = start + len(body) + (-len(body) - start) % 4
    header = b"\x7fELF\x01\x01\x01" + bytes(9) + struct.pack("<HHIIIIIHHHHHH", kind, machine, 1, entry, 52 if headers else 0, rows_at, 0, 52, 32, headers,
                                                            40, len(section_rows), len(section_rows) - 1)
    return header + b"".join(segment_rows) + body + bytes(rows_at - start - len(body)) + b"".join(section_rows)


def description(project=b"demo", version=b"1.2.3"):
    """esp_app_desc_t, 256 bytes. Source: ESP-IDF Programming Guide, App Image Format."""
    out = struct.pack("<II8x", 0xabcd5432, 0) + version.ljust(32, b"\0") + project.ljust(32, b"\0")
    return (out + b"12:34:56".ljust(16, b"\0") + b"Jan  1 2024".ljust(16, b"\0") + b"v5.1.2".ljust(32, b"\0")).ljust(256, b"\0")


def random_elf(chip, seed):
    """A layout that may be refused: pieces of RAM and flash of odd lengths, adjacent or apart, in the file's own order."""
    dice = random.Random("%s %d" % (chip, seed))
    spec = CHIPS[chip]
    out = []

    def size():
        return dice.choice((1, 2, 3, 4, 5, 8, 31, 256, dice.randrange(1, 3000), dice.randrange(1, 0x9000), 0x10000 - dice.randrange(0, 100)))

    def add(name, at, content, flags):
        type_ = dice.choice((BITS,) * 8 + (INIT_ARRAY, FINI_ARRAY)) if flags & WRITE else BITS
        out.append((name, type_, flags, at, content))

    def flash(base, name, flags, first=b""):
        at = base + 0x20
        for i in range(dice.choice((0, 1, 1, 1, 2, 3))):
            content = (first if i == 0 else b"") + dice.randbytes(size())
            add(name if i == 0 else "%s%d" % (name, i), at, content, flags)
            at += len(content)
            at += dice.choice((0, 0, -at % 4, -at % 16, 0x10000 + (-at + 0x20) % 0x10000, 0x20, dice.randrange(0x30000)))

    def ram(base, name, flags):
        at = base + dice.choice((0, 0, 0x400, dice.randrange(64)))
        for i in range(dice.choice((0, 1, 1, 2, 4))):
            content = dice.randbytes(size())
            add("%s%d" % (name, i), at, content, flags)
            at += len(content)
            at += dice.choice((0, 0, -at % 4, -at % 16, 4, 8, dice.randrange(5000)))

    flash(spec.data, dice.choice((".flash.appdesc", ".flash.rodata")), ALLOCATED | dice.choice((0, WRITE)), dice.choice((description(), b"")))
    flash(spec.code + dice.choice((0, 0x10000)), ".flash.text", ALLOCATED | EXECUTABLE)
    ram(spec.ram[0], ".dram0.data", ALLOCATED | WRITE)
    ram(spec.ram[1], ".iram0.text", ALLOCATED | EXECUTABLE | dice.choice((0, 0, WRITE)))
    out.append((".dram0.bss", NO_BITS, ALLOCATED | WRITE, spec.ram[0] + 0x20000, bytes(64)))
    out.append((".debug_info", BITS, 0, 0, dice.randbytes(500)))
    out.append((".comment", BITS, 0x30, 0, b"GCC: (crosstool-NG) 12\0"))
    if dice.random() < 0.3:
        dice.shuffle(out)
    return make_elf(out, entry=spec.ram[1] + dice.randrange(0x100), machine=spec.machine)
