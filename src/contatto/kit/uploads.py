"""Uploads: pictures and tables of requests, decoded in sandboxed children in fair order."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from contatto.kit import errors
from contatto.kit.concurrency import slot_released
from contatto.kit.errors import ErrorCode, Refused
from contatto.kit.rate_limits import client_network
from contatto.kit.sandbox import Overworked, SandboxPool
from contatto.kit.untrusted_files import (
    PICTURE_LIMIT,
    REMAKE,
    ROWS,
    TABLE_LIMIT,
    WORKBOOKS,
    Picture,
    TableText,
    check_magic,
    decode_text,
    not_a_photo,
    read_remade,
    unreadable_workbook,
)

READERS_OF_ONE: Final = 3
"""Concurrent bodies of one sender; one of them at a time is decoded."""
MOST_OF_ONE: Final = 12
"""Pending requests of one sender, which may be a company or a carrier."""
MOST_BYTES: Final = 96 * 1024 * 1024
"""Bytes of all bodies in memory."""
WAIT_S: Final = 10.0
RETRY_S: Final = 5
_SAFE: Final = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class _Sender:
    """Limits of one network, or of one member."""

    def __init__(self) -> None:
        self.count = 0
        self.reading = asyncio.Semaphore(READERS_OF_ONE)
        self.decoding = asyncio.Semaphore(1)


@dataclass(slots=True)
class _Line:
    """Senders of one kind, and the limit of their concurrent decoding."""

    decoding: asyncio.Semaphore
    senders: dict[str, _Sender] = field(default_factory=dict)


class Uploads:
    """Reads uploads: one at a time per sender, with capacity reserved for members.

    Args:
        confined: pool of decoders; close it with this.
    """

    def __init__(self, confined: SandboxPool) -> None:
        self._confined = confined
        self._strangers = _Line(asyncio.Semaphore(max(1, confined.most - 1)))
        self._members = _Line(asyncio.Semaphore(confined.most))
        self._held = 0

    async def take_from_stranger(self, request: Request) -> Picture:
        """Return the picture in a request's body, encoded again.

        Raises:
            Refused: PHOTO_TOO_LARGE, NOT_A_PHOTO; TOO_MANY or BUSY after a long wait.
        """
        return await self._take(self._strangers, client_network(request), request)

    async def take_from_member(self, request: Request, member_id: str) -> Picture:
        """Return the picture in a member's request, encoded again."""
        return await self._take(self._members, member_id, request)

    async def remake(self, raw: bytes, member_id: str) -> Picture:
        """Encode a picture again that was part of a form."""
        check_magic(raw)
        async with self._limits_of(self._members, member_id) as sender:
            return await self._remade(self._members, sender, raw)

    async def take_table(
        self, request: Request, member_id: str, languages: Iterable[str] = ()
    ) -> list[list[str]] | TableText:
        """Return the file in a member's request: the rows of a workbook, or a decoded text.

        Raises:
            Refused: INVALID; TOO_MANY or BUSY after a long wait.
        """
        line = self._members

        def too_large() -> Refused:
            return Refused(errors.INVALID, "file: the limit is %(most)s MB.", most=TABLE_LIMIT // 1024**2)

        async with (
            self._limits_of(line, member_id) as sender,
            _in_time(sender.reading, errors.TOO_MANY),
            self._read(request, TABLE_LIMIT, too_large) as raw,
        ):
            if not raw.startswith(WORKBOOKS):
                return await asyncio.to_thread(decode_text, raw, tuple(languages))
            async with _in_time(sender.decoding, errors.TOO_MANY), _in_time(line.decoding, errors.BUSY):
                try:
                    rows = await self._confined.run(ROWS, raw)
                    return msgspec.json.decode(rows, type=list[list[str]])
                except (Overworked, msgspec.MsgspecError) as error:
                    raise unreadable_workbook() from error

    def close(self) -> None:
        """End the children that decode."""
        self._confined.close()

    async def _take(self, line: _Line, key: str, request: Request) -> Picture:
        async with (
            self._limits_of(line, key) as sender,
            _in_time(sender.reading, errors.TOO_MANY),
            self._read(request, PICTURE_LIMIT, lambda: Refused(errors.PHOTO_TOO_LARGE)) as raw,
        ):
            check_magic(raw)
            return await self._remade(line, sender, raw)

    @asynccontextmanager
    async def _read(
        self, request: Request, limit: int, too_large: Callable[[], Refused]
    ) -> AsyncIterator[bytes]:
        """Yield a request's body, and count its bytes meanwhile."""
        raw = bytearray()
        try:
            async for part in request.stream():
                raw += part
                self._held += len(part)
                if self._held > MOST_BYTES:
                    raise Refused(errors.BUSY, retry_after_s=RETRY_S)
                if len(raw) > limit:
                    raise too_large()
            yield bytes(raw)
        finally:
            self._held -= len(raw)

    @asynccontextmanager
    async def _limits_of(self, line: _Line, key: str) -> AsyncIterator[_Sender]:
        """Yield the limits of a sender, kept while one of its requests is pending."""
        sender = line.senders.setdefault(key, _Sender())
        if sender.count >= MOST_OF_ONE:
            raise Refused(errors.TOO_MANY, "Too many files at once.", RETRY_S)
        sender.count += 1
        try:
            yield sender
        finally:
            sender.count -= 1
            if not sender.count:
                del line.senders[key]

    async def _remade(self, line: _Line, sender: _Sender, raw: bytes) -> Picture:
        async with _in_time(sender.decoding, errors.TOO_MANY), _in_time(line.decoding, errors.BUSY):
            try:
                return read_remade(await self._confined.run(REMAKE, raw))
            except Overworked as error:
                raise not_a_photo() from error


@asynccontextmanager
async def _in_time(turn: asyncio.Semaphore, code: ErrorCode) -> AsyncIterator[None]:
    """Take a semaphore within a while; raises a refusal with the code after the wait."""
    try:
        async with slot_released(), asyncio.timeout(WAIT_S):
            await turn.acquire()
    except TimeoutError:
        raise Refused(code, retry_after_s=RETRY_S) from None
    try:
        yield
    finally:
        turn.release()


def picture_answer(media_type: str, body: bytes, cache: str) -> Response:
    """Return a picture as a response in which nothing can run."""
    ending = media_type.partition("/")[2]
    shown = {"Content-Disposition": f'inline; filename="photo.{ending}"', "Cache-Control": cache}
    return Response(body, media_type=media_type, headers=_SAFE | shown)
