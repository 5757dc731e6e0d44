"""Actions are verb and noun, unique in the whole tree, so that one search finds each and its callers."""

import ast
from collections import defaultdict
from pathlib import Path

from tests.house.tree import (
    READS,
    ROOT,
    WRITES,
    arguments,
    capability,
    files,
    parse,
    plant,
    public_functions,
    rooms,
    short,
    storage,
)

BARE = {"create", "run", "handle", "process"}
NO_CAPABILITY = {"kit", "ui", "cli", "migrations", "simulator"}


def bad_actions(root: Path) -> list[str]:
    places = defaultdict(list)
    for path in rooms(root, "actions"):
        for function in public_functions(parse(path)):
            places[function.name].append(short(root, path))
    one_word = [f"{name} in {where[0]} is not verb_noun" for name, where in places.items() if "_" not in name]
    twice = [f"{name} is in {', '.join(where)}" for name, where in places.items() if len(where) > 1]
    return sorted(one_word + twice)


def bare_verbs(root: Path) -> list[str]:
    """Functions named by a bare verb in a capability; below and above them there are no nouns to name."""
    return [
        f"{node.name} in {short(root, path)}"
        for path in files(root, ".py", under=("src",))
        if capability(root, path) not in NO_CAPABILITY and path.parent.name != "contatto"
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in BARE
    ]


def bad_store_functions(root: Path) -> list[str]:
    """Functions that take a transaction and do not say whether they read or write."""
    return [
        f"{function.name} in {short(root, path)} is neither a read {READS} nor a write {WRITES}"
        for path in storage(root)
        for function in public_functions(parse(path))
        if not function.name.startswith(READS + WRITES) and "tx" in arguments(function)
    ]


def test_every_action_is_verb_and_noun_and_unique() -> None:
    assert bad_actions(ROOT) == []


def test_no_function_is_called_by_a_bare_verb() -> None:
    assert bare_verbs(ROOT) == []


def test_every_store_function_says_whether_it_reads_or_writes() -> None:
    assert bad_store_functions(ROOT) == []


def test_bad_names_are_found(tmp_path: Path) -> None:
    plant(tmp_path, "src/contatto/leads/actions.py", "def upsert_lead(): ...\ndef merge(): ...\n")
    plant(tmp_path, "src/contatto/inbox/actions.py", "def upsert_lead(): ...\n")
    plant(tmp_path, "src/contatto/inbox/rules.py", "class Flow:\n    def run(self): ...\n")
    plant(tmp_path, "src/contatto/inbox/store.py", "def find_thread(tx): ...\ndef get_thread(tx): ...\n")
    assert [line.split(" ")[0] for line in bad_actions(tmp_path)] == ["merge", "upsert_lead"]
    assert [line.split(" ")[0] for line in bare_verbs(tmp_path)] == ["run"]
    assert [line.split(" ")[0] for line in bad_store_functions(tmp_path)] == ["get_thread"]
