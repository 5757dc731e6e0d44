"""Whether a browser asks for a page that it will show, or a script for something else."""

from typing import Final

from starlette.requests import HTTPConnection

SHOWN_ONCE: Final = "shown_once"
"""In a request's state: its answer is to be shown once, as a secret is."""


def is_navigation(connection: HTTPConnection) -> bool:
    """Return whether the answer will be shown as a page, with the address in the browser's line.

    Browsers say so; older ones, and those before a proxy that drops what they say, name HTML among what they
    take. Source: Fetch Metadata Request Headers, section 2.2.
    """
    headers = connection.headers
    if headers.get("hx-request"):
        return False
    mode = headers.get("sec-fetch-mode")
    return mode == "navigate" if mode else "text/html" in headers.get("accept", "")
