"""Connections, pulls and uploads of ad accounts elsewhere."""

import re
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import batched
from typing import Annotated, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import msgspec
import sqlalchemy as sa
from itsdangerous import BadSignature
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from contatto.accounts.rules import check_timezone
from contatto.ad_platforms import model, rules, store
from contatto.ad_platforms.connectors.meta import MetaAds
from contatto.ad_platforms.connectors.tiktok import TikTokAds
from contatto.ad_platforms.store import outside_accounts
from contatto.channels.actions import check_access_token
from contatto.channels.model import Platform
from contatto.channels.store import find_app, list_apps
from contatto.kit import errors
from contatto.kit.db.tx import Tx, row_of, rows_of
from contatto.kit.errors import Refused, check_found
from contatto.kit.i18n import N_
from contatto.kit.ids import new_id, new_number
from contatto.kit.outbound import model as outbound
from contatto.kit.outbound.client import read_address
from contatto.kit.outbound.queue import OutboundKind, delete_requests_of, queue_request
from contatto.kit.outbox import emit
from contatto.kit.values import LARGEST
from contatto.kit.vault import Vault
from contatto.measurement import actions as measurement
from contatto.measurement.model import Goal, MeasuredAd
from contatto.measurement.rules import natural_number
from contatto.measurement.store import list_measured_ads, measured_ads

CONNECTORS: Final[Mapping[model.AdPlatform, model.PlatformConnector]] = {
    model.AdPlatform.TIKTOK: TikTokAds(),
    model.AdPlatform.META: MetaAds(),
}

AD_PLATFORMS: Final[Mapping[Platform, model.AdPlatform]] = {
    Platform.TIKTOK: model.AdPlatform.TIKTOK,
    Platform.WHATSAPP: model.AdPlatform.META,
    Platform.MESSENGER: model.AdPlatform.META,
    Platform.INSTAGRAM: model.AdPlatform.META,
}
"""Platform of the ads that open chats on a channel."""
APPS: Final[Mapping[model.AdPlatform, frozenset[Platform]]] = {
    platform: frozenset(channel for channel, own_platform in AD_PLATFORMS.items() if own_platform is platform)
    for platform in model.AdPlatform
}
"""Channels with registered apps that also grant access to an ad platform."""
_ID: Final = re.compile(r"(?:act_)?[0-9]{1,20}", re.ASCII)
_URL_LIMIT: Final = 250


class NewOutsideAccount(BaseModel):
    """An account to connect, by a token or a later consent; empty ``base_url`` is the platform's own."""

    platform: model.AdPlatform
    external_id: Annotated[str, Field(max_length=64)] = ""
    base_url: Annotated[str, Field(max_length=300)] = ""
    backfill_days: Annotated[int, Field(ge=-LARGEST, le=LARGEST)] = 90
    access_token: Annotated[str, Field(max_length=2_000, repr=False)] = ""


def connect_outside_account(
    tx: Tx, business_id: str, new: NewOutsideAccount, allowed: Collection[str], name: str = ""
) -> model.OutsideAccount:
    """Connect an account by a token, and queue its first pull; without a token only load or create it.

    An account that exists keeps its data. Raises INVALID, naming the field.
    """
    token = check_access_token(new.access_token) if new.access_token.strip() else ""
    external_id = new.external_id.strip().removeprefix("act_")
    if not _ID.fullmatch(external_id):
        raise Refused(errors.INVALID, "external_id: Enter the account ID, which is a number.")
    if not 0 <= new.backfill_days <= rules.MOST_BACKFILL:
        raise Refused(errors.INVALID, "backfill_days: Enter at most %(most)s days.", most=rules.MOST_BACKFILL)
    base_url = (new.base_url.strip() or CONNECTORS[new.platform].base_url).rstrip("/")
    try:
        url, _ = read_address(base_url[: _URL_LIMIT + 1], allowed)
        fits = len(base_url) <= _URL_LIMIT and url.path in ("", "/") and not url.query
    except ValueError:
        fits = False
    if not fits:
        says = N_("base_url: enter a public https address on port 443. The operator can allow others.")
        raise Refused(errors.INVALID, says)
    tx.hold_key("outside_accounts", business_id)
    where = rows_of(outside_accounts, business_id, platform=new.platform, external_id=external_id)
    existing_account = tx.find(model.OutsideAccount, sa.select(outside_accounts).where(*where))
    if existing_account is None:
        if len(store.list_outside_accounts(tx, business_id)) >= store.MOST_ACCOUNTS:
            says = N_("Connect at most %(most)s ad accounts.")
            raise Refused(errors.INVALID, says, most=store.MOST_ACCOUNTS)
        account = model.OutsideAccount(
            id=new_id(),
            business_id=business_id,
            platform=new.platform,
            external_id=external_id,
            name=name.strip()[:200],
            base_url=base_url,
            currency="",
            timezone="",
            state=model.PullState.UPLOADS,
            reason="",
            backfill_days=new.backfill_days,
            pulled_at=None,
            pulled_through="",
            deep_day="",
            left_out=0,
            created_at=tx.now,
        )
        tx.insert_ignore(store.outside_accounts, row_of(account))
    else:
        account = store.record_account(tx, existing_account, base_url=base_url) if token else existing_account
    if token:
        store.save_outside_token(tx, account, token)
        queue_pull(tx, account, model.Walk())
    return account


def replace_outside_token(tx: Tx, business_id: str, account_id: str, access_token: str) -> None:
    """Replace the token of an account, and read at once all that is missing. Raises NOT_FOUND, INVALID."""
    account = load_outside_account(tx, business_id, account_id)
    store.save_outside_token(tx, account, check_access_token(access_token))
    queue_pull(tx, account, model.Walk())


def load_outside_account(tx: Tx, business_id: str, account_id: str) -> model.OutsideAccount:
    return check_found(store.find_outside_account(tx, business_id, account_id), "Ad account not found.")


def disconnect_outside_account(tx: Tx, business_id: str, account_id: str) -> None:
    """End the connection and delete its token; mirrored ads and costs stay. Raises NOT_FOUND."""
    account = load_outside_account(tx, business_id, account_id)
    tx.delete(store.outside_tokens, business_id, outside_account_id=account.id)
    delete_requests_of(tx, business_id, model.PULL, [account.id])
    store.record_account(tx, account, state=model.PullState.UPLOADS, reason="")


def queue_pull(tx: Tx, account: model.OutsideAccount, walk: model.Walk) -> None:
    """Queue the one request that reads an account, in place of an earlier one."""
    delete_requests_of(tx, account.business_id, model.PULL, [account.id])
    state = model.PullState.READY if account.pulled_at else model.PullState.NEW
    store.record_account(tx, account, state=state, reason="")
    destination = f"{account.platform}:{urlsplit(account.base_url).netloc}"
    progress = "" if walk == model.Walk() else msgspec.json.encode(walk).decode()
    new = outbound.NewRequest(account.business_id, model.PULL, account.id, destination, account.id, progress)
    queue_request(tx, new, rules.PLAN)


RETURN_PATH: Final = "/settings/ad-platforms/return"
STATE_S: Final = 3_600
"""Seconds for which the signed OAuth state is valid."""
_CODE_LIMIT: Final = 2_000
_KEY: Final = "ad-platforms"


@dataclass(frozen=True, slots=True)
class OutsideVisitor:
    """A member on the way to a platform's consent page and back, in one session."""

    member_id: str
    session_hash: str = field(repr=False)


def authorize_url(
    vault: Vault, account: model.OutsideAccount, app_id: str, visitor: OutsideVisitor, when: tuple[int, str]
) -> str:
    """Return the platform's consent page; ``when`` is the time in seconds, and our own public address."""
    now_s, base_url = when
    nonce = secrets.token_urlsafe(16)
    text = "\0".join((account.id, app_id, visitor.member_id, visitor.session_hash, str(now_s), nonce))
    state = vault.signer(_KEY).sign(text.encode().hex()).decode()
    return CONNECTORS[account.platform].authorize_url(app_id, state, f"{base_url}{RETURN_PATH}")


def read_state(vault: Vault, state: str, visitor: OutsideVisitor, now_s: int) -> tuple[str, str]:
    """Return the account and app ids of a signed state. Raises UNSIGNED for another session; STALE."""
    try:
        parts = bytes.fromhex(vault.signer(_KEY).unsign(state.encode("utf-8", "replace")).decode()).decode()
    except BadSignature as error:
        raise Refused(errors.UNSIGNED) from error
    account_id, app_id, member_id, session_hash, at_s, _nonce = parts.split("\0")
    if (member_id, session_hash) != (visitor.member_id, visitor.session_hash):
        raise Refused(errors.UNSIGNED)
    if not 0 <= now_s - int(at_s) <= STATE_S:
        raise Refused(errors.STALE)
    return account_id, app_id


def connect_by_code(tx: Tx, business_id: str, account_id: str, app_id: str, code: str, base_url: str) -> None:
    """Exchange a code for a token in the background, and read the account. Raises NOT_FOUND, INVALID."""
    account = load_outside_account(tx, business_id, account_id)
    plain = code.strip()
    if not 0 < len(plain) <= _CODE_LIMIT or not (plain.isascii() and plain.isprintable()):
        raise Refused(errors.INVALID, "code: Paste the code as shown by the platform.")
    apps = [app for app in list_apps(tx, business_id) if app.platform in APPS[account.platform]]
    if app_id not in {app.app_id for app in apps}:
        raise Refused(errors.INVALID, "app_id: Register the app under Channels first.")
    queue_pull(tx, account, model.Walk(code=plain, back=f"{base_url}{RETURN_PATH}", app_id=app_id))


def save_nodes(tx: Tx, account: model.OutsideAccount, nodes: Sequence[model.OutsideNode], mark: int) -> None:
    """Save campaigns, ad groups or ads; publish new and changed ads, with an event for new ones.

    Ads of groups or campaigns that are not mirrored yet are published without them.
    """
    store.save_rows(tx, store.outside_nodes, account, nodes, mark)
    ads = [node for node in nodes if node.level is model.NodeLevel.AD]
    if not ads:
        return
    groups = store.list_nodes(tx, account, model.NodeLevel.AD_GROUP, {ad.parent for ad in ads})
    group_of = {group.number: group for group in groups}
    campaigns = store.list_nodes(tx, account, model.NodeLevel.CAMPAIGN, {group.parent for group in groups})
    campaign_of = {campaign.number: campaign for campaign in campaigns}
    lead_goals = CONNECTORS[account.platform].lead_goals
    fresh = []
    for ad in ads:
        group = group_of.get(ad.parent)
        campaign = campaign_of.get(group.parent) if group else None
        group_number, campaign_number = group.number if group else 0, campaign.number if campaign else 0
        # our ids contain the account, as two accounts may share a number
        measured = MeasuredAd(
            ad_id=tx.vault.named_id(account.id, f"ad:{ad.number}"),
            ad_number=ad.number,
            ad_name=ad.name,
            ad_group_id=tx.vault.named_id(account.id, f"ad_group:{group_number}"),
            ad_group_number=group_number,
            ad_group_name=group.name if group else "",
            campaign_id=tx.vault.named_id(account.id, f"campaign:{campaign_number}"),
            campaign_number=campaign_number,
            campaign_name=campaign.name if campaign else "",
            business_id=account.business_id,
            ad_account_id=account.id,
            channel_account_id="",
            goal=Goal.LEAD if group and group.goal in lead_goals else Goal.CONVERSATION,
            click_window_s=group.click_window_s if group else ad.click_window_s,
            view_window_s=group.view_window_s if group else ad.view_window_s,
            timezone=account.timezone or "UTC",
            currency=account.currency,
            landing_path="",
            headline="",
            text="",
            platform=account.platform.value,
        )
        fresh.append(measured)
    ads_by_id = list_measured_ads(tx, account.business_id, {ad.ad_id for ad in fresh})
    for measured in fresh:
        if ads_by_id.get(measured.ad_id) != measured:
            measurement.publish_ad(tx, measured)
    new = tuple(str(measured.ad_number) for measured in fresh if measured.ad_id not in ads_by_id)
    if new:
        emit(tx, account.business_id, model.OutsideAdsMirrored(account.business_id, account.id, new))


def save_spend(tx: Tx, account: model.OutsideAccount, days: Sequence[model.AdDay], mark: int) -> None:
    """Save costs of ads; an ad that the platform no longer lists gets its number as its name."""
    if not days:
        return
    store.save_rows(tx, store.outside_days, account, days, mark)
    named = {day.ad_number for day in days}
    known_numbers = {node.number for node in store.list_nodes(tx, account, model.NodeLevel.AD, named)}
    removed_nodes = [
        model.OutsideNode(model.NodeLevel.AD, number, 0, str(number), model.OutsideStatus.DELETED)
        for number in sorted(named - known_numbers)
    ]
    if removed_nodes:
        save_nodes(tx, account, removed_nodes, mark)


def find_known_ads(tx: Tx, business_id: str, ad_numbers: Collection[int]) -> rules.KnownAds:
    """List mirrored ads with one of these numbers; two accounts may share one."""
    where = rows_of(measured_ads, business_id, ad_number=list(ad_numbers))
    ads = tx.list(MeasuredAd, sa.select(measured_ads).where(*where, measured_ads.c.platform != ""))
    accounts = store.list_outside_accounts(tx, business_id) if ads else []
    return rules.KnownAds(ads, {account.id: account.external_id for account in accounts})


_STATES: Final = {
    outbound.RequestState.DUE: model.PullState.RETRYING,
    outbound.RequestState.DEAD: model.PullState.STOPPED,
}


def begin_pull(tx: Tx, request: outbound.OutboundRequest) -> outbound.Step:
    """Continue the pull, or begin the next one."""
    account = store.find_outside_account(tx, request.business_id, request.subject)
    if account is None:
        return outbound.Done()
    walk = rules.WALKS.decode(request.progress or "{}")
    if not walk.mark:
        walk = replace(walk, mark=new_number())
    return _ask_next(tx, account, walk)


def _ask_next(tx: Tx, account: model.OutsideAccount, walk: model.Walk) -> outbound.Step:
    connector = CONNECTORS[account.platform]
    if walk.code:
        app = find_app(tx, account.business_id, walk.app_id)
        if app is None:
            return outbound.Failed("app_missing")
        ask = connector.exchange(account.base_url, app, walk.code, walk.back)
        return outbound.Ask(ask, msgspec.json.encode(walk).decode(), is_repeatable=False)
    token = store.find_outside_token(tx, account)
    if token is None:
        return outbound.Failed("token_missing")
    access = model.PullAccess(account.base_url, account.external_id, token)
    return outbound.Ask(connector.ask(access, walk), msgspec.json.encode(walk).decode())


def read_pull_answer(tx: Tx, request: outbound.OutboundRequest, answer: outbound.HttpAnswer) -> outbound.Step:
    """Save the page of an answer, and request the next one; at the end, wait for the next pull."""
    account = store.find_outside_account(tx, request.business_id, request.subject)
    if account is None or not request.progress:
        return outbound.Done()
    walk, connector = rules.WALKS.decode(request.progress), CONNECTORS[account.platform]
    if walk.code:
        token = connector.read_token(answer)
        if not isinstance(token, str):
            return outbound.Failed(token.reason)  # a code works once, so a retry cannot help
        store.save_outside_token(tx, account, token)
        return _ask_next(tx, account, replace(walk, code="", back="", app_id=""))
    page = connector.read(model.PullAccess(account.base_url, account.external_id, ""), walk, answer)
    if isinstance(page, outbound.NotNow | outbound.Failed):
        return page
    if isinstance(page, model.AccountFacts):
        new = {"name": page.name or account.name, "timezone": page.timezone, "currency": page.currency}
        account, page = store.record_account(tx, account, **new), model.RowPage()
    cursor = page.cursor
    following = rules.follow_cursor(walk, cursor) if cursor else walk
    if following is None:
        return rules.REPEATED
    following = replace(following, left_out=walk.left_out + page.left_out)
    save_nodes(tx, account, page.nodes, walk.mark)
    save_spend(tx, account, page.days, walk.mark)
    return _ask_next(tx, account, following) if cursor else _go_on(tx, account, following)


def _go_on(tx: Tx, account: model.OutsideAccount, walk: model.Walk) -> outbound.Step:
    """Finish a part, delete or mark rows that the platform no longer has, and begin the next one."""
    store.delete_unseen(tx, account, walk)
    if walk.part is model.Part.SPEND:
        store.record_account(tx, account, pulled_through=max(account.pulled_through, walk.last))
    following = rules.next_part(walk, account, tx.now)
    if following is not None:
        return _ask_next(tx, account, following)
    today = tx.now.astimezone(ZoneInfo(account.timezone or "UTC")).date().isoformat()
    done = {"pulled_at": tx.now, "deep_day": today, "left_out": walk.left_out}
    store.record_account(tx, account, state=model.PullState.READY, reason="", **done)
    return outbound.Later("", rules.EVERY_S)


def settle_pull(
    tx: Tx, request: outbound.OutboundRequest, outcome: outbound.Outcome, state: outbound.RequestState
) -> None:
    """Record on its account that a pull retries or has stopped, with the reason."""
    account = store.find_outside_account(tx, request.business_id, request.subject)
    if account is not None and isinstance(outcome, outbound.NotNow | outbound.Failed) and state in _STATES:
        store.record_account(tx, account, state=_STATES[state], reason=outcome.reason[:64])


def ready_pull(tx: Tx, request: outbound.OutboundRequest) -> None:
    """Show the account of a stopped pull as retrying, when somebody replays the pull."""
    account = store.find_outside_account(tx, request.business_id, request.subject)
    if account is not None:
        store.record_account(tx, account, state=model.PullState.RETRYING)


PULL_KIND: Final = OutboundKind(
    model.PULL, begin_pull, read_pull_answer, settle_pull, rules.PLAN, ready_pull, keeps_progress=True
)

_AT_ONCE: Final = 50
"""Ads or days that are written together."""
_OTHER_CURRENCY: Final = N_("currency: This account uses %(currency)s. Enter the same currency.")


class NewUpload(BaseModel):
    """A file as text, and its account: an existing one by its id here, or a new one of a platform.

    ``currency`` and ``timezone`` are those of a new account; the file may say the currency itself.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    text: Annotated[str, Field(max_length=1_000_000)] = ""
    outside_id: Annotated[str, Field(max_length=36)] = ""
    platform: model.AdPlatform = model.AdPlatform.TIKTOK
    external_id: Annotated[str, Field(max_length=64)] = ""
    name: Annotated[str, Field(max_length=200)] = ""
    currency: Annotated[str, Field(max_length=3)] = ""
    timezone: Annotated[str, StringConstraints(max_length=64, strip_whitespace=True)] = "UTC"


@dataclass(frozen=True, slots=True)
class UploadPreview:
    """Preview of a file: counts of new, changed and unchanged ad days, and rejected rows."""

    sheet: rules.AdSheet
    new: int
    changed: int
    same: int
    currency: str


def preview_upload(tx: Tx, business_id: str, upload: NewUpload) -> UploadPreview:
    """Return the preview of an upload. Raises NOT_FOUND, INVALID."""
    account = load_outside_account(tx, business_id, upload.outside_id) if upload.outside_id else None
    if account is None:
        check_timezone(upload.timezone)
    ads = store.list_nodes(tx, account, model.NodeLevel.AD) if account else []
    name_counts = Counter(ad.name for ad in ads)
    sheet = rules.read_ad_sheet(upload.text, {ad.name: ad.number for ad in ads if name_counts[ad.name] == 1})
    # The file and its account have one currency.
    own_currency = account.currency if account else ""
    currencies = {row.currency for row in sheet.rows if row.currency}
    if len(currencies) > 1:
        raise Refused(
            errors.INVALID, "currency: The file has amounts in several currencies. Split it by currency."
        )
    currency = next(iter(currencies), "") or own_currency or rules.known_currency(upload.currency)
    if not currency:
        raise Refused(errors.INVALID, "currency: The file has no currency. Enter three letters, such as SGD.")
    if own_currency and currency != own_currency:
        raise Refused(errors.INVALID, _OTHER_CURRENCY, currency=own_currency)
    days = sorted(row.day.day for row in sheet.rows)
    saved_days = store.list_ad_days(tx, account, (days[0], days[-1])) if account and days else []
    days_by_key = {(day.ad_number, day.day): day for day in saved_days}
    counts = Counter(
        "new" if key not in days_by_key else "same" if days_by_key[key] == row.day else "changed"
        for row in sheet.rows
        for key in [(row.day.ad_number, row.day.day)]
    )
    return UploadPreview(sheet, counts["new"], counts["changed"], counts["same"], currency)


def list_upload_writes(account: model.OutsideAccount, sheet: rules.AdSheet) -> list[Callable[[Tx], None]]:
    """Return the writes that save the figures of a file, each of them short.

    A figure replaces the one of its ad and day, so the same file can be sent again after a failure.
    """
    mark = new_number()
    nodes_by_key: dict[tuple[model.NodeLevel, int], model.OutsideNode] = {}
    for row in sheet.rows:  # a campaign or an ad group without an id gets a number by its name
        campaign, group = row.campaign_number, row.ad_group_number
        if not campaign and row.campaign_name:
            campaign = natural_number(account.id, "campaign", row.campaign_name)
        if not group and row.ad_group_name:
            group = natural_number(account.id, "ad group", row.campaign_name, row.ad_group_name)
        for node in (
            model.OutsideNode(model.NodeLevel.CAMPAIGN, campaign, 0, row.campaign_name or str(campaign)),
            model.OutsideNode(model.NodeLevel.AD_GROUP, group, campaign, row.ad_group_name or str(group)),
            model.OutsideNode(
                model.NodeLevel.AD, row.day.ad_number, group, row.ad_name or str(row.day.ad_number)
            ),
        ):
            if node.number:
                nodes_by_key[node.level, node.number] = node
    levels = list(model.NodeLevel)
    sorted_nodes = sorted(nodes_by_key.values(), key=lambda node: levels.index(node.level))
    nodes = [
        partial(save_nodes, account=account, nodes=some, mark=mark)
        for some in batched(sorted_nodes, _AT_ONCE)
    ]
    days = [
        partial(save_spend, account=account, days=some, mark=mark)
        for some in batched([row.day for row in sheet.rows], _AT_ONCE)
    ]
    return [*nodes, *days]


def open_upload_account(
    tx: Tx, business_id: str, upload: NewUpload, preview: UploadPreview
) -> model.OutsideAccount:
    """Load the account of an upload, or make it. Raises NOT_FOUND; INVALID for another currency."""
    if upload.outside_id:
        account = load_outside_account(tx, business_id, upload.outside_id)
    else:
        new = NewOutsideAccount(platform=upload.platform, external_id=upload.external_id)
        account = connect_outside_account(tx, business_id, new, (), upload.name)
    if account.currency and account.currency != preview.currency:
        raise Refused(errors.INVALID, _OTHER_CURRENCY, currency=account.currency)
    if not account.currency:
        facts = {"currency": preview.currency, "timezone": account.timezone or upload.timezone}
        account = store.record_account(tx, account, **facts)
    return account
