"""Linux guests for tests: Debian's kernel as its package brings it, and an initramfs of busybox."""

import gzip
import os
import stat

MODULES = ("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci",
           "virtio_blk", "failover", "net_failover", "virtio_net", "virtio-rng")
INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev 2>/dev/null
for module in MODULES; do insmod /$module.ko; done
echo "init: up, $(nproc) processors"
exec setsid cttyhack sh
"""


def folder(root):
    return os.path.join(os.environ.get("BULKHEAD_DEPS") or os.path.join(root, ".deps"), "linux")


def read(root, name):
    with open(os.path.join(folder(root), name), "rb") as handle:
        return handle.read()


def newc(entries):
    """An initramfs of (name, mode, contents)."""
    out = bytearray()
    for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        raw = name.encode() + b"\0"
        fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0]
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + raw
        out += b"\0" * (-len(out) % 4) + data
        out += b"\0" * (-len(out) % 4)
    return bytes(out)


def initramfs(root, init=INIT):
    program = stat.S_IFREG | 0o755
    entries = [("bin", stat.S_IFDIR | 0o755, b""),
               ("bin/busybox", program, read(root, "busybox")),
               ("init", program, init.replace("MODULES", " ".join(MODULES)).encode())]
    entries += [(f"{name}.ko", stat.S_IFREG | 0o644, read(root, f"{name}.ko")) for name in MODULES]
    return gzip.compress(newc(entries), 6, mtime=0)


def files(root):
    """What goes beside the definition."""
    return {"vmlinuz": read(root, "vmlinuz"), "initrd.gz": initramfs(root)}


def definition(memory=256, vcpus=1, devices="", kernel="vmlinuz"):
    return f"""<domain type='bulkhead'>
  <name>linux</name>
  <memory unit='MiB'>{memory}</memory>
  <vcpu>{vcpus}</vcpu>
  <os><type>hvm</type><kernel>{kernel}</kernel><initrd>initrd.gz</initrd>
    <cmdline>console=ttyS0 panic=-1</cmdline></os>
  <devices><console/>{devices}</devices>
</domain>
"""
