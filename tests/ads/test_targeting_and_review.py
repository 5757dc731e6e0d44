"""Whom an ad group chooses, who writes over whom, and the review of ads, on both databases."""

import pytest

from contatto.ads import store
from contatto.ads.actions.campaigns import (
    AdChanges,
    AdGroupChanges,
    NewAd,
    audit_ad,
    change_status,
    create_ad,
    create_ad_group,
    update_ad,
    update_ad_group,
)
from contatto.ads.model import Ad, AdGroup, Audit, NodeKind, NodeStatus, Targeting
from contatto.ads.store import load_live_nodes
from contatto.audiences.actions import NewAudience, create_audience
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.errors import Refused
from tests.ads.world import Chain, World, add_campaign, add_chain, add_world, new_ad_group


def test_audiences_and_other_choices_are_kept_and_unknown_ones_refused(database: Database) -> None:
    def work(tx: Tx) -> tuple[World, str]:
        world = add_world(tx)
        return world, str(create_audience(tx, world.ad_account, NewAudience("Customers")).number)

    world, audience = database.write_now(work)
    campaign = database.write_now(lambda tx: add_campaign(tx, world))
    chosen = Targeting(languages=("th", "en", "en"), age_groups=("AGE_25_34",), audience_ids=(audience,))
    new = new_ad_group(campaign, targeting=chosen)
    group = database.write_now(lambda tx: create_ad_group(tx, world.id, new))
    assert (group.languages, group.audience_ids) == (("en", "th"), (audience,))
    wrong = {
        "languages": Targeting(languages=("xx",)),
        "age_groups": Targeting(age_groups=("AGE_1_2",)),
        "audience_ids": Targeting(audience_ids=("7",)),
        "excluded_audience_ids": Targeting(audience_ids=(audience,), excluded_audience_ids=(audience,)),
    }
    for field, targeting in wrong.items():
        with pytest.raises(Refused, match=f"invalid: {field}: "):
            database.write_now(
                lambda tx, targeting=targeting: create_ad_group(  # type: ignore[misc]
                    tx, world.id, new_ad_group(campaign, targeting=targeting)
                )
            )


def test_who_writes_over_a_change_that_he_has_not_seen_is_told(database: Database, clock: FixedClock) -> None:
    def work(tx: Tx) -> tuple[World, Chain]:
        world = add_world(tx)
        return world, add_chain(tx, world)

    world, chain = database.write_now(work)
    seen_at, number = chain.ad_group.updated_at, chain.ad_group.number
    clock.advance(seconds=1)
    first = AdGroupChanges(name="First", seen_at=seen_at)
    database.write_now(lambda tx: update_ad_group(tx, world.ad_account, number, first))
    late = AdGroupChanges(name="Late", seen_at=seen_at)
    with pytest.raises(Refused, match="conflict"):
        database.write_now(lambda tx: update_ad_group(tx, world.ad_account, number, late))
    kept = database.read_now(lambda tx: store.find_node(tx, AdGroup, world.id, number=number))
    assert kept is not None
    assert kept.name == "First"


def test_an_ad_in_review_is_not_live_until_the_operator_approves_it(database: Database) -> None:
    def work(tx: Tx) -> tuple[World, Ad]:
        world = add_world(tx)
        chain = add_chain(tx, world)
        change_status(tx, world.ad_account, NodeKind.AD, [chain.ad.number], NodeStatus.PAUSED)
        new = NewAd(chain.ad_group.id, "Checked", "Text")
        return world, create_ad(tx, world.id, new, needs_review=True)

    def live() -> list[str]:
        return [each.ad.id for each in database.read_now(lambda tx: load_live_nodes(tx, world.id).live)]

    world, ad = database.write_now(work)
    assert live() == []
    assert [each.id for each in database.read_now(store.list_ads_in_review)] == [ad.id]
    database.write_now(lambda tx: audit_ad(tx, ad.number, Audit.PASS))
    assert live() == [ad.id]
    changed = AdChanges(headline="Other")
    database.write_now(lambda tx: update_ad(tx, world.ad_account, ad.number, changed, needs_review=True))
    assert live() == []
    rejected = database.write_now(lambda tx: audit_ad(tx, ad.number, Audit.REJECTED, " Say the price. "))
    assert (rejected.audit, rejected.audit_reason, live()) == (Audit.REJECTED, "Say the price.", [])
    with pytest.raises(Refused, match="reason"):
        database.write_now(lambda tx: audit_ad(tx, ad.number, Audit.REJECTED, " "))
