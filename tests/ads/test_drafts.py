"""Drafts of the forms: whose they are, how long they stay, and the pages that keep and offer them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contatto.accounts.model import Role
from contatto.ads import store
from contatto.ads.actions.campaigns import change_status
from contatto.ads.actions.edits import (
    KEEP_DRAFTS,
    form_of,
    keep_draft,
    list_open_drafts,
    purge_drafts,
)
from contatto.ads.model import NodeKind, NodeStatus
from contatto.ads.rules.tree import AdForm, AdGroupForm, CampaignForm
from contatto.audit import count_audit_entries
from contatto.kit import errors
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock, Tx
from contatto.kit.errors import Refused
from tests.ads.test_pages import FORM, make_campaign, post
from tests.ads.world import add_chain, add_world
from tests.journeys.running import House, csrf_of, running_house
from tests.leads.test_center_pages import sign_in_as
from tests.unchanged import nothing_changes

NEW_CAMPAIGN = (NodeKind.CAMPAIGN, 0)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house(tmp_path) as running:
        running.sign_in()
        yield running


def test_a_draft_is_kept_once_for_each_form_of_a_member_and_reads_as_it_was_typed(database: Database) -> None:
    def work(tx: Tx) -> None:
        world = add_world(tx)
        group = (NodeKind.AD_GROUP, add_chain(tx, world).campaign.number)
        owner = (world.id, "member-1")
        keep_draft(tx, owner, group, AdGroupForm(name="Lunch"))
        last = AdGroupForm(name="Lunch people", countries=("SG", "MY"), goal="conversation", budget="12,")
        keep_draft(tx, owner, group, last)
        keep_draft(tx, owner, NEW_CAMPAIGN, CampaignForm(name="May"))
        draft = store.find_draft(tx, *owner, group)
        assert draft
        assert form_of(draft) == last
        shown = [(one.kind, one.name, one.parent_name) for one in list_open_drafts(tx, owner)]
        assert sorted(shown) == [
            (NodeKind.AD_GROUP, "Lunch people", "November"),
            (NodeKind.CAMPAIGN, "May", ""),
        ]
        store.delete_draft(tx, *owner, group)
        assert store.find_draft(tx, *owner, group) is None
        assert store.find_draft(tx, *owner, NEW_CAMPAIGN)

    database.write_now(work)


def test_nobody_else_sees_or_drops_a_draft(database: Database) -> None:
    def work(tx: Tx) -> None:
        world, other = add_world(tx), add_world(tx)
        owner = (world.id, "member-1")
        keep_draft(tx, owner, NEW_CAMPAIGN, CampaignForm(name="May"))
        for stranger in ((world.id, "member-2"), (other.id, "member-1")):
            assert store.find_draft(tx, *stranger, NEW_CAMPAIGN) is None
            assert list_open_drafts(tx, stranger) == []
            store.delete_draft(tx, *stranger, NEW_CAMPAIGN)
        assert store.find_draft(tx, *owner, NEW_CAMPAIGN)

    database.write_now(work)


def test_a_draft_stands_only_in_what_is_the_businesss_own_and_not_deleted(database: Database) -> None:
    def work(tx: Tx) -> None:
        world, other = add_world(tx), add_world(tx)
        chain, theirs = add_chain(tx, world), add_chain(tx, other)
        owner = (world.id, "member-1")
        for place in (
            (NodeKind.AD_GROUP, theirs.campaign.number),
            (NodeKind.AD, theirs.ad_group.number),
            (NodeKind.AD, 1),
        ):
            with pytest.raises(Refused) as refused:
                keep_draft(tx, owner, place, AdForm(name="Mine"))
            assert refused.value.code is errors.NOT_FOUND
        keep_draft(tx, owner, (NodeKind.AD, chain.ad_group.number), AdForm(headline="Coffee?"))
        [shown] = list_open_drafts(tx, owner)
        assert (shown.name, shown.parent_name) == ("", chain.ad_group.name)
        change_status(tx, world.ad_account, NodeKind.CAMPAIGN, [chain.campaign.number], NodeStatus.DELETED)
        assert list_open_drafts(tx, owner) == []

    database.write_now(work)


def test_the_worker_drops_drafts_that_were_not_touched_for_a_month(
    database: Database, clock: FixedClock
) -> None:
    def begin(tx: Tx) -> tuple[str, str]:
        world = add_world(tx)
        keep_draft(tx, (world.id, "member-1"), NEW_CAMPAIGN, CampaignForm(name="Old"))
        return world.id, "member-2"

    newer = database.write_now(begin)
    clock.advance(days=1)
    database.write_now(lambda tx: keep_draft(tx, newer, NEW_CAMPAIGN, CampaignForm(name="New")))
    clock.advance(days=KEEP_DRAFTS.days, hours=-1)
    assert database.write_now(purge_drafts) == 1
    assert database.read_now(lambda tx: store.find_draft(tx, *newer, NEW_CAMPAIGN))
    assert database.write_now(purge_drafts) == 0


def put(house: House, path: str, **form: Any) -> Any:
    token = csrf_of(house.client.get("/ads").text)
    return house.client.put(path, data=form, headers={"X-CSRF-Token": token})


def test_an_ad_group_that_was_half_typed_is_offered_continued_and_gone_once_it_is_made(house: House) -> None:
    campaign = make_campaign(house)
    draft, page = f"/ads/drafts/ad-groups/{campaign}", f"/ads/campaigns/{campaign}/ad-groups/new"
    half = {"name": "Lunch <people>", "country": ["SG", "MY"], "budget": "", "goal": "conversation"}
    assert put(house, draft, **half, company_name="not a field of it").status_code == 200

    offered = house.client.get(page).text
    assert "You have a draft of this form." in offered
    assert "data-draft=" not in offered  # typing into it must not write over what is offered
    assert "Lunch" not in offered
    goes_on = house.client.get(f"{page}?draft=continue").text
    assert 'value="Lunch &lt;people&gt;"' in goes_on
    assert 'name="country" value="MY" checked' in goes_on
    assert 'value="conversation" checked' in goes_on
    assert f'data-draft="{draft}"' in goes_on
    listed = house.client.get("/ads").text
    assert f'href="{page}?draft=continue"' in listed
    assert "Lunch &lt;people&gt;" in listed

    wrong = post(house, f"/ads/campaigns/{campaign}/ad-groups", **FORM | {"name": " "})
    assert wrong.status_code == 422
    assert f'data-draft="{draft}"' in wrong.text
    assert "?draft=continue" in house.client.get("/ads").text
    form = FORM | {"channel_account_id": house.webchat_id}
    assert post(house, f"/ads/campaigns/{campaign}/ad-groups", **form).status_code == 303
    assert "?draft=continue" not in house.client.get("/ads").text
    assert "have a draft of this form" not in house.client.get(page).text


def test_drafts_of_campaigns_and_ads_vanish_with_the_making_of_them(house: House) -> None:
    group = house.make_ad("CONVERSATION")["adgroup_id"]
    assert put(house, "/ads/drafts/campaigns/0", name="May").status_code == 200
    assert put(house, f"/ads/drafts/ads/{group}", headline="Coffee?", body="Come in").status_code == 200
    assert 'value="May"' in house.client.get("/ads/campaigns/new?draft=continue").text
    ad = house.client.get(f"/ads/ad-groups/{group}/ads/new?draft=continue").text
    assert 'value="Coffee?"' in ad
    assert "Come in</textarea>" in ad
    make_campaign(house)
    assert post(house, f"/ads/ad-groups/{group}/ads", name="First", headline="Coffee?").status_code == 303
    assert "?draft=continue" not in house.client.get("/ads").text


def test_a_draft_is_discarded_from_its_form_and_from_the_list(house: House) -> None:
    for back, target in (("form", "/ads/campaigns/new"), ("list", "/ads")):
        put(house, "/ads/drafts/campaigns/0", name="May")
        answer = post(house, "/ads/drafts/campaigns/0/discard", back=back)
        assert (answer.status_code, answer.headers["location"]) == (303, target)
        assert 'value="May"' not in house.client.get("/ads/campaigns/new?draft=continue").text


def test_autosaving_leaves_the_audit_log_alone(house: House) -> None:
    def acts() -> int:
        return house.context.db.read_now(lambda tx: count_audit_entries(tx, house.business_id))

    before = acts()
    put(house, "/ads/drafts/campaigns/0", name="May")
    assert acts() == before


def test_a_refused_draft_changes_no_row(house: House) -> None:
    with nothing_changes(house.context.db):
        assert house.client.put("/ads/drafts/campaigns/0", data={"name": "May"}).status_code == 403
        assert put(house, "/ads/drafts/ad-groups/1", name="May").status_code == 404
        assert put(house, "/ads/drafts/nothing/1", name="May").status_code in (404, 422)
        assert house.client.post("/ads/drafts/campaigns/0/discard").status_code == 403


def test_who_may_not_make_ads_keeps_no_drafts_of_them(house: House) -> None:
    sign_in_as(house, Role.AGENT)
    token = csrf_of(house.client.get("/leads").text)
    with nothing_changes(house.context.db):
        answer = house.client.put(
            "/ads/drafts/campaigns/0", data={"name": "May"}, headers={"X-CSRF-Token": token}
        )
        assert answer.status_code == 403
