"""How much the visitors of chats may send; but for newcomers, each app counts for itself."""

from datetime import timedelta
from typing import Final

from contatto.kit.i18n import N_
from contatto.kit.limits import RateLimit
from contatto.kit.shared_limits import SharedLimit

MOST_AT_ONCE: Final = 500
"""New people of one network who may come at once: those who saw an ad in the same minutes."""
MOST_A_MINUTE: Final = 600
"""Messages, photos, forms and signs of one network to one chat in a minute."""


def limit_newcomers(most_per_hour: int) -> SharedLimit:
    """Limit the new people of a network who may write to an account."""
    says = N_("Too many new people write from your network at the moment.")
    burst = min(most_per_hour, MOST_AT_ONCE)
    return SharedLimit("new visitors", most_per_hour, timedelta(hours=1), says, burst)


class ChatLimits:
    """Counts in memory. Many people of a company or a carrier may share a network, so networks may do more.

    Attributes:
        networks: whatever is sent to one chat, by network.
        messages: texts of one visitor.
        photos: photos of one visitor.
        photos_of_network: photos to all chats, by network.
        signs: "typing" and "read" of one visitor.
        forms: forms sent by one visitor.
        linked_forms: forms sent through one link.
    """

    def __init__(self) -> None:
        self.networks = RateLimit(most=MOST_A_MINUTE, span_s=60)
        self.messages = RateLimit(most=40, span_s=60)
        self.photos = RateLimit(most=12, span_s=60)
        self.photos_of_network = RateLimit(most=60, span_s=60)
        self.signs = RateLimit(most=60, span_s=60)
        self.forms = RateLimit(most=20, span_s=600)
        self.linked_forms = RateLimit(most=20, span_s=600)
