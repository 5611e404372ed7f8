"""What LZ4's legacy frames hold, in which Debian packs its kernel. Format: lz4_Frame_format.md, "Legacy
frame", and lz4_Block_format.md."""

MAGIC = b"\x02\x21\x4c\x18"
LENGTH_GOES_ON = 255


def unpack(data):
    if not data.startswith(MAGIC):
        raise ValueError("not an LZ4 legacy frame")
    at, out = len(MAGIC), bytearray()
    while at + 4 <= len(data):
        length = int.from_bytes(data[at:at + 4], "little")
        if length > len(data) - at - 4:
            break  # the kernel's build appends the unpacked length
        unpack_block(data[at + 4:at + 4 + length], out)
        at += 4 + length
    return bytes(out)


def read_length(data, at, nibble):
    length = nibble
    while nibble == 15:
        length += data[at]
        at += 1
        if data[at - 1] != LENGTH_GOES_ON:
            break
    return length, at


def unpack_block(data, out):
    at = 0
    while True:
        token = data[at]
        literals, at = read_length(data, at + 1, token >> 4)
        out += data[at:at + literals]
        at += literals
        if at == len(data):
            return
        distance = int.from_bytes(data[at:at + 2], "little")
        match, at = read_length(data, at + 2, token & 15)
        match += 4
        start = len(out) - distance
        if distance >= match:
            out += out[start:start + match]
        else:  # repeats what it writes
            piece = bytes(out[start:])
            out += (piece * (match // distance + 1))[:match]
