"""A tenant's ads as publishers ask for them: what is decided is written down, seen and learned from."""

from typing import Any

from contatto.delivery.actions.results import LookalikeFinder
from tests.journeys.running import flush_decisions
from tests.security.world import Tenant, World


def decide(world: World, of: Tenant, viewer: str, *, consent: bool = False) -> Any:
    """Ask for an ad, and give the one that was chosen."""
    wanted = {"viewer_id": viewer, "country": "SG", "consent": consent}
    answer = world.ask("POST", "/delivery/decide", token=of.token, json=wanted)
    assert answer.status_code == 200, answer.text
    return answer.json()["ad"]


def fill_delivery(world: World, of: Tenant) -> None:
    """An ad that the visitor sees and taps, one that takes part in the trial, and one that nobody saw."""
    ad = decide(world, of, f"{of.word}-viewer")
    decide(world, of, f"{of.word}-passer-by")
    of.links.update(view=ad["view_url"], tap=ad["click_url"])
    in_trial = decide(world, of, f"{of.word}-reader", consent=True)
    flush_decisions(world.client)
    for path in (ad["view_url"], ad["click_url"], in_trial["view_url"]):
        answer = world.ask("GET", path, visitor=of.visitor)
        assert answer.status_code in (200, 303), answer.text
    find_lookalikes(world)


def find_lookalikes(world: World) -> None:
    """Look for the members of lookalikes, as the worker does."""
    db, finder = world.context.db, LookalikeFinder()
    while (keep := db.read_now(finder.read_next)) is not None:
        db.write_now(keep)
