"""Longer than the other attacks: requests by chance, with a fresh seed in every run, which the summary tells.

``CONTATTO_FUZZ_SEED`` draws the same again. Nothing breaks (no answer of 500 or more), nothing of the other
tenant is told, and not one of its rows changes.
"""

import os
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx2
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode

from contatto.accounts.model import Credential
from contatto.channels.connectors import meta, tiktok
from tests.documented import OPERATIONS
from tests.hostile import is_raw
from tests.journeys.running import API, message
from tests.security.attempts import Attempt, as_json
from tests.security.filling import settle
from tests.security.fuzzing import Fuzzer
from tests.security.holdings import changed_tables, rows_of
from tests.security.routes import Way, ways
from tests.security.samples import attempts_of, filled_form, own_attempts
from tests.security.world import World

pytestmark = pytest.mark.slow

SEED: Final = int(os.environ.get("CONTATTO_FUZZ_SEED", "1"))
OF_AN_OPERATION: Final = 25
OF_A_FORM: Final = 12
OF_A_BODY: Final = 400
PICTURES: Final = 150
SLOW_S: Final = 2
ENDS_SESSION: Final = {"POST /logout", "POST /settings/tokens/{token_id}/revoke", "GET /live"}


@pytest.fixture(autouse=True)
def victim_is_untouched(world: World, record_property: Callable[[str, object], None]) -> Iterator[None]:
    record_property("seed", SEED)
    before, moment = rows_of(world, world.victim), world.context.clock.now()
    yield
    world.context.clock.moment = moment  # type: ignore[attr-defined]  # else what is the victim's own falls due
    settle(world)
    assert changed_tables(before, rows_of(world, world.victim)) == set()


def check(world: World, answer: httpx2.Response, sent: object) -> None:
    """An answer of a request that was drawn."""
    assert answer.status_code < 500, (SEED, sent, answer.text[-300:])
    assert not world.victim.tells_of(answer.text), (SEED, sent)
    kind = answer.headers.get("content-type", "")
    if kind.startswith("text/html"):
        assert not is_raw(answer.text), (SEED, sent)
    if kind.startswith("application/json") and isinstance(found := answer.json(), dict):
        assert found.get("code") != 50_000, (SEED, sent, found)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("label", OPERATIONS)
def test_the_api_answers_whatever_is_generated(world: World, label: str, mode: GenerationMode) -> None:
    """What our own document allows, and what it does not."""

    @seed(SEED)
    @settings(max_examples=OF_AN_OPERATION, database=None, phases=[Phase.generate], deadline=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(case=OPERATIONS[label].as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        sent = case.as_transport_kwargs(base_url="http://127.0.0.1:8000")
        kwargs = {name: sent[name] for name in ("params", "json", "data", "files") if sent.get(name)}
        if isinstance(kwargs.get("data"), str | bytes):
            kwargs["content"] = kwargs.pop("data")
        if "files" in kwargs:
            kwargs["files"] = [(name, (file, str(part).encode())) for name, (file, part) in kwargs["files"]]
        try:
            answer = world.ask(case.method, case.formatted_path, token=world.attacker.token, **kwargs)
        except (httpx2.InvalidURL, UnicodeEncodeError):
            return  # no client can send it
        check(world, answer, (label, kwargs))

    ask()


@pytest.mark.parametrize(
    "way", [way for way in ways(Credential.MEMBER) if way.name not in ENDS_SESSION], ids=str
)
def test_pages_take_their_forms_however_they_are_filled_in(world: World, way: Way) -> None:
    """Each form as its page shows it, and each query, with fields changed, doubled, gone and added."""
    fuzzer = Fuzzer(SEED + hash_of(way.name))
    for attempt in attempts_of(world, world.attacker, way):
        for _ in range(OF_A_FORM):
            made = fuzzer.attempt(attempt)
            try:
                answer = made.send(world, session=world.attacker.owner)
            except httpx2.InvalidURL:
                continue  # an address of that length no client sends
            check(world, answer, made)


def hash_of(name: str) -> int:
    """The same in every process, unlike ``hash``."""
    return sum(ord(letter) * (place + 1) for place, letter in enumerate(name))


Post = Callable[[World, Any, Fuzzer], httpx2.Response]


def _chat(world: World, body: Any, _: Fuzzer) -> httpx2.Response:
    visitor = world.attacker.visitor
    return world.ask("POST", f"/chat/{world.attacker.webchat_id}/messages", visitor=visitor, **as_json(body))


def _form(world: World, body: Any, _: Fuzzer) -> httpx2.Response:
    return world.ask("POST", world.attacker.links["form"], **as_json(body))


def _decide(world: World, body: Any, _: Fuzzer) -> httpx2.Response:
    return world.ask("POST", "/delivery/decide", token=world.attacker.token, **as_json(body))


def _tiktok(world: World, body: Any, fuzzer: Fuzzer) -> httpx2.Response:
    """Signed as it should be: what is in it may be anything."""
    of, raw = world.attacker, as_json(body)["content"]
    raw = fuzzer.file(raw) if fuzzer.chance.random() < 0.2 else raw
    signature = tiktok.sign_body(raw, of.app_secret, int(world.context.clock.now().timestamp()))
    headers = {"TikTok-Signature": signature}
    return world.ask("POST", f"/webhooks/tiktok/{of.app_id}", content=raw, headers=headers)


def _whatsapp(world: World, body: Any, fuzzer: Fuzzer) -> httpx2.Response:
    of, raw = world.attacker, as_json(body)["content"]
    raw = fuzzer.file(raw) if fuzzer.chance.random() < 0.2 else raw
    headers = {"X-Hub-Signature-256": meta.sign_body(raw, of.app_secret)}
    return world.ask("POST", f"/webhooks/whatsapp/{of.app_id}-wa", content=raw, headers=headers)


def bodies(world: World) -> dict[str, tuple[Post, Any]]:
    """A door that reads JSON, and a body that it takes."""
    of = world.attacker
    now_s = int(world.context.clock.now().timestamp())
    said = message("call +65 8123 4567", f"{of.word}1", now_s * 1_000)
    envelope = {"client_key": "key", "event": "im_receive_msg", "create_time": now_s,
                "user_openid": of.open_id, "content": said}  # fmt: skip
    text = {"id": "wamid.fuzz", "from": "6581234567", "type": "text", "text": {"body": "Hi"},
            "timestamp": str(now_s),
            "referral": {"source_type": "ad", "source_id": "1", "headline": "x"}}  # fmt: skip
    value = {"metadata": {"phone_number_id": f"wa-{of.word}"}, "messages": [text],
             "contacts": [{"wa_id": "6581234567", "profile": {"name": "x"}}]}  # fmt: skip
    changes = [{"field": "messages", "value": value}]
    return {
        "chat": (_chat, {"client_message_id": "message-fuzz", "text": "call +65 8123 4567"}),
        "form": (_form, filled_form(of)),
        "decide": (_decide, {"viewer_id": "v", "country": "SG", "age": 30, "language": "en", "digests": []}),
        "tiktok": (_tiktok, envelope),
        "whatsapp": (_whatsapp, {"object": "whatsapp_business_account", "entry": [{"changes": changes}]}),
    }


@pytest.mark.parametrize("door", ["chat", "form", "decide", "tiktok", "whatsapp"])
def test_doors_that_read_json_take_whatever_is_in_it(world: World, door: str) -> None:
    fuzzer, (post, body) = Fuzzer(SEED + hash_of(door)), bodies(world)[door]
    for _ in range(OF_A_BODY):
        made = fuzzer.body(body)
        check(world, post(world, made, fuzzer), made)
        world.context.clock.advance(seconds=7)  # type: ignore[attr-defined]  # so that limits let the next ones in


@pytest.mark.parametrize(
    "way", [way for way in ways(Credential.PROGRAM, Credential.APP) if way.changes], ids=str
)
def test_bodies_of_the_api_may_hold_anything(world: World, way: Way) -> None:
    """Bodies that are right at first, so that what is drawn gets deeper than a check of the schema."""
    fuzzer = Fuzzer(SEED + hash_of(way.name))
    for attempt in attempts_of(world, world.attacker, way):
        for _ in range(2 * OF_A_FORM):
            made = fuzzer.attempt(attempt)
            try:
                answer = made.send(world, token=world.attacker.token)
            except httpx2.InvalidURL:
                continue  # an address of that length no client sends
            check(world, answer, made)


def picture_doors(world: World) -> Iterator[Attempt]:
    for attempt in own_attempts(world, world.attacker):
        if attempt.raw is not None or "/media/upload/" in attempt.path:
            yield attempt


def test_pictures_may_be_anything(world: World) -> None:
    fuzzer, of = Fuzzer(SEED), world.attacker
    chat = f"/chat/{of.webchat_id}/photos"
    for _ in range(PICTURES):
        raw = fuzzer.picture()
        named = {"client_message_id": f"photo-{fuzzer.chance.randrange(10**9)}"}
        headers = {"Content-Type": "image/png"}
        check(
            world,
            world.ask("POST", chat, visitor=of.visitor, params=named, content=raw, headers=headers),
            raw,
        )
        world.context.clock.advance(minutes=5)  # type: ignore[attr-defined]
    for attempt in picture_doors(world):
        by = {"token": of.token} if attempt.path.startswith(API) else {"session": of.owner}
        for _ in range(PICTURES // 5):
            drawn = {"raw": fuzzer.picture()} if attempt.raw else {"file": fuzzer.picture()}
            made = Attempt(attempt.way, attempt.path, attempt.query, attempt.form, None, **drawn)
            check(world, made.send(world, **by), made)


def test_no_long_field_takes_long(world: World) -> None:
    """A pattern that goes back and forth, a list compared with itself: one request would hold up all."""
    fuzzer = Fuzzer(SEED)
    for attempt in own_attempts(world, world.attacker):
        if attempt.way.name in ENDS_SESSION or not attempt.form:
            continue
        long = tuple(
            (name, fuzzer.chance.choice(("a", "1", "@", " ", "+1")) * 8_000) for name, _ in attempt.form
        )
        started = time.process_time()
        answer = Attempt(attempt.way, attempt.path, (), long).send(world, session=world.attacker.owner)
        check(world, answer, attempt.way.name)
        assert time.process_time() - started < SLOW_S, attempt.way.name
