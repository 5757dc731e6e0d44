"""The servers that requests are sent to, in a process of their own: they note when each came.

Both processes read one clock. A request whose path begins with ``hangs`` gets no answer.
"""

import asyncio
import json
import subprocess
import sys
import time
from contextlib import suppress
from typing import Final

SERVERS: Final = 21
HANGS: Final = "hangs"
_HANGS_S: Final = 20.0


class Servers:
    """The process; the addresses are its ``hosts``."""

    def __enter__(self) -> "Servers":
        command = [sys.executable, "-c", "from bench.outbound_parts.servers import serve; serve()"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the servers have no input and output")
        self._input, self._output = self._process.stdin, self._process.stdout
        self.hosts: list[str] = json.loads(self._read())
        return self

    def _read(self) -> str:
        return self._output.readline()

    def take(self) -> dict[str, float]:
        """Return when each request came since this was asked last, by its subject."""
        self._input.write("\n")
        self._input.flush()
        got: dict[str, float] = json.loads(self._read())
        return got

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.communicate()


def serve() -> None:
    """Serve until the process is ended; tell what came at each line of the input."""
    got: dict[str, float] = {}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            subject = head.split(b" ")[1].decode().strip("/")
            got.setdefault(subject, time.monotonic())
            if subject.startswith(HANGS):
                await asyncio.sleep(_HANGS_S)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
        writer.close()

    async def go() -> None:
        servers = [await asyncio.start_server(answer, "127.0.0.1", 0) for _ in range(SERVERS)]
        hosts = [f"127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in servers]
        print(json.dumps(hosts), flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(got), flush=True)
            got.clear()

    asyncio.run(go())
