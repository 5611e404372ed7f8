"""From the start of an HVM guest to Linux' /init."""

import linux
from figures import definition, figure, moment

INIT = b"#!/bin/busybox sh\n/bin/busybox echo init: here\nexec /bin/busybox sleep 1000000\n"


@figure("hvm_boot_init", most=1_700_000_000)
def boot_init(bench):
    """Debian's bzImage with 1 vCPU and 128 MiB; /init prints a line and sleeps."""
    files = {"vmlinuz": linux.read(bench.root, "vmlinuz"),
             "initrd.gz": linux.initramfs(bench.root, more=[("init", linux.PROGRAM, INIT)])}
    guest = definition("linux", "hvm", "vmlinuz", 128, more="<initrd>initrd.gz</initrd>",
                       arguments="console=ttyS0 panic=-1").replace(
        "</domain>", "<bulkhead autostart='no'/></domain>")
    with bench.boot({"linux": guest}, files) as vm:
        vm.wait_for(r"^mgmt: ready", timeout=60)
        before = moment(vm)
        vm.send("start linux")
        vm.wait_for(r"init: here", timeout=400)
        each = moment(vm) - before
    bench.add("hvm_boot_init", each.instructions - each.scrubbing, each.moves,
              f"bzImage of {len(files['vmlinuz']):,} bytes, initrd of {len(files['initrd.gz']):,} bytes, 128 MiB, "
              "kernel messages on ttyS0; scrubbing taken off", scrubbing=each.scrubbing)
