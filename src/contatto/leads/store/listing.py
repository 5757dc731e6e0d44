"""The lists of the Leads Center: what a filter means in SQL, pages of it, and exact counts."""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, func, literal, literal_column, or_, select, tuple_

from contatto.capture.model import Field
from contatto.channels.store import list_accounts
from contatto.kit.db.tx import Tx
from contatto.kit.db.types import Instant
from contatto.leads.model import Lead, Status
from contatto.leads.rules.filters import NOBODY, USUAL_SORT, Has, LeadFilter
from contatto.leads.rules.records import name_key, search_values
from contatto.leads.store.records import contact_points, leads
from contatto.leads.store.work import lead_labels
from contatto.measurement.model import ConversionKind
from contatto.measurement.store import conversions, measured_ads

type Condition = ColumnElement[bool]
type Among = Callable[[Select[Any]], Condition]
"""How a lead is found among those that another table names: the select gives their ids."""

MANY: Final = 2_000
"""Matches from which on a page is found faster by looking at leads one by one than by collecting first."""

_KEYS: Final = {
    "created": (leads.c.created_at, leads.c.id),
    "last_activity": (leads.c.updated_at, leads.c.id),
    "status": (leads.c.status, leads.c.created_at, leads.c.id),
    "name": (leads.c.name_key, leads.c.id),
}
"""The columns of each order, as an index has them, so that no page needs a sort."""
_PHONES: Final = (Field.PHONE, Field.WHATSAPP)
_NUMBER: Final = re.compile(r"[0-9]{1,19}", re.ASCII)
_LARGEST: Final = (1 << 63) - 1


def list_leads(
    tx: Tx, business_id: str, wanted: LeadFilter, sort: str = USUAL_SORT, limit: int = 50, offset: int = 0
) -> list[Lead]:
    """A page of the matching leads; a sort word that is not known counts as the usual one."""
    statement = select(leads).where(*_conditions(tx, business_id, wanted))
    return tx.list(Lead, statement.order_by(*_order(sort)).limit(limit).offset(offset))


def list_leads_of_many(
    tx: Tx, business_id: str, wanted: LeadFilter, sort: str = USUAL_SORT, limit: int = 50, offset: int = 0
) -> list[Lead]:
    """The same page, found faster where many match: in their order, leads are looked at one by one."""
    statement = select(leads).where(*_conditions(tx, business_id, wanted, _probed))
    return tx.list(Lead, statement.order_by(*_order(sort)).limit(limit).offset(offset))


def count_leads(tx: Tx, business_id: str, wanted: LeadFilter) -> int:
    return int(
        tx.scalar(select(func.count()).select_from(leads).where(*_conditions(tx, business_id, wanted)))
    )


def count_leads_by_status(tx: Tx, business_id: str) -> dict[Status, int]:
    counted = select(leads.c.status, func.count().label("n")).where(
        *_conditions(tx, business_id, LeadFilter())
    )
    return {row["status"]: row["n"] for row in tx.execute(counted.group_by(leads.c.status)).mappings()}


def list_lead_ids_after(tx: Tx, business_id: str, wanted: LeadFilter, last: str, limit: int) -> list[str]:
    """Ids of matching leads that come after one, by id: for work through all of them, page by page."""
    statement = select(leads.c.id).where(*_conditions(tx, business_id, wanted), leads.c.id > last)
    return [row[0] for row in tx.execute(statement.order_by(leads.c.id).limit(limit))]


def list_leads_after(
    tx: Tx, business_id: str, wanted: LeadFilter, last: Lead | None, limit: int = 500
) -> list[Lead]:
    """The next matching leads after one, newest first: for downloads of any size, page by page."""
    statement = select(leads).where(*_conditions(tx, business_id, wanted))
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


def _collected(ids: Select[Any]) -> Condition:
    return leads.c.id.in_(ids)


def _probed(ids: Select[Any]) -> Condition:
    (column,) = ids.selected_columns
    return ids.where(column == leads.c.id).exists()


def _conditions(tx: Tx, business_id: str, wanted: LeadFilter, among: Among = _collected) -> list[Condition]:
    base: list[Condition] = [leads.c.business_id == business_id, leads.c.hidden_at.is_(None)]
    if wanted.text:
        base.append(_found(tx, business_id, wanted.text, among))
    if wanted.channel_account_id is not None:
        base.append(leads.c.channel_account_id == wanted.channel_account_id)
    chips = [
        *_own(wanted),
        *_labelled(business_id, wanted.labels, among),
        *_earned(business_id, wanted, among),
        *_reachable(business_id, wanted, among),
    ]
    if chips:
        base.append(or_(*chips) if wanted.any_of else and_(*chips))
    return base


def _own(wanted: LeadFilter) -> list[Condition]:
    """What stands in the row of the lead itself."""
    found: list[Condition] = []
    if wanted.statuses:
        found.append(leads.c.status.in_(wanted.statuses))
    if wanted.origins:
        found.append(leads.c.origin.in_(wanted.origins))
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


def _labelled(business_id: str, wanted: tuple[str, ...], among: Among) -> list[Condition]:
    if not wanted:
        return []
    mine = lead_labels.c.business_id == business_id
    chosen = [each for each in wanted if each != NOBODY]
    some = among(select(lead_labels.c.lead_id).where(mine, lead_labels.c.label_id.in_(chosen)))
    if NOBODY not in wanted:
        return [some]
    none = ~select(literal_column("1")).where(mine, lead_labels.c.lead_id == leads.c.id).exists()
    return [or_(some, none)]


def _earned(business_id: str, wanted: LeadFilter, among: Among) -> list[Condition]:
    """Leads that the ads of some campaigns, ad groups or ads earned."""
    columns = (
        (measured_ads.c.campaign_number, wanted.campaigns),
        (measured_ads.c.ad_group_number, wanted.ad_groups),
        (measured_ads.c.ad_number, wanted.ads),
    )
    return [_by_ads(business_id, column.in_(numbers), among) for column, numbers in columns if numbers]


def _by_ads(business_id: str, which: Condition, among: Among) -> Condition:
    """Leads that some ads earned. A merged lead brings what it earned to the one that it went into."""
    ads = select(measured_ads.c.ad_id).where(measured_ads.c.business_id == business_id, which)
    earned = select(conversions.c.subject_id).where(
        conversions.c.business_id == business_id,
        conversions.c.kind == ConversionKind.LEAD,
        conversions.c.ad_id.in_(ads),
    )
    other = leads.alias()
    merged = select(other.c.merged_into).where(
        other.c.business_id == business_id, other.c.merged_into.is_not(None), other.c.id.in_(earned)
    )
    return or_(among(earned), _collected(merged))


def _reachable(business_id: str, wanted: LeadFilter, among: Among) -> list[Condition]:
    """What the contact points of a lead say: kinds, countries, and values that another lead has too."""
    mine = contact_points.c.business_id == business_id
    of_leads = select(contact_points.c.lead_id)
    phones = of_leads.where(mine, contact_points.c.field.in_(_PHONES))
    emails = of_leads.where(mine, contact_points.c.field == Field.EMAIL)
    kinds = {
        Has.PHONE: among(phones),
        Has.EMAIL: among(emails),
        Has.NO_PHONE: ~among(phones),
        Has.NO_EMAIL: ~among(emails),
    }
    found: list[Condition] = []
    if wanted.has:
        found.append(or_(*(kinds[each] for each in wanted.has)))
    if wanted.countries:
        found.append(among(of_leads.where(mine, contact_points.c.country.in_(wanted.countries))))
    if wanted.twins:
        found.append(leads.c.id.in_(_of_shared_values(business_id)))
    return found


def _of_shared_values(business_id: str) -> Select[Any]:
    """Leads of contact values that several leads in the lists have.

    The first pass runs along the index alone and leaves few values; only their leads are looked at.
    """
    mine = contact_points.c.business_id == business_id
    of_several = func.min(contact_points.c.lead_id) != func.max(contact_points.c.lead_id)
    likely = select(contact_points.c.value_index).where(mine).group_by(contact_points.c.value_index)
    points = select(contact_points.c.value_index).join(leads, leads.c.id == contact_points.c.lead_id)
    shared = points.where(
        mine, leads.c.hidden_at.is_(None), contact_points.c.value_index.in_(likely.having(of_several))
    ).group_by(contact_points.c.value_index)
    several = func.count(contact_points.c.lead_id.distinct()) > 1
    return select(contact_points.c.lead_id).where(
        mine, contact_points.c.value_index.in_(shared.having(several))
    )


def _found(tx: Tx, business_id: str, text: str, among: Among) -> Condition:
    """By a part of the name, by a whole contact value in several spellings, or by names and ids of ads."""
    countries = {account.registration_country for account in list_accounts(tx, business_id)}
    indexes = [tx.vault.blind(value, business_id) for value in search_values(text, countries)]
    by_value = select(contact_points.c.lead_id).where(
        contact_points.c.business_id == business_id, contact_points.c.value_index.in_(indexes)
    )
    by_name = leads.c.name_key.contains(name_key(text), autoescape=True)
    found = [by_name, leads.c.id.in_(by_value)]
    if ads := _list_named_ads(tx, business_id, text):
        found.append(_by_ads(business_id, measured_ads.c.ad_id.in_(ads), among))
    if _is_number(text):
        found.append(leads.c.number == int(text))
    return or_(*found)


def _list_named_ads(tx: Tx, business_id: str, text: str) -> list[str]:
    """Ads that are called so, or whose ad group or campaign is, or that have this id."""
    names = (measured_ads.c.ad_name, measured_ads.c.ad_group_name, measured_ads.c.campaign_name)
    which: list[Condition] = [name.icontains(text, autoescape=True) for name in names]
    if _is_number(text):
        numbers = (measured_ads.c.ad_number, measured_ads.c.ad_group_number, measured_ads.c.campaign_number)
        which += [number == int(text) for number in numbers]
    mine = select(measured_ads.c.ad_id).where(measured_ads.c.business_id == business_id, or_(*which))
    return [row[0] for row in tx.execute(mine.limit(500))]


def _is_number(text: str) -> bool:
    return bool(_NUMBER.fullmatch(text)) and int(text) <= _LARGEST


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
