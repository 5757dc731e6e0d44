"""Kernels made ready before the first request comes."""

from contatto.delivery.model.lines import AdGroupLine, AdLine
from contatto.delivery.predict.replica import Asked, Replica


def warm_kernels() -> None:
    """Have the kernels compiled or loaded, which takes a while the first time."""
    made = Replica(0)
    made.set_live(
        [AdGroupLine(ts=1, adgroup_id="1", advertiser_id="1"), AdLine(ts=1, ad_id="1", adgroup_id="1")]
    )
    made.decide(Asked(1, 1_000_000, "somebody", "SG", {"kind": "none"}, 1, [1], {1: 1.0}))
