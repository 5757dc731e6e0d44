"""Links: which hosts and paths name a profile or open a chat, and where every other link stands."""

import re
from dataclasses import dataclass
from urllib.parse import unquote

from contatto.capture.fields.folding import Find, Folded
from contatto.capture.fields.numbers import read_number
from contatto.capture.model import Field

_SIGNS = r"A-Za-z0-9\u00e0-\u024f\u1ea0-\u1ef9\-._~:/?#@!$&'*+,;=%\u3400-\u9fff\uac00-\ud7af"
_LINK = re.compile(
    rf"[a-z][a-z0-9+]{{1,14}}://[{_SIGNS}]{{1,2048}}"
    rf"|(?<![a-z0-9@.\-_])www\.[{_SIGNS}]{{1,2048}}"
    rf"|(?<![a-z0-9@.\-_])(?:[a-z0-9][a-z0-9\-]{{0,40}}\.){{1,4}}[a-z]{{2,12}}(?::[0-9]{{2,5}})?/"
    rf"[{_SIGNS}]{{0,2048}}"
    r"|(?<![a-z0-9@.\-_])(?:instagram|facebook|linkedin|snapchat|twitter|weibo|wechat|messenger|whatsapp|x"
    r"|line)\.(?:com|me)(?![a-z0-9@.\-_])",
    re.IGNORECASE,
)
_PARTS = re.compile(
    r"(?:[a-z][a-z0-9+]*://)?(?P<host>[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?", re.IGNORECASE
)
_LAST_SIGNS = ".,;:!?'*)&~"


@dataclass(frozen=True, slots=True)
class _Place:
    """Profile addresses of a platform: host, path, and paths that are no profile."""

    field: Field
    host: str
    path: str
    reserved: frozenset[str] = frozenset()


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ROOMS = _names(
    "a about account accounts ads ajax api app apps at blog bookmarks business c call careers catalog "
    "channel checkpoint company compose contact d developer developers dialog direct directory discover "
    "download e events events.php explore feed find friends g games gaming group groups hashtag hashtags "
    "help home home.php hot i in inbox index.php intent invite jobs l learning legal lens lenses lists "
    "live location locations login login.php logout m map marketplace me media memories message messages "
    "moments music n news notes notifications oauth p pages people permalink.php pg photo photo.php "
    "photos play plugins policies policy post posts premium privacy profile profile.php pub public pulse "
    "qr r recover reel reels reg s sales salesnav school search security send settings share share.php "
    "sharer sharer.php sharing shop showcase signin signup spotlight status stories story story.php "
    "support t tag tags terms top-content tos trends ttarticle tv tweet u unlock user users v video "
    "videos watch web who "
)
_NAME = r"/@?(?P<id>[a-z0-9_.\-]{3,100})/?"
_META = r"(?:facebook|fb)\.com"
_QUERY = r"\?(?:[^&#]*&)*"
_LINE_ID = r"(?:~|%7E|@|%40)?(?P<id>[a-z0-9._\-]{3,60})/?"
_PLACES = (
    _Place(Field.INSTAGRAM, r"instagram\.com|instagr\.am", rf"(?:/_u|/_n)?{_NAME}", _ROOMS),
    _Place(Field.INSTAGRAM, r"ig\.me", r"/m/@?(?P<id>[a-z0-9_.]{3,30})/?"),
    _Place(Field.MESSENGER, r"m\.me", _NAME, _ROOMS | {"j", "ch"}),
    _Place(Field.MESSENGER, r"messenger\.com", r"/t/(?P<id>[a-z0-9._\-]{3,80})/?"),
    _Place(Field.MESSENGER, _META, r"/messages/t/(?P<id>[a-z0-9._\-]{3,80})/?"),
    _Place(Field.FACEBOOK, _META, rf"/profile\.php{_QUERY}id=(?P<id>[0-9]{{5,20}})"),
    _Place(Field.FACEBOOK, _META, r"/(?:people|pages)/[^/]{1,120}/(?P<id>[0-9]{5,20})/?"),
    _Place(Field.FACEBOOK, rf"{_META}|fb\.me", rf"(?:/pg)?{_NAME}(?:about/?)?", _ROOMS),
    _Place(Field.LINE, r"line\.me|line\.naver\.jp", rf"/(?:R/)?ti/p/{_LINE_ID}"),
    _Place(Field.LINE, r"line\.me", rf"/R/oaMessage/{_LINE_ID}"),
    _Place(Field.LINE, r"page\.line\.me", rf"/{_LINE_ID}"),
    _Place(Field.LINE, r"ti", rf"/p/{_LINE_ID}"),
    _Place(
        Field.TWITTER,
        r"(?:twitter|x)\.com",
        rf"/intent/(?:user|follow){_QUERY}screen_name=(?P<id>[a-z0-9_]{{3,20}})",
    ),
    _Place(Field.TWITTER, r"(?:twitter|x)\.com", r"/@?(?P<id>[a-z0-9_]{3,20})/?", _ROOMS),
    _Place(
        Field.LINKEDIN,
        r"linkedin\.com",
        r"(?:/mwlite)?/(?:in|company|school|pub|showcase)/(?P<id>[^/?#]{2,100})(?:/(?:about|[a-z]{2})?/?)?",
    ),
    _Place(Field.WEIBO, r"weibo\.(?:com|cn)", r"/(?:u|profile)/(?P<id>[0-9]{5,14})/?"),
    _Place(Field.WEIBO, r"weibo\.(?:com|cn)", r"/n/(?P<id>[^/?#]{2,90})/?"),
    _Place(Field.WEIBO, r"weibo\.(?:com|cn)", r"/(?P<id>[a-z0-9_\-]{3,40})/?", _ROOMS),
    _Place(Field.SNAPCHAT, r"snapchat\.com", r"/(?:add/|@)@?(?P<id>[a-z0-9._\-]{3,30})/?"),
    _Place(Field.WECHAT, r"dl", r"/chat\?(?P<id>[a-z0-9_\-]{3,30})"),
    _Place(Field.SNAPCHAT, r"add", r"/(?P<id>[a-z0-9._\-]{3,30})/?"),
)
_FRONTS = r"(?:www|m|mobile|web|mbasic|touch|free|p|l10n|[a-z]{2}|[a-z]{2}-[a-z]{2})"
_OTHER_FRONTS = tuple(
    f"{front}."
    for front in "business developers about help l lm s t story ads blog api open accounts passport".split()  # noqa: SIM905
)
_COMPILED = tuple(
    (
        place,
        re.compile(rf"(?:{_FRONTS}\.)?(?:{place.host})", re.IGNORECASE),
        re.compile(place.path, re.IGNORECASE),
    )
    for place in _PLACES
)
_WHATSAPP = re.compile(
    r"(?:https?://)?(?:(?:www\.)?wa\.me/(?:send/?\?phone=)?"
    r"|(?:(?:api|web|www)\.)?whatsapp\.com/send/?\?(?:[^#\s]*&)??phone=|whatsapp://send/?\?(?:[^#\s]*&)??phone=)"
    r"(?:\+|%2B|00)?(?P<digits>[0-9][0-9\-]{6,19})(?![0-9a-z])",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Link:
    """One link of the folded text, and what it names, if it names somebody."""

    start: int
    end: int
    find: Find | None


def find_links(text: Folded) -> list[Link]:
    """Every link, in order; those that name no profile are there to be blanked."""
    links = []
    for match in _LINK.finditer(text.text):
        written = match[0].rstrip(_LAST_SIGNS) or match[0]
        start, end = match.start(), match.start() + len(written)
        if written.lower().startswith(("mailto://", "mailto:")):
            continue
        links.append(Link(start, end, _find(start, end, written)))
    return links


def _find(start: int, end: int, written: str) -> Find | None:
    named = _whatsapp(written) or _profile(written)
    if named is None:
        return None
    field, value = named
    return Find(field, value, start, end, 0.99, f"{field.value}.link")


def _whatsapp(written: str) -> tuple[Field, str] | None:
    match = _WHATSAPP.match(written)
    if match is None:
        return None
    reading = read_number("+" + match["digits"].replace("-", ""), None)
    return (Field.WHATSAPP, reading.value) if reading is not None else None


def _profile(written: str) -> tuple[Field, str] | None:
    parts = _PARTS.match(written)
    if parts is None:
        return None
    host, path = parts["host"].lower(), parts["path"]
    if host.startswith(_OTHER_FRONTS) and not host.startswith("m."):
        return None
    whole = path + (parts["query"] or "")
    for place, hosts, paths in _COMPILED:
        if hosts.fullmatch(host) is None:
            continue
        match = paths.match(whole) if "\\?" in place.path else paths.fullmatch(path)
        if match is not None and match["id"].lower() not in place.reserved:
            return place.field, _value(place.field, match["id"])
    return None


def _value(field: Field, name: str) -> str:
    plain = unquote(name).strip("/@.")
    return plain if field is Field.LINE else plain.lower()
