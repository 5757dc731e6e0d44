"""What other windows or another policy would have credited, and how quickly chats are answered."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import HTMLResponse

from contatto.accounts import store as accounts
from contatto.accounts.auth import PageCaller
from contatto.accounts.model import BusinessId, Caller, Permission
from contatto.accounts.rules import require
from contatto.ads.model import NodeFilter, NodeStatus
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.numbers import WindowDays
from contatto.kit.timestamps import from_micros, micros
from contatto.measurement.model import ConversionKind, Goal, Policy
from contatto.reports.actions.explaining import suppose_windows
from contatto.reports.actions.gaps import gap_of
from contatto.reports.actions.subjects import Tree, load_tree
from contatto.reports.pages.query import find_report_page_query, look_of
from contatto.reports.rules.looks import Look
from contatto.reports.rules.responses import speed_of, speeds, speeds_by_day
from contatto.reports.rules.what_if import CLICK_DAYS, VIEW_DAYS, Side, Supposed, Weighed
from contatto.reports.store.responses import list_first_answers
from contatto.ui.context import context_of

router: Final = APIRouter(include_in_schema=False)
MOST_ANSWERS: Final = 20_000
MOST_DAYS: Final = 31


@router.get("/reports/what-if")
async def show_what_if(
    request: Request,
    caller: PageCaller,
    click: WindowDays = 7,
    view: WindowDays = 1,
    policy: Annotated[str, Query(max_length=20)] = Policy.CLICK_FIRST,
) -> HTMLResponse:
    """Both sides of a supposition; the stored winners are only read."""
    require(caller, Permission.READ_REPORTS)
    if click not in CLICK_DAYS or view not in VIEW_DAYS or policy not in set(Policy):
        raise Refused(errors.INVALID, "click: Choose one of the windows and priorities on the page.")
    context = context_of(request)
    look = look_of(request)
    supposed = Supposed(click, view, Policy(policy))
    # it weighs every conversion
    values = await context.db.read_long(lambda tx: _both_sides(tx, caller, look, supposed))
    return context.pages.render(request, "reports/what_if.html", {"caller": caller, **values})


def _both_sides(tx: Tx, caller: Caller, look: Look, supposed: Supposed) -> dict[str, Any]:
    report_page_query = find_report_page_query(tx, caller, look)
    start, end = (micros(moment) for moment in report_page_query.between)
    found, broken = suppose_windows(tx, report_page_query.account, (start, end - 1), supposed)
    tree = load_tree(tx, report_page_query.account, NodeFilter(statuses=frozenset(NodeStatus)))
    first, last = report_page_query.days
    return {
        "look": report_page_query.look,
        "first": first,
        "last": last,
        "supposed": supposed,
        "click_days": CLICK_DAYS,
        "view_days": VIEW_DAYS,
        "rows": [_side_by_side(tree, key, pair) for key, pair in _in_order(tree, found.sides)],
        "changed": [_moved(tree, one) for one in found.changed],
        "changed_count": found.changed_count,
        "count": found.count,
        "gaps": [gap_of(error) for error in broken],
        "back_href": report_page_query.look.href(),
    }


def _in_order(
    tree: Tree, found: dict[str | None, tuple[Side, Side]]
) -> list[tuple[str | None, tuple[Side, Side]]]:
    """Ad groups as they were made, then what nobody has."""

    def place(item: tuple[str | None, object]) -> tuple[bool, int]:
        group = tree.ad_groups.get(item[0] or "")
        return item[0] is None, group.number if group else 0

    return sorted(found.items(), key=place)


@dataclass(frozen=True, slots=True)
class _SideBySide:
    """What an ad group has, and what it would have; nobody is what no ad earned."""

    name: str
    is_nobody: bool
    goal: Goal | None
    has: Side
    would: Side


def _side_by_side(tree: Tree, key: str | None, pair: tuple[Side, Side]) -> _SideBySide:
    group = tree.ad_groups.get(key or "")
    return _SideBySide(group.name if group else "", key is None, group.goal if group else None, *pair)


@dataclass(frozen=True, slots=True)
class _Moved:
    """A conversion that another ad group would have."""

    href: str
    kind: ConversionKind
    at: datetime
    has: str
    would: str


def _moved(tree: Tree, one: Weighed) -> _Moved:
    known = {key: group.name for key, group in tree.ad_groups.items()}
    has, would = (known.get(key or "", "") for key in (one.stored, one.supposed))
    return _Moved(f"/reports/conversions/{one.conversion_id}", one.kind, from_micros(one.ts), has, would)


@router.get("/reports/responses")
async def show_responses(request: Request, caller: PageCaller) -> HTMLResponse:
    """How quickly conversations got their first answer; fetched after the page, which need not wait."""
    require(caller, Permission.READ_REPORTS)
    context = context_of(request)
    look = look_of(request)

    def work(tx: Tx) -> dict[str, Any]:
        report_page_query = find_report_page_query(tx, caller, look)
        people = {member.display_name for member in accounts.list_members(tx, BusinessId(caller.business_id))}
        answers = list_first_answers(tx, caller.business_id, report_page_query.between, people, MOST_ANSWERS)
        first, last = report_page_query.days
        return {
            "look": report_page_query.look,
            "first": first,
            "last": last,
            "all": speed_of("", answers),
            "people": speeds(answers),
            "days": speeds_by_day(answers, report_page_query.account.timezone, MOST_DAYS),
            "started": len(answers),
        }

    values = {"caller": caller, **await context.db.read(work)}
    return context.pages.render(request, "reports/responses.html", values)
