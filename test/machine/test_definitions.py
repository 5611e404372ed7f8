"""Definitions that are wrong: a line that says where, what and what to do; and the other guests start."""

import os
import re

import archive
import vm as machine
from guests import (LINE, command, definition, disk, forward, get, guest, net, ready, until_state, web)
from harness import expect, expect_equal


def refused(vm, pattern):
    said = "\n".join(re.findall(r"mgmt: guests/.*", vm.text))
    expect(re.search(LINE + "mgmt: " + pattern, vm.text, re.M), f"it says {pattern!r}: {said}")


# What stands in the definition's place, or what is replaced in a good one; the message behind
# "guests/NAME.xml:".
GOOD = definition("x", memory="2")
NOT_XML = {
    "empty": ("", r"1: not well-formed XML: no element found; "),
    "text": ("hello\n", r"1: not well-formed XML: "),
    "open": ("<domain type='bulkhead'>\n<name>x\n", r"3: not well-formed XML: "),
    "crossed": ("<domain type='bulkhead'>\n<name></domain></name>", r"2: not well-formed XML: mismatched tag; "),
    "binary": (bytes(range(256)), r"1: not well-formed XML: "),
    "nul": (GOOD.replace("hello", "hel\0lo"), r"4: not well-formed XML: "),
    "entity": (GOOD.replace("hello.bin", "&x;"), r"4: not well-formed XML: undefined entity; "),
    "bomb": ('<?xml version="1.0"?>\n<!DOCTYPE domain [\n<!ENTITY a "aaaaaaaaaaaaaaaa">\n' + "".join(
        f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 16}">\n' for n in range(10)) +
        "]>\n<domain type='bulkhead'><name>&k;</name></domain>", r"2: <!DOCTYPE domain>: document types are refused"),
    "external": ('<!DOCTYPE domain SYSTEM "file:///etc/passwd">\n' + GOOD, r"1: <!DOCTYPE domain>: "),
    "large": (GOOD + "<!--" + "x" * (1 << 20) + "-->", r"1: \d{7} bytes long; a definition has at most 65536"),
    "deep": ("<domain type='bulkhead'>" + "\n<a>" * 10000, r"2: <a>: not known in <domain>; "),
    "nested": ("<domain type='bulkhead'>" * 9, r"1: <domain>: not known in <domain>; "),
    "wide": ("<domain type='bulkhead' " + " ".join(f"a{n}='x'" for n in range(3000)) + "/>", r"1: <domain>: attribute"),
    "other": ("<network/>", r"1: <network>: not known as the outermost element; "),
}
CHANGED = {
    "element": ("<devices>", "<emulator/><devices>", r"6: <emulator>: not known in <domain>; remove it"),
    "attribute": ("<name>", "<name lang='en'>", r"2: <name>: attribute 'lang' is not known; remove it"),
    "type": ("'bulkhead'", "'kvm'", r"1: <domain>: 'kvm' is not valid; use type='bulkhead'"),
    "unit": ("'MiB'", "'furlongs'", r"3: <memory>: 'furlong.?' is not valid; the unit is"),
    "memory": (">2<", ">two<", r"3: <memory>: 'two' is not valid; "),
    "negative": (">2<", ">-2<", r"3: <memory>: '-2' is not valid; "),
    "overflow": (">2<", ">18446744073709551615<", r"3: <memory>: '18446744073709551615' is not valid; "),
    "name": ("<name>x", "<name>../x y", r"2: <name>: '\.\./x y' is not valid; use letters"),
    "noname": ("<name>x</name>", "", r"1: <domain>: <name> is missing; add it"),
    "longname": ("<name>x", "<name>" + "x" * 400, r"2: <name>: "),
    "twice": ("<os>", "<memory>4096</memory>\n<os>", r"4: <memory>: stands twice; remove one"),
    "path": ("hello.bin", "../../hello.bin", r"4: <kernel>: '\.\./\.\./hello.bin' is not valid; "),
    "xen": (">pv<", ">xen<", r"4: <type>: 'xen' is not valid; use pv or hvm"),
    "gone": ("hello.bin", "gone.bin", r"4: <kernel>: gone.bin: no such file in the boot archive; "),
    "damaged": ("hello.bin", "damaged.bin", r"4: <kernel>: damaged.bin: "),
    "short": ("hello.bin", "short.bin", r"4: <kernel>: short.bin: "),
    "noise": ("hello.bin", "noise.bin", r"4: <kernel>: noise.bin: "),
    "greedy": (">2<", ">9216<", r"3: memory 9 GiB: host has [\d.]+ [MG]iB free; lower <memory> or --mem"),
    "volume": ("<console/>", disk("partition:nowhere"), r"7: <disk>: nowhere: there is no partition of this name"),
    "disk": ("<console/>", disk("disk:7"), r"7: <disk>: 7: there is no such disk"),
    "file": ("<console/>", disk("archive:nothing"), r"7: <disk>: nothing: the boot archive has no such file"),
    "writer": ("<console/>", disk("archive:hello.bin", ""), r"\d+: <disk>: a file of the boot archive cannot be written"),
    "multicast": ("<console/>", net(0x77).replace("52:54", "53:54"), r"\d+: <mac>: .* is not valid; "),
    "mactwice": ("<console/>", net(0x60) + "\n" + net(0x60, address="10.0.2.61"),
                 r"\d+: <interface>: guest mactwice has the same MAC address"),
}


def test_each(ctx):
    """All kinds of wrong definitions at once: one message each, and the good ones beside them start."""
    with open(archive.examples(ctx.build)["hello.bin"], "rb") as handle:
        program = handle.read()
    files = {"damaged.bin": b"\xff" + program[1:], "short.bin": program[:-5000], "noise.bin": ctx.random.randbytes(9000)}
    folder = ctx.guests(aaa=definition("aaa"), webd=web(), zzz=definition("zzz"))
    wanted = {}
    for name, (text, message) in NOT_XML.items():
        files[f"{name}.xml"] = text if isinstance(text, bytes) else text.encode()
        wanted[name] = message
    for name, (old, new, message) in CHANGED.items():
        text = GOOD if name in ("name", "noname", "longname") else GOOD.replace("<name>x<", f"<name>{name}<")
        expect(old in text, f"{name} changes something")
        files[f"{name}.xml"] = text.replace(old, new, 1).encode()
        wanted[name] = message
    port = machine.free_port()
    with ctx.boot_pvh(folder, files=files, disk=True, forwards=[forward(port)]) as vm:
        ready(vm, "aaa", "webd", "zzz")
        for name, message in wanted.items():
            refused(vm, rf"guests/{name}\.xml:" + message)
        expect_equal(get(port, "/").status, 200, "the page")
        running = {g["name"] for g in command(vm, "list")["guests"] if g["state"] != "off"}
        expect_equal(running, {"aaa", "webd", "zzz"}, "guests that run")
        for name in ("bomb", "large", "greedy"):
            command(vm, f"create {name}.xml", ok=False)
        command(vm, "create volume.xml")  # taken; that there is no such volume shows when it starts
        expect_equal(until_state(vm, "volume", "off")["last_words"], "it could not be started", "its end")
        vm.poweroff()


def test_each_refusal_is_free(ctx):
    """What is refused again and again costs mgmt nothing."""
    files = {f"{name}.xml": text.encode() for name, (text, _) in NOT_XML.items() if isinstance(text, str)}
    for name in ("gone", "greedy", "volume", "element"):
        old, new, _ = CHANGED[name]
        files[f"{name}.xml"] = GOOD.replace("<name>x<", f"<name>{name}<").replace(old, new, 1).encode()
    with ctx.boot_pvh(ctx.guests(a=definition("a")), files=files) as vm:
        ready(vm, "a")
        before = None
        for _ in range(3):
            for _ in range(5):
                for name in files:
                    vm.json(f"create {name}")
            until_state(vm, "volume", "off")
            mem = command(vm, "mem")
            expect_equal(mem, before or mem, "memory")
            before = mem
        vm.poweroff()


def test_memory_message(ctx):
    """Exactly what the manual says."""
    text = definition("a", memory="9", unit="GiB").replace("<domain", "\n" * 9 + "<domain", 1)
    with ctx.boot_pvh(ctx.guests(a=text, b=definition("b")), mem="3900M") as vm:
        ready(vm, "b")
        refused(vm, r"guests/a\.xml:12: memory 9 GiB: host has 3\.[67] GiB free; lower <memory> or --mem$")
        expect_equal(guest(vm, "a")["state"], "off", "the one that is too large")
        vm.poweroff()


def test_two_of_one(ctx):
    """Names, MAC and IP addresses, written volumes: the first has it, the second is refused."""
    folder = ctx.guests(
        a=definition("a", devices=net(0x30) + disk("partition:webd", "")),
        b=definition("a"),
        c=definition("c", devices=net(0x30, address="10.0.2.99")),
        d=definition("d", devices=net(0x31, address="10.0.2.48")),
        e=definition("e", devices=disk("partition:webd")),
        f=definition("f", devices=disk("partition:webd", "")),
        g=definition("g", devices=net(0x32)))
    with ctx.boot_pvh(folder, disk=True) as vm:
        ready(vm, "a", "g")
        refused(vm, r"guests/b\.xml:2: <name>: there is a guest named a already")
        refused(vm, r"guests/c\.xml:\d+: <interface>: guest a has the same MAC address")
        refused(vm, r"guests/d\.xml:\d+: <interface>: guest a has the same IPv4 address")
        for name in "ef":
            refused(vm, rf"guests/{name}\.xml:\d+: <disk>: volume partition:webd is also used by guest a")
        expect_equal([g["name"] for g in command(vm, "list")["guests"]], ["a", "g"], "guests")
        vm.poweroff()


def test_overlapping_volumes(ctx):
    """A whole disk and one of its partitions are the same sectors: one writer makes it a clash."""
    folder = ctx.guests(a=definition("a", devices=disk("disk:0", "")),
                        b=definition("b", devices=disk("partition:webd")),
                        c=definition("c"))
    with ctx.boot_pvh(folder, disk=True) as vm:
        ready(vm, "a", "c")
        expect("guest b started" not in vm.text, "a reader beside a writer of the same sectors does not start")
        expect(re.search(r"guests/b\.xml:\d+: <disk>: ", vm.text), "it is told why")
        vm.poweroff()


def test_many_definitions(ctx):
    """300 broken definitions cost a line each."""
    folder = ctx.guests(**{f"b{n:03}": "<domain>" for n in range(300)}, a=definition("a"), z=definition("z"))
    with ctx.boot_pvh(folder) as vm:
        ready(vm, "a", "z")
        expect_equal(len(re.findall(r"mgmt: guests/b\d+\.xml:1: ", vm.text)), 300, "messages")
        vm.poweroff()


def test_damaged_archive(ctx):
    """The boot archive ends in mid-file: what came before the damage starts, and it is told."""
    files = archive.boot_files(ctx.build, ctx.guests(a=definition("a")))
    data = archive.newc(dict(files, **{"zz": bytes(100_000)}))
    ctx.machines += 1
    module = machine.pvh_module(os.path.join(ctx.build, "mgmt", "init", "init.bin"), data[:-50_000], ctx.path("m"))
    with machine.VM(ctx.path("vm"), module=module, kernel=os.path.join(ctx.build, "hv", "hv.elf")) as vm:
        ready(vm, "a")
        refused(vm, r"the boot archive is damaged at byte \d+; make the image again")
        vm.poweroff()
