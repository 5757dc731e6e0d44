"""From what a platform says of an ad to what measuring has to know of it."""

from collections.abc import Callable

from contatto.ad_platforms.model import OutsideAccount, OutsideNode
from contatto.measurement.model import Goal, MeasuredAd
from contatto.measurement.rules import NameId


def outside_id(name_id: NameId, account: OutsideAccount, kind: str, number: int) -> str:
    """Our id of what an account calls by a number: numbers of two accounts may be the same."""
    return name_id(account.id, f"{kind}:{number}")


def measured(
    name_id: NameId,
    account: OutsideAccount,
    path: tuple[OutsideNode, OutsideNode | None, OutsideNode | None],
    goal_of: Callable[[str], Goal],
) -> MeasuredAd:
    """An ad elsewhere, with its ad group and campaign where these are known."""
    ad, group, campaign = path
    group_number, campaign_number = group.number if group else 0, campaign.number if campaign else 0
    return MeasuredAd(
        ad_id=outside_id(name_id, account, "ad", ad.number),
        ad_number=ad.number,
        ad_name=ad.name,
        ad_group_id=outside_id(name_id, account, "ad_group", group_number),
        ad_group_number=group_number,
        ad_group_name=group.name if group else "",
        campaign_id=outside_id(name_id, account, "campaign", campaign_number),
        campaign_number=campaign_number,
        campaign_name=campaign.name if campaign else "",
        business_id=account.business_id,
        ad_account_id=account.id,
        channel_account_id="",
        goal=goal_of(group.goal if group else ""),
        click_window_s=group.click_window_s if group else ad.click_window_s,
        view_window_s=group.view_window_s if group else ad.view_window_s,
        timezone=account.timezone or "UTC",
        currency=account.currency,
        landing_path="",
        headline="",
        text="",
        platform=account.platform.value,
    )
