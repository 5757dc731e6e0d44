"""Nobody is offered what they may not open: every link and form of every page that a role may see."""

import pytest

from contatto.accounts.model import Role
from contatto.accounts.rules import ROLE_PERMISSIONS
from tests.security.pages import offered_to
from tests.security.world import World


@pytest.mark.parametrize("role", list(Role))
def test_what_a_role_is_offered_is_what_it_may_use(world: World, role: Role) -> None:
    session = world.attacker.sessions[role]
    found = offered_to(world, session)
    refused = sorted(
        {
            f"{place} offers {attempt.way.name}"
            for place, attempt in found
            if attempt.way.permission is not None and attempt.way.permission not in ROLE_PERMISSIONS[role]
        }
    )
    assert not refused
    assert len(found) > 10, "too few pages were seen to prove anything"
