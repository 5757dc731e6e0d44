"""Pulls of mirrored ad accounts: their campaigns, ads and costs."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final
from zoneinfo import ZoneInfo

from contatto.ad_platforms import store
from contatto.ad_platforms.model import (
    LEVEL_OF,
    PULL,
    AccountFacts,
    AdDay,
    App,
    NodeLevel,
    NodePage,
    OutsideAccount,
    OutsideAdsMirrored,
    OutsideNode,
    OutsideStatus,
    Part,
    PullAccess,
    PullState,
    SpendPage,
    Token,
)
from contatto.ad_platforms.registry import CONNECTORS
from contatto.ad_platforms.rules.pulling import (
    EVERY_S,
    PLAN,
    REPEATED,
    KnownAds,
    Walk,
    follow_cursor,
    measured,
    next_part,
    read_walk,
    write_walk,
)
from contatto.ad_platforms.store import delete_unseen_days, list_outside_accounts, mark_nodes_deleted
from contatto.channels.store import find_app
from contatto.kit.db.tx import Tx
from contatto.kit.ids import new_number
from contatto.kit.outbound.model import (
    Ask,
    Done,
    Failed,
    HttpAnswer,
    Later,
    NotNow,
    OutboundRequest,
    Outcome,
    RequestState,
    Step,
)
from contatto.kit.outbound.steps import OutboundKind
from contatto.kit.outbox import emit
from contatto.measurement import actions as measurement
from contatto.measurement.store import list_measured_ads


def keep_nodes(tx: Tx, account: OutsideAccount, nodes: Sequence[OutsideNode], mark: int) -> None:
    """Save campaigns, ad groups or ads, and publish ads to measuring."""
    store.save_nodes(tx, account, nodes, mark)
    publish_outside_ads(tx, account, [node for node in nodes if node.level is NodeLevel.AD])


def keep_spend(tx: Tx, account: OutsideAccount, days: Sequence[AdDay], mark: int) -> None:
    """Save costs of ads; an ad that the platform no longer lists gets its number as its name."""
    store.save_days(tx, account, days, mark)
    named = {day.ad_number for day in days}
    known_numbers = {node.number for node in store.list_nodes(tx, account, NodeLevel.AD, named)}
    removed_nodes = [
        OutsideNode(NodeLevel.AD, number, 0, str(number), OutsideStatus.DELETED)
        for number in sorted(named - known_numbers)
    ]
    if removed_nodes:
        keep_nodes(tx, account, removed_nodes, mark)


def publish_outside_ads(tx: Tx, account: OutsideAccount, ads: Sequence[OutsideNode]) -> None:
    """Publish new and changed ads to measuring, and emit an event of the new ones."""
    if not ads:
        return
    groups = store.list_nodes(tx, account, NodeLevel.AD_GROUP, {ad.parent for ad in ads})
    group_of = {group.number: group for group in groups}
    campaigns = store.list_nodes(tx, account, NodeLevel.CAMPAIGN, {group.parent for group in groups})
    campaign_of = {campaign.number: campaign for campaign in campaigns}
    goal_of = CONNECTORS[account.platform].goal_of
    fresh = []
    for ad in ads:
        group = group_of.get(ad.parent)
        campaign = campaign_of.get(group.parent) if group else None
        fresh.append(measured(tx.vault.named_id, account, (ad, group, campaign), goal_of))
    ads_by_id = list_measured_ads(tx, account.business_id, {ad.ad_id for ad in fresh})
    for measured_ad in fresh:
        if ads_by_id.get(measured_ad.ad_id) != measured_ad:
            measurement.publish_ad(tx, measured_ad)
    new = tuple(str(ad.ad_number) for ad in fresh if ad.ad_id not in ads_by_id)
    if new:
        emit(tx, account.business_id, OutsideAdsMirrored(account.business_id, account.id, new))


def find_known_ads(tx: Tx, business_id: str, ad_numbers: Collection[int]) -> KnownAds:
    """List mirrored ads with one of these numbers."""
    ads = store.list_outside_ads(tx, business_id, ad_numbers)
    accounts = list_outside_accounts(tx, business_id) if ads else []
    return KnownAds(ads, {account.id: account.external_id for account in accounts})


_STATES: Final = {RequestState.DUE: PullState.RETRYING, RequestState.DEAD: PullState.STOPPED}


def pull_kind() -> OutboundKind:
    """Return the outbound kind that pulls ad accounts."""
    return OutboundKind(
        PULL, begin_pull, read_pull_answer, settle_pull, PLAN, ready_pull, keeps_progress=True
    )


def begin_pull(tx: Tx, request: OutboundRequest) -> Step:
    """Continue the pull, or begin the next one."""
    account = store.find_outside_account(tx, request.business_id, request.subject)
    if account is None:
        return Done()
    walk = read_walk(request.progress) or Walk()
    if not walk.mark:
        walk = replace(walk, mark=new_number())
    return _ask_next(tx, account, walk)


def _ask_next(tx: Tx, account: OutsideAccount, walk: Walk) -> Step:
    connector = CONNECTORS[account.platform]
    if walk.code:
        app = find_app(tx, account.business_id, walk.app_id)
        if app is None:
            return Failed("app_missing")
        ask = connector.exchange(account.base_url, App(app.app_id, app.secret), walk.code, walk.back)
        return Ask(ask, write_walk(walk), is_repeatable=False)
    token = store.find_outside_token(tx, account)
    if token is None:
        return Failed("token_missing")
    access = PullAccess(account.base_url, account.external_id, token)
    return Ask(connector.ask(access, walk.place), write_walk(walk))


def read_pull_answer(tx: Tx, request: OutboundRequest, answer: HttpAnswer) -> Step:
    """Save the page of an answer, and request the next one; at the end, wait for the next pull."""
    account = store.find_outside_account(tx, request.business_id, request.subject)
    walk = read_walk(request.progress)
    if account is None or walk is None:
        return Done()
    if walk.code:
        return _take_token(tx, account, walk, answer)
    access = PullAccess(account.base_url, account.external_id, "")
    page = CONNECTORS[account.platform].read(access, walk.place, answer)
    if isinstance(page, NotNow | Failed):
        return page
    if isinstance(page, AccountFacts):
        new = {"name": page.name or account.name, "timezone": page.timezone, "currency": page.currency}
        return _go_on(tx, store.record_account(tx, account, **new), walk)
    cursor = page.cursor
    following = follow_cursor(walk, cursor) if cursor else walk
    if following is None:
        return REPEATED
    following = replace(following, left_out=walk.left_out + page.left_out)
    if isinstance(page, NodePage):
        keep_nodes(tx, account, page.nodes, walk.mark)
    elif isinstance(page, SpendPage):
        keep_spend(tx, account, page.days, walk.mark)
    return _ask_next(tx, account, following) if cursor else _go_on(tx, account, following)


def _take_token(tx: Tx, account: OutsideAccount, walk: Walk, answer: HttpAnswer) -> Step:
    token = CONNECTORS[account.platform].read_token(answer)
    if not isinstance(token, Token):
        # A code works once, so a retry cannot help.
        return Failed(token.reason)
    store.save_outside_token(tx, account, token.access_token)
    return _ask_next(tx, account, replace(walk, code="", back="", app_id=""))


def _go_on(tx: Tx, account: OutsideAccount, walk: Walk) -> Step:
    """Finish a part, delete its missing rows, and begin the next one."""
    if walk.part in LEVEL_OF:
        mark_nodes_deleted(tx, account, LEVEL_OF[walk.part], walk.mark)
    if walk.part is Part.SPEND:
        delete_unseen_days(tx, account, (walk.first, walk.last), walk.mark)
        store.record_account(tx, account, pulled_through=max(account.pulled_through, walk.last))
    following = next_part(walk, account, tx.now)
    if following is not None:
        return _ask_next(tx, account, following)
    today = tx.now.astimezone(ZoneInfo(account.timezone or "UTC")).date().isoformat()
    done = {"pulled_at": tx.now, "deep_day": today, "left_out": walk.left_out}
    store.record_account(tx, account, state=PullState.READY, reason="", **done)
    return Later("", EVERY_S)


def settle_pull(tx: Tx, request: OutboundRequest, outcome: Outcome, state: RequestState) -> None:
    """Record the failure of a try on the account."""
    account = store.find_outside_account(tx, request.business_id, request.subject)
    if account is not None and isinstance(outcome, NotNow | Failed) and state in _STATES:
        store.record_account(tx, account, state=_STATES[state], reason=outcome.reason[:64])


def ready_pull(tx: Tx, request: OutboundRequest) -> None:
    """Make a stopped pull due again."""
    account = store.find_outside_account(tx, request.business_id, request.subject)
    if account is not None:
        store.record_account(tx, account, state=PullState.RETRYING)
