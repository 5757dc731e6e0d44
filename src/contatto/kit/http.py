"""Reading bodies with a cap, and the answers in JSON: plain ones and the API's envelope."""

from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from contatto.kit import errors
from contatto.kit.errors import Refused

WEBHOOK_LIMIT: Final = 64 * 1024
"""Largest webhook or chat body, in bytes."""

PARTIAL_CODE: Final = 20001
"""The API's number for a request that was done in part."""

_encode = msgspec.json.Encoder().encode


class HotRoute(Route):
    """A plain route that is named in the scope of its requests, as those of the framework are.

    Access, audit log and request log all ask there which route it is.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        return match, {**child, "route": self}


async def read_body(request: Request, limit: int = WEBHOOK_LIMIT) -> bytes:
    """The raw body, read no further than the limit.

    Raises:
        Refused: TOO_LARGE.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            raise Refused(errors.TOO_LARGE)
    return bytes(body)


def json_answer(content: Any, status: int = 200) -> Response:
    return Response(_encode(content), status, media_type="application/json")


def refusal_answer(refused: Refused, request_id: str) -> Response:
    """A refusal as JSON for webhooks and the chat: what happened and what to do."""
    body = {
        "code": refused.code.name,
        "message": refused.detail,
        "remedy": refused.code.remedy,
        "request_id": request_id,
    }
    response = json_answer(body, refused.code.http_status)
    if refused.retry_after_s is not None:
        response.headers["Retry-After"] = str(refused.retry_after_s)
    return response


def api_answer(data: Any, request_id: str) -> Response:
    """The API's envelope: ``data`` is an object, ids and metrics in it are strings.

    Source: TikTok Business API v1.3, response conventions.
    """
    return json_answer({"code": 0, "message": "OK", "request_id": request_id, "data": data})


def api_partial(data: Any, message: str, request_id: str) -> Response:
    """The envelope of a request of which a part could not be done; ``data`` says which."""
    return json_answer({"code": PARTIAL_CODE, "message": message, "request_id": request_id, "data": data})


def api_refusal(refused: Refused, request_id: str) -> Response:
    """A refusal in the API's envelope: always HTTP 200, the code says what happened."""
    message = f"{refused.detail} {refused.code.remedy}".strip()
    body = {"code": refused.code.api_code, "message": message, "request_id": request_id, "data": {}}
    return json_answer(body)
