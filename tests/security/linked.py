"""A tenant's linked CRM, a person who is erased in it too, and the page of a form that was refused.

What is due at the CRM waits, since nothing leaves this machine.
"""

from base64 import b64encode
from collections.abc import Callable, Iterable
from typing import Any

from contatto.crm.actions.targets import NewTarget, link_crm
from tests.security.world import Tenant, World


def fill_crm(world: World, of: Tenant) -> None:
    """Link a receiver of signed webhooks; each lead from now on is due there."""
    secret = f"whsec_{b64encode(of.word.ljust(32, '.').encode()).decode()}"
    new = NewTarget("webhook", f"{of.word} crm", f"https://crm.{of.word}.example.com", {"secret": secret})
    world.context.db.write_now(lambda tx: link_crm(tx, of.business_id, new, ()))


def try_crm(press: Callable[..., Any], target: str, leads: Iterable[tuple[Any, ...]]) -> None:
    """Ask what would be written of a lead, of leads with when they were hidden."""
    lead = next(lead for lead, hidden in leads if hidden is None)
    press(f"/settings/integrations/{target}/trial", data={"lead_id": lead})


def erase_lead(press: Callable[..., Any], leads: Iterable[tuple[Any, ...]]) -> None:
    """Erase the person who came with a file, of leads with what they are sorted by."""
    [lead] = [lead for lead, name in leads if "imported" in name]
    press("/leads/erase", data={"ids": lead, "word": "erase"})


def keep_refusal(press: Callable[..., Any], of: Tenant, ad_group: str) -> None:
    """Send a form as a browser does, without what it needs: the page that says so is kept."""
    sent = {"name": f"{of.word} refused", "headline": ""}
    press(f"/ads/ad-groups/{ad_group}/ads", data=sent, headers={"Accept": "text/html"})
