#!/usr/bin/env python3
"""image.py OBJCOPY LINKED IMAGE [--no-simd OBJDUMP]: makes a flat image (abi/image.h) of a linked program,
and refuses one that the host would refuse or that has a page both writable and executable; with
--no-simd also one that uses the FPU or SIMD registers."""

import re
import struct
import subprocess
import sys

PAGE = 4096
HEADER = struct.Struct("<QIIIIIIQ")
MAGIC, VERSION, VA = 0x474D49444B4C4842, 1, 0x400000
PT_LOAD, PF_X, PF_W = 1, 1, 2


def segments(elf):
    """(flags, virtual address, bytes in memory) of each loadable segment of an ELF64 file."""
    offset, = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    for entry in range(offset, offset + size * count, size):
        kind, flags, _, va, _, _, in_memory = struct.unpack_from("<IIQQQQQ", elf, entry)
        if kind == PT_LOAD:
            yield flags, va, in_memory


def problem(elf, image):
    """What is wrong with the image; None if nothing is."""
    magic, version, text, rodata, data, bss, stack, entry = HEADER.unpack_from(image)
    if magic != MAGIC or version != VERSION:
        return "it does not begin with the header of start.S"
    if len(image) != (text + rodata + data) * PAGE:
        return f"{len(image)} bytes in the file, {text} + {rodata} + {data} pages in the header"
    if not VA <= entry < VA + text * PAGE:
        return f"entry {entry:#x} is outside text"
    if stack == 0:
        return "no stack"
    for flags, va, in_memory in segments(elf):
        if flags & PF_X and flags & PF_W:
            return f"segment at {va:#x} is writable and executable"
        end = VA + text * PAGE if flags & PF_X else VA + (text + rodata + data + bss) * PAGE
        if va % PAGE or va < VA or va + in_memory > end:
            return f"segment at {va:#x} is not where the header says"
    return None


SIMD = re.compile(r"%[xyz]mm|%mm[0-7]|%st\b|\tf[a-z]+ |x(save|rstor)")


# Those that a VMM saves and restores its guest's registers with; nothing of its own is in them.
OF_THE_GUEST = ("fpu_store", "fpu_load")


def uses_simd(objdump, linked):
    """The first instruction that does, with the function it is in; None if there is none."""
    function = ""
    listing = subprocess.run([objdump, "-d", "--no-show-raw-insn", linked], check=True, text=True,
                             capture_output=True).stdout
    for line in listing.splitlines():
        if line.endswith(">:"):
            function = line.split("<")[1][:-2]
        elif SIMD.search(line) and function not in OF_THE_GUEST:
            return f"{function} uses the FPU or SIMD: {' '.join(line.split())}"
    return None


def main(objcopy, linked, out, *check):
    subprocess.run([objcopy, "-O", "binary", linked, out], check=True)
    with open(linked, "rb") as elf, open(out, "rb") as image:
        wrong = problem(elf.read(), image.read())
    if check and not wrong:
        wrong = uses_simd(check[1], linked)
    if wrong:
        sys.exit(f"{out}: {wrong}")


main(*sys.argv[1:])
