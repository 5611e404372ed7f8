"""Unmodified Linux in an HVM guest, under TCG's emulation of SVM."""

import hashlib

import linux
from harness import expect, limit, slow

DISK = "<disk type='volume' device='disk'><source volume='archive:data'/><target dev='vda'/>" \
    "<transient/></disk>"
NET = "<interface type='network'><mac address='52:54:00:42:48:01'/>" \
    "<ip address='10.0.2.15' prefix='24'/><route gateway='10.0.2.2'/></interface>"


boot, shell = linux.boot, linux.shell


@slow
@limit(300)
def test_boots_to_a_shell_and_powers_off(ctx):
    with boot(ctx) as vm:
        shell(vm)
        vm.send("cat /sys/devices/system/clocksource/clocksource0/current_clocksource")
        vm.wait_for(r"^kvm-clock", timeout=30)
        vm.send("poweroff -f")
        vm.wait_for(r"guest linux ended: exit status 0", timeout=60)
        for bad in ("unchecked MSR", "Call Trace", "BUG:", "not known; the guest gets #UD"):
            expect(bad not in vm.text, f"'{bad}' is not in what Linux says")


@slow
@limit(400)
def test_disk_and_network(ctx):
    data = ctx.random.randbytes(4 << 20)
    with boot(ctx, {"data": data}, devices=DISK + NET) as vm:
        shell(vm)
        vm.send("sha256sum /dev/vda")
        vm.wait_for(hashlib.sha256(data).hexdigest(), timeout=60)
        vm.send("dd if=/dev/urandom of=/tmp/r bs=1M count=2; dd if=/tmp/r of=/dev/vda bs=64k; sync;"
                "echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/vda bs=1M count=2 | cmp - /tmp/r && echo SA''ME")
        vm.wait_for(r"^SAME", timeout=60)
        vm.send("ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; ping -c 2 10.0.2.2")
        vm.wait_for(r"2 packets received", timeout=60)
        vm.send("reboot -f")
        vm.wait_for(r"guest linux ended: reboot", timeout=60)
        vm.wait_for(r"^linux: init: up|init: up", timeout=120)  # and is back


@slow
@limit(300)
def test_interrupts_by_wire(ctx):
    """No MSI: all devices share INTA#, level-triggered."""
    data = ctx.random.randbytes(4 << 20)
    with boot(ctx, {"data": data}, devices=DISK + NET, arguments="pci=nomsi") as vm:
        shell(vm)
        vm.send("grep -c 'IO-APIC.*11-fasteoi.*virtio' /proc/interrupts; sha256sum /dev/vda")
        vm.wait_for(r"^1$", timeout=30)
        vm.wait_for(hashlib.sha256(data).hexdigest(), timeout=60)
        vm.send("ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; ping -c 2 10.0.2.2")
        vm.wait_for(r"2 packets received", timeout=60)


def test_a_truncated_kernel(ctx):
    kernel = linux.read(ctx.root, "vmlinuz")[:1 << 20]
    with boot(ctx, {"vmlinuz": kernel}) as vm:
        vm.wait_for(r"vmm: the kernel is shorter than its header says", timeout=60)
        vm.wait_for(r"guest linux ended: exit status 1", timeout=30)
        vm.poweroff()
