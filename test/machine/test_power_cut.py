"""What a guest was told to be on stable storage is there after a power cut, whenever it comes.

Linux copies pieces of a source disk, whose sectors are all different, to a disk of its own, and calls fsync
after every few. The emulator logs what reaches the disk; then it is killed. A disk with a volatile cache may
after a power cut hold any part of what was written since its last flush, so the test makes such disks
from the log, cut after each write, and looks for everything that had been synced at that moment."""

import re
import time

import linux
import write_log
from harness import expect, limit, slow
from write_log import SECTOR

BLOCK = 4096
BLOCK_SECTORS = BLOCK // SECTOR
STEPS = 150
DISK_BLOCKS = 96   # few, so that most are written more than once
STEP_PIECES = 3    # at most, and so are
PIECE_BLOCKS = 12
CUTS_OF_ONE_STATE = 3  # different parts of what is not flushed

DISKS = "<disk type='volume' device='disk'><source volume='disk:0'/><target dev='vda'/></disk>" \
    "<disk type='volume' device='disk'><source volume='archive:source'/><target dev='vdb'/><readonly/></disk>"
# conv=fsync is fsync(2) on the disk itself; the line comes only when it has succeeded.
COPY = "copy() { dd if=/dev/vdb of=/dev/vda bs=4096 skip=$1 seek=$2 count=$3 conv=notrunc$4 2>/dev/null; }\n"


class Steps:
    """What Linux writes, in order, each step with an fsync at its end. A step is a list of pieces: so many
    blocks of the source, from where, to where."""

    def __init__(self, random):
        blocks = 0
        self.step = []
        for _ in range(STEPS):
            self.step.append([])
            for _ in range(random.randint(1, STEP_PIECES)):
                length = random.randint(1, PIECE_BLOCKS)
                self.step[-1].append((blocks, random.randint(0, DISK_BLOCKS - length), length))
                blocks += length
        self.source = random.randbytes(blocks * BLOCK)
        self.step_of = {data: number for number in range(STEPS) for _, data in self.sectors(number)}

    def script(self):
        lines = [COPY]
        for number, pieces in enumerate(self.step):
            lines += [f"copy {start} {to} {length}\n" for start, to, length in pieces[:-1]]
            lines.append("copy {} {} {} ,fsync && echo synced {}\n".format(*pieces[-1], number))
        return "".join(lines)

    def sectors(self, number):
        """(sector, its 512 bytes) that a step writes, in order."""
        for start, to, length in self.step[number]:
            for i in range(length * BLOCK_SECTORS):
                at = start * BLOCK + i * SECTOR
                yield to * BLOCK_SECTORS + i, self.source[at:at + SECTOR]


def record(ctx, steps, disk, log, devices):
    """Runs the steps, pulls the plug in the middle, and returns the last step of which Linux had said that
    it is synced, or -1."""
    init = [("steps", linux.FILE, steps.script().encode())]
    files = {"initrd.gz": linux.initramfs(ctx.root, init), "source": steps.source}
    with ctx.boot_pvh(guests=ctx.guests(linux=linux.definition(memory=128, devices=devices)), files=files,
                      disks=[write_log.drive(disk, log)]) as vm:
        linux.shell(vm)
        vm.send("dmesg -n 1; cat /sys/block/vda/queue/write_cache")  # nor a message within a line
        vm.wait_for(r"^write back", timeout=30)  # else Linux would not flush
        vm.send("sh /steps")
        vm.wait_for(rf"^synced {ctx.random.randint(STEPS // 2, STEPS - 10)}$", timeout=200)
        time.sleep(ctx.random.random() / 10)
        vm.kill()
        return max((int(number) for number in re.findall(r"^synced (\d+)$", vm.text, re.M)), default=-1)


class Disk:
    """What may be on the disk: what is flushed, and what is not."""

    def __init__(self, random):
        self.random = random
        self.durable = {}  # by sector
        self.pending = []  # (sector, bytes), in order

    def add(self, write):
        if write.flush:
            self.durable.update(self.pending)
            self.pending = []
        (self.durable.update if write.fua else self.pending.extend)(write.sectors())

    def after_power_cut(self):
        """Any part of what is not flushed, sector by sector."""
        share = self.random.choice((0, 0.1, 0.5, 0.9))
        return {**self.durable, **{sector: data for sector, data in self.pending if self.random.random() < share}}


def expect_synced(steps, wanted, found, synced):
    """wanted: for each sector, the last step up to `synced` that wrote it. On the disk it has what that step
    wrote, or what the next one did, which was under way."""
    for sector, number in wanted.items():
        there = steps.step_of.get(found.get(sector))
        expect(there is not None and number <= there <= synced + 1,
               f"step {synced} had been synced when the power was cut; sector {sector}, written last by step "
               f"{number}, is from step {there}")


def expect_flush_is_honoured(ctx, devices):
    steps = Steps(ctx.random)
    disk, log = ctx.write("disk", b"\0" * (DISK_BLOCKS * BLOCK)), ctx.path("log")
    reported = record(ctx, steps, disk, log, devices)

    state, synced, wanted, flushes = Disk(ctx.random), -1, {}, 0
    for write in write_log.read(log):
        state.add(write)
        flushes += write.flush
        # A step is under way when the one before it has been synced.
        under_way = max((steps.step_of[data] for _, data in write.sectors()), default=synced + 1)
        for number in range(synced + 1, under_way):
            wanted.update((sector, number) for sector, _ in steps.sectors(number))
        synced = under_way - 1
        for _ in range(CUTS_OF_ONE_STATE):
            expect_synced(steps, wanted, state.after_power_cut(), synced)
    for number in range(synced + 1, reported + 1):
        wanted.update((sector, number) for sector, _ in steps.sectors(number))
    for _ in range(50):
        expect_synced(steps, wanted, state.after_power_cut(), reported)
    expect(STEPS // 2 <= reported and flushes >= reported, f"{reported} steps, {flushes} flushes")


@slow
@limit(400)
def test_flush_is_honoured(ctx):
    expect_flush_is_honoured(ctx, DISKS)


@slow
@limit(400)
def test_flush_is_honoured_direct(ctx):
    """The disk reads the guest's buffers itself."""
    expect_flush_is_honoured(ctx, DISKS.replace("<target dev='vda'/>", "<driver io='direct'/><target dev='vda'/>"))
