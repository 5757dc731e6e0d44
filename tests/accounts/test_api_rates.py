"""Each access token has its own rate, and refusals speak the API's way."""

from dataclasses import replace
from pathlib import Path

from starlette.testclient import TestClient

from contatto.accounts import actions as accounts
from contatto.accounts.model import Permission
from contatto.app import create_app
from contatto.kit.db.tx import Tx
from contatto.wiring import install
from tests.journeys.running import House, open_house


def test_a_token_that_asks_too_often_waits_and_others_do_not(tmp_path: Path) -> None:
    context, made = open_house(tmp_path)
    few = context.settings.model_copy(update={"api_requests_per_minute": 3})

    def second(tx: Tx) -> str:
        return accounts.issue_token(tx, made["business_id"], "second", [Permission.READ_ADS.value])[1]  # type: ignore[arg-type]

    with TestClient(create_app(replace(context, installation=install(few)))) as client:
        house = House(context=context, client=client, **made)
        codes = [house.api("GET", "/campaign/get/")["code"] for _ in range(5)]
        assert codes == [0, 0, 0, 40100, 40100]
        house.token = context.db.write_now(second)
        assert house.api("GET", "/campaign/get/")["code"] == 0
    context.db.close()


def test_without_a_limit_nobody_waits(tmp_path: Path) -> None:
    context, made = open_house(tmp_path)
    free = context.settings.model_copy(update={"api_requests_per_minute": 0})
    with TestClient(create_app(replace(context, installation=install(free)))) as client:
        house = House(context=context, client=client, **made)
        assert {house.api("GET", "/advertiser/info/")["code"] for _ in range(20)} == {0}
    context.db.close()
