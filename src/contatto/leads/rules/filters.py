"""Filters of the Leads Center, and scores as members read them."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from enum import StrEnum
from typing import Any, Final

import phonenumbers

from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_
from contatto.kit.values import check_year, day_of, read_number
from contatto.leads.model import LeadStatus, Origin

ENOUGH: Final = 20
"""So many good and so many bad leads there must be before any is scored."""
_LEAST: Final = 0.1
"""A sign that moves the log-odds by less is no reason."""
_MOST: Final = 3


class ScoreBand(StrEnum):
    """Scores in three parts, as the filter names them."""

    HIGH = "high"
    MIDDLE = "middle"
    LOW = "low"


BANDS: Final[Mapping[ScoreBand, tuple[int, int]]] = {
    ScoreBand.HIGH: (70, 100),
    ScoreBand.MIDDLE: (40, 69),
    ScoreBand.LOW: (0, 39),
}
"""The least and the greatest score of each band."""
REASONS: Final = {
    "o": N_("Source of the lead"),
    "h": N_("Kinds of contact details"),
    "c": N_("Country of the phone"),
    "f": N_("The form"),
    "s": N_("Consent"),
    "a": N_("The ad"),
    "g": N_("The ad group"),
    "p": N_("Channel account"),
    "v": N_("Click or view of the ad"),
    "w": N_("Time of arrival"),
    "d": N_("Time since the ad"),
    "t": N_("Content of the chat"),
}
"""What a sign is, by the letter before its value."""


def is_enough(outcomes: Iterable[bool]) -> bool:
    """Report whether there are enough good and enough other leads to learn from."""
    outcome_list = list(outcomes)
    good = sum(outcome_list)
    return min(good, len(outcome_list) - good) >= ENOUGH


def choose_reasons(letters: Sequence[str], parts: Sequence[float], words: Iterable[str]) -> tuple[str, ...]:
    """Return the signs that speak most for or against a lead, strongest first: "+" or "-" and a word.

    Columns that tell of the same thing count together, also by what a lead does not have: no phone, say.

    Args:
        letters: what each column tells about.
        parts: what each adds to the log-odds of this lead.
        words: those that the lead has, of which one stands behind its letter.
    """
    of_letter: dict[str, float] = {}
    for letter, part in zip(letters, parts, strict=True):
        of_letter[letter] = of_letter.get(letter, 0.0) + part
    named = {word[:1]: word for word in sorted(words, reverse=True)}
    strongest = sorted(of_letter, key=lambda letter: (-abs(of_letter[letter]), letter))[:_MOST]
    return tuple(
        ("+" if of_letter[letter] > 0.0 else "-") + named.get(letter, f"{letter}:")
        for letter in strongest
        if abs(of_letter[letter]) >= _LEAST
    )


def explain_reasons(reasons: Sequence[str]) -> list[tuple[bool, str]]:
    """Return the text of each reason, and whether it speaks for a lead."""
    return [(reason[0] == "+", REASONS[reason[1]]) for reason in reasons if reason[1:2] in REASONS]


ME: Final = "me"
NOBODY: Final = "none"
TEXT_LIMIT: Final = 200
MOST_VALUES: Final = 50
"""Values of one word that a filter may have."""
MOST_IN_ALL: Final = 80
"""Values of all words together: each is a part of the search, and a chip whose address holds the others."""
SORTS: Final = ("name", "status", "score", "created", "last_activity")
COLUMNS: Final = (
    "contact", "status", "score", "source", "labels", "owner", "ad", "crm", "created", "last_activity",
)  # fmt: skip
"""The columns after the name, which is always there, in their order."""
USUAL_COLUMNS: Final = ("contact", "status", "source", "owner", "ad", "created", "last_activity")
USUAL_SORT: Final = "-created"
_FACETED: Final = frozenset({"origins", "labels", "countries", "has", "forms", "consents", "twins"})
_BESIDE_FACETS: Final = frozenset({"statuses", "owners"})
_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Has(StrEnum):
    """Contact details that a lead has or lacks."""

    PHONE = "phone"
    EMAIL = "email"
    NO_PHONE = "no_phone"
    NO_EMAIL = "no_email"


class ChatState(StrEnum):
    """State of a lead's chat."""

    UNREAD = "unread"
    WAITING = "waiting"


class InCrm(StrEnum):
    """State of a lead in linked CRMs."""

    DUE = "due"
    SENT = "sent"
    VERIFIED = "verified"
    DEAD = "dead"


class Agreed(StrEnum):
    """Consent of a person to a form's purposes."""

    GIVEN = "given"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class LeadFilter:
    """Filter of leads; an empty part matches all."""

    text: str = ""
    statuses: tuple[LeadStatus, ...] = ()
    origins: tuple[Origin, ...] = ()
    owners: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    campaigns: tuple[int, ...] = ()
    ad_groups: tuple[int, ...] = ()
    ads: tuple[int, ...] = ()
    countries: tuple[str, ...] = ()
    has: tuple[Has, ...] = ()
    forms: tuple[str, ...] = ()
    consents: tuple[Agreed, ...] = ()
    threads: tuple[ChatState, ...] = ()
    in_crm: tuple[InCrm, ...] = ()
    scores: tuple[ScoreBand, ...] = ()
    since: date | None = None
    until: date | None = None
    twins: bool = False
    any_of: bool = False
    channel_account_id: str | None = None

    @property
    def is_empty(self) -> bool:
        return not self._filled

    @property
    def is_faceted_alone(self) -> bool:
        """Report whether the filter uses facets, and otherwise only columns of the same index."""
        return bool(self._filled & _FACETED) and self._filled <= _FACETED | _BESIDE_FACETS

    @property
    def _filled(self) -> set[str]:
        return {part.name for part in fields(self) if part.name != "any_of" and getattr(self, part.name)}


@dataclass(frozen=True, slots=True)
class ListLayout:
    """Layout of the list: order, columns, and density."""

    sort: str = USUAL_SORT
    columns: tuple[str, ...] = USUAL_COLUMNS
    dense: bool = False


type Pairs = list[tuple[str, str]]


def _one_of[E: StrEnum](kind: type[E]) -> Callable[[str], E | None]:
    members = {member.value: member for member in kind}
    return members.get


def _owner(text: str) -> str | None:
    return text if text in (ME, NOBODY) or _ID.fullmatch(text) else None


def _label(text: str) -> str | None:
    return text if text == NOBODY or _ID.fullmatch(text) else None


def _form(text: str) -> str | None:
    return text if _ID.fullmatch(text) else None


def _country(text: str) -> str | None:
    return text if text in phonenumbers.SUPPORTED_REGIONS else None


_LISTS: Final[dict[str, tuple[str, Callable[[str], Any]]]] = {
    "status": ("statuses", _one_of(LeadStatus)),
    "owner": ("owners", _owner),
    "label": ("labels", _label),
    "source": ("origins", _one_of(Origin)),
    "campaign": ("campaigns", read_number),
    "ad_group": ("ad_groups", read_number),
    "ad": ("ads", read_number),
    "country": ("countries", _country),
    "has": ("has", _one_of(Has)),
    "form": ("forms", _form),
    "consent": ("consents", _one_of(Agreed)),
    "thread": ("threads", _one_of(ChatState)),
    "crm": ("in_crm", _one_of(InCrm)),
    "score": ("scores", _one_of(ScoreBand)),
}
"""The words that may come several times: the part of the filter that they fill, and their reader."""
_DAYS: Final = {"from": "since", "to": "until"}
_FLAGS: Final = {"twins": "twins", "any": "any_of"}


def read_filter(pairs: Iterable[tuple[str, str]]) -> LeadFilter:
    """Read a filter out of the pairs of an address; words and values that it does not know are left out.

    Raises Refused: INVALID, for more values than a filter may have, and for an absurd year.
    """
    lists: dict[str, list[Any]] = {attribute: [] for attribute, _ in _LISTS.values()}
    single: dict[str, Any] = {}
    for word, text in pairs:
        if word in _LISTS:
            attribute, read = _LISTS[word]
            value = read(text)
            if value is not None and value not in lists[attribute]:
                lists[attribute].append(value)
                # Checked with each value, so that nothing is done for those that are too many.
                if len(lists[_LISTS[word][0]]) > MOST_VALUES:
                    raise Refused(
                        errors.INVALID,
                        "%(word)s: choose %(most)s values at most.",
                        word=word,
                        most=MOST_VALUES,
                    )
                if sum(map(len, lists.values())) > MOST_IN_ALL:
                    raise Refused(
                        errors.INVALID,
                        "The filter has more than %(most)s values. Remove some.",
                        most=MOST_IN_ALL,
                    )
        elif word in _DAYS:
            check_year(word, text)
            single[_DAYS[word]] = day_of(text)
        elif word in _FLAGS:
            single[_FLAGS[word]] = text == "1"
        elif word == "q":
            single["text"] = read_text(text)
    return LeadFilter(**single | {name: tuple(values) for name, values in lists.items()})


def read_text(text: str) -> str:
    """Return a search text: no longer than the limit, and nothing in it that a database could not store."""
    return text.replace("\0", "").encode("utf-8", "replace").decode().strip()[:TEXT_LIMIT].strip()


def write_filter(lead_filter: LeadFilter) -> Pairs:
    """Return the pairs that ``read_filter`` reads as this filter, in one fixed order."""
    pairs: Pairs = [("q", lead_filter.text)] if lead_filter.text else []
    for word, (attribute, _) in _LISTS.items():
        pairs += [(word, str(value)) for value in getattr(lead_filter, attribute)]
    for word, attribute in _DAYS.items():
        day: date | None = getattr(lead_filter, attribute)
        pairs += [(word, day.isoformat())] if day else []
    return pairs + [(word, "1") for word, attribute in _FLAGS.items() if getattr(lead_filter, attribute)]


def read_look(pairs: Iterable[tuple[str, str]]) -> ListLayout:
    """Read order, columns and density out of the pairs of an address."""
    look = ListLayout()
    columns: list[str] = []
    for word, text in pairs:
        if word == "sort" and text.removeprefix("-") in SORTS and not text.startswith("--"):
            look = replace(look, sort=text)
        elif word == "dense":
            look = replace(look, dense=text == "1")
        elif word == "column" and text in COLUMNS:
            columns.append(text)
    return replace(look, columns=known_columns(columns))


def known_columns(chosen: Iterable[str]) -> tuple[str, ...]:
    """Return the chosen columns in their order; the usual ones when none of them exists (any more)."""
    chosen_columns = set(chosen)
    return tuple(column for column in COLUMNS if column in chosen_columns) or USUAL_COLUMNS


def write_look(look: ListLayout) -> Pairs:
    """Return the pairs that ``read_look`` reads as this look, without usual values."""
    pairs: Pairs = [("sort", look.sort)] if look.sort != USUAL_SORT else []
    if look.columns != USUAL_COLUMNS:
        pairs += [("column", column) for column in look.columns]
    return pairs + ([("dense", "1")] if look.dense else [])


def for_member(lead_filter: LeadFilter, member_id: str) -> LeadFilter:
    """Return the filter as one member means it: "me" is that member."""
    owners = tuple(dict.fromkeys(member_id if owner == ME else owner for owner in lead_filter.owners))
    return replace(lead_filter, owners=owners)
