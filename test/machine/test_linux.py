"""Unmodified Linux in an HVM guest, under TCG's emulation of SVM."""

import hashlib
import string

import linux
from guests import definition, guest, net, until_state
from harness import expect, expect_equal, limit, slow

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


@slow
@limit(300)
def test_virtio_console(ctx):
    """A shell on hvc0, beside ttyS0: what is typed goes there, what either writes is shown."""
    definition_ = linux.definition(arguments="console=hvc0")
    guests = ctx.guests(linux=definition_.replace("<console/>", "<console><target type='virtio'/></console>"))
    with ctx.boot_pvh(guests) as vm:
        shell(vm)
        vm.send("tty")
        vm.wait_for(r"^/dev/hvc0\s", timeout=30)
        vm.send("echo by wi''re >/dev/ttyS0")
        vm.wait_for(r"^by wire\s", timeout=30)
        vm.send("read -r line; echo \"[$line]\"")
        vm.send("what is typed")
        vm.wait_for(r"^\[what is typed\]\s", timeout=30)
        begin = vm.cursor
        vm.send("dmesg -n 1; seq 3000; echo al''l")  # no messages of the kernel's in between
        vm.wait_for(r"^all\s", timeout=60)
        numbers = [line for line in vm.text[begin:vm.cursor].split() if line.isdigit()]
        expect_equal(numbers[-3000:], [str(i) for i in range(1, 3001)], "what is shown of 3,000 lines")
        read_burst(ctx, vm)
        vm.send("poweroff -f")
        vm.wait_for(r"guest linux ended: exit status 0", timeout=60)


def read_burst(ctx, vm):
    """What is typed to a guest that is paused, thirty times what its serial port and its VMM hold, waits for it."""
    burst = "".join(ctx.random.choices(string.ascii_letters + string.digits, k=32768)).encode()
    vm.send("stty -icanon -echo; echo list''ening; head -c 32768 | sha256sum; stty sane")
    vm.wait_for(r"^listening", timeout=30)
    vm.send_bytes(b"\x1d")
    vm.send("pause linux")
    until_state(vm, "linux", "paused")
    vm.send("console linux")
    vm.send_bytes(burst + b"\x1d")
    vm.send("resume linux")
    vm.send("console linux")
    vm.wait_for(hashlib.sha256(burst).hexdigest(), timeout=60)


@slow
@limit(300)
def test_burst_of_input(ctx):
    with boot(ctx) as vm:
        shell(vm)
        read_burst(ctx, vm)


def test_a_truncated_kernel(ctx):
    kernel = linux.read(ctx.root, "vmlinuz")[:1 << 20]
    with boot(ctx, {"vmlinuz": kernel}) as vm:
        vm.wait_for(r"vmm: the kernel is shorter than its header says", timeout=60)
        vm.wait_for(r"guest linux ended: exit status 1", timeout=30)
        vm.poweroff()


@slow
@limit(300)
def test_a_truncated_initrd(ctx):
    """Half a gzip stream loads like a whole one: the kernel finds out, and panics for want of an init. Its pvpanic
    driver was to come from there, so the host sees reboots: it says so, and does not go on with that for ever. In
    counted time, so that they come within a minute on any machine."""
    guests = ctx.guests(linux=linux.definition(arguments="quiet"),
                        echo=definition("echo", kernel="echo.bin", memory="16", devices="<console/>" + net(15)))
    initrd = linux.initramfs(ctx.root)
    with ctx.boot_pvh(guests, files={"initrd.gz": initrd[:len(initrd) // 2]}, icount=True) as vm:
        vm.wait_for(r"Initramfs unpacking failed", timeout=100)
        vm.wait_for(r"Kernel panic - not syncing: VFS: Unable to mount root", timeout=100)
        vm.wait_for(r"guest linux ended: reboot", timeout=100)
        vm.wait_for(r"guest linux: started again 5 times within a minute; it stays off", timeout=200)
        until_state(vm, "linux", "off")
        expect_equal(guest(vm, "echo")["state"], "running", "its neighbour")
        vm.poweroff()


def use_everything(vm, data):
    """A disk, a network card, random numbers, the clock and the serial port, after a start. Only the disk's first
    MiB is written."""
    vm.send("dd if=/dev/vda bs=1M skip=1 | sha256sum")
    vm.wait_for(hashlib.sha256(data[1 << 20:]).hexdigest(), timeout=60)
    vm.send("dd if=/dev/urandom of=/tmp/r bs=1M count=1; dd if=/tmp/r of=/dev/vda bs=64k; sync;"
            "echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/vda bs=1M count=1 | cmp - /tmp/r && echo SA''ME")
    vm.wait_for(r"^SAME", timeout=60)
    vm.send("ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; ping -c 2 10.0.2.2")
    vm.wait_for(r"2 packets received", timeout=60)
    vm.send("head -c 64 /dev/hwrng | wc -c; cat /sys/devices/system/clocksource/clocksource0/current_clocksource")
    vm.wait_for(r"^64\s+kvm-clock", timeout=60)


def kexec(ctx, arguments="", vcpus=1):
    """A second kernel starts in the place of the first, in a machine that nobody has reset."""
    data = ctx.random.randbytes(4 << 20)
    files = {"data": data, "initrd.gz": linux.initramfs(ctx.root, [
        linux.program(ctx, "kexec"), ("second", linux.FILE, linux.read(ctx.root, "vmlinuz")),
        ("second.gz", linux.FILE, linux.initramfs(ctx.root))])}
    with boot(ctx, files, devices=DISK + NET, arguments=arguments, vcpus=vcpus, memory=384) as vm:
        shell(vm, timeout=200)
        use_everything(vm, data)
        vm.send("while :; do dd if=/dev/vda of=/dev/null bs=4k; done 2>/dev/null & ping -q 10.0.2.2 & "
                f"kexec /second /second.gz 'console=ttyS0 panic=-1 {arguments} second=yes'")
        vm.wait_for(r"kexec: loaded", timeout=60)
        vm.wait_for(rf"init: up, {vcpus} processors", timeout=200)
        vm.wait_for(r"[/~] # ", timeout=30)
        vm.send("grep -c second=yes /proc/cmdline")
        vm.wait_for(r"^1\s", timeout=30)
        use_everything(vm, data)
        vm.send("poweroff -f")
        vm.wait_for(r"guest linux ended: exit status 0", timeout=60)
        for bad in ("Call Trace", "BUG:", "guest linux ended: reboot"):
            expect(bad not in vm.text, f"'{bad}' is not said")


@slow
@limit(600)
def test_kexec(ctx):
    kexec(ctx, vcpus=2)


@slow
@limit(600)
def test_kexec_interrupts_by_wire(ctx):
    kexec(ctx, arguments="pci=nomsi")
