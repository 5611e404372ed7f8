"""Writes into a running machine's physical memory through the emulator's debugger interface (GDB manual,
appendix E): the honest way to make a program fault that has no fault of its own to offer."""

import os
import socket


class GdbStub:
    """The machine stands still from here to the end of the `with`."""

    def __init__(self, vm):
        path = os.path.join(vm.sockets, "gdb")
        if not os.path.exists(path):
            vm.hmp(f"gdbserver unix:{path},server=on,wait=off")
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(path)
        self.stream = self.socket.makefile("rb")

    def __enter__(self):
        self.ask("?")  # why it stands still
        self.ask("Qqemu.PhyMemMode:1")
        return self

    def __exit__(self, *_):
        try:
            self.ask("D")  # detached, it goes on
        finally:
            self.stream.close()
            self.socket.close()

    def ask(self, text):
        data = text.encode()
        self.socket.sendall(b"$%s#%02x" % (data, sum(data) % 256))
        reply = b""
        while (byte := self.stream.read(1)) != b"$":
            if not byte:
                raise OSError(f"no answer to {text[:40]}")
        while (byte := self.stream.read(1)) != b"#":
            if not byte:
                raise OSError(f"no answer to {text[:40]}")
            reply += byte
        self.stream.read(2)
        self.socket.sendall(b"+")
        if reply.startswith(b"E"):
            raise OSError(f"{text[:40]}: {reply.decode()}")
        return reply

    def write(self, address, data):
        self.ask(f"M{address:x},{len(data):x}:{data.hex()}")
