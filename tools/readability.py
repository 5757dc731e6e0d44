"""Counts of what makes source hard to read: `python -m tools.readability`.

The counts are proxies: each says where to look. `tests/house/readability.toml` holds the limit of each count,
and limits only fall: `--lower` writes the present counts where they are smaller. With `--commit FILE` the
subject of a commit message is checked instead.
"""

import argparse
import ast
import io
import math
import re
import sys
import tokenize
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
LIMITS: Final = Path("tests", "house", "readability.toml")
SHORT_MODULE: Final = 60
"""A module with fewer lines is counted, since a reader opens a file for little."""
LONG_SENTENCE: Final = 26
ROOM: Final = 1.01
"""Files and lines may grow by a hundredth, so that a feature finds room."""
LONG_SUBJECT: Final = 72

_STEMS: Final = (
    r"f(i|ou)nd|kn(o|e)wn?|t(ell|old)|ask|ke(ep|pt)|c(o|a)me?|sa(y|id)|want|he(ar|ard)|h(o|e)ld|se(e|en)"
    r"|go(ne)?|giv(e|en)|t(a|o)ken?|ma(k|d)e?|mean(t)?|st(a|oo)n?d|le(ft|ave)|wish|face"
)
_ENDINGS: Final = "(s|ed|ing|er|ers)?"
_WORDS: Final = (
    "mine|theirs|ours|each|of|by|whom|whose|these|those|other|others|such|thing|things|now|then|there|here"
    "|alone|again|beside|behind|among|within|together|apart|till|alike|over"
)
EMPTY: Final = re.compile(rf"({_STEMS}){_ENDINGS}|{_WORDS}")
"""A word that does not say what a value is, by its stem."""
OPENER: Final = re.compile(
    r"(What|Whether|Who|Whose|Whom|How|Where|When|That|Which|The same|Of|(To|By|For) whom)\b"
)
"""A docstring that opens so tells a clause, where a noun or a verb belongs."""
PHRASE: Final = re.compile(
    r"\b(is|are|was|were|be|being|been) (t[eo]ll?d|heard|asked|looked at|held to|given way)\b"
    r"|\bwhose\b|\bwhom\b|\bhear(s|d)?\b|\bforet(e|o)ll?(s|d|ing)?\b"
    r"|\bwhat (comes?|came|is|was|has|had|follows|it|they|there)\b|\bof then\b|\bthere (is|are) not?\b"
    r"|\b(by|of) itself\b|\bso many\b|\bas it came\b|\bstands? (for|here|there)\b|\bno such\b|\bnobody\b"
    r"|\bg(i|a)ven? way\b|\b(who|wher)ever\b|\bholds? nobody\b|\bin the order of time\b",
    re.IGNORECASE,
)


class Finding(NamedTuple):
    """A place to look at."""

    path: str
    line: int
    rule: str
    text: str


def is_empty(name: str) -> bool:
    """Return whether no word of a name says what it holds."""
    words = [word.lower() for word in re.split(r"_+|(?<=[a-z0-9])(?=[A-Z])", name) if word]
    return bool(words) and all(EMPTY.fullmatch(word) for word in words)


def read_prose(text: str, *, is_docstring: bool) -> Iterator[tuple[str, str]]:
    """Yield rule and text of each finding in a docstring or comment."""
    if is_docstring and OPENER.match(text.strip()):
        yield "openers", text.strip().splitlines()[0]
    for match in PHRASE.finditer(text):
        yield "phrases", " ".join(text[max(match.start() - 40, 0) : match.end() + 40].split())
    for sentence in re.split(r"(?<=[.!?:;])\s+|\n\s*\n", re.sub(r"``[^`]*``|`[^`]*`", "X", text)):
        if len(sentence.split()) > LONG_SENTENCE:
            yield "long_sentences", " ".join(sentence.split())[:120]


class Source(NamedTuple):
    """A module, read and parsed once for all counts."""

    path: str
    text: str
    tree: ast.Module


def read_module(source: Source) -> Iterator[Finding]:
    """Yield the findings of a module: names, docstrings of all that has one, and comments."""
    path = source.path
    for node in ast.walk(source.tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
                names = [node.name.strip("_"), *(argument.arg for argument in arguments)]
            case ast.ClassDef():
                names = [node.name.strip("_")]
            case ast.Name(ctx=ast.Store()):
                names = [node.id]
            case _:
                names = []
        line = getattr(node, "lineno", 1)
        yield from (Finding(path, line, "empty_names", name) for name in names if is_empty(name))
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            for rule, text in read_prose(node.value.value, is_docstring=True):
                yield Finding(path, line, rule, text)
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT and not re.match(r"#\s?(fmt:|type:|noqa)", token.string):
            for rule, text in read_prose(token.string.lstrip("# "), is_docstring=False):
                yield Finding(path, token.start[0], rule, text)


def read_templates(root: Path) -> Iterator[Finding]:
    """Yield phrases in the texts of templates."""
    for path in sorted((root / "src").rglob("*.html")):
        for number, row in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            text = re.sub(r"\{[{%#].*?[}%#]\}|<[^>]+>", " ", row)
            if PHRASE.search(text):
                yield Finding(str(path.relative_to(root)), number, "phrases_on_screens", text.strip())


def list_findings(root: Path, sources: list[Source]) -> list[Finding]:
    """Return the findings of source, tools and benchmarks, and of templates."""
    return [*(finding for source in sources for finding in read_module(source)), *read_templates(root)]


def count_all(root: Path) -> dict[str, float]:
    """Return all counts by their names in the file of limits; shape is counted in ``src`` alone."""
    all_sources = list_sources(root)
    sources = [source for source in all_sources if source.path.startswith("src/")]
    nodes = [node for source in sources for node in ast.walk(source.tree)]
    lines = sum(source.text.count("\n") + 1 for source in sources)
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    uses = Counter(re.findall(r"\b_[a-z]\w*\b", "\n".join(source.text for source in sources)))
    classes = Counter(node.name for node in nodes if isinstance(node, ast.ClassDef) and node.name[0] != "_")
    imports = sum(
        node.end_lineno - node.lineno + 1
        for node in nodes
        if isinstance(node, ast.Import | ast.ImportFrom) and node.end_lineno
    )
    rules = Counter(finding.rule for finding in list_findings(root, all_sources))
    return {
        "files": len(sources),
        "lines": lines,
        "functions_per_1000_lines": round(1_000 * len(functions) / max(lines, 1), 1),
        "short_modules": sum(
            source.text.count("\n") < SHORT_MODULE - 1
            for source in sources
            if not source.path.endswith("__init__.py")
        ),
        "private_functions_used_once": sum(
            uses[node.name] == 2
            for node in functions
            if node.name.startswith("_") and not node.name.startswith("__")
        ),
        "import_lines_percent": round(100 * imports / max(lines, 1), 1),
        "repeated_class_names": sum(count > 1 for count in classes.values()),
        **{
            rule: rules[rule]
            for rule in ("empty_names", "openers", "phrases", "phrases_on_screens", "long_sentences")
        },
    }


def check_subject(message: str) -> list[str]:
    """Return the faults of the subject of a commit: too long, not imperative, or in words of our own."""
    subject = message.split("\n", 1)[0].strip()
    first = subject.split(" ", 1)[0]
    faults = []
    if not subject or len(subject) > LONG_SUBJECT:
        faults.append(f"has {len(subject)} characters, and 1 to {LONG_SUBJECT} are allowed")
    if not first[:1].isupper() or re.search(r"(ed|ing)$", first) or OPENER.match(subject):
        faults.append("does not open with a verb in the imperative")
    if PHRASE.search(subject):
        faults.append("has a phrase that plain English does without")
    return faults


def list_sources(root: Path) -> list[Source]:
    """Return the modules of source, tools and benchmarks, without schema steps."""
    sources = []
    for folder in ("src", "tools", "bench"):
        for path in sorted((root / folder).rglob("*.py")):
            if "versions" not in path.parts:
                text = path.read_text(encoding="utf-8")
                sources.append(Source(path.relative_to(root).as_posix(), text, ast.parse(text)))
    return sources


def main() -> int:
    """Print the counts beside their limits, or the findings of one rule, or check a commit's subject."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rule", help="list the findings of this rule")
    parser.add_argument("--lower", action="store_true", help="write counts as limits where they are smaller")
    parser.add_argument(
        "--commit", type=Path, metavar="FILE", help="check the subject of this commit message"
    )
    chosen = parser.parse_args()
    if chosen.commit:
        faults = check_subject(chosen.commit.read_text(encoding="utf-8"))
        print("\n".join(f"The commit's subject {fault}." for fault in faults), file=sys.stderr)
        return bool(faults)
    if chosen.rule:
        for finding in list_findings(ROOT, list_sources(ROOT)):
            if finding.rule == chosen.rule:
                print(f"{finding.path}:{finding.line}: {finding.text}")
        return 0
    counts, path = count_all(ROOT), ROOT / LIMITS
    limits = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name, count in counts.items():
        print(f"{name:<28} {count:>9,} of at most {limits.get(name, count):,}")
    if chosen.lower:
        room = {name: math.ceil(counts[name] * ROOM) for name in ("files", "lines")}
        lower = {name: min(count, limits.get(name, count)) for name, count in (counts | room).items()}
        rows = "".join(f"{name} = {limit}\n" for name, limit in lower.items())
        path.write_text(f"# Limits of `python -m tools.readability`; they only fall (`--lower`).\n{rows}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
