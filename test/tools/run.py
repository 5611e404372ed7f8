"""./dev run: start the image in an emulator, on this terminal or headless.

Exit status: 0 clean power-off, 2 usage or definition, 3 timeout, 4 hv panic, 5 emulator failed,
6 set-up failed. Ctrl-A X, or a signal that no power-off follows, gives 130.
"""

import argparse
import fcntl
import os
import re
import select
import signal
import sys
import termios
import threading
import time
import tty
import urllib.error
import urllib.request
import xml.etree.ElementTree as ElementTree

import archive
import image
import vm

EXIT_OFF, EXIT_USAGE, EXIT_TIMEOUT, EXIT_PANIC, EXIT_QEMU, EXIT_SETUP, EXIT_LEFT = 0, 2, 3, 4, 5, 6, 130
# What mgmt says about a definition that it refuses, and when it has been through all of them.
REFUSED = re.compile(r"^mgmt: .*\.xml:\d+: ", re.M)
READY = re.compile(r"^mgmt: ready", re.M)
REPORTED = re.compile(r"^hv: build [0-9a-f]+; halted", re.M)  # the last line of a panic's report
REPORT_SECONDS = 10
CTRL_A = b"\x01"
POWEROFF_SECONDS = 30  # mgmt gives its guests 20


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise archive.DefinitionError(message)


def parse(arguments):
    parser = Parser(prog="./dev run", add_help=False)
    parser.add_argument("--build")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--guests", default=image.DEMO)
    parser.add_argument("--mem", default="2G")
    parser.add_argument("--smp", type=int, default=1)
    parser.add_argument("--cpu", default="max,la57=off")
    parser.add_argument("--firmware", choices=["bios", "uefi"], default="bios")
    parser.add_argument("--cmdline", default="")
    parser.add_argument("--disk", action="append", default=[])
    parser.add_argument("--forward", action="append", default=[])
    parser.add_argument("--qmp")
    parser.add_argument("--headless", action="store_true")
    parser.add_argument("--log")
    parser.add_argument("--timeout", type=float)
    options = parser.parse_args(arguments)
    if not re.fullmatch(r"[1-9]\d*[MG]?", options.mem):
        parser.error(f"--mem {options.mem}: a size such as 512M or 2G")
    if not 1 <= options.smp <= 64:
        parser.error(f"--smp {options.smp}: 1 to 64")
    if options.timeout is not None and options.timeout <= 0:
        parser.error("--timeout: more than 0 seconds")
    for disk in options.disk:
        if not os.path.isfile(disk):
            parser.error(f"--disk {disk}: no such file")
    for rule in options.forward:
        parse_forward(rule)
    archive.check_guests(options.guests)
    return options


def parse_forward(rule):
    found = re.fullmatch(r"(\d+):([^:]+):(\d+)(?:/(tcp|udp))?", rule)
    if not found or not (0 < int(found[1]) < 65536 and 0 < int(found[3]) < 65536):
        raise archive.DefinitionError(f"--forward {rule}: HOSTPORT:GUEST:PORT, for example 8080:webd:80")
    return int(found[1]), found[2], int(found[3]), found[4] or "tcp"


def guest_addresses(folder):
    """The IPv4 address of each guest that has one, by name."""
    addresses = {}
    for name in archive.check_guests(folder):
        try:
            root = ElementTree.parse(os.path.join(folder, name)).getroot()
        except ElementTree.ParseError:
            continue  # mgmt will say what is wrong with it
        guest = (root.findtext("name") or "").strip()
        ips = [e.get("address", "") for e in root.findall("./devices/interface/ip")]
        addresses[guest] = next((ip for ip in ips if re.fullmatch(r"[\d.]+", ip)), None)
    return addresses


def forwards(options):
    """What is reachable from this machine: a list of (host port, guest, port, protocol, address)."""
    addresses = guest_addresses(options.guests)
    rules = [parse_forward(rule) for rule in options.forward]
    if not options.forward:
        usual = {"webd": 8080, "linux": 8081}
        rules = [(port if vm.port_is_free(port, "tcp") else vm.free_port(), guest, 80, "tcp")
                 for guest, port in usual.items() if addresses.get(guest)]
    for port, guest, _, protocol in rules:
        if guest not in addresses:
            known = ", ".join(sorted(addresses)) or "none"
            raise archive.DefinitionError(f"--forward: no guest '{guest}'; there are: {known}")
        if not addresses[guest]:
            raise archive.DefinitionError(
                f"--forward: '{guest}' has no <ip address='...'/> in its <interface>")
        if not vm.port_is_free(port, protocol):
            raise archive.DefinitionError(f"--forward: port {port} of this machine is taken; name another")
    return [rule + (addresses[rule[1]],) for rule in rules]


def log_folder(options):
    """--log, or the first of build/run, build/run-2, ... that no running emulator logs to."""
    number = 1
    while True:
        folder = options.log or os.path.join(options.build, "run" if number == 1 else f"run-{number}")
        os.makedirs(folder, exist_ok=True)
        lock = open(os.path.join(folder, "lock"), "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return folder, lock
        except OSError:
            if options.log:
                raise archive.DefinitionError(f"--log {folder}: another run logs there") from None
        number += 1


class Terminal:
    """This terminal, raw while the machine runs: every key goes to it, Ctrl-C as well."""

    def __init__(self, use):
        self.input = sys.stdin.fileno() if use else None
        self.raw = use and os.isatty(self.input)
        self.output = sys.stdout.fileno()
        self.lock = threading.Lock()
        self.column = 0
        self.prefix = False

    def __enter__(self):
        if self.raw:
            self.saved = termios.tcgetattr(self.input)
            tty.setraw(self.input)
        return self

    def __exit__(self, *_):
        if self.raw:
            termios.tcsetattr(self.input, termios.TCSADRAIN, self.saved)

    def write(self, data):
        with self.lock:
            while data:
                data = data[os.write(self.output, data):]

    def say(self, text):
        end = "\r\n" if self.raw else "\n"
        self.write((end.join(text.splitlines()) + end).encode())

    def keys(self):
        """What was typed, and whether the person wants to leave. None at the end of the input."""
        data = os.read(self.input, 4096)
        if not data:
            self.input = None
            return b"", False
        if not self.raw:
            return data, False
        out = bytearray()
        for key in (bytes([byte]) for byte in data):
            if self.prefix:
                self.prefix = False
                if key in b"xX":
                    return bytes(out), True
                out += key if key == CTRL_A else CTRL_A + key
            elif key == CTRL_A:
                self.prefix = True
            else:
                out += key
        return bytes(out), False


def watch(url, say, started, stop):
    """Say so once the page can be had."""
    while not stop.is_set():
        try:
            urllib.request.urlopen(url, timeout=3).close()
        except urllib.error.HTTPError:
            pass  # an answer all the same
        except (OSError, ValueError):
            stop.wait(0.2)
            continue
        except Exception:  # an answer that is not HTTP, yet
            stop.wait(0.2)
            continue
        say(f"dev: {url} answers, {time.monotonic() - started:.1f} s after power-on")
        return


def say_to(machine, data):
    try:
        machine.send_bytes(data)
    except vm.VMExited:
        pass  # it went off just now; the caller will notice


def hear_report(machine):
    """Until hv's panic report is whole; one that breaks off is not waited for long."""
    deadline = time.monotonic() + REPORT_SECONDS
    while not REPORTED.search(machine.text) and machine.alive() and time.monotonic() < deadline:
        time.sleep(0.05)


def converse(machine, terminal, options, told_to_end):
    """Carry bytes until the machine is off, panics, times out, or the person leaves. Told to end by a
    signal, it asks the host to power off and gives it some seconds."""
    ready = terminal.raw
    give_up = float("inf")
    while machine.alive():
        if told_to_end.is_set() and give_up == float("inf"):
            give_up = time.monotonic() + POWEROFF_SECONDS
            say_to(machine, b"\x1d\npoweroff\n")  # Ctrl-]: not to a guest
        if time.monotonic() > give_up:
            return EXIT_LEFT, "dev: left; the machine was switched off hard"
        if vm.PANIC.search(machine.text):
            hear_report(machine)
            return EXIT_PANIC, "dev: hv panicked"
        if options.timeout and time.monotonic() - machine.started > options.timeout:
            return EXIT_TIMEOUT, f"dev: still running after {options.timeout:g} s"
        # A script's commands wait for the console that is to read them; a person can see it.
        ready = ready or READY.search(machine.text)
        if terminal.input is None or not ready:
            time.sleep(0.05)
        elif select.select([terminal.input], [], [], 0.1)[0]:
            typed, leave = terminal.keys()
            if leave:
                give_up = 0
            elif typed:
                say_to(machine, typed)
    try:
        machine.wait_exit()
    except vm.VMError as error:
        return EXIT_QEMU, f"dev: {error}"
    if vm.PANIC.search(machine.text):
        return EXIT_PANIC, "dev: hv panicked"
    started = READY.search(machine.text)
    refused = REFUSED.search(machine.text)
    if started and refused and refused.start() < started.start():
        return EXIT_USAGE, "dev: powered off; a definition was refused, see above"
    return EXIT_OFF, "dev: powered off"


def start(options, folder, disk, tee):
    """The machine, running, and what is forwarded to it. Somebody may take a port between our choice and
    the emulator's start: what was not asked for by --forward is then chosen anew."""
    for attempts_left in (2, 1, 0):
        rules = forwards(options)
        machine = vm.VM(folder, image=disk, firmware=options.firmware, mem=options.mem, smp=options.smp,
                        cpu=options.cpu,
                        disks=[f"file={path},format={'qcow2' if path.endswith('.qcow2') else 'raw'}"
                               for path in options.disk],
                        forwards=[f"{protocol}:127.0.0.1:{port}-{address}:{inner}"
                                  for port, _, inner, protocol, address in rules],
                        qmp=options.qmp, reboot=True, tee=tee)
        try:
            return machine.start(), rules
        except vm.VMExited as error:
            if options.forward or not attempts_left or "Could not set up host forwarding rule" not in str(error):
                raise


def introduce(rules, folder, options, say):
    """What a person wants to know at the start. Returns the URLs of what serves pages."""
    urls = []
    for port, guest, inner, protocol, _ in rules:
        where = f"http://127.0.0.1:{port}/" if inner == 80 else f"{protocol} 127.0.0.1:{port}"
        urls += [where] if inner == 80 else []
        say(f"dev: {where} is port {inner} of {guest}")
    say(f"dev: logs are in {folder}")
    if not options.headless:
        say("dev: to leave: 'poweroff' on the host console; Ctrl-] leaves a guest's console;\n"
            "     Ctrl-A X switches off hard")
    return urls


def run(options):
    folder, lock = log_folder(options)
    disk = os.path.join(folder, "bulkhead.img")
    image.make(options.build, disk, archive.boot_archive(options.build, options.guests),
               image.webd_content(), options.cmdline)

    told_to_end, stop = threading.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: told_to_end.set())
    terminal = Terminal(not options.headless)
    with terminal:
        machine, rules = start(options, folder, disk, None if options.headless else terminal.write)
        try:
            for url in introduce(rules, folder, options, terminal.say):
                threading.Thread(target=watch, args=(url, terminal.say, machine.started, stop), daemon=True).start()
            status, last = converse(machine, terminal, options, told_to_end)
        finally:
            stop.set()
            machine.kill()
    lock.close()
    terminal.raw = False
    print(last + ("" if status == EXIT_OFF else f"; logs are in {folder}"), flush=True)
    if status in (EXIT_PANIC, EXIT_TIMEOUT) and options.headless:
        print(machine.tail(40))
    return status


def main():
    try:
        options = parse(sys.argv[1:])
        if options.check:
            forwards(options)
            return EXIT_OFF
        return run(options)
    except archive.DefinitionError as error:
        print(f"dev run: {error}", file=sys.stderr)
        return EXIT_USAGE
    except vm.VMError as error:
        print(f"dev run: {error}", file=sys.stderr)
        return EXIT_QEMU
    except (image.ImageError, OSError) as error:
        print(f"dev run: {error}", file=sys.stderr)
        return EXIT_SETUP


if __name__ == "__main__":
    sys.exit(main())
