"""E-mail addresses, links and handles of platforms."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from urllib.parse import unquote

from contatto.capture.fields.numbers import MarkKind, kinds_near, read_number
from contatto.capture.fields.text import (
    LATIN,
    PICTURES,
    PLATFORMS,
    Cue,
    Find,
    Folded,
    both_ends,
    either,
    email_labels,
    find_number,
    gap_pattern,
    key,
    lexicons,
    pattern,
    stated_after,
    stated_before,
    tlds,
    words,
)
from contatto.capture.model import Field

_DOMAIN = re.compile(
    r"(?:[A-Za-z0-9\u00a1-\ufffd][A-Za-z0-9\-\u00a1-\ufffd]{0,62}\.){1,8}"
    r"[A-Za-z0-9\-\u00a1-\ufffd]{2,63}"
)
_INSIDE = "._%+-'&"
_REFUSED_SIGNS = frozenset("!#$=?^`{|}~")
_ACCENTED = re.compile(r"[\u00c0-\u024f\u1e00-\u1eff]")
_EMAIL_LABEL_BEFORE = re.compile(
    r"([a-z0-9\u00c0-\u024f\u1e00-\u1eff]+)[!#$%&'*+/=?^_`{|}~.\-]{1,16}$", re.IGNORECASE
)
_LEAST_DIGITS = 7
_ASCII = re.compile(r"[A-Za-z0-9\-]+")


def find_emails(text: Folded) -> list[Find]:
    """Find addresses that are written with an `@`."""
    matches, done = [], 0
    at = text.text.find("@")
    while at >= 0:
        local = _local_before(text.text, at, done)
        domain = _domain_after(text.text, at + 1) if local else None
        if domain is not None:
            start, end = at - len(local), at + 1 + len(domain)
            # Asterisks around an address mark bold text in chats.
            is_bold = text.text[start - 1] == "*" == text.text[end : end + 1]
            before = text.text[start - 2 : start - 1]
            is_bold = is_bold and (start == 1 or not (before.isalnum() or before == "*"))
            is_whole = is_bold or not is_cut(text.text, start)
            goes_on = text.text[end : end + 1] == ":" and text.text[end + 1 : end + 2].isalnum()
            if is_whole and not goes_on:
                parts = [
                    part[4:].encode().decode("punycode") if part.startswith("xn--") else part
                    for part in domain.lower().split(".")
                ]
                value = f"{local}@{'.'.join(parts)}"
                matches.append(Find(Field.EMAIL, value, start, end, 0.99, "email.address"))
                done = end
        at = text.text.find("@", max(at + 1, done))
    return matches


def _local_before(text: str, at: int, done: int) -> str:
    start = at
    while start > max(done, at - 65) and (
        (text[start - 1].isascii() and text[start - 1].isalnum()) or text[start - 1] in _INSIDE
    ):
        start -= 1
    if at - start > 64:
        return ""
    local = text[start:at].lstrip(_INSIDE)
    if text[start:at].startswith(".") and not text[start:at].startswith(".."):
        return ""  # a name begins with no dot (RFC 5321 4.1.2, Dot-string); an ellipsis is no part of it
    if "&" in local:
        before = text[start - 1 : start]
        first, _, rest = local.partition("&")
        is_other = (
            before == "@" or first.lower() in labels() or (first.isdigit() and len(first) >= _LEAST_DIGITS)
        )
        local = rest if is_other else local
    return "" if ".." in local or "&&" in local or local.endswith((".", "&")) else local


def is_cut(text: str, start: int) -> bool:
    """Report whether the local part begins inside a longer one, which would give a wrong address.

    RFC 5322 lets a name hold many signs. In a chat they mostly stand round an address, or between it and
    its label; behind any other word it is ambiguous, and a wrong address is worse than none.
    """
    edge = start
    while edge > max(0, start - 64) and text[edge - 1] in _INSIDE:
        edge -= 1
    if edge == 0:
        return False
    before = text[edge - 1]
    if before in "*/@" or _ACCENTED.match(before):
        return True
    if before not in _REFUSED_SIGNS:
        return False
    word = _EMAIL_LABEL_BEFORE.search(text, max(0, start - 40), start)
    return word is not None and word[1].lower() not in labels()


@cache
def labels() -> frozenset[str]:
    """Return words that announce an address and are not part of it."""
    cues = (cue for kind in ("email", "number", "phone") for cue in words("cues", kind))
    last = {re.split(r"[\s\x1f\-]", cue)[-1] for cue in cues}
    return frozenset(last) | {"contact", "contacto", "contato", "mailto", "to", "cc", "user", "login"}


def _domain_after(text: str, start: int) -> str | None:
    match = _DOMAIN.match(text, start, min(len(text), start + 254))
    if match is None:
        return None
    labels = match[0].split(".")
    while len(labels) > 1:
        if labels[-1].lower() in tlds():
            return ".".join(labels)
        last = _ASCII.match(labels[-1])  # a top-level domain ends where its script does
        if last is not None and last[0].lower() in tlds():
            return ".".join([*labels[:-1], last[0]])
        labels.pop()
    return None


_GENERIC = frozenset({"at", "@", "et", "di", "alias", "chez", "在", "ات", "اط"})
_LOCAL_END = re.compile(r"[a-z0-9_][a-z0-9._+\-]{0,62}$")
_CUE_NEAR = 40


@cache
def _at() -> re.Pattern[str]:
    dot = _dots()
    label = rf"(?:[a-z0-9][a-z0-9\-]{{0,40}}|{either(email_labels())})"
    return re.compile(
        rf"[ \t]{{0,2}}(?P<at>{pattern(words('email', 'at'))})[ \t]{{0,2}}"
        rf"(?P<domain>{label}(?:[ \t]{{0,2}}{dot}[ \t]{{0,2}}{label}){{1,3}})"
    )


_dots = cache(lambda: pattern(words("email", "dot")))


@cache
def _joined() -> re.Pattern[str]:
    """Return the pattern of a spelled-out sign in a name, with the piece before it."""
    signs = "|".join(
        f"(?P<{name}>{pattern(word for word in words('email', name) if word != '.')})"
        for name in ("dot", "underscore", "dash")
    )
    return re.compile(rf"(?P<piece>[a-z0-9][a-z0-9._+\-]{{0,40}})[ \t]{{1,2}}(?:{signs})[ \t]{{1,2}}$")


_ordinary_words = cache(lambda: frozenset(words("words", "stop")) | {"me", "us", "him", "her", "them", "it"})


_email_cue = cache(lambda: re.compile(pattern(words("cues", "email"))))


_dot_word = cache(lambda: re.compile(rf"[ \t]{{0,2}}{_dots()}[ \t]{{0,2}}"))


def find_spelled_emails(text: Folded) -> list[Find]:
    """Find addresses with words for `@` or dots, with brackets, or with spaces round their signs."""
    matches: list[Find] = []
    done = 0
    for match in both_ends(_at().finditer(text.low)):
        local_end = match.start()
        local_start, local = _local(text, max(done, local_end - 90), local_end)
        labels, ends, at = [], [], match.start("domain")
        written = match["domain"]
        for gap in _dot_word().finditer(written):
            labels.append(written[at - match.start("domain") : gap.start()])
            ends.append(match.start("domain") + gap.start())
            at = match.start("domain") + gap.end()
        labels.append(written[at - match.start("domain") :])
        ends.append(match.end("domain"))
        labels = [email_labels().get(key(label), label) for label in labels]
        while len(labels) > 1 and labels[-1] not in tlds():
            labels.pop()
            ends.pop()
        domain, end = (".".join(labels), ends[-1]) if len(labels) > 1 else ("", 0)
        # An address has a provider, a cue or brackets; without them it may be a remark about a shop.
        providers = words("email", "providers")
        is_meant = (
            match["at"].strip() not in _GENERIC
            or "(" in match[0]
            or "[" in match[0]
            or any(label in providers for label in domain.split(".")[:-1])
            or _email_cue().search(text.low, max(0, local_start - _CUE_NEAR), local_start) is not None
        )
        if len(local) < 2 or local.lower() in _ordinary_words() or not domain or not is_meant:
            continue
        matches.append(Find(Field.EMAIL, f"{local}@{domain}", local_start, end, 0.85, "email.spelled-out"))
        done = end
    return matches


def _local(text: Folded, first: int, last: int) -> tuple[int, str]:
    """Return the start and the text of the name before the at-word; its signs may be words too."""
    match = _LOCAL_END.search(text.low, first, last)
    if match is None:
        return 0, ""
    start, local = match.start(), text.text[match.start() : match.end()]
    for _ in range(3):
        more = _joined().search(text.low, max(first, start - 48), start)
        if more is None or more["piece"] in _ordinary_words():
            break
        sign = "." if more["dot"] else "_" if more["underscore"] else "-"
        start = more.start("piece")
        local = text.text[start : more.end("piece")] + sign + local
    if is_cut(text.text, start) or text.text[max(0, start - 1) : start] == "&":
        return 0, ""
    return start, local.strip(".-")


_LINK_SIGNS = r"A-Za-z0-9\u00e0-\u024f\u1ea0-\u1ef9\-._~:/?#@!$&'*+,;=%\u3400-\u9fff\uac00-\ud7af"
_LINK = re.compile(
    rf"[a-z][a-z0-9+]{{1,14}}://[{_LINK_SIGNS}]{{1,2048}}"
    rf"|(?<![a-z0-9@.\-_])www\.[{_LINK_SIGNS}]{{1,2048}}"
    rf"|(?<![a-z0-9@.\-_])(?:[a-z0-9][a-z0-9\-]{{0,40}}\.){{1,4}}[a-z]{{2,12}}(?::[0-9]{{2,5}})?/"
    rf"[{_LINK_SIGNS}]{{0,2048}}"
    r"|(?<![a-z0-9@.\-_])(?:instagram|facebook|linkedin|snapchat|twitter|weibo|wechat|messenger|whatsapp|x"
    r"|line)\.(?:com|me)(?![a-z0-9@.\-_])",
    re.IGNORECASE,
)
_LINK_PARTS = re.compile(
    r"(?:[a-z][a-z0-9+]*://)?(?P<host>[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?", re.IGNORECASE
)
_LAST_SIGNS = ".,;:!?'*)&~"


@dataclass(frozen=True, slots=True)
class _ProfileUrl:
    """Pattern of profile URLs: host, path, and paths of other pages."""

    field: Field
    host: str
    path: str
    reserved: frozenset[str] = frozenset()


_RESERVED_PATHS = frozenset(
    (  # noqa: SIM905 — a list of one word a line would be a page long
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
    ).split()
)
_NAME = r"/@?(?P<id>[a-z0-9_.\-]{3,100})/?"
_META = r"(?:facebook|fb)\.com"
_QUERY = r"\?(?:[^&#]*&)*"
_LINE_ID = r"(?:~|%7E|@|%40)?(?P<id>[a-z0-9._\-]{3,60})/?"
_PROFILE_URLS = (
    _ProfileUrl(Field.INSTAGRAM, r"instagram\.com|instagr\.am", rf"(?:/_u|/_n)?{_NAME}", _RESERVED_PATHS),
    _ProfileUrl(Field.INSTAGRAM, r"ig\.me", r"/m/@?(?P<id>[a-z0-9_.]{3,30})/?"),
    _ProfileUrl(Field.MESSENGER, r"m\.me", _NAME, _RESERVED_PATHS | {"j", "ch"}),
    _ProfileUrl(Field.MESSENGER, r"messenger\.com", r"/t/(?P<id>[a-z0-9._\-]{3,80})/?"),
    _ProfileUrl(Field.MESSENGER, _META, r"/messages/t/(?P<id>[a-z0-9._\-]{3,80})/?"),
    _ProfileUrl(Field.FACEBOOK, _META, rf"/profile\.php{_QUERY}id=(?P<id>[0-9]{{5,20}})"),
    _ProfileUrl(Field.FACEBOOK, _META, r"/(?:people|pages)/[^/]{1,120}/(?P<id>[0-9]{5,20})/?"),
    _ProfileUrl(Field.FACEBOOK, rf"{_META}|fb\.me", rf"(?:/pg)?{_NAME}(?:about/?)?", _RESERVED_PATHS),
    _ProfileUrl(Field.LINE, r"line\.me|line\.naver\.jp", rf"/(?:R/)?ti/p/{_LINE_ID}"),
    _ProfileUrl(Field.LINE, r"line\.me", rf"/R/oaMessage/{_LINE_ID}"),
    _ProfileUrl(Field.LINE, r"page\.line\.me", rf"/{_LINE_ID}"),
    _ProfileUrl(Field.LINE, r"ti", rf"/p/{_LINE_ID}"),
    _ProfileUrl(
        Field.TWITTER,
        r"(?:twitter|x)\.com",
        rf"/intent/(?:user|follow){_QUERY}screen_name=(?P<id>[a-z0-9_]{{3,20}})",
    ),
    _ProfileUrl(Field.TWITTER, r"(?:twitter|x)\.com", r"/@?(?P<id>[a-z0-9_]{3,20})/?", _RESERVED_PATHS),
    _ProfileUrl(
        Field.LINKEDIN,
        r"linkedin\.com",
        r"(?:/mwlite)?/(?:in|company|school|pub|showcase)/(?P<id>[^/?#]{2,100})(?:/(?:about|[a-z]{2})?/?)?",
    ),
    _ProfileUrl(Field.WEIBO, r"weibo\.(?:com|cn)", r"/(?:u|profile)/(?P<id>[0-9]{5,14})/?"),
    _ProfileUrl(Field.WEIBO, r"weibo\.(?:com|cn)", r"/n/(?P<id>[^/?#]{2,90})/?"),
    _ProfileUrl(Field.WEIBO, r"weibo\.(?:com|cn)", r"/(?P<id>[a-z0-9_\-]{3,40})/?", _RESERVED_PATHS),
    _ProfileUrl(Field.SNAPCHAT, r"snapchat\.com", r"/(?:add/|@)@?(?P<id>[a-z0-9._\-]{3,30})/?"),
    _ProfileUrl(Field.WECHAT, r"dl", r"/chat\?(?P<id>[a-z0-9_\-]{3,30})"),
    _ProfileUrl(Field.SNAPCHAT, r"add", r"/(?P<id>[a-z0-9._\-]{3,30})/?"),
)
_SUBDOMAINS = r"(?:www|m|mobile|web|mbasic|touch|free|p|l10n|[a-z]{2}|[a-z]{2}-[a-z]{2})"
_OTHER_SUBDOMAINS = tuple(
    f"{front}."
    for front in "business developers about help l lm s t story ads blog api open accounts passport".split()  # noqa: SIM905
)
_COMPILED = tuple(
    (
        profile,
        re.compile(rf"(?:{_SUBDOMAINS}\.)?(?:{profile.host})", re.IGNORECASE),
        re.compile(profile.path, re.IGNORECASE),
    )
    for profile in _PROFILE_URLS
)
_WHATSAPP = re.compile(
    r"(?:https?://)?(?:(?:www\.)?wa\.me/(?:send/?\?phone=)?"
    r"|(?:(?:api|web|www)\.)?whatsapp\.com/send/?\?(?:[^#\s]*&)??phone=|whatsapp://send/?\?(?:[^#\s]*&)??phone=)"
    r"(?:\+|%2B|00)?(?P<digits>[0-9][0-9\-]{6,19})(?![0-9a-z])",
    re.IGNORECASE,
)


def find_links(text: Folded) -> tuple[list[Find], list[tuple[int, int]]]:
    """Return the profiles that links name, and the spans of all links, also of those without a profile."""
    finds: list[Find] = []
    spans: list[tuple[int, int]] = []
    for match in _LINK.finditer(text.text):
        written = match[0].rstrip(_LAST_SIGNS) or match[0]
        start, end = match.start(), match.start() + len(written)
        if written.lower().startswith(("mailto://", "mailto:")):
            continue
        whatsapp = _WHATSAPP.match(written)
        number = read_number("+" + whatsapp["digits"].replace("-", ""), None) if whatsapp else None
        profile = (Field.WHATSAPP, number.value) if number else _profile(written)
        if profile is not None:
            field, value = profile
            finds.append(Find(field, value, start, end, 0.99, f"{field.value}.link"))
        spans.append((start, end))
    return finds, spans


def _profile(written: str) -> tuple[Field, str] | None:
    parts = _LINK_PARTS.match(written)
    if parts is None:
        return None
    host, path = parts["host"].lower(), parts["path"]
    if host.startswith(_OTHER_SUBDOMAINS) and not host.startswith("m."):
        return None
    whole = path + (parts["query"] or "")
    for profile, hosts, paths in _COMPILED:
        if hosts.fullmatch(host) is None:
            continue
        match = paths.match(whole) if "\\?" in profile.path else paths.fullmatch(path)
        if match is not None and match["id"].lower() not in profile.reserved:
            name = unquote(match["id"]).strip("/@.")
            return profile.field, name if profile.field is Field.LINE else name.lower()
    return None


#: What a platform's handles are made of, and how long they are.
_SHAPES = {
    Field.INSTAGRAM: re.compile(r"[a-z0-9_.]{3,30}"),
    Field.FACEBOOK: re.compile(r"[a-z0-9._\-]{3,50}"),
    Field.MESSENGER: re.compile(r"[a-z0-9._\-]{3,50}"),
    Field.LINE: re.compile(r"[a-z0-9._\-]{3,30}"),
    Field.TWITTER: re.compile(r"[a-z0-9_]{3,20}"),
    Field.LINKEDIN: re.compile(r"[a-z0-9\-._]{3,100}"),
    Field.WEIBO: re.compile(r"[a-z0-9_\-\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{2,30}"),
    Field.WECHAT: re.compile(r"[a-z0-9_\-]{3,30}"),
    Field.SNAPCHAT: re.compile(r"[a-z0-9._\-]{3,30}"),
}
_TOKEN = re.compile(r"(?P<at>@ ?)?(?P<id>[a-z0-9_][a-z0-9_.\-]{2,59})")
_HAN_TOKEN = re.compile(
    r"(?:@ ?|(?<=[:\uff1a]) ?)"
    r"(?P<id>[a-z0-9_\-]{0,20}[\u3400-\u9fff\uac00-\ud7af][a-z0-9_\-\u30a0-\u30ff\u3400-\u9fff\uac00-\ud7af]{1,29})"
    r"(?![^\s,.!\u3001\u3002\uff0c\uff01\u3040-\u309f])"
)
_FAR = re.compile(
    rf"(?P<words>[^0-9@.,;:!?\u3002\uff01\uff0c\uff1a\uff1f\u060c\u061f\n{PICTURES}]{{1,24}})"
    rf"(?P<mark>(?=@)|[:\uff1a\u300c\u3010{PICTURES}][ \t]?)"
)
#: Cues that are also ordinary words: a handle must follow them at once.
_WORDS_TOO = frozenset({"line", "snap", "sc", "face", "x", "tw", "wb", "ms"})
_IN = re.compile(r"(?:/?(?:in|company)/)?")
_BEFORE = re.compile(r"(?P<at>@)?(?P<id>[a-z0-9_][a-z0-9_.\-]{2,40})$")
_MORE = re.compile(rf"[ \t]+[{LATIN}]")
_FIGURES = re.compile(
    r"(?:v|no|ver|vol)\.?[0-9][0-9.]*|[0-9]+-[a-z]{2,3}-[0-9]+|[0-9][0-9.,\-_]*(?:[a-z]{1,4})?|[0-9]+[a-z]?[x.][0-9]+[a-z]*|[0-9]{1,2}\.[a-z]+"
)
_WEBSITE = re.compile(
    r"\.(?:com|net|org|info|biz|com\.[a-z]{2}|co\.(?:bw|cr|id|il|in|jp|ke|kr|ma|mz|nz|th|tz|ug|uk|ve|za|zm|zw))$"
)
_GOES_ON = re.compile(rf"[{LATIN}#%]")
_SIGNED = re.compile(r"[0-9_.\-]")
_JOINED = re.compile(r"[a-z0-9][_.][a-z0-9]")
_GLUED = re.compile(r"[a-z][0-9]")
_WORD_BEFORE = re.compile(rf"([{LATIN}]+)[ \t]{{1,2}}$")
_MOST_WORDS = 3
_NO_HANDLE = frozenset({MarkKind.LABEL, MarkKind.NEGATION, MarkKind.PHONE, MarkKind.WHATSAPP})
_PARTS = re.compile(r"[._\-]+")


@cache
def _cue_words() -> tuple[re.Pattern[str], dict[str, Field | None]]:
    fields: dict[str, Field | None] = {key(word): None for word in words("words", "not_cues")}
    every = list(words("words", "not_cues"))
    for field in PLATFORMS:
        for word in words("cues", field.value):
            fields.setdefault(key(word), field)
            every.append(word)
    return re.compile(pattern(every, grouped=True)), fields


_x = cache(
    lambda: re.compile(
        r"(?<![A-Za-z0-9_.\-'&])(?:X[ \t]{0,2}(?:[:\uff1a=(\-][ \t]{0,2})?(?=@[A-Za-z0-9_])"
        rf"|[Xx](?:[ \t]?{pattern([*words('words', 'joiners'), *words('words', 'is')])}){{1,3}}"
        r"[ \t]?(?=@[A-Za-z0-9_])"
        r"|[Xx][ \t]?[:\uff1a=][ \t]{0,2}(?=@?[A-Za-z0-9_]{3}))"
    )
)
"""Pattern of X as a platform: an `@` or a colon follows, after words such as "is"."""


_and = cache(
    lambda: re.compile(rf"[ \t]*(?:[/&+|,\uff0c\u3001\u060c]|(?:, ?)?{pattern(words('words', 'and'))})[ \t]*")
)


_named = cache(
    lambda: re.compile(
        rf"{pattern(words('words', 'markers'))}[^ \t:=\uff1a]{{0,8}}[ \t]{{0,2}}[:=\uff1a][ \t]{{0,2}}$"
    )
)


_leads = cache(
    lambda: re.compile(
        r"(?P<gap>[ \t]*(?:[(\[\uff08\-|/=]"
        rf"|{pattern([*words('words', 'before'), *words('words', 'is')])})?[ \t]*)$"
    )
)
"""Pattern between a handle and the cue after it: "@name on instagram"."""


@cache
def _leading_words() -> frozenset[str]:
    """Return words that may stand right before "line" when it is the app's name."""
    kinds = ("joiners", "before", "and", "markers", "is")
    last_words = frozenset(word.split()[-1] for kind in kinds for word in words("words", kind))
    return last_words | {
        "add", "contact", "via", "use", "official", "new", "or", "have", "your", "through", "chat", "kontak",
        "oa", "dm",
    }  # fmt: skip


@cache
def _ordinary_handles() -> tuple[frozenset[str], ...]:
    """Return ordinary words by language: "pls.thanks" is ordinary in English, "luna.sale" in none."""
    kinds = ("stop", "joiners")
    every = [
        [word for kind in kinds for word in lexicon.get("words", {}).get(kind, ())]
        for lexicon in lexicons().values()
    ]
    return tuple(frozenset(listed) for listed in every if listed)


def find_handles(text: Folded, country: str) -> list[Find]:
    """Find handles and, for LINE and WeChat, numbers that a platform's name leads to or follows."""
    matches: list[Find] = []
    claimed = 0
    for cue in _cues(text):
        if cue.start < claimed:
            continue
        # "line" is also a railway's, a queue's, a phone's: then no leading word stands before it.
        written = text.text[cue.start : cue.end]
        is_small = text.low[cue.start : cue.end] == "line" and not written[0].isupper()
        if cue.fields == (Field.LINE,) and (is_small or written == "Line"):
            before = _WORD_BEFORE.search(text.low, max(0, cue.start - 24), cue.start)
            if before is not None and before[1] not in _leading_words():
                continue
        number = find_number(text, cue, country)
        if number is not None:
            matches.append(number)
            claimed = max(claimed, cue.end, number.end)
            continue
        handles = (
            _handle_after(text, cue)
            or _handle_before(text, cue, claimed)
            or _handle_further_on(text, cue)
            or stated_after(text.low, cue, claimed)
            or stated_before(text.low, cue, claimed)
        )
        if handles is None:
            continue
        start, end, value, rule = handles
        claimed = max(claimed, end)
        matches += [
            Find(field, value, start, end, 0.9, f"{field.value}.{rule}")
            for field in dict.fromkeys(cue.fields)
            if _SHAPES[field].fullmatch(value)
        ]
    return matches


def _cues(text: Folded) -> Iterator[Cue]:
    finder, fields = _cue_words()
    cues = [
        Cue((field,), match.start(), match.end(), plain=match[0].isascii())
        for match in both_ends(finder.finditer(text.low))
        if (field := fields[key(match[match.lastindex or 0])]) is not None
        and not _GLUED.match(text.low, match.end() - 1)
    ]
    if "X" in text.text or "x" in text.text:
        marks = both_ends(_x().finditer(text.text))
        cues += [Cue((Field.TWITTER,), match.start(), match.end(), plain=True) for match in marks]
    if len(cues) > 1:
        cues.sort(key=lambda cue: cue.start)
        cues = both_ends(cues)
    if len(cues) == 1:
        yield cues[0]
        return
    index = 0
    while index < len(cues):
        cue = cues[index]
        index += 1
        while index < len(cues) and _and().fullmatch(text.low, cue.end, cues[index].start):
            following = cues[index]
            cue = Cue(
                (*cue.fields, *following.fields), cue.start, following.end, cue.plain and following.plain
            )
            index += 1
        yield cue


def _handle_after(text: Folded, cue: Cue) -> tuple[int, int, str, str] | None:
    gap = gap_pattern().match(text.low, cue.end)
    start = gap.end() if gap is not None else cue.end
    if cue.fields == (Field.WEIBO,):
        han = _HAN_TOKEN.match(text.low, start)
        if han is not None and not han["id"].startswith(words("words", "negations")):
            return han.start("id"), han.end("id"), han["id"], "handle"
    while start > cue.end and text.low[start - 1] == "_":
        start -= 1  # an underscore that the gap took for a mark of emphasis may be the handle's first sign
    if cue.fields == (Field.LINKEDIN,):
        start = _IN.match(text.low, start).end()  # type: ignore[union-attr]
    token = _TOKEN.match(text.low, start)
    if token is None or (
        cue.plain and start == cue.end and token["at"] is None and cue.fields != (Field.TWITTER,)
    ):
        return None
    end = token.start("id") + len(token["id"].rstrip(".-"))
    value = text.low[token.start("id") : end]
    is_handle = _is_handle(text.low, token, value, end)
    is_word = len(value) >= 5 and value.isalpha() and not _goes_on(text.low, end)
    if not is_handle and is_word and not _MORE.match(text.low, end):
        # "id:" or "username:" stands right before a word that is no ordinary one.
        is_ordinary = any(value in words for words in _ordinary_handles())
        is_handle = not is_ordinary and _named().search(text.low, cue.start, token.start()) is not None
    return (token.start("id"), end, value, "handle") if is_handle else None


def _handle_further_on(text: Folded, cue: Cue) -> tuple[int, int, str, str] | None:
    """Return the marked handle a few other words after the cue: "instagram do salão @name"."""
    far = _FAR.match(text.low, cue.end)
    if far is None or text.low[cue.start : cue.end] in _WORDS_TOO:
        return None
    between, mark = far["words"], far["mark"]
    if between.isascii() and (mark or len(between.split()) > _MOST_WORDS):
        return None
    if _cue_words()[0].search(between) or not kinds_near(between).isdisjoint(_NO_HANDLE):
        return None
    token = _TOKEN.match(text.low, far.end())
    if token is None:
        return None
    end = token.start("id") + len(token["id"].rstrip(".-"))
    value = text.low[token.start("id") : end]
    return (token.start("id"), end, value, "handle") if _is_handle(text.low, token, value, end) else None


def _is_handle(low: str, token: re.Match[str], value: str, end: int) -> bool:
    if len(value) < 3 or _goes_on(low, end):
        return False
    if token["at"] == "@":
        return True
    return not _FIGURES.fullmatch(value) and not _WEBSITE.search(value) and _has_shape(value)


def _goes_on(low: str, end: int) -> bool:
    """Report whether the following text makes the word part of an address, a link or a longer word."""
    following = low[end : end + 3]
    return following[:1] == "@" or following == "://" or _GOES_ON.match(following) is not None


def _has_shape(value: str) -> bool:
    """Report whether a word has the shape of a handle: a digit, `_`, `.` or `-`, not ordinary words."""
    if not _SIGNED.search(value):
        return False
    parts = [part for part in _PARTS.split(value) if part]
    if "_" in value:
        return bool(parts)
    return bool(parts) and not any(value in words or words.issuperset(parts) for words in _ordinary_handles())


def _handle_before(text: Folded, cue: Cue, claimed: int) -> tuple[int, int, str, str] | None:
    """Return the handle before the cue: "@name on instagram"."""
    window = max(claimed, cue.start - 64)
    lead = _leads().search(text.low, window, cue.start)
    if lead is None:
        return None
    token = _BEFORE.search(text.low, window, lead.start())
    if token is None:
        return None
    value = token["id"].rstrip(".-")
    before = text.low[token.start() - 1 : token.start()]
    if before and (before.isalnum() or before in "@./_"):
        return None
    if token["at"] is None and not (lead["gap"].strip() and _JOINED.search(value) and _has_shape(value)):
        return None
    return token.start("id"), token.start("id") + len(value), value, "handle-before"
