"""./dev test: Meson's native tests and the machine tests in test/machine, as one list.

Prints a line for each with its time, what a failing one said, and at the end `N passed, N failed`.
Exit status 0 when all passed, 1 when one failed, 2 on usage, 6 when Meson cannot say what there is.
"""

import argparse
import fnmatch
import glob
import importlib.util
import inspect
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import harness
import vm

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EMULATORS = 2  # at most so many at once
NATIVE_LIMIT = 600


class Test:
    def __init__(self, name, kind, slow=False, manual=False, soak=False, limit=120, emulators=1, where=None):
        self.name, self.kind, self.slow, self.manual, self.soak = name, kind, slow, manual, soak
        self.limit, self.emulators, self.where = limit, min(emulators, EMULATORS), where


def native_tests(build):
    done = subprocess.run(["meson", "introspect", "--tests", build], capture_output=True, text=True)
    if done.returncode:
        print(f"meson introspect failed:\n{done.stderr}", file=sys.stderr)
        sys.exit(6)
    tests = []
    for entry in json.loads(done.stdout):
        suites = [suite.split(":")[-1] for suite in entry["suite"]]
        layer = next((s for s in suites if s != "slow"), "native")
        tests.append(Test(f"{layer}/{entry['name']}", "native", slow="slow" in suites, where=entry["name"]))
    return tests


def load(path):
    spec = importlib.util.spec_from_file_location(os.path.basename(path)[:-3], path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def machine_tests():
    tests = []
    for path in sorted(glob.glob(os.path.join(ROOT, "test", "machine", "test_*.py"))):
        stem = os.path.basename(path)[len("test_"):-len(".py")]
        try:
            functions = inspect.getmembers(load(path), inspect.isfunction)
        except Exception:  # a file that does not load is a test that fails
            tests.append(Test(stem, "machine", where=(path, None)))
            continue
        here = [(f.__code__.co_firstlineno, name, f) for name, f in functions
                if name.startswith("test_") and f.__code__.co_filename == path]
        for _, name, function in sorted(here):
            tests.append(Test(f"{stem}.{name[len('test_'):]}", "machine", where=(path, name),
                              slow=getattr(function, "slow", False),
                              manual=getattr(function, "manual", False),
                              soak=getattr(function, "soak", False),
                              limit=getattr(function, "limit", 120),
                              emulators=getattr(function, "emulators", 1)))
    return tests


def selected(tests, names, fast, soak):
    def named(test):
        last = test.name.replace("/", ".").split(".")[-1]
        exact = test.name in names or last in names
        return exact or not test.manual and test.soak == soak and not (fast and test.slow) and any(
            test.name.startswith((n + ".", n + "/")) or fnmatch.fnmatch(test.name, n) for n in names)
    if names:
        return [test for test in tests if named(test)]
    return [test for test in tests if not test.manual and test.soak == soak and not (fast and test.slow)]


class Report:
    def __init__(self):
        self.passed, self.failed = 0, 0
        self.suites = {}  # name to seconds
        self.lock = threading.Lock()

    def add(self, name, ok, seconds, output=""):
        with self.lock:
            self.passed += ok
            self.failed += not ok
            suite = name.replace("/", ".").split(".")[0]
            self.suites[suite] = self.suites.get(suite, 0) + seconds
            print(f"{'ok  ' if ok else 'FAIL'}  {name}  {seconds:.1f} s", flush=True)
            if not ok:
                print("".join(f"      {line}\n" for line in output.splitlines()[-60:]), flush=True)

    def end(self):
        """Seconds of a suite are those of its tests, two of which run at a time."""
        print("suites: " + ", ".join(f"{suite} {seconds:.0f} s" for suite, seconds in self.suites.items()))
        print(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed else 0


def run_native(tests, build, seed, report):
    """All chosen native tests in one go; what Meson has no result for has failed."""
    log = os.path.join(build, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.remove(log)
    env = dict(os.environ, BULKHEAD_SEED=str(seed))
    done = subprocess.run(["meson", "test", "-C", build, "--no-rebuild", "--num-processes", "2",
                           "--timeout-multiplier", "10",  # of 30 s: a hang, not a slow machine
                           *(test.where for test in tests)], env=env, capture_output=True, text=True)
    results = {}
    if os.path.exists(log):
        with open(log, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                entry = json.loads(line)
                results[entry["name"].split(" / ")[-1]] = entry
    for test in tests:
        entry = results.get(test.where)
        if entry is None:
            report.add(test.name, False, 0, "did not run:\n" + done.stdout + done.stderr)
            continue
        said = (entry.get("stdout") or "") + (entry.get("stderr") or "")
        report.add(test.name, entry["result"] in ("OK", "EXPECTEDFAIL"), entry["duration"],
                   f"{entry['result']}, status {entry['returncode']}\n{said}")


def run_one(path, name, build, temp, seed):
    """In a process of its own: one machine test. Its output goes where the parent looks."""
    try:
        function = getattr(load(path), name) if name else load(path)
        function(harness.Context(ROOT, build, temp, seed))
    except harness.Skipped as reason:
        print(f"skipped: {reason}")
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


class Slots:
    """How many emulators may still be started."""

    def __init__(self, number):
        self.free, self.changed = number, threading.Condition()

    def take(self, number):
        with self.changed:
            self.changed.wait_for(lambda: self.free >= number)
            self.free -= number

    def give(self, number):
        with self.changed:
            self.free += number
            self.changed.notify_all()


def remove(temp):
    """A test's folder; unless something is mounted in it, of a test that was killed: that is not the test's."""
    with open("/proc/self/mounts") as mounts:
        mounted = [line.split()[1] for line in mounts if line.split()[1].startswith(temp + "/")]
    if mounted:
        print(f"      {temp} is kept: {mounted} are mounted there")
    else:
        shutil.rmtree(temp, ignore_errors=True)


def run_machine(test, build, seed, keep, report):
    temp = tempfile.mkdtemp(prefix="bh-")
    started = time.monotonic()
    limit = test.limit * vm.PATIENCE
    path, name = test.where
    child = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--build", build, "--one",
                              path, name or "", temp, "--seed", str(seed)], start_new_session=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        output = child.communicate(timeout=limit)[0].decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)  # the test and the emulators it started
        output = child.communicate()[0].decode("utf-8", "replace") + f"\nkilled after {limit} s"
        for log in glob.glob(os.path.join(temp, "vm-*", "serial.log")):
            with open(log, errors="replace") as handle:
                output += f"\n{log} ends:\n" + "".join(handle.readlines()[-25:])
    if keep:
        output += f"\nkept: {temp}"
        print(f"      {test.name}: {temp}")
    else:
        remove(temp)
    report.add(test.name, child.returncode == 0, time.monotonic() - started, output)


def run_machines(tests, build, seed, keep, report):
    slots = Slots(EMULATORS)

    def work(test):
        try:
            run_machine(test, build, seed, keep, report)
        finally:
            slots.give(test.emulators)

    threads = []
    for test in tests:
        slots.take(test.emulators)
        threads.append(threading.Thread(target=work, args=(test,)))
        threads[-1].start()
    for thread in threads:
        thread.join()


def parse(arguments):
    parser = argparse.ArgumentParser(prog="./dev test", usage="./dev test [--fast] [--list] [NAME...] "
                                     "[--seed N] [--keep] [--mutants] [--soak]")
    parser.add_argument("--build", help=argparse.SUPPRESS)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--fast", action="store_true", help="leave the slow ones out")
    parser.add_argument("--soak", action="store_true", help="the long runs, and only those")
    parser.add_argument("--list", action="store_true", help="only say what there is")
    parser.add_argument("--seed", type=int, help="of random inputs; default: a new one each time")
    parser.add_argument("--keep", action="store_true", help="keep the tests' folders")
    parser.add_argument("--mutants", action="store_true", help="break the code; a test must notice")
    return parser.parse_args(arguments)


def main():
    options = parse(sys.argv[1:])
    build = os.path.abspath(options.build)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1, 2**31)
    if options.one:
        path, name, temp = options.one
        return run_one(path, name, build, temp, seed)
    if options.mutants:
        import mutants
        return mutants.main(options.names, options.list, Report())
    tests = selected(native_tests(build) + machine_tests(), options.names, options.fast,
                     options.soak)
    if not tests:
        print("dev test: no test has such a name; --list shows all", file=sys.stderr)
        return 2
    if options.list:
        for test in tests:
            print(test.name + ("  (slow)" if test.slow else ""))
        return 0
    print(f"{len(tests)} tests, --seed {seed}", flush=True)
    report = Report()
    native = [test for test in tests if test.kind == "native"]
    if native:
        run_native(native, build, seed, report)
    run_machines([test for test in tests if test.kind == "machine"], build, seed, options.keep, report)
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
