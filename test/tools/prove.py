"""./dev prove: what Frama-C's WP with CVC4 proves of hv/core, goal by goal, and on what assumptions.

The contracts stand above the functions, in ACSL. Proved of each function below: no undefined
behaviour, and what its contract says."""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# By file: what is proved.
FUNCTIONS = {
    "slot": ["link_after", "slot_insert_child", "slot_may_have_child", "slot_has_children", "slot_remove"],
    "hypercall": ["table_slot", "own_cap", "ref_slot", "decode"],
    "capability_calls": ["derive", "insert_copy", "act_copy", "act_narrow", "answer", "slot_empty", "pa_add", "min_u64", "within"],
    "untyped": ["carve", "is_readable", "kind_suits", "is_for_guests"],
    "region": ["rights_valid", "range_valid"],
    "remove": ["work_take"],
}

ASSUMPTIONS = """\
Proved: no undefined behaviour in these functions; an index names a slot inside its table or none;
a capability that is used has the type and rights asked for; a copy has no right its source lacks,
and of a Region or Ports no more than its range; narrowing only takes rights away; retype hands out
memory behind all that was handed out before and inside the Untyped; what counts the work of a
step always comes down.

Taken for granted, not proved:
- the contracts of functions that are not in the list (for one: what is in assembly, the architecture
  layer, clean_up_to, object_bytes, object_make, untyped_make, region_make);
- rights_narrowed and align_up (arithmetic on bits: the unit test core_trees tries values);
- a union's arms are read only under the type they were written under (proved as if they were a
  structure), and a capability's pointer points to an object of its type;
- a CapTable is valid for all of its slots; neighbours in the derivation list do not overlap.

Not proved: "after revoke(c) nothing derived from c is left" over the linked list. Instead, tried
for every tree of up to 7 nodes, every node of it, in one step and in the smallest steps (unit tests core_trees*).
"""

# Frama-C 25 has no flexible array members and treats unions as bytes.
REWRITES = [
    (re.compile(r"\bunion \{"), "struct {"),
    (re.compile(r"struct slot slot\[\]"), "struct slot slot[65536]"),
    (re.compile(r"uint64_t word\[\]"), "uint64_t word[64]"),
]

PROVED = re.compile(r"Proved goals:\s+(\d+) / (\d+)")
OPEN = re.compile(r"Goal typed_cast_(\S+) : (?!Valid)(\S+)")


def prepare(folder):
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("abi", "hv/core", "test/unit/fake_arch", "test/prove"):
        shutil.copytree(ROOT / part, folder / part)
    for header in (folder / "hv/core").glob("*.h"):
        text = header.read_text()
        for pattern, replacement in REWRITES:
            text = pattern.sub(replacement, text)
        header.write_text(text)


def find_provers(folder):
    """What Frama-C's environment has to say, so that it knows the provers."""
    environment = dict(os.environ, WHY3CONFIG=str(folder / "why3.conf"))
    subprocess.run(["why3", "config", "detect"], env=environment, check=True, capture_output=True)
    return environment


def prove(folder, environment, name, functions, seconds):
    """(proved, total, open goals) of one file."""
    done = subprocess.run(
        ["frama-c", "-c11", "-machdep", "gcc_x86_64",
         "-cpp-extra-args=-I. -Itest/unit/fake_arch -includetest/prove/prelude.h",
         f"hv/core/{name}.c", "-kernel-warn-key", "CERT:MSC:38=inactive",
         "-wp", "-wp-rte", "-wp-model", "Typed+Cast", "-wp-prover", "cvc4",
         "-wp-timeout", str(seconds), "-wp-par", "2", "-wp-fct", ",".join(functions)],
        cwd=folder, env=environment, capture_output=True, text=True, check=False)
    found = PROVED.search(done.stdout)
    if done.returncode or not found:
        sys.exit(f"prove: frama-c did not get through hv/core/{name}.c:\n{done.stdout[-3000:]}{done.stderr}")
    return int(found[1]), int(found[2]), OPEN.findall(done.stdout)


def main():
    parser = argparse.ArgumentParser(prog="./dev prove", description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=int, default=60, help="for one goal (60)")
    arguments = parser.parse_args()
    folder = arguments.build.resolve() / "prove"
    prepare(folder)
    environment = find_provers(folder)
    proved = total = 0
    for name, functions in FUNCTIONS.items():
        good, goals, still_open = prove(folder, environment, name, functions, arguments.seconds)
        print(f"hv/core/{name}.c: {good} of {goals}: {', '.join(functions)}", flush=True)
        for goal, result in still_open:
            print(f"    not proved: {goal} ({result})")
        proved, total = proved + good, total + goals
    print(f"\n{ASSUMPTIONS}\n{proved} of {total} goals proved")
    sys.exit(0 if proved == total else 1)


if __name__ == "__main__":
    main()
