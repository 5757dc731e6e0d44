"""Reading the tree of an ad account, with what keeps each part of it from being shown."""

from contatto.accounts.model import AdAccount
from contatto.ads.actions.accounts import find_channel, load_facts
from contatto.ads.actions.publishing import NO_PAGES
from contatto.ads.model import AdGroup, BudgetMode, Campaign, Facts, NodeFilter, Spent
from contatto.ads.ports import SpendPort
from contatto.ads.rules.delivering import Above, add_spent
from contatto.ads.rules.outline import Node, build_outline
from contatto.ads.store import nodes as store
from contatto.kit.db.tx import Tx
from contatto.kit.timestamps import micros
from contatto.measurement.rules import local_day


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
    shared = [name for name, campaign in campaigns.items() if campaign.budget_micros is not None]
    under = store.list_ad_group_ids(tx, account.business_id, shared) if shared else {}
    names = {group.id for group in groups}.union(*under.values())
    spent = tx.ports[SpendPort].list_spent(tx, account.business_id, names, day)
    of_campaign = {
        campaign_id: add_spent([spent.get(name, Spent()) for name in groups_under])
        for campaign_id, groups_under in under.items()
    }
    known: dict[tuple[str, tuple[str, ...]], Facts] = {}
    found: list[tuple[AdGroup, Above]] = []
    for group in groups:
        key = (group.channel_account_id, group.countries)
        if key not in known:
            channel = find_channel(tx, account.business_id, group.channel_account_id)
            known[key] = load_facts(tx, account, channel, group.countries)
        of_group = spent.get(group.id, Spent())
        ever = of_group.ever_micros if group.budget_mode is BudgetMode.TOTAL else 0
        if group.campaign_id in campaigns:
            shared_spent = of_campaign.get(group.campaign_id, Spent())
            above = Above(campaigns[group.campaign_id], known[key], of_group.day_micros, ever, shared_spent)
            found.append((group, above))
    return found
