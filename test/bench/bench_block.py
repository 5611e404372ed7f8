"""A PV guest reads 4 KiB blocks of a virtio disk on null-co: guestlib/examples/iobench."""

from figures import Talk, definition, figure

NULL_DISK = ("-blockdev", "null-co,node-name=null,size=1073741824,read-zeroes=on",
             "-device", "virtio-blk-pci,disable-legacy=on,drive=null")
DISK = "<disk type='volume' device='disk'><source volume='disk:0'/><target dev='vda'/><readonly/></disk>"


@figure("blk_4k_qd1", most=10_000)
@figure("blk_4k_qd32", most=4_000)
def reads(bench):
    guest = definition("iobench", "pv", "iobench.bin", 4, DISK, arguments="wait")
    with bench.boot({"iobench": guest}, extra=NULL_DISK, mem="512M") as vm:
        vm.wait_for(r"mgmt: guest iobench ready", timeout=60)
        talk = Talk(vm, "iobench")
        for name, depth, rounds in (("blk_4k_qd1", 1, 4000), ("blk_4k_qd32", 32, 400)):
            round_, _ = talk.each(f"{depth} {{}}", rounds)
            each = round_ / depth
            bench.add(name, each.instructions, each.moves,
                      f"mean of {depth * rounds} reads, {depth} at a time; virtio-blk on null-co")
