"""What a small PV guest and an idle host cost: instructions and memory."""

import os

import guests
import linux
from figures import figure, moment

GUESTS = 8  # of which the memory figure is a mean


def definitions(count):
    return {f"g{n}": guests.dormant(f"g{n}", kernel="test-answer.bin") for n in range(count)}


def in_use(vm):
    """All memory that is neither free, mgmt's heap included, nor a boot module's."""
    mem = guests.command(vm, "mem")
    return (mem["ram_bytes"] - mem["modules_bytes"] - mem["mgmt_heap_free_bytes"]
            - sum(mem[kind]["free_bytes"] for kind in ("frame", "object", "shared")))


def life(vm, name):
    """Creates and destroys a guest: each one's instructions, and what was counted meanwhile. Asking the host
    would be counted, so the guest and the log are waited for."""
    before = moment(vm)
    guests.command(vm, f"create {name}.xml")
    first = int(vm.wait_for(r"first instruction at TSC (\d+)\n").group(1))
    guests.until_ready(vm, name)
    middle = moment(vm)
    guests.command(vm, f"destroy {name}")
    vm.wait_for(f"guest {name} ended")
    after = moment(vm)
    tsc = guests.command(vm, f"info {name}")["tsc"]
    return (first - tsc["start"], (middle - before).scrubbing), (tsc["off"] - tsc["end"], (after - middle).scrubbing)


@figure("pv_create", most=150_000)
@figure("pv_destroy", most=150_000)
@figure("pv_overhead", most=64 << 10, unit="bytes")
def small_guest(bench):
    """The second life finds clean memory: that of the first. The first one's is the firmware's."""
    files = {"test-answer.bin": bench.built("test", "guest", "test-answer.bin")}
    with bench.boot(definitions(1), files, mem="512M") as vm:
        guests.ready(vm)
        life(vm, "g0")
        create, destroy = life(vm, "g0")
        without = in_use(vm)
    bench.add("pv_create", create[0] - create[1], None, "1 MiB, a console; to its fifth instruction; copying its"
              " image of 60 KiB and zeroing its objects included", scrubbing=create[1])
    bench.add("pv_destroy", destroy[0] - destroy[1], None, "the same guest", scrubbing=destroy[1])
    with bench.boot(definitions(1 + GUESTS), files, mem="512M") as vm:
        guests.ready(vm)
        life(vm, "g0")
        for n in range(1, 1 + GUESTS):
            guests.command(vm, f"create g{n}.xml")
            guests.until_ready(vm, f"g{n}")
        with_guests = in_use(vm)
    bench.add("pv_overhead", (with_guests - without) / GUESTS - (1 << 20), None,
              f"1 MiB, a console; mean of {GUESTS}: objects, queues and windows, mgmt's heap")


@figure("hvm_overhead", most=1 << 20, unit="bytes")
def linux_guest(bench):
    """An idle Linux guest with a disk and a network card: all memory that is not its RAM."""
    quiet = {f"l{n}": linux.definition(memory=128, name=f"l{n}", devices=guests.net(16 + n) + guests.disk("archive:data"),
                                       arguments="quiet").replace("</domain>", "<bulkhead autostart='no'/></domain>")
             for n in range(2)}
    with bench.boot(quiet, {"data": bytes(1 << 20)}) as vm:
        guests.ready(vm)
        used = []
        for name in quiet:
            guests.command(vm, f"create {name}.xml")
            guests.said(vm, guests.LINE + f"{name}: init: up", timeout=300)
            used.append(in_use(vm))
    bench.add("hvm_overhead", used[1] - used[0] - (128 << 20), None,
              "Debian's kernel, 128 MiB, a disk, a network card; hv, VMM and mgmt; the second of two")


@figure("base_memory", most=8 << 20, unit="bytes")
def host(bench):
    """All RAM that is neither free nor the boot archive, and of that archive the images that the host is
    rebuilt from."""
    images = sum(os.path.getsize(os.path.join(bench.build, "mgmt", name)) for name in ("mgmt.bin", "init/init.bin"))
    with bench.boot(None, mem="512M", net=True) as vm:
        guests.ready(vm)
        used = in_use(vm) + guests.command(vm, "mem")["mgmt_heap_free_bytes"]
    bench.add("base_memory", used + images, None, "512 MiB machine with a network card, no guests")
