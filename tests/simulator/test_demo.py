"""`contatto demo` as a person starts it: ready, stopped, started again, and killed before it was ready."""

import json
import signal
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from contatto.channels.connectors.tiktok import sign_body
from contatto.simulator.demo import CRM, NOTES, write_private
from tests.journeys.running import message, until, webhook_body
from tests.subscriptions.receiver import is_signed_lead, running_receiver

PROGRAM = str(Path(sys.executable).with_name("contatto"))


@contextmanager
def demo(folder: Path, *arguments: str) -> Iterator[tuple[dict[str, Any], Path]]:
    """Start a small demo, hand out its ready file and its output, and see it end cleanly and soon."""
    ready, said = folder / "ready.json", folder / "said.txt"
    ready.unlink(missing_ok=True)
    places = ["--port", "0", "--data-dir", str(folder / "data"), "--ready-file", str(ready)]
    with said.open("w") as output:
        command = [PROGRAM, "demo", *places, "--people", "20", "--days", "1", *arguments]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        end = time.monotonic() + 600  # a busy machine plays a day of people for minutes
        while not ready.exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        assert ready.exists(), said.read_text()
        assert stat.S_IMODE(ready.stat().st_mode) == 0o600
        yield json.loads(ready.read_text()), said
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0, said.read_text()
    finally:
        process.kill()
        process.wait()


def test_a_world_is_made_once_and_goes_on_until_it_was_cut_off(tmp_path: Path) -> None:
    with demo(tmp_path, "--no-live") as (first, said):
        assert_complete(first)
        assert f"{first['base_url']}/home" in said.read_text()
        with urllib.request.urlopen(first["chat_url"], timeout=60) as page:  # noqa: S310  # it is ours
            assert page.status == 200
            assert "/chat/" in page.url
    with demo(tmp_path) as (second, said):
        drive_with_the_api(second)
        write_to(second, "My number is +65 8123 4567", "number")
        assert until(lambda: "+6581234567" in written_to_the_crm(tmp_path))
        changing = {"base_url", "login_url", "chat_url", "webhook_url", "ads"}
        assert {name: first[name] for name in first.keys() - changing} == {
            name: second[name] for name in second.keys() - changing
        }
        assert "anew" not in said.read_text()
    write_private(tmp_path / "data" / NOTES, None)
    with demo(tmp_path, "--no-live") as (third, said):
        assert third["access_token"] != first["access_token"]
        assert "was not finished, so it is made anew" in " ".join(said.read_text().split())
    assert stat.S_IMODE((tmp_path / "data" / NOTES).stat().st_mode) == 0o600


def drive_with_the_api(world: dict[str, Any]) -> None:
    """What a script does first: a push to its own server, a file of leads, an answer to somebody."""
    base = f"{world['base_url']}/open_api/v1.3"
    of = {"advertiser_id": world["advertiser_id"]}
    headers = {"Access-Token": world["access_token"]}
    with httpx2.Client(base_url=base, headers=headers, timeout=60) as client, running_receiver() as receiver:

        def post(path: str, **body: Any) -> Any:
            answer = client.post(path, json=of | body).json()
            assert answer["code"] == 0, answer
            return answer["data"]

        app = {"app_id": world["app_id"], "secret": world["app_secret"]}
        detail = of | {"access_token": world["access_token"], "page_id": world["page_id"]}
        of_leads = {"subscribe_entity": "LEAD", "callback_url": f"{receiver.url}/leads"}
        told = post("/subscription/subscribe/", **app, **of_leads, subscription_detail=detail)
        made = post("/page/lead/mock/create/", page_id=world["page_id"])["meta_data"]["lead_id"]
        assert until(lambda: [entry["id"] for entry in receiver.entries("/leads")] == [made])
        assert is_signed_lead(receiver.received[0], world["app_secret"])
        post("/page/lead/mock/delete/", lead_id=made)
        post("/subscription/unsubscribe/", **app, **told)
        task = post("/page/lead/task/", page_id=world["page_id"])["task_id"]
        assert until(lambda: post("/page/lead/task/", task_id=task)["status"] == "SUCCEED")
        welcome = client.get("/creative/auto_message/get/", params=of).json()["data"]["list"]
        assert [each["auto_message_id"] for each in welcome] == [world["auto_message_id"]]
        business = {"business_id": world["tiktok_business_id"]}
        asked = business | {"conversation_type": "STRANGER", "limit": 1}
        write_to(world)

        def listed() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = client.get(
                "/business/message/conversation/list/", params=asked
            ).json()["data"]["conversations"]
            return found

        to = business | {"recipient": until(listed)[0]["conversation_id"]}
        post("/business/message/send/", **to, message_type="TEXT", text={"body": "We measure on Friday."})


def written_to_the_crm(folder: Path) -> str:
    file = folder / "data" / CRM
    return file.read_text() if file.exists() else ""


def write_to(
    world: dict[str, Any], text: str = "Do you measure on Fridays?", message_id: str = "friday"
) -> None:
    """One message to the world's TikTok account: of so few people, perhaps nobody has written to it."""
    now = time.time()
    content = message(text, message_id, int(now * 1_000))
    body = webhook_body("im_receive_msg", content, world["tiktok_business_id"])
    headers = {"TikTok-Signature": sign_body(body, world["app_secret"], int(now))}
    assert httpx2.post(world["webhook_url"], content=body, headers=headers, timeout=60).status_code == 200


def assert_complete(world: dict[str, Any]) -> None:
    for name in ("base_url", "login_url", "chat_url", "webhook_url"):
        assert world[name].startswith("http://127.0.0.1:"), name
    for name in ("access_token", "app_id", "app_secret", "business_id", "tiktok_business_id"):
        assert world[name], name
    assert world["advertiser_id"].isdigit()
    assert [login["role"] for login in world["logins"]] == ["owner", "agent", "analyst"]
    assert len({login["password"] for login in world["logins"]}) == 3
    assert sorted(group["goal"] for group in world["ad_groups"]) == ["conversation"] * 2 + ["lead"] * 2
    assert set(world["channel_account_ids"]) == {"webchat", "tiktok"}
