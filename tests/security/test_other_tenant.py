"""Another tenant, with its owner's session and a token of all scopes, reaches no row, no word and no id.

Each request is one that the attacker may make with ids of its own, in whose places stand those of the victim:
all at once, then each alone.
"""

import json
from collections.abc import Iterator
from dataclasses import replace

import httpx2
import pytest

from contatto.accounts.model import Credential, Role
from contatto.ads.store import list_welcome_messages
from contatto.forms.actions import find_published
from contatto.kit.db.tx import Tx
from contatto.kit.ids import new_id
from tests.security.attempts import Attempt, Others
from tests.security.filling import settle
from tests.security.holdings import all_ids, changed_tables, foreign_ids, rows_of, told_of
from tests.security.routes import Way, private_ways, way_named
from tests.security.samples import attempts_of
from tests.security.world import Tenant, World
from tests.unchanged import Rows

ENDS_SESSION = "POST /logout"
SHOWS_AS_SENT = {
    "GET /settings/audit", "GET /open_api/v1.3/contatto/audit/list/", "GET /leads/jobs/{job_id}",
    "POST /leads/{lead_id}/points/{point_id}",
}  # fmt: skip
"""They show the attacker what its own requests named or wrote."""
NEVER_ENDS = "GET /live"
"""An open stream; it is asked for the victim's events in test_revoked and by its own tests."""


@pytest.fixture(scope="module")
def before(world: World) -> Rows:
    """What the victim had before the attack."""
    return rows_of(world, world.victim)


@pytest.fixture(scope="module")
def others(world: World) -> Others:
    return Others(world.attacker.ids, world.victim.ids)


def send(world: World, attempt: Attempt, tenant: Tenant) -> httpx2.Response:
    if attempt.way.credential is Credential.MEMBER:
        return attempt.send(world, session=tenant.owner)
    return attempt.send(world, token=tenant.token)


def is_refused(answer: httpx2.Response) -> bool:
    if answer.headers.get("content-type", "").startswith("application/json") and "code" in answer.json():
        return answer.json()["code"] != 0
    return answer.status_code >= 400


def smuggled(attempt: Attempt, victim: Tenant) -> Attempt:
    """The same with fields that nobody asked for, which name the victim."""
    more = {"business_id": victim.business_id, "advertiser_id": victim.advertiser_id,
            "member_id": victim.members[Role.OWNER], "account_id": victim.webchat_id}  # fmt: skip
    pairs = tuple(more.items())
    query = (*attempt.query, *pairs)
    if isinstance(attempt.body, dict):
        return replace(attempt, query=query, body=more | attempt.body)
    return replace(attempt, query=query, form=None if attempt.form is None else (*pairs, *attempt.form))


def of_nobody(attempt: Attempt, ids: set[str]) -> Attempt:
    """The same with ids in the path that are nobody's."""
    parts = attempt.path.split("/")
    made = [("9" * 18 if part.isdigit() else new_id()) if part in ids else part for part in parts]
    return replace(attempt, path="/".join(made))


def attacks(world: World, way: Way, others: Others) -> Iterator[Attempt]:
    for attempt in attempts_of(world, world.attacker, way):
        yield from attempt.swapped(others)
        yield smuggled(attempt, world.victim)


NAMED_IN_ADS = {
    "POST /open_api/v1.3/ad/create/": ("auto_message_id", "page_id"),
    "POST /open_api/v1.3/ad/update/": ("auto_message_id", "page_id"),
    "POST /open_api/v1.3/adgroup/create/": ("page_id",),
    "POST /open_api/v1.3/smart_plus/ad/create/": ("auto_message_id", "page_id"),
    "POST /open_api/v1.3/smart_plus/ad/update/": ("auto_message_id", "page_id"),
    "POST /open_api/v1.3/smart_plus/adgroup/create/": ("page_id",),
}
"""Ids in bodies that are numbers, which another tenant can guess or learn."""


@pytest.mark.parametrize("name", NAMED_IN_ADS)
def test_an_ad_with_a_message_or_form_of_another_tenant_is_refused(world: World, name: str) -> None:
    """An id of nobody gets the same answer, so that it tells nothing of what another tenant has."""
    victim, attacker = world.victim, world.attacker
    (attempt,) = attempts_of(world, attacker, way_named(name))
    for place in NAMED_IN_ADS[name]:
        own, theirs = attacker.ids[place][0], victim.ids[place][0]
        answers = []
        for stranger in (theirs, "7" * 19):
            body = json.loads(json.dumps(attempt.body).replace(f'"{own}"', f'"{stranger}"'))
            assert body != attempt.body, f"{name} names no {place}"
            answers.append(send(world, replace(attempt, body=body), attacker).json())
        assert [answer["code"] for answer in answers] == [40002, 40002], answers
        assert answers[0]["message"] == answers[1]["message"]


@pytest.mark.parametrize("way", private_ways(), ids=str)
def test_ids_of_another_tenant_open_nothing(world: World, before: Rows, others: Others, way: Way) -> None:
    if way.name in (ENDS_SESSION, NEVER_ENDS):
        return
    ids = all_ids(world.victim)
    for attempt in attacks(world, way, others):
        answer = send(world, attempt, world.attacker)
        assert answer.status_code < 500, (attempt, answer.text[-300:])
        unsaid = set() if way.name in SHOWS_AS_SENT else ids
        assert not told_of(world.victim, unsaid, answer.text, repr(attempt)), attempt
        if any(part in ids for part in attempt.path.split("/")) and not is_refused(answer):
            # What is taken away twice, say, is gone both times: then it must not matter whose id it was.
            assert send(world, of_nobody(attempt, ids), world.attacker).status_code == answer.status_code, (
                attempt
            )
    assert changed_tables(before, rows_of(world, world.victim)) == set()
    if way.changes:
        assert foreign_ids(rows_of(world, world.attacker), world.victim) == {}


def test_an_ad_that_names_what_is_another_tenants_shows_nothing_of_it(world: World) -> None:
    """A form and a welcome message are found among those of the business alone."""
    victim, attacker = world.victim, world.attacker

    def look(tx: Tx) -> list[object]:
        of = attacker.business_id, attacker.ids["ad_account_id"][0]
        messages = [int(each) for each in victim.ids["auto_message_id"]]
        return [*(find_published(tx, attacker.business_id, each) for each in victim.ids["page_id"]),
                *list_welcome_messages(tx, *of, messages)]  # fmt: skip

    assert not any(world.context.db.read_now(look))


def test_what_the_attack_left_to_the_background_reaches_nothing_either(world: World, before: Rows) -> None:
    """Runs last: jobs, pushes and replies that the attacker began are carried out."""
    settle(world)
    assert changed_tables(before, rows_of(world, world.victim)) == set()
    assert foreign_ids(rows_of(world, world.attacker), world.victim) == {}
