"""What the trial of delivery counted."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrialDay:
    """What an ad group showed to one group of viewers on a day, and what came of it.

    ``trial`` is the group of viewers (see `rules/trials`), ``day`` is the ad account's (``YYYY-MM-DD``): of
    the touch that is charged, or that earned the conversation or the lead. Money is micros.
    """

    business_id: str
    ad_group_id: str
    day: str
    trial: int
    views: int = 0
    clicks: int = 0
    charged_micros: int = 0
    conversations: int = 0
    leads: int = 0
