"""Guests that mean harm (test/guest/hostile), beside one that does not: webd has to go on serving, mgmt
and hv to live, and what the others held has to come back.

Each hostile guest makes the attempts its command line names and says of each whether what abi/ promises
is what it got."""

import os
import re
import time

from harness import expect, expect_equal, limit, slow
from hostile import Host, definition, disk, interface


def run_attempts(host, attempts):
    """Starts all guests, waits for their ends; each must have succeeded with every attempt."""
    host.start(*attempts)
    slowest = host.wait_off(*attempts, timeout=60)
    for name, wanted in attempts.items():
        host.expect_attempts(name, wanted)
    host.expect_unharmed()
    return slowest


BLOCK_CHECKS = "segments empty-segments too-much ranges operations read-only generation rewritten breaks " \
    "head-nonsense"


def block_devices():
    spares = "".join(disk(f"vd{letter}", "archive:file", "<readonly/>") for letter in "defgh")
    return disk("vda", "disk:1") + disk("vdb", "archive:file", "<readonly/>") + \
        disk("vdc", "archive:file", "<transient/>") + spares


def raw_disk(ctx, name, mib, more=""):
    path = ctx.path(name)
    with open(path, "wb") as handle:
        handle.truncate(mib << 20)
    return f"file={path},format=raw{more}"


def test_block(ctx):
    """Forged block requests."""
    guests = {"blocks": definition("blocks", "block", BLOCK_CHECKS, block_devices())}
    with Host(ctx, guests, disks=[raw_disk(ctx, "raw", 8)], files={"file": os.urandom(70000)}) as host:
        run_attempts(host, {"blocks": BLOCK_CHECKS})
        expect(len(re.findall(r"block: blocks/disk\d: broke the queue's protocol", host.vm.text)) == 6,
               "each disconnected disk is in the log")


NET_CHECKS = "lengths pieces spoofs offload random buffers flood breaks"


def test_net(ctx):
    """Forged frames, without an uplink: then everything about offloads is offered."""
    guests = {"nets": definition("nets", "net", NET_CHECKS, interface(1) + interface(2), memory=2)}
    with Host(ctx, guests, net=False) as host:
        run_attempts(host, {"nets": NET_CHECKS})


def test_net_uplink(ctx):
    """The same beside webd on a real uplink, on a VLAN, so that nothing else comes in."""
    vlan = "<vlan><tag id='66'/></vlan>"
    guests = {"nets": definition("nets", "net", NET_CHECKS, interface(1, vlan) + interface(2, vlan), memory=2)}
    with Host(ctx, guests) as host:
        run_attempts(host, {"nets": NET_CHECKS})


def test_talk(ctx):
    """Console and control channel: what a guest says is escaped, and its name stands before it."""
    attempts = {"liar": "lies", "asker": "console-requests control-requests", "flooder": "console-flood",
                "ready": "ready-storm"}
    guests = {name: definition(name, "talk", todo) for name, todo in attempts.items()}
    guests["cut"] = definition("cut", "talk", "console-breaks")
    guests["cut2"] = definition("cut2", "talk", "control-breaks")
    guests["leaver"] = definition("leaver", "talk", "exit-storm")
    with Host(ctx, guests) as host:
        host.start("cut", "cut2", "leaver")
        run = dict(attempts)
        host.start(*run)
        host.wait_off("leaver", "cut", *run, timeout=60)
        for name, todo in run.items():
            host.expect_attempts(name, todo)
        for name, device in (("cut", "console0"), ("cut2", "control0")):
            expect(re.search(rf"{name}/{device}: broke the queue's protocol", host.vm.text),
                   f"{name} is disconnected, and the log says so")
        expect(host.vm.json("destroy cut2")["ok"], "who cannot say that it ends can be destroyed")
        host.wait_off("cut2")
        with open(os.path.join(host.vm.folder, "serial.log"), "rb") as log:
            serial = log.read()
        serial = serial[serial.index(b"mgmt: guest webd ready"):]
        expect(not re.search(rb"\x1b(?!\[K)", serial), "no escape sequence but mgmt's own")
        expect(not re.search(rb"[\x00-\x06\x0b-\x0c\x0e-\x1a\x1c\x1d\x1f\x7f-\xff]", serial), "no control character")
        for record in re.findall(rb"\x1e([^\n]*)\n", serial):
            expect(record.startswith(b'{"command":"'), f"a record that mgmt did not write: {record}")
        expect(not re.search(rb"[\r\n](?:\x1b\[K)?(hv|init|mgmt): [^\r\n]*forged", serial), "no forged line")
        host.expect_unharmed()


def test_talk_attached(ctx):
    """Attached to a liar's console: colours and text come through, nothing that makes the terminal answer
    or change, no record."""
    guests = {"liar": definition("liar", "talk", "escapes", more="<on_poweroff>preserve</on_poweroff>")}
    with Host(ctx, guests) as host:
        host.start("liar")
        host.vm.wait_for(r"liar: done", timeout=20)
        begin = len(host.vm.text)
        host.vm.send("console liar")
        host.vm.wait_for("attached to liar", timeout=10)
        host.vm.wait_for("forged\n", timeout=10)
        host.vm.send_bytes(b"\x1d")
        host.vm.wait_for("detached", timeout=10)
        shown = host.vm.text[begin:host.vm.text.index("detached", begin)]
        expect("plain \x1b[31mred\x1b[0m \u00e4" in shown, f"text and colours: {shown!r}")
        odd = re.findall(r"\x1b(?!\[[0-9;]*[HKm])|[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f-\x9f]", shown)
        expect(not odd, f"nothing that makes a terminal answer, and no record: {shown!r}")
        expect(host.vm.json("list")["ok"], "the host console goes on")


FAULTS = {"null": 14, "divide": 0, "write-text": 14, "write-information": 14, "write-completions": 14,
          "beyond-ram": 14, "beyond-shared": 14, "execute-heap": 14, "exhaust-stack": 14,
          "exhaust-heap": 14, "odd-state": 6}


def test_faults(ctx):
    """Guests that fault, each in its own way, all at once: only they end, with last words, a reason and
    registers in the log."""
    guests = {name: definition(name, "life", name) for name in FAULTS}
    with Host(ctx, guests) as host:
        host.start(*guests)
        host.wait_off(*guests, timeout=40)
        for name, vector in FAULTS.items():
            expect(re.search(rf"mgmt: guest {name} crashed: fault {vector},", host.vm.text),
                   f"{name}: fault {vector}")
            expect(re.search(rf"{name}:   rax [0-9a-f]{{16}}", host.vm.text), f"{name}: registers")
        host.expect_unharmed()
        host.start(*guests)  # again, in the memory of the others
        host.wait_off(*guests, timeout=40)
        host.expect_unharmed()


def test_busy(ctx):
    """Loops, signals without end, every hypercall: webd goes on, and so does who only computes."""
    attempts = {"calls": "hypercalls", "yielder": "yields", "signals": "signals"}
    guests = {name: definition(name, "life", todo) for name, todo in attempts.items()}
    guests["looper"] = definition("looper", "life", "loop")
    with Host(ctx, guests) as host:
        host.start("looper", *attempts)
        slowest = host.wait_off(*attempts, timeout=60)
        print(f"slowest page: {slowest:.2f} s")
        for name, todo in attempts.items():
            host.expect_attempts(name, todo)
        expect(host.vm.json("destroy looper")["ok"], "a loop can be destroyed")
        host.wait_off("looper")
        host.expect_unharmed()


@slow
@limit(300)
def test_signal_flood_is_fair(ctx):
    """Two guests of the same weight: who keeps mgmt busy with signals has the other's share no more
    than halved, mgmt's time for it included. In counted time."""
    guests = {"looper": definition("looper", "life", "loop"),
              "signals": definition("signals", "life", "signals")}
    with Host(ctx, guests, net=False, icount=True) as host:
        host.start("looper", "signals")
        def ran():
            told = host.vm.json("cpu", timeout=60)
            return told["counters"]["tsc"], {guest["name"]: guest["tsc"] for guest in told["guests"]}
        begin, before = ran()
        end, pause = begin, 4
        while end - begin < 300_000_000:  # of the four seconds that the signals come
            time.sleep(pause)
            pause *= 2  # mgmt's answers take time from what is measured
            end, after = ran()
        share = {name: (after[name] - before[name]) / (end - begin) for name in guests}
        print(f"shares of the processor: {share}")
        expect_equal(host.states()["signals"]["state"], "running", "who signals")
        expect(share["looper"] > 0.4, f"the innocent one has {share['looper']:.2f} of the processor; 0.5 is its share")


def test_block_end(ctx):
    """Floods, writes under way when the guest faults, a full throw-away volume, random queues."""
    guests = {
        "dier": definition("dier", "block", "die-in-write", disk("vda", "disk:1")),
        "writer": definition("writer", "block", "overlay", disk("vda", "disk:2", "<readonly/>") * 2
                             + disk("vdc", "disk:3", "<transient/>")),
        "flood": definition("flood", "block", "flood scrambled", disk("vda", "disk:4")),
    }
    disks = [raw_disk(ctx, "slow", 32, ",throttling.bps-write=1000000"), raw_disk(ctx, "small", 1),
             raw_disk(ctx, "large", 64), raw_disk(ctx, "raw", 8)]
    with Host(ctx, guests, disks=disks) as host:
        host.start("flood")
        host.vm.send("start dier")
        host.vm.wait_for(r"mgmt: guest dier crashed: fault 6", timeout=20)
        host.vm.wait_for(r"mgmt: guest dier ended", timeout=20)  # not before the disk is done with its memory
        written = host.vm.qmp("query-blockstats")[1]["stats"]["wr_bytes"]
        time.sleep(1)
        expect_equal(host.vm.qmp("query-blockstats")[1]["stats"]["wr_bytes"], written, "bytes written afterwards")
        host.wait_off("dier", "flood", timeout=60)
        host.expect_unharmed()
        host.start("writer", "dier")  # all of mgmt's memory must not go to one guest's volume
        host.start("flood")
        host.wait_off("dier", "writer", "flood", timeout=60)
        expect(re.search(r"writer: writes refused: [1-9]", host.vm.text), "its volume has an end")
        host.expect_unharmed()


@limit(180)
def test_enemy(ctx):
    """A mgmt that is at war with hv, five times over (init gives up then): hv lives, and each new one is lent
    as much as the first, all of it free."""
    with open(os.path.join(ctx.build, "test", "guest", "hostile", "hostile-enemy.bin"), "rb") as program:
        enemy = program.read()
    with ctx.boot_pvh(files={"mgmt.bin": enemy}, cmdline=f"seed={ctx.seed}", net=False, mem="256M") as vm:
        vm.wait_for(r"init: mgmt failed 5 times", timeout=150)
        vm.qmp("stop")
        both = [line for line in vm.hmp("info tlb").splitlines()
                if re.match(r"^[0-9a-f]{16}: ", line) and "W" in line.split()[-1]
                and not line.split()[-1].startswith("X")]
        text = vm.text
    expect(not both, f"writable and executable: {both}")
    expect("FAILED" not in text, f"a life found something missing:\n{text}")
    lent = re.findall(r"^enemy: lent (.*)$", text, re.M)
    worked = re.findall(r"^enemy: done, of calls that worked (\d+)$", text, re.M)
    faults = re.findall(r"^init: mgmt faulted: vector (.*)$", text, re.M)
    print(f"seed {ctx.seed}: lent {lent}, calls that worked {worked}, ends {faults}")
    expect_equal(len(lent), 5, "lives")
    expect_equal(set(lent), {lent[0]}, "what each was lent")
