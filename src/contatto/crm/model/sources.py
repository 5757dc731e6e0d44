"""What we know of a lead, by the names that mappings use."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from contatto.capture.model import Field

NAME: Final = "name"
FIRST_NAME: Final = "first_name"
LAST_NAME: Final = "last_name"
STATUS: Final = "status"
OWNER: Final = "owner"
ANSWER: Final = "answer:"
"""Begins the name of an answer to a form; the question's own words follow."""
PLAIN_SOURCES: Final = (
    NAME,
    FIRST_NAME,
    LAST_NAME,
    *(each.value for each in Field),
    STATUS,
    OWNER,
    "labels",
    "lead_id",
    "lead_url",
    "lead_source",
    "created_at",
    "campaign_id",
    "campaign_name",
    "adgroup_id",
    "adgroup_name",
    "ad_id",
    "ad_name",
    "form_name",
)
"""All but the answers. The last name is the whole name where there is one word; ``owner`` is an address."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that is known of a lead at a moment, as texts by the names of ``PLAIN_SOURCES`` and of answers.

    ``wrong`` has the contact values that members marked wrong, by their sources.
    """

    lead_id: str
    values: dict[str, str] = field(repr=False)
    occurred_at: datetime
    wrong: dict[str, list[str]] = field(default_factory=dict, repr=False)
