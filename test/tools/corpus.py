#!/usr/bin/env python3
"""corpus.py BUILD NAME...: makes test/fuzz/corpus/NAME anew from what it holds and what some seconds of
fuzzing find: of all these inputs the few that together reach the most, so that the folder stays small. The tests
`corpus_NAME` replay it. A file there whose name begins with "found-" once found a bug, and stays."""

import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SECONDS = 12
FILES_MAX = 24
MAX_LEN = {"gpt": 3000, "definition": 1500}  # else:
MAX_LEN_USUAL = 800


def run(target, *arguments):
    environment = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")
    subprocess.run([target, *arguments], check=True, env=environment, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


def features(control, files):
    """What each file reaches, as a merge writes it down: lines `STARTED n size` and `FT n feature...`."""
    found = {}
    for line in control.splitlines():
        fields = line.split()
        if fields and fields[0] == "FT":
            found[files[int(fields[1])]] = set(fields[2:])
    return found


def choose(found):
    """Greedily: each time the file that adds most."""
    chosen, reached = [], set()
    while len(chosen) < FILES_MAX and (left := [name for name in found if found[name] - reached]):
        best = max(left, key=lambda name: len(found[name] - reached))
        chosen.append(best)
        reached |= found[best]
    return chosen


def renew(build, name):
    target = os.path.join(build, "test", "fuzz", f"fuzz_{name}")
    folder = os.path.join(ROOT, "test", "fuzz", "corpus", name)
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory() as work, tempfile.TemporaryDirectory() as empty:
        length = MAX_LEN.get(name, MAX_LEN_USUAL)
        run(target, f"-max_total_time={SECONDS}", f"-max_len={length}", "-len_control=0", work, folder)
        control = os.path.join(empty, "control")
        merged = os.path.join(empty, "merged")
        os.makedirs(merged)
        run(target, "-merge=1", f"-merge_control_file={control}", merged, work, folder)
        with open(control) as handle:
            text = handle.read()
        count = int(text.splitlines()[0])
        files = text.splitlines()[2:2 + count]
        kept = {}
        for path in choose(features(text, files)):
            with open(path, "rb") as handle:
                kept[os.path.basename(path)] = handle.read()
    for old in os.listdir(folder):
        if not old.startswith("found-"):
            os.remove(os.path.join(folder, old))
    for number, data in enumerate(sorted(kept.values())):
        with open(os.path.join(folder, f"{number:02}"), "wb") as handle:
            handle.write(data)
    print(f"{name}: {len(kept)} files, {sum(map(len, kept.values()))} bytes", flush=True)


if __name__ == "__main__":
    for target_name in sys.argv[2:]:
        renew(sys.argv[1], target_name)
