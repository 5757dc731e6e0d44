"""The link that stands for an ad itself, and the addresses of the forms."""

from typing import Final

from contatto.ads.model import Ad, NodeKind
from contatto.measurement.model import TicketKind, TrackingTicket
from contatto.measurement.rules import sign_ticket

TRACKING_KEY: Final = "tracking"
"""The name of the key that signs tracking links."""


def chat_link(base_url: str, ad: Ad, key: bytes) -> str:
    """The link to an ad's chat: a tap on it counts once for each person and day."""
    return f"{base_url}/t/c/{sign_ticket(TrackingTicket(TicketKind.CHAT, ad.business_id, ad.id), key)}"


def new_form_path(kind: NodeKind, parent: int) -> str:
    """The address of the form of something new; ``parent`` is the number of what it would stand in."""
    return {
        NodeKind.CAMPAIGN: "/ads/campaigns/new",
        NodeKind.AD_GROUP: f"/ads/campaigns/{parent}/ad-groups/new",
        NodeKind.AD: f"/ads/ad-groups/{parent}/ads/new",
    }[kind]
