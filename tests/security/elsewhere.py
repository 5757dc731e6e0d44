"""A tenant's ad account of another platform: from a file, and with a connection that leads nowhere."""

from collections.abc import Callable
from typing import Any

from tests.security.world import Tenant


def fill_ads_elsewhere(press: Callable[..., Any], of: Tenant) -> None:
    """What the owner does on the pages."""
    # its ids are no phone number of anybody
    word, digits = of.word, of.phones[0].strip("+")[::-1].lstrip("0")
    head = "Campaign name,Ad group name,Ad name,Ad ID,Day,Cost,Impressions,Clicks"
    row = f"{word} spring,{word} chats,{word} elsewhere,{digits}77777777777,2026-01-05,5.00,100,3"
    new = {"external_id": f"70{digits}", "name": f"{word} shop", "currency": "SGD", "timezone": "UTC"}
    press("/settings/ad-platforms/upload/start", data={"text": f"{head}\n{row}"} | new)
    connected = {"platform": "tiktok", "external_id": f"70{digits}", "access_token": f"{word}-outside"}
    press("/settings/ad-platforms", data=connected)
