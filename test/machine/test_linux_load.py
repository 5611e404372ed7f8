"""Linux guests that are busy, and Linux guests that are idle."""

import time

import linux
from guests import LINE, command, disk, net, said
from harness import expect, limit, slow, soak

LINUX_BOOT_SECONDS = 300  # all of them at once


@slow
@limit(600)
def test_hot_paths(ctx):
    """test/guest/linux/paths.c in two guests at a time, beside a checksum that must stay the same: FPU and SIMD
    registers, page faults, signals, forks and system calls while guests, processes and interrupts take turns."""
    initrd = linux.initramfs(ctx.root, [linux.program(ctx, "paths")])
    guests = ctx.guests(**{name: linux.definition(memory=128, name=name, arguments="quiet") for name in ("one", "two")})
    with ctx.boot_pvh(guests, files={"initrd.gz": initrd}) as vm:
        for name in ("one", "two"):
            # The last line before its prompt: what it says later could part the other one's.
            said(vm, LINE + f"{name}: Enter 'help'", timeout=LINUX_BOOT_SECONDS)
        vm.send("console two")
        vm.wait_for(r"/ # ")
        vm.send("while sleep 0.1; do sha256sum /bin/busybox; done >/tmp/sums &")
        vm.send("paths 4; kill %1; wait; sort -u /tmp/sums | wc -l")
        vm.send_bytes(b"\x1d")
        vm.send("console one")
        vm.wait_for(r"/ # ")
        vm.send("paths 3")
        expect_held(vm)
        vm.send_bytes(b"\x1d")
        vm.send("console two")
        expect_held(vm)
        vm.wait_for(r"^1\n", timeout=60)


def expect_held(vm):
    result = vm.wait_for(r"^paths: (FAILED.*|all held)\n", timeout=120).group(1)
    expect(result == "all held", f"the hot paths: {result}")


# Each checks what it computes. Registers of every kind, page tables, signals, timers, switches.
STRESSORS = ("atomic", "bsearch", "cache", "context", "cpu", "crypt", "fork", "fp", "futex", "hash", "malloc",
             "matrix", "memcpy", "mmap", "mprotect", "nop", "pipe", "pthread", "qsort", "sigq", "skiplist", "str",
             "switch", "timer", "tsc", "vecmath", "vm", "yield")


@slow
@limit(900)
def test_stress_ng(ctx):
    """Debian's stress-ng on two vCPUs, two processes of each kind, all verified."""
    entries = linux.stress(ctx.root)
    if not entries:
        ctx.skip("stress-ng was not fetched; run subprojects/fetch-sources --kernels .deps")
    with ctx.boot_pvh(ctx.guests(linux=linux.definition(memory=512, vcpus=2, arguments="quiet")),
                      files={"initrd.gz": linux.initramfs(ctx.root, entries)}) as vm:
        linux.shell(vm)
        vm.send("s() { stress-ng -q --verify --$1 2 -t 1 --vm-bytes 64m --temp-path /tmp; echo $1: status $?; }")
        for stressor in STRESSORS:
            vm.send(f"s {stressor}")
            status = vm.wait_for(rf"^{stressor}: status (\d+)\n", timeout=120).group(1)
            expect(status == "0", f"{stressor} failed: {vm.tail()}")
        vm.send("dmesg | grep -c -e 'Call Trace' -e BUG: -e segfault")
        vm.wait_for(r"^0\n", timeout=30)


@slow
@limit(300)
def test_every_device(ctx):
    """As many disks and network cards as a definition may have: the VMM's memory suffices."""
    devices = "".join(disk("archive:data", target=f"vd{letter}") for letter in "abcdefgh")
    devices += "".join(net(16 + number) for number in range(4))
    with ctx.boot_pvh(guests=ctx.guests(linux=linux.definition(memory=128, devices=devices)),
                      files={"data": ctx.random.randbytes(1 << 20)}) as vm:
        linux.shell(vm)
        vm.send("for d in /dev/vd?; do sha256sum <$d; done | sort | uniq -c | wc -l; ls /dev/vd? | wc -l")
        vm.wait_for(r"^1\n8\n", timeout=60)
        vm.send("ls -d /sys/class/net/eth? | wc -l")
        vm.wait_for(r"^4\n", timeout=60)


def counters_after(vm, seconds, since):
    """hv's counters once so much of the machine's time has passed since `since`, earlier counters."""
    while True:
        reply = command(vm, "cpu", timeout=120)
        if reply["counters"]["tsc"] - since["tsc"] >= seconds * reply["tsc_hz"]:
            return reply["counters"]
        time.sleep(1)


def idle_share(ctx, number):
    """What part of the processor's time `number` idle Linux guests leave it halted. In counted time, in which
    an instruction takes a nanosecond, so that it does not depend on this machine."""
    guests = ctx.guests(**{f"l{i}": linux.definition(memory=96, name=f"l{i}", arguments="quiet")
                           for i in range(number)})
    with ctx.boot_pvh(guests, mem=f"{1024 + 128 * number}M", icount=True) as vm:
        for i in range(number):
            said(vm, LINE + f"l{i}: init: up", timeout=100 * number)
        settled = counters_after(vm, 10, command(vm, "cpu")["counters"])
        after = counters_after(vm, 20, settled)
        return (after["idle_tsc"] - settled["idle_tsc"]) / (after["tsc"] - settled["tsc"])


@slow
@limit(1800)
def test_twelve_idle(ctx):
    share = idle_share(ctx, 12)
    expect(share >= 0.95, f"12 idle guests leave the processor {share:.1%} halted, wanted 95 %")


@soak
@limit(7200)
def test_fifty_idle(ctx):
    share = idle_share(ctx, 50)
    expect(share >= 0.95, f"50 idle guests leave the processor {share:.1%} halted, wanted 95 %")
