"""What becomes of an HVM guest that crashes, hangs, is asked to end: the action its definition names, with
a message that says what happened, and nobody else notices."""

import os

import linux
from guests import command, definition, guest, said, until_state
from harness import expect, expect_equal, limit, slow

BYSTANDER = definition("hello", arguments="--wait")
WATCHDOG = "<watchdog model='i6300esb' action='{}'/>"


def boot(ctx, files=None, kernel=None, **parts):
    return ctx.boot_pvh(guests=ctx.guests(hello=BYSTANDER, linux=linux.definition(**parts)),
                        files={**linux.files(ctx.root, kernel), **(files or {})})


def shell(vm):
    vm.wait_for(r"init: up", timeout=120)
    vm.send("console linux")
    vm.send("")
    vm.wait_for(r"/ # ", timeout=30)


def prompt(vm):
    vm.send_bytes(b"\x1d")
    vm.send("")
    vm.wait_for(r"^bulkhead> ", timeout=20)


def unharmed(vm):
    expect_equal((guest(vm, "hello")["state"], guest(vm, "hello")["starts"]), ("running", 1), "the bystander")


@slow
@limit(400)
def test_crashes(ctx):
    """A panic and a triple fault: noticed, with last words, and the guest starts again."""
    with boot(ctx, policy="<on_crash>restart</on_crash>", arguments="reboot=t") as vm:
        shell(vm)
        vm.send("echo c >/proc/sysrq-trigger")
        vm.wait_for(r"Kernel panic - not syncing: sysrq triggered crash", timeout=60)
        vm.wait_for(r"mgmt: guest linux crashed: its kernel panicked", timeout=60)
        vm.wait_for(r"linux: \| ", timeout=20)
        vm.wait_for(r"mgmt: guest linux ended: its kernel panicked", timeout=60)
        prompt(vm)
        shell(vm)
        vm.send("reboot -f")
        vm.wait_for(r"mgmt: guest linux crashed: triple fault", timeout=60)
        vm.wait_for(r"vmm: vCPU 0 stops: triple fault", timeout=20)
        vm.wait_for(r"mgmt: guest linux ended: triple fault", timeout=60)
        prompt(vm)
        until_state(vm, "linux", "running")
        expect_equal((guest(vm, "linux")["crashes"], guest(vm, "linux")["starts"]), (2, 3), "crashes, starts")
        unharmed(vm)


@slow
@limit(300)
def test_statistics(ctx):
    """`info` of a guest with two vCPUs: exits by reason, its VMM's memory, and zeroes when it is off."""
    with boot(ctx, vcpus=2) as vm:
        shell(vm)
        prompt(vm)
        info = command(vm, "info linux")
        expect_equal(len(info["vcpus"]), 2, "vCPUs")
        first, second = (vcpu["guest_exits"] for vcpu in info["vcpus"])
        expect(first["port"] > 1000 and first["cpuid"] > 10 and second["hlt"] > 0, f"exits: {first} {second}")
        expect_equal((first["shutdown"], second["invalid_state"]), (0, 0), "exits that end a guest")
        expect(0 < info["vmm_bytes"] < 4 << 20, f"VMM: {info['vmm_bytes']}")
        expect_equal(info["held_bytes"] - info["vmm_bytes"], info["memory_bytes"], "its RAM")
        expect_equal([d.get("source") for d in info["devices"] if d["class"] == "block"],
                     ["archive:vmlinuz", "archive:initrd.gz"], "its block devices")
        vm.send("info linux")
        vm.wait_for(r"vCPU 0: \d+\.\d+ s; exits: .*port \d+", timeout=20)
        command(vm, "destroy linux")
        until_state(vm, "linux", "off")
        info = command(vm, "info linux")
        expect_equal((info["vmm_bytes"], info["held_bytes"]), (0, 0), "what is held")
        expect(not any(sum(vcpu["guest_exits"].values()) for vcpu in info["vcpus"]), "nothing is counted")
        unharmed(vm)


@slow
@limit(300)
def test_power_button(ctx):
    """`shutdown` presses the power button; the guest's acpid, started by its /init, powers it off."""
    with boot(ctx) as vm:
        shell(vm)
        prompt(vm)
        vm.send("shutdown linux")
        vm.wait_for(r"mgmt: guest linux ended: exit status 0: power-off", timeout=60)
        expect_equal(guest(vm, "linux")["state"], "off", "the guest")
        unharmed(vm)


def watchdog_registers(vm):
    """Shell functions that do what i6300esb's driver does, which this kernel has not."""
    vm.send("cd /sys/bus/pci/devices/0000:00:1e.0; cat vendor device | tr '\\n' ' '; set -- $(head -1 resource); B=$1")
    vm.wait_for(r"0x8086 0x25ab", timeout=20)
    vm.send("open() { devmem $((B+12)) 16 0x80; devmem $((B+12)) 16 0x86; }")
    vm.send("stage() { open; devmem $((B+$1)) 32 $2; }; serve() { open; devmem $((B+12)) 16 0x100; }")
    vm.send("stage 0 0x1000; stage 4 0x1000")  # four seconds each
    vm.send("enable() { printf '\\002' | dd of=config bs=1 seek=104 conv=notrunc 2>/dev/null; }")


@slow
@limit(400)
def test_watchdog(ctx):
    """Served, it does nothing; unserved, it resets the guest after both stages."""
    with boot(ctx, devices=WATCHDOG.format("reset")) as vm:
        shell(vm)
        watchdog_registers(vm)
        vm.send("enable; for i in $(seq 12); do sleep 1; serve; done; echo ser''ved")
        vm.wait_for(r"served", timeout=60)
        vm.wait_for(r"mgmt: guest linux ended: its watchdog was not served", timeout=60)
        prompt(vm)
        vm.wait_for(r"init: up", timeout=120)
        expect_equal((guest(vm, "linux")["starts"], guest(vm, "linux")["crashes"]), (2, 0), "starts, crashes")
        unharmed(vm)


def test_crash_of_the_vmm(ctx):
    """A VMM that faults: its guest's crash, and nobody else's."""
    with open(os.path.join(ctx.build, "test", "guest", "hostile", "hostile-life.bin"), "rb") as program:
        files = {"vmm.bin": program.read()}
    with boot(ctx, files, policy="<on_crash>preserve</on_crash>", arguments="odd-state") as vm:
        vm.wait_for(r"mgmt: guest linux crashed: its VMM, vCPU 0: fault 6, error 0", timeout=60)
        vm.wait_for(r"mgmt: guest linux kept as it is: its VMM, vCPU 0: fault 6", timeout=20)
        expect_equal(guest(vm, "linux")["state"], "crashed", "the guest")
        unharmed(vm)
        command(vm, "destroy linux")
        until_state(vm, "linux", "off")
        vm.poweroff()


BROKEN = {
    "text": ("text", "initrd.gz", 64, r"the kernel is neither a bzImage nor an ELF file; name one in <kernel>"),
    "short": ("half", "initrd.gz", 64, r"the kernel is shorter than its header says; put the whole file into"),
    "small": ("vmlinuz", "initrd.gz", 24, r"the kernel does not fit into the guest's memory; raise <memory>"),
    "full": ("vmlinuz", "large", 72, r"the initrd does not fit into the guest's memory; raise <memory>"),
}


@limit(200)
def test_kernels_that_cannot_be_loaded(ctx):
    """Each is told with what is wrong and what to do, and costs its own guest alone."""
    kernel = linux.read(ctx.root, "vmlinuz")
    files = {"text": b"console=ttyS0\n" * 1000, "half": kernel[:len(kernel) // 2], "vmlinuz": kernel,
             "large": bytes(64 << 20), "initrd.gz": linux.initramfs(ctx.root)}
    guests = {name: linux.definition(name=name, memory=memory, kernel=image).replace("initrd.gz", initrd)
              for name, (image, initrd, memory, _) in BROKEN.items()}
    with ctx.boot_pvh(guests=ctx.guests(hello=BYSTANDER, **guests), files=files) as vm:
        for name, (*_, message) in BROKEN.items():
            said(vm, rf"{name}: vmm: {message}", timeout=60)
            said(vm, rf"mgmt: guest {name} ended: exit status 1", timeout=60)
        unharmed(vm)
        vm.poweroff()
