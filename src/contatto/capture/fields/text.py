"""Text normalization, lexicons, and detection of stated names and ids ("my name is …")."""

import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import NamedTuple

import re2

from contatto.capture.model import Field, NameMatch

#: Replacement for text that a field has read already.
BLANK = "\uffff"
#: Invisible characters: zero-width, bidi, soft hyphen, variation selectors, keycap, tags.
UNSEEN = (
    "\u00ad\u034f\u061c\u0640\u064b-\u0652\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u20e3\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e01ef"
)
#: Marks that join the character before them: combining accents and the half-width voiced marks.
_JOINING = "\u0300-\u033f\uff9e\uff9f"
#: Spaces, forms and signs with a plain equal; letters such as Thai sara am are not among them.
_FORMS = (
    "\u00a0\u00aa\u00b2\u00b3\u00b9\u00ba\u0130\u2000-\u200a\u2028\u2029\u202f\u205f\u2070-\u209f"
    "\u2100-\u214f\u2460-\u24ff\u2776-\u2793\u3000\ufb00-\ufb06\ufb50-\ufdff\ufe10-\ufe19\ufe30-\ufe6f"
    "\ufe70-\ufefc\uff01-\uffef\U0001d400-\U0001d7ff\U0001f100-\U0001f189\ud800-\udfff"
)
#: Zeros of every script but ASCII and the forms above.
_ZEROS = (
    0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xDE6, 0xE50,
    0xED0, 0xF20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0,
    0x1C40, 0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0x104A0, 0x11066,
    0x110F0, 0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0, 0x11650, 0x116C0, 0x11730, 0x118E0,
    0x11C50, 0x11D50, 0x11DA0, 0x16A60, 0x16B50, 0x1E140, 0x1E2F0, 0x1E950, 0x1FBF0,
)  # fmt: skip
#: Their decimal digits, as a character class.
_DIGITS = "".join(f"{chr(zero)}-{chr(zero + 9)}" for zero in _ZEROS)

#: Characters for which a text needs folding; the first pass of the detector looks for them. The common
#: full-width comma, colon, question and exclamation marks are not among them: the patterns know them.
FOLDABLE = (
    UNSEEN
    + _JOINING
    + _FORMS.replace("\ud800-\udfff", "").replace(
        "\uff01-\uffef", "\uff02-\uff0b\uff0d-\uff19\uff1b-\uff1e\uff20-\uffef"
    )
    + _DIGITS
)

_CLUSTER = re.compile(
    f"(?P<unseen>[{UNSEEN}]+)|[^{_JOINING}{UNSEEN}\\s]?[{_JOINING}]{{1,8}}|[{_FORMS}{_DIGITS}]"
)
_ANY = re.compile(f"[{UNSEEN}{_JOINING}{_FORMS}{_DIGITS}]")
"""Every cluster contains one of these; this search takes a tenth of the time."""


class Find(NamedTuple):
    """Match of a field; its span is that of the folded text."""

    field: Field
    value: str
    start: int
    end: int
    confidence: float
    rule: str
    extension: str = ""


def both_ends[T](items: Iterable[T], most: int = 64) -> list[T]:
    """Return all items, or of very many the first and last ones, so that a flood hides no contact."""
    every = list(items)
    return every if len(every) <= most else every[: most // 2] + every[-(most // 2) :]


@dataclass(slots=True)
class Folded:
    """Folded text with the original span of each character; `starts` and `ends` are empty if none moved."""

    original: str
    text: str
    low: str
    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the span of a folded slice in the original text."""
        if not self.starts or start >= end:
            return start, end
        return self.starts[start], self.ends[end - 1]

    def without(self, spans: Iterable[tuple[int, int]]) -> "Folded":
        """Return the text with some spans blanked, so that no other field reads them again."""
        text, low = self.text, self.low
        for start, end in spans:
            text = text[:start] + BLANK * (end - start) + text[end:]
            low = low[:start] + BLANK * (end - start) + low[end:]
        return Folded(self.original, text, low, self.starts, self.ends)


@lru_cache(maxsize=8192)
def _plain(cluster: str) -> str:
    """Return the plain spelling of one cluster of characters."""
    if "\ud800" <= cluster <= "\udfff" and len(cluster) == 1:
        return "\ufffd"
    if cluster in "\u2028\u2029":
        return "\n"
    if cluster == "\u0130":
        return "I"
    if cluster.isspace():
        return " "
    plain = unicodedata.normalize("NFKC", cluster)
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in plain)


def fold(text: str) -> Folded:
    """Normalize a text to plain characters (NFKC, ASCII digits), with a map to the original positions."""
    if text.isascii() or _ANY.search(text) is None:
        return Folded(text, text, text.lower())
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    done = 0
    for match in _CLUSTER.finditer(text):
        first, last = match.span()
        pieces.append(text[done:first])
        starts.extend(range(done, first))
        ends.extend(range(done + 1, first + 1))
        done = last
        if match["unseen"] is None:
            plain = _plain(match[0])
            pieces.append(plain)
            starts.extend([first] * len(plain))
            ends.extend([last] * len(plain))
    pieces.append(text[done:])
    starts.extend(range(done, len(text)))
    ends.extend(range(done + 1, len(text) + 1))
    plain_text = "".join(pieces)
    return Folded(text, plain_text, plain_text.lower(), tuple(starts), tuple(ends))


#: Letters of scripts that are written with spaces; elsewhere a word may stand anywhere.
LATIN = "a-z\u00e0-\u024f\u1e00-\u1eff"
SEMITIC = "\u05d0-\u05ea\u0621-\u064a\u066e-\u06d3\u06fa-\u06ff"
#: Prefixes of Arabic and Hebrew words (and, with, for, the …), and suffixes (my, your, our …).
_BEFORE = "(?:[وف]?(?:عال|بال|لل|كال|ال|[بلع])?|[ושה]?[הבלמ]?)"
_AFTER = "(?:ي|ى|نا|ك|كم|ه|ها|و|י)?"

#: Letters that Arabic and Urdu keyboards mix up; each is folded to the first of its row.
_SAME = (
    "\u0627\u0623\u0625\u0622\u0671",
    "\u0647\u0629\u06c1\u06c3",
    "\u064a\u0649\u06cc\u06d2",
    "\u0643\u06a9",
    "'\u05f3\u2019\u2018",
    '"\u05f4\u201d',
)
_ONE_LETTER = {ord(letter): letters[0] for letters in _SAME for letter in letters[1:]}
_SPELLINGS = {letters[0]: letters for letters in _SAME}

type Matcher = Callable[[bytes], list[int]]
"""Return the indexes of the patterns that match a UTF-8 text."""

#: The space inside a word of the lexicons that must be there; all others may be left out.
_SPACE = "\x1f"
_GAPS = {" ": r"[ \t\-]?", _SPACE: r"[ \t\-]"}

_FOLDER = files("contatto.capture") / "lexicons"


@cache
def lexicons() -> dict[str, dict[str, dict[str, list[str]]]]:
    """Return the file of each language, by their names in order."""
    entries = sorted(_FOLDER.iterdir(), key=lambda entry: entry.name)
    return {
        entry.name.removesuffix(".toml"): tomllib.loads(entry.read_text(encoding="utf-8"))
        for entry in entries
        if entry.name.endswith(".toml")
    }


@cache
def words(section: str, kind: str) -> tuple[str, ...]:
    """Return one kind of word in all languages, folded and lower-cased, with and without accents."""
    unique_words: dict[str, None] = {}
    for _, spelling in _spellings(section, kind):
        # Two words that would be an ordinary one without their space keep it: "no va" is not "nova".
        is_ordinary = " " in spelling and key(spelling) in _common_words()
        unique_words[spelling.replace(" ", _SPACE) if is_ordinary else spelling] = None
    return tuple(unique_words)


@cache
def languages(section: str, kind: str) -> dict[str, frozenset[str]]:
    """Map the words of a kind to the languages that use them; "any" means all languages."""
    spoken: dict[str, set[str]] = {}
    for language, spelling in _spellings(section, kind):
        spoken.setdefault(key(spelling), set()).add(language)
    return {word: frozenset(names) for word, names in spoken.items()}


@cache
def _common_words() -> frozenset[str]:
    kinds = ("stop", "joiners")
    return frozenset(
        key(word)
        for lexicon in lexicons().values()
        for kind in kinds
        for word in lexicon.get("words", {}).get(kind, ())
    )


def _spellings(section: str, kind: str) -> Iterator[tuple[str, str]]:
    """Yield the words of a kind with their languages, also without accents, and with endings as "-nya"."""
    for language, lexicon in lexicons().items():
        writing = lexicon.get("writing", {})
        for word in lexicon.get(section, {}).get(kind, ()):
            plain = key(fold(word).low, spaces=" ")
            yield language, plain
            if len(plain) > 4 and "accents" in writing.get("optional", ()):
                parts = unicodedata.normalize("NFD", plain.replace("\u0111", "d"))
                yield language, "".join(part for part in parts if not unicodedata.combining(part))
            if len(plain) > 3:
                yield from ((language, plain + ending) for ending in writing.get("endings", ()))


def key(word: str, *, spaces: str = "") -> str:
    """Return the lookup key of a matched word: one letter for those that are mixed up, no spaces."""
    return " ".join(word.translate(_ONE_LETTER).replace("-", " ").split()).replace(" ", spaces)


@cache
def email_labels() -> dict[str, str]:
    """Map spellings in other scripts to labels of addresses, such as "gmail" or "com"."""
    return {
        key(fold(word).low): label
        for lexicon in lexicons().values()
        for label, listed in lexicon.get("email_labels", {}).items()
        for word in listed
    }


@cache
def tlds() -> frozenset[str]:
    """Return the top-level domains, in ASCII and Unicode spelling."""
    lines = (_FOLDER / "tlds.txt").read_text(encoding="utf-8").split()
    return frozenset(lines)


def either(options: Iterable[str]) -> str:
    """Return an alternation as a prefix tree, longest first, so that no word is tried twice."""
    tree: dict[str, object] = {}
    for option in options:
        node = tree
        for sign in option:
            node = node.setdefault(sign, {})  # type: ignore[assignment]
        node[""] = {}
    return _branch(tree)


def _branch(node: dict[str, object]) -> str:
    ends = "" in node
    arms = []
    for sign, below in node.items():
        if sign:
            written = f"[{_SPELLINGS[sign]}]" if sign in _SPELLINGS else re.escape(sign)
            arms.append(_GAPS.get(sign, written) + _branch(below))  # type: ignore[arg-type]
    if not arms:
        return ""
    body = arms[0] if len(arms) == 1 and not ends else f"(?:{'|'.join(arms)})"
    return f"{body}?" if ends else body


def _groups(options: Iterable[str]) -> tuple[list[str], list[str], list[str]]:
    latin, semitic, other_words = [], [], []
    for option in options:
        if re.match(f"[{LATIN}0-9]", option):
            latin.append(option)
        elif re.match(f"[{SEMITIC}]", option):
            semitic.append(option)
        else:
            other_words.append(option)
    return latin, semitic, other_words


def pattern(options: Iterable[str], *, grouped: bool = False) -> str:
    """Return a pattern for `re` that finds any of the words, whole where their script has borders.

    With `grouped`, the one group that is set holds the word without Arabic or Hebrew prefixes and suffixes.
    """
    latin, semitic, other_words = _groups(options)
    first = "(" if grouped else "(?:"
    arms = []
    if latin:
        arms.append(f"{_begins(latin)}(?<![{LATIN}0-9_]){first}{either(latin)})(?![{LATIN}_])")
    if semitic:
        arms.append(
            f"(?=[{SEMITIC}])(?<![{SEMITIC}]){_BEFORE}{first}{either(semitic)}){_AFTER}(?![{SEMITIC}])"
        )
    if other_words:
        arms.append(f"{_begins(other_words)}{first}{either(other_words)})")
    return f"(?:{'|'.join(arms)})" if arms else "(?!)"


def _begins(options: list[str]) -> str:
    """Return a look-ahead at one character, so that `re` tries a large tree only where a word may begin."""
    signs = {same for option in options for same in _SPELLINGS.get(option[0], option[0])}
    return f"(?=[{re.escape(''.join(sorted(signs)))}])"


def linear_pattern(options: Iterable[str], *, starts: str = "", ends: str = "") -> str:
    """Return the pattern for RE2, which has no look-around: the borders are part of the match.

    With `starts` or `ends` the word must begin or end the text, and that is its border.
    """
    latin, semitic, other_words = _groups(options)
    arms = []
    if latin:
        first, last = starts or f"(?:^|[^{LATIN}0-9_])", ends or f"(?:$|[^{LATIN}_])"
        arms.append(f"{first}{either(latin)}{last}")
    if semitic:
        first, last = starts or f"(?:^|[^{SEMITIC}])", ends or f"(?:$|[^{SEMITIC}])"
        arms.append(f"{first}{_BEFORE}{either(semitic)}{_AFTER}{last}")
    if other_words:
        arms.append(f"{starts}{either(other_words)}{ends}")
    return "|".join(arms)


def match_of(patterns: Iterable[str], memory: int) -> Matcher:
    """Compile patterns to one automaton of RE2, which matches all of them in linear time."""
    options = re2.Options()
    options.case_sensitive = False
    options.max_mem = memory
    options.never_capture = True
    options.log_errors = False
    search_set = re2.Set.SearchSet(options)
    for expression in patterns:
        search_set.Add(expression)
    search_set.Compile()
    matcher: Matcher = search_set._set.Match  # noqa: SLF001 - its wrapper costs a fifth of the time of a plain text
    return matcher


def as_bytes(text: str) -> bytes:
    """Encode as UTF-8, as RE2 reads nothing else; lone surrogates become question marks."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


#: Openings so vague that a lower-case word after them is no name: "I am late", "this is nice".
_VAGUE = frozenset({
    "i'm", "i am", "this is", "call me", "name", "soy", "sou o", "sou a", "je suis", "nom", "nama", "an",
    "a n", "moi c'est", "nombre",
    "nome", "tên", "mình là", "tôi là", "jina", "mimi ni", "mimi", "they call me",
    "contact person", "full name", "saya dengan", "le habla", "te habla", "name ko", "ako ay si",
})  # fmt: skip
_BETWEEN = re.compile(
    r"[ \t]*(?:[:：=\-]|is\b|es\b|é\b|est\b|adalah\b|ay\b|ni\b|là\b|は|是|คือ|គឺ|هو|है|ہے)?[ \t]*"
)
_MEMORY = 8 << 20  # bytes that the automaton of all openings may take
_LETTER = rf"[{LATIN}]"
_LATIN = re.compile(
    rf"{_LETTER}[{LATIN}'\u2019\-]{{1,24}}(?: {_LETTER}[{LATIN}'\u2019\-]{{0,24}}){{0,3}}", re.IGNORECASE
)
_NAME_IN_SCRIPT = re.compile(
    r"[\u0e01-\u0e4e]{2,24}(?: [\u0e01-\u0e4e]{2,24})?"
    r"|[\u3041-\u30ff\u3400-\u9fff]{1,12}(?:[ \u30fb][\u3041-\u30ff\u3400-\u9fff]{1,12})?"
    r"|[\uac00-\ud7a3]{2,8}"
    r"|[\u0621-\u064a\u066e-\u06d3]{2,20}(?: [\u0621-\u064a\u066e-\u06d3]{2,20})?"
    r"|[\u05d0-\u05ea]{2,20}(?: [\u05d0-\u05ea]{2,20})?|[\u0900-\u0963]{2,20}(?: [\u0900-\u0963]{2,20})?"
    r"|[\u0b80-\u0bff]{2,24}|[\u0d80-\u0dff]{2,24}|[\u1780-\u17d3]{2,24}"
)
#: Polite endings and copulas after a name in Thai, Japanese, Korean, Hindi and others.
_PARTICLES = re.compile(
    r"(?:ครับผม|ครับ|ค่ะ|คะ|นะ|จ้า|と申します|ともうします|といいます|と言います"
    r"|です|입니다|이에요|예요|이라고 합니다"
    r"|बोल रहा.*| है| ہے| வணக்கம்|បាទ|ចា៎)+.*$"
)
#: Lower-case words inside a name.
_SMALL = frozenset({
    "de", "da", "do", "dos", "del", "la", "las", "los", "van", "von", "bin", "binti", "binte", "al", "el",
    "y", "e",
})  # fmt: skip


@cache
def may_open() -> Matcher:
    """Return a matcher for openings of a name in a folded lower-case text, ten times as fast as a search."""
    return match_of((f"(?-i:{linear_pattern(words('names', 'intro'))})",), _MEMORY)


_ordinary_words = cache(lambda: frozenset(words("words", "stop")) | frozenset(words("words", "negations")))


def find_name(message: str) -> NameMatch | None:
    """Return the name that a person states ("my name is …"); it alone makes no lead."""
    text = fold(message)
    if not may_open()(as_bytes(text.low)):
        return None
    for opening in finder("names", "intro").finditer(text.low):
        gap = _BETWEEN.match(text.low, opening.end())
        start = gap.end() if gap is not None else opening.end()
        name = _latin_name(text, opening, start)
        in_script = _NAME_IN_SCRIPT.match(text.text, start)
        if not name and in_script is not None:
            name = _PARTICLES.sub("", in_script[0]).strip()
            name = "" if name in _ordinary_words() else name
        if name:
            first, last = text.span(start, start + len(name))
            return NameMatch(name, first, last, text.original[first:last], "name.stated")
    return None


def _latin_name(text: Folded, opening: re.Match[str], start: int) -> str:
    """Return the name in Latin letters that begins here, or nothing."""
    match = _LATIN.match(text.text, start)
    if match is None:
        return ""
    vague = opening[0].strip() in _VAGUE or not opening[0].isascii()
    end = start
    for word in re.finditer(r"[^ ]+", match[0]):
        # Capitals belong to the name, and "de" or "bin" inside it.
        plain, is_capital = word[0].lower(), word[0][0].isupper()
        belongs = is_capital or plain in _SMALL
        if word.start() == 0:
            belongs = plain not in _ordinary_words() and (is_capital or not vague)
        if not belongs:
            break
        end = start + word.end()
    value = text.text[start:end].rstrip("-'\u2019 ")
    while value.split(" ")[-1].lower() in _SMALL:
        value = value[: value.rfind(" ")] if " " in value else ""
    return value if len(value) > 1 else ""


_NUMBER = re.compile(r"\+?[0-9(][0-9 .\-()]{4,17}[0-9](?![0-9a-z_@])")
_NUMBER_BEFORE = re.compile(
    r"(?<![0-9a-z_+])\+?[0-9(][0-9 .\-()]{5,17}[0-9](?=[ \t]*[(\[,|/\uff0c\u3001]?[ \t]*$)"
)
_NUMBER_END = re.compile(r"[ \t]*(?:[)\].,!;\n\uff0c\uff01\u3002]|$)")
_CUE_SPAN = 12
SHARED = ".same-number"
"""End of the rule of an id that is also a phone number."""
#: Arrows and emoji, as a character class.
PICTURES = "\u2190-\u21ff\u2600-\u27bf\u2b00-\u2bff\U0001f300-\U0001faff"


class Cue(NamedTuple):
    """Platform names that share an id, such as "IG/FB"; ``plain`` if in ASCII."""

    fields: tuple[Field, ...]
    start: int
    end: int
    plain: bool


@cache
def gap_pattern() -> re.Pattern[str]:
    """Return the pattern between a cue and its handle: marks, and words such as "is", "my", "คือ", "は"."""
    kinds = ("joiners", "markers", "around", "is")
    joiners = pattern(word for kind in kinds for word in words("words", kind) if word.strip("@ "))
    marks = (
        "['\u2019]s(?![a-z])"
        "|[:/\uff1a\u17d6\uff0c\uff01=~>|\\[\\](){}\"'\u201c\u201d\u2018\u2019\u00ab\u00bb\u3008-\u3011*_\u3001,!\u2026"
        f"{PICTURES}]|\\.(?= )|-(?=[ @])|(?<= )-|[\u2013\u2014]"
    )
    whole = r"(?:(?<![a-z])|(?![.\-]?[a-z0-9_]))"  # "shop.luna" begins with no joiner
    step = rf"[ \t\n]{{0,3}}(?:{marks}|{joiners}{whole})"
    return re.compile(rf"(?:{step}){{0,7}}[ \t\n]{{0,3}}")


_same_number = cache(lambda: re.compile(pattern(words("words", "same_number"))))
_negation_before = cache(lambda: re.compile(rf"(?:{pattern(words('words', 'negations'))})[ \t]*$"))
"""A negation right before a cue: "no line, call …", "ไม่มีไลน์ เบอร์ …"."""


@cache
def _shared_phone() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return patterns for a phone cue before or behind a cue with the same number, as in "Tel/WeChat"."""
    cues = pattern([*words("cues", "phone"), *words("cues", "whatsapp")])
    joint = f"[ \\t]*(?:[/&+|,\u3001\u30fb]|{pattern(words('words', 'and'))})[ \\t]*"
    return re.compile(f"{cues}{joint}$"), re.compile(f"(?:{joint}|(?<=[^ -~])){cues}")


def find_number(text: Folded, cue: Cue, country: str) -> Find | None:
    """Return digits near a cue as a LINE or WeChat id; with the rule `SHARED` they are a phone number too."""
    fields = [field for field in cue.fields if field in (Field.LINE, Field.WECHAT)]
    if not fields or _negation_before().search(text.low, max(0, cue.start - _CUE_SPAN), cue.start):
        return None
    field = fields[0]
    span = _number_after(text, cue) or _number_before(text, cue)
    if span is None:
        return None
    # In many countries a "line" is a phone line; there only "LINE" and "line id" mean the app.
    written = text.text[cue.start : cue.end]
    is_app = country.lower() in words("words", "line_app") and text.low[span[0]] != "+"
    if field is Field.LINE and written.lower() == "line" and written != "LINE" and not is_app:
        return None
    digits = "".join(sign for sign in text.low[span[0] : span[1]] if sign.isdigit())
    first, last = max(0, min(cue.start, span[0]) - _CUE_SPAN), max(cue.end, span[1]) + _CUE_SPAN
    phone_before, phone_after = _shared_phone()
    is_phone = (
        _same_number().search(text.low, first, min(len(text.low), last))
        or phone_before.search(text.low, max(0, cue.start - 30), cue.start)
        or phone_after.match(text.low, cue.end)
    )
    rule = SHARED if is_phone else ".number"
    return Find(field, digits, *span, 0.85, f"{field.value}{rule}")


def _number_after(text: Folded, cue: Cue) -> tuple[int, int] | None:
    shared = _shared_phone()[1].match(text.low, cue.end)
    start = shared.end() if shared is not None else cue.end
    same = _same_number().match(text.low, start)
    gap = gap_pattern().match(text.low, same.end() if same is not None else start)
    number = _NUMBER.match(text.low, gap.end() if gap is not None else start)
    if number is None or sum(sign.isdigit() for sign in number[0]) < 6:
        return None
    return number.span()


def _number_before(text: Folded, cue: Cue) -> tuple[int, int] | None:
    number = _NUMBER_BEFORE.search(text.low, max(0, cue.start - 28), cue.start)
    if number is None:
        return None
    same = _same_number().match(text.low, cue.end)
    closed = _NUMBER_END.match(text.low, same.end() if same is not None else cue.end)
    shared = same is not None or _same_number().search(text.low, cue.end, cue.end + _CUE_SPAN) is not None
    return number.span() if closed is not None or shared else None


_WORD = re.compile(r"[a-z]{5,30}(?![a-z0-9_]|[.\-][a-z0-9_]|[@#%]|://)")
_WORD_LAST = re.compile(r"(?<![a-z0-9_.@/\-])(?P<id>[a-z]{5,30})[\"'\u201d\u2019\u00bb\u300d)*]?[ \t]*$")
_CLAUSE = re.compile(rf"[.,;:!?()\n\u3001\u3002\uff0c\uff01\uff1f\u060c\u061f{PICTURES}]")
_COLON = re.compile(r"[:=\uff1a][ \t]*[\"'\u201c\u2018\u00ab\u300c(*]?$")
_LONGEST_ENDED = 10
"""Letters up to which an ending such as "-ing" makes an ordinary word; names of shops are longer."""
_STATEMENT_SPAN = 32
_ANY_LANGUAGE = "any"
#: The platforms that have handles.
PLATFORMS = (
    Field.INSTAGRAM, Field.FACEBOOK, Field.MESSENGER, Field.LINE, Field.TWITTER, Field.LINKEDIN, Field.WEIBO,
    Field.WECHAT, Field.SNAPCHAT,
)  # fmt: skip


@cache
def _statement_gap() -> re.Pattern[str]:
    """Return the pattern between a platform and a stated handle; copulas and owners belong to it."""
    kinds = ("joiners", "markers", "around", "is", "own", "copulas")
    small = [word for kind in kinds for word in words("words", kind) if word.strip("@ \u3001\uff1a")]
    signs = f"[:/=>~*\"'()\\[\\]\u2018-\u201d\u00ab\u3001\u300c\uff1a{PICTURES}-]"
    whole = "(?:(?<![a-z])|(?![a-z0-9_]))"  # "ku" is no word in "kulineran"
    return re.compile(rf"(?:[ \t]{{0,3}}(?:{pattern(small)}{whole}|{signs})){{0,7}}[ \t]{{0,3}}")


finder = cache(lambda section, kind: re.compile(pattern(words(section, kind), grouped=True)))
_copula_last = cache(
    lambda: re.compile(
        rf"{finder('words', 'copulas').pattern}[ \t]*[:=\uff1a\"'\u2018\u201c\u00ab\u300c(*]{{0,2}}[ \t]*$"
    )
)


@cache
def _end() -> re.Pattern[str]:
    """Return the pattern after a stated handle: end of the clause, another script, or "thanks"."""
    after = pattern([*words("words", "closers"), *words("words", "and"), *words("words", "own")])
    return re.compile(
        r"[\"'\u2019\u201d\u00bb\u300d)*]?"
        rf"(?:[ \t]*(?:$|[\n.,;!?)/&|+\-\u2013{PICTURES}]|[^\x00-\x7f{LATIN}])"
        rf"|[ \t]+(?:{after}|\+?[0-9][0-9 \-]{{6}}))"
    )


_negation_after = cache(
    lambda: re.compile(rf"[ \t]*[^\x00-\x7f{LATIN}]{{0,3}}?(?:{pattern(words('words', 'negations'))})")
)
"""Negation behind the word, in languages that write it there."""


@cache
def _lexicon_words() -> frozenset[str]:
    """Return all words of all lexicons: none of them is the name of an account."""
    listed = (
        word
        for lexicon in lexicons().values()
        for section in lexicon.values()
        for kind in section.values()
        for phrase in kind
        for word in phrase.lower().split()
    )
    return frozenset(word for word in listed if word.isascii() and word.isalpha())


_without_copula = cache(lambda: languages("writing", "optional").get("copula", frozenset[str]()))
"""Languages that may leave out the verb: "my instagram lunadecor"."""


def stated_after(low: str, cue: Cue, claimed: int) -> tuple[int, int, str, str] | None:
    """Return start, end, value and rule of the handle after a cue: "my instagram is lunadecor".

    Args:
        low: the message in small letters.
        cue: the platform's name in it.
        claimed: end of the previous handle; the text up to it belongs to another statement.
    """
    gap = _statement_gap().match(low, cue.end)
    word = _WORD.match(low, gap.end()) if gap is not None else None
    if word is None or (gap is not None and gap.end() == cue.end and low[cue.end - 1].isascii()):
        return None
    first = max(claimed, cue.start - _STATEMENT_SPAN)
    for stop in _CLAUSE.finditer(low, first, cue.start):
        first = stop.end()
    between = low[cue.end : word.start()]
    owners = _languages_in("own", low[first : cue.end]) | _languages_in("own", between)
    written = low[cue.start : cue.end]
    endings = languages("writing", "endings")
    owners = owners.union(*(spoken for ending, spoken in endings.items() if written.endswith(ending)))
    # The languages in which owner and copula make a statement.
    stretch = low[cue.start : word.start()]
    copula = _copula_last().search(stretch)
    copulas: frozenset[str] = frozenset()
    if copula is not None:
        copulas = languages("words", "copulas")[key(copula[copula.lastindex or 0])]
    spoken = (owners & copulas) | (owners & _without_copula()) | ((owners | copulas) & _other_scripts())
    if _COLON.search(stretch):
        spoken |= owners
    if not _is_statement(low, cue, word[0], spoken, word.end()):
        return None
    if not spoken.isdisjoint(_languages_in("negations", between)):
        return None
    return word.start(), word.end(), word[0], "handle-stated"


_other_scripts = cache(
    lambda: frozenset(
        language
        for word, spoken in languages("words", "copulas").items()
        if not word.isascii() and not re.match(f"[{LATIN}]", word)
        for language in spoken
    )
)
"""Languages of other scripts: a Latin word stands out, so owner or copula is enough."""


def stated_before(low: str, cue: Cue, claimed: int) -> tuple[int, int, str, str] | None:
    """Return the handle before a cue, as `stated_after` does: "lunadecor is my instagram"."""
    first = max(claimed, cue.start - 64)
    owned = _owned_last().search(low, first, cue.start)
    if owned is None:
        return None
    word = _WORD_LAST.search(low, first, owned.start())
    if word is None:
        return None
    copulas = _languages_in("copulas", low[word.end() : cue.start])
    owners = _languages_in("own", low[owned.start() : cue.end + 16])
    spoken = copulas & owners
    before = low[first : word.start()].rstrip(" \t\"'(*\u201c\u2018\u00ab\u300c")
    if before and not _CLAUSE.match(before[-1]):
        return None
    if not _is_statement(low, cue, word["id"], spoken, cue.end):
        return None
    return *word.span("id"), word["id"], "handle-stated"


_owned_last = cache(
    lambda: re.compile(
        rf"{pattern(words('words', 'copulas'))}"
        rf"(?:[ \t]*{pattern([*words('words', 'joiners'), *words('words', 'own')])}){{0,3}}[ \t]*$"
    )
)


def _languages_in(kind: str, stretch: str) -> frozenset[str]:
    by_word = languages("words", kind)
    matches = finder("words", kind).finditer(stretch)
    return frozenset().union(*(by_word[key(match[match.lastindex or 0])] for match in matches))


def _is_statement(low: str, cue: Cue, word: str, spoken: frozenset[str], end: int) -> bool:
    """Report whether a word is stated as a handle in one of the languages, and the statement ends at ``end``.

    The platform must be called so in one of them: "face" is Spanish, not English. The word must be no
    ordinary one, and no negation may follow.
    """
    written = low[cue.start : cue.end]
    used = _cue_languages().get(key(written), frozenset()) if written.isascii() else None
    is_called_so = not used or _ANY_LANGUAGE in used or not used.isdisjoint(spoken)
    if not spoken or not is_called_so or word in _lexicon_words():
        return False
    endings = languages("words", "state_endings") if len(word) <= _LONGEST_ENDED else {}
    for ending, used_in in endings.items():
        is_used = not used_in.isdisjoint(spoken) or not spoken.isdisjoint(_other_scripts())
        if word.endswith(ending) and is_used:
            return False
    return _end().match(low, end) is not None and _negation_after().match(low, end) is None


@cache
def _cue_languages() -> dict[str, frozenset[str]]:
    cues: dict[str, frozenset[str]] = {}
    for platform in (*PLATFORMS, Field.WHATSAPP):
        for word, spoken in languages("cues", platform).items():
            cues[word] = cues.get(word, frozenset()) | spoken
    return cues
