"""mgmt faults: init reports it, takes everything back and starts it again, and with it all guests."""

import os
import subprocess

import archive
import vm as machine
from gdbstub import GdbStub
from guests import LINE, command, definition, forward, get, guest, ready, until_ready, web
from harness import expect, expect_equal, limit

BASE = 0x400000  # BH_IMAGE_VA, abi/image.h
INVALID = b"\x0f\x0b"  # UD2


def offset_of(ctx, function):
    """Where a function of mgmt lies in its image."""
    names = subprocess.run(["nm", os.path.join(ctx.build, "mgmt", "mgmt.elf")], capture_output=True, text=True,
                           check=True).stdout
    return next(int(line.split()[0], 16) for line in names.splitlines() if line.endswith(" " + function)) - BASE


def text_page(ctx, vm, mebibytes, offset):
    """The host-physical address of a page of mgmt's text: not that of the boot archive's copy, which init
    starts it from again, and which is not aligned to pages."""
    with open(os.path.join(ctx.build, "mgmt", "mgmt.bin"), "rb") as handle:
        image = handle.read()
    page = image[offset // 4096 * 4096:][:4096]
    path = ctx.path("memory")
    vm.hmp(f'pmemsave 0 {mebibytes << 20} "{path}"')
    with open(path, "rb") as handle:
        memory = handle.read()
    os.remove(path)
    found, at = [], memory.find(page)
    while at >= 0:
        if at % 4096 == 0 and memory[at - offset // 4096 * 4096:][:len(image) // 2] == image[:len(image) // 2]:
            found.append(at)
        at = memory.find(page, at + 1)
    pristine = [at for at in found if memory[at - offset // 4096 * 4096 - 120:][:120].find(b"070701") >= 0]
    found = [at for at in found if at not in pristine]
    expect_equal(len(found), 1, "copies of mgmt's text that run")
    return found[0]


def crash(ctx, vm, mebibytes, function, line):
    """An invalid instruction at the start of `function`, which the command `line` calls."""
    offset = offset_of(ctx, function)
    address = text_page(ctx, vm, mebibytes, offset) + offset % 4096
    with GdbStub(vm) as stub:
        stub.write(address, INVALID)
    with vm.said:
        vm.cursor = len(vm.text)
    vm.send(line)


@limit(180)
def test_restart(ctx):
    """Three times in a row: the report, all memory taken back, the guests started, the page served."""
    data = ctx.random.randbytes(50_000)
    port = machine.free_port()
    with ctx.boot_pvh(ctx.guests(webd=web(), hello=definition("hello")), content=archive.newc({"f": data}), disk=True,
                      mem="96M", forwards=[forward(port)]) as vm:
        ready(vm, "webd", "hello")
        memory = None
        for function, line in (("show_mem", "mem"), ("show_list", "list"), ("domain_pause", "pause hello")):
            expect(get(port, "/f").body == data, "the page before")
            crash(ctx, vm, 96, function, line)
            vm.wait_for(r"^(?:.*)init: mgmt faulted: vector 0000000000000006 error 0000000000000000", 20)
            report = vm.wait_for(r"^init:   rip ([0-9a-f]{16})", 5)
            expect_equal(int(report.group(1), 16), BASE + offset_of(ctx, function), "the faulting instruction")
            vm.wait_for(r"^init: all guests are gone; starting mgmt again", 20)
            vm.wait_for(LINE + r"mgmt: ready", 20)
            until_ready(vm, "webd")
            until_ready(vm, "hello")
            expect_equal(guest(vm, "hello")["starts"], 1, "a new mgmt counts from the start")
            expect(get(port, "/f").body == data, "the page after")
            mem = {kind: command(vm, "mem")[kind] for kind in ("frame", "object")}
            expect_equal(mem, memory or mem, "memory after each restart")
            memory = mem
        vm.poweroff()


@limit(120)
def test_while_it_works(ctx):
    """It faults in the middle of a guest's disk and network traffic."""
    data = ctx.random.randbytes(3 << 20)
    port = machine.free_port()
    with ctx.boot_pvh(ctx.guests(webd=web(), hello=definition("hello")), content=archive.newc({"f": data}), disk=True,
                      mem="96M", forwards=[forward(port)]) as vm:
        ready(vm, "webd", "hello")
        crash(ctx, vm, 96, "block_service", "")
        try:
            get(port, "/f", timeout=3)
        except OSError:
            pass
        vm.wait_for(r"init: mgmt faulted: vector 0000000000000006", 20)
        vm.wait_for(LINE + r"mgmt: ready", 20)
        until_ready(vm, "webd")
        expect(get(port, "/f").body == data, "the page after")
        vm.poweroff()
