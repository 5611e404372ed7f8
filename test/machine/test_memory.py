"""What a guest had comes back, all of it, and clean."""

import os
import time

from guests import command, definition, disk, dormant, free_memory, guest, net, ready, until, until_ready, until_state
from harness import expect, expect_equal, limit, slow


def program(ctx, name):
    with open(os.path.join(ctx.build, "test", "guest", name), "rb") as handle:
        return handle.read()


def test_lives(ctx):
    """100 creations and destructions, of guests in every state: no byte of either memory is lost."""
    devices = "<console/>" + disk("partition:webd") + disk("archive:a.xml", target="vdb") + net(20) + net(21)
    guests = ctx.guests(a=dormant("a", memory="5333", unit="KiB", devices=devices), b=definition("b"))
    with ctx.boot_pvh(guests, disk=True) as vm:
        ready(vm, "b")
        before = free_memory(vm)
        blocks = command(vm, "mem")["mgmt_heap_blocks"]
        for life in range(100):
            command(vm, "create a.xml")
            kind = life % 4
            if kind > 0:
                until_state(vm, "a", "running")
            if kind == 1:
                until_ready(vm, "a")
                command(vm, "shutdown a")
            else:
                if kind == 2:
                    command(vm, "pause a")
                command(vm, "destroy a")
            until_state(vm, "a", "off")
        expect_equal(free_memory(vm), before, "memory afterwards")
        expect_equal(command(vm, "mem")["mgmt_heap_blocks"], blocks, "mgmt's heap")
        expect_equal(guest(vm, "b")["starts"], 1, "the other guest's starts")
        vm.poweroff()


def dump(ctx, vm, mebibytes):
    """All RAM. Addresses in it are host-physical: a machine this small has it in one piece."""
    path = ctx.path("memory")
    vm.hmp(f'pmemsave 0 {mebibytes << 20} "{path}"')
    with open(path, "rb") as handle:
        data = handle.read()
    os.remove(path)
    expect_equal(len(data), mebibytes << 20, "bytes of memory")
    return data


class Marker:
    def __init__(self, number):
        self.number = number
        self.bytes = number.to_bytes(8, "little") + (number ^ (1 << 64) - 1).to_bytes(8, "little")

    def definition(self, name, number, more=""):
        return dormant(name, kernel="test-marker.bin", memory="21", arguments=f"{self.number:016x}{more}",
                       devices="<console/>" + disk("partition:webd") + net(number))

    def pages(self, memory):
        """The numbers of the pages that hold it anywhere."""
        found, at = set(), memory.find(self.bytes)
        while at >= 0:
            found.add(at // 4096)
            at = memory.find(self.bytes, (at // 4096 + 1) * 4096)
        return found


def filled(ctx, vm, marker, name, mebibytes):
    """The pages of a marker when its guest has put it everywhere and sleeps."""
    vm.wait_for(f"{name}: full", 30)
    used = until_ready(vm, name)["cpu_ms"]
    time.sleep(0.3)
    expect(guest(vm, name)["cpu_ms"] - used < 250, f"{name} sleeps")
    return marker.pages(dump(ctx, vm, mebibytes))


def marker_run(ctx, end, memory=96, gone_at_once=False):
    """end(vm): ends the life of guest `one`. Then its memory is given out again, to `two`.
    gone_at_once: nothing may be left before that, either."""
    one, two = Marker(ctx.random.getrandbits(64)), Marker(ctx.random.getrandbits(64))
    # The second one leaves nearly all of its memory as it gets it.
    folder = ctx.guests(one=one.definition("one", 20), two=two.definition("two", 21, " sparse"))
    with ctx.boot_pvh(folder, disk=True, mem=f"{memory}M",
                      files={"test-marker.bin": program(ctx, "test-marker.bin")}) as vm:
        ready(vm)
        expect(not one.pages(dump(ctx, vm, memory)), "no marker before it runs")
        command(vm, "create one.xml")
        pages = filled(ctx, vm, one, "one", memory)
        expect(len(pages) > 20 * 256, f"it has filled its memory: {len(pages)} pages")
        end(vm)
        if gone_at_once:
            left = one.pages(dump(ctx, vm, memory))
            expect(not left, f"left in RAM: {[hex(page * 4096) for page in sorted(left)][:10]}")
        command(vm, "create two.xml")
        again = filled(ctx, vm, two, "two", memory)
        expect(len(pages & again) > len(pages) * 9 // 10, "the second guest lies where the first one was")
        left = one.pages(dump(ctx, vm, memory))
        expect(not left, f"nothing is left of the first: {[hex(page * 4096) for page in sorted(left)][:10]}")
        command(vm, "destroy two")  # it would not end when asked to
        until_state(vm, "two", "off")
        vm.poweroff()


def test_marker_is_gone(ctx):
    """Nothing of a destroyed guest's memory, windows and registers is anywhere in RAM."""
    def destroy(vm):
        command(vm, "destroy one")
        until_state(vm, "one", "off")
    marker_run(ctx, destroy, gone_at_once=True)


def test_refused_without_memory(ctx):
    """Guests are created until there is no room: a refusal with a reason, those that run go on, and
    when one has gone there is room for one."""
    names = [f"g{n:02}" for n in range(16)]
    guests = {name: dormant(name, memory="8") for name in names}
    with ctx.boot_pvh(ctx.guests(**guests), mem="128M") as vm:
        ready(vm)
        refused = None
        for name in names:
            before = free_memory(vm)
            reply = vm.json(f"create {name}.xml")
            if not reply["ok"]:
                refused = name
                break
            until_ready(vm, name)
        expect(refused, "there is an end")
        expect(names.index(refused) >= 6, f"not before memory is used up: {refused}")
        expect("memory 8 MiB: host has" in reply["error"] and f"guests/{refused}.xml:3:" in reply["error"],
               f"the reason: {reply['error']}")
        expect_equal(free_memory(vm), before, "a refusal costs nothing")
        running = [g["name"] for g in command(vm, "list")["guests"] if g["state"] == "running"]
        expect_equal(running, names[:names.index(refused)], "those that run")
        command(vm, f"destroy {names[0]}")
        until_state(vm, names[0], "off")
        command(vm, f"create {refused}.xml")
        until_ready(vm, refused)
        vm.poweroff()


def test_refused_without_objects(ctx):
    """The same for the memory of hv's objects: of these guests each takes 64 KiB."""
    names = [f"g{n:02}" for n in range(60)]
    with ctx.boot_pvh(ctx.guests(**{name: dormant(name, memory="21") for name in names}),
                      cmdline="object_memory=8M", mem="2G") as vm:
        ready(vm)
        for count, name in enumerate(names):
            reply = vm.json(f"create {name}.xml")
            if not reply["ok"]:
                break
        expect(not reply["ok"] and count > 2, f"refused after {count}: {reply}")
        expect("destroy" in reply["error"], f"a remedy: {reply['error']}")
        command(vm, "destroy g00")
        until_state(vm, "g00", "off")
        command(vm, f"create {name}.xml")
        until_ready(vm, name)
        vm.poweroff()


@slow
@limit(400)
def test_many_guests(ctx):
    """As many guests as mgmt takes: the last one is refused with a reason, all others run."""
    names = [f"g{n:04}" for n in range(1100)]
    with ctx.boot_pvh(ctx.guests(**{name: dormant(name) for name in names}), mem="3G") as vm:
        ready(vm)
        for count, name in enumerate(names):
            reply = vm.json(f"create {name}.xml")
            if not reply["ok"]:
                break
        expect(not reply["ok"], "there is an end")
        expect(count >= 500, f"not before some hundreds: {count}: {reply}")
        until(lambda: all(g["state"] == "running" and g["ready"] for g in command(vm, "list")["guests"][:count]),
              "all run", 120, 1)
        command(vm, f"destroy {names[7]}")
        until_state(vm, names[7], "off")
        command(vm, f"start {names[7]}")
        until_ready(vm, names[7])
        vm.poweroff(60)
