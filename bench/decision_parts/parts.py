"""Parts of an answer of the endpoint: the CPU of each, in one process and without a socket."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any, Final

from contatto.app import create_app, open_context
from contatto.delivery import api
from contatto.delivery.actions import ledger, serving
from contatto.delivery.actions.serving import AdServer
from contatto.kit.log import set_up_logs
from contatto.kit.settings import Settings
from contatto.learning import marketplace as predicting
from contatto.learning.marketplace import Replica
from contatto.wiring import install

WHOLE: Final = "the whole answer, all layers"
PARTS: Final = (
    ("validate the body", api, "_decode"),
    ("choose the ad and sign its links", api, "serve_ad"),
    ("compare with ad groups", serving, "gather_request"),
    ("decide, with its record", Replica, "propose"),
    ("features of the request", predicting, "describe_request"),
    ("auction (kernel)", predicting, "hold_auction"),
    ("issue the ad, with two signed links", serving, "issue_ad"),
    ("write the answer", api, "json_answer"),
    ("log, behind the answer", ledger, "log_decisions"),
)
"""Parts by where they stand; each contains those below it that it calls."""

type Taken = dict[str, int]


def parts_of_answers(home: Path, requests: list[bytes]) -> dict[str, float]:
    """CPU of each part of an answer, in microseconds; the first tenth of the requests warms up.

    Args:
        home: where an installation with live ads lies.
        requests: whole requests of HTTP.
    """
    set_up_logs("warning", "json")
    context = open_context(install(Settings(data_dir=home, worker="separate")))
    taken: Taken = defaultdict(int)
    try:
        with _timed(taken):
            app = create_app(context)
            count = asyncio.run(_ask(app, requests, taken))
    finally:
        context.db.close()
    return {name: nanoseconds / 1_000 / count for name, nanoseconds in taken.items()}


async def _ask(app: Any, requests: list[bytes], taken: Taken) -> int:
    asked = [_as_scope(request) for request in requests]
    warm = len(asked) // 10
    for scope, body in asked[:warm]:
        await _call(app, scope, body)
    await app.state.resources[AdServer].flush()
    taken.clear()
    for number, (scope, body) in enumerate(asked[warm:]):
        before = time.thread_time_ns()
        await _call(app, scope, body)
        taken[WHOLE] += time.thread_time_ns() - before
        if number % 50 == 0:
            await asyncio.sleep(0)
    await app.state.resources[AdServer].flush()
    return len(asked) - warm


async def _call(app: Any, scope: dict[str, Any], body: bytes) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message.get("status", 200) != 200:
            raise RuntimeError(str(message))

    await app(scope | {"state": {}}, receive, send)


def _as_scope(request: bytes) -> tuple[dict[str, Any], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    lines = [line.partition(b": ") for line in head.split(b"\r\n")[1:]]
    path = "/delivery/decide"
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "headers": [(name.lower(), value) for name, _, value in lines],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    return scope, body


@contextmanager
def _timed(taken: Taken) -> Iterator[None]:
    """Let each part note what it takes."""
    before = [(place, name, getattr(place, name)) for _, place, name in PARTS]
    for (title, place, name), (_, _, work) in zip(PARTS, before, strict=True):
        setattr(place, name, _noting(taken, title, work))
    try:
        yield
    finally:
        for place, name, work in before:
            setattr(place, name, work)


def _noting(taken: Taken, title: str, work: Callable[..., Any]) -> Callable[..., Any]:
    async def later(*given: Any, **named: Any) -> Any:
        before = time.thread_time_ns()
        try:
            return await work(*given, **named)
        finally:
            taken[title] += time.thread_time_ns() - before

    def now(*given: Any, **named: Any) -> Any:
        before = time.thread_time_ns()
        try:
            return work(*given, **named)
        finally:
            taken[title] += time.thread_time_ns() - before

    return later if iscoroutinefunction(work) else now
