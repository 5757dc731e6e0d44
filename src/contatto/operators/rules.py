"""Rules of admissions, placements and ad reviews, as pure functions."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Final

from contatto.ads.model import Ad
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.languages import currencies
from contatto.operators.model import AdmissionState, Category, PlacedDay, Placement

MOST_ADMITTED: Final = 1_000
"""Limit of admitted businesses; `delivery` invites some of them to bid for each place."""
MOST_PLACEMENTS: Final = 200
LEAST_FLOOR_MICROS: Final = 1_000_000
MOST_FLOOR_MICROS: Final = 10**12
MOST_VIEWS: Final = 1_000
NAME_LIMIT: Final = 64
REASON_LIMIT: Final = 500
CODE_DAYS: Final = 14
"""Days for which a code is valid."""

NEXT_STATES: Final[Mapping[AdmissionState, frozenset[AdmissionState]]] = {
    AdmissionState.REQUESTED: frozenset({AdmissionState.ADMITTED, AdmissionState.REFUSED}),
    AdmissionState.ADMITTED: frozenset({AdmissionState.SUSPENDED}),
    AdmissionState.SUSPENDED: frozenset({AdmissionState.ADMITTED}),
    AdmissionState.REFUSED: frozenset({AdmissionState.ADMITTED}),
    AdmissionState.WITHDRAWN: frozenset(),
}
NEEDS_REASON: Final = frozenset({AdmissionState.REFUSED, AdmissionState.SUSPENDED})
MAY_ASK_AGAIN: Final = frozenset({AdmissionState.REFUSED, AdmissionState.WITHDRAWN})


def check_reason(reason: str, *, is_needed: bool) -> None:
    """Raise INVALID for a missing or too long reason."""
    if is_needed and not reason.strip():
        raise Refused(errors.INVALID, "reason: Enter a reason. The business will read it.")
    if len(reason) > REASON_LIMIT:
        raise Refused(errors.INVALID, "reason: Use at most 500 characters.")


def check_placement(placement: Placement, other_names: Collection[str]) -> None:
    """Raise INVALID for invalid rules; ``other_names`` are the names of the operator's other placements."""
    name = placement.name
    if not 0 < len(name) <= NAME_LIMIT or not name.isprintable() or name != name.strip():
        raise Refused(errors.INVALID, "name: Enter a name of up to 64 characters.")
    if name in other_names:
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


@lru_cache(maxsize=1 << 16)
def review_digest(ad: Ad) -> str:
    """Return the digest of a revision: of all that a viewer sees, and of the destination of a click."""
    fields = (
        ad.name, ad.headline, ad.text, ad.ad_format, ad.call_to_action, ad.video_id, ad.channel_account_id,
    )  # fmt: skip
    return hashlib.sha256("\0".join(fields).encode("utf-8", "surrogatepass")).hexdigest()


def sum_days[K](days: Iterable[PlacedDay], key: Callable[[PlacedDay], K]) -> dict[K, PlacedDay]:
    """Sum the counts and charges of days by a key; the other fields are those of the first day."""
    sums: dict[K, PlacedDay] = {}
    for day in days:
        group = key(day)
        total = sums.get(group)
        sums[group] = day if total is None else replace(
            total,
            views=total.views + day.views,
            clicks=total.clicks + day.clicks,
            charged_micros=total.charged_micros + day.charged_micros,
            conversations=total.conversations + day.conversations,
            leads=total.leads + day.leads,
        )  # fmt: skip
    return sums
