"""hv alone, with test programs in init's place: what it lets nobody do, and how it starts."""

import os
import re

import vm as machine
from harness import expect, expect_equal, limit


def program(ctx, name, **options):
    """hv with test/guest/NAME.c instead of init, by the PVH note."""
    ctx.machines += 1
    options.setdefault("net", False)
    return machine.VM(ctx.path(f"vm-{ctx.machines}"), kernel=os.path.join(ctx.build, "hv", "hv.elf"),
                      module=os.path.join(ctx.build, "test", "guest", f"test-{name}.bin"), **options)


def run_claims(ctx, **options):
    # Counted time: shares and caps do not depend on what else the build machine does.
    with program(ctx, "claims", icount=True, **options) as vm:
        vm.wait_for(r"^test: done", timeout=250)
        expect_equal(vm.wait_exit(), "guest-shutdown", "the end")
        results = re.findall(r"^test: (\S+) (ok|FAILED)", vm.text, re.M)
    failed = [name for name, result in results if result != "ok"]
    expect(not failed, f"claims that do not hold: {', '.join(failed)}")
    claimed = set(re.findall(r'(?:check\(|\{)"([a-z]+\.[a-z0-9_]+)"',
                             open(os.path.join(ctx.root, "test", "guest", "claims.c")).read()))
    expect_equal({name for name, _ in results}, claimed, "claims tried")


@limit(300)
def test_claims(ctx):
    """Every claim of test/guest/claims.c on the processor we develop on."""
    run_claims(ctx)


@limit(300)
def test_claims_epyc(ctx):
    run_claims(ctx, cpu="EPYC")


@limit(300)
def test_claims_no_xsave(ctx):
    """A processor without XSAVE, SMEP, SMAP."""
    run_claims(ctx, cpu="qemu64,+svm")


def pages(listing):
    """(virtual address, flags) of each line of the emulator's `info tlb`."""
    return [(int(line.split(":")[0], 16), line.split()[-1]) for line in listing.splitlines()
            if re.match(r"^[0-9a-f]{16}: ", line)]


def test_write_xor_execute(ctx):
    """No page that ring 0 may both write and execute, none that is both hv's and a domain's."""
    with program(ctx, "claims") as vm:
        vm.wait_for(r"^test: call.nonsense", timeout=100)
        vm.qmp("stop")
        listing = pages(vm.hmp("info tlb"))
        # Flags as the emulator prints them: X no execute, G, P, D, A, C, T, U, W.
        expect(len(listing) > 20, "the page map is listed")
        both = [hex(va) for va, flags in listing if "W" in flags and not flags.startswith("X")]
        expect(not both, f"writable and executable: {both}")
        high = [(va, flags) for va, flags in listing if va >= 1 << 47]
        expect(high, "hv is mapped")
        expect(not [va for va, flags in high if "U" in flags], "nothing of hv is open to ring 3")
        expect(any(not flags.startswith("X") for _, flags in high), "hv's text is executable")


def test_no_init(ctx):
    """Without its module hv says so, and what to do."""
    ctx.machines += 1
    with machine.VM(ctx.path("vm"), kernel=os.path.join(ctx.build, "hv", "hv.elf"), net=False) as vm:
        vm.wait_for(r"^hv: panic: .*init", timeout=20, panic_is_fine=True)


def test_broken_init(ctx):
    """An init that is no flat image is refused with a reason."""
    path = ctx.write("init.bin", ctx.random.randbytes(8192))
    with machine.VM(ctx.path("vm"), kernel=os.path.join(ctx.build, "hv", "hv.elf"), module=path,
                    net=False) as vm:
        vm.wait_for(r"^hv: panic: .*init", timeout=20, panic_is_fine=True)


def test_little_memory(ctx):
    with program(ctx, "claims", mem="8M") as vm:
        vm.wait_for(r"^hv: panic: .*memory", timeout=20, panic_is_fine=True)
