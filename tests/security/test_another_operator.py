"""An operator that admitted a business, with an owner's session and all scopes, sees none of its life.

What it shows of the business is the name, and its ads as a viewer sees them; no chat, no lead, no contact
value, and no row changes. A business sees nothing of what an operator shares with another one.
"""

from dataclasses import dataclass

import pytest

from contatto.accounts.actions import NewMember, add_member, issue_token
from contatto.accounts.model import BusinessId, Credential, Permission, Role
from contatto.accounts.store import find_business, list_ad_accounts
from contatto.kit.db.tx import Tx, metadata
from contatto.operators import actions as operators_actions
from contatto.operators.model import Category
from tests.journeys.running import PASSWORD, weak_hash
from tests.security.holdings import changed_tables, rows_of
from tests.security.routes import Way, private_ways
from tests.security.samples import attempts_of
from tests.security.world import World

NOT_ASKED = {"GET /live", "POST /logout"}
"""An open stream, and what ends the session."""
WAYS = [
    way
    for way in private_ways()
    if way.name not in NOT_ASKED and way.credential in (Credential.MEMBER, Credential.PROGRAM)
]
"""What a session or a token opens; the secret of an app opens its own alone, whoever sends it."""
SECRETS = ("leads", "conversations", "messages", "contact_points", "form_answers", "ad_groups", "campaigns")
"""What the operator must know no id of."""


@dataclass(frozen=True, slots=True)
class Host:
    """An operator that admitted both tenants of the world."""

    operator_id: str
    session: str
    token: str


@pytest.fixture(scope="module")
def host(world: World) -> Host:
    hashed = weak_hash(PASSWORD)

    def work(tx: Tx) -> tuple[str, str]:
        operator = operators_actions.open_operator(tx, "The Host", "UTC")
        tenant = BusinessId(operator.business_id)
        for each in (world.victim, world.attacker):
            business = find_business(tx, BusinessId(each.business_id))
            assert business is not None
            code = operators_actions.make_code(tx, operator)
            made = operators_actions.join_by_code(tx, code, business, Category.OTHER)
            operators_actions.send_ads(tx, made)
            account = list_ad_accounts(tx, business.id)[0]
            operators_actions.pay_operator(tx, operator, account.id, 7_654_321_000, f"{each.word} transfer")
        add_member(tx, tenant, NewMember("host@example.com", "Host", Role.OWNER), hashed)
        return operator.business_id, issue_token(tx, tenant, "all", list(Permission))[1]

    operator_id, token = world.context.db.write_now(work)
    return Host(operator_id, world.log_in("host@example.com", PASSWORD), token)


@pytest.fixture(scope="module")
def secrets(world: World) -> set[str]:
    """Ids of what an operator has nothing to do with, and contact values of people; no test changes them."""
    of = world.victim

    def work(tx: Tx) -> set[str]:
        found: set[str] = set()
        for name in SECRETS:
            table = metadata.tables[name]
            wanted = table.select().where(table.c.business_id == of.business_id)
            found |= {str(row["id"]) for row in tx.execute(wanted).mappings()}
        return found

    return world.context.db.read_now(work) | set(of.phones)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_an_operator_reaches_nothing_of_a_business_but_what_is_shared(
    world: World, host: Host, secrets: set[str], way: Way
) -> None:
    victim = world.victim
    attempts = attempts_of(world, victim, way)
    before = rows_of(world, victim)  # the samples are read as the victim
    for attempt in attempts:
        by = {"session": host.session} if way.credential is Credential.MEMBER else {"token": host.token}
        answer = attempt.send(world, **by)
        assert answer.status_code < 500, (attempt, answer.text[-300:])
        told = {each for each in secrets if each in answer.text and each not in repr(attempt)}
        assert told == set(), attempt
    assert changed_tables(before, rows_of(world, victim)) == set()


def test_a_business_sees_nothing_of_what_is_shared_with_another(world: World, host: Host) -> None:
    attacker = world.attacker
    for way in WAYS:
        if way.method != "GET":
            continue
        for attempt in attempts_of(world, attacker, way):
            is_page = way.credential is Credential.MEMBER
            by = {"session": attacker.owner} if is_page else {"token": attacker.token}
            assert "zanzibar transfer" not in attempt.send(world, **by).text, attempt
    wanted = {"advertiser_id": world.victim.advertiser_id}
    for token in (attacker.token, host.token):
        path = "/open_api/v1.3/advertiser/balance/get/"
        assert world.ask("GET", path, token=token, params=wanted).json()["code"] != 0
