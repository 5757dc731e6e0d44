"""What the address of the Leads Center asks for, and the address of what is shown."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Annotated, Final
from urllib.parse import parse_qsl, urlencode

from fastapi import Depends, Request

from contatto.accounts.model import Caller
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_
from contatto.leads.model.annotations import Actor
from contatto.leads.pages.rows import assignees, member_names
from contatto.leads.rules import filters
from contatto.leads.rules.filters import ME, NOBODY, LeadFilter, Look, Pairs
from contatto.leads.store import annotations, matching
from contatto.leads.store.entries import list_form_names
from contatto.measurement.store import list_measured_ads

MOST_PAIRS: Final = 200
"""Pairs of an address: more than a filter and a look together can have."""


@dataclass(frozen=True, slots=True)
class LeadsQuery:
    """The filter and the look that stand in an address."""

    wanted: LeadFilter
    look: Look

    @property
    def pairs(self) -> Pairs:
        return [*filters.write_filter(self.wanted), *filters.write_look(self.look)]

    @property
    def query(self) -> str:
        return urlencode(self.pairs)

    def href(self, path: str = "/leads") -> str:
        return f"{path}?{self.query}" if self.query else path

    def sort_href(self) -> str:
        """The address with another order, for the heads of the table: it holds the word SORT."""
        unsorted = replace(self, look=replace(self.look, sort=filters.USUAL_SORT))
        return f"/leads?{urlencode(unsorted.pairs)}&sort=SORT"


def read_leads_query(pairs: Pairs) -> LeadsQuery:
    return LeadsQuery(filters.read_filter(pairs), filters.read_look(pairs))


def read_query(query: str) -> LeadsQuery:
    """Read what a saved view or a form holds.

    Raises:
        Refused: INVALID, for more than a filter may have.
    """
    return read_leads_query(_few(parse_qsl(query)))


def leads_query_of(request: Request) -> LeadsQuery:
    """Read the address of a request; refused as above."""
    return read_leads_query(_few(request.query_params.multi_items()))


def _few(pairs: Pairs) -> Pairs:
    if len(pairs) > MOST_PAIRS:
        raise Refused(
            errors.INVALID,
            "The filter has more than %(most)s values. Remove some.",
            most=filters.MOST_IN_ALL,
        )
    return pairs


ReadAsked = Annotated[LeadsQuery, Depends(leads_query_of)]


def actor_of(caller: Caller) -> Actor:
    return Actor(caller.business_id, caller.subject_id, caller.display_name)


def choices_of(tx: Tx, business_id: str) -> dict[str, list[tuple[str, str]]]:
    """What can be chosen for each word of the filter: pairs of value and text."""
    ads = list_measured_ads(tx, business_id).values()
    return {
        "owner": [(ME, N_("Me")), (NOBODY, N_("Nobody")), *member_names(tx, business_id).items()],
        "assignee": assignees(tx, business_id),
        "label": [
            *((each.id, each.name) for each in annotations.list_labels(tx, business_id)),
            (NOBODY, N_("No label")),
        ],
        "campaign": _by_name({(str(ad.campaign_number), ad.campaign_name) for ad in ads}),
        "ad_group": _by_name(
            _told_apart({(str(ad.ad_group_number), ad.ad_group_name, ad.campaign_name) for ad in ads})
        ),
        "ad": _by_name(_told_apart({(str(ad.ad_number), ad.ad_name, ad.ad_group_name) for ad in ads})),
        "form": list_form_names(tx, business_id),
        "country": [(each, each) for each in matching.list_phone_countries(tx, business_id)],
    }


def _told_apart(found: set[tuple[str, str, str]]) -> set[tuple[str, str]]:
    """Pairs of number and name; a name that several have comes with the place where each stands."""
    count = Counter(name for _, name, _ in found)
    return {(number, f"{name} · {place}" if count[name] > 1 else name) for number, name, place in found}


def _by_name(found: set[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted(found, key=lambda pair: (pair[1].casefold(), pair[0]))


@dataclass(frozen=True, slots=True)
class Chip:
    """A part of the filter that is on, with the address without it."""

    word: str
    value: str
    text: str | None
    href: str


def chips_of(asked: LeadsQuery, choices: dict[str, list[tuple[str, str]]]) -> list[Chip]:
    """The parts of the filter that are on, each with the address without it."""
    texts = {(word, value): text for word, pairs in choices.items() for value, text in pairs}
    written = [urlencode([pair]) for pair in asked.pairs]
    return [
        Chip(
            word=word,
            value=value,
            text=texts.get((word, value)),
            href=f"/leads?{'&'.join(written[:place] + written[place + 1 :])}".removesuffix("?"),
        )
        for place, (word, value) in enumerate(filters.write_filter(asked.wanted))
        if word not in ("q", "any")
    ]
