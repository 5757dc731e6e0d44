"""The picture of a form: uploaded by those who may, frozen with the version, seen by who opens the form."""

from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import httpx2
import pytest
from PIL import Image

from contatto.accounts.model import Role
from contatto.forms import actions
from contatto.forms.store import form_pictures
from contatto.kit.db.tx import Tx
from contatto.kit.ids import new_id
from contatto.kit.untrusted_files import PICTURE_LIMIT
from contatto.kit.uploads import KEEP_UNUSED
from tests.forms.edges import offer
from tests.forms.test_pages import make_form, save
from tests.inbox.test_photos import picture
from tests.journeys.running import House, csrf_of, running_house
from tests.leads.test_center_pages import sign_in_as
from tests.unchanged import nothing_changes


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with running_house(tmp_path) as running:
        running.sign_in()
        yield running


def upload(house: House, builder: str, body: bytes, token: str = "") -> httpx2.Response:
    token = token or csrf_of(house.client.get("/forms").text)
    headers = {"X-CSRF-Token": token, "Content-Type": "application/octet-stream"}
    return house.client.post(f"{builder}/photos", content=body, headers=headers)


def test_a_picture_is_shown_in_the_preview_and_frozen_with_the_version(house: House) -> None:
    version = offer(house)
    builder = f"/forms/{version.form_id}"
    image = upload(house, builder, picture()).json()["image"]
    path = f"/form-pictures/{house.business_id}/{image}"
    typed = {"image": image, "w:image_alt": 'A "kitchen"', "lang": "en"}
    assert save(house, builder, **typed).status_code == 303
    shown = f'<img class="sheet__image" src="{path}" alt="A &#34;kitchen&#34;">'
    assert shown in house.client.get(builder).text
    assert shown in house.client.get(f"{builder}/test").text
    chat = f"/chat/{house.webchat_id}"
    assert path not in house.client.get(chat).text, "what is published stays as it is"

    assert save(house, builder, do="publish").status_code == 303
    assert save(house, builder, image="").status_code == 303
    assert path not in house.client.get(builder).text
    house.client.cookies.clear()
    assert shown in house.client.get(chat).text
    answer = house.client.get(path)
    assert Image.open(BytesIO(answer.content)).size == (30, 20)
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"<svg onload=alert(1)>", 415), (b"\x89PNG<script>", 415), (b"x" * (PICTURE_LIMIT + 1), 413)],
)
def test_what_is_no_picture_or_too_large_is_not_kept(house: House, body: bytes, status: int) -> None:
    builder = make_form(house)
    with nothing_changes(house.context.db):
        answer = upload(house, builder, body)
    assert answer.status_code == status
    assert answer.headers["x-message"]


def test_a_picture_needs_the_right_the_token_and_a_form_of_the_business(house: House) -> None:
    builder = make_form(house)
    other = house.context.db.write_now(lambda tx: actions.create_form(tx, new_id(), "Theirs", "en").id)
    with nothing_changes(house.context.db):
        assert upload(house, builder, picture(), token="wrong").status_code == 403
        assert upload(house, f"/forms/{other}", picture()).status_code == 404
    sign_in_as(house, Role.AGENT)
    with nothing_changes(house.context.db):
        assert upload(house, builder, picture(), csrf_of(house.client.get("/inbox").text)).status_code == 403


def test_a_draft_names_only_a_picture_of_the_business(house: House) -> None:
    builder = make_form(house)
    with nothing_changes(house.context.db):
        assert save(house, builder, image="0" * 64).status_code == 422
    assert save(house, builder, image="../../etc/passwd").status_code == 303
    assert "sheet__image" not in house.client.get(builder).text
    image = upload(house, builder, picture()).json()["image"]
    for path in (f"/form-pictures/{new_id()}/{image}", f"/form-pictures/{house.business_id}/{'0' * 64}",
                 f"/form-pictures/x/{image}"):  # fmt: skip
        assert house.client.get(path).status_code == 404


def test_a_picture_that_no_form_shows_is_forgotten_after_a_day(house: House) -> None:
    builder = make_form(house)
    kept, lost = (upload(house, builder, picture(red)).json()["image"] for red in (1, 2))
    assert save(house, builder, image=kept).status_code == 303
    db = house.context.db
    assert db.write_now(form_pictures.purge) == 0, "a draft may still be saved with it"
    old = {"created_at": house.context.clock.now() - KEEP_UNUSED - timedelta(seconds=1)}

    def age(tx: Tx) -> None:
        tx.execute(form_pictures.table.update().values(**old))

    db.write_now(age)
    assert db.write_now(form_pictures.purge) == 1
    assert house.client.get(f"/form-pictures/{house.business_id}/{kept}").status_code == 200
    assert house.client.get(f"/form-pictures/{house.business_id}/{lost}").status_code == 404


def test_the_preview_fills_in_an_example_where_the_chat_would(house: House) -> None:
    builder = make_form(house)
    assert "Taken from your messages" not in house.client.get(builder).text
    assert save(house, builder, **{"q:q2:prefill": "1"}).status_code == 303
    preview = house.client.get(builder).text.partition('id="builder-phone"')[2]
    assert 'value="test-' in preview
    assert "Taken from your messages. Please check it." in preview
