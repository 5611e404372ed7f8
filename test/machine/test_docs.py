"""The documents agree with what they describe."""

import glob
import json
import os
import re
import subprocess
import sys

from harness import expect


def test_abi_reference(ctx):
    """docs/abi.md's reference is what abi/ says."""
    subprocess.run([sys.executable, os.path.join(ctx.root, "test", "tools", "abi_reference.py"), "--check",
                    ctx.root], check=True)


def test_dsdt(ctx):
    """mgmt/vmm/dsdt.c is what a compiler makes of dsdt.asl."""
    subprocess.run([sys.executable, os.path.join(ctx.root, "test", "tools", "dsdt.py"), "--check", ctx.root],
                   check=True)


def tests_there_are(ctx):
    """Names of all tests, as docs/threat-model.md gives them, and of the claims tried on the real hv."""
    with open(os.path.join(ctx.build, "meson-info", "intro-tests.json")) as handle:
        tests = {test["name"] for test in json.load(handle)}
    tests |= {name[len("fuzz_"):] for name in tests if name.startswith("fuzz_")}
    for path in glob.glob(os.path.join(ctx.root, "test", "machine", "test_*.py")):
        module = os.path.basename(path)[len("test_"):-len(".py")]
        with open(path) as source:
            tests |= {f"{module}.{name}" for name in re.findall(r"^def test_(\w+)", source.read(), re.M)}
    with open(os.path.join(ctx.root, "test", "guest", "claims.c")) as source:
        claims = set(re.findall(r'(?:check\(|\{)"([a-z]+\.[a-z0-9_]+)"', source.read()))
    return tests, claims


def test_threat_model(ctx):
    """Each claim of docs/threat-model.md names tests that there are, or says that it is open."""
    tests, claims = tests_there_are(ctx)
    with open(os.path.join(ctx.root, "docs", "threat-model.md")) as text:
        rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in text if line.startswith("| ")]
    rows = [row for row in rows if len(row) == 3 and re.match(r"[a-z]+\.[a-z]", row[0])]
    expect(len(rows) > 60, f"{len(rows)} claims")
    for ids, _, attackers in rows:
        named = [name for name in re.findall("`([^`]+)`", attackers) if not name.startswith("./dev")]
        unknown = [name for name in named if name not in tests]
        expect(not unknown, f"{ids}: no such test: {unknown}")
        in_claims = re.search(r"\bclaims\b", attackers)
        tried = [name for name in ids.split(", ")
                 if any(re.fullmatch(name.replace("*", ".*"), claim) for claim in claims)]
        expect(not in_claims or tried == ids.split(", "), f"{ids}: not all of them are in claims.c")
        expect(named or re.search(r"\b(claims|core|machine|open)\b", attackers) or "./dev" in attackers,
               f"{ids}: no test")
