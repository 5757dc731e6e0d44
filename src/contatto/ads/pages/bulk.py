"""Work on the chosen rows of the tree, each for itself, and what became of each."""

from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse

from contatto.accounts.auth import FormCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import require
from contatto.ads.actions.nodes import edit_node, find_node
from contatto.ads.model import NodeKind, Place
from contatto.ads.pages.views import AUDIT_KEYS, field_errors, leaps_of, tree_href, typist_of
from contatto.ads.rules.bulk import DONE, Act, read_places
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_
from contatto.kit.typed_numbers import Typist
from contatto.ui.context import context_of

router: Final = APIRouter()
LEVELS: Final = {NodeKind.CAMPAIGN: N_("Campaign"), NodeKind.AD_GROUP: N_("Ad group"), NodeKind.AD: N_("Ad")}


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is done to which rows; ``amount`` is a budget or a bid as it was typed."""

    act: Act
    places: tuple[Place, ...]
    amount: str
    query: str
    typist: Typist


@router.post("/ads/bulk/pause")
async def pause_rows(request: Request, caller: FormCaller) -> HTMLResponse:
    """Pause the chosen rows."""
    return await _work(request, caller, Act.PAUSE)


@router.post("/ads/bulk/start")
async def start_rows(request: Request, caller: FormCaller) -> HTMLResponse:
    """Turn the chosen rows on."""
    return await _work(request, caller, Act.START)


@router.post("/ads/bulk/delete")
async def delete_rows(request: Request, caller: FormCaller) -> HTMLResponse:
    """Delete the chosen rows with all that is under them."""
    return await _work(request, caller, Act.DELETE)


@router.post("/ads/bulk/budget")
async def change_budgets(request: Request, caller: FormCaller) -> HTMLResponse:
    """Give the chosen campaigns and ad groups one budget."""
    return await _work(request, caller, Act.BUDGET)


@router.post("/ads/bulk/bid")
async def change_bids(request: Request, caller: FormCaller) -> HTMLResponse:
    """Give the chosen ad groups one bid."""
    return await _work(request, caller, Act.BID)


async def _work(request: Request, caller: Caller, act: Act) -> HTMLResponse:
    """Do it to row after row.

    Each is a write of its own: one that is refused changes nothing and stops none, and the audit log has one
    entry for each that is done.
    """
    require(caller, Permission.WRITE_ADS)
    sent = await request.form(max_files=0)
    asked = _Asked(
        act=act,
        places=read_places(str(value) for value in sent.getlist("rows")),
        amount=str(sent.get(act.value, ""))[:40],
        query=str(sent.get("query", ""))[:8_000],
        typist=typist_of(request, sent),
    )
    context = context_of(request)
    names = await context.db.read(lambda tx: _names(tx, caller, asked))
    rows = [await _row(request, caller, asked, place) for place in asked.places]
    for row in rows:
        row["name"] = names.get((row["kind"], int(row["number"])), row["number"])
    values = {
        "caller": caller,
        "act": act.value,
        "rows": rows,
        "done": sum(row["is_done"] for row in rows),
        "leaps": [row for row in rows if row["sure"]],
        "amount": asked.amount,
        "query": asked.query,
        "back": tree_href(asked.query),
    }
    return context.pages.render(request, "ads/bulk.html", values)


def _names(tx: Tx, caller: Caller, asked: _Asked) -> dict[Place, str]:
    found: dict[Place, str] = {}
    for place in asked.places:
        try:
            found[place] = find_node(tx, caller.business_id, place).name
        except Refused:  # its row says so
            continue
    return found


async def _row(request: Request, caller: Caller, asked: _Asked, place: Place) -> dict[str, Any]:
    kind, number = place

    def work(tx: Tx) -> dict[str, str]:
        edit_node(tx, caller.business_id, place, asked.act, asked.amount, asked.typist)
        return {AUDIT_KEYS[kind]: str(number)}

    words = asked.typist.words
    row: dict[str, Any] = {"kind": kind, "level": LEVELS[kind], "number": str(number)}
    try:
        await context_of(request).db.write(work)
    except Refused as refused:
        says = next(iter(field_errors(refused, words).values()))
        sure = next(iter(leaps_of(refused).values()), "")
        return row | {"is_done": False, "says": says, "sure": sure}
    return row | {"is_done": True, "says": words.gettext(DONE[asked.act]), "sure": ""}
