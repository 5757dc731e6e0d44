"""Work on a campaign, an ad group or an ad alike, named by its level and its number."""

from contatto.accounts.model import AdAccount
from contatto.ads.actions.accounts import load_ad_account
from contatto.ads.actions.ad_groups import change_ad_group_status
from contatto.ads.actions.ads import change_ad_status
from contatto.ads.actions.campaigns import change_campaign_status
from contatto.ads.model import Ad, AdGroup, Campaign, Kind, Status
from contatto.ads.store import tree as store
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused

type Place = tuple[Kind, int]
"""A level and the API's id there."""


def find_node(tx: Tx, business_id: str, place: Place) -> Campaign | AdGroup | Ad:
    """What stands at a place, if it is not deleted.

    Raises:
        Refused: NOT_FOUND.
    """
    kind, number = place
    find = {
        Kind.CAMPAIGN: store.find_campaign_by_number,
        Kind.AD_GROUP: store.find_ad_group_by_number,
        Kind.AD: store.find_ad_by_number,
    }[kind]
    found: Campaign | AdGroup | Ad | None = find(tx, business_id, number)
    if found is None or found.status is Status.DELETED:
        raise Refused(errors.NOT_FOUND)
    return found


def change_node_status(tx: Tx, business_id: str, place: Place, status: Status) -> None:
    """Start, pause or delete what stands at a place; deletion takes all that is under it along.

    Raises:
        Refused: NOT_FOUND, INVALID.
    """
    account, (kind, number) = load_node_account(tx, business_id, place), place
    change = {
        Kind.CAMPAIGN: change_campaign_status,
        Kind.AD_GROUP: change_ad_group_status,
        Kind.AD: change_ad_status,
    }[kind]
    change(tx, account, [number], status)


def load_node_account(tx: Tx, business_id: str, place: Place) -> AdAccount:
    """The ad account of what stands at a place.

    Raises:
        Refused: NOT_FOUND.
    """
    return load_ad_account(tx, business_id, find_node(tx, business_id, place).ad_account_id)
