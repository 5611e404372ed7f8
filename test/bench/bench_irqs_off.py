"""How long hv keeps interrupts off: the longest single entry, of the calls that test/guest/irqs_off.c tries."""

import re

from figures import figure


@figure("irqs_off_max", most=20_000)
def irqs_off(bench):
    with bench.boot_hv("irqs_off") as vm:
        vm.wait_for(r"^test: done", timeout=100)
        if "FAILED" in vm.text:
            raise AssertionError(vm.text[-500:])
        rows = {name: int(value) for name, value in re.findall(r"^bench: (\w+) (\d+)", vm.text, re.M)}
    longest = max(rows, key=rows.get)
    every = ", ".join(f"{name} {rows[name]}" for name in sorted(rows, key=rows.get, reverse=True))
    bench.add("irqs_off_max", rows[longest], None, f"{longest}; each call's longest step: {every}")
