#!/usr/bin/env python3
"""bench.py --build DIR [ID...]: counts, writes DIR/bench.json, prints the table; exits 1 when a budget is
missed. All figures are executed instructions under `-icount shift=0,sleep=off` (one instruction, one TSC
tick; an iteration of a rep counts too), idle time taken off, so they are the same on any machine."""

import argparse
import json
import os
import re
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import archive  # noqa: E402
import harness  # noqa: E402
import vm as machine  # noqa: E402

CONDITIONS = "QEMU TCG, -icount shift=0,sleep=off, -cpu max,la57=off, 1 CPU"

# What a transition costs on hardware, for the projection: rough cycles on a current server core, stated so
# that the sum can be checked. Instructions are taken at 2 a cycle.
CYCLES = {"ring_switches": 100, "space_switches": 300, "tlb_flushes": 200}

FIGURES = {
    "null_hypercall": ("instructions", 150, {"Xen 4.17 PV": 259, "Xen 4.17 PVH": 5587}),
    "signal_roundtrip": ("instructions", 1500, {"Xen 4.17 PV": 15296, "Xen 4.17 PVH": 59485}),
    "power_on_ready": ("instructions", 100_000_000,
                       {"Xen 4.17 + dom0": 4_070_000_000, "Linux + KVM host": 6_500_000_000}),
    "blk_4k_qd1": ("instructions", 15000, {"Xen 4.17 PV": 59526, "Xen 4.17 PVH": 92871, "KVM": 80300}),
    "blk_4k_qd32": ("instructions", None, {}),
}


class Bench:
    def __init__(self, build, temp):
        self.build, self.temp = build, temp
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        self.context = harness.Context(root, build, temp, 1)
        self.figures = []

    def add(self, name, value, transitions, conditions=""):
        unit, budget, peers = FIGURES[name]
        cycles = None
        if transitions:
            cycles = round(value / 2 + sum(CYCLES[kind] * n for kind, n in transitions.items()))
        self.figures.append({
            "id": name, "value": value, "unit": unit, "budget": budget, "peers": peers,
            "transitions": transitions, "projected_cycles": cycles,
            "conditions": "; ".join(part for part in (CONDITIONS, conditions) if part)})

    def hv(self):
        """Counts on hv alone: test/guest/bench.c in init's place; medians of 201."""
        with machine.VM(os.path.join(self.temp, "hv"), net=False, icount=True, mem="512M",
                        kernel=os.path.join(self.build, "hv", "hv.elf"),
                        module=os.path.join(self.build, "test", "guest", "test-bench.bin")) as vm:
            vm.wait_for(r"^test: done", timeout=100)
            for name, *numbers in re.findall(r"^bench: (\w+) (\d+) (\d+) (\d+) (\d+)", vm.text, re.M):
                value, *transitions = map(int, numbers)
                self.add(name, value, dict(zip(CYCLES, transitions)), "median of 201")

    def power_on(self):
        """From power-on (TSC 0) to the line `mgmt: ready`, started by the PVH note: no GRUB."""
        with self.context.boot_pvh(harness.images.DEMO, disk=True, icount=True) as vm:
            vm.wait_for(r"^mgmt: ready", timeout=200)
            said = vm.json("cpu")
        ready = said["when_ready"]
        # hv scrubs a page by 512 stores; what surrounds them stays in the figure.
        scrubbing = 512 * ready["scrubbed_pages"]
        moves = {kind: ready[kind] for kind in CYCLES}
        self.add("power_on_ready", ready["tsc"] - ready["idle_tsc"] - scrubbing, moves,
                 f"PVH note (SeaBIOS, no GRUB), demo guests started; scrubbing ({scrubbing:,}) and idle time"
                 " taken off")

    def block(self):
        """A PV guest reads 4 KiB blocks of a virtio disk on null-co: guestlib/examples/iobench."""
        guests = os.path.join(self.temp, "guests")
        os.makedirs(guests, exist_ok=True)
        with open(os.path.join(guests, "iobench.xml"), "w", encoding="utf-8") as out:
            out.write("<domain type='bulkhead'><name>iobench</name><memory unit='MiB'>4</memory>"
                      "<vcpu>1</vcpu><os><type>pv</type><kernel>iobench.bin</kernel>"
                      "<cmdline>wait</cmdline></os><devices><console/>"
                      "<disk type='volume' device='disk'><source volume='disk:0'/><target dev='vda'/>"
                      "<readonly/></disk></devices></domain>")
        null = ("-blockdev", "null-co,node-name=null,size=1073741824,read-zeroes=on",
                "-device", "virtio-blk-pci,disable-legacy=on,drive=null")
        with self.context.boot_pvh(guests, icount=True, net=False, mem="512M", extra=null) as vm:
            vm.wait_for(r"mgmt: guest iobench ready", timeout=60)
            for number, (name, depth, rounds) in enumerate((("blk_4k_qd1", 1, 4000),
                                                            ("blk_4k_qd32", 32, 400))):
                short = self.batch(vm, 2 * number, depth, 1)
                long = self.batch(vm, 2 * number + 1, depth, 1 + rounds)
                each = {key: (long[key] - short[key]) / (depth * rounds) for key in long}
                moves = {kind: round(each[kind], 2) for kind in CYCLES}
                self.add(name, round(each["tsc"] - each["idle_tsc"]), moves,
                         f"mean of {depth * rounds} reads, {depth} at a time; virtio-blk on null-co;"
                         " a batch of one round taken off")

    @staticmethod
    def batch(vm, earlier, depth, rounds):
        """How far hv's counters move while iobench does `rounds` rounds, and the console is used. The
        console shows again what the `earlier` batches said."""
        before = vm.json("cpu", 60)["counters"]
        vm.send("console iobench")
        vm.send(f"{depth} {rounds}")
        vm.wait_for(r"attached to iobench(?:[^$]*?bench: .*\n){%d}" % (earlier + 1), timeout=100)
        vm.send_bytes(b"\x1d")
        after = vm.json("cpu", 60)["counters"]
        return {key: after[key] - before[key] for key in after}


def shown(value):
    return "-" if value is None else f"{value:,}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("ids", nargs="*")
    options = parser.parse_args()
    unknown = set(options.ids) - set(FIGURES)
    if unknown:
        sys.exit(f"bench: no figure {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    with tempfile.TemporaryDirectory() as temp:
        bench = Bench(options.build, temp)
        for names, run in ((("null_hypercall", "signal_roundtrip"), bench.hv),
                           (("power_on_ready",), bench.power_on),
                           (("blk_4k_qd1", "blk_4k_qd32"), bench.block)):
            if not options.ids or set(names) & set(options.ids):
                run()
    with open(os.path.join(options.build, "bench.json"), "w", encoding="utf-8") as out:
        json.dump(bench.figures, out, indent=1)
    missed = [f["id"] for f in bench.figures if f["budget"] and f["value"] > f["budget"]]
    print(f"{'figure':18}{'value':>14}{'budget':>14}  peers; transitions; projected cycles")
    for figure in bench.figures:
        peers = ", ".join(f"{name} {shown(value)}" for name, value in figure["peers"].items())
        moves = ", ".join(f"{n} {kind}" for kind, n in (figure["transitions"] or {}).items())
        print(f"{figure['id']:18}{shown(figure['value']):>14}{shown(figure['budget']):>14}  {peers}; "
              f"{moves or '-'}; {shown(figure['projected_cycles'])}")
    if missed:
        print(f"over budget: {', '.join(missed)}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
