"""A Linux guest whose root is ext4 on a virtio disk: what it has written and synced is there after a reboot
of the guest, and the build machine's own tools find the file system whole."""

import os
import shutil
import subprocess

import linux
from harness import expect, limit, slow

DISK = "<disk type='volume' device='disk'><source volume='disk:0'/><target dev='vda'/></disk>"
# In the initrd: the modules, then the root.
SWITCH = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mkdir -p /proc /sys /dev /root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev 2>/dev/null
for module in $(cat /modules); do insmod "/$module.ko"; done
mount -t ext4 /dev/vda /root
mount --move /dev /root/dev
mount --move /proc /root/proc
exec switch_root /root /init
"""
# On the disk.
INIT = """#!/bin/busybox sh
export PATH=/bin
echo "root: up"
exec setsid cttyhack sh
"""


def root_disk(ctx):
    folder = ctx.path("root")
    for name in ("bin", "dev", "proc"):
        os.makedirs(os.path.join(folder, name))
    busybox = os.path.join(folder, "bin", "busybox")
    shutil.copy(os.path.join(linux.folder(ctx.root), "busybox"), busybox)
    names = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split()
    for name in names:
        if name != "busybox":
            os.symlink("busybox", os.path.join(folder, "bin", name))
    ctx.write("root/init", INIT)
    os.chmod(ctx.path("root", "init"), 0o755)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", folder, ctx.path("disk"), "64M"], check=True)
    return ctx.path("disk")


def shell(vm):
    vm.wait_for(r"root: up", timeout=120)
    vm.send("console linux")
    vm.send("")
    vm.wait_for(r"/ # ", timeout=30)


def run_from_disk(ctx, disk_xml):
    disk = root_disk(ctx)
    files = linux.files(ctx.root, more=[("switch", linux.PROGRAM, SWITCH.encode())])
    guests = ctx.guests(linux=linux.definition(devices=disk_xml, arguments="rdinit=/switch"))
    with ctx.boot_pvh(guests=guests, files=files, disks=[f"format=raw,file={disk}"]) as vm:
        shell(vm)
        vm.send("grep ' / ' /proc/mounts; dd if=/dev/urandom of=/written bs=64k count=64; sha256sum /written >/sum; sync;"
                "echo SYN''CED")
        vm.wait_for(r"/dev/vda / ext4 rw", timeout=30)
        vm.wait_for(r"^SYNCED", timeout=60)
        vm.send("reboot -f")
        vm.wait_for(r"guest linux ended: reboot", timeout=60)
        vm.send_bytes(b"\x1d")
        shell(vm)
        vm.send("sha256sum -c /sum")
        vm.wait_for(r"/written: OK", timeout=60)
        vm.send("mount -o remount,ro /; poweroff -f")
        vm.wait_for(r"guest linux ended: exit status 0: power-off", timeout=60)
        vm.send_bytes(b"\x1d")
        vm.poweroff()
    checked = subprocess.run(["e2fsck", "-f", "-n", disk], capture_output=True, text=True)
    expect(checked.returncode == 0, f"e2fsck: {checked.stdout}")


@slow
@limit(400)
def test_ext4(ctx):
    run_from_disk(ctx, DISK)


@slow
@limit(400)
def test_ext4_direct(ctx):
    """The disk reads and writes the guest's buffers itself."""
    run_from_disk(ctx, DISK.replace("<target", "<driver io='direct'/><target"))
