"""Which library versions the user's project targets, and whether a rule's range holds for all, none or some of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from packaging.specifiers import Specifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

Release = tuple[int, ...]

_ANY = SpecifierSet("")
BESIDE, CHECKOUT = "beside", "checkout"


@dataclass(frozen=True, slots=True)
class Target:
    """What a project says about one library.

    choices: the ranges it may come from, more than one when a lock file or markers leave several open; an empty
    specifier set is a name without a version. source: the file that says so, for messages. outer: it lies above a folder
    with a readme of its own, which may be a project of its own. apart: it lies above a package that is installed by itself,
    and is no lock file, which may well cover that. commit: it names some commit, whose version is not said. copy: it is a
    copy in the project, which imports find first (BESIDE), or which is there to be installed (CHECKOUT).
    """

    choices: tuple[SpecifierSet, ...]
    source: str
    outer: bool = False
    apart: bool = False
    commit: bool = False
    copy: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A range that the code itself shows, for instance by an argument that later versions do not take."""

    specifier: SpecifierSet
    why: str


@dataclass(frozen=True, slots=True)
class TargetVersions:
    """The versions that one file may run with.

    targets: by canonical library name. evidence: what the code of the file shows. notes: files that could not be read.
    All questions have three answers; None is "cannot tell".
    """

    targets: Mapping[str, Target] = field(default_factory=dict)
    evidence: Mapping[str, tuple[Evidence, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    _answers: dict[tuple[str, str], bool | None] = field(default_factory=dict, compare=False, repr=False)

    def affected(self, library: str, specifier: str) -> bool | None:
        """Whether the versions the project may use lie in a range: True for all of them, False for none, else None."""
        key = (library, specifier)
        if key not in self._answers:
            name = str(canonicalize_name(library))
            target = self.targets.get(name)
            choices = tuple(map(str, target.choices)) if target is not None else ("",)
            self._answers[key] = _affected(choices, str(self._shown(name)), specifier)
        return self._answers[key]

    def may_be(self, library: str, specifier: str) -> bool:
        """Whether some version the project may use lies, for all we know, in a range."""
        return self.affected(library, specifier) is not False

    def known(self, library: str) -> bool:
        """Whether anything limits the version of a library."""
        name = str(canonicalize_name(library))
        target = self.targets.get(name)
        return name in self.evidence or (target is not None and any(str(choice) for choice in target.choices))

    def outer(self, library: str) -> bool:
        """Whether what is known of a library may be meant for another project around this one."""
        target = self.targets.get(str(canonicalize_name(library)))
        return target is not None and target.outer

    def apart(self, library: str) -> bool:
        """Whether what is known of a library is said outside of the package that the file belongs to."""
        target = self.targets.get(str(canonicalize_name(library)))
        return target is not None and target.apart

    def newest_likely(self, library: str) -> bool:
        """Whether a fresh installation takes the newest release: the name is listed and nothing bounds it above."""
        name = str(canonicalize_name(library))
        target = self.targets.get(name)
        return target is not None and all(_is_open(choice & self._shown(name)) for choice in target.choices)

    def some_commit(self, library: str) -> bool:
        """Whether the project takes some commit of a library, and nothing tells its version."""
        name = str(canonicalize_name(library))
        target = self.targets.get(name)
        return target is not None and target.commit and not self.known(name)

    def copied(self, library: str) -> str:
        """How the project carries a copy of a library that gives it its version, "" when it does not."""
        target = self.targets.get(str(canonicalize_name(library)))
        return target.copy if target is not None else ""

    def doubted(self, library: str, wholly: bool) -> TargetVersions:
        """The same where a library may as well be of any version, or (wholly) where nothing is said of it."""
        name = str(canonicalize_name(library))
        kept = {key: target for key, target in self.targets.items() if key != name}
        if not wholly and name in self.targets:
            kept[name] = replace(self.targets[name], choices=(*self.targets[name].choices, _ANY))
        return replace(self, targets=kept, _answers={})

    def before_release(self, library: str) -> bool:
        """Whether the project runs with a state of a library before a release, such as 0.3.0.dev0: what that release brought
        may be in it or not."""
        name = str(canonicalize_name(library))
        target = self.targets.get(name)
        choices = target.choices if target is not None else (_ANY,)
        if target is not None and target.copy:  # in doubt or not
            choices = tuple(choice for choice in choices if str(choice))
        pins = [exact_version(choice & self._shown(name)) for choice in choices]
        return all(pin is not None and pin.is_prerelease for pin in pins)

    def describe(self, library: str) -> str | None:
        """For messages: "trl 0.22.2 (uv.lock)", "trl >=0.20,<0.23 (pyproject.toml)"; None when nothing is known."""
        name = str(canonicalize_name(library))
        target = self.targets.get(name)
        if target is not None and any(str(choice) for choice in target.choices):
            return f"{library} {' or '.join(_text(choice) for choice in target.choices)} ({target.source})"
        if name in self.evidence:
            return f"{library} {_text(self._shown(name))} ({self.evidence[name][-1].why})"
        return f"{library} without a version ({target.source})" if target is not None else None

    def with_evidence(self, library: str, specifier: str, why: str) -> TargetVersions:
        """The same with a range that the code shows: code that needs an argument gone in 0.20 runs on <0.20 only."""
        name = str(canonicalize_name(library))
        shown = (*self.evidence.get(name, ()), Evidence(SpecifierSet(specifier), why))
        return replace(self, evidence={**self.evidence, name: shown}, _answers={})

    def _shown(self, name: str) -> SpecifierSet:
        """Range that all evidence for a library leaves."""
        result = _ANY
        for one in self.evidence.get(name, ()):
            result &= one.specifier
        return result


@lru_cache(maxsize=4096)  # many files ask the same
def _affected(choices: tuple[str, ...], evidence: str, asked: str) -> bool | None:
    """Answer over all choices. Where evidence contradicts a choice, only what both agree on counts; what no version is in that
    the code runs with does not happen, whatever is declared."""
    shown, query = SpecifierSet(evidence), SpecifierSet(asked)
    answers: set[bool | None] = set()
    for choice in map(SpecifierSet, choices):
        if is_empty(choice & shown):
            runs = relation(shown, query)
            answers |= {runs} if runs is False else {relation(choice, query), runs}
        else:
            answers.add(relation(choice & shown, query))
    return answers.pop() if len(answers) == 1 else None


# --- ranges -----------------------------------------------------------------------------------------------------------


def relation(choice: SpecifierSet, query: SpecifierSet) -> bool | None:
    """Whether all versions of `choice` lie in `query` (True), none (False), or some, or it cannot be told (None).

    Ranges are compared on final releases; between x.y.2 and x.y.3 no further release is assumed. A pinned pre-release
    (0.22.0.dev0) counts as lying between the release before and its own, a development state behind a release (0.11.2.dev0) as
    going up to the next minor one, which most grow into: unless all give the same answer, None.
    """
    exact = exact_version(choice)
    if exact is not None and (exact.is_prerelease or exact.is_devrelease):
        return _relation_of_prerelease(exact, query)
    if exact is not None:
        return _holds(query, Version(exact.public))
    inside = [point for point in _points((choice, query)) if _holds(choice, point)]
    answers = {_holds(query, point) for point in inside}
    return answers.pop() if len(answers) == 1 else None


def is_empty(choice: SpecifierSet) -> bool:
    """Whether no version satisfies all of a range."""
    exact = exact_version(choice)
    if exact is not None:
        # The order of a pre-release to a bound is not held against it: 0.23.1.dev0 may well satisfy <0.23.1.
        return relation(SpecifierSet(f"=={exact}"), _others(choice)) is False
    return not any(_holds(choice, point) for point in _points((choice,)))


def exact_version(choice: SpecifierSet) -> Version | None:
    """Version that a range pins, None when it leaves more than one open."""
    for clause in choice:
        if clause.operator in ("==", "===") and not clause.version.endswith(".*"):
            return _version(clause.version)
    return None


def _others(choice: SpecifierSet) -> SpecifierSet:
    """A range without its pins."""
    kept = [str(clause) for clause in choice if clause.operator not in ("==", "===") or clause.version.endswith(".*")]
    return SpecifierSet(",".join(kept))


def _relation_of_prerelease(exact: Version, query: SpecifierSet) -> bool | None:
    """Answer for a pre-release: that of the releases on both sides of it, if they agree."""
    base = Version(exact.base_version)
    last = Version(f"{base.major}.{base.minor + 1}") if exact.is_devrelease and base.micro else base
    points = _points((query, SpecifierSet(f"=={base}"), SpecifierSet(f"=={last}")))
    below = [point for point in points if point < base]
    answers = {_holds(query, point) for point in points if base <= point <= last}
    answers |= {_holds(query, point) for point in below[-1:]}
    return answers.pop() if len(answers) == 1 else None


def _holds(specifiers: SpecifierSet, version: Version) -> bool:
    """Whether a final release satisfies a range."""
    return specifiers.contains(version, prereleases=True)


def _points(sets: Iterable[SpecifierSet]) -> list[Version]:
    """Releases, sorted, on and between all bounds of some ranges: whatever differs between versions shows on them."""
    bounds: set[Release] = {(0,)}
    for specifiers in sets:
        for clause in specifiers:
            bounds.update(_bounds(clause))
    length = max(3, *(len(bound) for bound in bounds))
    ordered = sorted({bound + (0,) * (length - len(bound)) for bound in bounds})
    points: list[Release] = []
    for index, bound in enumerate(ordered):
        points.append(bound)
        following = ordered[index + 1] if index + 1 < len(ordered) else None
        if following is None or length > 3 or following != (*bound[:-1], bound[-1] + 1):
            points.append((*bound, 1))
    return [Version(".".join(map(str, point))) for point in points]


def _bounds(clause: Specifier) -> list[Release]:
    """Releases at which a clause changes its answer."""
    version = _version(clause.version.removesuffix(".*"))
    if version is None:
        return []
    release = version.release
    if clause.operator == "~=":
        return [release, _next(release[:-1])]
    if clause.version.endswith(".*"):
        return [release, _next(release)]
    return [release]


def _next(release: Release) -> Release:
    """The release whose last number is one higher."""
    return (*release[:-1], release[-1] + 1)


def _version(text: str) -> Version | None:
    """Version of a text, None when it is none (`===` takes any)."""
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _is_open(choice: SpecifierSet) -> bool:
    """Whether a range has no upper bound."""
    return _holds(choice, _points((choice,))[-1])


def _text(choice: SpecifierSet) -> str:
    """A range as people write it: lower bounds first, a pin without its operator."""
    exact = exact_version(choice)
    if exact is not None and len(choice) == 1:
        return str(exact)
    order = {">=": 0, ">": 0, "~=": 1, "==": 2, "===": 2, "!=": 3, "<": 4, "<=": 4}
    clauses = sorted(choice, key=lambda clause: (order[clause.operator], clause.version))
    return ",".join(str(clause) for clause in clauses) or "of any version"
