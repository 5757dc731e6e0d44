"""What an operator may decide, and which ads may compete in a placement: pure functions."""

import hashlib
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Final

from contatto.ads.model import Ad
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.languages import currencies
from contatto.operators.model import Admission, AdmissionState, Category, Placement

MOST_ADMITTED: Final = 1_000
"""So many businesses are admitted at most; `delivery` asks a part of them for an offer for each place."""
MOST_PLACEMENTS: Final = 200
LEAST_FLOOR_MICROS: Final = 1_000_000
MOST_FLOOR_MICROS: Final = 10**12
MOST_VIEWS: Final = 1_000
NAME_LIMIT: Final = 64
REASON_LIMIT: Final = 500
CODE_DAYS: Final = 14
"""For so long a code lets a business in."""

_BY_OPERATOR: Final[Mapping[AdmissionState, frozenset[AdmissionState]]] = {
    AdmissionState.ASKED: frozenset({AdmissionState.ADMITTED, AdmissionState.REFUSED}),
    AdmissionState.ADMITTED: frozenset({AdmissionState.SUSPENDED}),
    AdmissionState.SUSPENDED: frozenset({AdmissionState.ADMITTED}),
    AdmissionState.REFUSED: frozenset({AdmissionState.ADMITTED}),
    AdmissionState.LEFT: frozenset(),
}
_NEEDS_REASON: Final = frozenset({AdmissionState.REFUSED, AdmissionState.SUSPENDED})
_MAY_ASK_AGAIN: Final = frozenset({AdmissionState.REFUSED, AdmissionState.LEFT})


def check_decision(admission: Admission, wanted: AdmissionState, reason: str) -> None:
    """Whether an operator may take an admission to another state.

    Raises:
        Refused: CONFLICT for a step that there is not; INVALID where a reason is missing or too long.
    """
    if wanted not in _BY_OPERATOR[admission.state]:
        raise Refused(
            errors.CONFLICT, "The status of this business has changed. Reload the page and try again."
        )
    check_reason(reason, is_needed=wanted in _NEEDS_REASON)


def check_reason(reason: str, *, is_needed: bool) -> None:
    """INVALID for a reason that is missing or too long."""
    if is_needed and not reason.strip():
        raise Refused(errors.INVALID, "reason: Enter a reason. The business will read it.")
    if len(reason) > REASON_LIMIT:
        raise Refused(errors.INVALID, "reason: Use at most 500 characters.")


def may_ask(admission: Admission | None) -> bool:
    """Return whether a business may ask to be admitted."""
    return admission is None or admission.state in _MAY_ASK_AGAIN


def check_placement(placement: Placement, taken: Collection[str]) -> None:
    """INVALID for a placement that cannot be; ``taken`` are the names of the operator's others."""
    name = placement.name
    if not 0 < len(name) <= NAME_LIMIT or not name.isprintable() or name != name.strip():
        raise Refused(errors.INVALID, "name: Enter a name of up to 64 characters.")
    if name in taken:
        raise Refused(errors.INVALID, "name: Another placement has this name. Choose a different one.")
    if placement.currency not in currencies():
        raise Refused(errors.INVALID, "currency: enter a three-letter code, such as SGD.")
    if not LEAST_FLOOR_MICROS <= placement.floor_micros <= MOST_FLOOR_MICROS:
        raise Refused(errors.INVALID, "floor: Enter a price of at least 1 per 1,000 impressions.")
    if not 0 <= placement.most_views <= MOST_VIEWS:
        raise Refused(errors.INVALID, "most_views: Enter a number from 0 (no limit) to 1,000.")
    unknown = set(placement.categories) - set(Category)
    if unknown:
        raise Refused(errors.INVALID, "categories: Choose from these: %(known)s.", known=", ".join(Category))


def may_compete(placement: Placement, admission: Admission) -> bool:
    """Return whether the ads of a business may be in a placement at all."""
    return (
        placement.is_on
        and admission.state is AdmissionState.ADMITTED
        and admission.operator_id == placement.business_id
        and admission.business_id not in placement.blocked
        and (not placement.categories or admission.category in placement.categories)
    )


@lru_cache(maxsize=1 << 16)
def review_digest(ad: Ad) -> str:
    """What tells one revision of an ad from another: all that a viewer sees, and where a tap leads."""
    seen = (
        ad.name, ad.headline, ad.text, ad.ad_format, ad.call_to_action, ad.video_id, ad.channel_account_id,
    )  # fmt: skip
    return hashlib.sha256("\0".join(seen).encode("utf-8", "surrogatepass")).hexdigest()
