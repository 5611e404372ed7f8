"""The guest `echo`: bytes through the network in bulk, both ways, none lost and none changed."""

import socket
import threading
import time
import zlib

import vm as machine
from guests import command, definition, forward, net, ready
from harness import expect, expect_equal, limit, slow

BULK = 64 << 20


def boot(ctx, more="", **options):
    ports = {inner: machine.free_port() for inner in (7, 9, 19, "udp")}
    rules = [forward(port, 7 if inner == "udp" else inner, protocol="udp" if inner == "udp" else "tcp")
             for inner, port in ports.items()]
    guests = ctx.guests(echo=definition("echo", kernel="echo.bin", memory="16", devices="<console/>" + net(15, more)))
    return ports, ctx.boot_pvh(guests, forwards=rules, **options)


def connect(port):
    return socket.create_connection(("127.0.0.1", port), 60)


def receive_all(connection):
    pieces = []
    while piece := connection.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def send_bulk(port, data):
    with connect(port) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        said = receive_all(connection).split()
    expect_equal(int(said[0]), len(data), "bytes that arrived")
    expect_equal(int(said[1], 16), zlib.crc32(data), "their CRC-32")


def receive_bulk(port, size):
    with connect(port) as connection:
        connection.sendall(b"%d\n" % size)
        data = receive_all(connection)
    wanted = bytes(range(251)) * (size // 251 + 1)
    expect_equal(len(data), size, "bytes that came")
    expect(data == wanted[:size], "they are what was sent")


@slow
@limit(300)
def test_bulk(ctx):
    """64 MiB into the guest, 64 MiB out of it."""
    ports, vm = boot(ctx)
    with vm:
        ready(vm, "echo")
        send_bulk(ports[9], ctx.random.randbytes(BULK))
        receive_bulk(ports[19], BULK)
        device = next(d for d in command(vm, "info echo")["devices"] if d["class"] == "net")
        expect(device["received_bytes"] > BULK and device["transmitted_bytes"] > BULK, f"counted: {device}")
        vm.poweroff()


def test_both_ways(ctx):
    """Both directions at the same time, and echoes meanwhile."""
    ports, vm = boot(ctx)
    failed = []

    def run(function, *arguments):
        try:
            function(*arguments)
        except Exception as error:  # of a thread: told below
            failed.append(f"{function.__name__}: {error!r}")

    with vm:
        ready(vm, "echo")
        data = ctx.random.randbytes(6 << 20)
        threads = [threading.Thread(target=run, args=parts) for parts in (
            (send_bulk, ports[9], data), (receive_bulk, ports[19], 6 << 20),
            (echo, ports[7], data[:1 << 20]), (echo, ports[7], data[1 << 20:2 << 20]))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expect(not failed, f"{failed}")
        vm.poweroff()


def echo(port, data):
    with connect(port) as connection:
        sender = threading.Thread(target=lambda: (connection.sendall(data), connection.shutdown(socket.SHUT_WR)))
        sender.start()
        back = receive_all(connection)
        sender.join()
    expect(back == data, "what comes back is what was sent")


def test_udp(ctx):
    """Datagrams of all sizes, those that need fragments as well."""
    ports, vm = boot(ctx)
    with vm:
        ready(vm, "echo")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", ports["udp"]))
            client.settimeout(10)
            before = None
            for size in (1, 2, 17, 512, 1471, 1472, 1473, 4000, 9000):
                data = ctx.random.randbytes(size)
                for attempt in range(3):  # nobody promises that a datagram arrives
                    client.send(data)
                    try:
                        back = client.recv(65536)
                        while back == before:  # it was asked twice, and had been slow
                            back = client.recv(65536)
                        expect(back == data, f"{size} bytes come back")
                        break
                    except TimeoutError:
                        expect(attempt < 2, f"{size} bytes are answered")
                before = data
        device = next(d for d in command(vm, "info echo")["devices"] if d["class"] == "net")
        expect_equal(device["dropped_spoofed"], 0, "frames of a well-behaved guest that count as spoofed")
        vm.poweroff()


@slow
def test_rate_limit(ctx):
    """<outbound average>: a guest sends no faster than it may."""
    ports, vm = boot(ctx, "<bandwidth><outbound average='500' burst='128'/></bandwidth>")
    with vm:
        ready(vm, "echo")
        started = time.monotonic()
        receive_bulk(ports[19], 1 << 20)
        seconds = time.monotonic() - started
        expect(seconds > 1.6, f"1 MiB at 500 KiB a second, the first 128 KiB at once: {seconds:.1f} s")
        device = next(d for d in command(vm, "info echo")["devices"] if d["class"] == "net")
        expect(device["dropped_rate"] > 0, "what was over the rate is counted")
        vm.poweroff()
