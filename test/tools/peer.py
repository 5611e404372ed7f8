"""A machine at the other end of the emulator's network card: Ethernet frames as datagrams, and no more of ARP
(RFC 826), IPv4 (RFC 791) and UDP (RFC 768) than it takes to ask guests by the thousand.

    with Peer() as peer:
        with ctx.boot_pvh(guests, netdev=peer.netdev) as vm:
            answered = peer.ask({mac: ip, ...})
"""

import select
import socket
import struct
import time

import vm

MAC = bytes.fromhex("525400ffff01")
IP = bytes((10, 0, 255, 254))
UDP_PORT = 4000
AT_ONCE = 64  # guests asked before answers are looked for


def address(text):
    return socket.inet_aton(text)


def sum16(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return total


def arp_request(mac, ip):
    """To the guest alone: a broadcast would wake all of them, each time."""
    return mac + MAC + struct.pack(">HHHBBH", 0x806, 1, 0x800, 6, 4, 1) + MAC + IP + bytes(6) + ip


def udp(mac, ip, payload):
    length = 8 + len(payload)
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + length, 0, 0, 64, 17, 0) + IP + ip
    header = header[:10] + struct.pack(">H", 0xffff - sum16(header)) + header[12:]
    # Checksum 0: none was made.
    return mac + MAC + b"\x08\x00" + header + struct.pack(">HHHH", UDP_PORT, 7, length, 0) + payload


class Peer:
    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.emulator = ("127.0.0.1", vm.free_port())
        here, there = self.socket.getsockname()[1], self.emulator[1]
        self.netdev = (f"dgram,local.type=inet,local.host=127.0.0.1,local.port={there},"
                       f"remote.type=inet,remote.host=127.0.0.1,remote.port={here}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def frames(self, seconds):
        """What comes until it has been quiet for so long."""
        while select.select([self.socket], [], [], seconds)[0]:
            yield self.socket.recv(65536)

    def ask_some(self, guests, quiet_s):
        """{mac: ip}: those that answered both an ARP request and a datagram, rightly."""
        arp, echoed = set(), set()
        for mac, ip in guests.items():
            self.socket.sendto(arp_request(mac, ip), self.emulator)
            self.socket.sendto(udp(mac, ip, b"hello, " + mac), self.emulator)
        for frame in self.frames(quiet_s):
            mac = frame[6:12]
            if frame[:6] != MAC or mac not in guests:
                continue
            if frame[12:14] == b"\x08\x06" and frame[20:32] == b"\0\2" + mac + guests[mac]:
                arp.add(mac)
            if frame[12:14] == b"\x08\0" and frame[26:34] == guests[mac] + IP and frame[42:].startswith(b"hello, " + mac):
                echoed.add(mac)
            if len(arp & echoed) == len(guests):
                break
        return arp & echoed

    def ask(self, guests, timeout=60, quiet_s=1):
        """The same for any number of guests; those that do not answer are asked again until the time is up."""
        answered, deadline = set(), time.monotonic() + timeout
        while len(answered) < len(guests) and time.monotonic() < deadline:
            left = [mac for mac in guests if mac not in answered]
            for at in range(0, len(left), AT_ONCE):
                answered |= self.ask_some({mac: guests[mac] for mac in left[at:at + AT_ONCE]}, quiet_s)
        return answered
