"""Access that is taken away is gone on every server: sessions, live streams and tokens."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from contatto.accounts import actions, store
from contatto.accounts.actions import NewMember
from contatto.accounts.model import Ended, Member, Permission, Role
from contatto.delivery.actions.serving import TOKEN_TTL_S
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.ui.live import WATCH_S
from contatto.ui.render import SESSION_COOKIE
from tests.journeys.running import API, EMAIL, PASSWORD, until, weak_hash
from tests.security.servers import Served, login_form

PATIENCE_S = 60
"""What does not end would be a finding; a busy machine is none. How often it is asked stands below."""
PROGRAM = str(Path(sys.executable).with_name("contatto"))
MEI = "mei@example.com"
type Act = Callable[[Tx, Member], object]


def change_password(tx: Tx, member: Member) -> Ended:
    return actions.change_password(tx, member, weak_hash("another long password"))


def make_analyst(tx: Tx, member: Member) -> Ended:
    return actions.set_member_role(tx, member, Role.ANALYST)


ACTS: dict[str, Act] = {
    "password": change_password,
    "role": make_analyst,
    "deactivated": actions.deactivate_member,
    "signed out": actions.end_member_sessions,
}


def add_mei(served: Served, role: Role = Role.ADMIN, email: str = MEI) -> Member:
    hashed = weak_hash(PASSWORD)

    def work(tx: Tx) -> Member:
        return actions.add_member(tx, business_of(served), NewMember(email, "Mei", role), hashed)

    return served.context.db.write_now(work)


def business_of(served: Served) -> Any:
    return served.house.business_id


def do(served: Served, act: Act, email: str = MEI) -> None:
    """Do an act to a member in the first server's process; the second hears of it by the database alone."""

    def work(tx: Tx) -> None:
        [known] = store.list_members_by_email(tx, email)
        act(tx, actions.load_member(tx, known.business_id, known.id))

    served.context.db.write_now(work)


def by_command(served: Served, *words: str) -> None:
    """Do it with the operator's command, which is a process of its own."""
    settings = served.context.settings
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONTATTO_")}
    told = {"CONTATTO_DATA_DIR": str(settings.data_dir), "CONTATTO_DATABASE_URL": settings.database_url}
    done = subprocess.run([PROGRAM, *words], env=kept | told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def sign_in(served: Served, url: str, email: str = MEI, password: str = PASSWORD) -> httpx2.Client:
    return served.sign_in(url, email, password)


def is_in(client: httpx2.Client) -> bool:
    return client.get("/settings", follow_redirects=False).status_code == 200


def test_every_server_asks_more_than_once_a_second_who_may_still_come_in() -> None:
    assert max(WATCH_S, TOKEN_TTL_S) < 1


def test_sessions_and_streams_end_on_every_server(served: Served) -> None:
    """Each act is done to somebody else, and nobody but they are put out."""
    emails = {kind: f"{number}@example.com" for number, kind in enumerate(ACTS)}
    clients, streams = {}, {}
    for kind, email in emails.items():
        add_mei(served, email=email)
        clients[kind] = [sign_in(served, url, email) for url in served.urls]
        streams[kind] = [served.listen(client) for client in clients[kind]]
    owner = served.listen(sign_in(served, served.urls[1], EMAIL))
    waiting = list(ACTS)
    while waiting:
        kind = waiting.pop(0)
        do(served, ACTS[kind], emails[kind])
        assert not any(is_in(client) for client in clients[kind]), kind  # at once: each request asks
        assert all(is_in(client) for other in waiting for client in clients[other]), kind
        for stream in streams[kind]:
            stream.end.result(PATIENCE_S)
        assert not any(stream.end.done() for other in waiting for stream in streams[other]), kind
    assert not owner.end.done()


def test_the_operators_command_ends_them_too(served: Served) -> None:
    add_mei(served)
    clients = [sign_in(served, url) for url in served.urls]
    streams = [served.listen(client) for client in clients]
    by_command(served, "member", "deactivate", MEI)
    assert not any(is_in(client) for client in clients)
    for stream in streams:
        stream.end.result(PATIENCE_S)


def test_who_is_deactivated_gets_in_no_more_and_in_again_when_let(served: Served) -> None:
    add_mei(served)
    do(served, actions.deactivate_member)
    with httpx2.Client(base_url=served.urls[1], timeout=PATIENCE_S) as client:
        form = login_form(client, MEI, PASSWORD)
        assert client.post("/login", data=form).status_code == 401
    by_command(served, "member", "reactivate", MEI)
    assert is_in(sign_in(served, served.urls[1]))


def test_a_new_password_lets_in_and_the_old_one_does_not(served: Served) -> None:
    add_mei(served)
    do(served, change_password)
    assert is_in(sign_in(served, served.urls[1], password="another long password"))
    with httpx2.Client(base_url=served.urls[1], timeout=PATIENCE_S) as client:
        assert client.post("/login", data=login_form(client, MEI, PASSWORD)).status_code == 401


def test_who_changes_their_own_password_stays_where_they_are(served: Served) -> None:
    add_mei(served)
    here, there = (sign_in(served, url) for url in served.urls)
    own = here.cookies[SESSION_COOKIE]
    do(served, lambda tx, member: actions.change_password(tx, member, "x", own))
    assert is_in(here)
    assert not is_in(there)


def make_token(
    served: Served, made_by: str = "", scopes: tuple[str, ...] = tuple(Permission)
) -> tuple[str, str]:
    def work(tx: Tx) -> tuple[str, str]:
        kept, token = actions.issue_token(tx, business_of(served), "script", scopes, made_by)
        return kept.id, token

    return served.context.db.write_now(work)


def api_code(url: str, token: str) -> int:
    answer = httpx2.get(
        f"{url}{API}/oauth2/advertiser/get/", headers={"Access-Token": token}, timeout=PATIENCE_S
    )
    code: int = answer.json()["code"]
    return code


def may_decide(url: str, token: str) -> bool:
    """Whether a token gets ads: its caller is remembered, so that a request needs no SQL."""
    asked = {"viewer_id": "viewer-1", "country": "SG"}
    headers = {"Access-Token": token}
    answer = httpx2.post(f"{url}/delivery/decide", json=asked, headers=headers, timeout=PATIENCE_S)
    return answer.status_code == 200


def test_a_revoked_token_is_turned_down_on_every_server(served: Served) -> None:
    token_id, token = make_token(served)
    for url in served.urls:
        assert api_code(url, token) == 0
        assert may_decide(url, token)
    served.context.db.write_now(lambda tx: actions.revoke_token(tx, business_of(served), token_id))
    assert [api_code(url, token) for url in served.urls] == [40105, 40105]
    for url in served.urls:
        assert until(lambda url=url: not may_decide(url, token), PATIENCE_S)  # type: ignore[misc]


def test_the_command_revokes_a_token_too(served: Served) -> None:
    token_id, token = make_token(served)
    assert all(may_decide(url, token) for url in served.urls)
    by_command(served, "token", "revoke", token_id)
    assert [api_code(url, token) for url in served.urls] == [40105, 40105]
    for url in served.urls:
        assert until(lambda url=url: not may_decide(url, token), PATIENCE_S)  # type: ignore[misc]


@pytest.mark.parametrize("kind", ["password", "role", "deactivated"])
def test_tokens_and_codes_that_a_member_made_end_with_their_access(served: Served, kind: str) -> None:
    mei = add_mei(served)
    _, token = make_token(served, mei.id)
    code = served.context.db.write_now(
        lambda tx: actions.issue_auth_code(tx, business_of(served), "script", ["ads.read"], mei.id)
    )
    assert api_code(served.urls[1], token) == 0
    do(served, ACTS[kind])
    assert [api_code(url, token) for url in served.urls] == [40105, 40105]
    assert api_code(served.urls[0], served.house.token) == 0  # that of nobody in particular goes on
    body = {"app_id": "1", "secret": "2", "auth_code": code}
    answer = httpx2.post(f"{served.urls[1]}{API}/oauth2/access_token/", json=body, timeout=PATIENCE_S)
    assert answer.json()["code"] == 40110


def test_tokens_stay_where_it_is_asked_for(served: Served) -> None:
    mei = add_mei(served)
    _, token = make_token(served, mei.id)
    do(served, lambda tx, member: actions.change_password(tx, member, "x", keep_tokens=True))
    assert api_code(served.urls[1], token) == 0
    do(served, lambda tx, member: actions.set_member_role(tx, member, Role.OWNER))  # no less than before
    assert api_code(served.urls[1], token) == 0


def test_nobody_makes_a_token_after_their_access_has_ended(served: Served) -> None:
    """A request that was let in a moment before must not leave a token behind."""
    mei = add_mei(served)
    do(served, actions.deactivate_member)
    with pytest.raises(Refused):
        make_token(served, mei.id)
    do_again = served.context.db.write_now
    do_again(lambda tx: actions.reactivate_member(tx, actions.load_member(tx, mei.business_id, mei.id)))
    do(served, make_analyst)
    with pytest.raises(Refused):
        make_token(served, mei.id, ("ads.read",))


def test_the_last_owner_cannot_be_taken_away(served: Served) -> None:
    def work(tx: Tx, act: Act) -> None:
        [owner] = store.list_members_by_email(tx, EMAIL)
        act(tx, actions.load_member(tx, owner.business_id, owner.id))

    for act in (make_analyst, actions.deactivate_member):
        with pytest.raises(Refused, match="last owner"):
            served.context.db.write_now(lambda tx, act=act: work(tx, act))  # type: ignore[misc]


def write_in_chat(served: Served, text: str) -> None:
    with httpx2.Client(base_url=served.urls[0], timeout=PATIENCE_S) as visitor:
        visitor.get(f"/chat/{served.house.webchat_id}")
        body = {"client_message_id": str(uuid.uuid4()), "text": text}
        assert visitor.post(f"/chat/{served.house.webchat_id}/messages", json=body).status_code == 200


def test_an_analysts_stream_tells_nothing_of_chats_and_leads(served: Served) -> None:
    add_mei(served, Role.ANALYST)
    streams = {
        role: [served.listen(sign_in(served, url, email)) for url in served.urls]
        for role, email in (("analyst", MEI), ("owner", EMAIL))
    }
    write_in_chat(served, "Hello, I am Mei, call me at +65 9123 4567")
    wanted = {"conversation_started", "message_received", "lead_captured"}
    for stream in streams["owner"]:
        assert until(lambda stream=stream: wanted <= stream.names, PATIENCE_S)  # type: ignore[misc]
    for stream in streams["analyst"]:
        assert stream.names == set()
        assert "+65" not in json.dumps(stream.lines)
        assert not stream.end.done()


def test_the_navigation_counts_nothing_that_one_may_not_read(served: Served) -> None:
    add_mei(served, Role.ANALYST)
    write_in_chat(served, "Hello, call me at +65 9123 4567")
    owner, analyst = sign_in(served, served.urls[0], EMAIL), sign_in(served, served.urls[0])
    assert until(lambda: 'class="count' in owner.get("/nav").text, PATIENCE_S)
    assert 'class="count' not in analyst.get("/nav").text
