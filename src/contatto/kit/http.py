"""Request bodies, JSON responses and idempotent requests."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import Column, Index, String, Table, select
from starlette.requests import Request
from starlette.responses import Response

from contatto.kit import errors
from contatto.kit.api_types import Answer, PartialAnswer
from contatto.kit.db.tx import Tx, instant, metadata, sealed, tenant
from contatto.kit.errors import Refused
from contatto.kit.i18n import Translator

WEBHOOK_LIMIT: Final = 64 * 1024
"""Largest webhook or chat body, in bytes."""

PARTIAL_CODE: Final = 20001
"""The API's number for a request that was done in part."""

_encode = msgspec.json.Encoder().encode


def too_large(limit: int) -> Refused:
    """Refuse a body of more bytes than a limit."""
    return Refused(errors.TOO_LARGE, "A request may have at most %(most)s KiB.", most=limit // 1024)


async def read_body(request: Request, limit: int = WEBHOOK_LIMIT) -> bytes:
    """Return the raw body, read no further than the limit.

    Raises:
        Refused: TOO_LARGE.
        ClientDisconnect: the client went away before the end.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            raise too_large(limit)
    return bytes(body)


def json_answer(content: Any, status: int = 200) -> Response:
    return Response(_encode(content), status, media_type="application/json")


def refusal_answer(refused: Refused, request_id: str, words: Translator | None = None) -> Response:
    """Answer with a refusal as JSON: in English to a program, else in the language of a person's chat."""
    body = {
        "code": refused.code.name,
        "message": refused.detail_in(words) if words else refused.detail,
        "remedy": words.gettext(refused.code.remedy) if words else refused.code.remedy,
        "request_id": request_id,
    }
    response = json_answer(body, refused.code.http_status)
    if refused.retry_after_s is not None:
        response.headers["Retry-After"] = str(refused.retry_after_s)
    return response


class Answered[A: Answer](Response):
    """The answer of an operation of the API; its type says what stands in ``data``."""


def api_answer[A: Answer](data: A, request_id: str) -> Answered[A]:
    """Return data in the API's envelope: ``data`` is an object, ids and metrics in it are strings.

    Source: TikTok Business API v1.3, response conventions.
    """
    return _enveloped(0, "OK", data, request_id)


def api_partial[A: PartialAnswer](data: A, message: str, request_id: str) -> Answered[A]:
    """Return the envelope of a request of which a part could not be done; ``data`` says which."""
    return _enveloped(PARTIAL_CODE, message, data, request_id)


def _enveloped[A: Answer](code: int, message: str, data: A, request_id: str) -> Answered[A]:
    body = {"code": code, "message": message, "request_id": request_id, "data": data}
    return Answered(_encode(body), media_type="application/json")


def api_refusal(refused: Refused, request_id: str) -> Response:
    """Return a refusal in the API's envelope: always HTTP 200, the code says what happened."""
    message = f"{refused.detail} {refused.code.remedy}".strip()
    body = {"code": refused.code.api_code, "message": message, "request_id": request_id, "data": {}}
    return json_answer(body)


KEEP: Final = timedelta(days=7)
"""Lifetime of a stored answer."""

answered_requests = Table(
    "answered_requests",
    metadata,
    Column("key_hash", String(64), primary_key=True),
    tenant(),
    Column("body_hash", String(64), nullable=False),
    sealed("answer"),
    instant("at"),
    Index("ix_answered_requests_at", "at"),
)


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """Tenant, endpoint and client-made id of a request."""

    business_id: str
    endpoint: str
    request_id: str


def answer_once[A](tx: Tx, key: IdempotencyKey, body: str, shape: type[A], work: Callable[[], A]) -> A:
    """Run the work for the first request with this key only, and return its stored answer.

    Args:
        tx: stores the answer together with the work.
        key: of the request; without an id the work always runs.
        body: of the request, as text.
        shape: type of the answer.
        work: makes the answer; an exception stores nothing.

    Raises:
        Refused: REPEATED, when the same id comes with another body.
    """
    if not key.request_id:
        return work()
    key_hash = tx.vault.blind(f"request:{key.endpoint}\0{key.request_id}", key.business_id).hex()
    body_hash = tx.vault.blind(f"body:{body}", key.business_id).hex()
    place = key.business_id, "answered_requests.answer", key_hash
    tx.advisory_lock(int(key_hash[:15], 16))
    query = select(answered_requests.c.body_hash, answered_requests.c.answer).where(
        answered_requests.c.business_id == key.business_id, answered_requests.c.key_hash == key_hash
    )
    row = tx.execute(query).first()
    if row is not None:
        if row.body_hash != body_hash:
            raise Refused(errors.REPEATED)
        return msgspec.json.decode(tx.vault.open_bytes(row.answer, *place), type=shape)
    answer = work()
    values = {"key_hash": key_hash, "business_id": key.business_id, "body_hash": body_hash, "at": tx.now}
    values["answer"] = tx.vault.seal_bytes(msgspec.json.encode(answer), *place)
    tx.insert(answered_requests, values)
    return answer


def purge_answered_requests(tx: Tx) -> int:
    """Delete some expired answers, and return how many."""
    return tx.delete_some(answered_requests, answered_requests.c.at < tx.now - KEEP)
