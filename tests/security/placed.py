"""A tenant's ads in the placement of an operator: admitted, reviewed, paid for, seen and charged."""

from contatto.accounts.actions import issue_token
from contatto.accounts.model import BusinessId, Permission
from contatto.accounts.store import find_business, list_ad_accounts
from contatto.kit.db.tx import Tx
from contatto.operators import actions as operators_actions
from contatto.operators import store as operators_store
from contatto.operators.model import Category, Placement, ReviewState
from tests.security.world import Tenant, World


def open_marketplace(world: World, of: Tenant) -> str:
    """An operator that nobody else of the world has to do with; its token comes back."""

    def work(tx: Tx) -> str:
        operator = operators_actions.open_operator(tx, f"{of.word} forum", "UTC", is_listed=False)
        wanted = Placement("", "", f"{of.word} page", "SGD", 1_000_000, (), (), 5, True, tx.now)
        operators_actions.add_placement(tx, operator, wanted)
        business = find_business(tx, BusinessId(of.business_id))
        assert business is not None
        made = operators_actions.join_by_code(
            tx, operators_actions.make_code(tx, operator), business, Category.FOOD
        )
        operators_actions.send_ads(tx, made)
        for each in operators_store.list_reviews(tx, operator.business_id):
            operators_actions.decide_review(tx, operator, each.ad_id, each.digest, ReviewState.APPROVED)
        for account in list_ad_accounts(tx, business.id):
            operators_actions.pay_operator(tx, operator, account.id, 1_000_000, f"{of.word} paid")
        scopes = [Permission.READ_ADS.value]
        return issue_token(tx, BusinessId(operator.business_id), "site", scopes)[1]

    return world.context.db.write_now(work)


def fill_marketplace(world: World, of: Tenant) -> None:
    """Somebody sees an ad of the tenant's in a placement of that operator."""
    token = open_marketplace(world, of)
    wanted = {"viewer_id": f"{of.word}-reader", "country": "SG", "placement": f"{of.word} page"}
    answer = world.ask("POST", "/delivery/decide", token=token, json=wanted)
    assert answer.status_code == 200, answer.text
    assert world.ask("GET", answer.json()["ad"]["view_url"]).status_code == 200
