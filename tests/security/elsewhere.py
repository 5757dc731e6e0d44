"""A tenant's ad account of another platform: from a file, with a connection that leads nowhere, and told."""

from collections.abc import Callable
from typing import Any

from contatto.integrations.model import ErasureState
from contatto.kit.ids import new_id
from contatto.signals.store import signal_erasures
from tests.security.world import Tenant, World


def number_elsewhere(of: Tenant) -> str:
    """The id of a tenant's ad account there; it is no phone number of anybody."""
    return f"70{of.phones[0].strip('+')[::-1].lstrip('0')}"


def fill_ads_elsewhere(press: Callable[..., Any], of: Tenant) -> None:
    """What the owner does on the pages."""
    word, digits = of.word, number_elsewhere(of).removeprefix("70")
    head = "Campaign name,Ad group name,Ad name,Ad ID,Day,Cost,Impressions,Clicks"
    row = f"{word} spring,{word} chats,{word} elsewhere,{digits}77777777777,2026-01-05,5.00,100,3"
    new = {"external_id": f"70{digits}", "name": f"{word} shop", "currency": "SGD", "timezone": "UTC"}
    press("/settings/ad-platforms/upload/start", data={"text": f"{head}\n{row}"} | new)
    connected = {"platform": "tiktok", "external_id": f"70{digits}", "access_token": f"{word}-outside"}
    press("/settings/ad-platforms", data=connected)


def fill_signals(press: Callable[..., Any], account: str, world: World, of: Tenant) -> None:
    """Turn signals on, ask for a test event, and have somebody erased of whom one had left."""
    chosen = {"dataset_id": f"{of.word}-set", "steps": ["captured", "qualified"], "consent": "not_refused"}
    press(f"/settings/ad-platforms/{account}/signals", data=chosen)
    press(f"/settings/ad-platforms/{account}/signals/test", data={"code": f"{of.word}-TEST"})
    erased = {"business_id": of.business_id, "outside_account_id": account, "lead_id": new_id(), "sent": 1}
    erased |= {"state": ErasureState.UNSUPPORTED}
    world.context.db.write_now(lambda tx: tx.insert(signal_erasures, erased | {"created_at": tx.now}))


def tap_elsewhere(of: Tenant) -> dict[str, Any]:
    """An ad of that account, as the platform names it."""
    return {"ad_id": "77777", "advertiser_id": number_elsewhere(of)}
