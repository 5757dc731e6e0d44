"""The link that stands for an ad itself, and the addresses of the forms."""

from itsdangerous import Signer

from contatto.ads.model import Ad, NodeKind
from contatto.measurement.model import TicketKind, TrackingTicket
from contatto.measurement.rules import sign_ticket


def chat_link(base_url: str, ad: Ad, signer: Signer) -> str:
    """The link to an ad's chat: a tap on it counts once for each person and day."""
    return f"{base_url}/t/c/{sign_ticket(TrackingTicket(TicketKind.CHAT, ad.business_id, ad.id), signer)}"


def new_form_path(kind: NodeKind, parent: int) -> str:
    """The address of the form of something new; ``parent`` is the number of what it would stand in."""
    return {
        NodeKind.CAMPAIGN: "/ads/campaigns/new",
        NodeKind.AD_GROUP: f"/ads/campaigns/{parent}/ad-groups/new",
        NodeKind.AD: f"/ads/ad-groups/{parent}/ads/new",
    }[kind]
