"""Where the user's code is: the innermost frame that is not a library's."""

from __future__ import annotations

import dis
import os
import site
import sys
import sysconfig
from itertools import islice
from types import CodeType, FrameType

from lora_lint.location import Location


def _library_roots() -> tuple[str, ...]:
    found = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    found.update(site.getsitepackages())
    found.add(site.getusersitepackages())
    found.add(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return tuple(os.path.realpath(root) + os.sep for root in found if root)


# Another environment's packages on the path are libraries, too.
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
Point = tuple[CodeType, int, int]


class Frames:
    """Tells the user's frames from those of libraries, and turns them into locations."""

    def __init__(self, cwd: str, aliases: dict[str, str]) -> None:
        self._cwd = os.path.realpath(cwd)
        self._aliases = aliases
        self._roots = _library_roots()
        self._users: dict[str, bool] = {}

    def is_user(self, filename: str) -> bool:
        """Whether the file is the user's own."""
        known = self._users.get(filename)
        if known is None:
            made_up = filename.startswith("<")  # "<string>", "<stdin>"
            real = os.path.realpath(filename)
            installed = real.startswith(self._roots) or any(mark in real for mark in _INSTALLED)
            known = not made_up and (real in self._aliases or not installed)
            self._users[filename] = known
        return known

    def innermost(self, frame: FrameType | None) -> FrameType | None:
        """The innermost frame of the user's, None when there is none."""
        while frame is not None:
            if self.is_user(frame.f_code.co_filename):
                return frame
            frame = frame.f_back
        return None

    def point(self, depth: int = 1) -> Point | None:
        """Where the user's code is, cheaply: to be shown with `location_of`."""
        frame = self.innermost(sys._getframe(depth))
        return None if frame is None else (frame.f_code, frame.f_lasti, frame.f_lineno)

    def here(self, depth: int = 1) -> Location:
        """Where the user's code is; the outermost frame when all is library code."""
        start: FrameType | None = sys._getframe(depth)
        frame = self.innermost(start)
        if frame is None:
            frame = start
            while frame is not None and frame.f_back is not None:
                frame = frame.f_back
        return self.location(frame) if frame is not None else self.nowhere()

    def location(self, frame: FrameType) -> Location:
        """The statement or expression the frame is at."""
        return self.location_of((frame.f_code, frame.f_lasti, frame.f_lineno))

    def location_of(self, point: Point) -> Location:
        """The place of a point."""
        code, instruction, line = point
        path = self.shown(code.co_filename)
        positions = getattr(code, "co_positions", None)
        if positions is not None and instruction >= 0:
            found = next(islice(positions(), instruction // 2, None), None)
            if found is not None and None not in found:
                start, end, column, end_column = found
                return Location(path, start, column + 1, end, end_column + 1)
        return Location(path, line, 1, line, 1)

    def result_discarded(self) -> bool:
        """Whether the user's call that is running is a statement of its own: nothing keeps what it returns."""
        frame = self.innermost(sys._getframe(1))
        if frame is None:
            return False
        following = (i for i in dis.get_instructions(frame.f_code) if i.offset > frame.f_lasti)
        after = next((i for i in following if i.opname not in ("CACHE", "NOP", "EXTENDED_ARG")), None)
        return after is not None and after.opname == "POP_TOP"

    def functions(self, frame: FrameType | None) -> set[CodeType]:
        """The user's functions and modules that are running, as code objects."""
        found: set[CodeType] = set()
        while frame is not None:
            if self.is_user(frame.f_code.co_filename):
                found.add(frame.f_code)
            frame = frame.f_back
        return found

    def stack(self, frame: FrameType | None) -> list[Location]:
        """The user's frames, outermost first."""
        found: list[Location] = []
        while frame is not None:
            if self.is_user(frame.f_code.co_filename):
                found.append(self.location(frame))
            frame = frame.f_back
        return found[::-1]

    def shown(self, filename: str) -> str:
        """The path as the user knows it: relative to where the command was started, when below it."""
        real = os.path.realpath(filename) if not filename.startswith("<") else filename
        real = self._aliases.get(real, real)
        if real.startswith(self._cwd + os.sep):
            return real[len(self._cwd) + 1 :]
        return real

    def nowhere(self) -> Location:
        """The place of what has no place."""
        return Location(self.shown(sys.argv[0]) if sys.argv and sys.argv[0] else "<unknown>", 1, 1, 1, 1)
