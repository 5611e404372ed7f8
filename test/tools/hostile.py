"""A booted host with webd and guests that mean harm, for test_hostile*.py: who attacks, who goes on being
served, and what has to be as before."""

import os
import re
import time

import archive
import vm as machine
from guests import Http, free_memory
from harness import expect, expect_equal

CONTENT = {"index.html": b"still here\n" * 3000}
ANSWER_S = 5 * machine.PATIENCE  # for a page, with everybody else busy; an undisturbed one takes a few ms


def definition(name, kernel, cmdline="", devices="", memory=1, more=""):
    return f"""<domain type='bulkhead'><name>{name}</name><memory unit='MiB'>{memory}</memory>
<os><type>pv</type><kernel>{kernel}.bin</kernel><cmdline>{cmdline}</cmdline></os>{more}
<bulkhead autostart='{'yes' if kernel == 'webd' else 'no'}' crashreport='yes'/>
<devices><console/>{devices}</devices></domain>"""


def disk(target, volume, how=""):
    return f"<disk type='volume'><source volume='{volume}'/><target dev='{target}'/>{how}</disk>"


def interface(number, more=""):
    return f"<interface type='network'><mac address='52:54:00:66:00:{number:02x}'/>" \
        f"<ip address='10.0.2.{100 + number}' prefix='24'/>" \
        f"<ip family='ipv6' address='fd00::{number}' prefix='64'/>{more}</interface>"


WEBD = definition("webd", "webd", "", disk("vda", "partition:webd", "<readonly/>")
                  + "<interface type='network'><mac address='52:54:00:42:48:01'/><ip address='10.0.2.15' "
                  "prefix='24'/><route gateway='10.0.2.2'/></interface>", memory=16)


class Host:
    """A booted host with webd and hostile guests that are defined, not started."""

    def __init__(self, ctx, guests, disks=(), files=None, net=True, **options):
        self.port = machine.free_port() if net else None
        self.http = None
        programs = {}
        folder = os.path.join(ctx.build, "test", "guest", "hostile")
        for kernel in ("block", "net", "talk", "life"):
            with open(os.path.join(folder, f"hostile-{kernel}.bin"), "rb") as program:
                programs[f"{kernel}.bin"] = program.read()
        everybody = dict(guests, webd=WEBD) if net else guests
        self.names = [name for name in guests]
        self.vm = ctx.boot_pvh(
            guests=ctx.guests(**{name.replace("-", "_"): text for name, text in everybody.items()}),
            content=archive.newc(CONTENT), files=dict(programs, **(files or {})), disk=True, disks=disks,
            net=net, forwards=[f"tcp:127.0.0.1:{self.port}-10.0.2.15:80"] if net else (), **options)

    def __enter__(self):
        self.vm.__enter__()
        self.vm.wait_for(r"mgmt: ready", timeout=60)
        if self.port:
            self.vm.wait_for(r"mgmt: guest webd ready", timeout=20)
        self.before = free_memory(self.vm)
        return self

    def __exit__(self, *reason):
        self.vm.__exit__(*reason)

    def page(self, limit_s=ANSWER_S):
        """Fetches webd's page whole; returns how long it took."""
        started = time.monotonic()
        try:
            reply = self.connection(limit_s).request("/")
        except ConnectionError:  # closed: it had been idle for long, or was good for so many requests only
            self.http = None
            reply = self.connection(limit_s).request("/")
        expect(reply.body == CONTENT["index.html"], "the page is as it was put there")
        return time.monotonic() - started

    def connection(self, limit_s):
        """One for many requests: of hundreds in a minute the emulator's network gives some a port that the
        guest still has in TIME_WAIT."""
        if not self.http:
            self.http = Http(self.port, limit_s)
        return self.http

    def start(self, *names):
        for name in names:
            reply = self.vm.json(f"start {name}")
            expect(reply["ok"], f"start {name}: {reply}")

    def states(self):
        return {guest["name"]: guest for guest in self.vm.json("list")["guests"]}

    def wait_off(self, *names, timeout=30):
        """Until all of them have ended, fetching pages meanwhile. Returns the slowest page."""
        deadline, slowest = time.monotonic() + timeout * machine.PATIENCE, 0
        while True:
            if self.port:
                slowest = max(slowest, self.page())
            states = self.states()
            running = [name for name in names if states[name]["state"] != "off"]
            if not running:
                return slowest
            expect(time.monotonic() < deadline, f"still there: {running}\n{self.vm.tail(40)}")
            time.sleep(0.1)

    def said(self, name):
        """What a guest said, by the log."""
        log = self.vm.text
        return re.findall(rf"(?:^|\r|\x1b\[K){re.escape(name)}: (.*)$", log, re.M)

    def expect_attempts(self, name, attempts):
        lines = self.said(name)
        for attempt in attempts.split():
            expect(f"{attempt} ok" in lines, f"{name}: {attempt}; it said:\n" + "\n".join(lines[-30:]))

    def expect_unharmed(self):
        """hv and mgmt live, webd serves, and all memory is back."""
        for sign in (r"^(bulkhead> )?init: mgmt faulted", r"^hv: panic"):
            expect(not re.search(sign, self.vm.text, re.M), f"{sign}:\n{self.vm.tail(40)}")
        if self.port:
            self.page()
        expect_equal(free_memory(self.vm), self.before, "free memory")
