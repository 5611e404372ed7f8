"""One emulated machine: used by ./dev run, by the machine tests and by the benchmarks.

    with VM(folder, image=path, forwards=["tcp:127.0.0.1:8080-10.0.2.15:80"]) as vm:
        vm.wait_for(r"^mgmt: ready", timeout=60)
        vm.send("list")
        reply = vm.json("info webd")
        vm.poweroff()

The serial console is a pair of pipes and a log file in `folder`; `text` is everything it said, with
carriage returns left out. wait_for() searches on from where the last one ended. Leaving the `with`
kills the emulator; it also dies with the process that started it, whatever happens to that one.
"""

import codecs
import ctypes
import fcntl
import json
import os
import queue
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import threading
import time

QEMU = "qemu-system-x86_64"
OVMF_CODE = "/usr/share/OVMF/OVMF_CODE_4M.fd"
OVMF_VARS = "/usr/share/OVMF/OVMF_VARS_4M.fd"
PANIC = re.compile(r"^hv: panic:.*$", re.M)
PR_SET_PDEATHSIG = 1
PRCTL = ctypes.CDLL(None).prctl  # found before there are threads: a forked child may not wait for locks of theirs
# The seconds that tests name are a machine's that does little else. On one that is loaded they may take so many
# times as long: nothing but a hang is to be noticed by them.
PATIENCE = 4
# Below what Linux gives to outgoing connections (net.ipv4.ip_local_port_range), which would take one meanwhile.
PORTS = range(20000, 32768)
claims = []  # this process's, until it ends


class VMError(Exception):
    """The machine did not do what was asked of it."""


class VMTimeout(VMError):
    pass


class VMExited(VMError):
    pass


class VMPanic(VMError):
    pass


def die_with_parent():
    PRCTL(PR_SET_PDEATHSIG, signal.SIGKILL)


def claim(name):
    """A socket, if no other process of this machine has claimed `name` and not closed its one. It is an abstract
    one (unix(7)), of which nothing remains when its process ends, however that comes."""
    held = socket.socket(socket.AF_UNIX)
    try:
        held.bind(f"\0bulkhead-{name}")
    except OSError:
        held.close()
        return None
    return held


def port_is_free(port, protocol):
    with socket.socket(type=socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def free_port():
    """Free for TCP and UDP, and given to no other process that asks here until this one ends."""
    while True:
        port = random.choice(PORTS)
        held = claim(f"port-{port}")
        if held:
            claims.append(held)
            if port_is_free(port, "tcp") and port_is_free(port, "udp"):
                return port


def pvh_module(init, boot_cpio, out):
    """The one module that a PVH start can bring: init.bin, whose length in pages is in its header,
    and at once the boot archive. hv parts them."""
    with open(init, "rb") as handle:
        image = handle.read()
    if len(image) % 4096:
        raise VMError(f"{init} is not whole pages")
    with open(out, "wb") as handle:
        handle.write(image + boot_cpio)
    return out


class QMP:
    """The emulator's control socket: commands from one thread, events collected by another."""

    def __init__(self, path, alive, timeout=20 * PATIENCE):
        deadline = time.monotonic() + timeout
        self.events = []
        self.replies = queue.Queue()
        self.lock = threading.Lock()
        self.socket = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError:
                if not alive() or time.monotonic() > deadline:
                    raise VMExited("the emulator did not open its control socket") from None
                time.sleep(0.02)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.replies.get(timeout=timeout)  # the greeting
        self("qmp_capabilities")

    def _read(self):
        with self.socket.makefile("rb") as stream:
            try:
                for line in stream:
                    message = json.loads(line)
                    if "event" in message:
                        self.events.append(message)
                    else:
                        self.replies.put(message)
            except (OSError, ValueError):
                pass
        self.replies.put({"error": {"desc": "the emulator has gone"}})

    def __call__(self, command, timeout=60 * PATIENCE, **arguments):
        with self.lock:
            try:
                self.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
                reply = self.replies.get(timeout=timeout)
            except (OSError, queue.Empty) as error:
                raise VMExited(f"{command}: no answer from the emulator") from error
        if "error" in reply:
            raise VMError(f"{command}: {reply['error']['desc']}")
        return reply["return"]

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.reader.join(5)
        self.socket.close()


class Console:
    """What a machine says and is told on its serial port: two file descriptors and a log."""

    def __init__(self, folder, tee=None):
        self.folder = folder
        self.tee = tee
        self.text = ""
        self.cursor = 0
        self.said = threading.Condition()
        os.makedirs(folder, exist_ok=True)

    def attach(self, listen, speak):
        self.speak = speak
        self.started = time.monotonic()
        self.listener = threading.Thread(target=self._listen, args=(listen,), daemon=True)
        self.listener.start()

    def _listen(self, pipe):
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        with open(os.path.join(self.folder, "serial.log"), "wb", buffering=0) as log:
            while data := self._read(pipe):
                log.write(data)
                if self.tee:
                    self.tee(data)
                with self.said:
                    self.text += decode(data).replace("\r", "")
                    self.said.notify_all()
        with self.said:
            self.said.notify_all()

    @staticmethod
    def _read(pipe):
        try:
            return os.read(pipe, 65536)
        except OSError:  # the machine went off without closing it
            return b""

    def tail(self, lines=25):
        return "\n".join(self.text.splitlines()[-lines:])

    def wait_for(self, pattern, timeout=30, panic_is_fine=False):
        """The next match of `pattern` (multi-line) on the console. Raises VMTimeout, VMExited, or
        VMPanic when hv panics first."""
        timeout *= PATIENCE
        wanted = re.compile(pattern, re.M)
        deadline = time.monotonic() + timeout
        with self.said:
            while True:
                found = wanted.search(self.text, self.cursor)
                if found:
                    self.cursor = found.end()
                    return found
                panic = None if panic_is_fine else PANIC.search(self.text, self.cursor)
                if panic:
                    raise VMPanic(f"{panic.group()}\n{self.tail()}")
                left = deadline - time.monotonic()
                if left <= 0:
                    raise VMTimeout(f"no {pattern!r} within {timeout} s; the console's end:\n{self.tail()}")
                if not self.listener.is_alive():
                    raise VMExited(f"stopped before {pattern!r}; the console's end:\n{self.tail()}")
                self.said.wait(min(left, 0.5))

    def send_bytes(self, data):
        try:
            while data:
                data = data[os.write(self.speak, data):]
        except OSError as error:
            raise VMExited("the console is closed") from error

    def unread(self):
        """How many of the bytes sent the machine has not taken."""
        return struct.unpack("i", fcntl.ioctl(self.speak, termios.FIONREAD, bytes(4)))[0]

    def send(self, line):
        self.send_bytes(line.encode() + b"\n")

    def json(self, command, timeout=20):
        """The reply to a host-console command, as its one RFC 7464 record."""
        with self.said:
            self.cursor = len(self.text)
        self.send(f"{command} --json")
        return json.loads(self.wait_for(r"\x1e([^\x1e\n]*)\n", timeout).group(1))


class VM(Console):
    def __init__(self, folder, *, image=None, kernel=None, module=None, cmdline="", firmware="bios",
                 mem="2G", smp=1, cpu="max,la57=off", machine="q35", icount=False, disks=(),
                 image_options="snapshot=on", block_device="virtio-blk-pci,disable-legacy=on",
                 net=True, forwards=(), net_device="virtio-net-pci,disable-legacy=on", netdev=None,
                 qmp=None, reboot=False, extra=(), tee=None):
        """image: boot this disk. kernel, module, cmdline: or start this by its PVH note.
        disks: more disks, each the value of a -drive without if= and id=.
        image_options: of the boot disk; by default what is written to it is thrown away.
        forwards: host forwardings of the user-mode network; netdev: another -netdev, without id=.
        block_device, net_device: the device models. extra: more arguments.
        qmp: a further control socket, for others. reboot: let the machine reset itself.
        tee: called with every piece of bytes that the serial console says."""
        super().__init__(folder, tee)
        self.sockets = tempfile.mkdtemp(prefix="bulkhead-")  # socket paths have to be short
        # One more processor than there is, for hot-plugging: else QEMU 7.2 leaves out the guest's memory
        # barriers (CF_PARALLEL; mended in 8.1), and a device thread and the driver miss each other's wishes.
        # Without CMPXCHG16B: QEMU 7.2 sets its flags from a stale state (mended in 8.0), and a
        # Linux guest that is interrupted right after one goes on with TF, NT or AC set.
        self.command = [QEMU, "-machine", f"{machine},accel=tcg", "-cpu", f"{cpu},cx16=off", "-m", str(mem),
                        "-smp", f"{smp},maxcpus={smp + 1}", "-nodefaults", "-display", "none", "-no-user-config",
                        "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
                        "-qmp", f"unix:{self.sockets}/qmp,server=on,wait=off"]
        if icount:
            self.command += ["-icount", "shift=0,sleep=off"]
        if qmp:
            self.command += ["-qmp", f"unix:{qmp},server=on,wait=off"]
        if not reboot:
            self.command += ["-no-reboot"]
        if firmware == "uefi":
            flash = os.path.join(folder, "uefi-variables.fd")
            shutil.copyfile(OVMF_VARS, flash)
            self.command += ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={OVMF_CODE}",
                             "-drive", f"if=pflash,unit=1,format=raw,file={flash}"]
        if kernel:
            self.command += ["-kernel", kernel]
            self.command += ["-initrd", module] if module else []
            self.command += ["-append", cmdline] if cmdline else []
        drives = [f"format=raw,file={image},{image_options}"] if image else []
        for number, drive in enumerate([*drives, *disks]):
            self.command += ["-drive", f"if=none,id=disk{number},{drive}",
                             "-device", f"{block_device},drive=disk{number}"]
        if net:
            backend = netdev or ",".join(["user", *(f"hostfwd={rule}" for rule in forwards)])
            self.command += ["-netdev", f"{backend},id=net0", "-device", f"{net_device},netdev=net0"]
        self.command += list(extra)
        self.process = None
        self.qmp = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.kill()

    def start(self):
        log = os.path.join(self.folder, "qemu.log")
        with open(log, "w") as errors:
            errors.write(" ".join(self.command) + "\n")
            errors.flush()
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stderr=errors,
                                            stdout=subprocess.PIPE, preexec_fn=die_with_parent)
        self.attach(self.process.stdout.fileno(), self.process.stdin.fileno())
        try:
            self.qmp = QMP(f"{self.sockets}/qmp", self.alive)
        except VMError as error:
            self.kill()
            raise VMExited(f"{error}; {log} says:\n{self.last_errors()}") from None
        return self

    def last_errors(self):
        with open(os.path.join(self.folder, "qemu.log"), errors="replace") as log:
            return "".join(log.readlines()[1:][-10:])

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def hmp(self, line):
        """A command of the emulator's human monitor: `info tlb`, `pmemsave ...`."""
        return self.qmp("human-monitor-command", **{"command-line": line})

    def wait_exit(self, timeout=30):
        """Wait until the machine is off. Returns the reason: guest-shutdown, guest-reset, ..."""
        timeout *= PATIENCE
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise VMTimeout(f"still on after {timeout} s; the console's end:\n{self.tail()}") from None
        self.listener.join(5)
        if status:
            raise VMExited(f"the emulator failed with status {status}:\n{self.last_errors()}")
        return self.shutdown_reason()

    def shutdown_reason(self):
        self.qmp.reader.join(5)
        for event in reversed(list(self.qmp.events)):
            if event["event"] == "SHUTDOWN":
                return event["data"]["reason"]
        return "unknown"

    def poweroff(self, timeout=30):
        """Turn the machine off from the host console, as its owner does."""
        self.send("poweroff")
        reason = self.wait_exit(timeout)
        if reason != "guest-shutdown":
            raise VMError(f"poweroff ended in {reason}")

    def kill(self):
        if self.process:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
            self.listener.join(5)
            for pipe in (self.process.stdin, self.process.stdout):
                try:
                    pipe.close()
                except OSError:
                    pass
        if self.qmp:
            self.qmp.close()
        shutil.rmtree(self.sockets, ignore_errors=True)
