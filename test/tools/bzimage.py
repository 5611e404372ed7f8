"""The kernel inside a bzImage: what Linux calls vmlinux, an ELF file. Debian compresses it by LZ4."""

import struct
import subprocess

LZ4_LEGACY = b"\x02\x21\x4c\x18"


def payload(image):
    """Documentation/arch/x86/boot.rst: setup_sects, payload_offset, payload_length. Behind it stand 4
    bytes with its length when it is unpacked."""
    setup_bytes = ((image[0x1f1] or 4) + 1) * 512
    offset, length = struct.unpack_from("<II", image, 0x248)
    begin = setup_bytes + offset
    return image[begin:begin + length - 4]


def vmlinux(image):
    data = payload(image)
    if not data.startswith(LZ4_LEGACY):
        raise ValueError(f"compressed in a way that is not known: {data[:6].hex()}")
    return subprocess.run(["lz4", "-dc"], input=data, check=True, capture_output=True).stdout
