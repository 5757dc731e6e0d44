"""Bodies of requests: read once, up to a limit, and never waited for again."""

import asyncio

import pytest
from starlette.requests import Request
from starlette.types import Message

from contatto.kit.api_types import read_body
from contatto.kit.errors import Refused

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def request_of(*parts: bytes) -> Request:
    """A request whose body comes in parts; who asks for more waits for ever."""
    waiting = [
        {"type": "http.request", "body": part, "more_body": number < len(parts) - 1}
        for number, part in enumerate(parts)
    ]

    async def receive() -> Message:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop(0)

    return Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)


async def test_the_parts_of_a_body_are_one() -> None:
    assert await read_body(request_of(b"ab", b"", b"c")) == b"abc"


async def test_a_body_beyond_the_limit_is_refused_before_all_of_it_is_there() -> None:
    with pytest.raises(Refused):
        await read_body(request_of(b"ab", b"cd", b"ef"), 3)


async def test_who_reads_a_body_again_is_told_at_once() -> None:
    request = request_of(b"{}")
    await read_body(request)
    with pytest.raises(RuntimeError):
        await asyncio.wait_for(request.json(), 60)
