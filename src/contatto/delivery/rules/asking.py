"""What of a request may take part in the estimates, as a pure function."""

from typing import Any, Final

from contatto.ads.rules.targeting import age_group_of
from contatto.delivery.model.decisions import AdRequest

OURS: Final = "·"
"""Before the names of features that we know ourselves, so that a publisher's own never meet them."""
DEVICE: Final = f"{OURS}device"


def features_of(request: AdRequest) -> dict[str, Any]:
    """The features of a request: where the ad stands, and what is known of a viewer who agreed to that."""
    found: dict[str, Any] = {}
    if request.placement:
        found[f"{OURS}placement"] = request.placement
    if request.channel_account_id:
        found[f"{OURS}account"] = request.channel_account_id
    if not request.has_consent:
        return found
    if request.device:
        found[DEVICE] = request.device
    if request.language is not None:
        found[f"{OURS}language"] = request.language
    if request.age is not None:
        found[f"{OURS}age"] = str(age_group_of(request.age))
    if request.interest_category_ids:
        found[f"{OURS}interests"] = sorted(request.interest_category_ids)
    return found | dict(request.features)
