"""The tree of campaigns, ad groups and ads; pausing and starting them; the preview of an ad."""

from collections import defaultdict
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse

from contatto.accounts import store as accounts
from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import AdAccount, BusinessId, Permission
from contatto.accounts.rules import may, require
from contatto.ads.actions.accounts import load_facts
from contatto.ads.actions.ad_groups import change_ad_group_status
from contatto.ads.actions.ads import change_ad_status
from contatto.ads.actions.campaigns import change_campaign_status
from contatto.ads.actions.publishing import find_welcome
from contatto.ads.model import Ad, AdGroup, Campaign, Page, Status, Wanted
from contatto.ads.pages.views import Homes, show_ad, show_ad_group, show_campaign
from contatto.ads.rules.delivering import (
    PROBLEMS,
    REMEDIES,
    SAYS,
    Above,
    Delivering,
    ad_delivery,
    ad_group_delivery,
    ad_group_hurdle,
    campaign_delivery,
    is_showing,
)
from contatto.ads.store import tree as store
from contatto.channels import store as channels
from contatto.kit import errors
from contatto.kit.context import Context, context_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.moments import micros
from contatto.kit.wire import number_of
from contatto.measurement import store as measurement
from contatto.measurement.rules import local_day

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
    return [
        shown
        for account in homes.ad_accounts.values()
        for shown in _load_account(tx, context, homes, account)
    ]


def _load_account(tx: Tx, context: Context, homes: Homes, account: AdAccount) -> list[dict[str, Any]]:
    mine = (account.business_id, str(account.id), Wanted(), _PAGE)
    campaigns = store.list_campaigns(tx, *mine)
    above = _load_above(
        tx, homes, account, store.list_ad_groups(tx, *mine), {one.id: one for one in campaigns}
    )
    under: defaultdict[str, list[Ad]] = defaultdict(list)
    for ad in store.list_ads(tx, *mine):
        under[ad.ad_group_id].append(ad)
    groups: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for group, facts in above:
        hurdle = ad_group_hurdle(group, facts, tx.now)
        ads = [show_ad(ad, context) | _shown_state(ad_delivery(ad, hurdle)) for ad in under[group.id]]
        state = ad_group_delivery(group, facts, under[group.id], tx.now)
        groups[group.campaign_id].append(show_ad_group(group, homes, ads) | _shown_state(state))
    return [
        show_campaign(one, homes, groups[one.id])
        | _shown_state(campaign_delivery(one, [group["delivering"] for group in groups[one.id]]))
        for one in campaigns
    ]


def _load_above(
    tx: Tx, homes: Homes, account: AdAccount, groups: list[AdGroup], campaigns: dict[str, Campaign]
) -> list[tuple[AdGroup, Above]]:
    """Each ad group with what its delivery depends on."""
    day = local_day(micros(tx.now), account.timezone)
    today = measurement.list_spend_of_days(tx, account.business_id, {str(account.id): day})
    ever = measurement.list_spend_ever(tx, account.business_id, {group.id for group in groups})
    found: list[tuple[AdGroup, Above]] = []
    for group in groups:
        facts = load_facts(tx, account, homes.channels[group.channel_account_id], group.countries)
        spent = (today.get(group.id, 0), ever.get(group.id, 0))
        if group.campaign_id in campaigns:
            found.append((group, Above(campaigns[group.campaign_id], facts, *spent)))
    return found


def _shown_state(state: Delivering) -> dict[str, Any]:
    """The delivery status: its kind of badge, what it says, and what to do about it."""
    kind = "on" if is_showing(state) else "review" if state is Delivering.IN_REVIEW else "off"
    kind = "rejected" if state in PROBLEMS else kind
    return {"delivering": state, "state_kind": kind, "state": SAYS[state], "remedy": REMEDIES.get(state, "")}


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
