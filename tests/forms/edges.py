"""The doors of a form through the running app: a customer who opened it a while ago, and a member."""

import time
from typing import Any

import httpx2

from contatto.forms import actions
from contatto.forms.model import Content, FormVersion
from contatto.forms.rules.answers import sign_opening
from contatto.inbox.pages.chat import OPENING_KEY
from contatto.kit.db.tx import Tx
from contatto.ui.render import VISITOR_KEY, cookie_name, public_id
from tests.forms.papers import published
from tests.journeys.running import House, csrf_of


def offer(house: House, of: Content | None = None) -> FormVersion:
    """Publish a form and show it in the chats of our own page."""

    def work(tx: Tx) -> FormVersion:
        version = published(tx, house.business_id, of)
        actions.set_default_form(tx, house.business_id, house.webchat_id, version.form_id)
        return version

    return house.context.db.write_now(work)


def opened(house: House, version: FormVersion, ago_s: int = 30) -> str:
    """Return the token that this client's visitor opened the form some seconds ago."""
    house.client.get(f"/chat/{house.webchat_id}")
    return opening_of(house, version, house.client.cookies[cookie_name(house.webchat_id)], ago_s)


def opening_of(house: House, version: FormVersion, cookie: str, ago_s: int = 30) -> str:
    """Return the token that the visitor of a chat cookie opened the form some seconds ago."""
    secret = cookie.partition(".")[0]
    visitor = public_id(secret, house.webchat_id, house.context.vault.derivation_key(VISITOR_KEY))
    signer = house.context.vault.signer(OPENING_KEY)
    return sign_opening(version.number, visitor, int(time.time()) - ago_s, signer)


def send(house: House, version: FormVersion, answers: dict[str, Any], **changes: Any) -> httpx2.Response:
    body = {
        "page_id": str(version.number), "opening": opened(house, version), "submission_id": "submission-1",
        "language": "en", "answers": answers, "consents": ["c1"],
    } | changes  # fmt: skip
    return house.client.post(f"/chat/{house.webchat_id}/form", json=body)


def post(house: House, path: str, page: str, **form: Any) -> httpx2.Response:
    token = csrf_of(house.client.get(page).text)
    return house.client.post(path, data=form | {"csrf_token": token}, follow_redirects=False)
