"""Folding of texts, lexicons of words, and context of numbers."""

import re
import tomllib
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import cache, lru_cache
from importlib.resources import files
from typing import NamedTuple

import re2

from contatto.capture.model import ContactMatch, Field

#: Stands where something was read already.
BLANK = "\uffff"
#: Marks that are not seen: zero-width, bidi, soft hyphen, variation selectors, keycap, tags.
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


def _digit_blocks() -> str:
    """Return the decimal digits of every script but ASCII and the forms above, as a character class."""
    starts = (
        0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xDE6, 0xE50,
        0xED0, 0xF20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0,
        0x1C40, 0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0x104A0, 0x11066,
        0x110F0, 0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0, 0x11650, 0x116C0, 0x11730, 0x118E0,
        0x11C50, 0x11D50, 0x11DA0, 0x16A60, 0x16B50, 0x1E140, 0x1E2F0, 0x1E950, 0x1FBF0,
    )  # fmt: skip
    return "".join(f"{chr(first)}-{chr(first + 9)}" for first in starts)


#: A class of the characters for which a text is folded; stage one of the detector asks for it. The common
#: full-width comma, colon, question and exclamation marks are not among them: the patterns know them.
FOLDABLE = (
    UNSEEN
    + _JOINING
    + _FORMS.replace("\ud800-\udfff", "").replace(
        "\uff01-\uffef", "\uff02-\uff0b\uff0d-\uff19\uff1b-\uff1e\uff20-\uffef"
    )
    + _digit_blocks()
)

_CLUSTER = re.compile(
    f"(?P<unseen>[{UNSEEN}]+)|[^{_JOINING}{UNSEEN}\\s]?[{_JOINING}]{{1,8}}|[{_FORMS}{_digit_blocks()}]"
)
_ANY = re.compile(f"[{UNSEEN}{_JOINING}{_FORMS}{_digit_blocks()}]")
"""What a cluster has one of at least: to look for it takes a tenth of what looking for clusters does."""


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
    """Return all items, or of very many the first and the last: a flood hides no contact."""
    every = list(items)
    return every if len(every) <= most else every[: most // 2] + every[-(most // 2) :]


@dataclass(slots=True)
class Folded:
    """A text as the fields read it; `starts` and `ends` are empty where nothing moved."""

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

    def match(self, find: Find) -> ContactMatch:
        """Return a find with its evidence in the original text."""
        start, end = self.span(find.start, find.end)
        raw = self.original[start:end]
        return ContactMatch(
            find.field, find.value, start, end, raw, find.confidence, find.rule, find.extension
        )

    def without(self, spans: Iterable[tuple[int, int]]) -> "Folded":
        """Return the text with some spans made unreadable, so that no other field reads them again."""
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
    """Fold a whole text; a text with nothing to fold is returned unchanged, with no map."""
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
#: What Arabic and Hebrew write onto a word: and, with, for, the … before; my, your, our … after.
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

type Match = Callable[[bytes], list[int]]

#: The space inside a word of the lexicons that must be there; all others may be left out.
_SPACE = "\x1f"
_GAPS = {" ": r"[ \t\-]?", _SPACE: r"[ \t\-]"}

_FOLDER = files("contatto.capture") / "lexicons"


@cache
def lexicons() -> tuple[dict[str, dict[str, list[str]]], ...]:
    """Return every language's file, in the order of their names."""
    names = (f"{name}.toml" for name in _language_names())
    return tuple(tomllib.loads((_FOLDER / name).read_text(encoding="utf-8")) for name in names)


def _language_names() -> list[str]:
    names = (entry.name for entry in _FOLDER.iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


@cache
def words(section: str, kind: str) -> tuple[str, ...]:
    """Return one kind of word in all languages, folded and lower-cased, with and without accents."""
    unique_words: dict[str, None] = {}
    for lexicon in lexicons():
        writing = lexicon.get("writing", {})
        for word in lexicon.get(section, {}).get(kind, ()):
            plain = key(fold(word).low, spaces=" ")
            unique_words.update(dict.fromkeys(map(_parted, (plain, *_variants(plain, writing)))))
    return tuple(unique_words)


@cache
def languages(section: str, kind: str) -> dict[str, frozenset[str]]:
    """Map the words of a kind to the languages that use them; "any" means all languages."""
    spoken: dict[str, set[str]] = {}
    for language, lexicon in zip(_language_names(), lexicons(), strict=True):
        for word in lexicon.get(section, {}).get(kind, ()):
            plain = key(fold(word).low, spaces=" ")
            for spelling in (plain, *_variants(plain, lexicon.get("writing", {}))):
                spoken.setdefault(key(spelling), set()).add(language)
    return {word: frozenset(names) for word, names in spoken.items()}


@cache
def _ordinary() -> frozenset[str]:
    kinds = ("stop", "joiners")
    return frozenset(
        key(word)
        for lexicon in lexicons()
        for kind in kinds
        for word in lexicon.get("words", {}).get(kind, ())
    )


def _parted(word: str) -> str:
    """Two words that would be an ordinary one without their space keep it: "no va" is not "nova"."""
    return word.replace(" ", _SPACE) if " " in word and key(word) in _ordinary() else word


def _variants(word: str, writing: dict[str, list[str]]) -> Iterator[str]:
    """Return other spellings of a word: without accents, with an ending such as Indonesian "-nya"."""
    if len(word) > 4 and "accents" in writing.get("optional", ()):
        parts = unicodedata.normalize("NFD", word.replace("\u0111", "d"))
        without_accents = "".join(part for part in parts if not unicodedata.combining(part))
        yield without_accents
    if len(word) > 3:
        yield from (word + ending for ending in writing.get("endings", ()))


def key(word: str, *, spaces: str = "") -> str:
    """Return the lookup key of a matched word: one letter for those that are mixed up, no spaces."""
    return " ".join(word.translate(_ONE_LETTER).replace("-", " ").split()).replace(" ", spaces)


@cache
def email_labels() -> dict[str, str]:
    """Return the labels of "gmail" or "com" by their spelling in other scripts."""
    return {
        key(fold(word).low): label
        for lexicon in lexicons()
        for label, listed in lexicon.get("email_labels", {}).items()
        for word in listed
    }


@cache
def tlds() -> frozenset[str]:
    """Top-level domains, in ASCII and Unicode spelling."""
    lines = (_FOLDER / "tlds.txt").read_text(encoding="utf-8").split()
    return frozenset(lines)


def either(options: Iterable[str]) -> str:
    """Return an alternation as a tree of common beginnings, longest first, so that no word is tried twice."""
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

    With `grouped`, the one group that is set holds the word without what Arabic or Hebrew write onto it.
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
    """Return a look at one sign, so that `re` tries a large tree only where one of its words may begin."""
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


def match_of(patterns: Iterable[str], memory: int) -> Match:
    """Return the numbers of the patterns that a text in UTF-8 holds, in any case, by one linear pass."""
    options = re2.Options()
    options.case_sensitive = False
    options.max_mem = memory
    options.never_capture = True
    options.log_errors = False
    search_set = re2.Set.SearchSet(options)
    for one in patterns:
        search_set.Add(one)
    search_set.Compile()
    match: Match = search_set._set.Match  # noqa: SLF001 - its wrapper costs a fifth of the time of a plain text
    return match


def as_bytes(text: str) -> bytes:
    """UTF-8, with lone surrogates as the replacement character: RE2 reads nothing else."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


class MarkKind(IntEnum):
    """Meaning of a word for digits near it; an earlier kind wins where lexicons share a word."""

    WHATSAPP = 1
    LABEL = 2
    LINE = 3
    WECHAT = 4
    PHONE = 5
    NUMBER = 6
    NEGATION = 7


_SECTIONS = {
    MarkKind.WHATSAPP: ("cues", "whatsapp"),
    MarkKind.LABEL: ("numbers", "labels"),
    MarkKind.LINE: ("cues", "line"),
    MarkKind.WECHAT: ("cues", "wechat"),
    MarkKind.PHONE: ("cues", "phone"),
    MarkKind.NUMBER: ("cues", "number"),
    MarkKind.NEGATION: ("words", "negations"),
}

#: Other results of `kinds_near`. Directly before a number: a label with nothing but words after it, a sign or
#: a word for money, letters attached to the digits. Directly after it: a unit or a sign, letters attached to
#: the digits. Anywhere: "no WhatsApp", which means "number" in Malay and Indonesian, "on" in Portuguese, and
#: none elsewhere.
LABEL_LAST, SUM_LAST, LETTER_LAST, UNIT_FIRST, LETTER_FIRST, NO_WHATSAPP, WISH_LAST = 0, 8, 9, 10, 11, 12, 13
_NO_IS_NUMBER = frozenset({"ID", "MY"})
_NO_IS_ON = frozenset({"BR"})
_NEAR = 48
_SENTENCE_END = re.compile(r"[\n;!?。！？؟]|(?<=[^\W\d_]{3})\.(?=\s)|(?<=\d)\.(?=\s)|[,،，、]\s?")
_PARTING = re.compile(r"[,;/)\n、，،]")
_NO = re.compile(r"(?<![a-z])no[ \-]$")
#: Signs between a label and its digits that begin no new sentence.
_BARE = r"[ \t:#=()\[\]\-\x{ff1a}\x{2013}\x{2014}\"'\x{300c}*/]"
_BARE_PY = "[ \\t:#=()\\[\\]\\-\uff1a\u2013\u2014\"'\u300c*/]"
_OTHER_WORD = r"[^\s0-9.,;:!?\x{3002}\x{ff0c}\x{60c}\x{3001}]{1,12}"
_OTHER_WORD_PY = r"[^\s0-9.,;:!?\u3002\uff0c\u060c\u3001]{1,12}"
_NUMBERING = re.compile(
    r"(?<![a-z])(?:number|no|num|nro|nr|nomor|nombor|nomer|numero|número|numéro|id|code|kode|kod|codigo|código|otp|imei|serial|serie"
    r"|série|seri|sn|namba|số|so|mã|ref|resi)(?![a-z])|n[°º]|เลข|รหัส|ซีเรียล|رقم|كود|رمز|سيريال|نمبر|番号|コード|号|號|编号|码|מספר|מס'|קוד|අංකය|எண்|លេខ"
)
_STOPS = frozenset(",.;!)")
_HARD_END = re.compile(r"[\n;]|(?<=[^\W\d_]{4})[.!?](?=\s)")


@dataclass(frozen=True, slots=True)
class NumberMark:
    """One telling word."""

    kind: MarkKind
    start: int
    end: int


@cache
def _marks_pattern() -> tuple[re.Pattern[str], dict[str, MarkKind]]:
    kinds: dict[str, MarkKind] = {}
    for kind, section in _SECTIONS.items():
        for word in words(*section):
            kinds.setdefault(key(word), kind)
    every = dict.fromkeys(word for section in _SECTIONS.values() for word in words(*section))
    return re.compile(pattern(every, grouped=True)), kinds


_copula = cache(
    lambda: re.compile(
        rf"[ \t]*[\"')\]]?[ \t]*(?:[=(\-\u2013\u2014]|{pattern(words('words', 'is'))})[^\d,.;\n]{{0,14}}"
    )
)
"""Pattern between a number and the label after it: "… is my order number"."""


@cache
def _small_words() -> list[str]:
    """Return the pattern between a label and its digits: "order no is …", "rekening saya …"."""
    kinds = [("words", kind) for kind in ("joiners", "is", "markers", "around")]
    return list(dict.fromkeys(word for section in (*kinds, ("cues", "number")) for word in words(*section)))


_wish_words = cache(lambda: re.compile(rf"{pattern(words('words', 'wishes'))}[ \t]*$"))


@cache
def _labels() -> tuple[list[str], list[str]]:
    """Labels that are things as well ("invoice"), and those that can only be of digits ("invoice number")."""
    every = words("numbers", "labels")
    numbering = [label for label in every if _NUMBERING.search(label)]
    return [label for label in every if label not in set(numbering)], numbering


_label_gap = cache(
    lambda: re.compile(
        rf"(?:{_BARE_PY}*(?:{pattern(_small_words())})){{0,4}}{_BARE_PY}*(?P<word>{_OTHER_WORD_PY}{_BARE_PY}*)?"
    )
)
"""Pattern between a label and its digits, with one word more after "… number"."""


_kinds = cache(lambda: match_of(_kind_patterns(), 32 << 20))


def _kind_patterns() -> Iterator[str]:
    small = rf"(?:{_BARE}|{either(_small_words())})*"
    plain, numbering = (linear_pattern(listed) for listed in _labels())
    yield (rf"(?:{plain}|(?:{numbering}){small}(?:{_OTHER_WORD})?){small}$")
    for section in _SECTIONS.values():
        yield (linear_pattern(words(*section)))
    money = linear_pattern(words("numbers", "currencies"), ends="[.: ]{0,2}$")
    yield (
        rf"[#*$\x{{a3}}\x{{a5}}\x{{20a0}}-\x{{20bf}}\x{{e3f}}\x{{17db}}\x{{fdfc}}%@&_]\s?$|[0-9],\s?$|{money}"
    )
    yield (rf"[{LATIN}0-9][\-_]?$")
    units = linear_pattern(words("numbers", "units"), starts="^[ \t]?")
    yield (rf"^[*%\x{{2022}}]|^[ \t]?[%\x{{b0}}\x{{b2}}\x{{b3}}]|{units}")
    yield (rf"^[\-_]?[{LATIN}]")
    yield (linear_pattern(f"no {word}" for word in words("cues", "whatsapp")))
    yield (linear_pattern(words("words", "wishes")))


def kinds_near(low: str) -> frozenset[int]:
    """Return the kinds of words in a stretch of text, without their places: quick, for the plain cases."""
    try:
        matches = _kinds()(low.encode())
    except UnicodeEncodeError:
        matches = _kinds()(low.encode("utf-8", "replace"))
    return frozenset(matches) if matches else _NONE


_NONE: frozenset[int] = frozenset()


@cache
def _numbering() -> tuple[str, ...]:
    """Beginnings of labels that say "number of": after bare digits they need no "is"."""
    stems = (
        "no", "nomor", "nombor", "num", "nro", "codigo", "kode", "kod", "เลข", "หมายเลข", "รหัส", "رقم",
        "số", "mã",
    )  # fmt: skip
    return (*map(key, stems), "លេខ", "namba", "nambari", "מספר", "注文番号", "订单", "快递")


_near_words = cache(
    lambda: re.compile(rf"(?:[ \t]*{pattern([*words('words', 'joiners'), *words('words', 'is')])})*[ \t]*")
)


_same = cache(lambda: re.compile(rf"[ \t:\uff1a=\-(]*{pattern(words('words', 'same_number'))}"))
"""The words for "same number", right after a cue."""


def find_marks(low: str, first: int, last: int) -> list[NumberMark]:
    """Return every telling word of a stretch of lower-cased text, in order."""
    finder, kinds = _marks_pattern()
    marks = []
    for match in finder.finditer(low, first, last):
        word = match[match.lastindex or 0]
        marks.append(NumberMark(kinds[key(word)], match.start(), match.end()))
    return marks


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The words before and after one number, up to its neighbours."""

    low: str
    start: int
    end: int
    before: list[NumberMark]
    after: list[NumberMark]
    limit: int
    country: str

    @property
    def followed(self) -> bool:
        """Report whether another number comes after this one."""
        return self.limit < len(self.low)

    def label(self) -> bool:
        """Report whether a label marks these digits as something else."""
        for mark in reversed(self.before):
            if mark.kind is MarkKind.LABEL:
                gap = _label_gap().fullmatch(self.low, mark.end, self.start)
                label = self.low[mark.start : mark.end]
                if gap is None or self._wished(mark):
                    continue
                if gap["word"] is None or _NUMBERING.search(label):
                    return True
            if mark.kind in (MarkKind.PHONE, MarkKind.WHATSAPP, MarkKind.LINE, MarkKind.WECHAT):
                return False
        return self._label_after()

    def _wished(self, label: NumberMark) -> bool:
        """Report whether somebody asks for the thing: "I want to place an order 0412 …"."""
        if _NUMBERING.search(self.low[label.start : label.end]):
            return False
        return _wish_words().search(self.low, max(0, label.start - 24), label.start) is not None

    def _label_after(self) -> bool:
        if self.cue(MarkKind.PHONE) or self.cue(MarkKind.WHATSAPP):
            return False
        for mark in self.after:
            if mark.kind is MarkKind.LABEL:
                between = self.low[self.end : mark.start]
                if _copula().fullmatch(between):
                    return True
                if self.followed:
                    return False
                word = key(self.low[mark.start : mark.end])
                return word.startswith(_numbering()) and _near_words().fullmatch(between) is not None
            if mark.kind is not MarkKind.NUMBER:
                return False
        return False

    def cue(self, *kinds: MarkKind) -> bool:
        """Report whether a word of one of these kinds leads to the number."""
        return any(mark.kind in kinds and self.start - mark.end <= _NEAR for mark in self.before)

    def cue_after(self, *kinds: MarkKind) -> NumberMark | None:
        """Return a word of one of these kinds shortly after the number, in the same clause."""
        for mark in self.after:
            gap = self.low[self.end : mark.start]
            if len(gap) > _NEAR or (_HARD_END.search(gap) and not _same().match(self.low, mark.end)):
                return None
            if mark.kind in kinds:
                return mark
        return None

    def whatsapp(self) -> str:
        """Return the rule by which this is a WhatsApp number, or nothing."""
        for mark in reversed(self.before):
            if mark.kind is MarkKind.PHONE and self._clause_between(mark) and not self._negated(mark):
                return ""
            if mark.kind is MarkKind.WHATSAPP and self.start - mark.end <= _NEAR:
                return "" if self._negated(mark) else "whatsapp.cue-before"
        mark_after = self.cue_after(MarkKind.WHATSAPP)
        if mark_after is None or self._negated(mark_after) or self._belongs_to_next(mark_after):
            return ""
        return "whatsapp.cue-after"

    def _clause_between(self, phone: NumberMark) -> bool:
        """Report whether the phone cue opens a new clause after an earlier WhatsApp cue."""
        earlier = [
            mark.end for mark in self.before if mark.kind is MarkKind.WHATSAPP and mark.end <= phone.start
        ]
        return bool(earlier) and _SENTENCE_END.search(self.low, earlier[-1], phone.start + 1) is not None

    def _belongs_to_next(self, mark: NumberMark) -> bool:
        """Report whether a cue between two numbers leads to the second: "tel 021 … wa 0812 …"."""
        if not self.followed:
            return False
        if self.low[self.end : mark.start].strip() == "(":
            return False
        return not _PARTING.search(self.low, mark.end, self.limit)

    def _negated(self, cue: NumberMark) -> bool:
        """Report whether the cue is negated: "no tengo whatsapp", "gak ada WA", "WhatsApp ไม่มี"."""
        has_negation = self.low.startswith(("no ", "no-"), cue.start)
        if cue.kind is MarkKind.WHATSAPP and (
            has_negation or _NO.search(self.low, max(0, cue.start - 4), cue.start)
        ):
            if self.country in _NO_IS_NUMBER:
                return self.low[cue.end : cue.end + 1] in _STOPS
            return self.country not in _NO_IS_ON
        for mark in (*self.before, *self.after):
            if mark.kind is not MarkKind.NEGATION:
                continue
            if mark.end <= cue.start and cue.start - mark.end <= 14:
                return not _SENTENCE_END.search(self.low, mark.end, cue.start)
            if cue.end <= mark.start <= cue.end + 12 and mark.end <= max(self.start, self.end + _NEAR):
                return not _SENTENCE_END.search(self.low, cue.end, mark.start)
        return False
