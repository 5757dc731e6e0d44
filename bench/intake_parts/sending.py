"""Signed requests as TikTok sends them, every third with contact details, sent at once or at a pace."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count as count_from
from typing import Final

from contatto.channels.connectors.tiktok import SIGNATURE_HEADER, sign_body
from contatto.channels.model import ChannelAccount, Platform
from contatto.simulator.traffic import Thread, text_message
from contatto.simulator.world import DemoWorld, phrases_of, plan_people

HOST: Final = "127.0.0.1"
CONNECTIONS: Final = 64
SHARES: Final = 3
"""One message in so many carries contact details."""
PER_PERSON: Final = 4
ANSWERED: Final = (b"HTTP/1.1 200", b"HTTP/1.1 303")


@dataclass(frozen=True)
class Sent:
    """Requests of one world; message number n was written n milliseconds after ``since_ms``."""

    since_ms: int
    requests: list[bytes]


def make_requests(
    world: DemoWorld, count: int, per_person: int = PER_PERSON, accounts: Sequence[ChannelAccount] = ()
) -> Sent:
    """Whole signed requests, of people who chat in several languages; no two messages say the same.

    With ``accounts`` each person writes to one of these.
    """
    accounts = accounts or [world.accounts[Platform.TIKTOK]]
    texts = make_texts()
    now = time.time()
    found: list[bytes] = []
    for number in range(count):
        person = number // per_person
        account = accounts[person % len(accounts)]
        thread = Thread(world.app_id, account.external_id, account.handle, f"p{person}", f"handle_{person}")
        shared = f"call me on +65 9{person:07d} or write to p{person}@example.com"
        text = shared if number % SHARES == 0 else next(texts)
        body = text_message(thread, f"m{number}", text, int(now * 1000) + number)
        head = (
            f"POST /webhooks/tiktok/{world.app_id} HTTP/1.1\r\nhost: {HOST}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
            f"{SIGNATURE_HEADER}: {sign_body(body, world.app_secret, int(now))}\r\n\r\n"
        )
        found.append(head.encode() + body)
    return Sent(int(now * 1000), found)


def make_texts() -> Iterator[str]:
    """Texts of chats without end, none twice: the numbers and addresses in them are those of ever new people.

    What many say in the same words, such as how they greet, ends in three words of one's own.
    """
    said: dict[str, int] = {}
    for seed in count_from(1):
        for visitor in plan_people(seed, 2_000, 86_400.0):
            for line in visitor.lines:
                times = said[line.text] = said.get(line.text, -1) + 1
                yield f"{line.text} {_own_words(times)}" if times else line.text


def _own_words(number: int) -> str:
    """Three words, others for each number up to some ten thousands."""
    words = phrases_of("words")
    kinds = (words["first"], words["second"], words["first"])
    chosen: list[str] = []
    for some in kinds:
        number, place = divmod(number, len(some))
        chosen.append(some[place])
    return " ".join(chosen)


async def send_all(
    port: int,
    requests: Sequence[bytes],
    per_second: float = 0.0,
    answered: dict[int, float] | None = None,
    seconds: float = float("inf"),
) -> list[float]:
    """Send all over some connections, each with one request on its way at a time; say when each was sent.

    With a pace each is sent at its time, or as soon afterwards as a connection is free, and counts from then.
    ``answered`` takes when each was answered.
    After so many ``seconds`` no more are sent.
    """
    waiting = iter(enumerate(requests))
    sent, began = [0.0] * len(requests), time.time()

    async def send_some() -> None:
        reader, writer = await asyncio.open_connection(HOST, port)
        for number, request in waiting:
            if time.time() > began + seconds:
                break
            sent[number] = began + number / per_second if per_second else time.time()
            await asyncio.sleep(max(0.0, sent[number] - time.time()))
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(ANSWERED):
                raise RuntimeError(head.decode())
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            if answered is not None:
                answered[number] = time.time()
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(send_some() for _ in range(CONNECTIONS)))
    return [moment for moment in sent if moment]
