"""The contact detector beside its peers: speed on one core, worst inputs, and how exact it is.

All are given the same 20,000 messages in fourteen languages, a tenth of them with contacts. Times are CPU
times of this process, the best of several rounds. Peers know e-mail addresses and phones only; for them
WhatsApp counts as phone, and only these fields are scored. Those that are not installed are reported as
skipped; `make bench` brings them.
"""

import importlib
import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.harness import Report, options, percentile
from contatto.capture.rules import MARKETS, detect_contacts, detect_contacts_batch, warm

SAYS = "contacts found in chat messages"
ROOT = Path(__file__).resolve().parent.parent
OWN_SET = ROOT / "tests" / "fixtures" / "capture"
DEV_SET = ROOT.parent / "shared" / "data" / "capture_dev.jsonl"
LANGUAGES = ("en", "es", "pt", "ar", "id", "ms", "th", "vi", "ja", "zh", "km", "he", "fr", "tl")
WORST_LENGTH = 8_000
EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}")
TWO_FIELDS = frozenset({"email", "phone"})
CASELESS = frozenset({"line", "wechat"})

type Pairs = set[tuple[str, str]]
type Detect = Callable[[str, str], Pairs]
type Row = dict[str, Any]


def main() -> None:
    """Run everything and print one table."""
    chosen = options(SAYS)
    report = Report("capture", SAYS, chosen)
    rows = _labelled(sorted(OWN_SET.glob("*.jsonl")))
    messages = _corpus(rows, chosen.size(full=20_000, quick=6_000))
    sets = {"own": rows, "dev": _labelled([DEV_SET] if DEV_SET.exists() else [])}
    warm()
    _add(report, "contatto, all fields", _ours, messages, sets)
    _add_batch(report, messages)
    for name, make, slow in _PEERS:
        try:
            peer = make()
        except ImportError as missing:
            report.add(f"{name}: skipped, {missing.name or missing} is not installed")
            continue
        _add(report, name, peer, messages[: 600 if slow else None], sets)
    _add_fields(report, sets)
    report.finish()


def _add(
    report: Report, name: str, detect: Detect, messages: Sequence[tuple[str, str]], sets: dict[str, list[Row]]
) -> None:
    """One row with the speed, and one for each labelled set."""
    per_s = len(messages) / min(_seconds(detect, messages) for _ in range(2 if len(messages) < 1_000 else 3))
    each = [_seconds(detect, [message]) for message in messages]
    worst = max(_worst_ms(detect, text) for text in _hostile())
    report.add(name, **{"msg/s": per_s, "p99 us": percentile(each, 0.99) * 1e6, "worst ms": worst})
    kept = None if detect is _ours else TWO_FIELDS
    for set_name, rows in sets.items():
        if rows:
            report.add(f"  on the {set_name} set", **_score(detect, rows, kept))


def _add_batch(report: Report, messages: list[tuple[str, str]]) -> None:
    def batch() -> float:
        started = time.process_time()
        detect_contacts_batch(messages)
        return time.process_time() - started

    report.add("contatto, batches", **{"msg/s": len(messages) / min(batch() for _ in range(3))})


def _add_fields(report: Report, sets: dict[str, list[Row]]) -> None:
    """One row a field of our detector, and one for the two that peers know."""
    for name, rows in sets.items():
        for field in dict.fromkeys(field for row in sets["own"] for field, _ in row["pairs"]):
            if rows:
                report.add(f"  {field}, {name} set", **_score(_ours, rows, frozenset({field}), merge=False))
        if rows:
            report.add(f"  e-mail + phone, {name} set", **_score(_ours, rows, TWO_FIELDS))


def _labelled(files: Iterable[Path]) -> list[Row]:
    rows = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row["pairs"] = {(pair["field"], pair["value"]) for pair in row["expect"]}
    return rows


def _corpus(rows: list[Row], count: int) -> list[tuple[str, str]]:
    """Chat as it comes in: a tenth with contacts, some other long numbers, some words that are cues."""
    chance = random.Random(20261124)
    kinds: dict[str, dict[str, list[Row]]] = {
        kind: {language: [] for language in LANGUAGES} for kind in ("contact", "number", "word", "plain")
    }
    for row in rows:
        if row["lang"] in LANGUAGES and len(row["text"]) < 400:
            kinds[_kind(row)][row["lang"]].append(row)
    messages = []
    for _ in range(count):
        language = chance.choice(LANGUAGES)
        kind = chance.choices(("contact", "number", "word", "plain"), (10, 16, 6, 68))[0]
        row = chance.choice(kinds[kind][language] or kinds["plain"][language])
        text = _renumbered(row["text"], chance) if kind == "number" else row["text"]
        for _ in range(chance.choice((0, 1, 1, 2))):
            small_talk = chance.choice(kinds["plain"][language])["text"]
            text = f"{small_talk}{chance.choice((' ', '. ', ', '))}{text}"
        messages.append((text, row["country"]))
    return messages


def _kind(row: Row) -> str:
    if row["expect"]:
        return "contact"
    if row["tag"] in ("labelled", "figures"):
        return "number"
    return "plain" if row["tag"] == "plain" else "word"


def _renumbered(text: str, chance: random.Random) -> str:
    return "".join(
        chance.choice("0123456789") if sign in "3456789" and chance.random() < 0.3 else sign for sign in text
    )


def _hostile() -> list[str]:
    """Thirty inputs that slow detectors down, each of 8,000 characters."""
    units = (
        *(
            "a.",
            "1-",
            "wa ",
            "a@",
            "a@b.",
            "@",
            "+",
            "0 ",
            "0\u200b",
            "\u202e",
            "www.",
            "http://",
            "a.b/",
            "ig @",
        ),
        *("line ", "order 0812345678 ", "0812345678 ", "12 34 56 78 ", "at gmail dot ", "e\u0301", "\uff10"),
        *(
            "\u5fae\u4fe1 a_1 ",
            "a_",
            "0O",
            "@a on ig ",
            "wa.me/1",
            "instagram.com/a ",
            "+62 812 345 678 wa, ",
        ),
        "4111 1111 1111 1111 ",
    )
    texts = [(unit * WORST_LENGTH)[:WORST_LENGTH] for unit in units]
    return [*texts, ("ok " * WORST_LENGTH)[: WORST_LENGTH - 12] + "0812 3456 78"]


def _seconds(detect: Detect, messages: Sequence[tuple[str, str]]) -> float:
    started = time.process_time()
    for text, country in messages:
        detect(text, country)
    return time.process_time() - started


def _worst_ms(detect: Detect, text: str) -> float:
    return min(_seconds(detect, [(text, "ID")]) for _ in range(3)) * 1e3


def _score(
    detect: Detect, rows: list[Row], kept: frozenset[str] | None, *, merge: bool = True
) -> dict[str, object]:
    """Precision, recall and F1 over all pairs, and the share of empty messages with any find, in percent."""
    counts: Counter[str] = Counter()
    for row in rows:
        wanted = _canon(row["pairs"], kept, merge=merge)
        found = _canon(detect(row["text"], row["country"]), kept, merge=merge)
        counts.update(hit=len(wanted & found), extra=len(found - wanted), missed=len(wanted - found))
        counts.update(empty=not wanted, empty_hit=not wanted and bool(found))
    hit, extra, missed = counts["hit"], counts["extra"], counts["missed"]
    return {
        "P %": _percent(hit, hit + extra),
        "R %": _percent(hit, hit + missed),
        "F1 %": _percent(2 * hit, 2 * hit + extra + missed),
        "FPR %": _percent(counts["empty_hit"], counts["empty"]),
    }


def _canon(pairs: Pairs, kept: frozenset[str] | None, *, merge: bool) -> Pairs:
    merged = kept is not None and merge
    plain = {("phone" if merged and field == "whatsapp" else field, value) for field, value in pairs}
    return {
        (field, value.casefold() if field in CASELESS else value)
        for field, value in plain
        if kept is None or field in kept
    }


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0


def _ours(text: str, country: str) -> Pairs:
    return {(match.field.value, match.value) for match in detect_contacts(text, country)}


def _matcher(module: str) -> Detect:
    numbers = importlib.import_module(module)
    e164 = numbers.PhoneNumberFormat.E164

    def detect(text: str, country: str) -> Pairs:
        found = {
            ("phone", numbers.format_number(match.number, e164))
            for match in numbers.PhoneNumberMatcher(text, country)
        }
        return found | {("email", _lower_domain(address)) for address in EMAIL.findall(text)}

    for country in MARKETS:
        detect("0812 345 6789", country)
    return detect


def _lower_domain(address: str) -> str:
    name, _, domain = address.rpartition("@")
    return f"{name}@{domain.lower()}"


def _presidio(*, vetoes: bool) -> Detect:
    suffixes: Any = importlib.import_module("tldextract")
    suffixes.extract = suffixes.TLDExtract(suffix_list_urls=())  # its own list, not one from the network
    recognizers = importlib.import_module("presidio_analyzer.predefined_recognizers")
    numbers = importlib.import_module("phonenumbers")
    email = recognizers.EmailRecognizer()
    others = (
        [recognizers.CreditCardRecognizer(), recognizers.IbanRecognizer(), recognizers.DateRecognizer(),
         recognizers.IpRecognizer(), recognizers.UrlRecognizer()] if vetoes else []
    )  # fmt: skip
    phones = {
        country: recognizers.PhoneRecognizer(supported_regions=[country], context=[]) for country in MARKETS
    }

    def detect(text: str, country: str) -> Pairs:
        taken = [
            (hit.start, hit.end)
            for other in others
            for hit in other.analyze(text, other.supported_entities, None)
        ]
        found: Pairs = set()
        for hit in email.analyze(text, ["EMAIL_ADDRESS"], None):
            found.add(("email", _lower_domain(text[hit.start : hit.end])))
        for hit in phones[country].analyze(text, ["PHONE_NUMBER"], None):
            if any(start < hit.end and hit.start < end for start, end in taken):
                continue
            try:
                number = numbers.parse(text[hit.start : hit.end], country)
            except numbers.NumberParseException:
                continue
            found.add(("phone", numbers.format_number(number, numbers.PhoneNumberFormat.E164)))
        return found

    return detect


_PEERS: tuple[tuple[str, Callable[[], Detect], bool], ...] = (
    ("phonenumbers + e-mail regex", lambda: _matcher("phonenumbers"), False),
    ("rphonenumbers + e-mail regex", lambda: _matcher("rphonenumbers"), False),
    ("presidio, phone and e-mail", lambda: _presidio(vetoes=False), True),
    ("presidio with vetoes", lambda: _presidio(vetoes=True), True),
)

if __name__ == "__main__":
    main()
