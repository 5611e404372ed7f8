"""./dev itself: what it says to mistakes, and that the image is what it claims to be."""

import os
import subprocess
import sys
import time

import archive
import image
import run as front
import vm
from harness import expect, expect_equal, limit, manual, slow

DEFINITION = "<domain><name>{}</name><os><kernel>k.bin</kernel></os><devices><interface>" \
    "<ip address='10.0.2.{}'/></interface></devices></domain>"


def dev(ctx, *arguments, **environment):
    done = subprocess.run([os.path.join(ctx.root, "dev"), *arguments], capture_output=True, text=True,
                          env=dict(os.environ, **environment), timeout=850)
    return done.returncode, done.stdout + done.stderr


def fake_build(ctx):
    """A build folder whose programs are random bytes."""
    for name in ("hv/hv.elf", "mgmt/init/init.bin", "mgmt/mgmt.bin", "guestlib/examples/k/k.bin"):
        ctx.write(f"build/{name}", ctx.random.randbytes(ctx.random.randrange(5000, 70000)))
    return ctx.path("build")


def test_help(ctx):
    status, said = dev(ctx)
    expect_equal(status, 0, "status")
    for command in "setup build run test bench image prove fmt lint clean".split():
        expect(f"./dev {command}" in said, f"help shows {command}")


def test_usage(ctx):
    ctx.write("guests/a.xml", DEFINITION.format("a", 5))
    os.mkdir(ctx.path("empty"))
    guests = ("--guests", ctx.path("guests"))
    for arguments, told in (
            (("nonsense",), "nonsense"),
            (("build", "--cc"), "--cc"),
            (("build", "--cc", "tcc"), "gcc or clang"),
            (("run", "--mem", "much"), "512M"),
            (("run", "--smp", "0"), "1 to 64"),
            (("run", "--firmware", "coreboot"), "firmware"),
            (("run", "--forward", "80"), "HOSTPORT:GUEST:PORT"),
            (("run", "--disk", ctx.path("none")), "no such file"),
            (("run", "--guests", ctx.path("none")), "no such folder"),
            (("run", "--guests", ctx.path("empty")), "no *.xml"),
            (("run", *guests, "--forward", "8123:b:80"), "no guest 'b'"),
            (("test", "no-such-test"), "--list")):
        status, said = dev(ctx, *arguments)
        expect_equal(status, 2, " ".join(arguments))
        expect(told in said, f"{' '.join(arguments)} says {told!r}: {said}")


def test_archive(ctx):
    """cpio unpacks what archive.newc packs, byte for byte."""
    files = {f"{'d/' * (n % 3)}file{n}": ctx.random.randbytes(ctx.random.randrange(9000)) for n in range(40)}
    path = ctx.write("a.cpio", archive.newc(files))
    os.mkdir(ctx.path("out"))
    subprocess.run(["cpio", "-idm", "--quiet", "-F", path], cwd=ctx.path("out"), check=True)
    expect_equal(archive.read_tree(ctx.path("out")), files, "files")
    expect_equal(archive.newc(dict(reversed(files.items()))), archive.newc(files), "order of insertion")


def test_boot_archive(ctx):
    """Definitions bring what they name: from their folder, else from the built examples."""
    build = fake_build(ctx)
    ctx.write("g/a.xml", DEFINITION.format("a", 5))
    ctx.write("g/broken.xml", "<domain>")
    ctx.write("g/disk.xml", "<domain><name>d</name><devices><disk><source volume='archive:o.bin'/></disk>"
              "</devices></domain>")
    ctx.write("build/guestlib/examples/o/o.bin", b"o")
    ctx.write("build/guestlib/examples/o/unnamed.bin", b"u")
    files = archive.boot_files(build, ctx.path("g"))
    expect_equal(sorted(files), ["a.xml", "broken.xml", "disk.xml", "k.bin", "mgmt.bin", "o.bin"], "files")
    ctx.write("g/k.bin", b"mine")
    expect_equal(archive.boot_files(build, ctx.path("g"))["k.bin"], b"mine", "the folder's own k.bin")
    expect_equal(front.guest_addresses(ctx.path("g")), {"a": "10.0.2.5", "d": None}, "addresses")


def test_image(ctx):
    """The same parts give the same image; its partitions hold what was put in."""
    build = fake_build(ctx)
    content = ctx.random.randbytes(3_000_000)
    boot = ctx.random.randbytes(80_000_000)  # more than the smallest ESP takes
    for name in ("one", "two"):
        image.make(build, ctx.path(name), boot, content, "console=ttyS0")
    subprocess.run(["cmp", ctx.path("one"), ctx.path("two")], check=True)
    table = subprocess.run(["sfdisk", "-d", ctx.path("one")], capture_output=True, text=True, check=True).stdout
    start = next(int(line.split("start=")[1].split(",")[0]) for line in table.splitlines() if 'name="webd"' in line)
    with open(ctx.path("one"), "rb") as handle:
        handle.seek(start * image.SECTOR)
        expect(handle.read(len(content)) == content, "webd's content is in its partition")
    for name, wanted in (("boot.cpio", boot), ("hv.elf", open(f"{build}/hv/hv.elf", "rb").read())):
        out = ctx.path(f"out-{name}")
        subprocess.run(["mcopy", "-i", f"{ctx.path('one')}@@1M", f"::/bulkhead/{name}", out], check=True,
                       env=dict(os.environ, MTOOLS_SKIP_CHECK="1"))
        expect(open(out, "rb").read() == wanted, f"{name} is in the ESP")


def test_posix(ctx):
    for script in ("dev", "subprojects/fetch-sources", "subprojects/build-newlib"):
        subprocess.run(["dash", "-n", os.path.join(ctx.root, script)], check=True)


def test_warm_setup(ctx):
    """A warm machine is left alone: no apt, nothing fetched, nothing built twice."""
    ctx.write("bin/apt-get", "#!/bin/sh\necho apt-get was called >&2\nexit 100\n")
    os.chmod(ctx.path("bin/apt-get"), 0o755)
    # Not `setup`, which wants what `lint` needs as well.
    status, said = dev(ctx, "test", "--list", PATH=f"{ctx.path('bin')}:{os.environ['PATH']}")
    expect_equal(status, 0, said)
    expect("[" not in said, f"no step was taken: {said}")


def test_setup_fails(ctx):
    """Offline, no room, another processor: what is wrong, what to do, status 6."""
    def broken(told, tool, script):
        path = ctx.write(f"{tool}/{tool}", "#!/bin/sh\n" + script)
        os.chmod(path, 0o755)
        status, said = dev(ctx, "test", "--list", BULKHEAD_DEPS=ctx.path(f"deps-{tool}"),
                           PATH=f"{ctx.path(tool)}:{os.environ['PATH']}")
        expect_equal(status, 6, said)
        expect(told in said, f"it says {told!r}: {said}")

    broken("is this machine online?", "apt-get", "echo Temporary failure resolving >&2; exit 100\n")
    broken("no room for third-party sources", "df", "echo Filesystem; echo x 1000 1000 1000 100% /\n")
    broken("this machine is riscv64", "uname", "echo riscv64\n")


def test_emulator_dies_with_its_test(ctx):
    """However the process that started an emulator ends, the emulator ends too."""
    script = "import os, vm; m = vm.VM(os.environ['FOLDER'], net=False).start(); " \
        "print(m.process.pid, flush=True); m.wait_exit(100)"
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True,
                             env=dict(os.environ, FOLDER=ctx.path("vm"), PYTHONPATH=f"{ctx.root}/test/tools"))
    emulator = int(child.stdout.readline())
    expect(os.path.exists(f"/proc/{emulator}"), "the emulator runs")
    child.kill()
    child.wait()
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/{emulator}") and time.monotonic() < deadline:
        time.sleep(0.05)
    expect(not os.path.exists(f"/proc/{emulator}"), "the emulator has ended")


def test_console(ctx):
    """The control socket, an emulator that cannot start, a machine that says nothing."""
    with vm.VM(ctx.path("vm"), net=False) as machine:
        expect("status" in machine.qmp("query-status"), "QMP answers")
        expect("CR3" in machine.hmp("info registers"), "the monitor answers")
        try:
            machine.wait_for("never", timeout=0.5)
            expect(False, "wait_for gives up")
        except vm.VMTimeout:
            pass
        machine.qmp("quit")
        expect_equal(machine.wait_exit(), "host-qmp-quit", "reason")
    try:
        with vm.VM(ctx.path("bad"), image=ctx.path("none"), net=False):
            expect(False, "an emulator without its disk does not start")
    except vm.VMExited as error:
        expect("none" in str(error), f"it says which file: {error}")


@manual
@limit(900)
def test_lint(ctx):
    """Layout, cppcheck, clang-tidy, shellcheck; and the tree builds with clang."""
    status, said = dev(ctx, "lint")
    expect_equal(status, 0, said)


@manual
@limit(3600)
def test_bare_root(ctx):
    """Both README commands on a bare Debian 12 root. Takes about half an hour; by name only."""
    subprocess.run([os.path.join(ctx.root, "test", "tools", "bare-root.sh"), ctx.path("root")], check=True)
