"""What a machine test sees. A test is a function test_*(ctx) in test/machine/test_*.py; it passes
when it returns. Its name is FILE.FUNCTION without the two "test_". An example:

    from harness import expect, slow, limit

    @slow                # left out by ./dev test --fast: needs more than about 20 s
    @limit(300)          # seconds until it is killed and has failed, 120 unless said; PATIENCE (vm.py) times that
    def test_uefi(ctx):
        with ctx.boot(firmware="uefi") as vm:
            vm.wait_for(r"^mgmt: ready", timeout=60)
            expect("webd" in str(vm.json("list")), "webd is in the list")
            vm.poweroff()

More marks: @emulators(2), it runs two emulators at a time; @soak, a long run, only with --soak or when it is
named; @manual, only when it is named.
"""

import os
import random

import archive
import image as images
import vm as machine


class Skipped(Exception):
    """The test could not be made here; counts as failed, with the reason."""


def slow(function):
    function.slow = True
    return function


def manual(function):
    function.manual = True
    return function


def soak(function):
    function.soak = True
    return function


def limit(seconds):
    def mark(function):
        function.limit = seconds
        return function
    return mark


def emulators(number):
    def mark(function):
        function.emulators = number
        return function
    return mark


def expect(condition, what):
    """assert that says what was expected, and survives python -O."""
    if not condition:
        raise AssertionError(what)


def expect_equal(found, wanted, what="value"):
    if found != wanted:
        raise AssertionError(f"{what}: found {found!r}, wanted {wanted!r}")


class Context:
    """build: the build folder. root: the repository. temp: a folder of this test's own, with a short
    name. seed: printed by the runner, repeated with --seed. random: a generator seeded with it."""

    def __init__(self, root, build, temp, seed):
        self.root, self.build, self.temp, self.seed = root, build, temp, seed
        self.random = random.Random(seed)
        self.machines = 0

    def path(self, *parts):
        return os.path.join(self.temp, *parts)

    def write(self, name, data):
        """A file in the temporary folder; text or bytes. Returns its path."""
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as handle:
            handle.write(data.encode() if isinstance(data, str) else data)
        return path

    def guests(self, **definitions):
        """A definitions folder: guests(a="<domain>...", b=...) makes a.xml and b.xml."""
        for name, text in definitions.items():
            self.write(f"guests-{self.machines}/{name}.xml", text)
        return self.path(f"guests-{self.machines}")

    def demo(self):
        """The demo's PV guests: Linux beside them would take seconds of every test."""
        files = archive.read_tree(images.DEMO)
        return self.guests(**{name[:-len(".xml")]: files[name] for name in files if b"<type>pv</type>" in files[name]})

    def image(self, guests=images.DEMO, content=None, cmdline="", files=None):
        """A disk image. guests: a definitions folder, None for no guest; of the demo only its PV guests.
        content: what the partition `webd` holds, by default the demo's. files: more boot files, name to
        bytes."""
        guests = self.demo() if guests == images.DEMO else guests
        self.machines += 1
        out = self.path(f"image-{self.machines}")
        images.make(self.build, out, archive.boot_archive(self.build, guests, files),
                   images.webd_content() if content is None else content, cmdline)
        return out

    def boot(self, guests=images.DEMO, content=None, cmdline="", files=None, **options):
        """A machine that boots the image through GRUB; `options` are vm.VM's. Start it with `with`."""
        disk = self.image(guests, content, cmdline, files)
        return machine.VM(self.path(f"vm-{self.machines}"), image=disk, **options)

    def boot_pvh(self, guests=None, content=None, cmdline="", files=None, disk=False, **options):
        """The same without firmware and GRUB, by hv's PVH note: starts in a fraction of a second.
        With `disk` the image is there as well, as the first disk."""
        guests = self.demo() if guests == images.DEMO else guests
        disk = self.image(guests, content, cmdline, files) if disk else None
        self.machines += 1
        module = machine.pvh_module(os.path.join(self.build, "mgmt", "init", "init.bin"),
                                    archive.boot_archive(self.build, guests, files),
                                    self.path(f"module-{self.machines}"))
        return machine.VM(self.path(f"vm-{self.machines}"), image=disk, module=module, cmdline=cmdline,
                          kernel=os.path.join(self.build, "hv", "hv.elf"), **options)

    def skip(self, reason):
        raise Skipped(reason)
