"""What we signed for one purpose is refused for every other: each token at each door that takes one."""

from collections.abc import Callable
from urllib.parse import unquote

import httpx2
import pytest

from contatto.ui.render import VISITOR_KEY, Carrier, public_id, sign_visitor
from tests.security.world import Tenant, World
from tests.unchanged import nothing_changes

DOORS: dict[str, Callable[[World, str, str], httpx2.Response]] = {
    "form": lambda world, token, _: world.ask("GET", f"/form/{token}"),
    "media": lambda world, token, _: world.ask("GET", "/media", params={"token": token}),
    "invitation": lambda world, token, _: world.ask("GET", f"/invitations/{token}"),
    "reset": lambda world, token, _: world.ask("GET", f"/password/reset/{token}"),
    "view": lambda world, token, _: world.ask("GET", f"/t/v/{token}"),
    "tap": lambda world, token, _: world.ask("GET", f"/t/c/{token}"),
    "cookie": lambda world, token, chat: world.ask("GET", f"/chat/{chat}/messages", visitor=token),
    "frame": lambda world, token, chat: world.ask("GET", f"/chat/{chat}/messages", params={"v": token}),
}
"""Each asks with a token, at the chat of an account where it is one of a chat."""


def tokens_of(world: World, tenant: Tenant) -> dict[str, str]:
    """One of each kind that somebody of this business, or a customer of theirs, can hold."""
    vault = world.context.vault
    secret = tenant.visitor.partition(".")[0]
    links = {name: unquote(link.rpartition("/")[2].rpartition("=")[2]) for name, link in tenant.links.items()}
    return links | {
        "cookie": tenant.visitor,
        "frame": sign_visitor(secret, tenant.webchat_id, Carrier.FRAME, vault.signer(VISITOR_KEY)),
        "public id": public_id(secret, tenant.webchat_id, vault.derivation_key(VISITOR_KEY)),
        "secret": secret,
        "session": tenant.owner,
        "access token": tenant.token,
    }


def test_every_token_opens_its_own_door(world: World) -> None:
    for tenant in (world.victim, world.attacker):
        for name, token in tokens_of(world, tenant).items():
            if name in DOORS:
                answer = DOORS[name](world, token, tenant.webchat_id)
                assert answer.status_code in (200, 303), (name, answer.text)


@pytest.mark.parametrize("door", DOORS)
def test_no_token_opens_the_door_of_another_kind(world: World, door: str) -> None:
    for tenant in (world.victim, world.attacker):
        for name, token in tokens_of(world, tenant).items():
            if name == door:
                continue
            with nothing_changes(world.context.db):
                answer = DOORS[door](world, token, tenant.webchat_id)
                assert answer.status_code in (401, 404), (name, door, answer.status_code)


@pytest.mark.parametrize("door", ["cookie", "frame"])
def test_no_token_of_one_chat_opens_another(world: World, door: str) -> None:
    for tenant, other in ((world.victim, world.attacker), (world.attacker, world.victim)):
        for name, token in tokens_of(world, tenant).items():
            with nothing_changes(world.context.db):
                answer = DOORS[door](world, token, other.webchat_id)
                assert answer.status_code == 401, (name, door, answer.status_code)


@pytest.mark.parametrize("door", ["form", "invitation", "media", "reset", "view", "tap"])
def test_a_link_with_another_ones_signature_is_refused(world: World, door: str) -> None:
    """The body of one business's link, the signature of another's: at either end."""
    mine, theirs = (tokens_of(world, tenant)[door] for tenant in (world.victim, world.attacker))
    for size in (16, 22, 43, 64):
        for forged in {mine[:-size] + theirs[-size:], theirs[:size] + mine[size:]} - {mine}:
            with nothing_changes(world.context.db):
                answer = DOORS[door](world, forged, "")
                assert answer.status_code in (401, 404), (door, size, answer.status_code)
