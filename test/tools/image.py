"""The image that is flashed to a server, made without root and without loop mounts.

GPT with three partitions: BIOS-boot (GRUB for SeaBIOS), ESP (GRUB for UEFI, hv, init, the boot
archive) and `webd` (the demo's content, a newc cpio). Deterministic: no time, no random number.

./dev image [--out FILE] [--guests DIR] [--cmdline TEXT]
"""

import argparse
import fcntl
import os
import struct
import subprocess
import sys
import tempfile

import archive

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEMO = os.path.join(ROOT, "guestlib", "examples", "demo")
CONTENT = os.path.join(ROOT, "guestlib", "examples", "webd", "content")

GRUB_BIOS = "/usr/lib/grub/i386-pc"
GRUB_EFI = "/usr/lib/grub/x86_64-efi"
GRUB_MODULES = "part_gpt fat normal multiboot2 serial terminal search search_fs_file configfile"
# What GRUB does before it can read its configuration: find the ESP.
GRUB_EARLY = """search --no-floppy --file --set=root /bulkhead/hv.elf
set prefix=($root)/bulkhead
configfile /bulkhead/grub.cfg
"""
GRUB_CONFIG = """serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
multiboot2 /bulkhead/hv.elf {cmdline}
module2 /bulkhead/init.bin init
module2 /bulkhead/boot.cpio boot
boot
"""

SECTOR = 512
BIOS_START, BIOS_SECTORS = 34, 2014
ESP_START = 2048
ESP_MIN_SECTORS = 65 * 2048  # the smallest FAT32 with room for its tables
SECTORS_PER_MIB = 2048
UUID = "42756c6b-6865-4000-8000-0000000000%02x"
TYPE_BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"
TYPE_ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
TYPE_DATA = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"


class ImageError(Exception):
    """A tool failed, or a part is missing."""


def tool(*command, text=None, **environment):
    env = dict(os.environ, SOURCE_DATE_EPOCH="1700000000", MTOOLS_SKIP_CHECK="1", LC_ALL="C",
               **environment)
    done = subprocess.run(command, input=text, env=env, capture_output=True, text=True)
    if done.returncode:
        raise ImageError(f"{command[0]} failed:\n{done.stderr or done.stdout}")


def grub_cores(cache):
    """GRUB's two cores, made once per build folder and version of the configuration above, by whoever comes first."""
    os.makedirs(cache, exist_ok=True)
    with open(os.path.join(cache, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return make_grub_cores(cache)


def make_grub_cores(cache):
    key = GRUB_EARLY + GRUB_MODULES
    early = os.path.join(cache, "early.cfg")
    wanted = {"i386-pc": (GRUB_BIOS, "core.img", "biosdisk"), "x86_64-efi": (GRUB_EFI, "bootx64.efi", "")}
    paths = [os.path.join(cache, out) for _, out, _ in wanted.values()]
    stamp = os.path.join(cache, "stamp")
    if os.path.exists(stamp) and open(stamp).read() == key:
        return paths
    with open(early, "w") as handle:
        handle.write(GRUB_EARLY)
    for form, (modules, out, more) in wanted.items():
        tool("grub-mkimage", "-O", form, "-d", modules, "-p", "/bulkhead", "-c", early,
             "-o", os.path.join(cache, out), *more.split(), *GRUB_MODULES.split())
    with open(stamp, "w") as handle:
        handle.write(key)
    return paths


def install_bios_grub(image, core_path):
    """What grub-bios-setup does, without a device: boot.img into sector 0 around the partition
    table, the core into the BIOS-boot partition, and the block list that joins them."""
    with open(core_path, "rb") as handle:
        core = bytearray(handle.read())
    core += b"\0" * (-len(core) % SECTOR)
    if len(core) > BIOS_SECTORS * SECTOR:
        raise ImageError("GRUB's core does not fit the BIOS-boot partition")
    # The core's first sector loads the rest: start, length, segment to load it to.
    struct.pack_into("<QHH", core, 0x1F4, BIOS_START + 1, len(core) // SECTOR - 1, 0x820)
    with open(os.path.join(GRUB_BIOS, "boot.img"), "rb") as handle:
        boot = bytearray(handle.read(SECTOR))
    with open(image, "r+b") as handle:
        mbr = handle.read(SECTOR)
        boot[0x1B8:0x200] = mbr[0x1B8:0x200]  # disk signature and partition table stay
        struct.pack_into("<Q", boot, 0x5C, BIOS_START)
        boot[0x66:0x68] = b"\x90\x90"  # trust the BIOS's drive number, as on any hard disk
        handle.seek(0)
        handle.write(boot)
        handle.seek(BIOS_START * SECTOR)
        handle.write(core)


def make(build, out, boot_cpio, content, cmdline="", init=None):
    """Write the image. `boot_cpio` and `content` are the bytes of the two archives. init: the path of
    another program to start in init's place."""
    hv, init = os.path.join(build, "hv", "hv.elf"), init or os.path.join(build, "mgmt", "init", "init.bin")
    for part in (hv, init):
        if not os.path.exists(part):
            raise ImageError(f"{part} has not been built")
    core, efi = grub_cores(os.path.join(build, "grub"))

    load = sum(os.path.getsize(p) for p in (hv, init, efi)) + len(boot_cpio)
    esp = max(ESP_MIN_SECTORS, (load // SECTOR * 17 // 16 // SECTORS_PER_MIB + 4) * SECTORS_PER_MIB)
    webd = (len(content) // (SECTOR * SECTORS_PER_MIB) + 1) * SECTORS_PER_MIB
    webd_start = ESP_START + esp
    table = ["label: gpt", f"label-id: {UUID % 0}", f"first-lba: {BIOS_START}"]
    for number, (name, kind, start, size) in enumerate((
            ("bios", TYPE_BIOS_BOOT, BIOS_START, BIOS_SECTORS),
            ("esp", TYPE_ESP, ESP_START, esp),
            ("webd", TYPE_DATA, webd_start, webd)), 1):
        table.append(f"start={start}, size={size}, type={kind}, uuid={UUID % number}, name={name}")

    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(out))) as temp:
        image = os.path.join(temp, "image")
        with open(image, "wb") as handle:
            handle.truncate((webd_start + webd + SECTORS_PER_MIB) * SECTOR)
            handle.seek(webd_start * SECTOR)
            handle.write(content)
        tool("sfdisk", "-q", image, text="\n".join(table) + "\n")
        install_bios_grub(image, core)

        boot, config = os.path.join(temp, "boot.cpio"), os.path.join(temp, "grub.cfg")
        with open(boot, "wb") as handle:
            handle.write(boot_cpio)
        with open(config, "w") as handle:
            handle.write(GRUB_CONFIG.format(cmdline=cmdline))
        fat = f"{image}@@{ESP_START * SECTOR}"
        tool("mformat", "-i", fat, "-F", "-v", "BULKHEAD", "-N", "42756c6b", "-T", str(esp),
             "-h", "64", "-s", "32", "::")
        tool("mmd", "-i", fat, "::/EFI", "::/EFI/BOOT", "::/bulkhead")
        tool("mcopy", "-i", fat, efi, "::/EFI/BOOT/BOOTX64.EFI")
        tool("mcopy", "-i", fat, hv, boot, config, "::/bulkhead/")
        tool("mcopy", "-i", fat, init, "::/bulkhead/init.bin")
        os.replace(image, out)


def webd_content(folder=CONTENT):
    return archive.newc(archive.read_tree(folder) if os.path.isdir(folder) else {})


def parse(arguments):
    parser = argparse.ArgumentParser(prog="./dev image", description="write the image to flash")
    parser.add_argument("--build", help=argparse.SUPPRESS)
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", metavar="FILE", help="default: build/bulkhead.img")
    parser.add_argument("--guests", metavar="DIR", default=DEMO, help="definitions and their files")
    parser.add_argument("--cmdline", default="", help="hv's command line")
    return parser.parse_args(arguments)


def main():
    options = parse(sys.argv[1:])
    if options.check:
        return 0
    out = options.out or os.path.join(options.build, "bulkhead.img")
    try:
        make(options.build, out, archive.boot_archive(options.build, options.guests),
             webd_content(), options.cmdline)
    except archive.DefinitionError as error:
        print(f"dev image: {error}", file=sys.stderr)
        return 2
    except (ImageError, OSError) as error:
        print(f"dev image: {error}", file=sys.stderr)
        return 6
    print(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
