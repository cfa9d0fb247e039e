"""Arguments and names that the targeted version of a library lacks, and overrides that do not take what it passes."""

from __future__ import annotations

from lora_lint.apis.renames import Rename, renames
from lora_lint.apis.spec import Override
from lora_lint.interpreter.arguments import Args
from lora_lint.interpreter.run import Run
from lora_lint.interpreter.values import ClassVal, FuncVal, Value
from lora_lint.interpreter.walk import nodes_in
from lora_lint.lifecycle.vocabulary import Ev
from lora_lint.location import Location
from lora_lint.syntax import ir

# --- what the target lacks --------------------------------------------------------------------------------------------


def note_call(run: Run, name: str, args: Args, node: ir.Node) -> None:
    """Emit an event for every argument of a library call that the targeted version lacks."""
    table = renames()
    for argument in args.keywords:
        row = table.argument(run.store, name, argument)
        if row is not None:
            _emit(run, row, node, name, _written(node, argument))
    if isinstance(node, ir.Call) and isinstance(node.func, ir.Attr):
        note_name(run, name, node)


def note_name(run: Run, name: str, node: ir.Node) -> None:
    """Emit an event when the targeted version lacks a name."""
    row = renames().name(name)
    if row is not None:
        _emit(run, row, node, name, None)


def _written(node: ir.Node, argument: str) -> ir.Arg | None:
    """The argument as it is written in a call, None when it comes out of a dict."""
    return next((arg for arg in node.args if arg.name == argument), None) if isinstance(node, ir.Call) else None


def _emit(run: Run, row: Rename, node: ir.Node, name: str, written: ir.Arg | None) -> None:
    path = run.module.path
    if not {"try", "fallback"}.isdisjoint(run.contexts) or run.program.targets.asks(path):
        return
    if row.library in run.program.targets.patched(path):
        return
    declared = run.program.targets.declared(path)
    lacks = declared.affected(row.library, row.gone)
    if lacks is not True and not (row.gone.startswith(">=") and declared.newest_likely(row.library)):
        return
    if row.gone.startswith("<") and declared.outer(row.library):
        return  # what is too new for the versions of an outer project may be right for a project inside
    if declared.apart(row.library):
        return  # a package inside is installed with what it asks for itself
    renamed = bool(row.new) and (not row.added or declared.affected(row.library, row.added) is True)
    run.emit(
        Ev.OUTDATED,
        node,
        args={
            "row": row,
            "certain": lacks is True,
            "target": declared.describe(row.library),
            "renamed": renamed,
            "call": run.loc(node) if written is not None else None,
        },
        by=name,
        at=run.loc(written) if written is not None else None,
    )


# --- overrides that do not take what the library passes ---------------------------------------------------------------


def note_overrides(run: Run, cls: ClassVal) -> None:
    """Emit an event for every method of a user's class that does not take what its library base passes to it."""
    base = cls.library_base()
    for spec in run.store.mro(base) if base else ():
        for override in spec.overrides:
            method = _chosen(cls, override.method)
            if isinstance(method, FuncVal) and not (
                _takes(method.node.params, override) or any(_replaced(cls, caller) for caller in override.callers)
            ):
                _emit_contract(run, override, method, base)


def _chosen(cls: ClassVal, name: str) -> Value:
    """A method that takes the place of the library's with this class: its own, or that of a mixin before the library base."""
    for each in (cls, *cls.bases):
        if not isinstance(each, ClassVal) or (each is not cls and each.library_base()):
            return None
        found = cls.attrs.get(name) if each is cls else each.find(name)
        if found is not None:
            return found
    return None


def _replaced(cls: ClassVal, caller: str) -> bool:
    """Whether the user's class has a method of its own in the place of the library's, which it does not call either."""
    own = cls.find(caller)
    if not isinstance(own, FuncVal):
        return False
    made = (node for node in nodes_in(own.node.body) if isinstance(node, ir.Call))
    return not any(_calls_base(call, caller) for call in made)


def _calls_base(call: ir.Call, name: str) -> bool:
    """`super().name(…)`, or `Base.name(self, …)`."""
    if not isinstance(call.func, ir.Attr) or call.func.name != name:
        return False
    owner, first = call.func.value, call.args[0].value if call.args else None
    return isinstance(owner, ir.Call) or (isinstance(first, ir.Name) and first.id == "self")


def _takes(params: tuple[ir.Param, ...], override: Override) -> bool:
    kinds = {param.kind for param in params}
    if ("**" in kinds and not override.place) or ("*" in kinds and override.place):
        return True
    if override.place:
        return sum(param.kind in ("positional", "normal") for param in params) > override.place
    return any(param.name == override.parameter for param in params)


def _emit_contract(run: Run, override: Override, method: FuncVal, base: str) -> None:
    targets, path = run.program.targets, method.scope.module.path
    if targets.asks(path) or targets.holds(path, override.versions) is not True:
        return
    declared = targets.declared(path)
    certain = all(declared.affected(library, versions) is True for library, versions in override.versions.items())
    ranges = ", ".join(f"{library} {versions}" for library, versions in override.versions.items())
    first = Location(path, *method.node.loc)
    args = {
        "override": override,
        "versions": "" if certain else ranges,
        "name": method.name,
        "place": first,
    }
    header = Location(path, first.line, first.column, first.line, first.column + len("def ") + len(method.name))
    run.emit(Ev.CONTRACT, method.node, args=args, by=base, at=header)


# --- imports whose order matters --------------------------------------------------------------------------------------


def note_order(run: Run, node: ir.Import) -> None:
    """Emit an event when a library that patches others is imported after them, at the top of one file."""
    at_top = bool(run.stack) and run.stack[-1] == run.module.path
    if node.level or not at_top or not {"try", "fallback"}.isdisjoint(run.contexts):
        return
    library = node.module.split(".")[0]
    before = run.imports.setdefault(run.module.path, {})  # each library at its first import
    if library in before:
        return
    patched = renames().patched_by(library)
    late = [name for name in before if name in patched]
    linker, path = run.program.linker, run.module.path
    # In a module of the library itself, its first lines ran already.
    inside = linker.copy_of(path, library) is not None or any(linker.find(path, m, 0) for m in (library, node.module))
    if late and not inside and not linker.imported_before(path, library):
        first = next(place for name, place in before.items() if name != "__future__")
        run.emit(Ev.LATE_IMPORT, node, args={"library": library, "after": tuple(late), "first": first})
    before[library] = run.loc(node)
