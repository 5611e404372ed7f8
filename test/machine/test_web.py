"""Pages from power-on to the client: what webd serves is, byte for byte, what its partition holds."""

import threading
import time
import urllib.parse

import archive
import vm as machine
from guests import Http, forward, get, ready, web
from harness import expect, expect_equal, slow

SIZES = (0, 1, 511, 512, 513, 4095, 4096, 4097, 32767, 32768, 65536, 65537, 1_000_000)


def site(ctx):
    """Random files of awkward sizes, in folders and with odd names. By the path that asks for them."""
    files = {f"{size}.bin": ctx.random.randbytes(size) for size in SIZES}
    files["index.html"] = ctx.random.randbytes(3000)
    files["sub/index.html"] = ctx.random.randbytes(700)
    files["sub/deeper/still/file.txt"] = ctx.random.randbytes(5000)
    files["with space & more%41+é.html"] = ctx.random.randbytes(900)
    return files


def boot(ctx, start, files, **options):
    port = machine.free_port()
    options.setdefault("guests", ctx.guests(webd=web()))
    return port, start(content=archive.newc(files), forwards=[forward(port)], **options)


def same(port, files):
    for name, data in files.items():
        answer = get(port, "/" + urllib.parse.quote(name))
        expect_equal(answer.status, 200, name)
        expect(answer.body == data, f"{name}: what is served is what the archive holds")


def serve(ctx, start, seconds, **options):
    files = site(ctx)
    port, vm = boot(ctx, start, files, **options)
    with vm:
        ready(vm, "webd", timeout=seconds)
        same(port, files)
        vm.poweroff()


def test_bios(ctx):
    serve(ctx, ctx.boot, 30)


@slow
def test_uefi(ctx):
    serve(ctx, ctx.boot, 90, firmware="uefi")


def test_pvh(ctx):
    serve(ctx, ctx.boot_pvh, 30, disk=True)


@slow
def test_large_file(ctx):
    """48 MiB in one answer, and its parts from anywhere."""
    data = ctx.random.randbytes(48 << 20)
    port, vm = boot(ctx, ctx.boot_pvh, {"large": data}, disk=True)
    with vm:
        ready(vm, "webd")
        expect(get(port, "/large").body == data, "all of it")
        for _ in range(50):
            first = ctx.random.randrange(len(data))
            last = min(first + ctx.random.randrange(1, 200_000), len(data)) - 1
            answer = get(port, "/large", Range=f"bytes={first}-{last}")
            expect_equal(answer.status, 206, "status")
            expect(answer.body == data[first:last + 1], f"bytes {first} to {last}")
        vm.poweroff()


def test_http(ctx):
    """Ranges, HEAD, folders, keep-alive; and requests that are wrong."""
    files = site(ctx)
    port, vm = boot(ctx, ctx.boot_pvh, files, disk=True)
    with vm:
        ready(vm, "webd")
        folders(port, files)
        ranges(port, files["1000000.bin"])
        head(port, files)
        keep_alive(port, files)
        climbing(port, files)
        wrong(port)
        same(port, files)
        vm.poweroff()


def folders(port, files):
    expect(get(port, "/").body == files["index.html"], "/ is its index")
    expect(get(port, "/sub/").body == files["sub/index.html"], "/sub/ is its index")
    moved = get(port, "/sub")
    expect_equal((moved.status, moved.fields.get("location")), (301, "/sub/"), "/sub")
    expect_equal(get(port, "/sub/deeper/").status, 404, "a folder without index")
    expect_equal(get(port, "/sub/nothing").status, 404, "no such file")
    expect_equal(get(port, "/1.bin/").status, 404, "a file as a folder")
    expect(get(port, "/%31.bin?query=1%").body == files["1.bin"], "a query does not matter")


def ranges(port, data):
    size = len(data)
    for text, first, end in (("0-0", 0, 1), ("0-", 0, size), ("511-512", 511, 513), ("-1", size - 1, size),
                             (f"{size - 1}-", size - 1, size), (f"500000-{size * 9}", 500_000, size),
                             (f"-{size * 9}", 0, size), ("4095-40000", 4095, 40_001)):
        answer = get(port, "/1000000.bin", Range=f"bytes={text}")
        expect_equal(answer.status, 206, text)
        expect_equal(answer.fields.get("content-range"), f"bytes {first}-{end - 1}/{size}", text)
        expect(answer.body == data[first:end], f"the bytes of {text}")
    for text in (f"{size}-", f"{size}-{size + 5}", "-0"):
        answer = get(port, "/1000000.bin", Range=f"bytes={text}")
        expect_equal((answer.status, answer.fields.get("content-range")), (416, f"bytes */{size}"), text)
    for text in ("bytes=5-4", "bytes=a-b", "lines=0-1", "bytes=0-1,5-6", "bytes=-", "bytes"):
        answer = get(port, "/1000000.bin", Range=text)
        expect(answer.status == 200 and answer.body == data, f"{text} is ignored")
    expect_equal(get(port, "/0.bin", Range="bytes=0-0").status, 416, "a range of nothing")


def head(port, files):
    for name in ("4097.bin", "0.bin"):
        answer = get(port, "/" + name, "HEAD")
        expect_equal((answer.status, int(answer.fields["content-length"])), (200, len(files[name])), name)
    with Http(port) as http:
        http.request("/4097.bin", "HEAD")
        expect(http.request("/513.bin").body == files["513.bin"], "nothing follows a HEAD's answer")
    expect_equal(get(port, "/none", "HEAD").status, 404, "HEAD of nothing")


def keep_alive(port, files):
    with Http(port) as http:
        for name in list(files) * 2:
            answer = http.request("/" + urllib.parse.quote(name))
            expect_equal(answer.fields.get("connection"), "keep-alive", name)
            expect(answer.body == files[name], f"{name}, on the same connection")
    names = ["4097.bin", "0.bin", "65537.bin", "index.html"] * 5
    with Http(port) as http:  # all asked before the first is answered
        http.send(b"".join(f"GET /{name} HTTP/1.1\r\nHost: test\r\n\r\n".encode() for name in names))
        for name in names:
            expect(http.receive().body == files[name], f"{name}, in its turn")
    with Http(port) as http:
        for byte in b"GET /513.bin HTTP/1.1\r\nHost: test\r\n\r\n":
            http.send(bytes([byte]))
        expect(http.receive().body == files["513.bin"], "a request in single bytes")
    with Http(port) as http:
        answer = http.request("/513.bin", Connection="close")
        expect_equal(answer.fields.get("connection"), "close", "Connection")
        expect_equal(http.stream.read(), b"", "after the last answer")
    with Http(port) as http:
        http.send(b"GET /513.bin HTTP/1.0\r\n\r\n")
        expect(http.receive().body + http.stream.read() == files["513.bin"], "HTTP/1.0")


def climbing(port, files):
    for path in ("/../index.html", "/sub/../../etc/passwd", "/%2e%2e/index.html", "/sub/..%2findex.html", "/..",
                 "/sub/%2E%2e"):
        expect_equal(get(port, path).status, 400, path)
    expect(get(port, "/with%20space%20&%20more%2541+%C3%A9.html").body == files["with space & more%41+é.html"],
           "percent-encoding")
    for path in ("/%", "/%4", "/%zz", "/%00index.html", "/%0d%0aX:y"):
        expect_equal(get(port, path).status, 400, path)


def wrong(port):
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"):
        answer = get(port, "/", method)
        expect_equal((answer.status, answer.fields.get("allow")), (405, "GET, HEAD"), method)
    expect_equal(get(port, "/", "BREW").status, 501, "BREW")
    for request, status in ((b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
                            (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
                            (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
                            (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
                            (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
                            (b"GET /\r\n\r\n", 400),
                            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),  # TLS
                            (b"GET index.html HTTP/1.1\r\nHost: a\r\n\r\n", 400),
                            (b"GET /" + b"a" * 1500 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
                            (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 5000, 431)):
        with Http(port) as http:
            try:
                http.send(request)
                expect_equal(http.receive().status, status, request[:60])
            except ConnectionResetError:
                expect(status == 431, f"{request[:60]!r} is answered")  # it did not want the rest


def connect(port):
    """A connection that is surely there: the emulator's network has room for two that are not, and the
    client's system waits for seconds before it tries again."""
    http = Http(port)
    http.request("/0", "HEAD")
    return http


def test_at_once(ctx):
    """Many connections at the same time, each gets its own bytes; idle ones do not keep others out."""
    files = {f"{n}": ctx.random.randbytes(ctx.random.randrange(200_000)) for n in range(40)}
    port, vm = boot(ctx, ctx.boot_pvh, files, disk=True)
    failed = []

    def fetch(http, seed):
        try:
            for step in range(10):
                name = str((seed * 7 + step * 3) % len(files))
                if http.request("/" + name).body != files[name]:
                    failed.append(f"{name} differs")
        except (OSError, ValueError) as error:
            failed.append(f"{seed}: {error!r}")

    with vm:
        ready(vm, "webd")
        idle = [connect(port) for _ in range(50)]
        threads = [threading.Thread(target=fetch, args=(connect(port), n)) for n in range(60)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expect(not failed, f"{len(failed)} failed: {failed[:5]}")
        for http in idle:
            http.close()
        expect(get(port, "/5").body == files["5"], "afterwards")
        vm.poweroff()


def first_answers(ctx):
    """Seconds until those who come all at once to a guest that has not sent anything yet are all answered."""
    port, vm = boot(ctx, ctx.boot_pvh, {"index.html": b"x"}, disk=True)
    with vm:
        ready(vm, "webd")
        started = time.monotonic()
        clients = [Http(port) for _ in range(2)]  # more do not get in at once, see connect
        for http in clients:
            http.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        for http in clients:
            expect_equal(http.receive().body, b"x", "body")
            http.close()
        seconds = time.monotonic() - started
        vm.poweroff()
        return seconds


def test_first_clients(ctx):
    """They are answered before anything was sent again: what a guest sends before it knows their address on the
    network waits, and is not thrown away. If it were, that would take seconds each time; this machine may now and
    then."""
    took = []
    while len(took) < 3 and (not took or took[-1] >= 2):
        took.append(first_answers(ctx))
    expect(took[-1] < 2, f"seconds until they were answered: {took}")


def test_no_content(ctx):
    """A partition that holds no archive: webd says so and ends; the host goes on."""
    with ctx.boot_pvh(ctx.guests(webd=web()), content=ctx.random.randbytes(100_000), disk=True) as vm:
        ready(vm)
        vm.wait_for(r"guest webd ended: exit status 1", 20)
        vm.poweroff()
