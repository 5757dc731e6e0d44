"""Origins of the texts that marking calls are given, traced through names, tables and callers."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.house.tree import files, parse, short
from tools.translations import API_ROOM, MARKS, READ

CARRIERS = {"text", "says", "remedy", "label"}
"""Attributes of values whose text was marked when they were made."""
MARKING = {*MARKS, *READ}
COLUMN = "column of"
"""Name of a made-up call: the values of a table of tuples at one place of each."""
MACHINERY = ("kit/i18n.py", "kit/languages.py", "kit/errors.py", "kit/sandbox.py", "ui/render.py")
"""Modules that pass any text on; the texts come from the modules that call them."""
type Function = ast.FunctionDef | ast.AsyncFunctionDef
type Binder = Function | ast.GeneratorExp


@dataclass(eq=False)
class Module:
    """A parsed module with the names that its top level and its imports define."""

    place: str
    tree: ast.Module
    names: dict[str, ast.expr | Function] = field(default_factory=dict)
    imports: dict[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Scope:
    """A place in a module from which a name is looked up."""

    module: Module
    functions: tuple[Binder, ...] = ()


class TextOrigins:
    """All modules of a tree, and the callers of each function."""

    def __init__(self, root: Path) -> None:
        self.modules: dict[str, Module] = {}
        self.calls: dict[str, list[tuple[ast.Call, Scope]]] = defaultdict(list)
        for path in files(root, ".py", under=("src",)):
            place = short(root, path)
            dotted = (
                place.removeprefix("src/").removesuffix(".py").replace("/", ".").removesuffix(".__init__")
            )
            self.modules[dotted] = self._read(place, parse(path))

    def _read(self, place: str, tree: ast.Module) -> Module:
        module = Module(place, tree)
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                module.names[node.name] = node
            else:
                module.names |= _assigned(node)
        for each in (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)):
            for alias in each.names:
                module.imports[alias.asname or alias.name] = (each.module or "", alias.name)
        for call, scope in _calls(tree, Scope(module)):
            self.calls[called_name(call)].append((call, scope))
        return module

    def unmarked(self, exempt: tuple[str, ...]) -> list[str]:
        """Texts given to a marking call that no catalogue can hold, with the line of the call."""
        faults = []
        for name in MARKING:
            for call, scope in self.calls[name]:
                place = scope.module.place
                if API_ROOM.search(place) or place.endswith((*exempt, *MACHINERY)):
                    continue
                given = [call.args[at] for at in (MARKS | READ)[name] if at < len(call.args)]
                texts = [text for text in given if not isinstance(text, ast.Constant)]
                bad = {fault for text in texts for fault in self._faults(text, scope, set())}
                faults += [f"{place}:{call.lineno}: {fault}" for fault in sorted(bad)]
        return sorted(faults)

    def _faults(self, node: ast.expr, scope: Scope, seen: set[object]) -> Iterator[str]:
        """Unmarked texts among all that an expression can be."""
        parts = _parts(node)
        if parts is not None:
            for part in parts:
                yield from self._faults(part, scope, seen)
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str) and any(letter.isalpha() for letter in node.value):
                yield node.value
        elif isinstance(node, ast.Name):
            yield from self._named(node.id, scope, seen)
        elif isinstance(node, ast.Attribute):
            yield from self._attribute(node, scope, seen)
        elif isinstance(node, ast.Call):
            yield from self._called(node, scope, seen)
        else:
            yield f"cannot be traced: {ast.unparse(node)}"

    def _attribute(self, node: ast.Attribute, scope: Scope, seen: set[object]) -> Iterator[str]:
        """A carrier's text was marked when it was made; a module's name is looked up there."""
        owner = node.value.id if isinstance(node.value, ast.Name) else ""
        if owner in scope.module.imports and node.attr not in CARRIERS:
            yield from self._imported(scope.module.imports[owner], node.attr, seen)
        elif node.attr not in CARRIERS:
            yield f"cannot be traced: {ast.unparse(node)}"

    def _called(self, node: ast.Call, scope: Scope, seen: set[object]) -> Iterator[str]:
        match node:
            case ast.Call() if called_name(node) in MARKING:
                return
            case ast.Call(func=ast.Attribute(attr="get" | "items" | "values", value=table)):
                for value in (table, *node.args[1:]):
                    yield from self._faults(value, scope, seen)
            case ast.Call(func=ast.Name(id=called), args=[table, ast.Constant(value=int() as at)]) if (
                called == COLUMN
            ):
                yield from self._column(table, at, scope, seen)
            case ast.Call(func=ast.Name(id="next"), args=[ast.GeneratorExp() as values, *others]):
                inner = Scope(scope.module, (*scope.functions, values))
                for value in (values.elt, *others):
                    yield from self._faults(value, inner, seen)
            case ast.Call(func=ast.Name(id=name)):
                yield from self._returned(name, node, scope, seen)
            case _:
                yield f"cannot be traced: {ast.unparse(node)}"

    def _column(self, table: ast.expr, at: int, scope: Scope, seen: set[object]) -> Iterator[str]:
        named = scope.module.names.get(table.id) if isinstance(table, ast.Name) else table
        rows = named.elts if isinstance(named, ast.Tuple | ast.List) else []
        tuples = [row for row in rows if isinstance(row, ast.Tuple)]
        for row in tuples:
            yield from self._faults(row.elts[at], Scope(scope.module), seen)
        if len(tuples) != len(rows) or not rows:
            yield from self._faults(table, scope, seen)

    def _returned(self, name: str, call: ast.Call, scope: Scope, seen: set[object]) -> Iterator[str]:
        function = scope.module.names.get(name)
        if not isinstance(function, ast.FunctionDef) or (name, "returns") in seen:
            yield f"cannot be traced: {ast.unparse(call)}"
            return
        seen.add((name, "returns"))
        for node in ast.walk(function):
            if isinstance(node, ast.Return) and node.value is not None:
                yield from self._faults(node.value, Scope(scope.module, (function,)), seen)

    def _named(self, name: str, scope: Scope, seen: set[object]) -> Iterator[str]:
        if (name, scope) in seen:
            return
        seen.add((name, scope))
        for depth in range(len(scope.functions), 0, -1):
            function = scope.functions[depth - 1]
            inner = Scope(scope.module, scope.functions[:depth])
            values = list(_bound_in(function, name))
            for value in values:
                yield from self._faults(value, inner, seen)
            if values:
                return
            if not isinstance(function, ast.GeneratorExp) and name in _parameters(function):
                yield from self._of_callers(function, name, seen)
                return
        constant = scope.module.names.get(name)
        if isinstance(constant, ast.expr):
            yield from self._faults(constant, Scope(scope.module), seen)
        elif name in scope.module.imports:
            yield from self._imported(scope.module.imports[name], "", seen)
        else:
            yield f"cannot be traced: {name}"

    def _imported(self, source: tuple[str, str], name: str, seen: set[object]) -> Iterator[str]:
        dotted = f"{source[0]}.{source[1]}" if name else source[0]
        module = self.modules.get(dotted)
        wanted = name or source[1]
        if module is None:
            yield f"cannot be traced: {dotted}.{wanted}"
        else:
            yield from self._named(wanted, Scope(module), seen)

    def _of_callers(self, function: Function, name: str, seen: set[object]) -> Iterator[str]:
        parameters = _parameters(function)
        if function.name == "__init__":
            return  # the class is itself among those that mark
        at = parameters.index(name) - (parameters[0] in ("self", "cls"))
        for call, scope in self.calls[function.name]:
            if any(isinstance(value, ast.Starred) for value in call.args):
                continue
            values = [keyword.value for keyword in call.keywords if keyword.arg == name]
            values += call.args[at : at + 1]
            for value in values:
                yield from self._faults(value, scope, seen)


def called_name(call: ast.Call) -> str:
    return getattr(call.func, "id", "") or getattr(call.func, "attr", "")


def _calls(node: ast.AST, scope: Scope) -> Iterator[tuple[ast.Call, Scope]]:
    for child in ast.iter_child_nodes(node):
        inner = scope
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            inner = Scope(scope.module, (*scope.functions, child))
        if isinstance(child, ast.Call):
            yield child, scope
        yield from _calls(child, inner)


def _parameters(function: Function) -> list[str]:
    places = function.args
    return [each.arg for each in (*places.posonlyargs, *places.args, *places.kwonlyargs)]


def _assigned(node: ast.stmt) -> dict[str, ast.expr | Function]:
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            return {name: value}
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
            return {name: value}
    return {}


def _parts(node: ast.expr) -> list[ast.expr] | None:
    """The expressions one of which is the value, or holds it; None where the node is none of them."""
    match node:
        case ast.IfExp():
            return [node.body, node.orelse]
        case ast.BoolOp() | ast.Dict():
            return list(node.values)
        case ast.Tuple() | ast.List() | ast.Set():
            return list(node.elts)
        case ast.Subscript():
            return [node.value]
    return None


def _bound_in(function: Binder, name: str) -> Iterator[ast.expr]:
    """Values that a function binds to a name: by assignment, by a loop, or in a comprehension."""
    for node in ast.walk(function):
        if isinstance(node, ast.For | ast.comprehension):
            yield from _looped(node, name)
        elif isinstance(node, ast.Assign):
            yield from _part(node.targets[0], node.value, name)
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
            yield from _part(node.target, node.value, name)


def _looped(node: ast.For | ast.comprehension, name: str) -> Iterator[ast.expr]:
    target = node.target
    if isinstance(target, ast.Name) and target.id == name:
        yield node.iter
    elif isinstance(target, ast.Tuple):
        names = [part.id if isinstance(part, ast.Name) else "" for part in target.elts]
        if name in names:
            yield ast.Call(ast.Name(COLUMN), [node.iter, ast.Constant(names.index(name))], [])


def _part(target: ast.expr, value: ast.expr, name: str) -> Iterator[ast.expr]:
    if isinstance(target, ast.Name) and target.id == name:
        yield value
    elif isinstance(target, ast.Tuple):
        for at, part in enumerate(target.elts):
            if isinstance(part, ast.Name) and part.id == name:
                yield value.elts[at] if isinstance(value, ast.Tuple) else value
