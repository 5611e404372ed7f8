"""./dev run as a person or a script uses it: exit statuses, what it prints, what README promises."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import vm as machine
from gdbstub import GdbStub
from guests import definition, until, web
from harness import expect, expect_equal, limit


HV_BASE = 0xffffffff80000000  # hv.elf is linked there, and loaded at what is above it


def command_line(ctx, *arguments):
    """The front door behind ./dev's set-up and build, which the other tests have had already."""
    return [sys.executable, os.path.join(ctx.root, "test", "tools", "run.py"), "--build", ctx.build,
            "--log", ctx.path("log"), *arguments]


def run(ctx, *arguments, typed="", timeout=300):
    done = subprocess.run(command_line(ctx, *arguments), input=typed, capture_output=True, text=True, timeout=timeout)
    return done.returncode, done.stdout.replace("\r", "") + done.stderr


def start(ctx, *arguments, **options):
    """It goes on while the test does, and ends with it, however that ends."""
    return subprocess.Popen(command_line(ctx, *arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            preexec_fn=machine.die_with_parent, **options)


def folder(ctx, **definitions):
    return "--guests", ctx.guests(**definitions)


def serial_log(ctx):
    with open(ctx.path("log", "serial.log"), errors="replace") as log:
        return log.read()


def test_power_off(ctx):
    """0: the host was switched off; a script's commands wait for the prompt."""
    status, said = run(ctx, *folder(ctx, a=definition("a")), typed="list\npoweroff\n")
    expect_equal(status, 0, said)
    expect(re.search(r"^a +running", said, re.M), f"the list: {said}")
    expect(said.rstrip().endswith("dev: powered off"), f"its last line: {said[-200:]}")
    expect(f"logs are in {ctx.path('log')}" in said, "where logs are")
    expect("poweroff" in said and "Ctrl-]" in said, "how to leave")
    expect("mgmt: guest a started" in serial_log(ctx), "the log")


def test_definition(ctx):
    """2: a definition was refused; the others ran."""
    status, said = run(ctx, *folder(ctx, a=definition("a"), b="<domain>"), typed="poweroff\n")
    expect_equal(status, 2, said)
    expect("guests/b.xml:1: " in said and "mgmt: guest a started" in said, f"why: {said}")


def test_refused_at_start(ctx):
    """2 as well when the definition is good and its start is refused: a missing kernel, too much memory."""
    for wrong in (definition("b", kernel="none.bin"), definition("b", memory="90", unit="GiB")):
        status, said = run(ctx, *folder(ctx, b=wrong), typed="poweroff\n")
        expect_equal(status, 2, said)


def test_timeout(ctx):
    """3: it was still running."""
    started = time.monotonic()
    status, said = run(ctx, *folder(ctx, a=definition("a")), "--headless", "--timeout", "4")
    expect_equal(status, 3, said)
    expect(time.monotonic() - started > 4, "its time")
    expect("still running after 4 s" in said, f"why: {said}")


def test_panic(ctx):
    """4: hv panicked; its report is shown and in the log."""
    status, said = run(ctx, *folder(ctx, a=definition("a")), "--headless", "--timeout", "200", "--cmdline",
                       "object_memory=3000M")
    expect_equal(status, 4, said)
    expect("hv: panic: " in said and "hv: panic: " in serial_log(ctx), f"the report: {said}")


class Emulator:
    """The emulator under ./dev run --qmp SOCKET, as far as GdbStub needs it."""

    def __init__(self, folder, path):
        self.sockets = folder
        self.qmp = machine.QMP(path, lambda: True)

    def hmp(self, line):
        return self.qmp("human-monitor-command", **{"command-line": line})


def hv_address(ctx, function):
    """The physical address of a function of hv, which stays where it was loaded."""
    names = subprocess.run(["nm", os.path.join(ctx.build, "hv", "hv.elf")], capture_output=True, text=True,
                           check=True).stdout
    address = next(int(line.split()[0], 16) for line in names.splitlines() if line.endswith(" " + function))
    return address - HV_BASE


def test_panic_at_the_prompt(ctx):
    """4 also when hv panics later, in the middle of a line; the report has registers and the build."""
    with tempfile.TemporaryDirectory(prefix="bulkhead-") as sockets:
        path = os.path.join(sockets, "qmp")
        child = start(ctx, "--headless", "--timeout", "200", "--mem", "96M", "--qmp", path,
                      *folder(ctx, a=definition("a")), text=True)
        until(lambda: os.path.exists(ctx.path("log", "serial.log")) and "guest a ready" in serial_log(ctx), "it is up")
        emulator = Emulator(sockets, path)
        with GdbStub(emulator) as stub:
            stub.write(hv_address(ctx, "hypercall"), b"\x0f\x0b")  # UD2
        os.kill(child.pid, signal.SIGTERM)  # it types, and mgmt calls hv
        said = child.communicate(timeout=120)[0]
        emulator.qmp.close()
    expect_equal(child.returncode, 4, said)
    for pattern in (r"^hv: panic: #UD \(vector 6, error 0\) in ring 0 at [0-9a-f]+: ", r"^hv: cr2 [0-9a-f]{16} rsp ",
                    r"^hv: r15 [0-9a-f]{16}", r"^hv: build [0-9a-f]{40}; halted"):
        expect(re.search(pattern, said, re.M), f"the report has {pattern!r}: {said}")


def test_emulator(ctx):
    """5: the emulator failed, at its start or later."""
    status, said = run(ctx, *folder(ctx, a=definition("a")), "--headless", "--mem", "900000G")
    expect_equal(status, 5, said)
    expect("memory" in said.lower(), f"why: {said}")
    child = start(ctx, "--headless", *folder(ctx, a=definition("a")), text=True)
    emulator = until(lambda: children(child.pid), "the emulator runs")[0]
    until(lambda: "mgmt: ready" in serial_log(ctx), "it is up")
    os.kill(emulator, signal.SIGKILL)
    said = child.communicate(timeout=120)[0]
    expect_equal(child.returncode, 5, said)


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as found:
        pids = [int(number) for number in found.read().split()]
    def name(number):
        try:
            with open(f"/proc/{number}/comm") as comm:
                return comm.read()
        except OSError:
            return ""
    return [number for number in pids if name(number).startswith("qemu")]


def test_told_to_end(ctx):
    """Told to end by a signal, it has the host power off."""
    child = start(ctx, "--headless", *folder(ctx, a=definition("a")), text=True)
    until(lambda: os.path.exists(ctx.path("log", "serial.log")) and "mgmt: ready" in serial_log(ctx), "it is up")
    child.terminate()
    said = child.communicate(timeout=120)[0]
    expect_equal(child.returncode, 0, said)
    expect("guest a ended: exit status 0" in serial_log(ctx), "in order")


class Session:
    """./dev run with somebody in front of it, who reads and types."""

    def __init__(self, ctx, *arguments):
        self.child = start(ctx, *arguments, stdin=subprocess.PIPE)
        self.said = ""

    def read_until(self, pattern):
        """The match in all that was said so far."""
        while not (found := re.search(pattern, self.said, re.M)):
            data = os.read(self.child.stdout.fileno(), 65536)
            expect(data, f"it said no {pattern!r}: {self.said}")
            self.said += data.decode(errors="replace").replace("\r", "")
        return found

    def type(self, text):
        self.child.stdin.write(text.encode())
        self.child.stdin.flush()

    def power_off(self):
        self.type("poweroff\n")
        rest = self.child.communicate(timeout=120)[0]
        self.said += rest.decode(errors="replace").replace("\r", "")
        expect_equal(self.child.returncode, 0, self.said)


def page(url):
    with urllib.request.urlopen(url, timeout=100) as answer:
        return answer.read().decode()


def test_url(ctx):
    """The URL that it prints answers."""
    port = machine.free_port()
    session = Session(ctx, "--forward", f"{port}:webd:80", *folder(ctx, webd=web()))
    url = session.read_until(rf"^dev: (http://127\.0\.0\.1:{port}/) is port 80 of webd$").group(1)
    session.read_until(r"answers, ")
    expect("<html" in page(url).lower(), "the demo's page")
    session.power_off()


@limit(120)
def test_linux(ctx):
    """The demo's Linux: its page answers, its shell is on the host console, and it hears its power button."""
    session = Session(ctx)
    url = session.read_until(r"^dev: (http://\S+/) is port 80 of linux$").group(1)
    session.read_until(rf"dev: {re.escape(url)} answers, ")
    shown = page(url)
    expect("Linux on Bulkhead" in shown and re.search(r"^Linux \(none\) 6\.1\..* x86_64", shown, re.M),
           f"its page: {shown}")
    session.type("console linux\n")
    session.type("echo $((6 * 7))=answer; wget -q -O - http://10.0.2.15/ | grep title\n")
    session.read_until(r"^42=answer")
    session.read_until(r"<title>Bulkhead</title>")  # the other guest's
    session.type("\x1d")
    session.power_off()
    expect("guest linux ended: exit status 0" in session.said, f"in order: {session.said}")
    expect("switched off" not in session.said, "by itself")


def test_port_taken_meanwhile(ctx):
    """Somebody takes a port between our choice and the emulator's start: another is chosen, and named."""
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        taken = somebody.getsockname()[1]
        blind = f"""
import run, sys, vm
choices = iter([{taken}])
find = vm.free_port
is_free = vm.port_is_free
vm.port_is_free = lambda port, protocol: port not in (8080, 8081) and (port == {taken} or is_free(port, protocol))
vm.free_port = lambda: next(choices, None) or find()
sys.exit(run.main())
"""
        done = subprocess.run([sys.executable, "-c", blind, "--build", ctx.build, "--log", ctx.path("log"),
                               "--cpu", "max,la57=off,svm=off"], input="poweroff\n", capture_output=True, text=True,
                              timeout=300, cwd=os.path.join(ctx.root, "test", "tools"))
    expect_equal(done.returncode, 2, done.stdout + done.stderr)  # no guest mode, for speed
    expect("port 80 of webd" in done.stdout and f":{taken}/" not in done.stdout, f"what it names: {done.stdout}")
    with open(ctx.path("log", "qemu.log")) as log:
        expect(f":{taken}-" not in log.read(), "the emulator's second start")


def test_without_guest_mode(ctx):
    """A processor without SVM: the Linux guest is refused with the reason, PV guests go on."""
    status, said = run(ctx, "--cpu", "max,la57=off,svm=off", typed="poweroff\n")
    expect_equal(status, 2, said)
    expect(re.search(r"mgmt: guests/linux.xml:\d+: guest linux is HVM: this processor has no guest mode", said),
           f"the reason: {said}")
    expect("mgmt: guest webd started" in said, f"the other guests: {said}")


def shown_in_readme(ctx):
    with open(os.path.join(ctx.root, "README.md")) as readme:
        section = readme.read().split("## What you will see")[1].split("\n## ")[0]
    return section.split("```")[1].strip("\n").splitlines()


def test_readme(ctx):
    """Every line of README's section "What you will see" is seen; `...` stands for what differs."""
    lines = shown_in_readme(ctx)
    expect(len(lines) >= 8, f"README shows what a newcomer will see: {lines}")
    session = Session(ctx)
    session.read_until(r"linux: init: up")
    session.power_off()
    expect("switched off" not in session.said, f"it heard its power button, as early as that: {session.said}")
    for line in lines:
        pattern = ".*".join(re.escape(part) for part in line.split("..."))
        expect(re.search(rf"^(?:.*\x1b\[[0-9;]*[A-Z])?{pattern}$", session.said, re.M),
               f"README shows {line!r}; there was:\n{session.said}")
