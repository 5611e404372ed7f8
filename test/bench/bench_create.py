"""What it takes until an HVM guest's kernel runs."""

import re
import struct
import time

import linux
from figures import definition, figure, moment

PVH_NOTE = re.compile(rb"\x04\0\0\0[\x04\x08]\0\0\0\x12\0\0\0Xen\0(....)", re.S)  # with its entry
HLT = 0xf4
LOAD = 1


def segments(elf):
    """(file offset, physical address, file bytes, memory bytes) of what is to be loaded."""
    at, = struct.unpack_from("<Q", elf, 32)
    number, = struct.unpack_from("<H", elf, 56)
    for i in range(number):
        kind, _, offset, _, address, file_bytes, memory_bytes, _ = struct.unpack_from("<IIQQQQQQ", elf, at + 56 * i)
        if kind == LOAD:
            yield offset, address, file_bytes, memory_bytes


def stop_at_entry(elf):
    """The kernel with HLT as its first instruction: it comes that far, and no further."""
    entry = int.from_bytes(PVH_NOTE.search(elf).group(1), "little")
    elf = bytearray(elf)
    for offset, address, file_bytes, _ in segments(elf):
        if address <= entry < address + file_bytes:
            elf[offset + entry - address] = HLT
    return bytes(elf)


def asleep(vm):
    """The moment from which on nothing runs but what answers us."""
    now = moment(vm)
    while True:
        time.sleep(0.3)
        later = moment(vm)
        if later.counters["guest_exits"] == now.counters["guest_exits"] > 0:
            return now
        now = later


@figure("hvm_create", most=2_000_000)
def create(bench):
    """Debian's vmlinux. The budget is 2 million and 0.15 for each byte that is loaded."""
    kernel = stop_at_entry(linux.vmlinux(bench.root))
    loaded = sum(file_bytes for _, _, file_bytes, _ in segments(kernel))
    bench.known["hvm_create"]["most"] += loaded * 15 // 100
    guest = definition("linux", "hvm", "vmlinux", 128, more="").replace(
        "</domain>", "<bulkhead autostart='no'/></domain>")
    with bench.boot({"linux": guest}, {"vmlinux": kernel}) as vm:
        vm.wait_for(r"^mgmt: ready", timeout=60)
        asking = -(moment(vm) - moment(vm)).instructions
        before = moment(vm)
        vm.send("start linux")
        vm.wait_for(r"guest linux ready", timeout=200)
        each = asleep(vm) - before
        bench.add("hvm_create", each.instructions - asking - each.scrubbing, each.moves,
                  f"vmlinux, {loaded:,} bytes loaded, 128 MiB; from `start` on the host console; scrubbing taken off",
                  scrubbing=each.scrubbing, copying=loaded // 8)
