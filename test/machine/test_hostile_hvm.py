"""HVM guests that mean harm (test/guest/hvm/hostile), each with a VMM of its own, beside a PV guest that does
not: webd has to go on serving, mgmt and hv to live, all memory to come back. Each attack is a guest of its own.
A VMM dies of none of them, but for what ends its guest: then it says why, once."""

import os
import re
import time

from guests import until
from harness import expect, expect_equal, limit
from hostile import Host, disk, interface

ATTACKS = {
    "ports": "read-all write-all write-devices strings endless uart-nonsense pit-1 rtc fw-cfg",
    "processor": "msrs-read msrs-written msr-values xcr0 cpuid-leaves instructions single-steps",
    "memory": "forms random-accesses lapic-page edges changing-code",
    "interrupts": "timer-storm deadline-storm timer-nonsense self-storm all-vectors nmi-storm all-commands "
                  "stuck-pins ioapic-nonsense lvt-nonsense",
}
TRIPLE_FAULT = r"triple fault"
NO_MEMORY = r"it ran, kept page tables or handled an interrupt where there is no memory"
ENDS = {
    "ends": {"no-gates": TRIPLE_FAULT, "no-pages": TRIPLE_FAULT, "no-stack": TRIPLE_FAULT,
             "bad-segments": TRIPLE_FAULT, "bad-gate": TRIPLE_FAULT},
    "memory": {"fetch": NO_MEMORY, "page-tables": NO_MEMORY, "stack": NO_MEMORY, "descriptor-table": NO_MEMORY},
}
NEVER_END = {"ends": "deaf deaf-with-timer loops faults-for-ever exits-for-ever"}


def definition(attack, kernel, devices="", memory=4, more=""):
    return f"""<domain type='bulkhead'><name>{attack}</name><memory unit='MiB'>{memory}</memory>
<os><type>hvm</type><kernel>hostile-{kernel}.elf</kernel><cmdline>{attack}</cmdline></os>{more}
<bulkhead autostart='no'/><devices><console/>{devices}</devices></domain>"""


def host(ctx, attacks, **options):
    """attacks: name of an attack to its kernel, or to a definition."""
    files = options.pop("files", {})
    guests = {}
    for name, kernel in attacks.items():
        guests[name] = kernel if kernel.startswith("<") else definition(name, kernel)
    for kernel in re.findall(r"<kernel>(hostile-\w+\.elf)<", "".join(guests.values())):
        with open(os.path.join(ctx.build, "test", "guest", "hvm", "hostile", kernel), "rb") as program:
            files[kernel] = program.read()
    return Host(ctx, guests, files=files, **options)


def names(attacks):
    """{kernel: "a b"} as {a: kernel, b: kernel}."""
    return {name: kernel for kernel, listed in attacks.items() for name in listed.split()}


def fail_together(ctx, kernel, **options):
    """All attacks of a kernel at once; each has to find what the PC promises."""
    attacks = names({kernel: ATTACKS[kernel]})
    with host(ctx, attacks, **options) as all_of_them:
        all_of_them.start(*attacks)
        slowest = all_of_them.wait_off(*attacks, timeout=150)
        print(f"slowest page: {slowest:.2f} s")
        for name in attacks:
            all_of_them.expect_attempts(name, name)
            expect(f"mgmt: guest {name} ended: exit status 0" in all_of_them.vm.text, f"{name} powers off")
        all_of_them.expect_unharmed()
        return all_of_them.vm.text


@limit(240)
def test_ports(ctx):
    """Every port in every width, string instructions of all kinds, timers at their fastest."""
    fail_together(ctx, "ports")


@limit(240)
def test_processor(ctx):
    """Every MSR and CPUID leaf of the known ranges and random ones; instructions that are the host's."""
    fail_together(ctx, "processor")


@limit(240)
def test_memory(ctx):
    """Instructions of all forms on device memory, accesses everywhere, code that is not what it was."""
    text = fail_together(ctx, "memory")
    refused = re.findall(r"^(?:.*\x1b\[K)?forms: vmm: instruction .* is not known", text, re.M)
    expect_equal(len(refused), 1, "an instruction that the VMM does not know is logged once")


@limit(240)
def test_interrupts(ctx):
    """Storms of timers, IPIs and NMIs, pins stuck, nonsense in every register."""
    fail_together(ctx, "interrupts")


VIRTIO = "loops-of-descriptors bad-addresses bad-chains bad-indices bad-rings reconfigured messages configuration"


@limit(240)
def test_virtio_direct(ctx):
    """The same, with disks that read and write the guest's memory themselves."""
    device = disk("vda", "disk:1", "<driver io='direct'/><readonly/>")
    attacks = {name: definition(name, "virtio", device) for name in VIRTIO.split()}
    with host(ctx, attacks, disks=[f"format=raw,file={ctx.write('other', os.urandom(1 << 20))}"]) as driven:
        driven.start(*attacks)
        driven.wait_off(*attacks, timeout=100)
        for name in attacks:
            driven.expect_attempts(name, name)
        driven.expect_unharmed()


@limit(240)
def test_direct_in_the_vmms_place(ctx):
    """A program in a VMM's place asks its guest's disk for memory that is not its guest's."""
    device = disk("vda", "disk:1", "<driver io='direct'/>")
    with open(os.path.join(ctx.build, "test", "guest", "hostile", "hostile-vmm.bin"), "rb") as program:
        files = {"vmm.bin": program.read()}
    with host(ctx, {"direct": definition("direct", "ends", device)}, files=files,
              disks=[f"format=raw,file={ctx.write('other', bytes([0x5a]) * (1 << 20))}"]) as asked:
        asked.start("direct")
        asked.wait_off("direct")
        asked.expect_attempts("direct", "direct")
        asked.expect_unharmed()


@limit(240)
def test_virtio(ctx):
    """Queues of disks, network cards and random numbers as no driver may use them, and PCI configuration space."""
    attacks = {name: definition(name, "virtio", disk("vda", "archive:file", "<transient/>") + interface(16 + number))
               for number, name in enumerate(VIRTIO.split())}
    with host(ctx, attacks, files={"file": os.urandom(1 << 20)}) as driven:
        driven.start(*attacks)
        driven.wait_off(*attacks, timeout=100)
        for name in attacks:
            driven.expect_attempts(name, name)
        driven.expect_unharmed()


NET = "forged-frames headers receive-rings small-buffers moved"


def sources(capture):
    """The Ethernet sources of a capture's frames (pcap, as the emulator writes it)."""
    with open(capture, "rb") as handle:
        data = handle.read()
    at, found = 24, set()
    while at + 16 <= len(data):
        length = int.from_bytes(data[at + 8:at + 12], "little")
        found.add(data[at + 22:at + 28].hex(":"))
        at += 16 + length
    return found


@limit(240)
def test_net(ctx):
    """A network card's queues and headers, as no driver may use them; what leaves the host has its guest's address."""
    attacks = {name: definition(name, "net", interface(16 + number))
               for number, name in enumerate(("flood " + NET).split())}
    capture = ctx.path("frames")
    record = ("-object", f"filter-dump,id=record,netdev=net0,file={capture}")
    with host(ctx, attacks, extra=record) as driven:
        driven.start(*attacks)
        driven.wait_off(*attacks, timeout=150)
        for name in attacks:
            driven.expect_attempts(name, name)
        driven.expect_unharmed()
        seen = sources(capture)
    expect("52:54:00:66:00:11" in seen, f"its own frames leave: {seen}")
    expect(not any(source.startswith("02:de:ad") for source in seen), f"forged ones do not: {seen}")


@limit(240)
def test_net_alone(ctx):
    """Without an uplink: then everything about offloads is offered."""
    attacks = {"headers": definition("headers", "net", interface(1))}
    with host(ctx, attacks, net=False) as driven:
        driven.start(*attacks)
        driven.wait_off(*attacks, timeout=150)
        driven.expect_attempts("headers", "headers")
        driven.expect_unharmed()


@limit(240)
def test_in_the_vmms_place(ctx):
    """A program that means harm, with exactly what a VMM holds, of each kind of device and of several vCPUs."""
    attempts = ("captable", "states", "beyond-guest")
    devices = disk("vda", "disk:1", "<driver io='direct'/>") + interface(16) + "<watchdog model='i6300esb'/>"
    with open(os.path.join(ctx.build, "test", "guest", "hostile", "hostile-vmm.bin"), "rb") as program:
        files = {"vmm.bin": program.read()}
    guests = {name: definition(name, "ends") for name in attempts}
    guests["captable"] = definition("captable", "ends", devices, more="<vcpu>4</vcpu>")
    with host(ctx, guests, files=files,
              disks=[f"format=raw,file={ctx.write('other', bytes(1 << 20))}"]) as vmms:
        vmms.start(*attempts)
        vmms.wait_off(*attempts, timeout=100)
        for name in attempts[:2]:
            vmms.expect_attempts(name, name)
        expect(re.search(r"mgmt: guest beyond-guest crashed: its VMM, vCPU 0: fault 14,", vmms.vm.text), "its RAM has an end")
        vmms.expect_unharmed()


@limit(240)
def test_common_text(ctx):
    """Programs that mean harm in the VMMs' place write to the text and constants that all VMMs share: each of them
    faults, the next one finds everything as it was, and one that did nothing notices nothing."""
    attempts = ("writes-text", "writes-text-again", "writes-constants", "writes-constants-again")
    with open(os.path.join(ctx.build, "test", "guest", "hostile", "hostile-vmm.bin"), "rb") as program:
        files = {"vmm.bin": program.read()}
    crash_report = "<bulkhead autostart='no' crashreport='yes'/>"
    guests = {name: definition(name, "ends").replace("<bulkhead autostart='no'/>", crash_report) for name in attempts}
    with host(ctx, {**guests, "stays": "ends"}, files=files) as vmms:
        vmms.start("stays")
        faults = []
        for name in attempts:
            vmms.start(name)
            vmms.wait_off(name)
            faults.append(re.search(rf"mgmt: guest {name} crashed: its VMM, vCPU 0: (fault 14, error 7, address \w+)",
                                    vmms.vm.text))
            expect(faults[-1], f"{name} faults by writing to a page that is there:\n{vmms.vm.tail(20)}")
        whats = [fault.group(1) for fault in faults]
        expect(whats[0] == whats[1] != whats[2] == whats[3], f"the same again at the same place: {whats}")
        expect_equal(vmms.states()["stays"]["state"], "running", "who did nothing")
        expect(vmms.vm.json("destroy stays")["ok"], "it can be destroyed")
        vmms.wait_off("stays")
        vmms.expect_unharmed()


@limit(240)
def test_ipi_storm(ctx):
    """Four vCPUs that interrupt each other without end; and one that says when another's interrupts end."""
    attacks = {name: definition(name, "interrupts", more="<vcpu>4</vcpu>") for name in ("ipi-storm", "end-bits")}
    with host(ctx, attacks) as storm:
        storm.start(*attacks)
        slowest = storm.wait_off(*attacks, timeout=100)
        print(f"slowest page: {slowest:.2f} s")
        for name in attacks:
            storm.expect_attempts(name, name)
        storm.expect_unharmed()


@limit(240)
def test_races(ctx):
    """vCPUs that change an instruction or page tables while another one's access is emulated, change modes, and
    reset each other."""
    attacks = {name: definition(name, "races", more="<vcpu>4</vcpu>")
               for name in ("rewritten", "remapped", "toggles", "init-storm", "five-levels")}
    with host(ctx, attacks) as racing:
        racing.start(*attacks)
        racing.wait_off(*attacks, timeout=150)
        said = racing.said("five-levels")
        expect("five-levels ok" in said or any("the processor refuses its state" in line for line in said), f"{said}")
        for name in list(attacks)[:-1]:
            racing.expect_attempts(name, name)
        expect("crashed: its VMM" not in racing.vm.text, "no VMM faults")
        racing.expect_unharmed()


@limit(120)
def test_leftovers(ctx):
    """A guest finds nothing of those that had its memory before."""
    planting = {f"planter{number}": definition(f"planter{number}", "memory").replace(
        f"<cmdline>planter{number}<", "<cmdline>plant-marks<") for number in range(4)}
    with host(ctx, planting | {"find-marks": "memory"}) as guests:
        guests.start(*planting)
        guests.wait_off(*planting)
        for name in planting:
            guests.expect_attempts(name, "plant-marks")
        for _ in range(3):
            guests.start("find-marks")
            guests.wait_off("find-marks")
        expect_equal(guests.said("find-marks").count("find-marks ok"), 3, "looks that found nothing")
        guests.expect_unharmed()


@limit(240)
def test_ends(ctx):
    """Triple faults by each route, and code, stacks and tables where no memory is: the guest ends alone, and its
    VMM says why in three lines."""
    wanted = {name: why for ends in ENDS.values() for name, why in ends.items()}
    attacks = {name: kernel for kernel, ends in ENDS.items() for name in ends}
    attacks |= {"real-mode": "ends", "power": "ports"}
    with host(ctx, attacks) as both:
        both.start(*attacks)
        both.wait_off(*attacks, timeout=100)
        for name, why in wanted.items():
            said = "\n".join(both.said(name))
            expect_equal(len(re.findall(rf"^vmm: vCPU 0 stops: {why}", said, re.M)), 1, f"{name} is told:\n{said}")
            last_words = "triple fault" if why == TRIPLE_FAULT else "exit status 1"
            expect(f"mgmt: guest {name} ended: {last_words}" in both.vm.text, f"{name} ends as a crash")
        expect_equal(both.said("real-mode")[1:], ["R", "U"], "real mode")
        both.expect_attempts("power", "power")
        both.expect_unharmed()


@limit(240)
def test_never_end(ctx):
    """Guests that are silent, or busy, for ever: they can be destroyed, and hold nobody up."""
    attacks = names(NEVER_END)
    with host(ctx, attacks) as silent:
        silent.start(*attacks)
        for name in attacks:
            until(lambda: any("begins" in line for line in silent.said(name)), f"{name} runs", 60)
        time.sleep(2)  # of being silent, or busy
        page = silent.page()
        print(f"page beside {len(attacks)} of them: {page:.2f} s")
        for name in attacks:
            expect(not any("FAILED" in line for line in silent.said(name)), f"{name}: {silent.said(name)}")
            expect_equal(silent.states()[name]["state"], "running", name)
            expect(silent.vm.json(f"destroy {name}")["ok"], f"{name} can be destroyed")
        silent.wait_off(*attacks)
        silent.expect_unharmed()


@limit(240)
def test_resets_for_ever(ctx):
    """Guests that reset their machine at once, by its port and by INIT to themselves: started again five times a
    minute, then they stay off."""
    attacks = {"resets": "ends", "init-self": "interrupts"}
    with host(ctx, attacks) as resetting:
        resetting.start(*attacks)
        resetting.wait_off(*attacks, timeout=60)
        for name in attacks:
            expect_equal(resetting.vm.text.count(f"mgmt: guest {name}: started again 5 times within a minute; it "
                                                 "stays off"), 1, f"{name} stays off")
            expect_equal(resetting.states()[name]["starts"], 6, f"starts of {name}")
        resetting.expect_unharmed()


@limit(240)
def test_uart_flood(ctx):
    """A serial port that never stops: the log is bounded, the host's console answers."""
    with host(ctx, {"uart-flood": "ports"}) as flooded:
        flooded.start("uart-flood")
        begun = time.monotonic()
        while flooded.states()["uart-flood"]["state"] != "off" and time.monotonic() < begun + 200:
            flooded.page()
        flooded.wait_off("uart-flood")
        flooded.expect_attempts("uart-flood", "uart-flood")
        lines, took = len(flooded.said("uart-flood")), time.monotonic() - begun
        print(f"{lines} lines of it in the log, in {took:.0f} s")
        expect(lines < 150 * (took + 2), f"{lines} lines in {took:.0f} s; 50 in each of the host's seconds are logged")
        flooded.expect_unharmed()
