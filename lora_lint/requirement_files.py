"""Reading what projects say about versions: lock files, requirement files, pyproject.toml, setup.cfg, setup.py, conda, pip lines.

A file that cannot be read gives a note and nothing else.
"""

from __future__ import annotations

import ast
import configparser
import json
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from lora_lint.discovery import SUFFIXES, mentions_lifecycle

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_PIP_LINE = re.compile(r"^\s*[%!]?\s*(?:uv\s+)?(?:python3?\s+-m\s+)?pip3?\s+install\s+(?P<rest>.*)$")
_OPTION_WITH_VALUE = re.compile(
    r"-[rcifte]|--(?:requirement|constraint|index-url|extra-index-url|find-links|target|editable|prefix|root|platform"
    r"|python-version|implementation|abi|progress-bar|upgrade-strategy)"
)
_GIT = re.compile(
    r"^(?P<vcs>git\+)?(?:https?|ssh|git)://.*?/(?P<name>[\w.-]+?)(?:\.git)?(?:@(?P<ref>[^#/\s]+))?(?:#.*)?$"
)
_RELEASE_TAG = re.compile(r"^v?(\d+(?:\.\d+)+(?:[.\w]*))$")
_COMMIT = re.compile(r"^[0-9a-f]{7,40}$")
_CONDA = re.compile(r"^(?:[\w-]+::)?(?P<name>[\w.-]+)\s*(?P<range>[^\s\[]*)")
_REQUIRES = re.compile(
    r"requires?\b|requirements|extras?\b|extras?_require|dependencies|\bdeps\b|_deps\b", re.IGNORECASE
)
_PACKAGE = {  # what tells of a package that is installed by itself
    "setup.py": re.compile(r"\bsetup\("),
    "pyproject.toml": re.compile(r"^\[(?:project|build-system|tool\.poetry)\]", re.MULTILINE),
    "setup.cfg": re.compile(r"^\[metadata\]", re.MULTILINE),
}
_FEW = 20  # files of code in a folder that is kept for setting up
_CONDA_NAMES = {"pytorch": "torch", "pytorch-gpu": "torch"}


Reader = Callable[[Path], Iterable["Wanted"]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One mention of a library. conditional: it holds only under a marker, or beside other versions of a lock file. commit: it
    is some commit of a repository, whose version is not said."""

    name: str
    specifier: SpecifierSet
    conditional: bool = False
    commit: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """What one file says. label: its name for messages. lock: whether it is a lock file. copy: see `Target`."""

    label: str
    lock: bool
    wanted: list[Wanted]
    copy: str = ""


def read_folder(folder: Path, notes: list[str]) -> list[Source]:
    """What the files of one folder say, the most binding first; files that cannot be read are told in `notes`."""
    sources: list[Source] = []
    for name, reader in _LOCKS:
        sources += _read(folder / name, reader, notes, lock=True)
    for path in _requirement_files(folder):
        sources += _read(path, _requirements, notes)
    for name, reader in _PROJECT_FILES:
        sources += _read(folder / name, reader, notes)
    for path in _kept_apart(folder):
        sources += _read(path, _requirements, notes)
    return [source for source in sources if source.wanted]


def is_package(folder: Path) -> bool:
    """Whether a folder holds a package that is installed by itself."""
    for name, mark in _PACKAGE.items():
        try:
            if mark.search((folder / name).read_text(encoding="utf-8")):
                return True
        except (OSError, ValueError):
            continue
    return False


def _read(path: Path, reader: Reader, notes: list[str], *, lock: bool = False) -> list[Source]:
    """One file read; nothing when there is none, and a note when it is broken."""
    if not path.is_file():
        return []
    try:
        return [Source(path.name, lock, list(reader(path)))]
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError, configparser.Error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        notes.append(f"{path}: ignored for library versions: {reason}")
        return []


def install_line(line: str) -> list[Wanted]:
    """Libraries of a `%pip install …` or `!pip install …` line; empty for any other line."""
    match = _PIP_LINE.match(line.split("#", 1)[0] if "#egg" not in line else line)
    if match is None:
        return []
    try:
        words = shlex.split(match["rest"])
    except ValueError:
        return []
    result: list[Wanted] = []
    skip = False
    for word in words:
        if word in ("&&", ";", "||", "|"):
            break
        if skip or word.startswith("-"):
            skip = not skip and _OPTION_WITH_VALUE.fullmatch(word) is not None
            continue
        result += _wanted(word)
    return result


def _wanted(text: str) -> list[Wanted]:
    """A requirement, or a link to a repository with a release tag; empty for what is neither (paths, options)."""
    link = _GIT.match(text.split(" @ ", 1)[-1].strip())
    if link is not None:
        if not link["vcs"]:
            return []
        tag = _RELEASE_TAG.match(link["ref"] or "")
        name = text.split(" @ ", 1)[0].split("[")[0].strip() if " @ " in text else link["name"]
        range_ = SpecifierSet(f"=={tag[1]}" if tag else "")
        return [Wanted(str(canonicalize_name(name)), range_, commit=_COMMIT.match(link["ref"] or "") is not None)]
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return []
    marker = str(requirement.marker or "")
    conditional = bool(marker) and "extra" not in marker
    return [Wanted(str(canonicalize_name(requirement.name)), requirement.specifier, conditional)]


# --- lock files -------------------------------------------------------------------------------------------------------


def _toml(path: Path) -> dict[str, Any]:
    """Content of a TOML file."""
    content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    return content


def _package_tables(path: Path) -> Iterator[Wanted]:
    """uv.lock, poetry.lock and pdm.lock: `[[package]]` tables, several for one name under different markers. What comes out of
    a repository may be a fork, whose version does not tell what it takes."""
    for package in _toml(path).get("package", []):
        if isinstance(package.get("version"), str):
            name = str(canonicalize_name(package["name"]))
            yield Wanted(name, _pin(package["version"]), conditional=True)
            source = package.get("source")
            if "git" in package or (isinstance(source, dict) and ("git" in source or source.get("type") == "git")):
                yield Wanted(name, SpecifierSet(""), conditional=True)


def _pipfile_lock(path: Path) -> Iterator[Wanted]:
    """Pipfile.lock: JSON with the sections default and develop."""
    content = json.loads(path.read_text(encoding="utf-8"))
    for section in ("default", "develop"):
        for name, entry in content.get(section, {}).items():
            if isinstance(entry.get("version"), str):
                yield Wanted(str(canonicalize_name(name)), SpecifierSet(entry["version"]), conditional=True)


def _pin(version: str) -> SpecifierSet:
    """Range that holds one version."""
    return SpecifierSet(f"=={version}")


# --- requirement files ------------------------------------------------------------------------------------------------


def _requirement_files(folder: Path) -> list[Path]:
    """requirements.txt first, then its relatives, then those in a folder of that name."""
    found = [path for path in folder.glob("*requirement*.txt") if path.is_file()]
    found += [path for path in (folder / "requirements").glob("*.txt") if path.is_file()]
    return sorted(found, key=lambda path: (path.name != "requirements.txt", len(path.parts), path.name))


def _kept_apart(folder: Path) -> list[Path]:
    """Requirement files in folders that hold no code about models (`setup/`, `docker/`), so that they are for the code around
    them."""
    found = [path for path in folder.glob("*/*requirement*.txt") if path.is_file()]
    apart = {kept: not _holds_training(kept) for kept in {path.parent for path in found}}
    return sorted(
        (path for path in found if apart[path.parent]), key=lambda path: (path.name != "requirements.txt", path)
    )


def _holds_training(folder: Path) -> bool:
    """Whether a folder has code of its own that uses what we know of, in files or in the text of a tutorial: what is there is
    installed for that. Scripts that fetch data or set the machine up do not; many files are taken to be a program."""
    code = [path for suffix in SUFFIXES for path in islice(folder.rglob(f"*{suffix}"), _FEW + 1)]
    if len(code) > _FEW:
        return True
    told = islice(folder.rglob("*.md"), _FEW)
    try:
        if any(mentions_lifecycle(path.read_bytes()) for path in code):
            return True
        texts = (path.read_bytes() for path in told if path.is_file())
        return any(b"```python" in text and mentions_lifecycle(text) for text in texts)
    except OSError:
        return True


def _requirements(path: Path) -> Iterator[Wanted]:
    """A requirement file with what it includes."""
    yield from _requirement_lines(path, set())


def _requirement_lines(path: Path, seen: set[Path]) -> Iterator[Wanted]:
    """Requirements of a file and its `-r` and `-c` files; each file once."""
    if path.resolve() in seen:
        return
    seen.add(path.resolve())
    text = path.read_text(encoding="utf-8-sig").replace("\\\r\n", " ").replace("\\\n", " ")
    for line in text.splitlines():
        content = re.sub(r"(^|\s)#.*$", "", line).strip()
        include = re.match(r"(?:-r|-c|--requirement|--constraint)[\s=]*(.+)$", content)
        if include is not None:
            included = path.parent / include[1].strip()
            if included.is_file():
                yield from _requirement_lines(included, seen)
            continue
        content = re.sub(r"\s+--(?:hash|config-settings|global-option|install-option)\b.*$", "", content)
        content = re.sub(r"^(?:-e|--editable)[\s=]+", "", content)
        if content and not content.startswith("-"):
            yield from _wanted(content)


# --- project files ----------------------------------------------------------------------------------------------------


def _pyproject(path: Path) -> Iterator[Wanted]:
    """pyproject.toml: the project itself, its dependencies, extras and groups, and the tables of Poetry."""
    content = _toml(path)
    project = content.get("project", {})
    if isinstance(project.get("version"), str) and isinstance(project.get("name"), str):
        yield Wanted(str(canonicalize_name(project["name"])), _pin(project["version"]))
    groups = [project.get("dependencies", []), *project.get("optional-dependencies", {}).values()]
    groups += content.get("dependency-groups", {}).values()
    for group in groups:
        for entry in group:
            if isinstance(entry, str):
                yield from _wanted(entry)
    yield from _poetry(content.get("tool", {}).get("poetry", {}))


def _poetry(table: Mapping[str, Any]) -> Iterator[Wanted]:
    """Dependencies of `[tool.poetry]`, its groups included."""
    tables = [table.get("dependencies", {}), table.get("dev-dependencies", {})]
    tables += [group.get("dependencies", {}) for group in table.get("group", {}).values()]
    for dependencies in tables:
        for name, entry in dependencies.items():
            entries = entry if isinstance(entry, list) else [entry]
            for one in entries:
                version = one.get("version", "*") if isinstance(one, dict) else one
                choices = [poetry_range(part) for part in str(version).split("||")]
                for choice in choices:
                    yield Wanted(str(canonicalize_name(name)), choice, len(entries) > 1 or len(choices) > 1)


def poetry_range(text: str) -> SpecifierSet:
    """Range of Poetry's notation: `^1.2`, `~1.2`, `1.2.*`, `1.2`, `>=1,<2`. Raises InvalidSpecifier for others."""
    clauses = re.split(r"\s*,\s*|\s+(?=[<>=!~^])", text.strip())
    return SpecifierSet(",".join(filter(None, (_poetry_clause(clause) for clause in clauses))))


def _poetry_clause(clause: str) -> str:
    """One clause of Poetry's notation in that of PEP 440."""
    version = clause.lstrip("^~=").strip()
    if clause in ("", "*"):
        return ""
    if clause[0] == "^" or (clause[0] == "~" and not clause.startswith("~=")):
        release = re.match(r"\d+(?:\.\d+)*", version)
        if release is None:
            raise InvalidSpecifier(f"Invalid specifier: {clause!r}")
        numbers = [int(number) for number in release[0].split(".")]
        place = min(1, len(numbers) - 1) if clause[0] == "~" else _first_set(numbers)
        upper = [*numbers[:place], numbers[place] + 1]
        return f">={version},<{'.'.join(map(str, upper))}"
    return clause if clause[0] in "<>=!~" else f"=={clause}"


def _first_set(numbers: list[int]) -> int:
    """Index of the first number that is not 0, which `^` keeps; the last one if all are."""
    return next((index for index, number in enumerate(numbers) if number), len(numbers) - 1)


def _setup_cfg(path: Path) -> Iterator[Wanted]:
    """setup.cfg: install_requires and the extras."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(path.read_text(encoding="utf-8"), str(path))
    lists = [parser.get("options", "install_requires", fallback="")]
    if parser.has_section("options.extras_require"):
        lists += [value for _, value in parser.items("options.extras_require")]
    for text in lists:
        for line in text.splitlines():
            yield from _wanted(line.split("#")[0].strip())


def _setup_py(path: Path) -> Iterator[Wanted]:
    """setup.py: the strings of lists and dicts that are given or assigned as requirements. The file is not run."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise ValueError(str(error)) from error
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword):
            names = [node.arg or ""]
        elif isinstance(node, ast.Assign):
            names = [ast.unparse(target) for target in node.targets]
        else:
            continue
        if any(_REQUIRES.search(name) for name in names):
            yield from _strings_wanted(node.value)


def _strings_wanted(node: ast.expr) -> Iterator[Wanted]:
    """The requirements among the strings of nested displays; what is computed is left out."""
    if isinstance(node, (ast.List, ast.Tuple)):
        for item in node.elts:
            yield from _strings_wanted(item)
    elif isinstance(node, ast.Dict):
        for value in node.values:
            yield from _strings_wanted(value)
    elif isinstance(node, ast.BinOp):
        yield from _strings_wanted(node.left)
        yield from _strings_wanted(node.right)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield from _wanted(node.value)


def _conda(path: Path) -> Iterator[Wanted]:
    """environment.yml: conda packages and the pip section."""
    import yaml  # dear to import, and hardly any project has such a file

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    for entry in content.get("dependencies") or []:
        if isinstance(entry, dict):
            for line in entry.get("pip") or []:
                yield from _wanted(str(line))
            continue
        match = _CONDA.match(str(entry))
        if match is not None:
            name = _CONDA_NAMES.get(match["name"], match["name"])
            yield Wanted(str(canonicalize_name(name)), _conda_range(match["range"]))


def _conda_range(text: str) -> SpecifierSet:
    """Range of conda's notation, where a single `=` and a bare version match a prefix; empty for what is unclear."""
    text = text.strip("'\"")
    prefix = re.match(r"^=?(\d[\w.]*?)(?:\.\*)?(?:=[\w*]+)?$", text)
    try:
        return SpecifierSet(f"=={prefix[1]}.*" if prefix else text)
    except InvalidSpecifier:
        return SpecifierSet("")


_LOCKS: tuple[tuple[str, Reader], ...] = (
    ("uv.lock", _package_tables),
    ("poetry.lock", _package_tables),
    ("pdm.lock", _package_tables),
    ("Pipfile.lock", _pipfile_lock),
)
_PROJECT_FILES: tuple[tuple[str, Reader], ...] = (
    ("pyproject.toml", _pyproject),
    ("setup.cfg", _setup_cfg),
    ("setup.py", _setup_py),
    ("environment.yml", _conda),
    ("environment.yaml", _conda),
    ("env.yml", _conda),
    ("env.yaml", _conda),
)
