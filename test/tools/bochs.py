"""One machine in Bochs, which emulates what QEMU's TCG does not: VMX, x2APIC, the TSC deadline,
NRIP save. It boots the disk image from an IDE disk; there is no virtio device in it.

    with Bochs(folder, image, model="corei7_skylake_x") as machine:
        machine.wait_for(r"^mgmt: ready", timeout=90)

Models: corei7_skylake_x (VMX, x2APIC, TSC deadline), ryzen (SVM with NRIP save). About 50 million
instructions a second; `seconds` of the emulated clock pass with instructions, not with time.
"""

import os
import socket
import subprocess
import time

import vm

CONFIG = """\
plugin_ctrl: unmapped=0, biosdev=1, speaker=0, extfpuirq=0, parallel=0, serial=1, iodebug=0
config_interface: textconfig
display_library: rfb, options="timeout=0"
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model={model}, count={smp}, ips=50000000, reset_on_triple_fault=0, quantum=16
memory: guest={mem}, host={mem}
clock: sync=none, time0=1700000000
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=disk, path="{image}", mode=volatile, journal="{folder}/journal"
boot: disk
com1: enabled=1, mode=socket-client, dev=127.0.0.1:{port}
log: {folder}/bochs.log
panic: action=fatal
error: action=report
info: action=report
debug: action=ignore
"""


class Bochs(vm.Console):
    def __init__(self, folder, image, model="corei7_skylake_x", mem=512, smp=1, tee=None):
        """mem: MiB."""
        super().__init__(folder, tee)
        self.image, self.model, self.mem, self.smp = image, model, mem, smp
        self.process = self.serial = None

    def start(self):
        """Whether it has connected its serial port: one that starts beside another one, and finds the same port
        free for its screen, does not. So they start one after the other."""
        while not (turn := vm.claim("bochs")):
            time.sleep(0.1)
        with turn, socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(40)
            config = os.path.join(self.folder, "bochsrc")
            with open(config, "w") as handle:
                handle.write(CONFIG.format(model=self.model, smp=self.smp, mem=self.mem, folder=self.folder,
                                           image=self.image, port=server.getsockname()[1]))
            with open(os.path.join(self.folder, "bochs.out"), "wb") as out:
                # Debian builds it with its debugger, which has to be told to go on.
                self.process = subprocess.Popen(["bochs-bin", "-q", "-f", config], stdin=subprocess.PIPE,
                                                stdout=out, stderr=out, preexec_fn=vm.die_with_parent)
            self.process.stdin.write(b"continue\n")
            self.process.stdin.flush()
            try:
                self.serial = server.accept()[0]
            except OSError:
                self.kill()
        return self.serial is not None

    def __enter__(self):
        if not self.start() and not self.start():
            with open(os.path.join(self.folder, "bochs.out"), errors="replace") as out:
                raise vm.VMExited("Bochs did not start; it said:\n" + out.read()[-2000:])
        self.attach(self.serial.fileno(), self.serial.fileno())
        return self

    def __exit__(self, *_):
        self.kill()

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
        if self.serial:
            self.listener.join(5)
            self.serial.close()
