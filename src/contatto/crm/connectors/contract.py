"""What every connector needs: how requests are made, and answers read, that are alike for all CRMs."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from contatto.crm.model.operations import Denied, Ended, Expired, Later, Refused, Reply
from contatto.kit.outbound.model import HttpAnswer, HttpRequest, retry_after_s
from contatto.kit.texts import JSON_ERRORS

UNREADABLE_ANSWER: Final = "unreadable"
"""An answer that is not what the CRM's documents promise, such as a page in HTML of a proxy."""
BUSY: Final = frozenset({408, 409, 423, 425, 429})
"""Statuses below 500 that are worth another try."""


def same_text(written: str, found: str) -> bool:
    """Return whether two texts are the same but for spaces around them, and for the case of letters."""
    return written.strip().casefold() == found.strip().casefold()


def json_request(method: str, url: str, headers: Mapping[str, str], body: Any = None) -> HttpRequest:
    """A request with JSON in it."""
    kept = {"Accept": "application/json", "User-Agent": "Contatto", **headers}
    if body is None:
        return HttpRequest(method, url, kept, b"")
    return HttpRequest(method, url, {**kept, "Content-Type": "application/json"}, msgspec.json.encode(body))


def path_id(record_id: str) -> str:
    """Quote the id of a record as one segment of a path.

    CRMs and the programs beside them choose these ids. An id must not lead our token to another path.
    """
    return quote(record_id, safe="").replace(".", "%2E")


def read_json(answer: HttpAnswer) -> Any:
    """The JSON of an answer; None when it is none."""
    try:
        return msgspec.json.decode(answer.body)
    except JSON_ERRORS:
        return None


def plain_reply(answer: HttpAnswer) -> Reply | None:
    """What a status means for every CRM; None for 2xx, which the connector reads.

    Look for what the CRM says more exactly first: that a record exists, a field is gone, a value is wrong.
    Source: RFC 9110, 15; RFC 6585, 4 (429); RFC 8470, 5.2 (425).
    """
    status = answer.status
    if 200 <= status < 300:
        return None
    if status >= 500 or status in BUSY:
        return Later(str(status), retry_after_s(answer))
    if status == 401:
        return Expired()
    if status in (402, 403):
        return Denied(str(status))
    if status == 410:
        return Ended(str(status))
    return Later(str(status)) if status < 400 else Refused(str(status))
