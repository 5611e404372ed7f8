"""./dev test --mutants: break the code on purpose; the tests have to notice.

test/mutants/NAME.patch: a patch that `git apply` takes. Above its first file it says in prose what
it breaks, and on a line `Test: NAME...` which tests must fail. Each mutant is built and tested in a copy
of the tree; one that does not apply, does not build, or that no named test notices has survived,
and that is a failure.
"""

import glob
import os
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDER = os.path.join(ROOT, "test", "mutants")
EXIT_TESTS_FAILED = 1


def named_tests(path):
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("Test:"):
                return line.split()[1:]
            if line.startswith(("---", "diff ")):
                break
    return []


def copy_tree(to):
    """The files of the working tree that git does not ignore."""
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-coz", "--exclude-standard"],
                            capture_output=True, check=True).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if os.path.isfile(os.path.join(ROOT, name)):
            os.makedirs(os.path.dirname(os.path.join(to, name)), exist_ok=True)
            shutil.copy2(os.path.join(ROOT, name), os.path.join(to, name))


def dev_test(tree, names):
    env = dict(os.environ)
    env.setdefault("BULKHEAD_DEPS", os.path.join(ROOT, ".deps"))
    done = subprocess.run([os.path.join(tree, "dev"), "test", "--seed", "1", *names], env=env,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    return done.returncode, done.stdout


def apply(tree, patch, *more):
    # Not inside a repository, so that a patch is taken relative to the copy.
    env = dict(os.environ, GIT_CEILING_DIRECTORIES=os.path.dirname(tree))
    return subprocess.run(["git", "apply", *more, patch], cwd=tree, env=env, capture_output=True, text=True)


def try_mutant(tree, patch):
    """Whether a test noticed, and what to say if not."""
    names = named_tests(patch)
    if not names:
        return False, "it names no test: write a line `Test: NAME`"
    applied = apply(tree, patch)
    if applied.returncode:
        return False, f"it does not apply:\n{applied.stderr}"
    try:
        status, output = dev_test(tree, names)
    finally:
        apply(tree, patch, "-R")
    return status == EXIT_TESTS_FAILED, f"it survived (./dev test {' '.join(names)}: {status})\n{output}"


def main(names, only_list, report):
    patches = {os.path.basename(path)[:-len(".patch")]: path
               for path in sorted(glob.glob(os.path.join(FOLDER, "*.patch")))}
    chosen = {name: path for name, path in patches.items() if not names or name in names}
    if not chosen:
        print("dev test --mutants: there is no such mutant", file=sys.stderr)
        return 2
    if only_list:
        print("\n".join(f"{name}  ({' '.join(named_tests(path))})" for name, path in chosen.items()))
        return 0
    with tempfile.TemporaryDirectory(prefix="bh-mutants-") as tree:
        copy_tree(tree)
        started = time.monotonic()
        wanted = sorted({test for path in chosen.values() for test in named_tests(path)})
        status, output = dev_test(tree, wanted)
        report.add("no mutant", status == 0, time.monotonic() - started, output)
        for name, path in chosen.items() if status == 0 else ():
            started = time.monotonic()
            noticed, why = try_mutant(tree, path)
            report.add(f"mutant {name}", noticed, time.monotonic() - started, why)
    return report.end()
