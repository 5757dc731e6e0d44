"""Outside systems on real sockets that answer at once, hang, hang up, or answer something else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class Outside:
    """A server that answers each path as it is told; it hangs while ``hangs`` is set.

    A request that ``drops`` is read, and its connection closed without an answer.
    """

    status: int = 200
    hangs: bool = False
    drops: bool = False
    headers: tuple[str, ...] = ()
    body: str = ""
    slow: frozenset[str] = frozenset()
    asked: list[str] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    host: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split(" ")[1].strip("/")
            self.asked.append(path)
            while self.hangs or path in self.slow:
                await asyncio.sleep(0.01)
            if self.drops:
                writer.transport.abort()
                return
            said = f"HTTP/1.1 {self.status} said", f"content-length: {len(self.body)}", "connection: close"
            writer.write("\r\n".join((*said, *self.headers, "", self.body)).encode())
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.at_once -= 1
            writer.close()


@asynccontextmanager
async def outside(**how: object) -> AsyncIterator[Outside]:
    made = Outside(**how)  # type: ignore[arg-type]
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        made.hangs, made.slow = False, frozenset()
        server.close()
