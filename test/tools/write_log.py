"""What QEMU's block driver `blklogwrites` recorded: each write, and each flush, in the order in which the
disk ended them. The format is that of Linux's device mapper target log-writes (Linux,
Documentation/admin-guide/device-mapper/log-writes.rst): a super block, then for each write an entry of
one sector and the data. Numbers are little-endian.

    vm = ctx.boot_pvh(..., disks=[write_log.drive(disk, log)])
    for write in write_log.read(log): ...
"""

import struct

SECTOR = 512
MAGIC = 0x6a736677736872
SUPER = struct.Struct("<QQQI")  # magic, version, number of entries, bytes of a sector
ENTRY = struct.Struct("<QQQQ")  # sector, number of sectors, flags, bytes of a mark
FLUSH, FUA, DISCARD = 1, 2, 4


def drive(disk, log):
    """The value of a -drive: this raw disk, and a log of what is written to it. `log` becomes empty. The
    super block is written with every entry, so that the log is whole whenever the emulator dies."""
    open(log, "wb").close()
    return (f"driver=blklogwrites,file.driver=file,file.filename={disk},log.driver=file,log.filename={log},"
            f"log-sector-size={SECTOR},log-super-update-interval=1")


class Write:
    """data: what was written from `sector` on. flush: before it, everything was made durable that
    the disk had ended before. fua: it is durable itself."""

    def __init__(self, sector, data, flags):
        self.sector, self.data = sector, data
        self.flush, self.fua = bool(flags & FLUSH), bool(flags & FUA)

    def sectors(self):
        """(sector, its 512 bytes)"""
        for offset in range(0, len(self.data), SECTOR):
            yield self.sector + offset // SECTOR, self.data[offset:offset + SECTOR]


def read(path):
    with open(path, "rb") as log:
        magic, version, entries, sector_bytes = SUPER.unpack(log.read(SUPER.size))
        if (magic, version, sector_bytes) != (MAGIC, 1, SECTOR):
            raise ValueError(f"{path}: not a log of writes: {magic:#x}, {version}, {sector_bytes}")
        log.seek(SECTOR)
        for _ in range(entries):
            sector, sectors, flags, _ = ENTRY.unpack(log.read(SECTOR)[:ENTRY.size])
            if flags & DISCARD:
                raise ValueError(f"{path}: a discard, of which nothing can be said")
            yield Write(sector, log.read(sectors * SECTOR), flags)
