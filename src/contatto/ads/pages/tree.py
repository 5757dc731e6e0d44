"""Pausing, starting and copying what the tree shows, and the preview of an ad."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse

from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import require
from contatto.ads.actions.accounts import find_channel
from contatto.ads.actions.copies import copy_node
from contatto.ads.actions.nodes import change_node_status
from contatto.ads.actions.publishing import find_welcome
from contatto.ads.model import NodeKind, NodeStatus
from contatto.ads.pages.views import AUDIT_KEYS, back_to_tree, show_ad
from contatto.ads.store import nodes as store
from contatto.kit import errors
from contatto.kit.api_types import number_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.i18n import translator_of
from contatto.kit.idempotency import IdempotencyKey, answer_once
from contatto.ui.context import context_of

router: Final = APIRouter()


@router.post("/ads/{kind}/{number}/status")
async def change_status(
    request: Request,
    caller: FormCaller,
    kind: NodeKind,
    number: str,
    status: Annotated[Literal["active", "paused"], Form()],
    query: Annotated[str, Form(max_length=8_000)] = "",
) -> RedirectResponse:
    """Start or pause a campaign, an ad group or an ad."""
    require(caller, Permission.WRITE_ADS)
    wanted, known = NodeStatus(status), number_of(number)
    await context_of(request).db.write(
        lambda tx: change_node_status(tx, caller.business_id, (kind, known), wanted)
    )
    return back_to_tree(query, kind, known)


@router.post("/ads/{kind}/{number}/copy")
async def copy_row(
    request: Request,
    caller: FormCaller,
    kind: NodeKind,
    number: str,
    once: Annotated[str, Form(max_length=64)] = "",
    query: Annotated[str, Form(max_length=8_000)] = "",
) -> RedirectResponse:
    """Copy a campaign, an ad group or an ad with what is under it; a page makes one copy of each at most."""
    require(caller, Permission.WRITE_ADS)
    context, words, known = context_of(request), translator_of(request), number_of(number)
    needs_review = context.settings.needs_ad_review
    key = IdempotencyKey(caller.business_id, f"ads/{kind}/{known}/copy", once)

    def work(tx: Tx) -> dict[str, str]:
        def make() -> dict[str, str]:
            place = (kind, known)
            copy = copy_node(tx, caller.business_id, place, named, needs_review=needs_review)
            return {AUDIT_KEYS[kind]: str(copy.number)}

        return answer_once(tx, key, "", dict[str, str], make)

    def named(name: str) -> str:
        return words.gettext("Copy of %(name)s", name=name)

    made = await context.db.write(work)
    return back_to_tree(query, kind, int(made[AUDIT_KEYS[kind]]))


@router.get("/ads/{number}/preview")
async def show_preview(request: Request, caller: PageCaller, number: str) -> HTMLResponse:
    """An ad as a feed shows it; the button is a real tap."""
    require(caller, Permission.READ_ADS)
    context = context_of(request)

    def work(tx: Tx) -> dict[str, Any]:
        ad = store.find_ad_by_number(tx, caller.business_id, number_of(number))
        if ad is None:
            raise Refused(errors.NOT_FOUND)
        group = store.load_ad_groups(tx, caller.business_id, {ad.ad_group_id})[ad.ad_group_id]
        campaign = store.load_campaigns(tx, caller.business_id, {ad.campaign_id})[ad.campaign_id]
        account = find_channel(tx, caller.business_id, ad.channel_account_id)
        welcome = find_welcome(tx, ad)
        return {
            "caller": caller,
            "ad": show_ad(ad, context),
            "account": {"display_name": account.name},
            "ad_group": {"id": str(group.number), "name": group.name, "goal": group.goal},
            "campaign": {"id": str(campaign.number), "name": campaign.name},
            "welcome": welcome.content if welcome else None,
            "questions": list(welcome.questions) if welcome else [],
        }

    return context.pages.render(request, "ads/preview.html", await context.db.read(work))
