"""Files of requests, read in children, in turn: pictures made anew, and tables. And pictures of answers."""

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
    Picture,
    TableText,
    check_magic,
    decode_text,
    is_workbook,
    not_a_photo,
    read_remade,
    unreadable_workbook,
)

READERS_OF_ONE: Final = 3
"""Bodies of one sender that are read at the same time; one of them at a time is decoded."""
MOST_OF_ONE: Final = 12
"""Requests of one sender that are read, decoded or wait for it; a company or a carrier may be one sender."""
MOST_BYTES: Final = 96 * 1024 * 1024
"""Bytes of all bodies that are held in memory."""
WAIT_S: Final = 10.0
RETRY_S: Final = 5
_SAFE: Final = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class _Sender:
    """The turns of one network, or of one member."""

    def __init__(self) -> None:
        self.count = 0
        self.reading = asyncio.Semaphore(READERS_OF_ONE)
        self.decoding = asyncio.Semaphore(1)


@dataclass(slots=True)
class _Line:
    """Those of one kind of senders who are here, and how many pictures of them are decoded at once."""

    decoding: asyncio.Semaphore
    senders: dict[str, _Sender] = field(default_factory=dict)


class Uploads:
    """Takes pictures in turn: one at a time of each sender, and of strangers never so many that members wait.

    Args:
        confined: where they are decoded. Close it with this.
    """

    def __init__(self, confined: SandboxPool) -> None:
        self._confined = confined
        self._strangers = _Line(asyncio.Semaphore(max(1, confined.most - 1)))
        self._members = _Line(asyncio.Semaphore(confined.most))
        self._held = 0

    async def take_from_stranger(self, request: Request) -> Picture:
        """The picture in a request's body, made anew.

        Raises:
            Refused: PHOTO_TOO_LARGE, NOT_A_PHOTO; TOO_MANY or BUSY, for those who had to wait for too long.
        """
        return await self._take(self._strangers, client_network(request), request)

    async def take_from_member(self, request: Request, member_id: str) -> Picture:
        """The same of somebody whom we know."""
        return await self._take(self._members, member_id, request)

    async def remake(self, raw: bytes, member_id: str) -> Picture:
        """Make a picture anew that was read already, as one part of a form."""
        check_magic(raw)
        async with self._of(self._members, member_id) as sender:
            return await self._remade(self._members, sender, raw)

    async def take_table(
        self, request: Request, member_id: str, languages: Iterable[str] = ()
    ) -> list[list[str]] | TableText:
        """Return the file in a member's request: the rows of a workbook, or a decoded text.

        Raises:
            Refused: INVALID; TOO_MANY or BUSY, for those who had to wait for too long.
        """
        line = self._members
        async with (
            self._of(line, member_id) as sender,
            _in_time(sender.reading, errors.TOO_MANY),
            self._read(request, TABLE_LIMIT, _too_large_table) as raw,
        ):
            if not is_workbook(raw):
                return await asyncio.to_thread(decode_text, raw, tuple(languages))
            async with _in_time(sender.decoding, errors.TOO_MANY), _in_time(line.decoding, errors.BUSY):
                try:
                    found = await self._confined.run(ROWS, raw)
                    return msgspec.json.decode(found, type=list[list[str]])
                except (Overworked, msgspec.MsgspecError) as error:
                    raise unreadable_workbook() from error

    def close(self) -> None:
        """End the children that decode."""
        self._confined.close()

    async def _take(self, line: _Line, key: str, request: Request) -> Picture:
        async with (
            self._of(line, key) as sender,
            _in_time(sender.reading, errors.TOO_MANY),
            self._read(request, PICTURE_LIMIT, _too_large_photo) as raw,
        ):
            check_magic(raw)
            return await self._remade(line, sender, raw)

    @asynccontextmanager
    async def _read(
        self, request: Request, limit: int, too_large: Callable[[], Refused]
    ) -> AsyncIterator[bytes]:
        """A request's body, which is counted as held meanwhile."""
        raw = bytearray()
        try:
            async for part in request.stream():
                raw += part
                self._hold(len(part))
                if len(raw) > limit:
                    raise too_large()
            yield bytes(raw)
        finally:
            self._held -= len(raw)

    @asynccontextmanager
    async def _of(self, line: _Line, key: str) -> AsyncIterator[_Sender]:
        """The turns of a sender, kept for as long as one of their requests is here."""
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

    def _hold(self, count: int) -> None:
        self._held += count
        if self._held > MOST_BYTES:
            raise Refused(errors.BUSY, retry_after_s=RETRY_S)

    async def _remade(self, line: _Line, sender: _Sender, raw: bytes) -> Picture:
        async with _in_time(sender.decoding, errors.TOO_MANY), _in_time(line.decoding, errors.BUSY):
            try:
                return read_remade(await self._confined.run(REMAKE, raw))
            except Overworked as error:
                raise not_a_photo() from error


def _too_large_photo() -> Refused:
    return Refused(errors.PHOTO_TOO_LARGE)


def _too_large_table() -> Refused:
    return Refused(errors.INVALID, "file: the limit is %(most)s MB.", most=TABLE_LIMIT // 1024**2)


@asynccontextmanager
async def _in_time(turn: asyncio.Semaphore, code: ErrorCode) -> AsyncIterator[None]:
    """Hold a turn, if it comes within a while.

    Raises:
        Refused: with the code.
    """
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
    """A picture that the browser shows, and in which nothing can run."""
    ending = media_type.partition("/")[2]
    shown = {"Content-Disposition": f'inline; filename="photo.{ending}"', "Cache-Control": cache}
    return Response(body, media_type=media_type, headers=_SAFE | shown)
