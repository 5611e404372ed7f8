"""What an IPI between two vCPUs of one guest takes, on one processor: test/guest/hvm/bench.c."""

from figures import Talk, definition, figure

ROUNDS = 200


@figure("hvm_ipi", most=15_000)
@figure("hvm_ipi_spin", most=15_000)
def ipis(bench):
    files = {"bench.elf": bench.built("test", "guest", "hvm", "hvm-bench.elf")}
    with bench.boot({"bench": definition("bench", "hvm", "bench.elf", 16, vcpus=2)}, files) as vm:
        vm.wait_for(r"bench: ready", timeout=60)
        talk = Talk(vm, "bench", answer=r"bench: (\w+) (\d+)")
        each, said = talk.each("hvm_ipi_round {}", ROUNDS)
        half = {kind: count / 2 for kind, count in each.moves.items()}
        bench.add("hvm_ipi", int(said.group(2)) // 2, half,
                  f"half of there and back, median of {ROUNDS}; whoever waits is halted")
        each, said = talk.each("hvm_ipi_spin {}", ROUNDS)
        bench.add("hvm_ipi_spin", int(said.group(2)), each.moves,
                  f"there, median of {ROUNDS}; the sender spins (PAUSE) until it has arrived")
