"""Where to start: functions and methods that nothing called, with unknown arguments."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import lora_lint.interpreter.calls as calls
import lora_lint.interpreter.evaluate as evaluation
import lora_lint.interpreter.specs as specs
from lora_lint.interpreter import instances, promotion
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.relevance import Relevance
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.survey import Survey
from lora_lint.interpreter.values import ClassVal, Const, FuncVal, LibRef, ModuleVal, Sym, Value
from lora_lint.lifecycle.heap import Obj
from lora_lint.syntax import ir


@dataclass(frozen=True, slots=True)
class Entry:
    """A function, a method or (for what its framework does with an instance) a class to start from.

    named: it only runs when somebody names it: a method of a plain class, with nothing that registers either.
    """

    name: str
    node: ir.FunctionDef | ir.ClassDef
    owner: str = ""  # class, for methods
    named: bool = False


def entries(unit: ir.Module, survey: Survey, relevance: Relevance) -> list[Entry]:
    """Functions, classes of a framework and methods of a module that may matter, callers before what they call."""
    found: list[Entry] = []
    framework: set[str] = set()
    for statement in _top_level(unit.body):
        if isinstance(statement, ir.FunctionDef) and relevance.block(statement.body):
            found.append(Entry(statement.name, statement))
        elif isinstance(statement, ir.ClassDef):
            if any(name in framework or relevance.has_protocol(name) for name in _base_names(statement)):
                framework.add(statement.name)
                found.append(Entry(statement.name, statement))
            methods = [method for method in statement.body if isinstance(method, ir.FunctionDef)]
            hot = any(relevance.block(method.body) for method in methods)
            found.extend(
                Entry(method.name, method, statement.name, _only_named(statement, method))
                for method in methods
                if relevance.block(method.body) or (hot and relevance.refutes(survey.definitions[id(method)].called))
            )
    mentions = {id(one.node): survey.definitions[id(one.node)].names for one in found}
    mentioning = Counter(name for names in mentions.values() for name in names)

    def called(name: str, node: ir.Node) -> bool:
        return mentioning[name] > (name in mentions[id(node)])

    def order(one: Entry) -> tuple[bool, bool, bool]:
        made = one.owner in framework and called(one.owner, one.node)
        return called(one.name, one.node) or made, bool(one.owner), one.name == "__init__"

    return sorted(found, key=order)


def _only_named(owner: ir.ClassDef, method: ir.FunctionDef) -> bool:
    """Whether a method is no special one, and no base class, metaclass or decorator can know of it."""
    return not (owner.bases or owner.decorators or method.decorators or method.name.startswith("__"))


def _base_names(node: ir.ClassDef) -> Iterator[str]:
    """Last names of the bases of a class."""
    for base in node.bases:
        if isinstance(base.value, ir.Name):
            yield base.value.id
        elif isinstance(base.value, ir.Attr):
            yield base.value.name


def _top_level(body: tuple[ir.Stmt, ...]) -> Iterator[ir.Stmt]:
    for statement in body:
        yield statement
        if isinstance(statement, ir.If):
            yield from _top_level(statement.body)
            yield from _top_level(statement.orelse)
        elif isinstance(statement, ir.Try):
            yield from _top_level(statement.body)


def start(run: Run, module: ModuleVal, one: Entry) -> None:
    """Call an entry with unknown arguments; a method on an instance made with unknown arguments."""
    run.module = module
    if not one.owner:
        value = module.scope.names.get(one.name)
        if isinstance(value, FuncVal) and isinstance(one.node, ir.FunctionDef):
            if one.node.decorators:
                # It may be registered as a command, and called with other arguments than its defaults.
                given: list[tuple[str | None, Value]] = [*unknown_arguments(run, value).items()]
                calls.call_function(run, value, given, one.node, Args(unknown=True), eager=True)
            else:
                _call(run, value, [], one.node)
        elif isinstance(value, ClassVal):
            _live(run, value, one.node)
        return
    cls = module.scope.names.get(one.owner)
    if not isinstance(cls, ClassVal):
        return
    method = cls.attrs.get(one.name)
    if not isinstance(method, FuncVal) or not isinstance(one.node, ir.FunctionDef):
        return
    if method.static:
        _call(run, method, [], one.node)
        return
    receiver: Value = cls if method.of_class else instances.instantiate(run, cls, Args(), one.node)
    if one.name != "__init__":
        _call(run, method, [(None, receiver)], one.node)


def _live(run: Run, cls: ClassVal, node: ir.Node) -> None:
    """Do with an instance of a class what its framework does, unless a path did so already: what its constructor or a caller
    runs of it does not count."""
    theirs = {effect.fields.get("method") for effect in run.store.protocol(cls.library_base())}
    methods = [m for name, m in cls.attrs.items() if isinstance(m, FuncVal) and name in theirs]
    if any(run.program.was_run(method.node) for method in methods):
        return
    obj = instances.instantiate(run, cls, Args(), node)
    if isinstance(obj, Obj):
        specs.run_protocol(run, obj, node, run.module.scope)


def _call(run: Run, func: FuncVal, given: list[tuple[str | None, Value]], node: ir.FunctionDef) -> None:
    annotated = _annotated(run, func)
    for param in node.params[len(given) :]:
        if param.name in annotated and param.kind not in ("*", "**"):
            given.append((param.name, annotated[param.name]))
    calls.call_function(run, func, given, node, Args(unknown=True), eager=True)


def unknown_arguments(run: Run, func: FuncVal) -> dict[str, Sym]:
    """An unknown for each parameter that takes one argument, with its default; one of the annotated library type, if any."""
    given = {
        **{p.name: run.fresh(p, p.name) for p in func.node.params if p.kind not in ("*", "**")},
        **_annotated(run, func),
    }
    for name, symbol in given.items():
        default = func.defaults.get(name)
        symbol.default = default if isinstance(default, Const) else None
    return given


def _annotated(run: Run, func: FuncVal) -> dict[str, Sym]:
    """Objects for parameters whose annotation names a library type."""
    out: dict[str, Sym] = {}
    for param in func.node.params:
        if param.annotation is None or param.default is not None:
            continue
        value = evaluation.evaluate(run, param.annotation, func.scope)
        if isinstance(value, LibRef):
            spec = run.store.type_of(value.name)
            if spec is not None and spec.kind is not None and spec.kind.value in ("model", "optimizer", "accelerator"):
                symbol = run.fresh(param, param.name)
                promotion.promote(run, symbol, spec.kind, value.name, None)
                out[param.name] = symbol
    return out


_TEST_FILE = re.compile(r"(?:test_\w+|\w+_test|conftest)\.py")


def holds_tests(unit: ir.Module) -> bool:
    """Whether a file is called like one that pytest or unittest collects, and defines tests."""
    if not _TEST_FILE.fullmatch(unit.path.rsplit("/", 1)[-1]):
        return False
    return any(
        (isinstance(one, ir.FunctionDef) and one.name.startswith("test"))
        or (isinstance(one, ir.ClassDef) and "Test" in one.name)
        for one in _top_level(unit.body)
    )
