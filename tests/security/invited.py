"""Somebody who is invited, a new password that is handed out, and alerts that are wanted."""

import html
import re
from collections.abc import Callable

import httpx2

POINT = "BGsX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"
"""A point of the curve of browsers: the one that it begins from."""
SECRET = "c2l4dGVlbiBvZiBzZWNyZQ"


def links_of_people(press: Callable[..., httpx2.Response], word: str, member_id: str) -> dict[str, str]:
    """The paths of an invitation and of a link to a new password of a business, as its pages show them."""
    press("/settings/alerts", data={"digested": ["lead", "message"]})
    browser = {"endpoint": f"https://push.{word}.example.com/x", "public_key": POINT, "secret": SECRET}
    press("/settings/alerts/browsers", data=browser)
    press("/settings/invitations", data={"email": f"new@{word}.example.com", "role": "agent"})
    page = press("/settings/members", "GET").text
    handed = press(f"/settings/members/{member_id}/reset").text
    return {
        "invitation": found_in(r"(/invitations/[\w.=~-]+)", page),
        "reset": found_in(r"(/password/reset/[\w.=~-]+)", handed),
    }


def found_in(pattern: str, text: str) -> str:
    """What the group of a pattern holds in a page."""
    found = re.search(pattern, text)
    assert found, pattern
    return html.unescape(found[1])
