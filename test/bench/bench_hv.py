"""Figures of hv alone, and of the whole host's start."""

import re

import harness
from figures import Moment, figure


@figure("null_hypercall", most=100)
@figure("signal_roundtrip", most=1_200)
def hv(bench):
    """test/guest/bench.c in init's place."""
    with bench.boot_hv("bench") as vm:
        vm.wait_for(r"^test: done", timeout=100)
        for name, *numbers in re.findall(r"^bench: (\w+) (\d+) (\d+) (\d+) (\d+)", vm.text, re.M):
            value, *moves = map(int, numbers)
            counted = ("ring_switches", "space_switches", "tlb_flushes")
            bench.add(name, value, dict(zip(counted, moves)), "median of 201")


@figure("power_on_ready", most=60_000_000)
def power_on(bench):
    """From power-on (TSC 0) to the line `mgmt: ready`, started by the PVH note: no GRUB."""
    with bench.context.boot_pvh(harness.images.DEMO, disk=True, icount=True) as vm:
        vm.wait_for(r"^mgmt: ready", timeout=200)
        ready = Moment(vm.json("cpu")["when_ready"])
    bench.add("power_on_ready", ready.instructions - ready.scrubbing, ready.moves,
              "PVH note (SeaBIOS, no GRUB), demo guests started; scrubbing and idle time taken off",
              scrubbing=ready.scrubbing)
