"""What a figure's code sees. A figure is measured by a function in test/bench/bench_*.py that names the ids
it adds and their budgets:

    from figures import figure

    @figure("blk_4k_qd1", most=10_000)
    @figure("blk_4k_qd32", most=4_000)
    def reads(bench):
        with bench.boot(guests, icount=True) as vm:
            ...
            bench.add("blk_4k_qd1", value, moves, "what else is to be known about it")

The unit is executed instructions unless the decorator says another. `moves` are the privileged
transitions that the value took: a dict of the names in CYCLES to numbers."""

import glob
import importlib.util
import json
import os
import sys

import harness
import vm as machine

CONDITIONS = "QEMU TCG, -icount shift=0,sleep=off, -cpu max,la57=off,cx16=off, 1 CPU"

# What a transition costs on hardware, for the projection: rough cycles on a current server core, stated so
# that the sum can be checked. Instructions are taken at 2 a cycle.
CYCLES = {"ring_switches": 100, "guest_exits": 1000, "space_switches": 300, "tlb_flushes": 200, "ipis": 500}

SCRUB_PAGE = 512  # hv cleans a page by so many stores, each an instruction under -icount


def figure(name, most=None, unit="instructions"):
    def mark(function):
        if not hasattr(function, "figures"):
            function.figures = {}
        function.figures[name] = {"most": most, "unit": unit}
        return function
    return mark


def load_all(root):
    """The functions that measure, in the order of their files and lines."""
    found = []
    for path in sorted(glob.glob(os.path.join(root, "test", "bench", "bench_*.py"))):
        spec = importlib.util.spec_from_file_location(os.path.basename(path)[:-3], path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        found += [f for f in vars(module).values() if hasattr(f, "figures")]
    return found


class Moment:
    """hv's counters and its TSC: at a moment, or from one to another."""

    def __init__(self, counters):
        self.counters = counters

    def __sub__(self, earlier):
        return Moment({key: self.counters[key] - earlier.counters[key] for key in self.counters})

    def __truediv__(self, rounds):
        return Moment({key: value / rounds for key, value in self.counters.items()})

    @property
    def instructions(self):
        """Executed, idle time not counted."""
        return self.counters["tsc"] - self.counters["idle_tsc"]

    @property
    def scrubbing(self):
        return SCRUB_PAGE * self.counters["scrubbed_pages"]

    @property
    def moves(self):
        return {kind: round(self.counters[kind], 2) for kind in CYCLES}


def moment(vm):
    return Moment(vm.json("cpu", 60)["counters"])


class Talk:
    """A guest that is asked by lines on its console, and answers each with a line "bench: ...": iobench, the
    kernels in test/guest/hvm, programs in a Linux guest. What it says is parsed from the host console,
    which shows what was said earlier again when one attaches to it."""

    def __init__(self, vm, name, answer=r"bench: .*"):
        self.vm, self.name, self.answer, self.answers = vm, name, answer, 0

    def ask(self, line, timeout=200):
        """The answer, as a match. The machine's console is the host's before and after."""
        self.vm.send(f"console {self.name}")
        self.vm.wait_for(f"attached to {self.name}", timeout)
        self.vm.send(line)
        for _ in range(self.answers + 1):
            found = self.vm.wait_for(f"^{self.answer}\\n", timeout)  # not a part of a line
        self.answers += 1
        self.vm.send_bytes(b"\x1d")
        return found

    def measure(self, line, timeout=200):
        """How far hv's counters move while the guest answers; and the answer."""
        before = moment(self.vm)
        said = self.ask(line, timeout)
        return moment(self.vm) - before, said

    def each(self, line, rounds, timeout=200):
        """What one round takes, by hv's counters: `line` has {} where the number of rounds goes; a batch of
        one round is taken off, and with it what the console and the guest's start of a batch take."""
        one, _ = self.measure(line.format(1), timeout)
        many, said = self.measure(line.format(rounds + 1), timeout)
        return (many - one) / rounds, said


class Bench:
    def __init__(self, root, build, temp):
        self.root, self.build, self.temp = root, build, temp
        self.context = harness.Context(root, build, temp, 1)
        self.figures = []
        self.known = {}  # id to what @figure said
        with open(os.path.join(root, "test", "bench", "peers.json"), encoding="utf-8") as handle:
            self.peers = json.load(handle)["figures"]

    def path(self, *parts):
        return os.path.join(self.temp, *parts)

    def built(self, *parts):
        """A built file's bytes."""
        with open(os.path.join(self.build, *parts), "rb") as handle:
            return handle.read()

    def boot(self, guests, files=None, **options):
        """A machine by hv's PVH note, counting. guests: name to definition; files: more boot files."""
        options = {"icount": True, "net": False, "mem": "1G", **options}
        folder = self.context.guests(**guests) if isinstance(guests, dict) else guests
        return self.context.boot_pvh(folder, files=files, **options)

    def boot_hv(self, program, **options):
        """A program of test/guest in init's place."""
        self.context.machines += 1
        options = {"icount": True, "net": False, "mem": "512M", **options}
        return machine.VM(self.path(f"hv-{self.context.machines}"),
                          kernel=os.path.join(self.build, "hv", "hv.elf"),
                          module=os.path.join(self.build, "test", "guest", f"test-{program}.bin"), **options)

    def add(self, name, value, moves=None, conditions="", **apart):
        """apart: what the value holds, or was taken off it, by name: scrubbing, copying."""
        cycles = None
        if moves:
            cycles = round(value / 2 + sum(CYCLES[kind] * n for kind, n in moves.items()))
        self.figures.append({
            "id": name, "value": round(value), **self.known[name], "peers": self.peers.get(name, []),
            "transitions": moves, "projected_cycles": cycles, "apart": apart,
            "conditions": "; ".join(part for part in (CONDITIONS, conditions) if part)})


def definition(name, kind, kernel, memory, devices="", more="", vcpus=1, arguments=""):
    """A domain definition; memory in MiB, devices beside its console."""
    return (f"<domain type='bulkhead'><name>{name}</name><memory unit='MiB'>{memory}</memory>"
            f"<vcpu>{vcpus}</vcpu><os><type>{kind}</type><kernel>{kernel}</kernel>{more}"
            f"<cmdline>{arguments}</cmdline></os><devices><console/>{devices}</devices></domain>")
