"""The forms of a campaign and of an ad; after a mistake they come back with all that was typed."""

from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts import store as accounts
from contatto.accounts.actions import load_advertiser
from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import AdAccount, Caller, Permission
from contatto.accounts.rules import require
from contatto.ads import store
from contatto.ads.actions.ads import NewAd, create_ad
from contatto.ads.actions.campaigns import NewCampaign, create_campaign
from contatto.ads.actions.first_messages import choose_first_message
from contatto.ads.actions.nodes import drop_draft
from contatto.ads.actions.publishing import load_ad_account
from contatto.ads.model import Ad, Campaign, NodeKind, Place
from contatto.ads.pages.ad_groups import Opened, draft_view, open_form, owner_of
from contatto.ads.pages.views import check_choice, field_errors, form_choices, show_first_messages
from contatto.ads.rules.typed import AdForm, CampaignForm, need_headline, read_form
from contatto.channels import store as channels
from contatto.kit import errors
from contatto.kit.api_types import number_of
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.form_fields import Faults
from contatto.kit.i18n import translator_of
from contatto.ui.context import context_of

type Text = Annotated[str, Form()]
WRONG: Final = 422
NEW_CAMPAIGN: Final = (NodeKind.CAMPAIGN, 0)
"""The place of its draft."""


@router.get("/ads/campaigns/new")
async def show_campaign_form(request: Request, caller: PageCaller) -> HTMLResponse:
    require(caller, Permission.WRITE_ADS)
    return await _campaign_form(request, caller, None, {})


@router.post("/ads/campaigns")
async def post_campaign(
    request: Request, caller: FormCaller, advertiser_id: Text = "", name: Text = ""
) -> Response:
    """Make a campaign and go on to its first ad group."""
    require(caller, Permission.WRITE_ADS)

    def work(tx: Tx) -> Campaign:
        account = load_advertiser(tx, caller, number_of(advertiser_id))
        drop_draft(tx, owner_of(caller), NEW_CAMPAIGN)
        return create_campaign(tx, caller.business_id, NewCampaign(account.id, name))

    try:
        campaign = await context_of(request).db.write(work)
    except Refused as refused:
        typed = CampaignForm(advertiser_id, name)
        return await _campaign_form(request, caller, typed, field_errors(refused, translator_of(request)))
    return RedirectResponse(f"/ads/campaigns/{campaign.number}/ad-groups/new", 303)


async def _campaign_form(
    request: Request, caller: Caller, typed: CampaignForm | None, wrong: dict[str, str]
) -> HTMLResponse:
    context = context_of(request)

    def work(tx: Tx) -> dict[str, Any]:
        opened = _opened(tx, request, caller, NEW_CAMPAIGN, typed or CampaignForm(), is_new=typed is None)
        ad_accounts = accounts.list_ad_accounts(tx, caller.business_id)
        return {
            "form": asdict(opened.form),
            "draft": opened.draft,
            "ad_accounts": [_ad_account(account) for account in ad_accounts],
        }

    values = {"caller": caller, "errors": wrong, **await context.db.read(work)}
    return context.pages.render(request, "ads/campaign_new.html", values, WRONG if wrong else 200)


def _opened[F](tx: Tx, request: Request, caller: Caller, place: Place, form: F, *, is_new: bool) -> Opened[F]:
    """The form as it is opened first, or with what was typed."""
    return open_form(tx, request, caller, place, form) if is_new else Opened(form, draft_view(place))


def _ad_account(account: AdAccount) -> dict[str, str]:
    return {
        "advertiser_id": str(account.number),
        "name": account.name,
        "country": account.country,
        "currency": account.currency,
    }


@router.get("/ads/ad-groups/{number}/ads/new")
async def show_ad_form(request: Request, caller: PageCaller, number: str) -> HTMLResponse:
    require(caller, Permission.WRITE_ADS)
    return await _ad_form(request, caller, number, (None, {}))


@router.post("/ads/ad-groups/{number}/ads")
async def post_ad(request: Request, caller: FormCaller, number: str) -> Response:
    """Make an ad and show it as a feed would."""
    require(caller, Permission.WRITE_ADS)
    needs_review = context_of(request).settings.needs_ad_review
    typed = read_form(AdForm, (await request.form(max_files=0)).multi_items())

    def work(tx: Tx) -> Ad:
        group = store.find_ad_group_by_number(tx, caller.business_id, number_of(number))
        if group is None:
            raise Refused(errors.NOT_FOUND)
        faults = Faults()
        headline = faults.read(lambda: need_headline(typed), "")
        page_id = faults.read(lambda: check_choice(tx, caller.business_id, typed.page_id), "")
        account = load_ad_account(tx, caller.business_id, group.ad_account_id)
        first = faults.read(lambda: choose_first_message(tx, account, typed), "")
        new = NewAd(group.id, typed.name, typed.body, headline, page_id=page_id, auto_message_id=first)
        made = faults.finish(lambda: create_ad(tx, caller.business_id, new, needs_review=needs_review))
        drop_draft(tx, owner_of(caller), (NodeKind.AD, group.number))
        return made

    try:
        ad = await context_of(request).db.write(work)
    except Refused as refused:
        if refused.code is errors.NOT_FOUND:
            raise
        return await _ad_form(request, caller, number, (typed, field_errors(refused, translator_of(request))))
    return RedirectResponse(f"/ads/{ad.number}/preview", 303)


async def _ad_form(
    request: Request, caller: Caller, number: str, state: tuple[AdForm | None, dict[str, str]]
) -> HTMLResponse:
    context = context_of(request)
    typed, wrong = state

    def work(tx: Tx) -> dict[str, Any]:
        forms = dict(form_choices(tx, caller.business_id))
        group = store.find_ad_group_by_number(tx, caller.business_id, number_of(number))
        campaign = group and store.find_campaign(tx, caller.business_id, group.campaign_id)
        account = group and channels.find_account(tx, caller.business_id, group.channel_account_id)
        if group is None or campaign is None or account is None:
            raise Refused(errors.NOT_FOUND)
        place = (NodeKind.AD, group.number)
        opened = _opened(tx, request, caller, place, typed or AdForm(), is_new=typed is None)
        ad_group = {
            "id": str(group.number),
            "name": group.name,
            "goal": group.goal,
            "campaign_name": campaign.name,
            "channel_account_id": account.id,
            "channel_account_name": account.name,
            "form": forms.get(group.page_id, ""),
        }
        return {
            "ad_group": ad_group,
            "forms": list(forms.items()),
            "edited": None,
            **show_first_messages(tx, load_ad_account(tx, caller.business_id, group.ad_account_id)),
            "form": asdict(opened.form),
            "draft": opened.draft,
        }

    values = {"caller": caller, "errors": wrong, **await context.db.read(work)}
    return context.pages.render(request, "ads/ad_new.html", values, WRONG if wrong else 200)
