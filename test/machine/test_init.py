"""init, the first domain: what it does when mgmt fails."""

import os

from harness import expect, expect_equal


def hello(ctx):
    with open(os.path.join(ctx.build, "guestlib", "examples", "hello.bin"), "rb") as program:
        return program.read()


def test_gives_up_after_five_failures(ctx):
    """A guest's program in mgmt's place stops at once, because it is no guest there. init reports
    and starts it again, with all memory taken back each time, and in the end says why it stops."""
    with ctx.boot_pvh(files={"mgmt.bin": hello(ctx)}) as vm:
        vm.wait_for(r"^init: mgmt failed 5 times within a minute; not starting it again", timeout=30)
        text = vm.text
    expect_equal(text.count("init: mgmt faulted: vector 0000000000000006"), 5, "reports")
    expect_equal(text.count("init: all guests are gone; starting mgmt again"), 4, "new starts")
    expect("init:   rip 00000000004" in text, "the report has registers")


def test_a_damaged_image(ctx):
    with ctx.boot_pvh(files={"mgmt.bin": hello(ctx)[:-1]}) as vm:
        vm.wait_for(r"^init: mgmt.bin is damaged", timeout=30)
