"""What a filter of the Leads Center means in SQL."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from sqlalchemy import (
    CTE,
    ColumnElement,
    Integer,
    Select,
    and_,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from contatto.channels.store import list_accounts
from contatto.kit.db.tx import Tx
from contatto.kit.numbers import read_number
from contatto.leads.ports import LeadPorts
from contatto.leads.rules.facets import CONSENT, EMAIL, LABELLED, PHONE, TWIN, Facet, facet_word
from contatto.leads.rules.filters import NOBODY, Agreed, Has, LeadFilter, ThreadState
from contatto.leads.rules.records import fold_text, is_initial, search_values, visitor_mark
from contatto.leads.store.records import contact_points, leads
from contatto.leads.store.scores import select_scored
from contatto.measurement.model import ConversionKind
from contatto.measurement.store import conversions, measured_ads

type Condition = ColumnElement[bool]
type Among = Callable[[Select[Any], str], Condition]
"""How a lead is found among those whose ids a select gives, and on which engine."""

_SHARERS: Final = 500
"""Leads with one contact value up to which a search names them, and does not ask of each lead for its own."""


_MOST_WORDS: Final = 8
"""Words of a search that count."""


class place_of(FunctionElement[int]):  # noqa: N801  # reads as the SQL that it becomes
    """Where a text begins in another, counted from 1; 0 if it is not there. Engines differ in its name."""

    type = Integer()
    inherit_cache = True


@compiles(place_of)
def _instr(element: Any, compiler: Any, **more: Any) -> str:
    return f"instr({compiler.process(element.clauses, **more)})"


@compiles(place_of, "postgresql")
def _strpos(element: Any, compiler: Any, **more: Any) -> str:
    return f"strpos({compiler.process(element.clauses, **more)})"


def collected(ids: Select[Any], engine: str) -> Condition:
    """All ids are collected first: the quickest for leads in any order, and to count."""
    return _one_of(leads.c.id, ids, engine)


def _one_of(column: ColumnElement[Any], values: Select[Any], engine: str) -> Condition:
    """Whether a column is among what a select gives.

    Of an array PostgreSQL looks for each value in the index, in its order. Of a select it would make a join,
    which reads all leads, and costs thrice as much.
    """
    if engine == "postgresql":
        return column == func.any(func.array(values.scalar_subquery()))
    return column.in_(values)


def probed(ids: Select[Any], _engine: str) -> Condition:
    """Each lead is looked up: the quickest for the first leads of an order."""
    (column,) = ids.selected_columns
    return ids.where(column == leads.c.id).exists()


@dataclass(frozen=True, slots=True)
class Conditions:
    """The SQL of a filter.

    Attributes:
        base: what must all hold.
        parts: one of these must hold; those of a search, each quick in its own way.
    """

    base: list[Condition]
    parts: list[Condition]

    def select(self, *what: Any) -> Select[Any]:
        return select(*what).where(*self.base, or_(*self.parts))


def select_by_texts(business_id: str, wanted: LeadFilter, texts: CTE) -> Select[Any]:
    """Leads, text by text: the outer join makes SQLite begin with texts. A text of none is an empty row."""
    words = _joined(wanted, _worded(wanted, texts.c.text))
    leads_of = texts.outerjoin(
        leads, and_(leads.c.facets == texts.c.text, *_listed(business_id), *_own(wanted))
    )
    return select(leads).select_from(leads_of).where(words)


def find_conditions(
    tx: Tx, business_id: str, wanted: LeadFilter, among: Among = collected, texts: CTE | None = None
) -> Conditions:
    """What a filter means. With ``texts``, those that hold the words of facets are found instead of leads."""
    base: list[Condition] = _listed(business_id)
    if wanted.channel_account_id is not None:
        base.append(leads.c.channel_account_id == wanted.channel_account_id)
    others = _Others(tx, business_id, among)
    chips = [
        *_own(wanted),
        *_faceted(wanted, texts, tx.connection.dialect.name),
        *_earned(others, wanted),
        *_chatting(others, wanted),
        *_synced(others, wanted),
        *_scored(others, wanted),
    ]
    if chips:
        base.append(_joined(wanted, chips))
    return Conditions(base, _found(others, wanted.text) if wanted.text else [true()])


def texts_of_facets(business_id: str, most: int) -> CTE:
    """The different texts of facets that listed leads have, up to so many; each is a jump in the index."""
    listed = _listed(business_id)
    first = select(func.min(leads.c.facets)).where(*listed).scalar_subquery()
    texts = select(first.label("text"), literal(1).label("place")).cte("texts", recursive=True)
    following = select(func.min(leads.c.facets)).where(*listed, leads.c.facets > texts.c.text)
    further = select(following.correlate(texts).scalar_subquery(), texts.c.place + 1)
    return texts.union_all(further.where(texts.c.text.is_not(None), texts.c.place < most))


def _listed(business_id: str) -> list[Condition]:
    return [leads.c.business_id == business_id, leads.c.hidden_at.is_(None)]


def _joined(wanted: LeadFilter, conditions: list[Condition]) -> Condition:
    return or_(*conditions) if wanted.any_of else and_(*conditions)


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


def _faceted(wanted: LeadFilter, texts: CTE | None, engine: str) -> list[Condition]:
    """What hangs on a lead, by the words that its row keeps of it."""
    groups = _worded(wanted, leads.c.facets if texts is None else texts.c.text)
    if texts is None or not groups:
        return groups
    return [_one_of(leads.c.facets, select(texts.c.text).where(_joined(wanted, groups)), engine)]


def _worded(wanted: LeadFilter, text: ColumnElement[str]) -> list[Condition]:
    """The words of a filter that a text of facets must hold."""

    def word(facet: Facet, value: str) -> Condition:
        return place_of(text, f" {facet_word(facet, value)} ") > 0

    phone, email = word(Facet.REACH, PHONE), word(Facet.REACH, EMAIL)
    reach = {Has.PHONE: phone, Has.EMAIL: email, Has.NO_PHONE: not_(phone), Has.NO_EMAIL: not_(email)}
    labelled, agreed = word(Facet.SIGN, LABELLED), word(Facet.SIGN, CONSENT)
    consents = {Agreed.GIVEN: agreed, Agreed.NONE: not_(agreed)}
    groups = (
        [word(Facet.ORIGIN, each.value) for each in wanted.origins],
        [not_(labelled) if each == NOBODY else word(Facet.LABEL, each) for each in wanted.labels],
        [word(Facet.COUNTRY, each) for each in wanted.countries],
        [word(Facet.FORM, each) for each in wanted.forms],
        [reach[each] for each in wanted.has],
        [consents[each] for each in wanted.consents],
        [word(Facet.SIGN, TWIN)] if wanted.twins else [],
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
        kept = list(self.tx.execute(merged).scalars())
        found = self.among(ids, self.tx.connection.dialect.name)
        return or_(found, leads.c.id.in_(kept)) if kept else found

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
    ports = others.tx.ports[LeadPorts]
    chats = {ThreadState.UNREAD: ports.unread_chats, ThreadState.WAITING: ports.waiting_chats}
    named = [others.named_by(chats[each](others.tx, others.business_id)) for each in wanted.threads]
    return [or_(*named)] if named else []


def _synced(others: _Others, wanted: LeadFilter) -> list[Condition]:
    """Leads that stand so in a linked CRM; a capability above knows them."""
    in_crm = others.tx.ports[LeadPorts].in_crm
    named = [others.named_by(in_crm(others.tx, others.business_id, each.value)) for each in wanted.in_crm]
    return [or_(*named)] if named else []


def _found(others: _Others, text: str) -> list[Condition]:
    """By a part of the name, by a whole contact value in several spellings, or by names and ids of ads."""
    found = [or_(match_words(leads.c.name_key, text), *_sharing(others, text))]
    mark = visitor_mark(text)
    if mark is not None:
        found.append(and_(leads.c.name_key == "", match_mark(leads.c.person_id, mark)))
    if ads := _list_named_ads(others.tx, others.business_id, text):
        found.append(others.earned_by(measured_ads.c.ad_id.in_(ads)))
    number = read_number(text)
    if number is not None:
        found.append(leads.c.number == number)
    return found


def match_words(name_key: ColumnElement[str], text: str) -> Condition:
    """Match names that hold all words of a search, in any order; one letter matches a word's beginning."""
    spaced = literal(" ").concat(name_key)
    words = fold_text(text).split()[:_MOST_WORDS]
    return and_(
        true() if words else false(),
        *(
            place_of(spaced, f" {word}") > 0 if is_initial(word) else place_of(name_key, word) > 0
            for word in words
        ),
    )


def match_mark(person_id: ColumnElement[str], mark: str) -> Condition:
    """Match persons whose id begins with a mark of hexadecimal digits, by the index of ids."""
    return and_(person_id >= mark, person_id < f"{mark}g") if mark else true()


def _sharing(others: _Others, text: str) -> list[Condition]:
    """Leads that have a text as a contact value."""
    tx, business_id = others.tx, others.business_id
    countries = {account.registration_country for account in list_accounts(tx, business_id)}
    countries |= set(list_phone_countries(tx, business_id))  # people write the numbers that they have at hand
    indexes = [tx.vault.blind(value, business_id) for value in search_values(text, countries)]
    by_value = select(contact_points.c.lead_id).where(
        contact_points.c.business_id == business_id, contact_points.c.value_index.in_(indexes)
    )
    ids = list(tx.execute(by_value.limit(_SHARERS + 1)).scalars())
    if not ids:
        return []
    return [leads.c.id.in_(by_value if len(ids) > _SHARERS else ids)]


def _list_named_ads(tx: Tx, business_id: str, text: str) -> list[str]:
    """Ads that are called so, or whose ad group or campaign is, or that have this id."""
    names = (measured_ads.c.ad_name, measured_ads.c.ad_group_name, measured_ads.c.campaign_name)
    which: list[Condition] = [name.icontains(text, autoescape=True) for name in names]
    asked = read_number(text)
    if asked is not None:
        numbers = (measured_ads.c.ad_number, measured_ads.c.ad_group_number, measured_ads.c.campaign_number)
        which += [number == asked for number in numbers]
    mine = select(measured_ads.c.ad_id).where(measured_ads.c.business_id == business_id, or_(*which))
    return list(tx.execute(mine.limit(500)).scalars())


def list_phone_countries(tx: Tx, business_id: str) -> list[str]:
    """The countries of the phone numbers that leads have; each is a jump in the index, not a scan."""
    next_one = select(func.min(contact_points.c.country)).where(contact_points.c.business_id == business_id)
    found = [""]
    while country := tx.scalar(next_one.where(contact_points.c.country > found[-1])):
        found.append(country)
    return found[1:]


def _scored(others: _Others, wanted: LeadFilter) -> list[Condition]:
    """Leads whose scores lie so."""
    return [others.named_by(select_scored(others.business_id, wanted.scores))] if wanted.scores else []
