"""What an operator's review of an ad is about."""

from typing import Final

from contatto.ads.model import Ad
from contatto.kit import errors
from contatto.kit.errors import Refused

LONGEST_REASON: Final = 500


def shown_of(ad: Ad) -> tuple[str, ...]:
    """What people see of an ad, or get from it: a change of it is reviewed anew."""
    return (ad.headline, ad.text, ad.video_id, ad.auto_message_id, ad.page_id, ad.channel_account_id)


def check_audit_reason(text: str) -> str:
    """A reason without blank ends.

    Raises:
        Refused: INVALID.
    """
    reason = text.strip()
    if not 0 < len(reason) <= LONGEST_REASON:
        raise Refused(
            errors.INVALID,
            "reason: enter what has to change, in 1 to %(most)s characters.",
            most=LONGEST_REASON,
        )
    return reason
