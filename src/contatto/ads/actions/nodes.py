"""Work on a campaign, an ad group or an ad alike, named by its level and its number."""

from contatto.accounts.model import AdAccount
from contatto.ads.actions.accounts import load_ad_account
from contatto.ads.actions.ad_groups import AdGroupChanges, change_ad_group_status, update_ad_group
from contatto.ads.actions.ads import change_ad_status
from contatto.ads.actions.campaigns import CampaignChanges, change_campaign_status, update_campaign
from contatto.ads.model import Ad, AdGroup, BidType, Campaign, NodeKind, NodeStatus, Place
from contatto.ads.rules.bulk import STATUS_AFTER, Act, check_fits
from contatto.ads.rules.typed import need_amount
from contatto.ads.store import nodes as store
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.typed_numbers import Typist, check_leap


def find_node(tx: Tx, business_id: str, place: Place) -> Campaign | AdGroup | Ad:
    """What stands at a place, if it is not deleted.

    Raises:
        Refused: NOT_FOUND.
    """
    kind, number = place
    find = {
        NodeKind.CAMPAIGN: store.find_campaign_by_number,
        NodeKind.AD_GROUP: store.find_ad_group_by_number,
        NodeKind.AD: store.find_ad_by_number,
    }[kind]
    found: Campaign | AdGroup | Ad | None = find(tx, business_id, number)
    if found is None or found.status is NodeStatus.DELETED:
        raise Refused(errors.NOT_FOUND)
    return found


def change_node_status(tx: Tx, business_id: str, place: Place, status: NodeStatus) -> None:
    """Start, pause or delete what stands at a place; deletion takes all that is under it along.

    Raises:
        Refused: NOT_FOUND, INVALID.
    """
    account, (kind, number) = load_node_account(tx, business_id, place), place
    change = {
        NodeKind.CAMPAIGN: change_campaign_status,
        NodeKind.AD_GROUP: change_ad_group_status,
        NodeKind.AD: change_ad_status,
    }[kind]
    change(tx, account, [number], status)


def load_node_account(tx: Tx, business_id: str, place: Place) -> AdAccount:
    """The ad account of what stands at a place.

    Raises:
        Refused: NOT_FOUND.
    """
    return load_ad_account(tx, business_id, find_node(tx, business_id, place).ad_account_id)


def edit_node(tx: Tx, business_id: str, place: Place, act: Act, amount: str, typist: Typist) -> None:
    """Do to one row what was chosen for many.

    Args:
        tx: of this row alone, so that its refusal keeps no other row from being changed.
        business_id: whose row it is.
        place: the row.
        act: what is done to it.
        amount: a budget or a bid as it was typed, in units of the ad account's currency.
        typist: who typed it.

    Raises:
        Refused: NOT_FOUND, INVALID, CONFLICT.
        Leap: the amount would change more than tenfold.
    """
    check_fits(act, place[0])
    if act in STATUS_AFTER:
        change_node_status(tx, business_id, place, STATUS_AFTER[act])
        return
    node, (kind, number) = find_node(tx, business_id, place), place
    account = load_ad_account(tx, business_id, node.ad_account_id)
    micros = need_amount(act.value, amount, account.currency, typist.words.lang)
    before = None if isinstance(node, Ad) else node.budget_micros
    if act is Act.BID and isinstance(node, AdGroup):
        before = node.bid_micros
    if act is Act.BID:
        changes = AdGroupChanges(bid_type=BidType.CUSTOM, bid_micros=micros)
        update_ad_group(tx, account, number, changes)
    elif kind is NodeKind.AD_GROUP:
        update_ad_group(tx, account, number, AdGroupChanges(budget_micros=micros))
    else:
        update_campaign(tx, account, number, CampaignChanges(budget_micros=micros))
    check_leap(act.value, before, micros, account.currency, typist)  # once all else is right
