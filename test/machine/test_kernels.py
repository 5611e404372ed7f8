"""Debian's other kernels as HVM guests: each as its package brings it, to a shell and to its end."""

import hashlib
import os
import re

import bzimage
import linux
from harness import expect, expect_equal, limit, slow

BAD = ("unchecked MSR", "Call Trace", "BUG:", "not known; the guest gets #UD")


def record(ctx, kernel):
    """What was fetched: the package's name, and the SHA-256 of each file."""
    if not linux.has(ctx.root, "record", kernel):
        missing = linux.has(ctx.root, "missing", kernel)
        ctx.skip(linux.read(ctx.root, "missing", kernel).decode() if missing else
                 f"{kernel} was not fetched; run subprojects/fetch-sources --kernels .deps")
    text = linux.read(ctx.root, "record", kernel).decode()
    package = re.match(r"# linux-image-([^:\s]+)", text)[1]
    return package, dict(reversed(line.split("  ./")) for line in text.splitlines() if "  ./" in line)


def shell(vm, timeout=200):
    vm.wait_for(r"init: up", timeout=timeout)
    vm.send("console linux")
    vm.send("")
    vm.wait_for(r"[/~] # ", timeout=30)


def say(vm, command, expected, timeout=30):
    vm.send(command)
    return vm.wait_for(expected, timeout=timeout)


def boots(ctx, kernel, memory=256, check=None, mem="1024M", files=None, arguments=""):
    package, sums = record(ctx, kernel)
    files = files or linux.files(ctx.root, kernel)
    with ctx.boot_pvh(guests=ctx.guests(linux=linux.definition(memory=memory, arguments=arguments)),
                      files=files, mem=mem) as vm:
        shell(vm)
        say(vm, "uname -r", "^" + re.escape(package))
        say(vm, "cat /sys/devices/system/clocksource/clocksource0/current_clocksource", r"^kvm-clock")
        say(vm, "ls /sys/class/misc; cat /sys/class/misc/hw_random/rng_current", r"^virtio_rng.0")
        # Every cache that CPUID tells of is one.
        say(vm, "find /sys/devices/system/cpu/cpu0 -name 'index*' ! -exec test -e {}/type ';' -print | wc -l", r"^0\n")
        if check:
            check(vm)
        vm.send("poweroff -f")
        vm.wait_for(r"guest linux ended: exit status 0: power-off", timeout=60)
        for bad in BAD:
            at = vm.text.find(bad)
            expect(at < 0, f"'{bad}' is not in what Linux says: ...{vm.text[max(0, at - 1500):at + 1500]}")
    if "vmlinuz" in files:
        expect_equal(hashlib.sha256(files["vmlinuz"]).hexdigest(), sums["vmlinuz"], "the kernel file")


@slow
@limit(400)
def test_generic_6_1(ctx):
    boots(ctx, "generic-6.1")


@slow
@limit(400)
def test_cloud_5_10(ctx):
    boots(ctx, "cloud-5.10")


@slow
@limit(400)
def test_cloud_6_12(ctx):
    boots(ctx, "cloud-6.12")


@slow
@limit(400)
def test_i386(ctx):
    """Without PAE."""
    boots(ctx, "i386-6.1")


@slow
@limit(600)
def test_i386_pae(ctx):
    """RAM beyond 4 GiB is seen and used."""
    def check(vm):
        say(vm, "grep 'System RAM' /proc/iomem", r"^100000000-")
        say(vm, "awk '/MemTotal/ { print ($2 > 3100000) ? \"EN\" \"OUGH\" : $2 }' /proc/meminfo", r"^ENOUGH")
    boots(ctx, "i386-pae-6.1", memory=3328, check=check, mem="4096M")


@slow
@limit(1000)
def test_i386_pae_fills_its_memory(ctx):
    """A file larger than what is left below 4 GiB: each page holds what was written to it, those beyond as well."""
    part = b"".join(b"%d\n" % i for i in range(1, 200_001))
    expected = hashlib.md5(b"".join(b"%d\n" % i + part for i in range(1, 401))).hexdigest()

    def check(vm):
        say(vm, "grep -c '^100000000-.*System RAM' /proc/iomem", r"^1\s")
        say(vm, "awk '/LowTotal|HighTotal/ { s += $2 } END { print (s < 700000) ? \"FE\" \"W\" : s }' /proc/meminfo",
            r"^FEW")
        vm.send("mount -t tmpfs -o size=95% none /tmp; seq 200000 >/part; "
                "for i in $(seq 400); do echo $i; cat /part; done >/tmp/all && echo wri''tten")
        vm.wait_for(r"^written", timeout=400)
        expect_equal(say(vm, "md5sum /tmp/all", r"^([0-9a-f]{32})  /tmp/all", timeout=300).group(1), expected,
                     "what is read back")
    boots(ctx, "i386-pae-6.1", memory=3328, check=check, mem="4096M", arguments="memmap=2560M$512M")


@slow
@limit(400)
def test_watchdog_driver(ctx):
    """Linux's own driver for the watchdog: served by busybox, it does nothing; then it resets the guest."""
    record(ctx, "generic-6.1")
    devices = "<watchdog model='i6300esb' action='reset'/>"
    with ctx.boot_pvh(guests=ctx.guests(linux=linux.definition(devices=devices)),
                      files=linux.files(ctx.root, "generic-6.1"), mem="1024M") as vm:
        shell(vm)
        say(vm, "cat /sys/class/watchdog/watchdog0/identity", r"^i6300ESB timer")
        say(vm, "watchdog -F -T 10 -t 1 /dev/watchdog0 & sleep 15; echo ser''ved", r"served", timeout=60)
        vm.send("kill -9 $!")
        vm.wait_for(r"guest linux ended: its watchdog was not served", timeout=60)
        vm.wait_for(r"init: up", timeout=200)


@slow
@limit(400)
def test_pvh(ctx):
    """The ELF file inside the cloud kernel's bzImage, by its PVH note."""
    _, sums = record(ctx, None)
    image = linux.read(ctx.root, "vmlinuz")
    expect_equal(hashlib.sha256(image).hexdigest(), sums["vmlinuz"], "the kernel file")
    files = {"vmlinuz": bzimage.vmlinux(image), "initrd.gz": linux.initramfs(ctx.root)}

    def check(vm):
        say(vm, "dmesg | grep -i 'pvh'", r"Hypervisor|PVH|pvh")
    boots_elf(ctx, files, check)


def boots_elf(ctx, files, check):
    with ctx.boot_pvh(guests=ctx.guests(linux=linux.definition()), files=files) as vm:
        shell(vm)
        check(vm)
        vm.send("poweroff -f")
        vm.wait_for(r"guest linux ended: exit status 0: power-off", timeout=60)
