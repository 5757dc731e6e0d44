"""Leads Center: the list with its filters, tabs, columns and saved views."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl, urlencode

from fastapi import Depends, Form, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import HTMLResponse

from contatto.accounts.auth import PageCaller, may, page_routes
from contatto.accounts.model import BusinessId, Caller, Permission, ReadAudit
from contatto.accounts.store import list_able_members
from contatto.kit import errors
from contatto.kit.db.database import CachedCounts
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_
from contatto.kit.values import PageNumber
from contatto.leads.actions.annotations import ViewChange, change_view, keep_view
from contatto.leads.model import Actor, Lead, LeadStatus
from contatto.leads.ports import LeadPorts
from contatto.leads.rules import records as rules
from contatto.leads.store import listing
from contatto.leads.store.records import list_views
from contatto.measurement.store import list_measured_ads
from contatto.ui.requests import context_of, part_of, show_page


def rows_of(tx: Tx, business_id: str, matches: list[Lead], *, with_crm: bool = False) -> list[dict[str, Any]]:
    """Return leads for a list; ``with_crm`` each says how far it is in the linked CRMs too."""
    ids = {lead.id for lead in matches}
    ads = listing.list_winning_ads(tx, business_id, ids)
    points = listing.list_contact_points(tx, business_id, ids)
    labels = listing.list_labels_of(tx, business_id, ids)
    names = listing.list_member_names(tx, business_id)
    scores = listing.list_scores(tx, business_id, ids)
    states = tx.ports[LeadPorts].crm_states(tx, business_id, ids) if with_crm else {}
    rows = []
    for lead in matches:
        ad = ads.get(lead.id)
        rows.append({
            "id": lead.id,
            "name": rules.person_label(lead.name, lead.person_id),
            "is_test": lead.is_test,
            "contact_points": points[lead.id],
            "status": lead.status.value,
            "source": lead.origin.value,
            "campaign_name": ad.campaign_name if ad else None,
            "ad_group_name": ad.ad_group_name if ad else None,
            "ad_name": ad.ad_name if ad else None,
            "created_at": lead.created_at,
            "last_activity_at": lead.updated_at,
            "labels": labels[lead.id],
            "owner": names.get(lead.owner_id or ""),
            "in_crm": states.get(lead.id, ""),
            "score": scores.get(lead.id),
        })  # fmt: skip
    return rows


MOST_PAIRS: Final = 200
"""Pairs of an address: more than a filter and a look together can have."""


@dataclass(frozen=True, slots=True)
class LeadsQuery:
    """The filter and the look that stand in an address."""

    lead_filter: rules.LeadFilter
    look: rules.ListLayout

    @property
    def pairs(self) -> rules.Pairs:
        return [*rules.write_filter(self.lead_filter), *rules.write_look(self.look)]

    @property
    def query(self) -> str:
        return urlencode(self.pairs)

    def href(self, path: str = "/leads") -> str:
        return f"{path}?{self.query}" if self.query else path

    def sort_href(self) -> str:
        """Return the address with another order, for the heads of the table: it holds the word SORT."""
        unsorted = replace(self, look=replace(self.look, sort=rules.USUAL_SORT))
        return f"/leads?{urlencode(unsorted.pairs)}&sort=SORT"


def read_query(query: str) -> LeadsQuery:
    """Read what a saved view or a form holds. Raises Refused: INVALID, for more than a filter may have."""
    pairs = parse_qsl(query)
    if len(pairs) > MOST_PAIRS:
        raise Refused(
            errors.INVALID, "The filter has more than %(most)s values. Remove some.", most=rules.MOST_IN_ALL
        )
    return LeadsQuery(rules.read_filter(pairs), rules.read_look(pairs))


def leads_query_of(request: Request) -> LeadsQuery:
    return read_query(request.url.query)


ReadAsked = Annotated[LeadsQuery, Depends(leads_query_of)]


def actor_of(caller: Caller) -> Actor:
    return Actor(caller.business_id, caller.subject_id, caller.display_name)


def choices_of(tx: Tx, business_id: str) -> dict[str, list[tuple[str, str]]]:
    """Return the choices for each word of the filter: pairs of value and text."""
    ads = list_measured_ads(tx, business_id).values()
    assignees = list_able_members(tx, BusinessId(business_id), Permission.READ_LEADS)
    return {
        "owner": [
            (rules.ME, N_("Me")),
            (rules.NOBODY, N_("Nobody")),
            *listing.list_member_names(tx, business_id).items(),
        ],
        "assignee": [(member.id, member.display_name) for member in assignees],
        "label": [
            *((label.id, label.name) for label in listing.list_labels(tx, business_id)),
            (rules.NOBODY, N_("No label")),
        ],
        "campaign": _by_name({(str(ad.campaign_number), ad.campaign_name, "") for ad in ads}),
        "ad_group": _by_name({(str(ad.ad_group_number), ad.ad_group_name, ad.campaign_name) for ad in ads}),
        "ad": _by_name({(str(ad.ad_number), ad.ad_name, ad.ad_group_name) for ad in ads}),
        "form": listing.list_form_names(tx, business_id),
        "country": [
            (phone_country, phone_country) for phone_country in listing.list_phone_countries(tx, business_id)
        ],
    }


def _by_name(names: set[tuple[str, str, str]]) -> list[tuple[str, str]]:
    """Return pairs of number and name; a name that several have comes with the place where each stands."""
    count = Counter(name for _, name, _ in names)
    choices = [
        (number, f"{name} · {place}" if place and count[name] > 1 else name) for number, name, place in names
    ]
    return sorted(choices, key=lambda choice: (choice[1].casefold(), choice[0]))


router = page_routes()
PAGE: Final = 50
_LAST_PAGE: Final = 1_000_000


@router.get("/leads", Permission.READ_LEADS, ReadAudit.FOLDED)
async def show_leads(
    request: Request, caller: PageCaller, query: ReadAsked, page: PageNumber = 1
) -> HTMLResponse:
    return await _render(request, caller, query, page, whole=True)


@router.get("/leads/rows", Permission.READ_LEADS, ReadAudit.FOLDED)
async def show_rows(
    request: Request, caller: PageCaller, query: ReadAsked, page: PageNumber = 1
) -> HTMLResponse:
    return await _render(request, caller, query, page, whole=False)


async def _render(
    request: Request, caller: Caller, leads_query: LeadsQuery, page: int, *, whole: bool
) -> HTMLResponse:
    # Columns and density are as the address says, and kept for the member; else as the member had them last.
    db, member_id = context_of(request).db, caller.subject_id
    saved_look = await db.read(lambda tx: listing.find_look(tx, caller.business_id, member_id))
    has_look = not {"column", "dense"}.isdisjoint(request.query_params)
    look = replace(saved_look or rules.ListLayout(), sort=leads_query.look.sort)
    if has_look and whole and leads_query.look != look:
        shown_look = leads_query.look
        await db.write(lambda tx: listing.save_look(tx, caller.business_id, member_id, shown_look))
    if not has_look and saved_look is not None:
        leads_query = replace(leads_query, look=look)
    recall = part_of(request, CachedCounts).begin()

    def load(tx: Tx) -> dict[str, Any]:
        business_id = caller.business_id
        counts = listing.load_lead_counts(tx, business_id, recall)
        lead_filter = rules.for_member(leads_query.lead_filter, caller.subject_id)
        matches = listing.find_matches(tx, business_id, lead_filter, counts)
        pages = max(1, -(-matches.total // PAGE))
        number = min(max(page, 1), pages, _LAST_PAGE)
        place = (leads_query.look.sort, PAGE, (number - 1) * PAGE)
        leads = listing.list_matches(tx, business_id, lead_filter, matches, place)
        table = {
            "whole": whole,
            "total": matches.total,
            "leads": rows_of(tx, business_id, leads, with_crm="crm" in leads_query.look.columns),
            "page": number,
            "pages": pages,
            "status_counts": {status.value: counts.get(status, 0) for status in LeadStatus},
            "all_hrefs": {
                word: replace(leads_query, lead_filter=replace(leads_query.lead_filter, any_of=any_of)).href()
                for word, any_of in (("any", True), ("all", False))
            },
        }
        if not whole:
            return table
        choices = choices_of(tx, business_id)
        texts = {(word, value): text for word, pairs in choices.items() for value, text in pairs}
        written = [urlencode([pair]) for pair in leads_query.pairs]
        chips = [  # the parts of the filter that are on, each with the address without it
            {
                "word": word,
                "value": value,
                "text": texts.get((word, value)),
                "href": f"/leads?{'&'.join(written[:place] + written[place + 1 :])}".removesuffix("?"),
            }
            for place, (word, value) in enumerate(rules.write_filter(leads_query.lead_filter))
            if word not in ("q", "any")
        ]
        return table | {
            "choices": choices,
            "chips": chips,
            "active": set(leads_query.pairs),
            "columns": rules.COLUMNS,
        }

    values: dict[str, Any] = {
        "asked": leads_query,
        "can_edit": may(caller, Permission.WRITE_LEADS),
        "can_export": may(caller, Permission.EXPORT_LEADS),
        "can_erase": may(caller, Permission.ERASE_LEADS),
    }
    response = await show_page(request, caller, "leads/list.html", load, **values)
    if whole:
        response.headers["HX-Push-Url"] = leads_query.href()  # without the fields that were left empty
    return response


class PostedForm(BaseModel):
    """Fields of a form that a member posts; unknown ones are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _NewView(PostedForm):
    name: str = Field("", max_length=200)
    query: str = Field("", max_length=8_000)
    shared: bool = False


@router.page("/leads/views", Permission.READ_LEADS, "leads/_views.html", ReadAudit.FOLDED)
def show_views(tx: Tx, request: Request, caller: Caller, query: ReadAsked) -> dict[str, Any]:
    """Show the bar of views with their counts; fetched after the page, so that no list waits for counts."""
    views = list_views(tx, caller.business_id, caller.subject_id)
    shown = []
    for view in views:
        view_query = read_query(view.query)
        lead_filter = rules.for_member(view_query.lead_filter, caller.subject_id)
        count = listing.count_leads(tx, caller.business_id, lead_filter) if view.is_pinned else None
        shown.append({
            "id": view.id,
            "name": view.name,
            "href": view_query.href(),
            "is_current": view_query == query,
            "is_shared": view.is_shared,
            "is_pinned": view.is_pinned,
            "is_mine": view.member_id == caller.subject_id,
            "count": count,
        })  # fmt: skip
    can_edit = may(caller, Permission.WRITE_LEADS)
    return {"views": shown, "asked": query, "can_edit": can_edit}


@router.form("/leads/views", Permission.WRITE_LEADS)
def post_view(tx: Tx, request: Request, caller: Caller, sent: Annotated[_NewView, Form()]) -> str:
    """Keep the list as it is shown; the query is read and written anew, so only known words are kept."""
    query = read_query(sent.query)
    keep_view(tx, actor_of(caller), sent.name, query.query, is_shared=sent.shared)
    return query.href()


@router.form("/leads/views/{view_id}", Permission.WRITE_LEADS)
def post_view_change(
    tx: Tx,
    request: Request,
    caller: Caller,
    view_id: str,
    do: Annotated[ViewChange, Form()],
    query: Annotated[str, Form(max_length=8_000)] = "",
) -> str:
    change_view(tx, actor_of(caller), view_id, do)
    return read_query(query).href()
