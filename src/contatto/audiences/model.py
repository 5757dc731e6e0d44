"""Audiences and the files that they are made of."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

type Fingerprint = bytes
"""Member of an audience: a keyed hash of a contact value, or the pseudonym of a viewer in a lookalike.

A plain SHA-256 of a phone number could be guessed in minutes.
"""


class AudienceKind(StrEnum):
    CUSTOMER_FILE = "customer_file"
    LOOKALIKE = "lookalike"
    RULE = "rule"


class ListKind(StrEnum):
    """Type of the values in a customer list, as the API's ``calculate_type``."""

    EMAIL = "EMAIL_SHA256"
    PHONE = "PHONE_SHA256"


class LookalikeSize(StrEnum):
    """Size of a lookalike audience, in values of the API."""

    NARROW = "NARROW"
    BALANCED = "BALANCED"
    BROAD = "BROAD"


@dataclass(frozen=True, slots=True)
class LookalikeSpec:
    """Settings of a lookalike, in words of the API; ``include_source`` adds the members of its source.

    ``mobile_os`` is ALL, ANDROID or IOS. Without ``location_ids`` it is for everywhere.
    """

    source_audience_id: str = ""
    audience_size: LookalikeSize = LookalikeSize.BALANCED
    mobile_os: str = "ALL"
    placements: tuple[str, ...] = ()
    location_ids: tuple[str, ...] = ()
    include_source: bool = False


@dataclass(frozen=True, slots=True)
class Lookalike:
    """Result of the last search for members of a lookalike audience.

    ``known`` is the number of viewers that ads could reach. ``lift`` is the members' mean chance of a good
    lead in multiples of these viewers'; ``low`` and ``high`` are its 80% interval. An empty result has none.
    """

    audience_id: str
    business_id: str
    found_at: datetime
    known: int
    lift: float | None
    low: float | None = None
    high: float | None = None


class ChangeKind(StrEnum):
    """Change of the members of an audience; DROP deletes a set of members that nothing uses any more."""

    APPEND = "APPEND"
    REMOVE = "REMOVE"
    REPLACE = "REPLACE"
    DROP = "DROP"


@dataclass(frozen=True, slots=True)
class MemberChange:
    """Pending change of members, made in pieces with a short write each.

    Attributes:
        members_id: the set that is filled or dropped; empty for the current set of the audience.
        paths: JSON list of the files that are read.
        file_place: index of the file that is read next.
        start: index of the value in that file that is read next.
        due_at: time from which the worker continues a change that its request left.
    """

    id: str
    business_id: str
    audience_id: str
    members_id: str
    kind: ChangeKind
    paths: str
    file_place: int
    start: int
    due_at: datetime


@dataclass(frozen=True, slots=True)
class AudienceFile:
    """An uploaded file of hashed values; ``path`` is its name in the API, ``prints`` their fingerprints."""

    path: str
    business_id: str
    ad_account_id: str
    calculate_type: str
    prints: bytes
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Audience:
    """An audience of an ad account; ``number`` is the API's ``custom_audience_id``.

    ``calculate_type`` is set where it is made of files, ``spec`` (JSON) where it follows from a rule or from
    another audience. ``members_id`` names its set of members, so that a new set takes its place at once.
    """

    id: str
    business_id: str
    number: int
    ad_account_id: str
    name: str
    kind: AudienceKind
    calculate_type: str
    spec: str
    created_at: datetime
    updated_at: datetime
    members_id: str
