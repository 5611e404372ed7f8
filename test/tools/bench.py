#!/usr/bin/env python3
"""bench.py --build DIR [ID...]: counts, writes DIR/bench.json, prints the table; exits 1 when a budget is
missed. What is counted: test/bench/bench_*.py; how: figures.py. All figures of instructions are executed
instructions under `-icount shift=0,sleep=off` (one instruction, one TSC tick; an iteration of a rep counts
too), idle time taken off, so they are the same on any machine.

--record appends the values to docs/bench-history.jsonl, one line for each recorded commit, and draws
docs/plots/*.svg. Without it only what moved since the last recorded value is said."""

import argparse
import fnmatch
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import figures  # noqa: E402
import plots  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

HISTORY = os.path.join(ROOT, "docs", "bench-history.jsonl")
MOVED = 0.01  # what is said to have moved


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


def read_history():
    if not os.path.exists(HISTORY):
        return []
    with open(HISTORY, encoding="utf-8") as handle:
        return [json.loads(line) for line in handle]


def git(*words):
    return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=True).stdout.strip()


def print_moved(history, found):
    """Beside the last recorded value of each figure."""
    for entry in found:
        for record in reversed(history):
            before = record["figures"].get(entry["id"])
            if before is None:
                continue
            change = entry["value"] / before["value"] - 1 if before["value"] else 0
            if abs(change) >= MOVED:
                print(f"moved: {entry['id']} {before['value']:,} -> {entry['value']:,} ({change:+.1%}) "
                      f"since {record['commit'][:7]}")
            break


def record(history, found):
    kept = ("value", "most", "unit", "transitions", "projected_cycles", "apart")
    commit = git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    history.append({"commit": commit, "date": git("log", "-1", "--format=%cs"),
                    "figures": {entry["id"]: {key: entry[key] for key in kept} for entry in found}})
    with open(HISTORY, "a", encoding="utf-8") as out:
        out.write(json.dumps(history[-1]) + "\n")


def draw(found, history):
    folder = os.path.join(ROOT, "docs", "plots")
    os.makedirs(folder, exist_ok=True)
    for name, picture in (("figures", plots.against_budgets(found)), ("history", plots.by_commit(history))):
        with open(os.path.join(folder, f"{name}.svg"), "w", encoding="utf-8") as out:
            out.write(picture)


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
    parser.add_argument("--record", action="store_true")
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
    history = read_history()
    print_moved(history, bench.figures)
    if options.record:
        record(history, bench.figures)
        draw(bench.figures, history)
    missed = [entry["id"] for entry in bench.figures if entry["most"] and entry["value"] > entry["most"]]
    if missed:
        print(f"over budget: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
