"""Connections that send nothing, or a byte now and then, or read no answer: they end; others are served."""

import asyncio
import hashlib
import inspect
import time
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import httpx2
import pytest
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from contatto.ui import connection_limits as limits
from tests.house.tree import ROOT
from tests.security.serving import Server, serving

SHORTER = """
from contatto.ui import connection_limits as limits
limits.HEAD_S, limits.BODY_S, limits.READ_S, limits._SWEEP_S = 1.0, 1.5, 2.0, 0.1
"""
"""The same limits with less time, so that a test can wait for them."""
LONGER_S = 6.0
"""More than any of the limits above."""
ENDS_S = 60.0
"""So long takes only what never ends, however busy the machine is."""
HEAD = b"GET /login HTTP/1.1\r\nHost: x\r\n"
type Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), before=SHORTER) as running:
        yield running


@asynccontextmanager
async def connected(server: Server, address: str = "127.0.0.1") -> AsyncIterator[Pair]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, local_addr=(address, 0))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def told(reader: asyncio.StreamReader, within_s: float = ENDS_S) -> bytes:
    """All that the server says until it ends the connection."""
    found = bytearray()
    with suppress(ConnectionError):
        async with asyncio.timeout(within_s):
            while part := await reader.read(65_536):
                found += part
    return bytes(found)


async def drip(writer: asyncio.StreamWriter, part: bytes, pause_s: float = 0.1) -> None:
    with suppress(ConnectionError):
        while not writer.is_closing():
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause_s)


async def said_to(server: Server, *parts: bytes, then: bytes = b"") -> tuple[bytes, float]:
    """What the server answers to these parts and an endless drip, and after how many seconds it ended."""
    async with connected(server) as (reader, writer):
        start = time.monotonic()
        for part in parts:
            with suppress(ConnectionError):
                writer.write(part)
                await writer.drain()
        dripping = asyncio.create_task(drip(writer, then)) if then else None
        answer = await told(reader, 2 * ENDS_S)
        if dripping:
            dripping.cancel()
        return answer, time.monotonic() - start


def post(server: Server, *headers: str) -> bytes:
    lines = (f"POST /chat/{server.ids['webchat_id']}/messages HTTP/1.1", "Host: x", *headers)
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def test_a_head_that_comes_by_the_byte_is_ended(server: Server) -> None:
    answer, took = asyncio.run(said_to(server, HEAD, then=b"x"))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert took < ENDS_S


def test_a_connection_that_says_nothing_is_ended_without_a_word(server: Server) -> None:
    answer, took = asyncio.run(said_to(server))
    assert answer == b""
    assert 0.8 < took < ENDS_S


def test_empty_lines_after_an_answer_keep_no_connection(server: Server) -> None:
    answer, took = asyncio.run(said_to(server, HEAD + b"\r\n", then=b"\r\n"))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 4" not in answer
    assert took < 5 + ENDS_S  # a connection may be kept for five seconds


@pytest.mark.parametrize("kind", ["of a length", "in chunks", "in extensions of a chunk"])
def test_a_body_that_comes_by_the_byte_is_ended(server: Server, kind: str) -> None:
    if kind == "of a length":
        answer, took = asyncio.run(said_to(server, post(server, "Content-Length: 60000"), then=b"x"))
    else:
        head = post(server, "Transfer-Encoding: chunked")
        more = b"1\r\nx\r\n" if kind == "in chunks" else b"x"
        first = b"" if kind == "in chunks" else b"1;"
        answer, took = asyncio.run(said_to(server, head + first, then=more))
    assert took < ENDS_S
    assert answer.startswith((b"HTTP/1.1 408 ", b"HTTP/1.1 401 "))


def test_a_body_that_nobody_waits_for_ends_too(server: Server) -> None:
    head = b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n"
    answer, took = asyncio.run(said_to(server, head, then=b"x"))
    assert b" 404 " in answer.partition(b"\r\n")[0]
    assert took < ENDS_S


def test_a_body_over_a_slow_line_is_taken(server: Server) -> None:
    async def send() -> bytes:
        async with httpx2.AsyncClient(base_url=server.url, timeout=ENDS_S) as client:
            await client.get(f"/chat/{server.ids['webchat_id']}")
            cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        body = b'{"client_message_id": "slow-line-1", "text": "' + b"x" * 5_900 + b'"}' + b" " * 28_000
        head = post(server, f"Content-Length: {len(body)}", "Content-Type: application/json",
                    "Connection: close", f"Cookie: {cookies}")  # fmt: skip
        async with connected(server) as (reader, writer):
            writer.write(head)
            for first in range(0, len(body), 1_000):  # 10 kB a second, for longer than BODY_S
                writer.write(body[first : first + 1_000])
                await writer.drain()
                await asyncio.sleep(0.1)
            return await told(reader)

    assert asyncio.run(send()).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "head",
    [HEAD + b"X-Long: " + b"x" * 40_000 + b"\r\n\r\n", HEAD + b"X: y\r\n" * 200 + b"\r\n",
     b"GET /login?" + b"x" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
     HEAD + b"X-Endless: " + b"x" * 5_000_000, HEAD + b"x" * 40_000],
    ids=["a long header", "many headers", "a long address", "a header without end", "a name without end"],
)  # fmt: skip
def test_a_head_that_is_too_large_is_refused(server: Server, head: bytes) -> None:
    answer, _ = asyncio.run(said_to(server, head))  # refused for its time, it would be told so: 408
    assert answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 ")) or not answer


def test_trailers_are_left_unread(server: Server) -> None:
    chunks = b"0\r\n" + b"".join(b"T%d: x\r\n" % number for number in range(20_000)) + b"\r\n"
    before = server.memory()
    answer, _ = asyncio.run(
        said_to(server, post(server, "Transfer-Encoding: chunked", "Connection: close"), chunks)
    )
    assert answer.startswith(b"HTTP/1.1 4")
    assert server.memory() - before < 20_000_000


def test_an_answer_that_nobody_reads_is_given_up(server: Server) -> None:
    async def send() -> bool:
        async with connected(server) as (reader, writer):
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            ask = b"GET /static/ui/vendor/htmx-4.0.1.min.js HTTP/1.1\r\nHost: x\r\n\r\n"
            writer.write(ask * 800)
            await asyncio.sleep(LONGER_S)
            writer.transport.resume_reading()  # type: ignore[attr-defined]
            found = await told(reader)
            return found.count(b"HTTP/1.1 200") < 800 and reader.at_eof()

    assert asyncio.run(send())


async def look(server: Server, address: str = "127.0.0.1") -> float:
    """Seconds until a page is there, over a connection of its own."""
    start = time.monotonic()
    transport = httpx2.AsyncHTTPTransport(local_address=address)
    async with httpx2.AsyncClient(base_url=server.url, transport=transport, timeout=ENDS_S) as client:
        assert (await client.get("/login")).status_code == 200
    return time.monotonic() - start


@pytest.mark.parametrize(
    "first",
    [b"", HEAD, b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"],
    ids=["nothing", "half a head", "no body"],
)
def test_five_hundred_half_open_connections_hold_up_nobody(server: Server, first: bytes) -> None:
    async def attack() -> tuple[list[float], int]:
        pairs = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(500)]
        for _, writer in pairs:
            writer.write(first)
        took = [await look(server) for _ in range(20)]
        answers = await asyncio.gather(*(told(reader) for reader, _ in pairs))
        ended = sum(reader.at_eof() or reader.exception() is not None for reader, _ in pairs)
        for _, writer in pairs:
            writer.transport.abort()
        assert {answer[:13] for answer in answers} <= {b"", b"HTTP/1.1 408 ", b"HTTP/1.1 403 "}
        return took, ended

    took, ended = asyncio.run(attack())
    assert max(took) < ENDS_S, took
    assert ended == 500


def test_a_stream_that_is_read_stays_open(server: Server) -> None:
    async def listen() -> bool:
        async with httpx2.AsyncClient(base_url=server.url, timeout=ENDS_S) as client:
            chat = f"/chat/{server.ids['webchat_id']}"
            await client.get(chat)
            async with client.stream("GET", f"{chat}/stream") as stream:
                parts = stream.aiter_raw()
                await anext(parts)
                await asyncio.sleep(LONGER_S / 2)
                sent = {"client_message_id": "to-the-stream", "text": "Still there?"}
                assert (await client.post(f"{chat}/messages", json=sent)).status_code == 200
                return b"Still there?" in await anext(parts)

    assert asyncio.run(listen())


def test_one_network_takes_a_part_of_all_connections_and_leaves_the_rest(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async def crowd(server: Server) -> tuple[list[bytes], float]:
        async with httpx2.AsyncClient(base_url=server.url, timeout=ENDS_S) as client:
            chat = f"/chat/{server.ids['webchat_id']}"
            await client.get(chat)
            cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        ask = f"GET {chat}/stream HTTP/1.1\r\nHost: x\r\nCookie: {cookies}\r\n\r\n".encode()
        pairs = []
        for _ in range(14):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(ask)
            pairs.append((reader, writer))
        lines = await asyncio.gather(*(reader.read(400) for reader, _ in pairs))
        elsewhere = await look(server, "127.0.0.9")
        for _, writer in pairs:
            writer.transport.abort()
        await asyncio.sleep(0.3)
        assert await look(server) < ENDS_S  # who has gone leaves room
        return lines, elsewhere

    with serving(tmp_path_factory.mktemp("small"), max_connections="40") as server:
        lines, elsewhere = asyncio.run(crowd(server))
    refused = [line for line in lines if line.startswith(b"HTTP/1.1 503 ")]
    assert len(refused) == 4
    assert all(b"retry-after: 5" in line for line in refused)
    assert sum(line.startswith(b"HTTP/1.1 200 ") for line in lines) == 10
    assert elsewhere < ENDS_S


OVERRIDDEN = {
    "connection_made": "6efb565ff3d3", "connection_lost": "c91a4c9bf2e2", "data_received": "010a7ae59a5d",
    "on_message_begin": "96d377fdc7c2", "on_header": "65d62c044f61", "on_headers_complete": "1ea8589acfad",
    "on_body": "dba9c32aeba3", "on_message_complete": "1fbad42dc31f", "on_response_complete": "64e254f28e38",
    "pause_writing": "17a8fd215d96", "resume_writing": "7844bbaa8cce", "send_400_response": "ae5a4a3782b6",
    "_start_asgi_task": "9c08c2571ae9",
}  # fmt: skip
"""Hashes of uvicorn's methods that our protocol overrides, repeats or calls."""


def test_the_parts_of_uvicorn_that_are_overridden_are_those_that_were_tested() -> None:
    hashes = {
        name: hashlib.sha256(inspect.getsource(getattr(HttpToolsProtocol, name)).encode()).hexdigest()[:12]
        for name in OVERRIDDEN
    }
    assert hashes == OVERRIDDEN, (
        "read what changed in uvicorn, then renew ui/connection_limits and this table"
    )
    own = set(vars(limits.GuardedProtocol)) & set(vars(HttpToolsProtocol))
    assert own - {"__init__", "__module__", "__doc__", "__static_attributes__", "__firstlineno__"} <= set(
        OVERRIDDEN
    )
    assert [*inspect.signature(FlowControl).parameters] == ["transport"]
    assert {"pause_reading", "resume_reading"} <= set(vars(FlowControl))


def test_one_minor_version_of_uvicorn_is_allowed_and_it_is_the_tested_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    [needed] = [text for text in project["dependencies"] if text.startswith("uvicorn")]
    major, minor = map(int, uvicorn.__version__.split(".")[:2])
    assert needed == f"uvicorn>={major}.{minor},<{major}.{minor + 1}"
