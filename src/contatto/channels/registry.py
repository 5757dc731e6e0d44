"""Which connector speaks for which platform, and where a tap on an ad of an account leads."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from contatto.channels.connectors.messenger import Instagram, Messenger
from contatto.channels.connectors.tiktok import TikTok
from contatto.channels.connectors.webchat import Webchat
from contatto.channels.connectors.whatsapp import WhatsApp
from contatto.channels.model import ChannelAccount, Connector, Platform

CONNECTORS: Final[Mapping[Platform, Connector]] = {
    Platform.TIKTOK: TikTok(),
    Platform.WEBCHAT: Webchat(),
    Platform.WHATSAPP: WhatsApp(),
    Platform.MESSENGER: Messenger(),
    Platform.INSTAGRAM: Instagram(),
}

_PROFILES: Final = {
    Platform.TIKTOK: "https://www.tiktok.com/@",
    Platform.WHATSAPP: "https://wa.me/",
    Platform.MESSENGER: "https://m.me/",
    Platform.INSTAGRAM: "https://ig.me/m/",
}


def landing_path(account: ChannelAccount) -> str:
    """Where a tap leads: our chat page, or the account's profile on its platform."""
    profile = _PROFILES.get(account.platform)
    return f"{profile}{quote(account.handle)}" if profile else f"/chat/{account.id}"
