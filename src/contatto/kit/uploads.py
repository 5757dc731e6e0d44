"""Uploads, decoded in sandboxed processes in fair order; tables of pictures."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Final

import msgspec
import sqlalchemy as sa
from starlette.requests import Request
from starlette.responses import Response

from contatto.kit import errors
from contatto.kit.concurrency import slot_released
from contatto.kit.db.tx import Tx, instant, key, metadata, rows_of, sealed, tenant
from contatto.kit.errors import ErrorCode, Refused
from contatto.kit.ids import named_id
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


@dataclass(slots=True)
class _Sender:
    """Limits of one network, or of one member."""

    count: int = 0
    reading: asyncio.Semaphore = field(default_factory=partial(asyncio.Semaphore, READERS_OF_ONE))
    decoding: asyncio.Semaphore = field(default_factory=asyncio.Semaphore)


@dataclass(slots=True)
class _SenderGroup:
    """Members or visitors, and the limit of their concurrent decoding."""

    decoding: asyncio.Semaphore
    senders: dict[str, _Sender] = field(default_factory=dict)


class Uploads:
    """Reader of uploads; decodes one per sender, with capacity reserved for members."""

    def __init__(self, sandbox: SandboxPool) -> None:
        self._sandbox = sandbox
        self._strangers = _SenderGroup(asyncio.Semaphore(max(1, sandbox.most - 1)))
        self._members = _SenderGroup(asyncio.Semaphore(sandbox.most))
        self._held = 0

    async def take_picture(self, request: Request, member_id: str = "") -> Picture:
        """Return the picture in a request's body, encoded again; a visitor has no ``member_id``.

        Raises PHOTO_TOO_LARGE, NOT_A_PHOTO; TOO_MANY or BUSY after a long wait.
        """
        group = self._members if member_id else self._strangers
        async with (
            self._limits_of(group, member_id or client_network(request)) as sender,
            _in_time(sender.reading, errors.TOO_MANY),
            self._read(request, PICTURE_LIMIT, Refused(errors.PHOTO_TOO_LARGE)) as raw,
        ):
            check_magic(raw)
            return await self._encode_again(group, sender, raw)

    async def remake(self, raw: bytes, member_id: str) -> Picture:
        """Encode a picture again that a member sent as part of a form."""
        check_magic(raw)
        async with self._limits_of(self._members, member_id) as sender:
            return await self._encode_again(self._members, sender, raw)

    async def take_table(
        self, request: Request, member_id: str, languages: Iterable[str] = ()
    ) -> list[list[str]] | TableText:
        """Return the file in a member's request: the rows of a workbook, or a decoded text.

        Raises INVALID; TOO_MANY or BUSY after a long wait.
        """
        group = self._members
        too_large = Refused(errors.INVALID, "file: the limit is %(most)s MB.", most=TABLE_LIMIT // 1024**2)
        async with (
            self._limits_of(group, member_id) as sender,
            _in_time(sender.reading, errors.TOO_MANY),
            self._read(request, TABLE_LIMIT, too_large) as raw,
        ):
            if not raw.startswith(WORKBOOKS):
                return await asyncio.to_thread(decode_text, raw, tuple(languages))
            async with _in_time(sender.decoding, errors.TOO_MANY), _in_time(group.decoding, errors.BUSY):
                try:
                    rows = await self._sandbox.run(ROWS, raw)
                    return msgspec.json.decode(rows, type=list[list[str]])
                except (Overworked, msgspec.MsgspecError) as error:
                    raise unreadable_workbook() from error

    def close(self) -> None:
        """End the processes that decode."""
        self._sandbox.close()

    @asynccontextmanager
    async def _read(self, request: Request, limit: int, too_large: Refused) -> AsyncIterator[bytes]:
        """Yield a request's body, and count its bytes meanwhile."""
        raw = bytearray()
        try:
            async for part in request.stream():
                raw += part
                self._held += len(part)
                if self._held > MOST_BYTES:
                    raise Refused(errors.BUSY, retry_after_s=RETRY_S)
                if len(raw) > limit:
                    raise too_large
            yield bytes(raw)
        finally:
            self._held -= len(raw)

    @asynccontextmanager
    async def _limits_of(self, group: _SenderGroup, key: str) -> AsyncIterator[_Sender]:
        """Yield the limits of a sender, kept while one of its requests is pending."""
        sender = group.senders.setdefault(key, _Sender())
        if sender.count >= MOST_OF_ONE:
            raise Refused(errors.TOO_MANY, "Too many files at once.", RETRY_S)
        sender.count += 1
        try:
            yield sender
        finally:
            sender.count -= 1
            if not sender.count:
                del group.senders[key]

    async def _encode_again(self, group: _SenderGroup, sender: _Sender, raw: bytes) -> Picture:
        async with _in_time(sender.decoding, errors.TOO_MANY), _in_time(group.decoding, errors.BUSY):
            try:
                return read_remade(await self._sandbox.run(REMAKE, raw))
            except Overworked as error:
                raise not_a_photo() from error


@asynccontextmanager
async def _in_time(turn: asyncio.Semaphore, code: ErrorCode) -> AsyncIterator[None]:
    """Hold a semaphore; refuse with ``code`` after `WAIT_S`."""
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


KEEP_UNUSED: Final = timedelta(days=1)
"""Time that a picture may wait for the draft or message that shows it."""


class PictureTable:
    """Table of sealed pictures; a business keeps each once, by the hash of its content.

    Args:
        name: of the table.
        is_shown: the condition, given the table, for a picture that something shows.
    """

    def __init__(self, name: str, is_shown: Callable[[sa.Table], sa.ColumnElement[bool]]) -> None:
        self.table: Final = sa.Table(
            name,
            metadata,
            key(),
            tenant(),
            sa.Column("digest", sa.String(64), nullable=False),
            sa.Column("media_type", sa.String(32), nullable=False),
            sa.Column("width", sa.Integer, nullable=False),
            sa.Column("height", sa.Integer, nullable=False),
            sealed("body"),
            instant("created_at"),
            sa.UniqueConstraint("business_id", "digest"),
        )
        self._is_shown = is_shown

    def save(self, tx: Tx, business_id: str, picture: Picture) -> str:
        """Save a picture; saving it again only renews it, so that it is not deleted before its use.

        Returns:
            Its digest.
        """
        picture_id, digest = named_id(business_id, picture.digest), picture.digest
        row = {
            "id": picture_id,
            "business_id": business_id,
            "digest": digest,
            "media_type": picture.media_type,
            "width": picture.width,
            "height": picture.height,
            "body": tx.vault.seal_bytes(picture.body, business_id, f"{self.table.name}.body", picture_id),
            "created_at": tx.now,
        }
        tx.save(self.table, row, ("business_id", "digest"), changes=("created_at",))
        return digest

    def find(self, tx: Tx, business_id: str, digest: str) -> tuple[str, bytes] | None:
        """Return the media type of a picture and its bytes, opened."""
        columns = self.table.c
        query = sa.select(columns.id, columns.media_type, columns.body)
        row = tx.execute(query.where(*rows_of(self.table, business_id, digest=digest))).first()
        if row is None:
            return None
        return row.media_type, tx.vault.open_bytes(row.body, business_id, f"{self.table.name}.body", row.id)

    def has_unused(self, tx: Tx) -> bool:
        """Report whether any business has a picture to purge; the query scans all of them."""
        return tx.scalar(sa.select(self.table.c.id).where(self._is_unused(tx)).limit(1)) is not None

    def purge(self, tx: Tx) -> int:
        """Delete some pictures that nothing shows, of any business; return their number."""
        return tx.delete_some(self.table, self._is_unused(tx), most=20)

    def _is_unused(self, tx: Tx) -> sa.ColumnElement[bool]:
        return (self.table.c.created_at < tx.now - KEEP_UNUSED) & ~self._is_shown(self.table)
