"""Settings: `[tool.lora-lint]` of pyproject.toml or a lora-lint.toml, read strictly into one frozen object."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from lora_lint.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONFIG_NAMES = (".lora-lint.toml", "lora-lint.toml", "pyproject.toml")
FORMATS = ("text", "concise", "json", "sarif", "github")
FAIL_ON = ("error", "warning", "info")

# Folders nobody wants checked: version control, environments, caches, build products.
DEFAULT_EXCLUDE = (
    "._*",  # what macOS keeps beside the files of foreign disks
    ".bzr",
    ".direnv",
    ".eggs",
    ".git",
    ".hg",
    ".ipynb_checkpoints",
    ".mypy_cache",
    ".nox",
    ".pyenv",
    ".pytest_cache",
    ".ruff_cache",
    ".svn",
    ".tox",
    ".venv",
    "__pycache__",
    "__pypackages__",
    "buck-out",
    "build",
    "dist",
    "node_modules",
    "site-packages",
    "venv",
)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the user can set, for the files under one folder.

    root: the folder that relative patterns and paths are relative to (that of the file they come from).
    source: the configuration file, None for the defaults.
    select, ignore, …: selectors as written; `lora_lint.selection` gives them their meaning.
    """

    root: Path
    source: Path | None = None
    select: tuple[str, ...] = ("ALL",)
    extend_select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    extend_ignore: tuple[str, ...] = ()
    per_file_ignores: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fixable: tuple[str, ...] = ("ALL",)
    unfixable: tuple[str, ...] = ()
    unsafe_fixes: bool = False
    preview: bool = False
    exclude: tuple[str, ...] = DEFAULT_EXCLUDE
    extend_exclude: tuple[str, ...] = ()
    respect_gitignore: bool = True
    force_exclude: bool = False
    fail_on: str = "warning"
    format: str = "text"
    baseline: Path | None = None
    target_versions: Mapping[str, str] = field(default_factory=dict)
    apis: tuple[Path, ...] = ()
    rules: tuple[Path, ...] = ()
    datasets: tuple[Path, ...] = ()

    def show(self) -> str:
        """The settings as TOML-like lines, for `--show-settings`."""
        lines = []
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name == "source":
                lines.append(f"# from {value or 'the defaults (no configuration file found)'}")
            elif item.name != "root":
                lines.append(f"{item.name.replace('_', '-')} = {_as_toml(value)}")
        return "\n".join(lines) + "\n"


def _as_toml(value: Any) -> str:
    if value is None:
        return '""'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_as_toml(key)} = {_as_toml(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(_as_toml(entry) for entry in value) + "]"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


# --- reading one file -------------------------------------------------------------------------------------------------


class _WrongValueError(Exception):
    """A value of the wrong type; the message says what was expected."""


def _strings(value: Any, root: Path) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _WrongValueError("a list of strings")
    return tuple(value)


def _paths(value: Any, root: Path) -> tuple[Path, ...]:
    return tuple(root / item for item in _strings(value, root))


def _path(value: Any, root: Path) -> Path | None:
    if not isinstance(value, str):
        raise _WrongValueError("a path as a string")
    return root / value if value else None


def _flag(value: Any, root: Path) -> bool:
    if not isinstance(value, bool):
        raise _WrongValueError("true or false")
    return value


def _one_of(choices: tuple[str, ...]) -> Callable[[Any, Path], str]:
    def read(value: Any, root: Path) -> str:
        if value not in choices:
            raise _WrongValueError("one of " + ", ".join(f'"{choice}"' for choice in choices))
        return str(value)

    return read


def _ignores(value: Any, root: Path) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise _WrongValueError('a table of lists, for instance {"tests/**" = ["LL206"]}')
    return {pattern: _strings(codes, root) for pattern, codes in value.items()}


def _versions(value: Any, root: Path) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(version, str) for version in value.values()):
        raise _WrongValueError('a table of strings, for instance {peft = "0.17.0", trl = ">=0.20"}')
    return dict(value)


_READERS: Mapping[str, Callable[[Any, Path], Any]] = {
    "select": _strings,
    "extend-select": _strings,
    "ignore": _strings,
    "extend-ignore": _strings,
    "per-file-ignores": _ignores,
    "fixable": _strings,
    "unfixable": _strings,
    "unsafe-fixes": _flag,
    "preview": _flag,
    "exclude": _strings,
    "extend-exclude": _strings,
    "respect-gitignore": _flag,
    "force-exclude": _flag,
    "fail-on": _one_of(FAIL_ON),
    "format": _one_of(FORMATS),
    "baseline": _path,
    "target-versions": _versions,
    "apis": _paths,
    "rules": _paths,
    "datasets": _paths,
}


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """'; did you mean `…`?' with the nearest of the known words, or nothing."""
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean `{by_lower[close[0]]}`?" if close else ""


def _line_of(text: str, key: str) -> int | None:
    """The line on which `key` stands in the tool's table, None when it cannot be told (inline tables)."""
    pattern = re.compile(rf"""\s*(?:\[[^\]]*?)?["']?{re.escape(key)}["']?\s*(?:=|\]|\.)""")
    inside = "tool.lora-lint" not in text
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("["):
            inside = "lora-lint" in line or "tool.lora-lint" not in text
        if inside and pattern.match(line):
            return number
    return None


def _load(path: Path) -> tuple[dict[str, Any] | None, str]:
    """The tool's table (None in a pyproject.toml without one) and the text of the file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    if path.name == "pyproject.toml" and "lora-lint" not in text:
        return None, text
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(_toml_error(path, str(error))) from error
    table = (
        document.get("tool", {}).get("lora-lint") if path.name == "pyproject.toml" or "tool" in document else document
    )
    if table is not None and not isinstance(table, dict):
        raise InputError(f"{path}: `tool.lora-lint` must be a table")
    return table, text


def _toml_error(path: Path, message: str) -> str:
    """'file:line:column: not valid TOML: …' from the parser's message, which ends in '(at line 3, column 7)'."""
    place = re.search(r"\s*\(at line (\d+), column (\d+)\)", message)
    if place is None:
        return f"{path}: not valid TOML: {message}"
    return f"{path}:{place[1]}:{place[2]}: not valid TOML: {message.replace(place[0], '')}"


def read_settings(path: Path) -> Settings | None:
    """Settings of one configuration file; None for a pyproject.toml without `[tool.lora-lint]`.

    Raises InputError with file:line for text that is not TOML, unknown keys and values of the wrong type.
    """
    table, text = _load(path)
    if table is None:
        return None
    root = path.resolve().parent
    values: dict[str, Any] = {}
    for key, value in table.items():
        line = _line_of(text, key)
        place = f"{path}:{line}" if line else str(path)
        reader = _READERS.get(key)
        if reader is None:
            raise InputError(f"{place}: unknown key `{key}`{did_you_mean(key, _READERS)}")
        try:
            values[key.replace("-", "_")] = reader(value, root)
        except _WrongValueError as error:
            raise InputError(f"{place}: `{key}` must be {error}") from error
    return Settings(root=root, source=path, **values)


# --- which file applies where -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line says; None and () leave the configuration alone.

    select: replaces every selection of the configuration files (theirs to ignore included, except per file).
    extend_select, ignore, extend_exclude: added to what the files say.
    """

    select: tuple[str, ...] = ()
    extend_select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    extend_exclude: tuple[str, ...] = ()
    fail_on: str | None = None
    format: str | None = None
    baseline: Path | None = None
    preview: bool | None = None
    unsafe_fixes: bool | None = None
    respect_gitignore: bool | None = None
    force_exclude: bool | None = None

    def apply(self, settings: Settings) -> Settings:
        """The settings with everything that the command line says put over them."""
        if self.select:
            settings = replace(settings, select=self.select, extend_select=(), ignore=(), extend_ignore=())
        plain = ("fail_on", "format", "baseline", "preview", "unsafe_fixes", "respect_gitignore", "force_exclude")
        said = {name: getattr(self, name) for name in plain if getattr(self, name) is not None}
        return replace(
            settings,
            extend_select=settings.extend_select + self.extend_select,
            extend_ignore=settings.extend_ignore + self.ignore,
            extend_exclude=settings.extend_exclude + self.extend_exclude,
            **said,
        )


class Configuration:
    """The settings of each folder: the closest configuration file wins as a whole, `--config` wins over all."""

    def __init__(
        self,
        *,
        explicit: Path | None = None,
        overrides: Overrides | None = None,
        cwd: Path | None = None,
        anchor: str = ".",
    ):
        """anchor: the path whose settings rule the run when the current folder has none of its own."""
        self._overrides = overrides or Overrides()
        self._cwd = (cwd or Path.cwd()).resolve()
        self._anchor = anchor
        self._of_folder: dict[Path, Settings] = {}
        self._explicit: Settings | None = None
        if explicit is not None:
            settings = read_settings(explicit)
            if settings is None:
                raise InputError(f"{explicit}: has no table [tool.lora-lint]")
            # Patterns of a file given by hand are relative to where the user stands.
            self._explicit = self._overrides.apply(replace(settings, root=self._cwd))
        self._default = self._overrides.apply(Settings(root=self._cwd))

    @property
    def main(self) -> Settings:
        """The settings of the run itself (format, baseline, fail-on): of the current folder, else of the anchor."""
        settings = self.for_folder(self._cwd)
        if settings.source is not None:
            return settings
        anchor = self._cwd / self._anchor
        return self.for_folder(anchor if anchor.is_dir() else anchor.parent)

    @property
    def loaded(self) -> tuple[Settings, ...]:
        """All different settings met so far, that of the current folder first."""
        distinct = {id(settings): settings for settings in (self.main, *self._of_folder.values())}
        return tuple(distinct.values())

    def for_file(self, path: Path) -> Settings:
        """Settings that apply to a file; the path is made absolute against the current folder."""
        return self.for_folder((self._cwd / path).parent)

    def for_folder(self, folder: Path) -> Settings:
        """Settings that apply in a folder."""
        if self._explicit is not None:
            return self._explicit
        chain: list[Path] = []
        found: Settings | None = None
        for candidate in (folder, *folder.parents):
            found = self._of_folder.get(candidate) or self._read_folder(candidate)
            chain.append(candidate)
            if found is not None:
                break
        settings = found or self._default
        self._of_folder.update(dict.fromkeys(chain, settings))
        return settings

    def _read_folder(self, folder: Path) -> Settings | None:
        for name in CONFIG_NAMES:
            path = folder / name
            if path.is_file():
                settings = read_settings(_short(path, self._cwd))
                if settings is not None:
                    return self._overrides.apply(settings)
        return None


def _short(path: Path, cwd: Path) -> Path:
    """The path as the user would type it: relative to the current folder when it lies below."""
    try:
        return path.relative_to(cwd)
    except ValueError:
        return path
