"""A Linux guest (Debian's kernel, one vCPU) reads a virtio disk on null-co with O_DIRECT, and sends datagrams
to the PV guest `echo`: test/linux/iobench.c in its initramfs."""

import linux
from bench_block import DISK, NULL_DISK
from figures import Talk, figure
from guests import definition, net

READS = (("hvm_blk_4k", "read /dev/vda 4096 {}", 3000), ("hvm_blk_mib", "read /dev/vda 1048576 {}", 200))
DIRECT = DISK.replace("<readonly/>", "<driver io='direct'/><readonly/>")


def boot(bench, guests):
    iobench = ("bin/iobench", linux.PROGRAM, bench.built("test", "linux", "linux-iobench"))
    return bench.boot(guests, files={"initrd.gz": linux.initramfs(bench.root, [iobench])}, mem="512M",
                      extra=NULL_DISK)


def shell(vm):
    """A shell without prompt and echo, so that answers are lines of their own."""
    vm.wait_for(r"linux: init: up", timeout=300)
    talk = Talk(vm, "linux", answer=r"bench: .*")
    talk.ask("stty -echo; PS1=; sleep 1; echo; echo bench: ready")
    return talk


def count(bench, talk, name, line, rounds):
    each, _ = talk.each(f"iobench {line}", rounds)
    bench.add(name, each.instructions, each.moves, f"mean of {rounds} in Debian's cloud kernel, clock ticks included")


@figure("hvm_blk_4k", most=30_000)
@figure("hvm_blk_mib", most=700_000)
@figure("hvm_udp_rtt", most=50_000)
def private_window(bench):
    guests = {"linux": linux.definition(memory=128, devices=DISK + net(15),
                                         arguments="address=10.0.2.15/24 gateway=10.0.2.2"),
              "echo": definition("echo", kernel="echo.bin", memory="16", devices=net(16))}
    with boot(bench, guests) as vm:
        talk = shell(vm)
        for figure_of_read in READS:
            count(bench, talk, *figure_of_read)
        count(bench, talk, "hvm_udp_rtt", "udp 10.0.2.16 7 64 {}", 3000)


@figure("hvm_blk_4k_direct", most=25_000)
@figure("hvm_blk_mib_direct", most=500_000)
def direct(bench):
    with boot(bench, {"linux": linux.definition(memory=128, devices=DIRECT)}) as vm:
        talk = shell(vm)
        for name, line, rounds in READS:
            count(bench, talk, f"{name}_direct", line, rounds)
