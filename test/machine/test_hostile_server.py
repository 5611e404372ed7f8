"""A mgmt that lies to the guests it serves (test/guest/hostile/liar.c): each guest has its own lie about its devices
of one class, and uses all of them (victim.c). None may fault, none may find its own memory changed; what it is not
lied to about goes on."""

import os
import re

from guests import until
from harness import expect, limit, slow
from hostile import Host, definition, disk, interface

CLASSES = ("block", "net", "console", "control")
LIES = ("twice", "unasked", "ahead", "backwards", "taken", "values", "statuses", "generations", "silence",
        "garbage", "window", "storm", "information")
EARLY = ("values", "silence", "garbage")
BATCH = 20
# What becomes of a disk's requests.
NOTICED = dict.fromkeys(("twice", "unasked", "ahead", "backwards"), "disconnected") | \
    dict.fromkeys(("values", "statuses"), "refused")


def program(ctx, *path):
    with open(os.path.join(ctx.build, "test", "guest", *path), "rb") as handle:
        return handle.read()


def victims():
    """Names of guests, each with the class it is lied to about."""
    lies = [*LIES, *(f"early-{{}}-{lie}" for lie in EARLY)]
    names = {(lie if "{" in lie else "{}-" + lie).format(kind): kind for kind in CLASSES for lie in lies}
    return names | {"console-typing": "console"}


def run_batch(host, names):
    host.start(*names)
    deaf = [name for name, kind in names.items() if kind == "control"]
    host.wait_off(*(name for name in names if name not in deaf), timeout=60)
    for name in deaf:
        until(lambda: any(line.startswith("victim ") for line in host.said(name)), f"{name} comes to its end", 60)
        host.vm.json(f"destroy {name}")
    host.wait_off(*deaf)


def expect_unimpressed(host, name, kind):
    said = host.said(name)
    expect(f"mgmt: guest {name} crashed" not in host.vm.text, f"{name} does not fault:\n" + "\n".join(said[-10:]))
    expect(not any("FAILED" in line for line in said), f"{name}: {said[-10:]}")
    if kind == "console":  # what it says there may be lost
        expect(f"mgmt: guest {name} ended: exit status 0" in host.vm.text, f"{name} ends well")
    else:
        expect("victim ok" in said, f"{name} finds all well: {said[-10:]}")


@slow
@limit(240)
def test_pv(ctx):
    """PV guests: each ends well, or, where that is what it is lied to about, is there until it is destroyed."""
    names = victims()
    devices = disk("vda", "archive:file", "<transient/>")
    guests = {name: definition(name, "victim", kind, devices + interface(10 + number))
              for number, (name, kind) in enumerate(names.items())}
    files = {"mgmt.bin": program(ctx, "hostile", "hostile-liar.bin"),
             "victim.bin": program(ctx, "hostile", "hostile-victim.bin"), "file": os.urandom(1 << 16)}
    with Host(ctx, guests, files=files, net=False) as host:
        for first in range(0, len(names), BATCH):
            run_batch(host, {name: names[name] for name in list(names)[first:first + BATCH]})
        for name, kind in names.items():
            expect_unimpressed(host, name, kind)
        for lie, noticed in NOTICED.items():
            said = "\n".join(host.said(f"block-{lie}"))
            expect(re.search(rf"^requests: .*{noticed} [1-9]", said, re.M), f"{lie} is told, and noticed:\n{said}")
        host.expect_unharmed()


@limit(120)
def test_stack(ctx):
    """TCP/IP on a network card of which everything may be a lie, while another guest sends to all."""
    names = [f"echo-net-{lie}" for lie in LIES]
    guests = {name: definition(name, "echo", devices=interface(10 + number), memory=4)
              for number, name in enumerate(names)}
    devices = disk("vda", "archive:file", "<transient/>") + interface(9)
    guests["sender"] = definition("sender", "victim", devices=devices)
    files = {"mgmt.bin": program(ctx, "hostile", "hostile-liar.bin"),
             "victim.bin": program(ctx, "hostile", "hostile-victim.bin"), "file": os.urandom(1 << 16)}
    with Host(ctx, guests, files=files, net=False) as host:
        host.start(*names)
        for _ in range(2):
            host.start("sender")
            host.wait_off("sender", timeout=40)
        expect("victim ok" in host.said("sender"), "the sender is served honestly")
        states = host.states()
        card = next(device for device in host.vm.json("info echo-net-window")["devices"] if device["class"] == "net")
        expect(card["received"] > 10, f"frames come: {card}")
        for name in names:
            expect(states[name]["state"] == "running", f"{name} goes on: {states[name]}\n{host.said(name)}")
            expect(host.vm.json(f"destroy {name}")["ok"], name)
        host.wait_off(*names)
        host.expect_unharmed()


# These wait for their disk, which does not answer; and one hears of a new server so often that it does little else.
WAITING = ("vm-block-silence", "vm-early-block-silence", "vm-block-information", "vm-console-generations")
VM_LIES = ("twice", "ahead", "taken", "values", "statuses", "generations", "silence", "garbage", "window",
           "information")


def vm(name, number, kernel, attack):
    return f"""<domain type='bulkhead'><name>{name}</name><memory unit='MiB'>4</memory>
<os><type>hvm</type><kernel>hostile-{kernel}.elf</kernel><cmdline>{attack}</cmdline></os>
<bulkhead autostart='no'/><devices><console/>{disk("vda", "archive:file", "<transient/>")}{interface(number)}
</devices></domain>"""


@slow
@limit(240)
def test_vmm(ctx):
    """VMMs, whose guests drive their disks and network cards meanwhile: none faults, none writes to its guest's
    memory beside what the guest asked for; each goes on, or waits for who does not answer."""
    names = {f"vm-{kind}-{lie}": ("virtio", "traffic") for kind in CLASSES for lie in VM_LIES}
    names |= {f"vm-early-{kind}-{lie}": ("virtio", "traffic") for kind in CLASSES for lie in EARLY}
    names |= {f"vm-listen-net-{lie}": ("net", "listen") for lie in VM_LIES}
    guests = {name: vm(name, 10 + number, *kernel) for number, (name, kernel) in enumerate(names.items())}
    files = {"mgmt.bin": program(ctx, "hostile", "hostile-liar.bin"), "file": os.urandom(1 << 16)}
    for kernel in ("virtio", "net"):
        files[f"hostile-{kernel}.elf"] = program(ctx, "hvm", "hostile", f"hostile-{kernel}.elf")
    with Host(ctx, guests, files=files, net=False) as host:
        for first in range(0, len(names), BATCH):
            run_vms(host, list(names)[first:first + BATCH])
        good = [name for name in names if "console" in name or any(line.endswith(" ok") for line in host.said(name))]
        for name in names:
            said = host.said(name)
            expect(f"mgmt: guest {name} crashed: its VMM" not in host.vm.text, f"{name}:\n" + "\n".join(said[-10:]))
            expect(not any("FAILED" in line for line in said), f"{name}: {said[-10:]}")
            expect(name in (*good, *WAITING), f"{name} went on: {said[-10:]}")
        host.expect_unharmed()


def run_vms(host, names):
    """Until each has ended or, where nobody hears of its end, has come to it."""
    host.start(*names)
    def at_work():
        return [name for name, state in host.states().items() if name in names and name not in WAITING
                and state["state"] != "off" and not any(line.endswith(" ok") for line in host.said(name))]
    until(lambda: not at_work(), "all have come to their end", 60, pause=0.5)
    for name in names:
        host.vm.json(f"destroy {name}")
    host.wait_off(*names)
