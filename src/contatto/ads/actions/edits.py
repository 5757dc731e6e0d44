"""Changing a campaign, an ad group or an ad by its form: only what was typed anew is changed.

What the form cannot show (cities, an audience that is gone, cents of a cent) stays as it is, because a field
that still says what it said when the form was opened is no change.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from contatto.accounts.model import AdAccount
from contatto.ads.actions.ad_groups import AdGroupChanges, update_ad_group
from contatto.ads.actions.ads import AdChanges, update_ad
from contatto.ads.actions.campaigns import CampaignChanges, update_campaign
from contatto.ads.actions.first_messages import choose_first_message
from contatto.ads.model import Ad, AdGroup, BidType, BudgetMode, Campaign, ScheduleType, Targeting
from contatto.ads.rules.settings import cap_of
from contatto.ads.rules.targeting import normal_countries
from contatto.ads.rules.typed import (
    AdForm,
    AdGroupForm,
    CampaignForm,
    need_amount,
    need_headline,
    read_frequency,
    read_pacing,
    read_times,
    typed_ad,
    typed_ad_group,
    typed_campaign,
)
from contatto.audiences.store import list_audiences
from contatto.kit.db.tx import Tx
from contatto.kit.form_fields import Faults, Typist, check_leap, read_amount

_START: Final = ("starts_on", "starts_time")
_END: Final = ("ends_on", "ends_time")


@dataclass(frozen=True, slots=True)
class Edit[F]:
    """A form that was sent: who typed it, and the change that its writer has seen."""

    form: F
    typist: Typist
    seen_at: datetime


def edit_campaign(tx: Tx, account: AdAccount, before: Campaign, edit: Edit[CampaignForm]) -> Campaign:
    """Change a campaign to what its form says.

    Raises:
        Refused: INVALID, CONFLICT.
    """
    form, faults, lang = edit.form, Faults(), edit.typist.words.lang
    shown = typed_campaign(before, account.currency, lang)
    budget = None
    if before.budget_mode is not BudgetMode.INFINITE and form.budget != shown.budget:
        budget = faults.read(lambda: need_amount("budget", form.budget, account.currency, lang), None)
        _ask(account, "budget", (before.budget_micros, budget), edit.typist, faults)
    changes = CampaignChanges(name=_anew(form, shown, "name"), budget_micros=budget, seen_at=edit.seen_at)
    return faults.finish(lambda: update_campaign(tx, account, before.number, changes))


def edit_ad_group(tx: Tx, account: AdAccount, before: AdGroup, edit: Edit[AdGroupForm]) -> AdGroup:
    """Change an ad group to what its form says; account, goal, kind of budget and windows stay as they are.

    Raises:
        Refused: INVALID, NOT_ELIGIBLE, CAPTURE_OFF, CONFLICT.
    """
    form, faults = edit.form, Faults()
    shown = shown_ad_group(tx, account, before, edit.typist.words.lang)
    pacing = faults.read(lambda: read_pacing(form), before.pacing)
    times: dict[str, Any] = {}
    cap: dict[str, Any] = {}
    faults.read(lambda: times.update(_changed_times(tx, account, before, form, shown)), None)
    if form.frequency != shown.frequency or form.frequency_schedule != shown.frequency_schedule:
        faults.read(lambda: cap.update(_changed_frequency(form, edit.typist.words.lang)), None)
    changes = AdGroupChanges(
        name=_anew(form, shown, "name"),
        countries=normal_countries(form.countries) if _differs(form, shown, "countries") else None,
        pacing=pacing if form.pacing != shown.pacing else None,
        page_id=_anew(form, shown, "page_id"),
        targeting={
            part: getattr(form, part)
            for part in Targeting.__dataclass_fields__
            if _differs(form, shown, part)
        },
        seen_at=edit.seen_at,
        **_changed_money(account, before, edit, shown, faults),
        **times,
        **cap,
    )
    return faults.finish(lambda: update_ad_group(tx, account, before.number, changes))


def edit_ad(tx: Tx, account: AdAccount, before: Ad, edit: Edit[AdForm], *, needs_review: bool) -> Ad:
    """Change an ad to what its form says; with ``needs_review`` new texts wait for the operator.

    Raises:
        Refused: INVALID, CONFLICT.
    """
    form, faults = edit.form, Faults()
    shown = typed_ad(before)
    faults.read(lambda: need_headline(form), "")
    message = None
    if _differs(form, shown, "auto_message_id"):
        message = faults.read(lambda: choose_first_message(tx, account, form), None)
    changes = AdChanges(
        auto_message_id=message,
        name=_anew(form, shown, "name"),
        headline=_anew(form, shown, "headline"),
        text=_anew(form, shown, "body"),
        page_id=_anew(form, shown, "page_id"),
        seen_at=edit.seen_at,
    )
    return faults.finish(lambda: update_ad(tx, account, before.number, changes, needs_review=needs_review))


def shown_ad_group(tx: Tx, account: AdAccount, before: AdGroup, lang: str) -> AdGroupForm:
    """An ad group as its form shows it: without audiences that are gone, or a start that has come."""
    audience_numbers = {str(one.number) for one in list_audiences(tx, account.business_id, account.id)}
    typed = typed_ad_group(before, account, lang)
    if before.starts_at <= tx.now:
        typed = replace(typed, starts_on="", starts_time="")
    return replace(
        typed,
        audience_ids=tuple(one for one in typed.audience_ids if one in audience_numbers),
        excluded_audience_ids=tuple(one for one in typed.excluded_audience_ids if one in audience_numbers),
    )


def _changed_money(
    account: AdAccount, before: AdGroup, edit: Edit[AdGroupForm], shown: AdGroupForm, faults: Faults
) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    form, typist, currency, lang = edit.form, edit.typist, account.currency, edit.typist.words.lang
    if before.budget_mode is not BudgetMode.INFINITE and form.budget != shown.budget:
        budget = faults.read(lambda: need_amount("budget", form.budget, currency, lang), None)
        _ask(account, "budget", (before.budget_micros, budget), typist, faults)
        changed["budget_micros"] = budget
    if form.bid != shown.bid:
        bid = faults.read(lambda: read_amount("bid", form.bid, currency, lang), before.bid_micros)
        _ask(account, "bid", (before.bid_micros, bid), typist, faults)
        changed |= {"bid_type": BidType.NO_BID if bid is None else BidType.CUSTOM, "bid_micros": bid}
    return changed


def _ask(
    account: AdAccount, field: str, values: tuple[int | None, int | None], typist: Typist, faults: Faults
) -> None:
    """Note it if an amount leaps from the first value to the second, and nobody confirmed that."""
    before, after = values
    faults.read(lambda: check_leap(field, before, after, account.currency, typist), None)


def _changed_times(
    tx: Tx, account: AdAccount, before: AdGroup, form: AdGroupForm, shown: AdGroupForm
) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    starts_at, ends_at = read_times(form, account.timezone)
    if before.starts_at > tx.now and any(_differs(form, shown, name) for name in _START):
        changed["starts_at"] = starts_at or tx.now
    if any(_differs(form, shown, name) for name in _END):
        changed["ends_at"] = ends_at
        changed["schedule_type"] = ScheduleType.START_END if ends_at else ScheduleType.FROM_NOW
    return changed


def _changed_frequency(form: AdGroupForm, lang: str) -> dict[str, int | None]:
    """Views and days of the frequency cap; 0 where both were left empty, which ends it."""
    views, days = read_frequency(form, lang)
    cap = cap_of(views, days)
    return {"frequency": cap.views if cap else 0, "frequency_schedule": cap.days if cap else None}


def _differs(form: Any, shown: Any, name: str) -> bool:
    typed, was = getattr(form, name), getattr(shown, name)
    return set(typed) != set(was) if isinstance(was, tuple) else typed != was


def _anew(form: Any, shown: Any, name: str) -> Any:
    """A field if it was typed anew, else None."""
    return getattr(form, name) if _differs(form, shown, name) else None
