"""What goes wrong at an address that customers come to is told on a page, in their language."""

import re
from collections.abc import Iterator

import pytest

from contatto.accounts.model import Credential
from contatto.app import ACCESS
from contatto.kit import errors
from contatto.kit.languages import LANGUAGES, translator_for
from tests.journeys.running import House, running_house

BROWSER = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}
OPEN = (Credential.VISITOR, Credential.ADDRESS, Credential.ANYBODY)
NOT_THEIRS = (
    *("/docs", "/language", "/login", "/metrics", "/openapi.json", "/static", "/open_api"),
    *("/invitations", "/password", "/setup"),
)
"""Open, and nothing for customers: for programs, and for members on their way in."""
ROUTES = sorted(
    route.removeprefix("GET ")
    for route, access in ACCESS.items()
    if access.credential in OPEN and route.startswith("GET ") and not route[4:].startswith(NOT_THEIRS)
)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with running_house(tmp_path_factory.mktemp("house")) as running:
        yield running


def test_the_table_of_routes_names_what_customers_come_to() -> None:
    assert {"/t/c/{token}", "/chat/{account_id}", "/form/{token}", "/media"} <= set(ROUTES)
    assert len(ROUTES) >= 12


@pytest.mark.parametrize("route", ROUTES)
def test_a_broken_address_answers_with_a_page_in_the_readers_language(house: House, route: str) -> None:
    address = re.sub(r"\{[^}]*\}", "cut-off", route)
    answer = house.client.get(address, headers=BROWSER | {"Accept-Language": "it"})
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"].startswith("text/html")
    assert '<html lang="it"' in answer.text
    assert translator_for("it").gettext("This page does not exist.") in answer.text
    for nothing in ('href="/login', 'href="/"', answer.headers["x-request-id"], "&#34;code&#34;"):
        assert nothing not in answer.text


def test_a_cut_ad_link_speaks_every_language(house: House) -> None:
    for lang in LANGUAGES:
        answer = house.client.get("/t/c/cut", headers=BROWSER | {"Accept-Language": lang})
        assert f'<html lang="{lang}"' in answer.text


def test_an_address_with_more_behind_it_is_told_in_the_same_way(house: House) -> None:
    for address in ("/t/c/a/b/c", "/form/x/y/z", "/chat/a/b/c/d"):
        assert 'id="error"' in house.client.get(address, headers=BROWSER).text


def test_programs_and_scripts_still_read_json(house: House) -> None:
    for headers in ({"Accept": "*/*"}, {"Accept": "text/html", "Sec-Fetch-Mode": "no-cors"}):
        answer = house.client.get("/t/c/cut", headers=headers)
        assert answer.json()["code"] in {each.name for each in errors.ALL}
