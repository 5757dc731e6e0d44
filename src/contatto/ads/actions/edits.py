"""Changing a campaign, an ad group or an ad by its form: only what was typed anew is changed.

What the form cannot show (cities, an audience that is gone, cents of a cent) stays as it is, because a field
that still says what it said when the form was opened is no change.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from contatto.accounts.model import AdAccount
from contatto.ads.actions.ad_groups import AdGroupChanges, update_ad_group
from contatto.ads.actions.ads import AdChanges, update_ad
from contatto.ads.actions.campaigns import CampaignChanges, update_campaign
from contatto.ads.actions.first_messages import choose_first_message
from contatto.ads.model import Ad, AdGroup, BidType, BudgetMode, Campaign, ScheduleType, Targeting
from contatto.ads.rules import typed as rules
from contatto.ads.rules.markets import normal_countries
from contatto.ads.rules.typed import AdForm, AdGroupForm, CampaignForm
from contatto.audiences.store import list_audiences
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused

_START: Final = ("starts_on", "starts_time")
_END: Final = ("ends_on", "ends_time")


def edit_campaign(
    tx: Tx, account: AdAccount, before: Campaign, form: CampaignForm, seen_at: datetime
) -> Campaign:
    """Change a campaign to what its form says.

    Raises:
        Refused: INVALID, CONFLICT.
    """
    shown = rules.typed_campaign(before)
    budget = None
    if before.budget_mode is not BudgetMode.INFINITE and form.budget != shown.budget:
        budget = _amount("budget", form.budget)
    changes = CampaignChanges(name=_anew(form, shown, "name"), budget_micros=budget, seen_at=seen_at)
    return update_campaign(tx, account, before.number, changes)


def edit_ad_group(
    tx: Tx, account: AdAccount, before: AdGroup, form: AdGroupForm, seen_at: datetime
) -> AdGroup:
    """Change an ad group to what its form says; account, goal, kind of budget and windows stay as they are.

    Raises:
        Refused: INVALID, NOT_ELIGIBLE, CAPTURE_OFF, CONFLICT.
    """
    shown = shown_ad_group(tx, account, before)
    changes = AdGroupChanges(
        name=_anew(form, shown, "name"),
        countries=normal_countries(form.countries) if _differs(form, shown, "countries") else None,
        pacing=rules.read_pacing(form) if form.pacing != shown.pacing else None,
        page_id=_anew(form, shown, "page_id"),
        targeting={
            part: getattr(form, part)
            for part in Targeting.__dataclass_fields__
            if _differs(form, shown, part)
        },
        seen_at=seen_at,
        **_changed_money(before, form, shown),
        **_changed_times(tx, account, before, form, shown),
    )
    return update_ad_group(tx, account, before.number, changes)


def edit_ad(
    tx: Tx, account: AdAccount, before: Ad, form: AdForm, seen_at: datetime, *, needs_review: bool
) -> Ad:
    """Change an ad to what its form says; with ``needs_review`` new texts wait for the operator.

    Raises:
        Refused: INVALID, CONFLICT.
    """
    if not form.headline.strip():
        raise Refused(errors.INVALID, "headline: write the line that people see first.")
    shown = rules.typed_ad(before)
    changes = AdChanges(
        auto_message_id=choose_first_message(tx, account, form)
        if _differs(form, shown, "auto_message_id")
        else None,
        name=_anew(form, shown, "name"),
        headline=_anew(form, shown, "headline"),
        text=_anew(form, shown, "body"),
        page_id=_anew(form, shown, "page_id"),
        seen_at=seen_at,
    )
    return update_ad(tx, account, before.number, changes, needs_review=needs_review)


def shown_ad_group(tx: Tx, account: AdAccount, before: AdGroup) -> AdGroupForm:
    """An ad group as its form shows it: without audiences that are gone, or a start that has come."""
    known = {str(one.number) for one in list_audiences(tx, account.business_id, account.id)}
    typed = rules.typed_ad_group(before, account.timezone)
    if before.starts_at <= tx.now:
        typed = replace(typed, starts_on="", starts_time="")
    return replace(
        typed,
        audience_ids=tuple(one for one in typed.audience_ids if one in known),
        excluded_audience_ids=tuple(one for one in typed.excluded_audience_ids if one in known),
    )


def _changed_money(before: AdGroup, form: AdGroupForm, shown: AdGroupForm) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    if before.budget_mode is not BudgetMode.INFINITE and form.budget != shown.budget:
        changed["budget_micros"] = _amount("budget", form.budget)
    if form.bid != shown.bid:
        bid = rules.read_amount("bid", form.bid)
        changed |= {"bid_type": BidType.NO_BID if bid is None else BidType.CUSTOM, "bid_micros": bid}
    return changed


def _changed_times(
    tx: Tx, account: AdAccount, before: AdGroup, form: AdGroupForm, shown: AdGroupForm
) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    starts_at, ends_at = rules.read_times(form, account.timezone)
    if before.starts_at > tx.now and any(_differs(form, shown, name) for name in _START):
        changed["starts_at"] = starts_at or tx.now
    if any(_differs(form, shown, name) for name in _END):
        changed["ends_at"] = ends_at
        changed["schedule_type"] = ScheduleType.START_END if ends_at else ScheduleType.FROM_NOW
    return changed


def _amount(field: str, text: str) -> int:
    amount = rules.read_amount(field, text)
    if amount is None:
        raise Refused(errors.INVALID, "%(field)s: write a number, such as 12.50.", field=field)
    return amount


def _differs(form: Any, shown: Any, name: str) -> bool:
    typed, was = getattr(form, name), getattr(shown, name)
    return set(typed) != set(was) if isinstance(was, tuple) else typed != was


def _anew(form: Any, shown: Any, name: str) -> Any:
    """A field if it was typed anew, else None."""
    return getattr(form, name) if _differs(form, shown, name) else None
