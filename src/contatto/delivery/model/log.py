"""What delivery writes down: each decision with all that it depended on, and what became of it.

The log of a business has one order, in which it is learned; a decision can be made again from its record.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import msgspec

from contatto.delivery.model.lines import AdGroupLine, AdLine

NOBODY: Final = ""
"""Whom a request without consent is for: nothing is remembered of the viewer."""


class EntryKind(StrEnum):
    AD_GROUP = "ad_group"
    AD = "ad"
    LINES = "lines"
    """Ad groups and ads that no model knows yet; its nonce is the digest by which decisions name them."""
    DECISION = "decision"
    VIEW = "view"
    CLICK = "click"
    CONVERSATION = "conversation"
    LEAD = "lead"
    SPAM = "spam"
    QUALITY = "quality"


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that delivery learns from; ``seq`` counts the entries of a business without a gap.

    ``nonce`` is the impression that it is about (0: of none), ``touch_id`` and ``person_id`` are those of a
    view or a click, ``body`` is what else is known of it. ``ts`` is in microseconds since 1970, and so is
    ``arrived_ts``, when the log got it: nobody knew of it before.
    """

    business_id: str
    seq: int
    kind: EntryKind
    ts: int
    nonce: int
    ad_id: str
    touch_id: int | None
    person_id: str | None
    body: bytes
    arrived_ts: int = 0


class Hurdle(StrEnum):
    """Why an ad group could not take part in an auction; the first one that holds."""

    NOT_ELIGIBLE = "not_eligible"
    COUNTRY = "country"
    OTHER_TOKEN = "other_token"  # noqa: S105 — no secret
    SCHEDULE = "schedule"
    CHANNEL = "channel"
    LANGUAGE = "language"
    AGE = "age"
    INTERESTS = "interests"
    AUDIENCE = "audience"
    FREQUENCY = "frequency"
    BUDGET = "budget"
    CURRENCY = "currency"
    REVIEW = "review"
    BALANCE = "balance"


class GroupThen(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What the auction knew of an ad group besides the model: budget left, multiplier, and zone.

    ``available`` is in micros of a thousand views, ``multiplier`` is what a conversion is worth (micros),
    ``offset_s`` the seconds that its zone is ahead of UTC.
    """

    number: int
    available: float
    multiplier: float
    offset_s: float


class Features(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The hashed features of the request as they were, for learning: arrays as bytes."""

    hashes: bytes
    values: bytes
    kinds: bytes
    between: bytes


class Record(msgspec.Struct, array_like=True, gc=False):
    """A decision: the request, all that the answer depended on besides the model, and the answer.

    Ads and ad groups are the API's numbers. ``ts`` is in microseconds since 1970, ``floor_micros``,
    ``offer_micros`` and ``price_micros`` are for a thousand views. ``viewer`` is a pseudonym, or NOBODY.
    ``known`` is what was remembered of the viewer, as bytes by the name of the array. ``ad`` is 0 for no ad.

    ``placement`` is the id of an operator's placement, where businesses compete: each enters with the ad that
    it would show. ``to_beat_micros`` is then the least offer that wins the place from the others. Who wins
    pays that or the floor, never what other ads of their own would pay.

    ``trial`` is the viewer's group in the trial that measures what learning brings (see `rules/trials`).

    ``added`` are the ad groups and ads that differ from what the model knows. Before there is a model these
    are all of them, so the log holds them once, in an entry of their own whose nonce is ``lines``.
    """

    nonce: int
    version: int
    seed: int
    number: int
    ts: int
    viewer: str
    country: str
    floor_micros: int
    features: dict[str, Any]
    ads: list[int]
    groups: list[GroupThen]
    added: list[AdGroupLine | AdLine]
    left_out: dict[int, str]
    known: dict[str, bytes]
    ad: int = 0
    ad_group: int = 0
    offer_micros: int = 0
    price_micros: int = 0
    propensity: float = 1.0
    p: tuple[float, ...] = ()
    raw: tuple[float, ...] = ()
    shown: Features | None = None
    placement: str = ""
    to_beat_micros: int = 0
    trial: int = 0
    lines: int = 0


class ViewerSaid(msgspec.Struct, array_like=True, frozen=True):
    """The body of what a viewer did after a click: a word of what it was.

    ``ts`` is when it happened, where the log was told later; 0 for the time of the entry.
    """

    said: str = ""
    ts: int = 0


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A published model: what was learned from all entries up to ``through``.

    ``origin`` says how it came to be; ``size`` is in bytes; ``has_blob`` whether its bytes are still kept.
    """

    business_id: str
    version: int
    through: int
    made_at: int
    origin: str
    size: int
    sha256: str
    entries: int
    has_blob: bool
