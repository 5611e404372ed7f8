"""What an exit to the VMM costs an HVM guest: test/guest/hvm/bench.c, a kernel that does nothing else."""

from figures import Talk, definition, figure

ROUNDS = 1000


@figure("hvm_pio_exit", most=1_500)
@figure("hvm_cpuid_exit", most=1_500)
@figure("hvm_cpuid_exit_low")
@figure("hvm_msr_exit")
def exits(bench):
    files = {"bench.elf": bench.built("test", "guest", "hvm", "hvm-bench.elf")}
    with bench.boot({"bench": definition("bench", "hvm", "bench.elf", 16)}, files) as vm:
        vm.wait_for(r"bench: ready", timeout=60)
        talk = Talk(vm, "bench", answer=r"bench: (\w+) (\d+)")
        for name, what in (("hvm_pio_exit", "PM1 control register, which the VMM keeps"),
                           ("hvm_cpuid_exit", "leaf 0, code above 4 GiB; no NRIP save in this processor"),
                           ("hvm_cpuid_exit_low", "the same, code below 4 GiB"),
                           ("hvm_msr_exit", "x2APIC task priority, code above 4 GiB")):
            each, said = talk.each(f"{name} {{}}", ROUNDS)
            bench.add(name, int(said.group(2)), each.moves, f"median of {ROUNDS}; {what}")
