"""What CRMs with JSON over HTTP and an access token have in common: a table of requests, a table of readers.

Nobody guarantees the shape of an answer. What is not as promised is read as empty, never as an error.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

import msgspec

from contatto.crm.connectors.contract import UNREADABLE_ANSWER, plain_reply, read_json, same_text
from contatto.crm.connectors.oauth import bearer, read_tokens, token_request
from contatto.crm.model.operations import (
    Cursor,
    Denied,
    Expired,
    Later,
    Link,
    Nothing,
    Operation,
    Renew,
    Reply,
    Unsupported,
)
from contatto.crm.model.traits import Traits
from contatto.kit.outbound.model import HttpAnswer, HttpRequest
from contatto.kit.texts import JSON_ERRORS

type Asker = Callable[[Link, Any], HttpRequest | Reply]
type Reader = Callable[[Link, Any, Any, str], Reply]
type Abilities = Mapping[type, tuple[Asker, Reader]]

UNCLEAR: Final = Later(UNREADABLE_ANSWER)
_NO_DIGIT: Final = re.compile(r"[^0-9]")


class JsonApi:
    """A connector made of a table. A class of it names its traits and its abilities.

    Attributes:
        abilities: operation → its first request, and what a good answer means, given the link, the operation,
            the JSON (``{}`` where there is no body, None where it is none) and the memory.
        address_field: where the answer with the tokens names the host that is ours.
    """

    traits: ClassVar[Traits]
    abilities: ClassVar[Abilities]
    address_field: ClassVar[str] = ""

    def ask(self, link: Link, operation: Operation) -> HttpRequest | Reply:
        if isinstance(operation, Renew):
            oauth = self.traits.oauth
            return token_request(link, oauth, operation) if oauth else Denied("not_connected")
        if type(operation) not in self.abilities:
            return Unsupported()
        make, _ = self.abilities[type(operation)]
        return make(link, operation) if self.is_open(link) else Expired()

    def read(self, link: Link, operation: Operation, answer: HttpAnswer, memory: str) -> Reply:
        if isinstance(operation, Renew):
            return read_tokens(answer, self.address_field)
        if type(operation) not in self.abilities:
            return Unsupported()
        _, reader = self.abilities[type(operation)]
        body = read_json(answer) if answer.body.strip() else {}
        wrong = self.trouble(link, operation, answer, body, memory) or plain_reply(answer)
        return wrong or reader(link, operation, body, memory)

    def is_open(self, link: Link) -> bool:
        """Return whether there is a session to ask with."""
        return bearer(link) is not None

    def trouble(
        self, link: Link, operation: Operation, answer: HttpAnswer, body: Any, memory: str
    ) -> Reply | None:
        """What this CRM says more exactly than by its status; None if it says no more."""
        return Nothing() if answer.status == 404 else None

    def agrees(self, field: str, written: str, found: str) -> bool:
        """Most CRMs write phone numbers their own way: digits count where both are a number."""
        if same_text(written, found):
            return True
        ours, theirs = _NO_DIGIT.sub("", written), _NO_DIGIT.sub("", found)
        return len(ours) > 6 and ours == theirs and "@" not in written


def as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def as_dicts(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; what else stands in it is left out."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def as_values(one: dict[str, Any]) -> dict[str, str]:
    """The plain values of an object as texts; lists and objects in it are left out."""
    return {name: as_text(value) for name, value in one.items() if not isinstance(value, dict | list)}


def as_pairs(value: Any) -> tuple[tuple[str, str], ...]:
    """Values with their labels, as many CRMs list choices."""
    listed = value if isinstance(value, list) else []
    pairs = [each for each in listed if isinstance(each, list) and len(each) == 2]
    return tuple((as_text(first), as_text(second)) for first, second in pairs)


def as_text(value: Any) -> str:
    """A text or a number as a text; nothing, a list and an object are empty."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else ""


def keep(value: Any) -> str:
    """A value as the memory of an ``Onward``."""
    return msgspec.json.encode(value).decode()


def recall(memory: str) -> Any:
    """The value again; None when it is none, as nothing else than our own memory comes back."""
    try:
        return msgspec.json.decode(memory.encode("utf-8", "replace"))
    except JSON_ERRORS:
        return None


def past(cursor: Cursor, at: str, record_id: str) -> Cursor:
    """The cursor behind one more change: of its time it keeps all ids, those of an earlier time are left."""
    ids = (*filter(None, cursor.id.split(",")), record_id) if at == cursor.at else (record_id,)
    return Cursor(at, ",".join(ids))
