"""The life of guests and the host console: each command, for people and for programs."""

import json
import os
import re
import socket
import time

import vm as machine
from guests import (LINE, Http, command, definition, disk, dormant, forward, get, guest, ready, said, until_ready,
                    until_state, web)
from harness import expect, expect_equal, limit, slow


def demo(ctx, start=None, **options):
    port = machine.free_port()
    guests = ctx.guests(hello=definition("hello", arguments="one two"), webd=web(), late=dormant("late"))
    if start is None:
        start, options["disk"] = ctx.boot_pvh, True
    return port, start(guests, forwards=[forward(port)], **options)


def answers(port, seconds=60):
    """Whether it serves a page within so many seconds."""
    try:
        with Http(port, seconds) as http:
            return http.request("/").status == 200
    except (TimeoutError, socket.timeout):
        return False


def test_pause(ctx):
    """A paused guest does not run and does not answer; what was asked meanwhile is answered later."""
    port, vm = demo(ctx)
    with vm:
        ready(vm, "webd", "hello")
        expect(answers(port), "it answers")
        command(vm, "pause webd")
        paused = until_state(vm, "webd", "paused")
        expect("only a running guest" in command(vm, "pause webd", ok=False)["error"], "paused once")
        with Http(port) as asked:
            asked.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            expect(not answers(port, 0.7), "it does not answer")
            expect_equal(guest(vm, "webd")["cpu_ms"], paused["cpu_ms"], "its processor time")
            expect_equal(guest(vm, "hello")["state"], "running", "the other guest")
            command(vm, "resume webd")
            expect_equal(asked.receive().status, 200, "what was asked while it was paused")
        expect(answers(port), "it answers again")
        expect(guest(vm, "webd")["cpu_ms"] > paused["cpu_ms"], "its time goes on")
        expect("only a paused guest" in command(vm, "resume webd", ok=False)["error"], "resumed once")
        vm.poweroff()


def test_life(ctx):
    """create, start, shutdown, destroy: what each may do and when, and what it leaves."""
    port, vm = demo(ctx)
    with vm:
        ready(vm, "webd", "hello")
        expect_equal(guest(vm, "late")["state"], "off", "autostart='no'")
        command(vm, "create late.xml")
        until_ready(vm, "late")
        command(vm, "create late.xml", ok=False)
        expect("running already" in command(vm, "start late", ok=False)["error"], "started once")
        command(vm, "shutdown late")
        off = until_state(vm, "late", "off")
        expect_equal((off["last_words"], off["held_bytes"], off["ready"]), ("exit status 0", 0, False), "its end")
        expect(re.search(LINE + r"late: Good-bye\.", vm.text, re.M), "its last words")
        command(vm, "start late")
        expect_equal(until_ready(vm, "late")["starts"], 2, "starts")
        command(vm, "destroy late")
        expect_equal(until_state(vm, "late", "off")["last_words"], "destroyed", "its end")
        for line, told in (("destroy late", "off already"), ("shutdown late", "only a running guest"),
                           ("pause late", "only a running guest"), ("start nobody", "no guest named 'nobody'"),
                           ("create none.xml", "guests/none.xml: no such file"), ("info", "info NAME"),
                           ("console late", "no --json"), ("destroy a b", "too many words"),
                           ("frobnicate", "no command 'frobnicate'")):
            error = command(vm, line, ok=False)["error"]
            expect(told in error, f"`{line}` says {told!r}: {error}")
        expect(answers(port), "nobody else was touched")
        command(vm, "destroy webd")
        until_state(vm, "webd", "off")
        command(vm, "start webd")
        until_ready(vm, "webd")
        expect(answers(port), "webd again")
        vm.poweroff()


def test_poweroff_with_a_paused_guest(ctx):
    """It cannot end in order, and is not waited for."""
    _, vm = demo(ctx)
    with vm:
        ready(vm, "webd", "hello")
        command(vm, "pause hello")
        started = time.monotonic()
        vm.poweroff()
        expect(time.monotonic() - started < 20, "the 20 seconds of a guest that is deaf have not passed")
        expect("guest hello ended: destroyed" in vm.text, "the paused one")
        expect("guest webd ended: exit status 0" in vm.text, "the other one")


@slow
@limit(180)
def test_deaf_guest(ctx):
    """A guest that does not end when it is asked to is destroyed: after 30 s, and 20 s at power-off."""
    with open(os.path.join(ctx.build, "test", "guest", "test-marker.bin"), "rb") as program:
        files = {"test-marker.bin": program.read()}
    guests = ctx.guests(deaf=definition("deaf", kernel="test-marker.bin", arguments="1"))
    with ctx.boot_pvh(guests, files=files) as vm:
        ready(vm, "deaf")
        said(vm, "deaf: full")
        time.sleep(0.5)  # then it sleeps for good
        started = time.monotonic()
        command(vm, "shutdown deaf")
        until_state(vm, "deaf", "stopping")
        expect_equal(until_state(vm, "deaf", "off", 40)["last_words"], "it did not shut down in time", "its end")
        expect(time.monotonic() - started > 28, "not before its time")
        command(vm, "start deaf")
        until_ready(vm, "deaf")
        vm.poweroff(30)


def members(value):
    """All names of members in a JSON value, however deep."""
    if isinstance(value, dict):
        return set(value) | set().union(*(members(v) for v in value.values()))
    return set().union(*(members(v) for v in value)) if isinstance(value, list) else set()


def test_json(ctx):
    """Each answer is one RFC 7464 record in ASCII, and has the members that docs/json.md says."""
    document = open(os.path.join(ctx.root, "docs", "json.md")).read()
    rows = dict(re.findall(r"^\| `(\w+)[^|]*\| (.*) \|$", document, re.M))
    told = {name: set(re.findall(r"`(\w+)`", text)) for name, text in rows.items()}
    parts = {name: set(re.findall(r"`(\w+)`", text)) for name, text in
             re.findall(r"^\*(guest|device|slot)\*: (.*?)(?:\n\n|\Z)", document, re.M | re.S)}
    told["list"] |= parts["guest"]
    told["info"] |= parts["guest"] | parts["device"]
    told["caps"] |= parts["slot"]
    _, vm = demo(ctx)
    with vm:
        ready(vm, "webd", "hello")
        for line in ("help", "list", "info webd", "info hello", "caps", "caps webd", "mem", "cpu", "log"):
            with vm.said:
                vm.cursor = start = len(vm.text)
            vm.send(f"{line} --json")
            vm.wait_for(r"\x1e[^\n]*\n(?:.*\n)*?.*bulkhead> ", 10)
            text = vm.text[start:]
            expect_equal(text.count("\x1e"), 1, f"records after {line}")
            record = re.search(r"\x1e([^\n]*)\n", text).group(1)
            expect(all(" " <= c <= "~" for c in record), f"{line}: printable ASCII only")
            reply = json.loads(record)
            name = line.split()[0]
            expect_equal((reply.pop("command"), reply.pop("ok")), (name, True), line)
            found = members(reply)
            expect(found <= told[name], f"{line}: members that docs/json.md does not tell: {found - told[name]}")
            if name not in ("info", "help"):
                missing = {m for m in told[name] if f"`{m}`" in rows[name]} - found - {"host", "off"}
                known = re.findall(r"`(\w+)`", rows[name].split("(`abi")[0]) if "(`abi" in rows[name] else None
                missing = missing & set(known) if known else missing
                expect(not missing, f"{line}: docs/json.md promises {missing}")
        info = command(vm, "info webd")
        expect_equal([d["class"] for d in info["devices"]], ["control", "console", "block", "net"], "devices")
        expect(set(info["devices"][3]) | set(info["devices"][2]) <= parts["device"], "members of devices")
        held = sum(slot["first"] for slot in command(vm, "caps webd")["slots"] if slot["type"] == "Untyped")
        expect_equal(held * 4096, guest(vm, "webd")["held_bytes"], "the Untypeds are what it holds")
        vm.poweroff()


def test_text(ctx):
    """The same for people."""
    _, vm = demo(ctx)
    with vm:
        ready(vm, "webd", "hello")
        for line, patterns in (
                ("help", [r"^  poweroff", r"^  console   NAME", r"--json"]),
                ("list", [r"^NAME +STATE", r"^hello +running +1 MiB .*ready$", r"^late +off"]),
                ("info webd", [r"^guest webd, from guests/webd.xml: running, ready$", r"^  memory 16 MiB",
                               r"^  disk vda +partition:webd: \d+ reads", r"^  net 52:54:00:42:48:0f: \d+ frames"]),
                ("caps hello", [r"Space +rights 00", r"Context", r"Event"]),
                ("caps", [r"Ports", r"System"]),
                ("mem", [r"^RAM ", r"^  frame +memory", r"^  object +memory"]),
                ("cpu", [r"^up \d+ ms on 1 processors", r"^  webd +\d+ ms", r"^  hv ring_switches +\d+"]),
                ("log", [r"^hv: Bulkhead", r"^mgmt: ready", r"^hello: Hello from hello"]),
                ("nonsense", [r"there is no command 'nonsense'; `help` lists them"]),
                ("info nobody", [r"there is no guest named 'nobody'"])):
            with vm.said:
                vm.cursor = len(vm.text)
            vm.send(line)
            start = vm.cursor
            for pattern in patterns:
                vm.cursor = start
                vm.wait_for(pattern, 10)
        vm.poweroff()


def test_editing(ctx):
    """Backspace, Ctrl-W, Ctrl-U, history; a line that is too long; bytes that are no text."""
    _, vm = demo(ctx)
    with vm:
        ready(vm, "hello")
        vm.send_bytes(b"lisx\x7ft nonsense\x17--json\r")
        expect_equal(json.loads(vm.wait_for(r"\x1e([^\n]*)\n", 10).group(1))["command"], "list", "edited")
        vm.send_bytes(b"garbage\x15mem --json\r")
        expect_equal(json.loads(vm.wait_for(r"\x1e([^\n]*)\n", 10).group(1))["command"], "mem", "Ctrl-U")
        vm.send_bytes(b"\033[A\033[A\r")
        expect_equal(json.loads(vm.wait_for(r"\x1e([^\n]*)\n", 10).group(1))["command"], "list", "two lines ago")
        vm.send_bytes(b"\033[1;\033[2;\x15mem --json\r")
        expect_equal(json.loads(vm.wait_for(r"\x1e([^\n]*)\n", 10).group(1))["command"], "mem", "sequences cut off")
        vm.send_bytes(b"x" * 5000 + b"\r")
        vm.wait_for(r"there is no command 'x", 20)
        noise = bytes(b for b in ctx.random.randbytes(3000) if b not in b"\x1d\r\n")
        vm.send_bytes(noise + b"\x15\x15\r")
        expect_equal(command(vm, "list")["guests"][0]["name"], "hello", "after noise")
        vm.poweroff()


def test_console(ctx):
    """Attached to a guest, what is typed is the guest's; Ctrl-] comes back, and only that."""
    guests = ctx.guests(bench=definition("bench", kernel="iobench.bin", memory="4", arguments="wait",
                                         devices="<console/>" + disk("partition:webd")),
                        mute=definition("mute", devices=""))
    with ctx.boot_pvh(guests, content=bytes(1 << 20), disk=True) as vm:
        ready(vm, "bench")
        vm.send("console bench")
        vm.wait_for(r"^attached to bench; Ctrl-\] leaves", 10)
        vm.send("list")
        vm.wait_for(r"DEPTH ROUNDS", 10)  # the guest's answer, not the host's
        expect("NAME" not in vm.text[vm.text.index("attached to"):], "the host does not execute it")
        vm.send_bytes(b"\x1d")
        vm.wait_for(r"^detached$", 10)
        vm.send("list")
        vm.wait_for(r"^NAME +STATE", 10)
        expect("no console" in command(vm, "console mute", ok=False)["error"], "a guest without console")
        vm.send("console bench")
        vm.wait_for(r"^attached to bench", 10)
        vm.wait_for(r"DEPTH ROUNDS", 10)  # what it said before is shown first
        vm.send_bytes(b"\x1d")
        vm.wait_for(r"^detached$", 10)
        command(vm, "destroy bench")
        until_state(vm, "bench", "off")
        vm.poweroff()


def test_poweroff(ctx):
    """All guests are asked to end, one that does not is destroyed, then the machine is off."""
    _, vm = demo(ctx)
    with vm:
        ready(vm, "webd", "hello")
        vm.poweroff(40)
        for line in ("mgmt: asking all guests to end", "hello: Good-bye.", "mgmt: guest hello ended: exit status 0",
                     "mgmt: guest webd ended: exit status 0", "mgmt: power off"):
            said(vm, LINE + re.escape(line), 1)
        order = [vm.text.index(text) for text in ("asking all guests", "guest hello ended", "mgmt: power off")]
        expect_equal(order, sorted(order), "the order")


def test_reboot(ctx):
    """The machine resets and comes back to the same."""
    port, vm = demo(ctx, ctx.boot, reboot=True)
    with vm:
        ready(vm, "webd", "hello")
        vm.send("reboot")
        vm.wait_for(r"guest hello ended: exit status 0", 40)
        vm.wait_for(r"hv: Bulkhead, build", 30)
        vm.wait_for(LINE + r"mgmt: guest webd ready", 30)
        expect_equal(get(port, "/").status, 200, "the page")
        vm.poweroff(40)
