"""Machines of all kinds: little memory and much, other processors, no disk, no network card, two of
each. And what an emulator leaves behind: nothing."""

import os
import socket

import archive
import vm as machine
from guests import command, definition, forward, get, guest, ready, until, until_state, web
from harness import expect, expect_equal, slow


def serves(ctx, **options):
    data = ctx.random.randbytes(100_000)
    port = machine.free_port()
    with ctx.boot_pvh(ctx.guests(webd=web(), hello=definition("hello")), content=archive.newc({"f": data}), disk=True,
                      forwards=[forward(port)], **options) as vm:
        ready(vm, "webd", "hello")
        expect(get(port, "/f").body == data, "the file")
        mem = command(vm, "mem")
        vm.poweroff()
    return vm.text, mem


def test_epyc(ctx):
    serves(ctx, cpu="EPYC")


def test_old_processor(ctx):
    """Without XSAVE, SMEP, SMAP, RDRAND: it says what follows from that."""
    text, _ = serves(ctx, cpu="qemu64,+svm")
    expect("no RDRAND: guests' random seeds can be guessed" in text, "about seeds")


def test_little_memory(ctx):
    _, mem = serves(ctx, mem="128M")
    expect(100 << 20 < mem["ram_bytes"] < 128 << 20, f"it sees that memory: {mem}")


def test_memory_below_4g(ctx):
    _, mem = serves(ctx, mem="3993M")
    expect(3900 << 20 < mem["ram_bytes"] < 3993 << 20, f"it sees that memory: {mem}")


def test_memory_above_4g(ctx):
    _, mem = serves(ctx, mem="6G")
    expect(mem["ram_bytes"] > 6000 << 20, f"it sees that memory: {mem}")
    expect(mem["frame"]["free_bytes"] > 5600 << 20, f"and can give it out: {mem}")


def test_four_processors(ctx):
    """The others are left alone until hv knows several."""
    serves(ctx, smp=4)


def test_emulated_iommu(ctx):
    """Behind an IOMMU that nobody has switched on, devices that ask for addresses it translates."""
    serves(ctx, machine="q35,kernel-irqchip=split", extra=("-device", "intel-iommu,intremap=on"))


def test_other_cards(ctx):
    """Disk and network card as transitional devices: modern, with legacy registers beside."""
    serves(ctx, block_device="virtio-blk-pci", net_device="virtio-net-pci")


def test_no_disk(ctx):
    """The guest that needs one is refused, the other starts."""
    with ctx.boot_pvh(ctx.guests(webd=web(), hello=definition("hello"))) as vm:
        ready(vm, "hello")
        expect("guests/webd.xml:" in vm.text and "there is no" in vm.text, "webd is refused with a reason")
        expect_equal(until_state(vm, "webd", "off")["starts"], 0, "webd's starts")
        vm.poweroff()


def test_no_net(ctx):
    """Guests with an interface start all the same; they only reach each other."""
    with ctx.boot_pvh(ctx.guests(webd=web(), hello=definition("hello")), disk=True, net=False) as vm:
        ready(vm, "webd", "hello")
        vm.poweroff()


def test_nothing(ctx):
    """No disk, no network card, no guest: a host all the same."""
    with ctx.boot_pvh(net=False) as vm:
        ready(vm)
        expect_equal(command(vm, "list")["guests"], [], "guests")
        vm.poweroff()


def test_two_cards(ctx):
    """A second network card and a second disk are found, and the first ones work."""
    path = ctx.write("second.img", bytes(1 << 20))
    text, _ = serves(ctx, disks=[f"format=raw,file={path}"],
                     extra=("-netdev", "user,id=net1", "-device", "virtio-net-pci,disable-legacy=on,netdev=net1"))
    expect(text.count("block: disk:1 is virtio-blk") == 1, "the second disk")
    expect("there is an uplink already: not used" in text, "the second card is told about")


def listening(pid):
    """The local addresses on which a process takes connections or datagrams."""
    inodes = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = []
    for table, states in (("tcp", {"0A"}), ("tcp6", {"0A"}), ("udp", {"07"}), ("udp6", {"07"})):
        with open(f"/proc/{pid}/net/{table}") as lines:
            for fields in (line.split() for line in list(lines)[1:]):
                if fields[9] in inodes and fields[3] in states:
                    found.append((table, fields[1].split(":")[0]))
    return found


def processes_with(text):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as line:
                if text.encode() in line.read() and int(pid) != os.getpid():
                    found.append(int(pid))
        except OSError:
            pass
    return found


def test_leaves_nothing(ctx):
    """While it runs, only this machine can reach it; afterwards no process and no port is left, whether
    it was switched off or killed."""
    for end in ("poweroff", "kill"):
        port, udp = machine.free_port(), machine.free_port()
        with ctx.boot_pvh(ctx.guests(webd=web()), disk=True,
                          forwards=[forward(port), forward(udp, 7, protocol="udp")]) as vm:
            ready(vm, "webd")
            expect_equal(get(port, "/").status, 200, "the page")
            addresses = listening(vm.process.pid)
            expect(("tcp", "0100007F") in addresses and ("udp", "0100007F") in addresses, f"forwards: {addresses}")
            expect({address for _, address in addresses} == {"0100007F"}, f"only 127.0.0.1: {addresses}")
            sockets, pid = vm.sockets, vm.process.pid
            expect(processes_with(sockets) == [pid], "one emulator")
            if end == "poweroff":
                vm.poweroff()
        expect_equal(processes_with(sockets), [], f"processes after {end}")
        expect(not os.path.exists(sockets), "its sockets' folder")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
