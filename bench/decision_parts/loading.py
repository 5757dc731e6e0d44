"""Requests that come at their own times, however long answers take: an open loop over kept connections."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.intake_parts.sending import ANSWERED, HOST

CONNECTIONS: Final = 64
"""Kept open; a request that finds all of them busy waits for one, and that counts."""
NO_AD: Final = b'{"ad":null}'


@dataclass
class Loaded:
    """Results of an open loop: times from when a request was due until its answer was whole, in ms."""

    took_ms: list[float] = field(default_factory=list)
    ads: int = 0
    wall_s: float = 0.0


async def load(port: int, requests: Sequence[bytes], per_s: float) -> Loaded:
    """Send each request when it is due, so many in a second, evenly."""
    loaded = Loaded()
    idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        idle.put_nowait(await asyncio.open_connection(HOST, port))

    async def send(request: bytes, due: float) -> None:
        connection = await idle.get()
        body = await exchange(*connection, request)
        loaded.took_ms.append((time.perf_counter() - due) * 1_000)
        loaded.ads += body != NO_AD
        idle.put_nowait(connection)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as sending:
        for number, request in enumerate(requests):
            due = started + number / per_s
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            sending.create_task(send(request, due))
    loaded.wall_s = time.perf_counter() - started
    while not idle.empty():
        _, writer = idle.get_nowait()
        writer.close()
        await writer.wait_closed()
    return loaded


async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    """Send a request, and give the body of its answer."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(ANSWERED):
        raise RuntimeError(head.decode())
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    return await reader.readexactly(int(length))
