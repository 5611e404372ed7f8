"""An HVM guest is saved to its checkpoint disk and ends; a fresh VMM of a fresh domain lets it go on from there."""

import contextlib
import os
import re

import linux
from guests import forward, get
from harness import expect, limit, slow
from vm import free_port

DISKS = ("<disk type='volume'><source volume='disk:0'/><target dev='vda'/></disk>"
         "<interface type='network'><mac address='52:54:00:42:48:01'/>"
         "<ip address='10.0.2.15' prefix='24'/><route gateway='10.0.2.2'/></interface>"
         "<disk type='volume' device='checkpoint'><source volume='disk:1'/><target dev='checkpoint'/></disk>")
ADDRESS = "address=10.0.2.15/24 gateway=10.0.2.2"
LINE = r"^witness: second (\d+) rounds (\d+) blocks (\d+) wrong (\d+)\s"
MEMORY = 128


class Machine:
    """A host with such a guest; its disks outlive it."""

    def __init__(self, ctx, vcpus, devices=DISKS, arguments="", kernel=None):
        self.ctx = ctx
        self.vcpus = vcpus
        self.devices = devices
        self.arguments = f"{ADDRESS} {arguments}"
        for name, mib in (("data", 8), ("checkpoint", MEMORY + 1)):
            with open(ctx.path(name), "wb") as handle:
                handle.truncate(mib << 20)
        self.port = free_port()
        self.files = linux.files(ctx.root, kernel, more=[linux.program(ctx, "witness")])

    @contextlib.contextmanager
    def on(self, memory=MEMORY):
        definition = linux.definition(memory=memory, vcpus=self.vcpus, devices=self.devices,
                                      arguments=self.arguments, policy="<bulkhead autostart='no'/>")
        disks = [f"format=raw,file={self.ctx.path(name)}" for name in ("data", "checkpoint")]
        with self.ctx.boot_pvh(self.ctx.guests(linux=definition), files=self.files, disks=disks,
                               forwards=[forward(self.port)]) as vm:
            vm.wait_for(r"^mgmt: ready", timeout=60)
            yield vm


def witness(vm):
    """Its next line from now on: seconds, rounds, blocks; nothing may be wrong."""
    with vm.said:
        vm.cursor = len(vm.text)
    said = [int(word) for word in vm.wait_for(LINE, timeout=60).groups()]
    expect(said[3] == 0, f"nothing is wrong: {re.findall('WRONG.*', vm.text)}")
    return said[:3]


def start(vm, disk="/dev/vda", before=""):
    vm.send("start linux")
    linux.shell(vm)
    vm.send(f"{before} witness {disk}")
    vm.wait_for(r"^witness: vectors of 32 bytes", timeout=30)


def goes_on(vm, since):
    """The witness has not begun anew, and counts on."""
    at = witness(vm)
    expect(all(a >= b for a, b in zip(at, since)), f"{at} is not before {since}")
    expect(at[0] < since[0] + 30, f"second {at[0]} follows {since[0]}")
    while not (at[1] > since[1] and (at[2] > since[2] or since[2] == 0)):
        at = witness(vm)


def flip(path, at):
    with open(path, "r+b") as handle:
        handle.seek(at)
        byte = handle.read(1)
        handle.seek(at)
        handle.write(bytes([byte[0] ^ 1]))


def save(vm):
    vm.send_bytes(b"\x1d")
    vm.send("save linux")
    vm.wait_for(r"guest linux ended: saved", timeout=120)


def restore(vm):
    vm.send("restore linux")
    vm.wait_for(r"guest linux started", timeout=60)
    vm.send("console linux")


def save_and_restore(ctx, vcpus):
    machine = Machine(ctx, vcpus)
    with machine.on() as vm:
        start(vm)
        witness(vm)
        expect(get(machine.port, "/").status == 200, "the guest serves")
        before = witness(vm)
        save(vm)
        restore(vm)
        goes_on(vm, before)
        expect(get(machine.port, "/").status == 200, "the guest serves again")
        before = witness(vm)
        save(vm)
        vm.poweroff()
    with machine.on() as vm:  # the host, too, has started anew
        restore(vm)
        goes_on(vm, before)
        expect(get(machine.port, "/").status == 200, "the guest serves on another host")


def refused(vm, reason):
    vm.send("restore linux")
    vm.wait_for(rf"vmm: the checkpoint is refused: {reason}", timeout=60)
    vm.wait_for(r"guest linux ended: its checkpoint was refused", timeout=30)


@slow
@limit(500)
def test_bad_checkpoints(ctx):
    """None, no room for one, a damaged one, one of another machine, one that has been used: each has its message,
    and a good one outlives what is refused."""
    machine, path = Machine(ctx, 1), ctx.path("checkpoint")
    os.truncate(path, MEMORY << 20)
    with machine.on() as vm:
        refused(vm, "there is none")
        start(vm)
        before = witness(vm)
        vm.send_bytes(b"\x1d")
        vm.send("save linux")
        vm.wait_for(r"vmm: the guest is not saved and goes on: its checkpoint disk is too small", timeout=60)
        vm.send("console linux")
        goes_on(vm, before)
        vm.send_bytes(b"\x1d")
        vm.poweroff()
    os.truncate(path, (MEMORY + 1) << 20)
    with machine.on() as vm:
        start(vm)
        before = witness(vm)
        save(vm)
        vm.poweroff()
    flip(path, 5 << 20)
    with machine.on() as vm:
        refused(vm, "it is damaged")
        vm.poweroff()
    flip(path, 5 << 20)
    with machine.on(memory=MEMORY // 2) as vm:
        refused(vm, "it has more memory than the guest is given now")
        vm.poweroff()
    with machine.on() as vm:
        restore(vm)
        goes_on(vm, before)
        vm.send_bytes(b"\x1d")
        vm.send("destroy linux")
        vm.wait_for(r"guest linux ended: destroyed", timeout=30)
        refused(vm, "there is none on its disk, or it has been used")


@slow
@limit(500)
def test_by_wire(ctx):
    """Devices that share one level-triggered interrupt, a disk that reads and writes RAM itself, and a watchdog
    that is served, until it is not."""
    devices = DISKS.replace("<target dev='vda'/>", "<driver io='direct'/><target dev='vda'/>") + \
        "<watchdog model='i6300esb'/>"
    if not linux.has(ctx.root, "vmlinuz", "generic-6.1"):
        ctx.skip("the mirror did not have the kernel that brings the watchdog's driver")
    machine = Machine(ctx, 2, devices, "pci=nomsi", "generic-6.1")
    with machine.on() as vm:
        start(vm, before="test -c /dev/watchdog && watchdog -T 20 -t 2 /dev/watchdog &&")
        for _ in range(2):
            before = witness(vm)
            save(vm)
            restore(vm)
            goes_on(vm, before)
            expect(get(machine.port, "/").status == 200, "the guest serves again")
        at = witness(vm)[0]
        while witness(vm)[0] < at + 25:
            pass
        vm.send_bytes(b"\x03")
        vm.send("killall -9 watchdog")
        vm.wait_for(r"guest linux ended: its watchdog was not served", timeout=60)


@slow
@limit(500)
def test_registers(ctx):
    """Nearly all of its time it is in the middle of a sum."""
    with Machine(ctx, 1).on() as vm:
        start(vm, disk="")
        for _ in range(4):
            before = witness(vm)
            save(vm)
            restore(vm)
            goes_on(vm, before)


@slow
@limit(500)
def test_one_vcpu(ctx):
    save_and_restore(ctx, 1)


@slow
@limit(500)
def test_four_vcpus(ctx):
    save_and_restore(ctx, 4)
