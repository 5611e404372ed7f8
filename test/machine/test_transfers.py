"""128 MiB each way between a Linux guest, a PV guest and this machine: none lost, none changed."""

import concurrent.futures
import hashlib
import re
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


@slow
@limit(600)
def test_four_pairs_of_queues(ctx):
    """A guest with four processors has as many pairs of queues, uses several, and on none is anything lost."""
    flows = range(4)
    guests = ctx.guests(linux=linux.definition(memory=384, vcpus=4, devices=net(16),
                                               arguments=f"address={LINUX}/24 gateway=10.0.2.2"))
    inner = [900 + i for i in range(8)]
    ports = [machine.free_port() for _ in inner]
    rules = [forward(port, wanted, address=LINUX) for port, wanted in zip(ports, inner)]
    data = [ctx.random.randbytes(8 << 20) for _ in flows]
    initrd = linux.initramfs(ctx.root, [linux.program(ctx, "send")])
    with ctx.boot_pvh(guests, files={"initrd.gz": initrd}, forwards=rules) as vm, \
            concurrent.futures.ThreadPoolExecutor(len(flows)) as pool:
        linux.shell(vm)
        vm.send("cd /sys/class/net/eth0/queues; echo rx-* tx-*; cd /tmp; dmesg -n 1")
        vm.wait_for(r"^rx-0 rx-1 rx-2 rx-3 tx-0 tx-1 tx-2 tx-3\s", timeout=30)
        listen(vm, {inner[i]: i for i in flows}, "sha256sum ?")
        list(pool.map(send, ports, data))
        for i in flows:
            expect_equal(vm.wait_for(rf"^([0-9a-f]{{64}})  {i}\s", timeout=120)[1], sha256(data[i]), f"flow {i} in")
        for i in flows:
            vm.send(f"send {i} {inner[4 + i]} &")
        for i in flows:
            vm.wait_for(r"listens", timeout=30)
        sent = pool.map(lambda port: receive(connect(port)), ports[4:])
        expect_equal([sha256(piece) for piece in sent], [sha256(piece) for piece in data], "the flows out")
        expect(len(busy(vm, "input")) > 1, "several queues have received")
        expect(len(busy(vm, "output")) > 1, "several queues have transmitted")
        vm.send("poweroff -f")
        said(vm, r"guest linux ended: exit status 0", timeout=60)


def listen(vm, files, afterwards):
    """The Linux guest keeps what comes to each port in a file, and then does what is said. One line: a program in
    the background that finds more of the terminal's input than the shell has read is stopped by SIGTTIN."""
    programs = " ".join(f"nc -l -p {port} >{file} &" for port, file in files.items())
    ports = "|".join(map(str, files))
    vm.send(f"{programs} until [ $(netstat -ltn | grep -cE ':({ports}) ') = {len(files)} ]; do sleep 0.1; done; "
            f"echo liste''ning; wait; {afterwards}")
    vm.wait_for(r"^listening$", timeout=30)


def busy(vm, direction):
    """The network card's interrupts that have come."""
    begin = vm.cursor
    vm.send(f"grep -e '-{direction}' /proc/interrupts; echo do''ne")
    vm.wait_for(r"^done", timeout=30)
    lines = re.findall(rf"^ *\d+:((?: +\d+){{4}}) .*virtio\d+-{direction}", vm.text[begin:vm.cursor], re.M)
    return [counts for counts in lines if any(int(count) for count in counts.split())]


def this_machine_and_echo(ports, data):
    answer = send(ports[0], data).split()
    expect_equal((int(answer[0]), int(answer[1], 16)), (BULK, zlib.crc32(data)), "length and CRC-32 at the PV guest")
    with connect(ports[1]) as connection:
        connection.sendall(b"%d\n" % BULK)
        expect(receive(connection) == echo_sequence(), "what the PV guest sends")


def this_machine_and_linux(vm, ports, data):
    """Linux keeps what it gets in /tmp/data."""
    listen(vm, {PORT_IN: "/tmp/data"}, "sha256sum /tmp/data")
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
