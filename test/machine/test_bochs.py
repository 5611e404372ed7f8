"""The second opinion: the image on another emulator, which has x2APIC and the TSC deadline timer, and no
virtio device. Claims are made there as well."""

import os
import re

import bochs
import image
import linux
from harness import expect, expect_equal, limit, slow

HELLO = """<domain type='bulkhead'><name>hello</name><memory unit='MiB'>1</memory><vcpu>1</vcpu>
<os><type>pv</type><kernel>hello.bin</kernel></os><devices><console/></devices></domain>"""


def boot_image(ctx, model):
    disk = ctx.image(ctx.guests(hello=HELLO))
    with bochs.Bochs(ctx.path("bochs"), disk, model=model) as machine:
        machine.wait_for(r"^mgmt: ready", timeout=170)
        machine.wait_for(r"Hello from hello", timeout=60)
        listed = machine.json("list", timeout=60)
        expect("hello" in str(listed), f"the guest is listed: {listed}")
        return machine.text


@limit(280)
def test_intel(ctx):
    """A processor with x2APIC and TSC deadline: a guest sleeps and wakes by them."""
    said = boot_image(ctx, "corei7_skylake_x")
    expect(re.search(r"^hv: processor: .*, x2APIC, .*, TSC deadline", said, re.M), "both are in use")


@limit(280)
def test_amd(ctx):
    boot_image(ctx, "ryzen")


@slow
@limit(900)
def test_linux(ctx):
    """Debian's kernel in a guest on the other emulation of SVM, which saves the next instruction's address."""
    disk = ctx.image(ctx.guests(linux=linux.definition(memory=128, arguments="quiet")))
    with bochs.Bochs(ctx.path("bochs"), disk, model="ryzen") as machine:
        machine.wait_for(r"^mgmt: ready", timeout=170)
        machine.wait_for(r"init: up, 1 processors", timeout=700)


@limit(280)
def test_claims(ctx):
    """test/guest/claims.c in init's place, under GRUB. Its tests of shares and caps are of counted time,
    which this emulator has too."""
    disk = ctx.path("claims.img")
    image.make(ctx.build, disk, b"none", b"",
               init=os.path.join(ctx.build, "test", "guest", "test-claims.bin"))
    with bochs.Bochs(ctx.path("bochs"), disk) as machine:
        machine.wait_for(r"^test: done", timeout=250)
        failed = re.findall(r"^test: (\S+) FAILED", machine.text, re.M)
    expect_equal(failed, [], "claims that do not hold")
