"""Disks, seen from the emulator's side: what a guest reads is read, and an error is one request's."""

import os
import struct

import archive
import vm as machine
from guests import Http, command, definition, disk, forward, get, ready, web
from harness import expect, expect_equal


def block_device(vm, name):
    """What the guest's `info` counts for its disk."""
    return next(d for d in command(vm, f"info {name}")["devices"] if d["class"] == "block")


def by_emulator(vm):
    """What the emulator counts for the first disk."""
    return next(s["stats"] for s in vm.qmp("query-blockstats") if s["device"] == "disk0")


def test_reads_are_real(ctx):
    """The emulator's counters rise by what the guest reads: not less, and little more."""
    data = ctx.random.randbytes(8 << 20)
    port = machine.free_port()
    with ctx.boot_pvh(ctx.guests(webd=web()), content=archive.newc({"data": data}), disk=True,
                      forwards=[forward(port)]) as vm:
        ready(vm, "webd")
        before, counted = by_emulator(vm)["rd_bytes"], block_device(vm, "webd")["read_bytes"]
        for _ in range(3):
            expect(get(port, "/data").body == data, "the file")
        read = by_emulator(vm)["rd_bytes"] - before
        counted = block_device(vm, "webd")["read_bytes"] - counted
        expect_equal(read, counted, "what the emulator and mgmt counted")
        # A piece of 32 KiB may begin and end inside a sector.
        expect(3 * len(data) <= read <= 3 * len(data) * 33 // 32, f"read {read} for 3 times {len(data)} bytes")
        vm.poweroff()


def partition_start(path, name):
    """The byte at which a GPT partition begins (UEFI specification, 5.3)."""
    with open(path, "rb") as handle:
        handle.seek(512)
        header = handle.read(512)
        table, count, size = struct.unpack_from("<QII", header, 72)
        handle.seek(table * 512)
        for entry in (handle.read(size) for _ in range(count)):
            if entry[56:].decode("utf-16le").rstrip("\0") == name:
                return struct.unpack_from("<Q", entry, 32)[0] * 512
    raise AssertionError(f"no partition {name}")


def sector_of(path, data):
    """The sector, counted from the disk's start, in which the 16 bytes `data` begin."""
    with open(path, "rb") as handle:
        content = handle.read()
    at = content.find(data)
    expect(at >= 0 and content.find(data, at + 1) < 0, "the bytes are on the disk once")
    return at // 512


def boot_with_bad_sector(ctx, folder, files, needle, **options):
    """A machine whose disk cannot read the sector that holds `needle`, of which the rest is whole."""
    path = ctx.image(folder, archive.newc(files))
    rules = ctx.write("errors.conf", '[inject-error]\nevent = "none"\nerrno = "5"\nonce = "off"\n'
                      f'sector = "{sector_of(path, needle)}"\n')
    module = machine.pvh_module(os.path.join(ctx.build, "mgmt", "init", "init.bin"),
                                archive.boot_archive(ctx.build, folder), ctx.path("module"))
    return machine.VM(ctx.path("vm"), kernel=os.path.join(ctx.build, "hv", "hv.elf"), module=module,
                      disks=[f"format=raw,rerror=report,file=blkdebug:{rules}:{path}"], **options)


def test_disk_error(ctx):
    """One sector that cannot be read: the request that needs it fails, is counted, and all others are
    served, before and after, on this connection and on others."""
    files = {name: ctx.random.randbytes(200_000) for name in ("good", "bad", "well")}
    guests = ctx.guests(webd=web(), other=web("other", number=16))
    port, port2 = machine.free_port(), machine.free_port()
    with boot_with_bad_sector(ctx, guests, files, files["bad"][150_000:150_016],
                              forwards=[forward(port), forward(port2, address="10.0.2.16")]) as vm:
        ready(vm, "webd", "other")
        expect_equal(block_device(vm, "webd")["errors"], 0, "errors at first")
        for round_number in (1, 2, 3):
            with Http(port) as bystander:
                expect(bystander.request("/well").body == files["well"], "before")
                try:
                    answer = get(port, "/bad")
                    expect(answer.status >= 500, f"a failed read is not served: {answer.status}")
                except (ConnectionError, OSError):
                    pass  # the head had promised the bytes
                expect(bystander.request("/good").body == files["good"], "the same moment's other connection")
            expect(get(port, "/bad", Range="bytes=0-99999").body == files["bad"][:100_000], "the file's good part")
            expect_equal(block_device(vm, "webd")["errors"], round_number, "errors counted")
        expect(get(port2, "/good").body == files["good"], "the other guest")
        expect_equal(block_device(vm, "other")["errors"], 0, "the other guest's errors")
        expect_equal(command(vm, "list")["guests"][0]["crashes"], 0, "crashes")
        vm.poweroff()


def test_whole_disk_and_two_guests(ctx):
    """A second disk as a whole for one guest, a partition of the first for another."""
    one, two = ctx.random.randbytes(100_000), ctx.random.randbytes(100_000)
    path = ctx.write("second.img", archive.newc({"file": two}).ljust(1 << 20, b"\0"))
    ports = machine.free_port(), machine.free_port()
    with ctx.boot_pvh(ctx.guests(one=web("one"), two=web("two", volume="disk:1", number=16)),
                      content=archive.newc({"file": one}), disk=True, disks=[f"format=raw,file={path}"],
                      forwards=[forward(ports[0]), forward(ports[1], address="10.0.2.16")]) as vm:
        ready(vm, "one", "two")
        expect(get(ports[0], "/file").body == one, "the partition's file")
        expect(get(ports[1], "/file").body == two, "the second disk's file")
        vm.poweroff()


def test_archive_volume(ctx):
    """A file of the boot archive as a disk, read-only and throw-away: no disk needed."""
    data = ctx.random.randbytes(70_000)
    port = machine.free_port()
    with ctx.boot_pvh(ctx.guests(webd=web(volume="archive:site.cpio")), forwards=[forward(port)],
                      files={"site.cpio": archive.newc({"file": data})}) as vm:
        ready(vm, "webd")
        expect(get(port, "/file").body == data, "the file")
        vm.poweroff()


def test_read_only(ctx):
    """A whole life of guests with read-only disks does not write a byte to the disk."""
    guests = ctx.guests(webd=web(), b=definition("b", devices="<console/>" + disk("disk:0")))
    with ctx.boot_pvh(guests, disk=True) as vm:
        ready(vm, "webd", "b")
        expect_equal(by_emulator(vm)["wr_operations"], 0, "writes")
        vm.poweroff()
