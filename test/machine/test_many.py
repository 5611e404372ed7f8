"""Very many guests, and guests that want all of the processor."""

import json
import os
import statistics
import time

from guests import command, dormant, free_memory, ready, until, until_ready
from harness import expect, expect_equal, limit, soak
from peer import Peer, address

GUESTS = 1000
ANSWERS = 50
SAMPLE = 9  # first and last guests whose cost is compared, by their median


def program(ctx):
    with open(os.path.join(ctx.build, "test", "guest", "test-answer.bin"), "rb") as handle:
        return {"test-answer.bin": handle.read()}


def mac_of(n):
    return bytes((0x52, 0x54, 0, 0x10, n >> 8, n & 255))


def ip_of(n):
    return f"10.0.{n >> 8}.{n & 255}"


def networked(n):
    mac = ":".join(f"{byte:02x}" for byte in mac_of(n))
    return dormant(f"g{n:04}", kernel="test-answer.bin",
                   devices=f"<console/><interface type='network'><mac address='{mac}'/>"
                           f"<ip address='{ip_of(n)}' prefix='16'/></interface>")


def for_all(vm, ctx, numbers, what):
    """In random order."""
    order = numbers[:]
    ctx.random.shuffle(order)
    for n in order:
        command(vm, f"{what} g{n:04}", timeout=60)


def end_all(vm, ctx, numbers):
    order = numbers[:]
    ctx.random.shuffle(order)
    for n in order:
        command(vm, f"destroy g{n:04}", timeout=60)
        vm.wait_for(f"guest g{n:04} ended", 60)


def create_all(vm, ctx, numbers):
    """In random order; returns what each cost until it was let run, in that order. Its memory is clean or not,
    but for all of them alike."""
    order = numbers[:]
    ctx.random.shuffle(order)
    costs = []
    for n in order:
        command(vm, f"start g{n:04}", timeout=60)
        vm.wait_for(f"guest g{n:04} ready", 60)
        tsc = command(vm, f"info g{n:04}", timeout=60)["tsc"]
        costs.append(tsc["running"] - tsc["start"])
    return costs


@soak
@limit(3000)
def test_a_thousand_guests(ctx):
    """1,000 guests of 1 MiB on 4 GiB, in random order created, asked, all of them paused, resumed, asked and destroyed;
    then all memory is back. Created once more, of memory that is clean, the last ones cost what the first did."""
    numbers = list(range(1, 1 + GUESTS))
    where = {mac_of(n): address(ip_of(n)) for n in numbers}
    definitions = ctx.guests(**{f"g{n:04}": networked(n) for n in numbers})
    with Peer() as peer, ctx.boot_pvh(definitions, files=program(ctx), mem="4G", icount=True,
                                      netdev=peer.netdev) as vm:
        ready(vm, timeout=120)
        before, blocks = free_memory(vm), command(vm, "mem")["mgmt_heap_blocks"]
        create_all(vm, ctx, numbers)
        expect_equal(len(peer.ask(where, timeout=600)), GUESTS, "guests that answer")
        for_all(vm, ctx, numbers, "pause")
        expect_equal(len(peer.ask(where, timeout=2)), 0, "paused guests that answer")
        for_all(vm, ctx, numbers, "resume")
        expect_equal(len(peer.ask(where, timeout=600)), GUESTS, "resumed guests that answer")
        end_all(vm, ctx, numbers)
        expect_equal(free_memory(vm), before, "free memory")
        expect_equal(command(vm, "mem")["mgmt_heap_blocks"], blocks, "mgmt's allocations")

        costs = create_all(vm, ctx, numbers)
        first, last = statistics.median(costs[:SAMPLE]), statistics.median(costs[-SAMPLE:])
        expect(max(first, last) <= 150_000 and last <= 1.2 * first,
               f"the last guests cost {last:,.0f} instructions, the first {first:,.0f}")
        end_all(vm, ctx, numbers)
        expect_equal(free_memory(vm), before, "free memory at last")
        vm.poweroff(120)


def busy(name, more=""):
    return dormant(name, kernel="test-answer.bin", arguments="busy", more=more)


def cpu_of(vm):
    told = command(vm, "cpu", timeout=60)
    return told["counters"]["tsc"], {entry["name"]: entry["tsc"] for entry in told["guests"]}


def shares(vm, ticks):
    """How much of at least so much time each guest had: a fraction."""
    begin, before = cpu_of(vm)
    end, after = cpu_of(vm)
    while end - begin < ticks:
        time.sleep(0.3)  # mgmt's answers take time from what is measured
        end, after = cpu_of(vm)
    return {name: (after[name] - before[name]) / (end - begin) for name in after}


@limit(300)
def test_weights_and_caps(ctx):
    """Two guests that want everything share 2:1 as their weights are, within 3 %; one with a cap of a quarter
    has a quarter, within 2 %."""
    guests = ctx.guests(light=busy("light", "<cputune><shares>512</shares></cputune>"), heavy=busy("heavy"),
                        capped=busy("capped", "<cputune><period>100000</period><quota>25000</quota></cputune>"))
    with ctx.boot_pvh(guests, files=program(ctx), net=False, icount=True) as vm:
        ready(vm)
        for name in ("light", "heavy"):
            command(vm, f"create {name}.xml")
            until_ready(vm, name)
        had = shares(vm, 4_000_000_000)
        ratio = had["heavy"] / had["light"]
        expect(abs(ratio / 2 - 1) <= 0.03, f"2:1 is {ratio:.3f}: {had}")
        command(vm, "destroy light")
        vm.wait_for("guest light ended")
        command(vm, "create capped.xml")
        until_ready(vm, "capped")
        had = shares(vm, 10_000_000_000)
        expect(abs(had["capped"] / 0.25 - 1) <= 0.02, f"a quarter is {had['capped']:.4f}: {had}")
        vm.poweroff()


PM_TIMER = 0x608  # its count, of 24 bits, at the firmware's PMBASE
PM_TIMER_HZ = 3_579_545


def answer_delay(vm):
    """Instructions from the moment the key that ends a command lies in the serial port to the one when mgmt reads
    the TSC for its answer. The machine stands still while the key is put there, so nothing of the emulator's own
    pace is in it: its PM timer and its TSC count its instructions, one a nanosecond."""
    with vm.said:
        vm.cursor = len(vm.text)
    vm.send_bytes(b"cpu --json")
    vm.wait_for(r"cpu --json\Z", 60)
    vm.qmp("stop")
    begin = int(vm.hmp(f"i/w {PM_TIMER:#x}").split("=")[1], 16)
    vm.send_bytes(b"\n")
    until(lambda: vm.qmp("query-status") and vm.unread() == 0, "the port has it", 60)
    vm.qmp("cont")
    tsc = json.loads(vm.wait_for(r"\x1e([^\x1e\n]*)\n", 60).group(1))["counters"]["tsc"]
    ticks = (tsc * PM_TIMER_HZ // 10**9 - begin) % (1 << 24)
    return ticks * 10**9 // PM_TIMER_HZ


@limit(300)
def test_a_hundred_busy_guests(ctx):
    """They delay the answer to no console command by more than 20 million instructions. All answers count."""
    names = [f"b{n:02}" for n in range(100)]
    guests = ctx.guests(**{name: busy(name) for name in names})
    with ctx.boot_pvh(guests, files=program(ctx), net=False, icount=True) as vm:
        ready(vm)
        for name in names:
            command(vm, f"create {name}.xml")
            vm.wait_for(f"guest {name} ready", 60)
        took = sorted(answer_delay(vm) for _ in range(ANSWERS))
        print(f"delays, in instructions: {took[0]:,} to {took[-1]:,}")
        expect(took[-1] <= 20_000_000, f"delays, in instructions: {took}")
        vm.poweroff(60)
