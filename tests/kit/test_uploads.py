"""Pictures in turn: one of each sender, never so many of strangers that members wait, few bytes held."""

import asyncio
from collections.abc import Iterator

import pytest
from starlette.requests import Request
from starlette.types import Message

from contatto.kit import errors, uploads
from contatto.kit.errors import Refused
from contatto.kit.sandbox import SandboxPool
from contatto.kit.sandbox_child import Work
from contatto.kit.untrusted_files import PICTURE_LIMIT, Picture
from contatto.kit.uploads import MOST_OF_ONE, Uploads
from tests.kit.test_pictures import drawn, webp_header

SLOW = webp_header(4_000, 4_000)
QUICK = drawn()
HOME, NEIGHBOUR, ELSEWHERE = "2001:db8:1:1::1", "2001:db8:1:1:ffff::2", "2001:db8:1:2::1"
"""The first two are one /64."""


@pytest.fixture
def confined() -> Iterator[SandboxPool]:
    pool = SandboxPool(clock_s=60)  # on a busy machine a child waits for its turn
    yield pool
    pool.close()


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "WAIT_S", 0.1)


def request(raw: bytes, address: str, held_up: asyncio.Event | None = None) -> Request:
    parts = [raw[:10], raw[10:]]

    async def receive() -> Message:
        if held_up and len(parts) == 1:
            await held_up.wait()
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    return Request({"type": "http", "client": (address, 1), "headers": []}, receive)


def sending(
    desk: Uploads, raw: bytes, address: str, held_up: asyncio.Event | None = None
) -> asyncio.Task[Picture]:
    return asyncio.create_task(desk.take_picture(request(raw, address, held_up)))


async def outcomes(*asked: asyncio.Task[Picture]) -> list[str]:
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(each, Picture | Refused) for each in found), found
    waits = [each.retry_after_s for each in found if isinstance(each, Refused)]
    assert all(waits), "who is sent away is told when to come back"
    return [each.code.name if isinstance(each, Refused) else "taken" for each in found]


def test_a_network_has_one_picture_at_a_time_and_strangers_never_all_places(
    confined: SandboxPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = confined.run

    async def ask() -> list[str]:
        is_begun, may_go_on = asyncio.Event(), asyncio.Event()

        async def run_slowly(work: Work, raw: bytes) -> bytes:
            """A large picture takes as long as the test wants."""
            if raw == SLOW:
                is_begun.set()
                await may_go_on.wait()
            return await run(work, raw)

        monkeypatch.setattr(confined, "run", run_slowly)
        desk = Uploads(confined)
        first = sending(desk, SLOW, HOME)
        await is_begun.wait()
        others = [sending(desk, QUICK, each) for each in (NEIGHBOUR, ELSEWHERE)]
        member = asyncio.create_task(desk.take_picture(request(QUICK, HOME), "a member"))
        got = await outcomes(*others, member)
        may_go_on.set()
        return [*await outcomes(first), *got]

    assert asyncio.run(ask()) == ["taken", "too_many", "busy", "taken"]


def test_a_sender_has_few_requests_here_and_their_place_is_free_again(confined: SandboxPool) -> None:
    async def ask() -> list[str]:
        desk, go_on = Uploads(confined), asyncio.Event()
        slow = [
            asyncio.create_task(desk.take_picture(request(QUICK, HOME, go_on))) for _ in range(MOST_OF_ONE)
        ]
        await asyncio.sleep(0)
        late = await outcomes(sending(desk, QUICK, NEIGHBOUR))
        await asyncio.sleep(0.2)  # those beyond the three that are read give up
        go_on.set()
        held = await outcomes(*slow)
        assert held.count("taken") >= 1
        assert set(held) <= {"taken", "too_many"}
        assert await outcomes(sending(desk, QUICK, NEIGHBOUR)) == ["taken"]
        assert desk._held == 0
        assert not desk._strangers.senders
        return late

    assert asyncio.run(ask()) == ["too_many"]


def test_all_bodies_together_take_a_bounded_number_of_bytes(
    confined: SandboxPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MOST_BYTES", 25)

    async def ask() -> list[str]:
        desk, go_on = Uploads(confined), asyncio.Event()
        held = [
            asyncio.create_task(desk.take_picture(request(QUICK[:12], each, go_on)))
            for each in (HOME, ELSEWHERE)
        ]
        async with asyncio.timeout(60):
            while desk._held < 2 * 10:  # the first part of each
                await asyncio.sleep(0)
        late = await outcomes(sending(desk, QUICK, "192.0.2.1"))
        go_on.set()
        await asyncio.gather(*held, return_exceptions=True)
        assert desk._held == 0
        return late

    assert asyncio.run(ask()) == ["busy"]


def test_what_is_too_large_or_no_picture_is_refused_before_anything_decodes_it(confined: SandboxPool) -> None:
    async def ask(raw: bytes) -> None:
        await Uploads(confined).take_picture(request(raw, HOME))

    for raw, code in (
        (bytes(PICTURE_LIMIT + 11), errors.PHOTO_TOO_LARGE),
        (b"<svg>" * 9, errors.NOT_A_PHOTO),
    ):
        with pytest.raises(Refused) as refused:
            asyncio.run(ask(raw))
        assert refused.value.code is code
    assert not confined._idle
