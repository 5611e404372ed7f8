"""Linux guests: Debian's kernel as its package brings it, and an initramfs of busybox. The parts were
fetched by `subprojects/fetch-sources --linux`; the demo and the tests use the same."""

import gzip
import os
import stat
import subprocess

import lz4
import newc

# In the order of their dependencies; a kernel has those that are not built in.
MODULES = ("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci",
           "virtio_blk", "failover", "net_failover", "virtio_net", "virtio_console", "rng-core", "virtio-rng", "evdev",
           "button", "pvpanic", "pvpanic-mmio", "watchdog", "i6300esb", "libcrc32c", "crc16", "crc32c_generic", "mbcache",
           "jbd2", "ext4")
PROGRAM = stat.S_IFREG | 0o755
FILE = stat.S_IFREG | 0o644
FOLDER = stat.S_IFDIR | 0o755


def folder(root, kernel=None):
    """Where a kernel and what belongs to it lies: Debian's cloud kernel, or one of the others."""
    deps = os.environ.get("BULKHEAD_DEPS") or os.path.join(root, ".deps")
    return os.path.join(deps, "kernels", kernel) if kernel else os.path.join(deps, "linux")


def has(root, name, kernel=None):
    return os.path.exists(os.path.join(folder(root, kernel), name))


def read(root, name, kernel=None):
    with open(os.path.join(folder(root, kernel), name), "rb") as handle:
        return handle.read()


def example(root, name):
    with open(os.path.join(root, "guestlib", "examples", "linux", name), "rb") as handle:
        return handle.read()


def initramfs(root, more=(), kernel=None):
    """The demo's, and `more`: (name, mode, contents)."""
    modules = [name for name in MODULES if has(root, f"{name}.ko", kernel)]
    entries = [("bin", FOLDER, b""), ("www", FOLDER, b""), ("www/cgi-bin", FOLDER, b""),
               ("bin/busybox", PROGRAM, read(root, "busybox", kernel)),
               ("init", PROGRAM, example(root, "init")),
               ("services", PROGRAM, example(root, "services")),
               ("www/cgi-bin/index.cgi", PROGRAM, example(root, "index.cgi")),
               ("modules", FILE, " ".join(modules).encode())]
    entries += [(f"{name}.ko", FILE, read(root, f"{name}.ko", kernel)) for name in modules]
    return gzip.compress(newc.pack([*entries, *more]), 6, mtime=0)


def program(ctx, name):
    """test/guest/linux/NAME.c, built for Linux: an entry for initramfs()."""
    out = ctx.path(name)
    subprocess.run(["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-o", out,
                    os.path.join(ctx.root, "test", "guest", "linux", f"{name}.c"), "-lm"], check=True)
    with open(out, "rb") as handle:
        return f"bin/{name}", PROGRAM, handle.read()


def stress(root):
    """stress-ng and its libraries, as entries for initramfs(); none if the mirror did not have it."""
    deps = os.environ.get("BULKHEAD_DEPS") or os.path.join(root, ".deps")
    folder = os.path.join(deps, "stress")
    if not os.path.exists(os.path.join(folder, "stress-ng")):
        return []
    places = {"stress-ng": "bin", "ld-linux-x86-64.so.2": "lib64"}
    entries = [("lib", FOLDER, b""), ("lib64", FOLDER, b"")]
    for name in sorted(set(os.listdir(folder)) - {"record"}):
        with open(os.path.join(folder, name), "rb") as handle:
            entries.append((f"{places.get(name, 'lib')}/{name}", PROGRAM, handle.read()))
    return entries


def shipped(root, wanted):
    """Those of these files that a definition may name without bringing them."""
    made = {"vmlinuz": lambda: read(root, "vmlinuz"), "initrd.gz": lambda: initramfs(root)}
    return {name: made[name]() for name in made.keys() & wanted}


def files(root, kernel=None, more=()):
    """A kernel and its initramfs, for a definition that names them as definition() does."""
    return {"vmlinuz": read(root, "vmlinuz", kernel), "initrd.gz": initramfs(root, more, kernel)}


def definition(memory=256, vcpus=1, devices="", kernel="vmlinuz", name="linux", arguments="", policy=""):
    """arguments: more words for the kernel; policy: elements such as <on_crash>."""
    return f"""<domain type='bulkhead'>
  <name>{name}</name>
  <memory unit='MiB'>{memory}</memory>
  <vcpu>{vcpus}</vcpu>
  <os><type>hvm</type><kernel>{kernel}</kernel><initrd>initrd.gz</initrd>
    <cmdline>console=ttyS0 panic=-1 {arguments}</cmdline></os>
  {policy}
  <devices><console/>{devices}</devices>
</domain>
"""


def boot(ctx, files=None, **of_definition):
    return ctx.boot_pvh(guests=ctx.guests(linux=definition(**of_definition)), files=files)


def shell(vm, name="linux", timeout=120):
    """Waits until it is up, and attaches the host console to its shell."""
    vm.wait_for(r"init: up", timeout=timeout)
    vm.send(f"console {name}")
    vm.send("")
    vm.wait_for(r"/ # ", timeout=30)


def vmlinux(root):
    """The ELF file that is packed in Debian's bzImage: payload_offset and payload_length of the setup header
    (Documentation/arch/x86/boot.rst), which count from the protected-mode code."""
    image = read(root, "vmlinuz")
    start = (image[0x1f1] + 1) * 512 + int.from_bytes(image[0x248:0x24c], "little")
    return lz4.unpack(image[start:start + int.from_bytes(image[0x24c:0x250], "little")])
