"""The link that stands for an ad itself."""

from typing import Final

from contatto.ads.model import Ad
from contatto.measurement.model import TrackingTicket
from contatto.measurement.rules import sign_ticket

TRACKING_KEY: Final = "tracking"
"""The name of the key that signs tracking links."""


def chat_link(base_url: str, ad: Ad, key: bytes) -> str:
    """The link to an ad's chat: each tap on it counts."""
    return f"{base_url}/t/c/{sign_ticket(TrackingTicket(ad.business_id, ad.id, 0), key)}"
