"""Linux guests: Debian's kernel as its package brings it, and an initramfs of busybox. The parts were
fetched by `subprojects/fetch-sources --linux`; the demo and the tests use the same."""

import gzip
import os
import stat

import newc

MODULES = ("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci",
           "virtio_blk", "failover", "net_failover", "virtio_net", "virtio-rng", "evdev", "button")
PROGRAM = stat.S_IFREG | 0o755
FILE = stat.S_IFREG | 0o644
FOLDER = stat.S_IFDIR | 0o755


def folder(root):
    return os.path.join(os.environ.get("BULKHEAD_DEPS") or os.path.join(root, ".deps"), "linux")


def read(root, name):
    with open(os.path.join(folder(root), name), "rb") as handle:
        return handle.read()


def example(root, name):
    with open(os.path.join(root, "guestlib", "examples", "linux", name), "rb") as handle:
        return handle.read()


def initramfs(root, more=()):
    """The demo's, and `more`: (name, mode, contents)."""
    entries = [("bin", FOLDER, b""), ("www", FOLDER, b""), ("www/cgi-bin", FOLDER, b""),
               ("bin/busybox", PROGRAM, read(root, "busybox")),
               ("init", PROGRAM, example(root, "init")),
               ("www/cgi-bin/index.cgi", PROGRAM, example(root, "index.cgi")),
               ("modules", FILE, " ".join(MODULES).encode())]
    entries += [(f"{name}.ko", FILE, read(root, f"{name}.ko")) for name in MODULES]
    return gzip.compress(newc.pack([*entries, *more]), 6, mtime=0)


def shipped(root, wanted):
    """Those of these files that a definition may name without bringing them."""
    made = {"vmlinuz": lambda: read(root, "vmlinuz"), "initrd.gz": lambda: initramfs(root)}
    return {name: made[name]() for name in made.keys() & wanted}


def definition(memory=256, vcpus=1, devices="", kernel="vmlinuz", name="linux", arguments=""):
    return f"""<domain type='bulkhead'>
  <name>{name}</name>
  <memory unit='MiB'>{memory}</memory>
  <vcpu>{vcpus}</vcpu>
  <os><type>hvm</type><kernel>{kernel}</kernel><initrd>initrd.gz</initrd>
    <cmdline>console=ttyS0 panic=-1 {arguments}</cmdline></os>
  <devices><console/>{devices}</devices>
</domain>
"""


def shell(vm, name="linux"):
    """Waits until it is up, and attaches the host console to its shell."""
    vm.wait_for(r"init: up", timeout=120)
    vm.send(f"console {name}")
    vm.wait_for(r"/ # ", timeout=30)
