"""A bare Starlette route with group commit: what a durable request costs with nothing else around it."""

import asyncio
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Final

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.intake_parts.serving import Place

_DONE: Final = b'{"received":true}'
type _Waiting = tuple[asyncio.Future[None], tuple[str, bytes]]


class _Groups:
    """Inserts rows as they come: all that came while a commit was on its way go into the next one."""

    def __init__(self, place: Place) -> None:
        self._context = place.open()
        self._mark = "%s" if place.url else "?"
        self._arrived: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._thread = Thread(target=self._write_all)
        self._thread.start()

    async def put(self, key: str, body: bytes) -> None:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arrived.put((waiting, (key, body)))
        await waiting

    def close(self) -> None:
        self._arrived.put(None)
        self._thread.join()
        self._context.db.close()

    def _write_all(self) -> None:
        connection = self._context.db.engine.raw_connection()
        driver: Any = connection.driver_connection
        cursor = driver.cursor()
        kind = "BYTEA" if self._mark == "%s" else "BLOB"
        cursor.execute(f"CREATE TABLE bare_bodies (key TEXT PRIMARY KEY, body {kind})")
        driver.commit()
        insert = f"INSERT INTO bare_bodies VALUES ({self._mark}, {self._mark}) ON CONFLICT DO NOTHING"
        while (first := self._arrived.get()) is not None:
            group = [first, *self._list_arrived()]
            if self._mark == "?":
                cursor.execute("BEGIN IMMEDIATE")
            cursor.executemany(insert, [row for _, row in group])
            driver.commit()
            loop = first[0].get_loop()
            loop.call_soon_threadsafe(_settle, [waiting for waiting, _ in group])
        connection.close()

    def _list_arrived(self) -> list[_Waiting]:
        arrived: list[_Waiting] = []
        while True:
            try:
                one = self._arrived.get_nowait()
            except Empty:
                return arrived
            if one is None:
                self._arrived.put(None)
                return arrived
            arrived.append(one)


def _settle(group: list[asyncio.Future[None]]) -> None:
    for waiting in group:
        waiting.set_result(None)


def serve_bare(home: str, url: str, port: int) -> None:
    """Run a server with one route: it reads a body as JSON and keeps it by its signature."""
    groups = _Groups(Place(Path(home), url))
    read = msgspec.json.Decoder().decode

    async def take(request: Request) -> Response:
        body = await request.body()
        read(body)
        await groups.put(request.headers["tiktok-signature"], body)
        return Response(_DONE, media_type="application/json")

    app = Starlette(routes=[Route("/webhooks/tiktok/{app_id}", take, methods=["POST"])])
    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="warning", server_header=False)
    groups.close()
