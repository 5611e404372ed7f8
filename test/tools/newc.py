"""The cpio format `newc`, which Linux reads as initramfs and Bulkhead as boot archive."""


HEADER_BYTES = 110


def header_bytes(name):
    """Of the header with its name, up to the contents."""
    return (HEADER_BYTES + len(name.encode()) + 1 + 3) // 4 * 4


def add(out, number, name, mode, data):
    raw = name.encode() + b"\0"
    fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0]
    out += b"070701" + b"".join(b"%08X" % field for field in fields) + raw
    out += b"\0" * (-len(out) % 4) + data
    out += b"\0" * (-len(out) % 4)


def pack(entries, aligned_from=None, alignment=4096):
    """An archive of (name, mode, contents) in this order; no times, no owners. Contents of `aligned_from`
    bytes and more begin at a multiple of `alignment`, behind an entry `pad` that is no file."""
    out = bytearray()
    for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        gap = -(len(out) + header_bytes(name)) % alignment
        if aligned_from is not None and len(data) >= aligned_from and gap:
            while gap < header_bytes("pad"):
                gap += alignment
            add(out, 0, "pad", 0, b"\0" * (gap - header_bytes("pad")))
        add(out, number, name, mode, data)
    return bytes(out)
