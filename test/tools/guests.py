"""What tests of whole images share: definitions, a plain HTTP client, waiting for guests.

    guests = ctx.guests(a=definition("a"), web=web())
    with ctx.boot_pvh(guests, content=newc(files), disk=True, forwards=[forward(port)]) as vm:
        ready(vm, "webd")
        expect_equal(get(port, "/").body, files["index.html"])
"""

import socket
import time

from harness import expect
from vm import PATIENCE

WEB_ADDRESS = "10.0.2.15"


def definition(name, kernel="hello.bin", memory="1", unit="MiB", arguments="", devices="<console/>", more=""):
    """The XML of a guest; `more` goes below <domain>, `devices` below <devices>."""
    cmdline = f"<cmdline>{arguments}</cmdline>" if arguments else ""
    return f"""<domain type='bulkhead'>
  <name>{name}</name>
  <memory unit='{unit}'>{memory}</memory>
  <os><type>pv</type><kernel>{kernel}</kernel>{cmdline}</os>
  {more}
  <devices>
    {devices}
  </devices>
</domain>
"""


def dormant(name, **parts):
    """A definition that only `create` or `start` lets run."""
    parts["more"] = "<bulkhead autostart='no'/>" + parts.get("more", "")
    return definition(name, **parts)


def disk(volume, inside="<readonly/>", target="vda"):
    return f"<disk type='volume'><source volume='{volume}'/><target dev='{target}'/>{inside}</disk>"


def net(number, inside="", address=None):
    """The number is the last byte of the MAC address, and of the IPv4 address unless that is given."""
    address = address or f"10.0.2.{number}"
    return (f"<interface type='network'><mac address='52:54:00:42:48:{number:02x}'/>"
            f"<ip address='{address}' prefix='24'/><route gateway='10.0.2.2'/>{inside}</interface>")


def web(name="webd", volume="partition:webd", number=15, more=""):
    return definition(name, kernel="webd.bin", memory="16", more=more,
                      devices="<console/>" + disk(volume) + net(number))


def forward(port, inner=80, address=WEB_ADDRESS, protocol="tcp"):
    """A rule for vm.VM's `forwards`."""
    return f"{protocol}:127.0.0.1:{port}-{address}:{inner}"


def free_memory(vm):
    """Bytes of either kind that are free, or mgmt's own: its heap grows and shrinks by frame memory."""
    mem = command(vm, "mem")
    return {"frame": mem["frame"]["free_bytes"] + mem["mgmt_bytes"], "object": mem["object"]["free_bytes"]}


# --- waiting ------------------------------------------------------------------------------------

def until(condition, what, timeout=20, pause=0.02):
    """The first true value of condition()."""
    timeout *= PATIENCE
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(pause)
    return value


def said(vm, pattern, timeout=30):
    """wait_for from the console's beginning: for lines that may be there already, in any order."""
    with vm.said:
        vm.cursor = 0
    return vm.wait_for(pattern, timeout)


# The host's log lines come after what erases the prompt.
LINE = r"^(?:.*\x1b\[K)?"


def ready(vm, *names, timeout=30):
    """Until mgmt is ready, and each of these guests says that it is."""
    said(vm, LINE + "mgmt: ready", timeout)
    for name in names:
        said(vm, LINE + f"mgmt: guest {name} ready", timeout)


def command(vm, line, ok=True, timeout=20):
    """The record that answers a console command, which has to succeed, or to be refused."""
    reply = vm.json(line, timeout)
    expect(reply["ok"] == ok, f"`{line}` is {'done' if ok else 'refused'}: {reply}")
    expect(reply["command"] == line.split()[0], f"`{line}`: the record names the command: {reply}")
    return reply


def guest(vm, name):
    """Its entry in `list`, or None."""
    return next((g for g in command(vm, "list")["guests"] if g["name"] == name), None)


def until_state(vm, name, state, timeout=20):
    def there():
        found = guest(vm, name)
        return found if found and found["state"] == state else None
    return until(there, f"{name} is {state}", timeout)


def until_ready(vm, name, timeout=20):
    def there():
        found = guest(vm, name)
        return found if found and found["state"] == "running" and found["ready"] else None
    return until(there, f"{name} is ready", timeout)


# --- HTTP ---------------------------------------------------------------------------------------

class Answer:
    def __init__(self, status, fields, body):
        self.status, self.fields, self.body = status, fields, body


class Http:
    """One connection. Bytes go out as they are given, so that wrong requests can be made."""

    def __init__(self, port, timeout=20 * PATIENCE):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.stream = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.stream.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def receive(self, body=True):
        """The next answer; ConnectionError when it breaks off."""
        line = self.stream.readline()
        if not line:
            raise ConnectionError("closed before an answer")
        status = int(line.split()[1])
        fields = {}
        while (line := self.stream.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            fields[name.lower()] = value.strip()
        length = int(fields.get("content-length", 0)) if body else 0
        data = self.stream.read(length)
        if len(data) != length:
            raise ConnectionError(f"broke off after {len(data)} of {length} bytes")
        return Answer(status, fields, data)

    def request(self, path, method="GET", **fields):
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
        self.send(f"{method} {path} HTTP/1.1\r\nHost: test\r\n{lines}\r\n".encode("latin-1"))
        return self.receive(body=method != "HEAD")


def get(port, path, method="GET", timeout=20 * PATIENCE, **fields):
    """One request on a connection of its own."""
    with Http(port, timeout) as http:
        return http.request(path, method, **fields)
