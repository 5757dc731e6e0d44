"""What the form of an ad group shows: its choices, the eligibility panel, and each folded part in a line."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from contatto.accounts.model import AdAccount, Caller
from contatto.ads.actions.accounts import load_facts
from contatto.ads.model import BudgetMode, Campaign, Pacing
from contatto.ads.pages.views import form_choices, show_check
from contatto.ads.rules import goals, targeting
from contatto.ads.rules.countries import countries_by_region
from contatto.ads.rules.markets import LEAD_MARKETS, normal_countries
from contatto.ads.rules.names import tell_apart
from contatto.ads.rules.settings import least_budget_micros
from contatto.ads.rules.typed import AdGroupForm
from contatto.audiences.model import AudienceKind
from contatto.audiences.rules import span_of
from contatto.audiences.store import count_members, list_audiences, list_lookalikes
from contatto.capture import store as switches
from contatto.channels import store as channels
from contatto.kit.db.tx import Tx
from contatto.kit.i18n import N_, Translator, brand_of
from contatto.measurement.model import Goal

CAPTURE_FIELDS: Final = ("company_name", "company_site", "privacy_policy_url")
BUDGET_MODES: Final = {
    BudgetMode.DYNAMIC_DAY: N_("Daily, on average"),
    BudgetMode.DAY: N_("Daily maximum"),
    BudgetMode.TOTAL: N_("Lifetime"),
    BudgetMode.INFINITE: N_("No own budget"),
}
PACINGS: Final = {
    Pacing.SMOOTH: N_("Evenly over the day"),
    Pacing.FAST: N_("As fast as possible"),
}
KINDS: Final = {
    AudienceKind.CUSTOMER_FILE: N_("List of customers"),
    AudienceKind.LOOKALIKE: N_("Lookalike"),
    AudienceKind.RULE: N_("Based on activity"),
}


@dataclass(frozen=True, slots=True)
class Typed:
    """What was typed, and what was wrong with it; ``prompt`` opens the dialog of capture."""

    form: AdGroupForm
    errors: Mapping[str, str] = field(default_factory=dict)
    capture: Mapping[str, str] = field(default_factory=dict)
    capture_errors: Mapping[str, str] = field(default_factory=dict)
    prompt: bool = False


def load_choices(tx: Tx, campaign: Campaign, account: AdAccount) -> dict[str, Any]:
    """All that can be chosen for an ad group of a campaign."""
    found = list_audiences(tx, account.business_id, account.id)
    homes = channels.list_accounts(tx, account.business_id)
    names = tell_apart(
        [(one.name, f"{brand_of(one.platform.value)} {one.handle or one.external_id}") for one in homes]
    )
    members = count_members(tx, account.business_id, [one.id for one in found])
    searched = list_lookalikes(tx, account.business_id, [one.id for one in found])
    modes = [mode for mode in BUDGET_MODES if mode is not BudgetMode.INFINITE or campaign.budget_micros]
    return {
        "campaign": {
            "id": str(campaign.number),
            "name": campaign.name,
            "ad_account_name": account.name,
            "currency": account.currency,
            "timezone": account.timezone,
            "least_micros": least_budget_micros(account.currency),
        },
        "channel_accounts": [
            {"id": one.id, "display_name": name, "country": one.registration_country}
            for one, name in zip(homes, names, strict=True)
        ],
        "forms": form_choices(tx, account.business_id),
        "audiences": [
            {
                "id": str(one.number),
                "name": one.name,
                "kind": KINDS[one.kind],
                "members": members.get(one.id, 0),
                "lift": searched[one.id].lift if one.id in searched else None,
                "span": span_of(searched.get(one.id)),
            }
            for one in found
        ],
        "languages": list(targeting.LANGUAGES.items()),
        "ages": [(group.value, name) for group, name in targeting.AGES.items()],
        "interests": list(targeting.INTERESTS.items()),
        "budget_modes": [(mode.value, BUDGET_MODES[mode]) for mode in modes],
        "pacings": [(mode.value, says) for mode, says in PACINGS.items()],
    }


def eligibility_of(tx: Tx, account: AdAccount, form: AdGroupForm) -> dict[str, Any] | None:
    """What the panel shows of the goal Lead; None while nothing is chosen."""
    channel = channels.find_account(tx, account.business_id, form.channel_account_id)
    if channel is None or not form.countries:
        return None
    facts = load_facts(tx, account, channel, normal_countries(form.countries))
    checks = goals.eligibility(Goal.LEAD, facts)
    return {
        "allowed": all(result.passed for result in checks),
        "checks": [show_check(result) for result in checks],
        "capture_on": facts.capture_on,
    }


def capture_account(tx: Tx, caller: Caller, typed: Typed) -> dict[str, str] | None:
    """What the prompt of capture shows; None keeps it shut."""
    account = channels.find_account(tx, caller.business_id, typed.form.channel_account_id)
    if account is None or not typed.prompt:
        return None
    switch = switches.find_switch(tx, caller.business_id, account.id)
    known = {name: getattr(switch, name) if switch else "" for name in CAPTURE_FIELDS}
    shown = {name: typed.capture.get(name) or known[name] for name in CAPTURE_FIELDS}
    state = "off" if switch else "not_applied"
    return {"id": account.id, "display_name": account.name, "state": state, **shown}


def country_groups(words: Translator) -> list[tuple[str, list[dict[str, Any]]]]:
    return [
        (
            region,
            [{"code": code, "name": words.country(code), "lead_ok": code in LEAD_MARKETS} for code in codes],
        )
        for region, codes in countries_by_region()
    ]


def folded(form: AdGroupForm, choices: Mapping[str, Any], words: Translator) -> dict[str, list[str]]:
    """What each folded part of the form holds now, in short pieces; none where nothing was chosen."""
    audiences = [(one["id"], one["name"]) for one in choices["audiences"]]
    interests = [(key, words.gettext(interest)) for key, interest in targeting.INTERESTS.items()]
    return {
        "people": [
            *_names(choices["languages"], form.languages),
            *_names(choices["ages"], form.age_groups),
            *_names(interests, form.interest_category_ids),
        ],
        "audiences": [
            *(f"+ {name}" for name in _names(audiences, form.audience_ids)),
            *(f"− {name}" for name in _names(audiences, form.excluded_audience_ids)),
        ],
        "schedule": [
            *_dated(words.gettext("From"), form.starts_on, form.starts_time),
            *_dated(words.gettext("Until"), form.ends_on, form.ends_time),
        ],
        "frequency": [
            *_labelled(words.gettext("Impressions per person:"), form.frequency),
            *_labelled(words.gettext("Days:"), form.frequency_schedule),
        ],
        "instant": _names(choices["forms"], (form.page_id,)),
    }


def _names(choices: Iterable[tuple[str, str]], chosen: Iterable[str]) -> list[str]:
    wanted = set(chosen)
    return [name for key, name in choices if key in wanted]


def _labelled(says: str, value: str) -> list[str]:
    return [f"{says} {value}"] if value else []


def _dated(says: str, day: str, at: str) -> list[str]:
    return [f"{says} {day} {at}".strip()] if day else []
