#!/usr/bin/env python3
"""abi_reference.py [--check] ROOT: writes the hypercall reference of docs/abi.md from the comments of
abi/hypercall.h, and the statuses from abi/status.h. --check only says whether it is up to date."""

import os
import re
import sys

BEGIN, END = "<!-- reference: begin -->\n", "<!-- reference: end -->\n"


def plain(comment):
    """A C comment's text as one list of lines."""
    return [re.sub(r"^\s*\*? ?", "", line).rstrip() for line in comment.splitlines()]


def hypercalls(header):
    body = header[header.index("enum bh_hypercall"):header.index("BH_HC_COUNT")]
    for comment, name, number in re.findall(r"/\*(.*?)\*/\s*BH_HC_(\w+) = (\d+)", body, re.S):
        lines = plain(comment)
        text = " ".join(line.strip() for line in lines[1:])
        parts = re.split(r"\b(Rights|Statuses|Bound): ", text)
        fields = dict(zip(parts[1::2], (part.strip() for part in parts[2::2])))
        missing = {"Rights", "Statuses", "Bound"} - fields.keys()
        if missing:
            sys.exit(f"abi/hypercall.h: {name}: says nothing of {', '.join(sorted(missing))}")
        yield number, name, lines[0].strip(), parts[0].strip(), fields


def reference(root):
    header = open(os.path.join(root, "abi", "hypercall.h"), encoding="utf-8").read()
    status = open(os.path.join(root, "abi", "status.h"), encoding="utf-8").read()
    out = ["## Statuses", "", "| value | name | meaning |", "|---|---|---|",
           "| 0 | OK | Done. |"]
    for name, value, meaning in re.findall(r"BH_(\w+) = (\d+),\s*/\* (.*?) \*/", status):
        out.append(f"| {value} | {name} | {meaning} |")
    out += ["", "## Hypercalls", ""]
    for number, name, form, text, fields in hypercalls(header):
        out += [f"### {number}: {form}", "", text, ""]
        out += [f"- **{key}**: {fields[key]}" for key in ("Rights", "Statuses", "Bound")] + [""]
    return "\n".join(out) + "\n"


def main():
    check = "--check" in sys.argv
    root = [a for a in sys.argv[1:] if not a.startswith("-")][0]
    path = os.path.join(root, "docs", "abi.md")
    old = open(path, encoding="utf-8").read()
    new = old[:old.index(BEGIN) + len(BEGIN)] + reference(root) + old[old.index(END):]
    if check and old != new:
        sys.exit("docs/abi.md differs from abi/: run test/tools/abi_reference.py .")
    if not check:
        open(path, "w", encoding="utf-8").write(new)


main()
