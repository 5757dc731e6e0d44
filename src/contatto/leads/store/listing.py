"""The lists of the Leads Center: what a filter means in SQL, pages of it, and exact counts."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, func, literal, not_, or_, select, true, tuple_

from contatto.channels.store import list_accounts
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Instant
from contatto.kit.numbers import read_number
from contatto.leads.model.leads import Lead, Status
from contatto.leads.rules.facets import CONSENT, EMAIL, LABELLED, PHONE, TWIN, Facet, facet_word
from contatto.leads.rules.filters import NOBODY, USUAL_SORT, Agreed, Has, LeadFilter
from contatto.leads.rules.records import name_key, search_values
from contatto.leads.store.records import contact_points, leads
from contatto.leads.store.threads import THREADS
from contatto.measurement.model import ConversionKind
from contatto.measurement.store import conversions, measured_ads

type Condition = ColumnElement[bool]
MANY: Final = 2_000
"""Matches up to which a page is found by their ids; of more, by looking at leads in their order."""

_KEYS: Final = {
    "created": (leads.c.created_at, leads.c.id),
    "last_activity": (leads.c.updated_at, leads.c.id),
    "status": (leads.c.status, leads.c.created_at, leads.c.id),
    "name": (leads.c.name_key, leads.c.id),
}
"""The columns of each order, as an index has them, so that no page needs a sort."""


@dataclass(frozen=True, slots=True)
class Matches:
    """The leads that match a filter: how many there are, and which ones if they are few."""

    total: int
    ids: tuple[str, ...] | None


def find_matches(
    tx: Tx, business_id: str, wanted: LeadFilter, counts: Mapping[Status, int] | None = None
) -> Matches:
    """Look for the first few thousand matches; if there are no more, that was the count too.

    ``counts`` by status are taken at their word where they are known and enough.
    """
    if counts is not None and wanted == LeadFilter(statuses=wanted.statuses):
        return Matches(sum(counts.get(each, 0) for each in wanted.statuses or Status), None)
    base, parts = _conditions(tx, business_id, wanted)
    ids: set[str] = set()
    for part in reversed(parts):  # the last ones are the quickest
        ids.update(row[0] for row in tx.execute(select(leads.c.id).where(*base, part).limit(MANY + 1)))
        if len(ids) > MANY:
            return Matches(_count(tx, base, parts), None)
    return Matches(len(ids), tuple(ids))


def list_matches(
    tx: Tx, business_id: str, wanted: LeadFilter, found: Matches, place: tuple[str, int, int]
) -> list[Lead]:
    """A page of what was found; ``place`` is its order, its length and how many come before it."""
    sort, limit, offset = place
    if found.ids is None:
        return list_leads(tx, business_id, wanted, sort, limit, offset)
    mine = select(leads).where(leads.c.business_id == business_id, leads.c.id.in_(found.ids))
    return tx.list(Lead, mine.order_by(*_order(sort)).limit(limit).offset(offset))


def list_leads(
    tx: Tx, business_id: str, wanted: LeadFilter, sort: str = USUAL_SORT, limit: int = 50, offset: int = 0
) -> list[Lead]:
    """A page of the matching leads; a sort word that is not known counts as the usual one.

    Near the beginning leads are looked at one by one in their order; further on all are collected first.
    """
    among = _probed if offset < MANY else _collected
    statement = _matching(tx, business_id, wanted, leads, among=among)
    return tx.list(Lead, statement.order_by(*_order(sort)).limit(limit).offset(offset))


def count_leads(tx: Tx, business_id: str, wanted: LeadFilter) -> int:
    return _count(tx, *_conditions(tx, business_id, wanted))


def _count(tx: Tx, base: list[Condition], parts: list[Condition]) -> int:
    """Count each part by its own best way, without what the parts before it had."""
    total = 0
    for position, part in enumerate(parts):
        fresh = [not_(each) for each in parts[:position]]
        total += int(tx.scalar(select(func.count()).select_from(leads).where(*base, part, *fresh)))
    return total


def count_leads_by_status(tx: Tx, business_id: str) -> dict[Status, int]:
    shown = (leads.c.business_id == business_id, leads.c.hidden_at.is_(None))
    counted = select(leads.c.status, func.count().label("n")).where(*shown)
    return {row["status"]: row["n"] for row in tx.execute(counted.group_by(leads.c.status)).mappings()}


def list_lead_ids_after(tx: Tx, business_id: str, wanted: LeadFilter, last: str, limit: int) -> list[str]:
    """Ids of matching leads that come after one, by id: for work through all of them, page by page."""
    statement = _matching(tx, business_id, wanted, leads.c.id).where(leads.c.id > last)
    return [row[0] for row in tx.execute(statement.order_by(leads.c.id).limit(limit))]


def list_leads_after(
    tx: Tx, business_id: str, wanted: LeadFilter, last: Lead | None, limit: int = 500
) -> list[Lead]:
    """The next matching leads after one, newest first: for downloads of any size, page by page."""
    statement = _matching(tx, business_id, wanted, leads)
    if last is not None:
        place = tuple_(leads.c.created_at, leads.c.id)
        statement = statement.where(place < tuple_(literal(last.created_at, Instant), literal(last.id)))
    return tx.list(Lead, statement.order_by(leads.c.created_at.desc(), leads.c.id.desc()).limit(limit))


def list_phone_countries(tx: Tx, business_id: str) -> list[str]:
    """The countries of the phone numbers that leads have; each is a jump in the index, not a scan."""
    next_one = select(func.min(contact_points.c.country)).where(contact_points.c.business_id == business_id)
    found = [""]
    while country := tx.scalar(next_one.where(contact_points.c.country > found[-1])):
        found.append(country)
    return found[1:]


def _order(sort: str) -> tuple[Any, ...]:
    columns = _KEYS.get(sort.removeprefix("-"))
    if columns is None:
        return _order(USUAL_SORT)
    return tuple(column.desc() if sort.startswith("-") else column.asc() for column in columns)


type Among = Callable[[Select[Any]], Condition]
"""How a lead is found among those whose ids a select gives."""


def _collected(ids: Select[Any]) -> Condition:
    return leads.c.id.in_(ids)


def _probed(ids: Select[Any]) -> Condition:
    (column,) = ids.selected_columns
    return ids.where(column == leads.c.id).exists()


def _matching(
    tx: Tx, business_id: str, wanted: LeadFilter, *what: Any, among: Among = _collected
) -> Select[Any]:
    base, parts = _conditions(tx, business_id, wanted, among)
    return select(*what).where(*base, or_(*parts))


def _conditions(
    tx: Tx, business_id: str, wanted: LeadFilter, among: Among = _collected
) -> tuple[list[Condition], list[Condition]]:
    """What must all hold, and parts of which one must hold: those of a search, each quick in its own way."""
    base: list[Condition] = [leads.c.business_id == business_id, leads.c.hidden_at.is_(None)]
    if wanted.channel_account_id is not None:
        base.append(leads.c.channel_account_id == wanted.channel_account_id)
    others = _Others(tx, business_id, among)
    chips = [*_own(wanted), *_faceted(wanted), *_earned(others, wanted), *_chatting(others, wanted)]
    if chips:
        base.append(or_(*chips) if wanted.any_of else and_(*chips))
    return base, _found(others, wanted.text) if wanted.text else [true()]


def _own(wanted: LeadFilter) -> list[Condition]:
    """What stands in the row of the lead itself."""
    found: list[Condition] = []
    if wanted.statuses:
        found.append(leads.c.status.in_(wanted.statuses))
    if wanted.owners:
        of_members = leads.c.owner_id.in_([each for each in wanted.owners if each != NOBODY])
        found.append(or_(of_members, leads.c.owner_id.is_(None)) if NOBODY in wanted.owners else of_members)
    days: list[Condition] = []
    if wanted.since is not None:
        days.append(leads.c.created_at >= _start(wanted.since))
    if wanted.until is not None:
        days.append(leads.c.created_at < _start(wanted.until + timedelta(days=1)))
    return [*found, and_(*days)] if days else found


def _start(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _word(facet: Facet, value: str) -> Condition:
    return leads.c.facets.contains(f" {facet_word(facet, value)} ", autoescape=True)


def _faceted(wanted: LeadFilter) -> list[Condition]:
    """What hangs on a lead, by the words that its row keeps of it."""
    phone, email = _word(Facet.REACH, PHONE), _word(Facet.REACH, EMAIL)
    reach = {Has.PHONE: phone, Has.EMAIL: email, Has.NO_PHONE: not_(phone), Has.NO_EMAIL: not_(email)}
    labelled, agreed = _word(Facet.SIGN, LABELLED), _word(Facet.SIGN, CONSENT)
    consents = {Agreed.GIVEN: agreed, Agreed.NONE: not_(agreed)}
    groups = (
        [_word(Facet.ORIGIN, each.value) for each in wanted.origins],
        [not_(labelled) if each == NOBODY else _word(Facet.LABEL, each) for each in wanted.labels],
        [_word(Facet.COUNTRY, each) for each in wanted.countries],
        [_word(Facet.FORM, each) for each in wanted.forms],
        [reach[each] for each in wanted.has],
        [consents[each] for each in wanted.consents],
        [_word(Facet.SIGN, TWIN)] if wanted.twins else [],
    )
    return [or_(*group) for group in groups if group]


@dataclass(frozen=True, slots=True)
class _Others:
    """Finds leads by what other tables say of them."""

    tx: Tx
    business_id: str
    among: Among

    def named_by(self, ids: Select[Any]) -> Condition:
        """Leads with these ids, and those that one of them was merged into."""
        merged = select(leads.c.merged_into).where(
            leads.c.business_id == self.business_id, leads.c.merged_into.is_not(None), leads.c.id.in_(ids)
        )
        kept = [row[0] for row in self.tx.execute(merged)]
        return or_(self.among(ids), leads.c.id.in_(kept)) if kept else self.among(ids)

    def earned_by(self, which: Condition) -> Condition:
        """Leads that some ads earned."""
        ads = select(measured_ads.c.ad_id).where(measured_ads.c.business_id == self.business_id, which)
        earned = select(conversions.c.subject_id).where(
            conversions.c.business_id == self.business_id,
            conversions.c.kind == ConversionKind.LEAD,
            conversions.c.ad_id.in_(ads),
        )
        return self.named_by(earned)


def _earned(others: _Others, wanted: LeadFilter) -> list[Condition]:
    """Leads that the ads of some campaigns, ad groups or ads earned."""
    columns = (
        (measured_ads.c.campaign_number, wanted.campaigns),
        (measured_ads.c.ad_group_number, wanted.ad_groups),
        (measured_ads.c.ad_number, wanted.ads),
    )
    return [others.earned_by(column.in_(numbers)) for column, numbers in columns if numbers]


def _chatting(others: _Others, wanted: LeadFilter) -> list[Condition]:
    """Leads whose chats stand so; a capability above knows them."""
    named = [others.named_by(THREADS[each](others.tx, others.business_id)) for each in wanted.threads]
    return [or_(*named)] if named else []


def _found(others: _Others, text: str) -> list[Condition]:
    """By a part of the name, by a whole contact value in several spellings, or by names and ids of ads."""
    tx, business_id = others.tx, others.business_id
    countries = {account.registration_country for account in list_accounts(tx, business_id)}
    indexes = [tx.vault.blind(value, business_id) for value in search_values(text, countries)]
    by_value = select(contact_points.c.lead_id).where(
        contact_points.c.business_id == business_id, contact_points.c.value_index.in_(indexes)
    )
    by_name = leads.c.name_key.contains(name_key(text), autoescape=True)
    found = [or_(by_name, leads.c.id.in_(by_value))]
    if ads := _list_named_ads(tx, business_id, text):
        found.append(others.earned_by(measured_ads.c.ad_id.in_(ads)))
    number = read_number(text)
    if number is not None:
        found.append(leads.c.number == number)
    return found


def _list_named_ads(tx: Tx, business_id: str, text: str) -> list[str]:
    """Ads that are called so, or whose ad group or campaign is, or that have this id."""
    names = (measured_ads.c.ad_name, measured_ads.c.ad_group_name, measured_ads.c.campaign_name)
    which: list[Condition] = [name.icontains(text, autoescape=True) for name in names]
    asked = read_number(text)
    if asked is not None:
        numbers = (measured_ads.c.ad_number, measured_ads.c.ad_group_number, measured_ads.c.campaign_number)
        which += [number == asked for number in numbers]
    mine = select(measured_ads.c.ad_id).where(measured_ads.c.business_id == business_id, or_(*which))
    return [row[0] for row in tx.execute(mine.limit(500))]


def list_twins(tx: Tx, business_id: str, lead_ids: Iterable[str]) -> list[Lead]:
    """Other leads that share a contact value with one of these: possible duplicates."""
    ids = list(lead_ids)
    mine = contact_points.c.business_id == business_id
    own = select(contact_points.c.value_index).where(mine, contact_points.c.lead_id.in_(ids)).distinct()
    indexes = [row[0] for row in tx.execute(own)]
    sharing = (
        select(contact_points.c.lead_id).where(mine, contact_points.c.value_index.in_(indexes)).distinct()
    )
    others = {row[0] for row in tx.execute(sharing)} - set(ids)
    found = tx.list(Lead, select(leads).where(leads.c.business_id == business_id, leads.c.id.in_(others)))
    return sorted((lead for lead in found if lead.hidden_at is None), key=lambda lead: lead.created_at)
