#!/usr/bin/env python3
"""dsdt.py [--check] ROOT: writes mgmt/vmm/dsdt.c from mgmt/vmm/dsdt.asl by iasl (package acpica-tools).
--check only says whether it is up to date."""

import os
import subprocess
import sys
import tempfile

HEADER_BYTES = 36  # of an ACPI table: acpi.c writes it
PER_LINE = 16


def compiled(source):
    with tempfile.TemporaryDirectory() as folder:
        prefix = os.path.join(folder, "dsdt")
        subprocess.run(["iasl", "-p", prefix, source], check=True, stdout=subprocess.DEVNULL)
        with open(prefix + ".aml", "rb") as handle:
            return handle.read()[HEADER_BYTES:]


def in_c(body):
    lines = [", ".join(f"0x{byte:02x}" for byte in body[at:at + PER_LINE])
             for at in range(0, len(body), PER_LINE)]
    return ("/* The body of the DSDT: dsdt.asl, compiled by test/tools/dsdt.py. */\n"
            '#include "mgmt/vmm/acpi.h"\n\n'
            "const uint8_t dsdt_body[] = {\n" + "".join(f"    {line},\n" for line in lines) +
            "};\nconst uint32_t dsdt_body_bytes = sizeof(dsdt_body);\n")


def main():
    check = "--check" in sys.argv
    root = [a for a in sys.argv[1:] if not a.startswith("-")][0]
    path = os.path.join(root, "mgmt", "vmm", "dsdt.c")
    new = in_c(compiled(os.path.join(root, "mgmt", "vmm", "dsdt.asl")))
    with open(path, encoding="utf-8") as handle:
        old = handle.read()
    if check and old != new:
        sys.exit("mgmt/vmm/dsdt.c differs from dsdt.asl: run test/tools/dsdt.py .")
    if not check:
        with open(path, "w", encoding="utf-8") as handle:
            handle.write(new)


main()
