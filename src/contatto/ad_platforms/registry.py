"""Connectors by ad platform, and the channels that their ads open."""

from collections.abc import Mapping
from typing import Final

from contatto.ad_platforms.connectors.meta import MetaAds
from contatto.ad_platforms.connectors.tiktok import TikTokAds
from contatto.ad_platforms.model import AdPlatform, PlatformConnector
from contatto.channels.model import Platform

CONNECTORS: Final[Mapping[AdPlatform, PlatformConnector]] = {
    AdPlatform.TIKTOK: TikTokAds(),
    AdPlatform.META: MetaAds(),
}

AD_PLATFORMS: Final[Mapping[Platform, AdPlatform]] = {
    Platform.TIKTOK: AdPlatform.TIKTOK,
    Platform.WHATSAPP: AdPlatform.META,
    Platform.MESSENGER: AdPlatform.META,
    Platform.INSTAGRAM: AdPlatform.META,
}
"""Whose ads open the chats of a channel."""
APPS: Final[Mapping[AdPlatform, frozenset[Platform]]] = {
    platform: frozenset(channel for channel, own_platform in AD_PLATFORMS.items() if own_platform is platform)
    for platform in AdPlatform
}
"""The channels whose apps let us into an ad platform."""
