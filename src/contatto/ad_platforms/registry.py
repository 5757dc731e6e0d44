"""Connectors of ad platforms, and the channels that belong to each."""

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
"""Platform of the ads that open chats on a channel."""
APPS: Final[Mapping[AdPlatform, frozenset[Platform]]] = {
    platform: frozenset(channel for channel, own_platform in AD_PLATFORMS.items() if own_platform is platform)
    for platform in AdPlatform
}
"""Channels with registered apps that also grant access to an ad platform."""
