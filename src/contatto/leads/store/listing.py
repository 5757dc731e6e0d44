"""Queries of lists of leads: filters, pages, counts, contact points and credits."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from contatto.accounts.model import BusinessId
from contatto.accounts.store import ad_accounts, list_members
from contatto.channels.store import list_accounts
from contatto.kit.db.database import CountReader
from contatto.kit.db.statements import Query
from contatto.kit.db.tx import Instant, Tx, rows_of, within
from contatto.kit.values import is_unreadable, micros, read_number
from contatto.leads.model import ContactPoint, FormEntry, Lead, LeadId, LeadLabel, LeadStatus
from contatto.leads.ports import LeadPorts
from contatto.leads.rules import records as rules
from contatto.leads.store.intake import list_sharing_leads
from contatto.leads.store.tables import (
    contact_points,
    labels,
    lead_entries,
    lead_labels,
    lead_looks,
    lead_scores,
    leads,
)
from contatto.measurement import store as measurement
from contatto.measurement.model import Attribution, ConversionKind, MeasuredAd
from contatto.measurement.store import conversions, measured_ads


def unerased_leads(business_id: str) -> sa.Select[Any]:
    """Return a query for the leads of a business, without the tombstones of erased ones."""
    return sa.select(leads).where(leads.c.business_id == business_id, leads.c.erased_at.is_(None))


def list_leads_by_id(tx: Tx, business_id: str, lead_ids: set[str]) -> dict[str, Lead]:
    """Return leads by the requested id; for a merged lead, its target lead."""
    query = unerased_leads(business_id)
    leads_by_id: dict[str, Lead] = {
        lead.id: lead for lead in tx.list(Lead, query.where(leads.c.id.in_(lead_ids)))
    }
    targets = {lead.merged_into for lead in leads_by_id.values() if lead.merged_into}
    if not targets:
        return leads_by_id
    targets_by_id = {lead.id: lead for lead in tx.list(Lead, query.where(leads.c.id.in_(targets)))}
    return {
        lead_id: targets_by_id.get(LeadId(lead.merged_into or ""), lead)
        for lead_id, lead in leads_by_id.items()
    }


_POINTS: Final = Query(
    sa.select(*(contact_points.c[field.name] for field in fields(ContactPoint)))
    .where(contact_points.c.business_id == sa.bindparam("of"), within(contact_points.c.lead_id, "ids"))
    .order_by(contact_points.c.created_at, contact_points.c.id)
)


def list_contact_points(tx: Tx, business_id: str, lead_ids: Collection[str]) -> dict[str, list[ContactPoint]]:
    """Return decrypted contact points by lead: the main one first, wrong ones last, else by age."""
    points_by_lead: dict[str, list[ContactPoint]] = {lead_id: [] for lead_id in lead_ids}
    for row in _POINTS.rows(tx, {"of": business_id, "ids": lead_ids}):
        point_id, lead_id, field, value, *rest = row
        opened = tx.open_text(value, business_id, "contact_points.value", point_id)
        points_by_lead[lead_id].append(ContactPoint(point_id, LeadId(lead_id), field, opened, *rest))
    for points in points_by_lead.values():
        points.sort(
            key=lambda point: (point.wrong_at is not None, -micros(point.main_at) if point.main_at else 0)
        )
    tx.record_contact_reads("lead_id", [lead_id for lead_id, points in points_by_lead.items() if points])
    return points_by_lead


def list_outgoing_points(
    tx: Tx, business_id: str, lead_ids: Collection[str]
) -> dict[str, list[ContactPoint]]:
    """Return the contact points that may leave the installation: readable, not wrong, the main one first.

    CRMs, webhooks, signals, the API and files all use this function.
    """
    points = list_contact_points(tx, business_id, lead_ids)
    return {
        lead_id: [point for point in some if point.wrong_at is None and not is_unreadable(point.value)]
        for lead_id, some in points.items()
    }


def list_wrong_values(tx: Tx, business_id: str, lead_ids: Collection[str]) -> dict[str, set[str]]:
    """Return the contact values of leads that members marked wrong; answers to forms may hold them too."""
    query = sa.select(contact_points.c.id, contact_points.c.lead_id, contact_points.c.value).where(
        contact_points.c.business_id == business_id,
        contact_points.c.lead_id.in_(lead_ids),
        contact_points.c.wrong_at.is_not(None),
    )
    values: dict[str, set[str]] = {lead_id: set() for lead_id in lead_ids}
    for row in tx.execute(query):
        opened = tx.open_text(row.value, business_id, "contact_points.value", row.id)
        values[row.lead_id].add(opened)
    return values


def list_scores(tx: Tx, business_id: str, lead_ids: Collection[str]) -> dict[str, int]:
    conditions = lead_scores.c.business_id == business_id, lead_scores.c.lead_id.in_(sorted(lead_ids))
    rows = tx.execute(sa.select(lead_scores.c.lead_id, lead_scores.c.score).where(*conditions))
    return dict(map(tuple, rows))


def list_labels(tx: Tx, business_id: str) -> list[LeadLabel]:
    return tx.list(
        LeadLabel, sa.select(labels).where(labels.c.business_id == business_id).order_by(labels.c.name_key)
    )


def list_labels_of(tx: Tx, business_id: str, lead_ids: Iterable[str]) -> dict[str, list[LeadLabel]]:
    labels_by_lead: dict[str, list[LeadLabel]] = {lead_id: [] for lead_id in lead_ids}
    query = (
        sa.select(lead_labels.c.lead_id, labels)
        .join(labels, labels.c.id == lead_labels.c.label_id)
        .where(lead_labels.c.business_id == business_id, lead_labels.c.lead_id.in_(labels_by_lead))
        .order_by(labels.c.name_key)
    )
    for row in tx.execute(query).mappings():
        labels_by_lead[row["lead_id"]].append(LeadLabel(row["id"], row["name"], row["tone"]))
    return labels_by_lead


def list_entries(tx: Tx, business_id: str, lead_id: str) -> list[FormEntry]:
    """Return the forms of a lead, oldest first."""
    query = sa.select(lead_entries).where(*rows_of(lead_entries, business_id, lead_id=lead_id))
    return tx.list(FormEntry, query.order_by(lead_entries.c.at, lead_entries.c.id))


def list_form_names(tx: Tx, business_id: str) -> list[tuple[str, str]]:
    """Return ids and latest names of the forms that leads sent; each form is one jump in the index."""
    condition = lead_entries.c.business_id == business_id
    next_one = sa.select(sa.func.min(lead_entries.c.form_id)).where(condition)
    latest = sa.select(lead_entries.c.form_name).where(condition).order_by(lead_entries.c.at.desc()).limit(1)
    names: list[tuple[str, str]] = []
    last = ""
    while form_id := tx.scalar(next_one.where(lead_entries.c.form_id > last)):
        last = str(form_id)
        names.append((last, str(tx.scalar(latest.where(lead_entries.c.form_id == last)))))
    return names


type Credit = tuple[Attribution, MeasuredAd]


def earned_elsewhere(
    lead_id: sa.ColumnElement[str], business_id: str, ad_account_id: str
) -> sa.ColumnElement[bool]:
    """Return the condition that an ad of another ad account of ours earned a lead.

    A lead without an ad, or of an ad on another platform, belongs to every account.
    """
    return (
        sa.select(conversions.c.conversion_id)
        .where(
            *rows_of(conversions, business_id, subject_id=lead_id),
            conversions.c.ad_id.is_not(None),
            conversions.c.ad_account_id != ad_account_id,
            conversions.c.ad_account_id.in_(
                sa.select(ad_accounts.c.id).where(ad_accounts.c.business_id == business_id)
            ),
        )
        .exists()
    )


def is_earned_elsewhere(tx: Tx, business_id: str, lead_id: str, ad_account_id: str) -> bool:
    """Report whether an ad of another ad account of ours earned the lead."""
    return bool(tx.scalar(sa.select(earned_elsewhere(sa.literal(lead_id), business_id, ad_account_id))))


def list_member_names(tx: Tx, business_id: str) -> dict[str, str]:
    """Return the names of a business's members, in the order of their joining."""
    return {member.id: member.display_name for member in list_members(tx, BusinessId(business_id))}


def list_credits(tx: Tx, business_id: str, lead_ids: set[str]) -> dict[str, Credit]:
    """Return the attribution and the ad of each lead that an ad earned."""
    earned = measurement.list_attributions(tx, business_id, lead_ids)
    ad_ids = {credit.ad_id for credit in earned.values() if credit.ad_id}
    ads = measurement.list_measured_ads(tx, business_id, ad_ids)
    return {
        lead_id: (credit, ads[credit.ad_id])
        for lead_id, credit in earned.items()
        if credit.ad_id and credit.ad_id in ads
    }


def list_winning_ads(tx: Tx, business_id: str, lead_ids: Collection[str]) -> dict[str, sa.Row[Any]]:
    """Return the names of the campaign, ad group and ad that earned each lead, by lead, for lists."""
    names = (measured_ads.c.campaign_name, measured_ads.c.ad_group_name, measured_ads.c.ad_name)
    query = (
        sa.select(conversions.c.subject_id, *names)
        .join(measured_ads, measured_ads.c.ad_id == conversions.c.ad_id)
        .where(
            conversions.c.business_id == business_id,
            conversions.c.subject_id.in_(lead_ids),
            conversions.c.ad_id.is_not(None),
            measured_ads.c.business_id == business_id,
        )
    )
    return {row.subject_id: row for row in tx.execute(query)}


type Condition = sa.ColumnElement[bool]
_SHARERS: Final = 500
"""Up to this many leads with a contact value, a search lists their ids; beyond, it uses a subquery."""


_MOST_WORDS: Final = 8
"""Number of words of a search that are used."""


class place_of(FunctionElement[int]):  # noqa: N801  # reads as the SQL that it becomes
    """Return the position of a text in another, from 1; 0 if it is absent. Engines differ in its name."""

    type = sa.Integer()
    inherit_cache = True


@compiles(place_of)
def _compile_place(element: Any, compiler: Any, **more: Any) -> str:
    name = "strpos" if compiler.dialect.name == "postgresql" else "instr"
    return f"{name}({compiler.process(element.clauses, **more)})"


def _one_of(column: sa.ColumnElement[Any], values: sa.Select[Any], engine: str) -> Condition:
    """Return the condition that a column is in the result of a select.

    PostgreSQL looks up each value of an array in the index. A select would become a join over all leads,
    which takes three times as long.
    """
    if engine == "postgresql":
        return column == sa.func.any(sa.func.array(values.scalar_subquery()))
    return column.in_(values)


@dataclass(frozen=True, slots=True)
class Conditions:
    """The SQL of a filter.

    Attributes:
        base: all of these must hold.
        parts: one of these must hold: alternatives of a search, each with an index of its own.
    """

    base: list[Condition]
    parts: list[Condition]

    def select(self, *what: Any) -> sa.Select[Any]:
        return sa.select(*what).where(*self.base, sa.or_(*self.parts))


def find_conditions(
    tx: Tx,
    business_id: str,
    lead_filter: rules.LeadFilter,
    texts: sa.CTE | None = None,
    *,
    is_probed: bool = False,
) -> Conditions:
    """Translate a filter to SQL; with ``texts``, match texts of facets instead of leads.

    Ids from other tables are collected first, which is the fastest to count. With ``is_probed`` each lead is
    looked up there, which is the fastest for the first leads of an order.
    """
    base: list[Condition] = _listed(business_id)
    if lead_filter.channel_account_id is not None:
        base.append(leads.c.channel_account_id == lead_filter.channel_account_id)
    context = _FilterContext(tx, business_id, is_probed)
    ports = tx.ports[LeadPorts]
    chats = {rules.ChatState.UNREAD: ports.unread_chats, rules.ChatState.WAITING: ports.waiting_chats}
    named = [context.with_ids(chats[thread](tx, business_id)) for thread in lead_filter.threads]
    faceted = _worded(lead_filter, leads.c.facets if texts is None else texts.c.text)
    if texts is not None and faceted:
        matching_texts = sa.select(texts.c.text).where(_joined(lead_filter, faceted))
        faceted = [_one_of(leads.c.facets, matching_texts, tx.connection.dialect.name)]
    earned_by = (
        (measured_ads.c.campaign_number, lead_filter.campaigns),
        (measured_ads.c.ad_group_number, lead_filter.ad_groups),
        (measured_ads.c.ad_number, lead_filter.ads),
    )
    synced = [context.with_ids(ports.in_crm(tx, business_id, state.value)) for state in lead_filter.in_crm]
    chips = [
        *_own(lead_filter),
        *faceted,
        *(context.earned_by(column.in_(numbers)) for column, numbers in earned_by if numbers),
        *([sa.or_(*named)] if named else []),
        *([sa.or_(*synced)] if synced else []),
    ]
    if lead_filter.scores:
        spans = [lead_scores.c.score.between(*rules.BANDS[band]) for band in lead_filter.scores]
        scored = sa.select(lead_scores.c.lead_id).where(
            lead_scores.c.business_id == business_id, sa.or_(*spans)
        )
        chips.append(context.with_ids(scored))
    if chips:
        base.append(_joined(lead_filter, chips))
    if not lead_filter.text:
        return Conditions(base, [sa.true()])
    # Search by a part of the name, a contact value in several spellings, or names and ids of ads.
    text = lead_filter.text
    countries = {account.registration_country for account in list_accounts(tx, business_id)}
    countries |= set(list_phone_countries(tx, business_id))  # people write the numbers that they have at hand
    indexes = [tx.vault.blind(value, business_id) for value in rules.search_values(text, countries)]
    by_value = sa.select(contact_points.c.lead_id).where(
        *rows_of(contact_points, business_id, value_index=indexes)
    )
    conditions = [match_words(leads.c.name_key, text)]
    if ids := list(tx.execute(by_value.limit(_SHARERS + 1)).scalars()):
        is_sharing = leads.c.id.in_(by_value if len(ids) > _SHARERS else ids)
        conditions = [sa.or_(*conditions, is_sharing)]
    mark = rules.visitor_mark(text)
    if mark is not None:
        conditions.append(sa.and_(leads.c.name_key == "", match_mark(leads.c.person_id, mark)))
    names = (measured_ads.c.ad_name, measured_ads.c.ad_group_name, measured_ads.c.campaign_name)
    is_named: list[Condition] = [name.icontains(text, autoescape=True) for name in names]
    number = read_number(text)
    if number is not None:
        numbers = (measured_ads.c.ad_number, measured_ads.c.ad_group_number, measured_ads.c.campaign_number)
        is_named += [column == number for column in numbers]
    of_business = sa.select(measured_ads.c.ad_id).where(measured_ads.c.business_id == business_id)
    ads = list(tx.execute(of_business.where(sa.or_(*is_named)).limit(500)).scalars())
    if ads:
        conditions.append(context.earned_by(measured_ads.c.ad_id.in_(ads)))
    if number is not None:
        conditions.append(leads.c.number == number)
    return Conditions(base, conditions)


def _listed(business_id: str) -> list[Condition]:
    return [leads.c.business_id == business_id, leads.c.hidden_at.is_(None)]


def _joined(lead_filter: rules.LeadFilter, conditions: list[Condition]) -> Condition:
    return sa.or_(*conditions) if lead_filter.any_of else sa.and_(*conditions)


def _own(lead_filter: rules.LeadFilter) -> list[Condition]:
    """Return conditions on the lead's own row."""
    conditions: list[Condition] = []
    if lead_filter.statuses:
        conditions.append(leads.c.status.in_(lead_filter.statuses))
    if lead_filter.owners:
        of_members = leads.c.owner_id.in_([owner for owner in lead_filter.owners if owner != rules.NOBODY])
        conditions.append(
            sa.or_(of_members, leads.c.owner_id.is_(None))
            if rules.NOBODY in lead_filter.owners
            else of_members
        )
    days: list[Condition] = []
    if lead_filter.since is not None:
        days.append(leads.c.created_at >= datetime.combine(lead_filter.since, time(), UTC))
    if lead_filter.until is not None:
        end = datetime.combine(lead_filter.until, time(), UTC) + timedelta(days=1)
        days.append(leads.c.created_at < end)
    return [*conditions, sa.and_(*days)] if days else conditions


def _worded(lead_filter: rules.LeadFilter, text: sa.ColumnElement[str]) -> list[Condition]:
    """Return the conditions of a filter on a text of facets, such as `leads.facets`."""

    def word(facet: rules.Facet, value: str) -> Condition:
        return place_of(text, f" {rules.facet_word(facet, value)} ") > 0

    phone, email = word(rules.Facet.REACH, rules.PHONE), word(rules.Facet.REACH, rules.EMAIL)
    reach = {
        rules.Has.PHONE: phone,
        rules.Has.EMAIL: email,
        rules.Has.NO_PHONE: sa.not_(phone),
        rules.Has.NO_EMAIL: sa.not_(email),
    }
    labelled, agreed = word(rules.Facet.SIGN, rules.LABELLED), word(rules.Facet.SIGN, rules.CONSENT)
    consents = {rules.Agreed.GIVEN: agreed, rules.Agreed.NONE: sa.not_(agreed)}
    groups = (
        [word(rules.Facet.ORIGIN, origin.value) for origin in lead_filter.origins],
        [
            sa.not_(labelled) if label == rules.NOBODY else word(rules.Facet.LABEL, label)
            for label in lead_filter.labels
        ],
        [word(rules.Facet.COUNTRY, country) for country in lead_filter.countries],
        [word(rules.Facet.FORM, form) for form in lead_filter.forms],
        [reach[has] for has in lead_filter.has],
        [consents[consent] for consent in lead_filter.consents],
        [word(rules.Facet.SIGN, rules.TWIN)] if lead_filter.twins else [],
    )
    return [sa.or_(*group) for group in groups if group]


@dataclass(frozen=True, slots=True)
class _FilterContext:
    """Conditions on leads by rows of other tables."""

    tx: Tx
    business_id: str
    is_probed: bool

    def with_ids(self, ids: sa.Select[Any]) -> Condition:
        """Match leads with these ids, and the target leads of merged ones."""
        merged = sa.select(leads.c.merged_into).where(
            leads.c.business_id == self.business_id, leads.c.merged_into.is_not(None), leads.c.id.in_(ids)
        )
        target_ids = list(self.tx.execute(merged).scalars())
        condition = _one_of(leads.c.id, ids, self.tx.connection.dialect.name)
        if self.is_probed:
            (column,) = ids.selected_columns
            condition = ids.where(column == leads.c.id).exists()
        return sa.or_(condition, leads.c.id.in_(target_ids)) if target_ids else condition

    def earned_by(self, which: Condition) -> Condition:
        """Match leads that some ads earned."""
        ads = sa.select(measured_ads.c.ad_id).where(measured_ads.c.business_id == self.business_id, which)
        earned = sa.select(conversions.c.subject_id).where(
            *rows_of(conversions, self.business_id, kind=ConversionKind.LEAD), conversions.c.ad_id.in_(ads)
        )
        return self.with_ids(earned)


def match_words(name_key: sa.ColumnElement[str], text: str) -> Condition:
    """Match names that hold all words of a search, in any order; one letter matches a word's beginning."""
    spaced = sa.literal(" ").concat(name_key)
    words = rules.fold_text(text).split()[:_MOST_WORDS]
    return sa.and_(
        sa.true() if words else sa.false(),
        *(
            place_of(spaced, f" {word}") > 0 if rules.is_initial(word) else place_of(name_key, word) > 0
            for word in words
        ),
    )


def match_mark(person_id: sa.ColumnElement[str], mark: str) -> Condition:
    """Match persons by a prefix of hexadecimal digits of their id, with the index of ids."""
    return sa.and_(person_id >= mark, person_id < f"{mark}g") if mark else sa.true()


def list_phone_countries(tx: Tx, business_id: str) -> list[str]:
    """Return the countries of the phone numbers that leads have; each is a jump in the index, not a scan."""
    next_one = sa.select(sa.func.min(contact_points.c.country)).where(
        contact_points.c.business_id == business_id
    )
    countries = [""]
    while country := tx.scalar(next_one.where(contact_points.c.country > countries[-1])):
        countries.append(country)
    return countries[1:]


MANY: Final = 2_000
"""Up to this many matches, a page reads and sorts all; beyond, it reads leads in index order."""
MOST_TEXTS: Final = 1_000
"""Up to this many different texts of facets, leads are counted by text; beyond, one by one."""

_KEYS: Final = {
    "created": ("created_at", "id"),
    "last_activity": ("updated_at", "id"),
    "status": ("status", "created_at", "id"),
    "name": ("name_key", "id"),
    "score": ("score", "id"),
}
"""The columns of each order, as an index has them, so that no page needs a sort."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Number of leads that match a filter, and a query for them if they are few."""

    total: int
    few: sa.Select[Any] | None


def find_matches(
    tx: Tx, business_id: str, lead_filter: rules.LeadFilter, counts: Mapping[LeadStatus, int] | None = None
) -> Matches:
    """Count the matches, by status with ``counts``, and return a query for them if at most `MANY`."""
    if counts is not None and lead_filter == rules.LeadFilter(statuses=lead_filter.statuses):
        return Matches(sum(counts.get(status, 0) for status in lead_filter.statuses or LeadStatus), None)
    if lead_filter.text:
        return _find_of_search(tx, business_id, find_conditions(tx, business_id, lead_filter))
    texts = _few_texts(tx, business_id, lead_filter)
    conditions = find_conditions(tx, business_id, lead_filter, texts=texts)
    total = _count(tx, conditions)
    if total > MANY or not lead_filter.used_parts:
        return Matches(total, None)
    if (
        texts is not None
        and not tx.locks_rows
        and not (lead_filter.any_of and (lead_filter.statuses or lead_filter.owners))
    ):
        # The outer join makes SQLite begin with the texts; one without matching leads yields an empty row.
        is_of_text = sa.and_(leads.c.facets == texts.c.text, *_listed(business_id), *_own(lead_filter))
        by_text = sa.select(leads).select_from(texts.outerjoin(leads, is_of_text))
        return Matches(total, by_text.where(_joined(lead_filter, _worded(lead_filter, texts.c.text))))
    return Matches(total, conditions.select(leads))


def _find_of_search(tx: Tx, business_id: str, conditions: Conditions) -> Matches:
    """Collect the ids of parts with few matches, and count where a part has more than `MANY`."""
    by_name, *quick = conditions.parts
    first_ids = sa.select(leads.c.id).where(*conditions.base).limit(MANY + 1)
    many: list[tuple[Condition, int]] = []
    ids: set[str] = set()
    for part in quick:
        total = _count(tx, replace(conditions, parts=[part]))
        if total > MANY:
            many.append((part, total))
        else:
            ids.update(tx.execute(first_ids.where(part)).scalars())
    of_name = tx.execute(first_ids.where(by_name)).scalars().all()
    ids.update(of_name)
    if len(of_name) > MANY or len(many) > 1:
        return Matches(_count(tx, conditions), None)
    if many:
        ((part, total),) = many
        is_other = leads.c.id.in_(ids) & sa.not_(part)
        return Matches(total + (_count(tx, replace(conditions, parts=[is_other])) if ids else 0), None)
    # The expression hides the index by tenant: SQLite would read all its leads instead of some hundred ids.
    few = sa.select(leads).where(leads.c.business_id.concat("") == business_id, leads.c.id.in_(ids))
    return Matches(len(ids), few if len(ids) <= MANY else None)


def list_matches(
    tx: Tx, business_id: str, lead_filter: rules.LeadFilter, matches: Matches, place: tuple[str, int, int]
) -> list[Lead]:
    """Return a page of matches at a sort word, limit and offset; the second half is read from the end."""
    sort, limit, offset = place
    if matches.few is not None:
        # With a limit the engine finds them before it sorts.
        few = matches.few.limit(MANY + MOST_TEXTS).subquery()
        page = sa.select(few).where(few.c.id.is_not(None)).order_by(*_order(sort, few.c))
        return tx.list(Lead, page.limit(limit).offset(offset))
    if offset * 2 <= matches.total:
        return list_leads(tx, business_id, lead_filter, sort, limit, offset)
    length = max(min(limit, matches.total - offset), 0)
    after = max(matches.total - offset - limit, 0)
    known_sort = sort if sort.removeprefix("-") in _KEYS else rules.USUAL_SORT
    turned = known_sort.removeprefix("-") if known_sort.startswith("-") else f"-{known_sort}"
    return list_leads(tx, business_id, lead_filter, turned, length, after)[::-1]


def list_leads(
    tx: Tx,
    business_id: str,
    lead_filter: rules.LeadFilter,
    sort: str = rules.USUAL_SORT,
    limit: int = 50,
    offset: int = 0,
) -> list[Lead]:
    """Return a page of the matching leads; an unknown sort word means the usual order.

    Pages up to `MANY` read leads one by one in index order; later pages collect all first.
    """
    conditions = find_conditions(tx, business_id, lead_filter, is_probed=offset < MANY)
    statement = conditions.select(leads)
    return tx.list(Lead, statement.order_by(*_order(sort, leads.c)).limit(limit).offset(offset))


def find_newest_lead(
    tx: Tx, business_id: str, lead_filter: rules.LeadFilter, ad_account_id: str
) -> Lead | None:
    """Return the newest of the matching leads that no ad of another ad account earned."""
    statement = find_conditions(tx, business_id, lead_filter, is_probed=True).select(leads)
    own = statement.where(sa.not_(earned_elsewhere(leads.c.id, business_id, ad_account_id)))
    return tx.find(Lead, own.order_by(*_order(rules.USUAL_SORT, leads.c)).limit(1))


def count_leads(tx: Tx, business_id: str, lead_filter: rules.LeadFilter) -> int:
    texts = _few_texts(tx, business_id, lead_filter)
    return _count(tx, find_conditions(tx, business_id, lead_filter, texts=texts))


def _few_texts(tx: Tx, business_id: str, lead_filter: rules.LeadFilter) -> sa.CTE | None:
    """Return the texts of facets if they are few and suffice for a filter; else None.

    Many leads have the same text. A filter of facets and other columns of their index first finds the texts
    with the words, and then the leads of those texts.
    """
    parts = lead_filter.used_parts
    if not parts & rules.FACETED or not parts <= rules.FACETED | rules.BESIDE_FACETS:
        return None
    # Each text is a jump in the index.
    listed = _listed(business_id)
    first = sa.select(sa.func.min(leads.c.facets)).where(*listed).scalar_subquery()
    texts = sa.select(first.label("text"), sa.literal(1).label("place")).cte("texts", recursive=True)
    following = sa.select(sa.func.min(leads.c.facets)).where(*listed, leads.c.facets > texts.c.text)
    further = sa.select(following.correlate(texts).scalar_subquery(), texts.c.place + 1)
    texts = texts.union_all(further.where(texts.c.text.is_not(None), texts.c.place <= MOST_TEXTS))
    return texts if tx.scalar(sa.select(sa.func.count(texts.c.text))) <= MOST_TEXTS else None


def _count(tx: Tx, conditions: Conditions) -> int:
    """Count the matches of each part that no earlier part has."""
    total = 0
    for position, part in enumerate(conditions.parts):
        fresh = [sa.not_(part) for part in conditions.parts[:position]]
        total += int(
            tx.scalar(sa.select(sa.func.count()).select_from(leads).where(*conditions.base, part, *fresh))
        )
    return total


def count_leads_by_status(tx: Tx, business_id: str) -> dict[LeadStatus, int]:
    """Count leads by status, one query each: a GROUP BY takes longer."""
    shown = (leads.c.business_id == business_id, leads.c.hidden_at.is_(None))
    parts = [
        sa.select(sa.literal(status.value), sa.func.count()).where(*shown, leads.c.status == status)
        for status in LeadStatus
    ]
    counted = map(tuple, tx.execute(sa.union_all(*parts)))
    return {LeadStatus(status): count for status, count in counted if count}


def count_leads_since(tx: Tx, business_id: str, moment: datetime) -> int:
    """Count the leads since a moment, without test leads."""
    listed = leads.c.business_id == business_id, leads.c.hidden_at.is_(None), leads.c.is_test.is_(False)
    count = sa.select(sa.func.count()).select_from(leads).where(*listed, leads.c.created_at >= moment)
    return int(tx.scalar(count))


def load_lead_counts(tx: Tx, business_id: str, cached_counts: CountReader) -> Mapping[LeadStatus, int]:
    """Count leads by status through the cache, for pages that reload often."""
    return cached_counts.find(("leads", business_id), lambda: count_leads_by_status(tx, business_id))


def list_lead_ids_after(
    tx: Tx, business_id: str, lead_filter: rules.LeadFilter, last: str, limit: int
) -> list[str]:
    """Return ids of matching leads that come after one, by id: for work through all of them, page by page."""
    statement = find_conditions(tx, business_id, lead_filter).select(leads.c.id).where(leads.c.id > last)
    return [row[0] for row in tx.execute(statement.order_by(leads.c.id).limit(limit))]


def list_leads_after(
    tx: Tx, business_id: str, lead_filter: rules.LeadFilter, last: Lead | None, limit: int = 500
) -> list[Lead]:
    """Return the next matching leads after one, newest first: for downloads of any size, page by page."""
    statement = find_conditions(tx, business_id, lead_filter).select(leads)
    if last is not None:
        place = sa.tuple_(leads.c.created_at, leads.c.id)
        statement = statement.where(
            place < sa.tuple_(sa.literal(last.created_at, Instant), sa.literal(last.id))
        )
    return tx.list(Lead, statement.order_by(leads.c.created_at.desc(), leads.c.id.desc()).limit(limit))


def _order(sort: str, columns: Any) -> list[sa.ColumnElement[Any]]:
    names = _KEYS.get(sort.removeprefix("-"))
    if names is None:
        return _order(rules.USUAL_SORT, columns)
    return [columns[name].desc() if sort.startswith("-") else columns[name].asc() for name in names]


def list_twins(tx: Tx, business_id: str, lead_id: str) -> list[Lead]:
    """Return other listed leads that share a contact value with a lead: possible duplicates, oldest first."""
    twins = sa.select(leads).where(
        *rows_of(leads, business_id, id=list_sharing_leads(tx, business_id, {lead_id}))
    )
    return tx.list(Lead, twins.where(leads.c.hidden_at.is_(None)).order_by(leads.c.created_at))


def find_look(tx: Tx, business_id: str, member_id: str) -> rules.ListLayout | None:
    """Find a member's layout of the list; None before the first choice."""
    query = sa.select(lead_looks).where(*rows_of(lead_looks, business_id, member_id=member_id))
    row = tx.execute(query).mappings().first()
    return (
        None
        if row is None
        else rules.ListLayout(columns=rules.known_columns(row["shown"]), dense=row["is_dense"])
    )


def save_look(tx: Tx, business_id: str, member_id: str, look: rules.ListLayout) -> None:
    """Save a member's columns and density; the order belongs to the list, not to the member."""
    row = {"member_id": member_id, "business_id": business_id}
    tx.save(lead_looks, row | {"shown": look.columns, "is_dense": look.dense})
