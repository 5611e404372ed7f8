"""128 MiB each way between a Linux guest, a PV guest and this machine: none lost, none changed."""

import hashlib
import socket
import zlib

import linux
import vm as machine
from guests import definition, forward, net, said
from harness import expect, expect_equal, limit, slow

BULK = 128 << 20
LINUX, ECHO = "10.0.2.16", "10.0.2.15"
PORT_IN, PORT_OUT = 9, 19  # the guest `echo` calls its services so; Linux's nc does as it is told


def connect(port):
    return socket.create_connection(("127.0.0.1", port), 120)


def send(port, data):
    """Sends, and returns what is answered to it."""
    with connect(port) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return receive(connection)


def receive(connection):
    pieces = []
    while piece := connection.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def echo_sequence():
    """What the guest `echo` sends on port 19."""
    return (bytes(range(251)) * (BULK // 251 + 1))[:BULK]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@slow
@limit(1200)
def test_three_ways(ctx):
    guests = ctx.guests(
        linux=linux.definition(memory=384, devices=net(16), arguments=f"address={LINUX}/24 gateway=10.0.2.2"),
        echo=definition("echo", kernel="echo.bin", memory="16", devices="<console/>" + net(15)))
    ports = [machine.free_port() for _ in range(4)]
    rules = [forward(port, inner, address=address) for port, (address, inner) in zip(
        ports, [(LINUX, PORT_IN), (LINUX, PORT_OUT), (ECHO, PORT_IN), (ECHO, PORT_OUT)])]
    data = ctx.random.randbytes(BULK)
    initrd = linux.initramfs(ctx.root, [linux.program(ctx, "send")])
    with ctx.boot_pvh(guests, files={"initrd.gz": initrd}, forwards=rules) as vm:
        linux.shell(vm)
        this_machine_and_echo(ports[2:], data)
        this_machine_and_linux(vm, ports[:2], data)
        linux_and_echo(vm, data)
        vm.send("poweroff")
        said(vm, r"guest linux ended: exit status 0", timeout=60)


def this_machine_and_echo(ports, data):
    answer = send(ports[0], data).split()
    expect_equal((int(answer[0]), int(answer[1], 16)), (BULK, zlib.crc32(data)), "length and CRC-32 at the PV guest")
    with connect(ports[1]) as connection:
        connection.sendall(b"%d\n" % BULK)
        expect(receive(connection) == echo_sequence(), "what the PV guest sends")


def this_machine_and_linux(vm, ports, data):
    """Linux keeps what it gets in /tmp/data."""
    vm.send(f"nc -l -p {PORT_IN} >/tmp/data & sleep 1; echo liste''ns; wait; sha256sum /tmp/data")
    vm.wait_for(r"^listens", timeout=30)
    send(ports[0], data)
    vm.wait_for(sha256(data), timeout=300)
    vm.send(f"send /tmp/data {PORT_OUT}")
    vm.wait_for(r"^listens", timeout=30)
    with connect(ports[1]) as connection:
        expect_equal(sha256(receive(connection)), sha256(data), "what Linux sends")


def linux_and_echo(vm, data):
    vm.send(f"send /tmp/data {ECHO} {PORT_IN}")
    answer = vm.wait_for(r"^(\d+) ([0-9a-f]+)\n", timeout=300)
    expect_equal((int(answer[1]), int(answer[2], 16)), (BULK, zlib.crc32(data)), "length and CRC-32 at the PV guest")
    # Linux must not close its half: the guest `echo` would end there.
    vm.send(f"rm /tmp/data; mkfifo /tmp/ask; nc {ECHO} {PORT_OUT} </tmp/ask | sha256sum & exec 3>/tmp/ask")
    vm.send(f"echo {BULK} >&3; wait %1; exec 3>&-")
    vm.wait_for(sha256(echo_sequence()), timeout=300)
