"""Journey b: a publisher asks for an ad; the view, the tap and the chat lead to a credited lead."""

import time

from contatto.ui.render import cookie_name
from tests.journeys.running import House, until


def test_an_ad_is_decided_seen_tapped_and_earns_the_lead_of_its_chat(house: House) -> None:
    ad = house.make_ad("LEAD_GENERATION")
    asked = {"viewer_id": "viewer-1", "country": "SG"}
    headers = {"Access-Token": house.token}
    decided = house.client.post("/delivery/decide", json=asked, headers=headers).json()["ad"]
    assert decided["ad_id"] == ad["ad_id"]
    assert house.client.get(decided["view_url"]).headers["content-type"] == "image/gif"
    tap = house.client.get(decided["click_url"], follow_redirects=False)
    assert tap.status_code == 303
    assert tap.headers["location"] == f"/chat/{house.webchat_id}"
    assert house.client.get(tap.headers["location"]).status_code == 200
    house.client.post(
        f"/chat/{house.webchat_id}/messages",
        json={"client_message_id": "message-1", "text": "my email is mei@example.com"},
    )
    row = until(lambda: _report_with_conversion(house, ad["adgroup_id"]))
    assert (row["impressions"], row["clicks"], row["conversion"]) == ("1", "1", "1")
    assert float(row["spend"]) > 0


def _report_with_conversion(house: House, ad_group: str) -> dict[str, str]:
    row = house.report().get(ad_group, {})
    return row if row.get("conversion") == "1" else {}


def test_nobody_outside_the_targeted_countries_gets_the_ad(house: House) -> None:
    house.make_ad("LEAD_GENERATION")
    asked = {"viewer_id": "viewer-1", "country": "JP"}
    headers = {"Access-Token": house.token}
    assert house.client.post("/delivery/decide", json=asked, headers=headers).json() == {"ad": None}


def test_a_forwarded_tap_link_opens_a_chat_of_its_own(house: House) -> None:
    house.make_ad("CONVERSATION")
    headers = {"Access-Token": house.token}
    asked = {"viewer_id": "viewer-2", "country": "SG"}
    link = house.client.post("/delivery/decide", json=asked, headers=headers).json()["ad"]["click_url"]
    house.client.get(link, follow_redirects=False)
    cookie = cookie_name(house.webchat_id)
    first = house.client.cookies[cookie]
    house.client.cookies.clear()
    time.sleep(0)
    house.client.get(link, follow_redirects=False)
    assert house.client.cookies[cookie].split(".")[0] != first.split(".")[0]
