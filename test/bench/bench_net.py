"""Two PV guests and the switch between them: test/guest/netbench.c."""

from figures import Talk, definition, figure

DATAGRAMS = 2000
MIB = 32


def card(number):
    return (f"<interface type='network'><mac address='52:54:00:42:4e:{number:02x}'/>"
            f"<ip address='10.9.0.{number}' prefix='24'/></interface>")


@figure("udp_rtt", most=20_000)
@figure("tcp_mib", most=1_500_000)
def between_guests(bench):
    program = {"netbench.bin": bench.built("test", "guest", "test-netbench.bin")}
    guests = {"serves": definition("serves", "pv", "netbench.bin", 8, card(1), arguments="serve"),
              "asks": definition("asks", "pv", "netbench.bin", 8, card(2), arguments="10.9.0.1")}
    with bench.boot(guests, program) as vm:
        vm.wait_for(r"bench: connected", timeout=60)
        talk = Talk(vm, "asks", answer="bench: done")
        each, _ = talk.each("udp {}", DATAGRAMS)
        bench.add("udp_rtt", each.instructions, each.moves, f"mean of {DATAGRAMS} datagrams of 64 bytes and answers")
        small, _ = talk.measure("tcp 1024")
        large, _ = talk.measure(f"tcp {(1 + MIB) * 1024}")
        each = (large - small) / MIB
        bench.add("tcp_mib", each.instructions, each.moves, f"mean of {MIB} MiB on one connection; lwIP, GSO")
