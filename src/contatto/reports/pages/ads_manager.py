"""The Ads Manager: the tree of campaigns, ad groups and ads, with the figures of some days."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse

from contatto.accounts import store as accounts
from contatto.accounts.auth import PageCaller
from contatto.accounts.model import AdAccount, Caller, Permission
from contatto.accounts.rules import may, require
from contatto.ads.actions.edits import OpenDraft, list_open_drafts
from contatto.ads.model import WINDOW_DAYS, Ad, AdGroup, BudgetMode, Campaign, NodeKind, NodeStatus
from contatto.ads.rules.goals import PROBLEMS, REMEDIES, SAYS, Delivering, is_showing
from contatto.ads.rules.settings import chat_link, new_form_path
from contatto.kit.db.tx import Tx
from contatto.kit.i18n import N_
from contatto.kit.ids import new_id
from contatto.kit.numbers import read_number
from contatto.measurement.model import Goal
from contatto.measurement.rules import TRACKING_KEY
from contatto.reports.actions.ads_manager import load_branches
from contatto.reports.model import Figures, Metric, Value
from contatto.reports.registry import METRICS
from contatto.reports.rules.ads_manager import (
    COLUMNS,
    FIGURES,
    Days,
    RowState,
    TreeLook,
    read_tree,
    span_of_days,
)
from contatto.reports.rules.branches import Branch, is_few, order, prune, together, unfold
from contatto.reports.rules.texts import FOLLOW_GOAL
from contatto.ui.context import Context, context_of

router: Final = APIRouter(include_in_schema=False)
PAGE: Final = 25
"""Campaigns on one page."""
DAYS: Final = {
    Days.TODAY: N_("Today"),
    Days.YESTERDAY: N_("Yesterday"),
    Days.LAST_7: N_("Last 7 days"),
    Days.LAST_28: N_("Last 28 days"),
}
STATES: Final = {
    RowState.SHOWING: N_("Delivering"),
    RowState.NOT_SHOWING: N_("Not delivering"),
    RowState.IN_REVIEW: N_("In review"),
    RowState.PROBLEM: N_("Needs attention"),
}
_SETTINGS: Final = {
    "status": N_("Status"),
    "budget": N_("Budget"),
    "bid": N_("Bid"),
    "places": N_("Countries"),
}
TITLES: Final = _SETTINGS | {name: METRICS[name].title for name in FIGURES}


@dataclass(frozen=True, slots=True)
class _Found:
    """What an address asks for, before it is shown. ``accounts`` are by id."""

    look: TreeLook
    accounts: dict[str, AdAccount]
    branches: list[Branch]
    is_empty: bool
    drafts: list[OpenDraft]


@dataclass(frozen=True, slots=True)
class _Figures:
    """The figures of a row, and whether they are of both goals."""

    cells: Sequence[tuple[Metric, Value]]
    is_mixed: bool
    currency: str


@dataclass(frozen=True, slots=True)
class _State:
    """The delivery status: its kind of badge, what it says, and what to do about it."""

    state_kind: str
    state: str
    remedy: str


@dataclass(frozen=True, slots=True)
class _Settings:
    """The settings that have a column; what a level does not have is empty."""

    budget_micros: int | None = None
    budget_mode: BudgetMode | None = None
    bid_micros: int | None = None
    goal: Goal | None = None
    countries: Sequence[str] = ()
    click_window_days: int = 0
    view_window_days: int = 0
    headline: str = ""
    chat_url: str = ""


@dataclass(frozen=True, slots=True)
class _Row:
    """A campaign, an ad group or an ad in the tree."""

    kind: NodeKind
    id: str
    name: str
    status: NodeStatus
    is_open: bool
    is_usual: bool
    """It is open as nobody said otherwise: on a phone an ad group is shut then."""
    under: int
    account_name: str
    shown: _State
    figures: _Figures
    settings: _Settings


@router.get("/ads")
async def show_ads_tree(request: Request, caller: PageCaller, page: str = "1") -> HTMLResponse:
    require(caller, Permission.READ_ADS)
    require(caller, Permission.READ_REPORTS)
    context = context_of(request)
    look = read_tree(request.query_params.multi_items())
    found = await context.db.read(lambda tx: _load(tx, caller, look))
    asked = read_number(page) or 1
    values = {
        "caller": caller,
        "can_edit": may(caller, Permission.WRITE_ADS),
        "can_see_leads": may(caller, Permission.READ_LEADS),
        "can_export_leads": may(caller, Permission.EXPORT_LEADS),
        **_values(context, found, asked),
    }
    response = context.pages.render(request, "reports/ads_tree.html", values)
    response.headers["HX-Push-Url"] = look.href()  # without the words that say what is usual
    return response


def _load(tx: Tx, caller: Caller, look: TreeLook) -> _Found:
    ad_accounts = accounts.list_ad_accounts(tx, caller.business_id)
    branches: list[Branch] = []
    is_empty = True
    for account in ad_accounts:
        if look.advertiser in (0, account.number):
            today = tx.now.astimezone(ZoneInfo(account.timezone)).date()
            whole = load_branches(tx, account, span_of_days(look.days, today))
            is_empty = is_empty and not whole
            branches += order(prune(whole, look), look, METRICS)
    can_edit = may(caller, Permission.WRITE_ADS)
    drafts = list_open_drafts(tx, (caller.business_id, caller.subject_id)) if can_edit else []
    return _Found(look, {str(account.id): account for account in ad_accounts}, branches, is_empty, drafts)


def _values(context: Context, found: _Found, asked: int) -> dict[str, Any]:
    look, branches = found.look, found.branches
    pages = max(1, -(-len(branches) // PAGE))
    page = min(max(asked, 1), pages)
    here = branches[(page - 1) * PAGE : page * PAGE]
    rows = unfold(here, look, usual=is_few(here))
    homes = {branch.node.item.ad_account_id for branch in branches}
    currencies = {found.accounts[home].currency for home in homes}
    return {
        "look": look,
        "once": new_id(),
        "currency": currencies.pop() if len(currencies) == 1 else "",
        "sort_href": replace(look, sort="").href(sort="SORT"),
        "rows": [_row(context, found, branch, is_open=is_open) for branch, is_open in rows],
        "total": _total(found, branches) if len(homes) == 1 else None,
        "count": len(branches),
        "page": page,
        "pages": pages,
        "page_href": look.href(page="PAGE"),
        "is_empty": found.is_empty,
        "drafts": [(draft, new_form_path(draft.kind, draft.parent)) for draft in found.drafts],
        "ad_accounts": [("", N_("All"))] + [(str(one.number), one.name) for one in found.accounts.values()],
        "zones": sorted({found.accounts[home].timezone for home in homes}),
        "days": DAYS,
        "states": STATES,
        "columns": COLUMNS,
        "titles": TITLES,
        "metrics": [METRICS[name] for name in look.columns if name in FIGURES],
        "follows_goal": FOLLOW_GOAL,
    }


def _total(found: _Found, branches: Sequence[Branch]) -> _Figures:
    currency = found.accounts[branches[0].node.item.ad_account_id].currency
    return _figures(found.look, together(branches), currency)


def _figures(look: TreeLook, figures: Figures, currency: str) -> _Figures:
    cells = [(METRICS[name], METRICS[name].value(figures)) for name in look.columns if name in FIGURES]
    return _Figures(cells, figures.mixed_goals, currency)


def _row(context: Context, found: _Found, branch: Branch, *, is_open: bool) -> _Row:
    item, account = branch.node.item, found.accounts[branch.node.item.ad_account_id]
    return _Row(
        kind=branch.node.kind,
        id=str(item.number),
        name=item.name,
        status=item.status,
        is_open=is_open,
        is_usual=is_open and branch.node.kind == "ad-groups" and not found.look.is_asked(item.number),
        under=len(branch.under),
        account_name=account.name,
        shown=_state(branch.node.state),
        figures=_figures(found.look, branch.figures, account.currency),
        settings=_settings(context, item),
    )


def _settings(context: Context, item: Campaign | AdGroup | Ad) -> _Settings:
    if isinstance(item, Ad):
        signer = context.vault.signer(TRACKING_KEY)
        chat_url = chat_link(context.settings.base_url, item, signer)
        return _Settings(headline=item.headline, chat_url=chat_url)
    if isinstance(item, Campaign):
        return _Settings(item.budget_micros, item.budget_mode)
    return _Settings(
        item.budget_micros,
        item.budget_mode,
        item.bid_micros,
        item.goal,
        item.countries,
        WINDOW_DAYS[item.click_window] or 0,
        WINDOW_DAYS[item.view_window] or 0,
    )


def _state(state: Delivering) -> _State:
    kind = "on" if is_showing(state) else "review" if state is Delivering.IN_REVIEW else "off"
    return _State("rejected" if state in PROBLEMS else kind, SAYS[state], REMEDIES.get(state, ""))
