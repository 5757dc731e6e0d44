"""The pages of audiences through the running app."""

import hashlib
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from contatto.accounts import store as accounts
from contatto.accounts.model import AdAccount, BusinessId
from contatto.ads.actions.campaigns import AdGroupChanges, update_ad_group
from contatto.audiences import store
from contatto.audiences.actions import NewAudience, create_audience, upload_file
from contatto.audiences.model import Audience, ListKind
from contatto.kit.db.tx import Tx
from tests.ads.world import add_world
from tests.journeys.running import House, csrf_of, running_house
from tests.unchanged import all_rows, nothing_changes

MEI = hashlib.sha256(b"mei@example.com").hexdigest()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house(tmp_path) as running:
        running.sign_in()
        yield running


def post(house: House, path: str, **form: str) -> Any:
    data = form | {"csrf_token": csrf_of(house.client.get("/ads").text)}
    return house.client.post(path, data=data, follow_redirects=False)


def account_of(tx: Tx, house: House) -> AdAccount:
    found = accounts.find_ad_account(tx, BusinessId(house.business_id), number=int(house.advertiser_id))
    assert found is not None
    return found


def audiences(house: House) -> list[Audience]:
    def look(tx: Tx) -> list[Audience]:
        account = account_of(tx, house)
        return store.list_audiences(tx, account.business_id, account.id)

    return house.context.db.read_now(look)


def make_list(house: House, text: str = "mei@example.com", **form: str) -> Any:
    new = {"advertiser_id": house.advertiser_id, "name": "Regulars", "kind": "EMAIL_SHA256", "text": text}
    return post(house, "/ads/audiences", **(new | form))


def words(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def test_a_list_becomes_an_audience_and_its_values_come_to_rest_nowhere(house: House) -> None:
    assert "No audiences yet" in house.client.get("/ads/audiences").text
    answer = make_list(house, "email\nmei@example.com\nann@example.com\n")
    assert (answer.status_code, answer.headers["location"]) == (303, "/ads/audiences")
    page = words(house.client.get("/ads/audiences").text)
    assert "Regulars Main Ready 2 List of e-mail addresses Nothing" in page
    rows = repr(all_rows(house.context.db))
    assert MEI not in rows
    assert "mei@example.com" not in rows


def test_wrong_lines_are_named_and_left_out_only_when_asked(house: House) -> None:
    text = "mei@example.com\n<b>nobody\nann@example.com"
    with nothing_changes(house.context.db):
        answer = make_list(house, text)
    assert answer.status_code == 422
    assert "1 line cannot be used." in answer.text
    assert "Line 2: No valid e-mail address found." in words(answer.text)
    assert "&lt;b&gt;nobody" in answer.text
    assert make_list(house, text, leave_out="true").status_code == 303
    page = words(house.client.get("/ads/audiences").text)
    assert "Ready 2" in page
    assert make_list(house, "nobody", leave_out="true").status_code == 422


def test_a_mistake_in_the_form_comes_back_beside_its_field(house: House) -> None:
    with nothing_changes(house.context.db):
        nameless, empty = make_list(house, name=" "), make_list(house, "")
    assert 'id="name-error"' in nameless.text
    assert "mei@example.com" in nameless.text
    assert (nameless.status_code, empty.status_code) == (422, 422)


def test_a_form_that_is_sent_twice_makes_one_audience(house: House) -> None:
    page = house.client.get("/ads/audiences/new").text
    once = page.partition('name="once" value="')[2].partition('"')[0]
    assert [make_list(house, once=once).status_code for _ in range(2)] == [303, 303]
    [audience] = audiences(house)
    form = {"once": once, "name": "Like them", "source": str(audience.number), "size": "NARROW"}
    answers = [post(house, "/ads/audiences/lookalikes", **form).status_code for _ in range(2)]
    assert answers == [303, 303]
    assert len(audiences(house)) == 2
    assert "Like them Main Processing" in words(house.client.get("/ads/audiences").text)


def test_an_audience_says_where_it_is_used_and_is_deleted_when_it_is_not(house: House) -> None:
    make_list(house)
    [audience] = audiences(house)
    group = house.make_ad("LEAD_GENERATION")["adgroup_id"]

    def use(tx: Tx, **targeting: tuple[str, ...]) -> None:
        update_ad_group(tx, account_of(tx, house), int(group), AdGroupChanges(targeting=targeting))

    delete = f"/ads/audiences/{audience.number}/delete"
    for part in ("audience_ids", "excluded_audience_ids"):
        used = {"audience_ids": (), "excluded_audience_ids": (), part: (str(audience.number),)}
        house.context.db.write_now(lambda tx, used=used: use(tx, **used))  # type: ignore[misc]
        page = house.client.get("/ads/audiences").text
        assert f'href="/ads?q={group}"' in page
        assert delete not in page
        with nothing_changes(house.context.db):
            assert post(house, delete).status_code == 409
            assert deleted_by_api(house, audience) == 40002
    house.context.db.write_now(lambda tx: use(tx, audience_ids=(), excluded_audience_ids=()))
    post(house, "/ads/audiences/lookalikes", name="Like them", source=str(audience.number), size="BROAD")
    assert post(house, delete).status_code == 409
    likes = audiences(house)[0]
    assert deleted_by_api(house, audience) == 40002
    assert deleted_by_api(house, audience, likes) == 0, "what uses it goes as well"
    assert audiences(house) == []
    make_list(house)
    assert post(house, f"/ads/audiences/{audiences(house)[0].number}/delete").status_code == 303


def deleted_by_api(house: House, *gone: Audience) -> int:
    """The code that the API answers."""
    ids = [str(each.number) for each in gone]
    answer = house.api("POST", "/dmp/custom_audience/delete/", custom_audience_ids=ids)
    return int(answer["code"])


def test_an_audience_of_another_business_is_not_there(house: House) -> None:
    def build(tx: Tx) -> Audience:
        other = add_world(tx).ad_account
        file = upload_file(tx, other, ListKind.EMAIL.value, (bytes(16),))
        new = NewAudience("Strangers", calculate_type=ListKind.EMAIL.value)
        return create_audience(tx, other, new, [file.path])

    audience = house.context.db.write_now(build)
    assert "Strangers" not in house.client.get("/ads/audiences").text
    with nothing_changes(house.context.db):
        assert post(house, f"/ads/audiences/{audience.number}/delete").status_code == 404
        likes = {"name": "Like them", "source": str(audience.number), "size": "BROAD"}
        assert post(house, "/ads/audiences/lookalikes", **likes).status_code == 404
        assert make_list(house, advertiser_id="7").status_code == 404
        assert house.client.post(f"/ads/audiences/{audience.number}/delete").status_code == 403
