"""Guest mode on AMD, by the programs test/guest/svm*.c in init's place: what a VMM gets of its guest, and what
neither of them can do. By counted time, as in test_hv.py."""

import os
import re

import bochs
import image
import vm as machine
from harness import expect, expect_equal, limit, slow

NO_XSAVE = "qemu64,+svm,+npt"


def program(ctx, name, **options):
    ctx.machines += 1
    return machine.VM(ctx.path(f"vm-{ctx.machines}"), kernel=os.path.join(ctx.build, "hv", "hv.elf"), net=False,
                      module=os.path.join(ctx.build, "test", "guest", f"test-{name}.bin"), **options)


def run(ctx, name, **options):
    with program(ctx, name, icount=True, **options) as vm:
        vm.wait_for(r"^test: done", timeout=570)
        expect_equal(vm.wait_exit(), "guest-shutdown", "the end")
        results = re.findall(r"^test: (\S+) (ok|FAILED)", vm.text, re.M)
    failed = [claim for claim, result in results if result != "ok"]
    expect(not failed, f"claims that do not hold: {', '.join(failed)}")
    with open(os.path.join(ctx.root, "test", "guest", f"{name}.c")) as source:
        claimed = set(re.findall(r'(?:check\(|REFUSED\(|\{)"(svm\.[a-z0-9_]+)"', source.read()))
    expect_equal({claim for claim, _ in results}, claimed, "claims tried")


@limit(120)
def test_vmm(ctx):
    """Exits, events, doorbells, time, mappings."""
    run(ctx, "svm")


@limit(120)
def test_vmm_epyc(ctx):
    run(ctx, "svm", cpu="EPYC")


@limit(120)
def test_vmm_no_xsave(ctx):
    run(ctx, "svm", cpu=NO_XSAVE)


@slow
@limit(600)
def test_harm(ctx):
    """Refused states, authority taken away in use, registers, ASIDs, thousands of nonsense states."""
    run(ctx, "svm_harm")


@slow
@limit(600)
def test_harm_epyc(ctx):
    run(ctx, "svm_harm", cpu="EPYC")


@slow
@limit(600)
def test_harm_no_xsave(ctx):
    run(ctx, "svm_harm", cpu=NO_XSAVE)


def test_without_guest_mode(ctx):
    """A processor without nested paging: hv says so, and offers nothing."""
    with program(ctx, "svm", cpu="qemu64,+svm") as vm:
        vm.wait_for(r"^hv: processor: .* no guest mode", timeout=20)
        vm.wait_for(r"^test: harness: no guest mode FAILED", timeout=20)


@slow
@limit(280)
def test_nrip(ctx):
    """A processor that tells the next RIP. Bochs 2.7 ends at the injected NMI; what comes before holds, but that
    it tells no DR6 and that its virtual interrupts heed no priority above the TPR."""
    disk = ctx.path("svm.img")
    image.make(ctx.build, disk, b"none", b"",
               init=os.path.join(ctx.build, "test", "guest", "test-svm.bin"))
    with bochs.Bochs(ctx.path("bochs"), disk, model="ryzen") as vm:
        vm.wait_for(r"^test: svm.undelivered_event ok", timeout=200)
        failed = re.findall(r"^test: (\S+) FAILED", vm.text[:vm.cursor], re.M)
    expect_equal(failed, ["svm.watchpoint", "svm.window_priority"], "claims that do not hold")


def test_exit_cost(ctx):
    """From a guest's CPUID and port read to a VMM that does nothing, and back."""
    with program(ctx, "svm_bench", icount=True) as vm:
        vm.wait_for(r"^test: done", timeout=60)
        figures = dict(re.findall(r"^bench: (\w+) (\d+)", vm.text, re.M))
    for name, most in (("guest_cpuid_exit", 650), ("guest_port_exit", 650), ("guest_doorbell", 400)):
        expect(int(figures[name]) <= most, f"{name}: {figures[name]} instructions, at most {most}")
