"""Ads and checks as templates want them, the way back to the tree, and refusals as words beside a field."""

from typing import Any, Final
from urllib.parse import urlencode

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse

from contatto.accounts.model import AdAccount
from contatto.ads.actions.first_messages import list_first_messages
from contatto.ads.model import Ad, CheckResult, NodeKind
from contatto.ads.rules.goals import MOST_QUESTIONS
from contatto.ads.rules.settings import chat_link
from contatto.forms.store import list_versions
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.form_fields import Leap, Typist, split_fault
from contatto.kit.i18n import Translator, translator_of
from contatto.kit.texts import read_pairs
from contatto.measurement.rules import TRACKING_KEY
from contatto.ui.context import Context

MOST_PAIRS: Final = 400
"""Pairs of an address that are kept."""
AUDIT_KEYS: Final = {NodeKind.CAMPAIGN: "campaign_id", NodeKind.AD_GROUP: "adgroup_id", NodeKind.AD: "ad_id"}
"""What each level is called in the audit log."""
_FORM_FIELDS: Final = {
    "campaign_name": "name",
    "custom_audience_name": "name",
    "adgroup_name": "name",
    "ad_name": "name",
    "identity_id": "channel_account_id",
    "location_ids": "countries",
    "conversion_bid_price": "bid",
    "schedule_start_time": "starts_on",
    "schedule_end_time": "ends_on",
    "click_attribution_window": "click_window_days",
    "view_attribution_window": "view_window_days",
}


def tree_href(query: str) -> str:
    """The address of the tree as it was asked for."""
    pairs = read_pairs(query, MOST_PAIRS)
    return f"/ads?{urlencode(pairs)}" if pairs else "/ads"


def back_to_tree(query: str, kind: NodeKind | None = None, number: int = 0) -> RedirectResponse:
    """Back to the tree as it was asked for, at the row that was worked on."""
    return RedirectResponse(tree_href(query) + (f"#{kind}-{number}" if kind else ""), 303)


def show_ad(ad: Ad, context: Context) -> dict[str, Any]:
    return {
        "id": str(ad.number),
        "name": ad.name,
        "status": ad.status,
        "headline": ad.headline,
        "body": ad.text or None,
        "chat_url": chat_link(context.settings.base_url, ad, context.vault.signer(TRACKING_KEY)),
    }


def show_check(result: CheckResult) -> dict[str, Any]:
    return {
        "key": result.check,
        "ok": result.passed,
        "countries": list(result.countries),
        "failing": list(result.failing),
    }


def show_first_messages(tx: Tx, account: AdAccount) -> dict[str, Any]:
    """Return the welcome messages of an ad account for the form of an ad."""
    return {
        "messages": [
            {
                "id": str(one.number),
                "title": one.title or one.content,
                "content": one.content,
                "questions": list(one.questions),
            }
            for one in list_first_messages(tx, account)
        ],
        "most_questions": MOST_QUESTIONS,
    }


def form_choices(tx: Tx, business_id: str) -> list[tuple[str, str]]:
    """Published forms to choose for an ad, by ``page_id``; those published last come first."""
    return [
        (str(version.number), f"{version.name} · version {version.version}")
        for version in list_versions(tx, business_id)
    ]


def check_choice(tx: Tx, business_id: str, page_id: str) -> str:
    """The chosen form, which must be one of the business's own, or none.

    Raises:
        Refused: INVALID.
    """
    if page_id and page_id not in dict(form_choices(tx, business_id)):
        raise Refused(errors.INVALID, "page_id: choose a form from the list.")
    return page_id


def field_errors(refused: Refused, words: Translator) -> dict[str, str]:
    """A refusal as the errors of a form's fields; of the whole form (``""``) where it names none."""
    errors_by_field: dict[str, str] = {}
    for problem in (refused, *refused.others):
        field, says = _field_error(problem, words)
        errors_by_field.setdefault(field, says)
    return errors_by_field


def _field_error(refused: Refused, words: Translator) -> tuple[str, str]:
    if refused.code is errors.NOT_ELIGIBLE:
        says = words.gettext("The goal Lead is not available with these choices. See which check fails.")
        return "goal", says
    field, says = split_fault(refused, words)
    return _FORM_FIELDS.get(field, field), says


def leaps_of(refused: Refused) -> dict[str, str]:
    """Return the ``sure`` values that confirm refused leaps of money, by field."""
    problems = (refused, *refused.others)
    return {_FORM_FIELDS.get(leap.field, leap.field): leap.key for leap in problems if isinstance(leap, Leap)}


def typist_of(request: Request, sent: FormData) -> Typist:
    """Return the writer of a form: the language of its numbers, and the leaps that it confirms."""
    sure = frozenset(str(value) for value in sent.getlist("sure"))
    return Typist(translator_of(request), sure)
