#!/usr/bin/env python3
"""bench.py --build DIR [ID...]: counts, writes DIR/bench.json, prints the table; exits 1 when a budget is
missed. What is counted: test/bench/bench_*.py; how: figures.py. All figures of instructions are executed
instructions under `-icount shift=0,sleep=off` (one instruction, one TSC tick; an iteration of a rep counts
too), idle time taken off, so they are the same on any machine."""

import argparse
import fnmatch
import json
import os
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import figures  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def shown(value):
    return "-" if value is None else f"{value:,}"


def print_table(found):
    print(f"{'figure':20}{'value':>14}{'at most':>14}  peers; transitions; projected cycles")
    for entry in found:
        peers = ", ".join(f"{peer['peer']} {shown(peer['value'])}" for peer in entry["peers"])
        moves = ", ".join(f"{n} {kind}" for kind, n in (entry["transitions"] or {}).items() if n)
        apart = "".join(f"; {name} {shown(n)}" for name, n in entry["apart"].items())
        print(f"{entry['id']:20}{shown(entry['value']):>14}{shown(entry['most']):>14}  "
              f"{peers or '-'}; {moves or '-'}; {shown(entry['projected_cycles'])}{apart}")


def choose(functions, wanted):
    """The functions that measure what is wanted: ids or patterns; all without any."""
    known = {name: function for function in functions for name in function.figures}
    for pattern in wanted:
        if not fnmatch.filter(known, pattern):
            sys.exit(f"bench: no figure {pattern}; there are {', '.join(known)}")
    names = {name for pattern in wanted or ["*"] for name in fnmatch.filter(known, pattern)}
    return [function for function in functions if names & set(function.figures)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("ids", nargs="*")
    options = parser.parse_args()
    functions = choose(figures.load_all(ROOT), options.ids)
    with tempfile.TemporaryDirectory() as temp:
        bench = figures.Bench(ROOT, options.build, temp)
        for function in functions:
            bench.known.update(function.figures)
            function(bench)
    with open(os.path.join(options.build, "bench.json"), "w", encoding="utf-8") as out:
        json.dump(bench.figures, out, indent=1)
    print_table(bench.figures)
    missed = [entry["id"] for entry in bench.figures if entry["most"] and entry["value"] > entry["most"]]
    if missed:
        print(f"over budget: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
