"""Which connector speaks for which platform, and where a tap on an ad of an account leads."""

from collections.abc import Mapping
from typing import Final

from contatto.channels.connectors.tiktok import TikTok
from contatto.channels.connectors.webchat import Webchat
from contatto.channels.model import ChannelAccount, Connector, Platform

CONNECTORS: Final[Mapping[Platform, Connector]] = {
    Platform.TIKTOK: TikTok(),
    Platform.WEBCHAT: Webchat(),
}


def landing_path(account: ChannelAccount) -> str:
    """Where a tap leads: our chat page, or the account's profile on its platform."""
    if account.platform is Platform.TIKTOK:
        return f"https://www.tiktok.com/@{account.handle}"
    return f"/chat/{account.id}"
