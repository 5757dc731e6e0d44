"""Whose ad a lead came from, and which of its steps still stand."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from contatto.leads.model import LeadStatus
from contatto.signals.model.settings import Step

_STANDS_IN: Mapping[Step, frozenset[LeadStatus]] = {
    Step.QUALIFIED: frozenset({LeadStatus.QUALIFIED, LeadStatus.CONVERTED}),
    Step.CONVERTED: frozenset({LeadStatus.CONVERTED}),
    Step.DISQUALIFIED: frozenset({LeadStatus.UNQUALIFIED}),
}


def still_stands(step: Step, status: LeadStatus) -> bool:
    """Return whether a step was not taken back before it was told."""
    return step not in _STANDS_IN or status in _STANDS_IN[step]


def earning_account(advertiser: str, ad_account_id: str, accounts: Mapping[str, str]) -> str:
    """Return which of some ad accounts of one platform a tap belongs to; "" for none, or for who knows which.

    Args:
        advertiser: the platform's id of the ad's account, where it told it.
        ad_account_id: our id of the account that is known to have the ad, "" where none is.
        accounts: the platform's ids of the accounts in question, by ours.
    """
    if advertiser:
        return next((ours for ours, theirs in accounts.items() if theirs == advertiser), "")
    if ad_account_id:
        return ad_account_id if ad_account_id in accounts else ""
    return next(iter(accounts)) if len(accounts) == 1 else ""


def last_before(times: Iterable[datetime], until: datetime) -> int | None:
    """Return which of these moments is the last one that is no later than another; None where none is."""
    fitting = [(at, place) for place, at in enumerate(times) if at <= until]
    return max(fitting)[1] if fitting else None
