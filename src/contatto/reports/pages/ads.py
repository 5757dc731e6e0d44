"""The Ads Manager, and the ads of all platforms."""

from dataclasses import replace
from functools import partial
from typing import Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from starlette.requests import Request
from starlette.responses import HTMLResponse, StreamingResponse

from contatto.accounts import store as accounts
from contatto.accounts.auth import PageCaller, may, page_routes, require
from contatto.accounts.model import AdAccount, Caller, Permission
from contatto.ad_platforms.store import list_outside_accounts
from contatto.ads.actions.edits import OpenDraft, list_open_drafts, load_outline
from contatto.ads.model import WINDOW_DAYS, Ad, AdGroup
from contatto.ads.rules.tree import (
    NEW_FORM_PATHS,
    PROBLEMS,
    REMEDIES,
    SAYS,
    Delivering,
    chat_link,
    is_showing,
)
from contatto.kit.db.database import acting
from contatto.kit.db.tx import Tx
from contatto.kit.i18n import N_
from contatto.kit.ids import new_id
from contatto.kit.table_export import csv_lines
from contatto.kit.values import read_number
from contatto.measurement.rules import TRACKING_KEY
from contatto.operators.store import list_placement_names
from contatto.reports import engines
from contatto.reports.actions import overview
from contatto.reports.actions.reports import list_subjects, load_tree
from contatto.reports.model import METRICS, Figures, Level, TimeStep, total_of
from contatto.reports.rules import queries
from contatto.reports.rules.figures import FOLLOW_GOAL, build_report, value_text
from contatto.ui.render import translator_of
from contatto.ui.requests import context_of, csv_file

router: Final = page_routes()
CAMPAIGNS_PER_PAGE: Final = 25
TREE_PERIODS: Final = {
    queries.Period.TODAY: N_("Today"),
    queries.Period.YESTERDAY: N_("Yesterday"),
    queries.Period.LAST_7: N_("Last 7 days"),
    queries.Period.LAST_28: N_("Last 28 days"),
}
STATES: Final = {
    queries.RowState.SHOWING: N_("Delivering"),
    queries.RowState.NOT_SHOWING: N_("Not delivering"),
    queries.RowState.IN_REVIEW: N_("In review"),
    queries.RowState.PROBLEM: N_("Needs attention"),
}
TREE_TITLES: Final = {
    "status": N_("Status"),
    "budget": N_("Budget"),
    "bid": N_("Bid"),
    "places": N_("Countries"),
} | {name: METRICS[name].title for name in queries.TREE_METRICS}


@router.get("/ads", Permission.READ_ADS)
async def show_ads_tree(request: Request, caller: PageCaller, page: str = "1") -> HTMLResponse:
    require(caller, Permission.READ_REPORTS)
    context = context_of(request)
    query = queries.read_ads_tree_query(request.query_params.multi_items())
    can_edit = may(caller, Permission.WRITE_ADS)

    def load(tx: Tx) -> tuple[list[AdAccount], list[queries.Branch], bool, list[OpenDraft]]:
        ad_accounts = accounts.list_ad_accounts(tx, caller.business_id)
        branches: list[queries.Branch] = []
        is_empty = True
        for account in ad_accounts:
            if query.advertiser in (0, account.number):
                today = tx.now.astimezone(ZoneInfo(account.timezone)).date()
                span = queries.span_of(*queries.period_days(query.days, today))
                tree = load_tree(tx, account)  # figures of parents include deleted nodes
                counted = engines.list_counted_facts(
                    tx, account.business_id, account.id, span, TimeStep.WHOLE, by_country=False
                )
                facts = tree.select_facts(counted)
                figures: dict[str, Figures] = {}
                for level in (Level.CAMPAIGN, Level.AD_GROUP, Level.AD):
                    subjects = list_subjects(account, tree, level)
                    report = build_report(subjects, facts, tree.owners(level), TimeStep.WHOLE)
                    figures |= {row.subject.key: row.figures for row in report.rows}
                account_branches = queries.build_branches(load_outline(tx, account), figures)
                is_empty = is_empty and not account_branches
                branches += queries.sort_branches(queries.filter_branches(account_branches, query), query)
        drafts = list_open_drafts(tx, (caller.business_id, caller.subject_id)) if can_edit else []
        return ad_accounts, branches, is_empty, drafts

    ad_accounts, branches, is_empty, drafts = await context.db.read(load)
    accounts_by_id = {str(account.id): account for account in ad_accounts}
    pages = max(1, -(-len(branches) // CAMPAIGNS_PER_PAGE))
    page_number = min(max(read_number(page) or 1, 1), pages)
    first = (page_number - 1) * CAMPAIGNS_PER_PAGE
    rows: list[dict[str, Any]] = []
    for branch, is_open in queries.list_tree_rows(branches[first : first + CAMPAIGNS_PER_PAGE], query):
        kind, item, state = branch.node.kind, branch.node.item, branch.node.state
        account = accounts_by_id[item.ad_account_id]
        state_kind = "on" if is_showing(state) else "review" if state is Delivering.IN_REVIEW else "off"
        row = {
            "kind": kind,
            "item": item,
            "is_open": is_open,
            # phones show an ad group that is open by default closed
            "is_default": is_open and kind == "ad-groups" and not query.is_chosen(item.number),
            "child_count": len(branch.children),
            "account_name": account.name,
            "state_kind": "rejected" if state in PROBLEMS else state_kind,
            "state": SAYS[state],
            "remedy": REMEDIES.get(state, ""),
            "figures": _figure_cells(query, branch.figures, account),
        }
        if isinstance(item, Ad):
            row["chat_url"] = chat_link(context.settings.base_url, item, context.vault.signer(TRACKING_KEY))
        elif isinstance(item, AdGroup):
            row["click_window_days"] = WINDOW_DAYS[item.click_window] or 0
            row["view_window_days"] = WINDOW_DAYS[item.view_window] or 0
        rows.append(row)
    account_ids = {branch.node.item.ad_account_id for branch in branches}
    shown_accounts = [accounts_by_id[account_id] for account_id in account_ids]
    currencies = {account.currency for account in shown_accounts}
    total = None
    if len(shown_accounts) == 1:
        total_figures = total_of(branch.figures for branch in branches)
        total = _figure_cells(query, total_figures, shown_accounts[0])
    values = {
        "caller": caller,
        "can_edit": can_edit,
        "can_see_leads": may(caller, Permission.READ_LEADS),
        "can_export_leads": may(caller, Permission.EXPORT_LEADS),
        "query": query,
        "encoded_query": urlencode(query.pairs()),
        "once": new_id(),
        "currency": currencies.pop() if len(currencies) == 1 else "",
        "sort_href": replace(query, sort="").href(sort="SORT"),
        "rows": rows,
        "total": total,
        "count": len(branches),
        "page": page_number,
        "pages": pages,
        "page_href": query.href(page="PAGE"),
        "is_empty": is_empty,
        "drafts": [(draft, NEW_FORM_PATHS[draft.kind].format(draft.parent)) for draft in drafts],
        "ad_accounts": [("", N_("All"))] + [(str(account.number), account.name) for account in ad_accounts],
        "zones": sorted({account.timezone for account in shown_accounts}),
        "days": TREE_PERIODS,
        "states": STATES,
        "columns": queries.TREE_COLUMNS,
        "titles": TREE_TITLES,
        "metrics": [METRICS[name] for name in query.columns if name in queries.TREE_METRICS],
        "follows_goal": FOLLOW_GOAL,
    }
    response = context.pages.render(request, "reports/ads_tree.html", values)
    response.headers["HX-Push-Url"] = query.href()  # without default values
    return response


def _figure_cells(query: queries.AdsTreeQuery, figures: Figures, account: AdAccount) -> dict[str, Any]:
    cells = [
        (METRICS[name], METRICS[name].value(figures))
        for name in query.columns
        if name in queries.TREE_METRICS
    ]
    return {"cells": cells, "is_mixed": figures.mixed_goals, "currency": account.currency}


PLACEMENT_COLUMNS: Final = tuple(
    METRICS[name] for name in ("spend", "impressions", "clicks", "conversations", "leads", "cost_per_lead")
)
"""The columns of placements, which count no qualified leads."""
SOURCE_COLUMNS: Final = (*PLACEMENT_COLUMNS, METRICS["qualified_leads"], METRICS["cost_per_qualified_lead"])
SOURCES: Final = {
    queries.AdSource.CONTATTO: N_("Contatto ads"),
    queries.AdSource.TIKTOK: N_("TikTok Ads"),
    queries.AdSource.META: N_("Meta Ads"),
}
LEVEL_TITLES: Final = {
    Level.AD_ACCOUNT: N_("Ad account"),
    Level.CAMPAIGN: N_("Campaign"),
    Level.AD_GROUP: N_("Ad group"),
    Level.AD: N_("Ad"),
}


@router.get("/reports/sources", Permission.READ_REPORTS)
async def show_sources(request: Request, caller: PageCaller) -> HTMLResponse:
    context = context_of(request)
    parameters = dict(request.query_params)

    def load(tx: Tx) -> dict[str, Any]:
        query, parts = _load_sources(tx, caller, parameters)
        return {
            "query": query,
            "parts": parts,
            "unmatched": overview.list_unmatched_ads(tx, caller.business_id, query),
            "placed": overview.load_placed(tx, caller.business_id, query),
            "has_accounts": bool(list_outside_accounts(tx, caller.business_id)),
        }

    values = await context.db.read_long(load)
    if values["placed"]:
        placement_ids = {row["placement"] for row in values["placed"]}
        with acting(""):  # placements belong to the operator, who publishes the names of charged ones
            names = await context.db.read(lambda tx: list_placement_names(tx, placement_ids))
        values["placed"] = [row | {"name": names.get(row["placement"], "")} for row in values["placed"]]
    values |= {"placed_columns": PLACEMENT_COLUMNS}
    values |= {"caller": caller, "columns": SOURCE_COLUMNS, "sources": SOURCES, "titles": LEVEL_TITLES}
    values |= {"levels": [(level.value, LEVEL_TITLES[level]) for level in queries.SOURCE_LEVELS]}
    values |= {"can_connect": may(caller, Permission.ADMINISTER)}
    return context.pages.render(request, "reports/sources.html", values)


@router.get("/reports/sources/csv", Permission.READ_REPORTS)
async def download_sources(request: Request, caller: PageCaller) -> StreamingResponse:
    """Download the rows of the page as a CSV file; each names its currency."""
    load = partial(_load_sources, caller=caller, parameters=dict(request.query_params))
    query, parts = await context_of(request).db.read_long(load)
    translate = translator_of(request).gettext
    titles = [N_("Source"), N_("Ad account"), "ID", LEVEL_TITLES[query.level], N_("Part of"), N_("Currency")]
    head = [translate(title) for title in [*titles, *(metric.title for metric in SOURCE_COLUMNS)]]

    lines = [head]
    for part in parts:
        for source_row in part.rows:
            subject, figures = source_row.row.subject, source_row.row.figures
            source = translate(SOURCES[source_row.source])
            place = [source, source_row.account, subject.number, subject.name, subject.parent]
            values = [value_text(metric.unit, metric.value(figures)) for metric in SOURCE_COLUMNS]
            lines.append([*place, part.currency, *values])
    name = f"ads-{query.level}-{query.first}-{query.last}.csv"
    return csv_file(name, csv_lines(lines, bom=True))


def _load_sources(
    tx: Tx, caller: Caller, parameters: dict[str, str]
) -> tuple[queries.AdSourceQuery, tuple[overview.CurrencyPart, ...]]:
    """Read the query of the page of all ads, and load its rows by currency."""
    ad_accounts = accounts.list_ad_accounts(tx, caller.business_id)
    zone = ad_accounts[0].timezone if ad_accounts else "UTC"
    query = queries.read_source_query(parameters, tx.now.astimezone(ZoneInfo(zone)).date())
    return query, overview.load_sources(tx, caller.business_id, query)
