"""Reading the tree of an ad account, with what keeps each part of it from being shown."""

from contatto.accounts.model import AdAccount
from contatto.ads.actions.accounts import find_channel, load_facts
from contatto.ads.actions.publishing import NO_PAGES
from contatto.ads.model import AdGroup, BudgetMode, Campaign, Facts, NodeFilter
from contatto.ads.rules.delivering import Above
from contatto.ads.rules.outline import Node, build_outline
from contatto.ads.store import nodes as store
from contatto.kit.db.tx import Tx
from contatto.kit.timestamps import micros
from contatto.measurement.rules import local_day
from contatto.measurement.store import list_spend_ever, list_spend_of_days


def load_outline(tx: Tx, account: AdAccount) -> list[Node]:
    """All that is not deleted, newest first."""
    mine = (account.business_id, str(account.id), NodeFilter(), NO_PAGES)
    campaigns = store.list_campaigns(tx, *mine)
    groups = _load_above(tx, account, store.list_ad_groups(tx, *mine), {one.id: one for one in campaigns})
    return build_outline(campaigns, groups, store.list_ads(tx, *mine), tx.now)


def _load_above(
    tx: Tx, account: AdAccount, groups: list[AdGroup], campaigns: dict[str, Campaign]
) -> list[tuple[AdGroup, Above]]:
    """Each ad group with what its delivery depends on."""
    day = local_day(micros(tx.now), account.timezone)
    today = list_spend_of_days(tx, account.business_id, {str(account.id): day})
    total = {group.id for group in groups if group.budget_mode is BudgetMode.TOTAL}
    ever = list_spend_ever(tx, account.business_id, total)
    known: dict[tuple[str, tuple[str, ...]], Facts] = {}
    found: list[tuple[AdGroup, Above]] = []
    for group in groups:
        key = (group.channel_account_id, group.countries)
        if key not in known:
            channel = find_channel(tx, account.business_id, group.channel_account_id)
            known[key] = load_facts(tx, account, channel, group.countries)
        spent = (today.get(group.id, 0), ever.get(group.id, 0))
        if group.campaign_id in campaigns:
            found.append((group, Above(campaigns[group.campaign_id], known[key], *spent)))
    return found
