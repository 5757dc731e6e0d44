"""The tree of campaigns, ad groups and ads; pausing and starting them; the preview of an ad."""

from collections import defaultdict
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse

from contatto.accounts import store as accounts
from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import BusinessId, Permission
from contatto.accounts.rules import may, require
from contatto.ads.actions.ad_groups import change_ad_group_status
from contatto.ads.actions.ads import change_ad_status
from contatto.ads.actions.campaigns import change_campaign_status
from contatto.ads.model import Page, Status, Wanted
from contatto.ads.pages.views import Homes, show_ad, show_ad_group, show_campaign
from contatto.ads.store import tree as store
from contatto.channels import store as channels
from contatto.kit import errors
from contatto.kit.context import Context, context_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.wire import number_of

router: Final = APIRouter()
_PAGE: Final = Page(1, 500)


def load_homes(tx: Tx, business_id: str) -> Homes:
    ad_accounts = accounts.list_ad_accounts(tx, BusinessId(business_id))
    return Homes(
        {str(one.id): one for one in ad_accounts},
        {one.id: one for one in channels.list_accounts(tx, business_id)},
    )


@router.get("/ads")
async def show_tree(request: Request, caller: PageCaller) -> HTMLResponse:
    require(caller, Permission.READ_ADS)
    context = context_of(request)
    values = {
        "caller": caller,
        "can_edit": may(caller, Permission.WRITE_ADS),
        "can_see_leads": may(caller, Permission.READ_LEADS),
        "can_export_leads": may(caller, Permission.EXPORT_LEADS),
        "campaigns": await context.db.read(lambda tx: _load_tree(tx, context, caller.business_id)),
    }
    return context.pages.render(request, "ads/manager.html", values)


def _load_tree(tx: Tx, context: Context, business_id: str) -> list[dict[str, Any]]:
    homes = load_homes(tx, business_id)
    ads: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    groups: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    shown: list[dict[str, Any]] = []
    for account_id in homes.ad_accounts:
        mine = (business_id, account_id, Wanted(), _PAGE)
        for ad in store.list_ads(tx, *mine):
            ads[ad.ad_group_id].append(show_ad(ad, context))
        for group in store.list_ad_groups(tx, *mine):
            groups[group.campaign_id].append(show_ad_group(group, homes, ads[group.id]))
        for campaign in store.list_campaigns(tx, *mine):
            shown.append(show_campaign(campaign, homes, groups[campaign.id]))
    return shown


@router.post("/ads/{kind}/{number}/status")
async def change_status(
    request: Request,
    caller: FormCaller,
    kind: Literal["campaigns", "ad-groups", "ads"],
    number: str,
    status: Annotated[Literal["active", "paused"], Form()],
) -> RedirectResponse:
    """Start or pause a campaign, an ad group or an ad."""
    require(caller, Permission.WRITE_ADS)
    wanted, known = Status(status), number_of(number)
    find = {
        "campaigns": store.find_campaign_by_number,
        "ad-groups": store.find_ad_group_by_number,
        "ads": store.find_ad_by_number,
    }[kind]
    change = {
        "campaigns": change_campaign_status,
        "ad-groups": change_ad_group_status,
        "ads": change_ad_status,
    }[kind]

    def work(tx: Tx) -> None:
        found = find(tx, caller.business_id, known)
        if found is None:
            raise Refused(errors.NOT_FOUND)
        account = load_homes(tx, caller.business_id).ad_accounts[found.ad_account_id]
        change(tx, account, [known], wanted)

    await context_of(request).db.write(work)
    return RedirectResponse("/ads", 303)


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
        account = load_homes(tx, caller.business_id).channels[ad.channel_account_id]
        return {
            "caller": caller,
            "ad": show_ad(ad, context),
            "account": {"display_name": account.name},
            "ad_group": {"id": str(group.number), "name": group.name, "goal": group.goal},
            "campaign": {"id": str(campaign.number), "name": campaign.name},
            "welcome": None,
            "questions": [],
        }

    return context.pages.render(request, "ads/preview.html", await context.db.read(work))
