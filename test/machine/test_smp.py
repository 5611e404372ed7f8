"""Several vCPUs of one HVM guest, tried by a small kernel of their own: test/guest/hvm/smp.c."""

import os

from figures import definition
from harness import expect, limit


def boot(ctx, vcpus, what):
    with open(os.path.join(ctx.build, "test", "guest", "hvm", "hvm-smp.elf"), "rb") as handle:
        kernel = handle.read()
    guests = ctx.guests(smp=definition("smp", "hvm", "smp.elf", 16, vcpus=vcpus, arguments=f"{vcpus} {what}"))
    return ctx.boot_pvh(guests=guests, files={"smp.elf": kernel})


def check(ctx, vcpus):
    with boot(ctx, vcpus, "check") as vm:
        vm.wait_for(r"guest smp ended", timeout=200)
        expect("smp: all held" in vm.text, "the kernel came to its end")
        expect(" fails" not in vm.text, "no claim failed")


@limit(240)
def test_two(ctx):
    check(ctx, 2)


@limit(240)
def test_four(ctx):
    check(ctx, 4)


@limit(240)
def test_sixteen(ctx):
    check(ctx, 16)


@limit(120)
def test_power_off(ctx):
    with boot(ctx, 3, "off") as vm:
        vm.wait_for(r"guest smp ended: exit status 0", timeout=60)


@limit(120)
def test_reset(ctx):
    with boot(ctx, 3, "reset") as vm:
        for _ in range(2):
            vm.wait_for(r"guest smp ended: reboot", timeout=60)


@limit(120)
def test_triple_fault(ctx):
    with boot(ctx, 3, "triple") as vm:
        vm.wait_for(r"vmm: vCPU 2 stops: triple fault", timeout=60)
        vm.wait_for(r"guest smp ended: triple fault", timeout=60)
