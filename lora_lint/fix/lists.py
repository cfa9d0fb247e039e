"""Items of a list in brackets (arguments, imported names): adding and dropping them in the list's own style."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lora_lint.fix.edits import Change, Lines


@dataclass(frozen=True, slots=True)
class Item:
    """Place of one item: start and end offset, and the offset behind its comma (None without one)."""

    start: int
    end: int
    comma: int | None

    @property
    def stop(self) -> int:
        """Offset behind the item and its comma."""
        return self.end if self.comma is None else self.comma


@dataclass(frozen=True, slots=True)
class ItemList:
    """The items between two brackets.

    open, close: offsets behind the opening and before the closing bracket. bracketed: False for `from m import a, b`
    without parentheses, where a line may not be broken.
    """

    lines: Lines
    items: tuple[Item, ...]
    open: int
    close: int
    bracketed: bool = True

    # --- adding ------------------------------------------------------------------------------------------------------

    def insert(self, index: int, texts: Sequence[str]) -> list[Change]:
        """Changes that put new items before item `index`, or at the end when `index` is the number of items."""
        if not self.items:
            return self._insert_into_empty(texts)
        if index < len(self.items):
            return self._insert_before(self.items[index], texts)
        return self._append(texts)

    def _insert_into_empty(self, texts: Sequence[str]) -> list[Change]:
        """The first items of `()`; comments between the brackets stay behind them."""
        inner = self.lines.text[self.open : self.close]
        joined = ", ".join(texts)
        if inner.strip():
            return [Change(self.open, self.open, joined + ("," if "#" in inner else ""))]
        return [Change(self.open, self.close, joined)]

    def _insert_before(self, item: Item, texts: Sequence[str]) -> list[Change]:
        """New items in front of an existing one, on lines of their own when that one starts a line."""
        separator = ", "
        if self._starts_line(item):
            line = self.lines.line_of(item.start)
            separator = "," + self.lines.newline(line) + self.lines.indent(line)
        return [Change(item.start, item.start, "".join(text + separator for text in texts))]

    def _append(self, texts: Sequence[str]) -> list[Change]:
        """New items behind the last one, with a trailing comma exactly when there was one."""
        last = self.items[-1]
        if not self._starts_line(last):
            if last.comma is None:
                return [Change(last.end, last.end, "".join(f", {text}" for text in texts))]
            return [Change(last.comma, last.comma, "".join(f" {text}," for text in texts))]
        line = self.lines.line_of(last.start)
        lead = self.lines.newline(line) + self.lines.indent(line)
        if last.comma is not None:
            place = self._behind_comment(last.comma)
            return [Change(place, place, "".join(f"{lead}{text}," for text in texts))]
        added = lead + ("," + lead).join(texts)
        place = self._behind_comment(last.end)
        if place == last.end:
            return [Change(last.end, last.end, "," + added)]
        return [Change(last.end, last.end, ","), Change(place, place, added)]

    def _starts_line(self, item: Item) -> bool:
        """Whether an item is the first thing on its line, so that a new one gets a line too."""
        line_start = self.lines.line_start(self.lines.line_of(item.start))
        return self.bracketed and line_start > 0 and not self.lines.text[line_start : item.start].strip()

    def _behind_comment(self, offset: int) -> int:
        """Offset behind the comment that follows on the same line, or `offset` when something else follows."""
        end = self.lines.line_end(self.lines.line_of(offset))
        rest = self.lines.text[offset:end]
        return end if rest.lstrip().startswith("#") else offset

    # --- dropping ----------------------------------------------------------------------------------------------------

    def drop(self, indexes: Sequence[int]) -> list[Change]:
        """Changes that take items out together with their commas and, where an item has lines of its own, its lines."""
        dropped = set(indexes)
        inner = self.lines.text[self.open : self.close]
        if len(dropped) == len(self.items) and "#" not in inner:
            return [Change(self.open, self.close, "")]
        return _merged(self._drop_one(index, dropped) for index in sorted(dropped))

    def _drop_one(self, index: int, dropped: set[int]) -> Change:
        """Range to delete for one item, given which others go as well."""
        item = self.items[index]
        kept_before = [self.items[i] for i in range(index) if i not in dropped]
        kept_after = [self.items[i] for i in range(index + 1, len(self.items)) if i not in dropped]
        whole = self._own_lines(item)
        if whole is not None:
            return whole
        if kept_after and self._same_line(item.stop, self.items[index + 1].start):
            return Change(item.start, self.items[index + 1].start, "")
        if not kept_before:
            return Change(item.start, item.stop, "")
        before = kept_before[-1]
        comma_goes = not kept_after and item.comma is None
        start = before.end if comma_goes else before.stop
        if "#" in self.lines.text[before.stop : item.start]:
            start = self._back_over_blanks(item.start)
        return Change(start, item.stop, "")

    def _own_lines(self, item: Item) -> Change | None:
        """The lines of an item that shares them with nothing but its comment, as a deletion."""
        first, last = self.lines.line_of(item.start), self.lines.line_of(item.stop)
        start = self.lines.line_start(first)
        rest = self.lines.text[item.stop : self.lines.line_end(last)].strip()
        if not self._starts_line(item) or (rest and not rest.startswith("#")):
            return None
        return Change(start, self.lines.next_line(last), "")

    def _same_line(self, start: int, end: int) -> bool:
        """Whether two offsets lie on one line."""
        return self.lines.line_of(start) == self.lines.line_of(end)

    def _back_over_blanks(self, offset: int) -> int:
        """Offset of the first of the blanks directly before `offset` on its line."""
        while self.lines.text[offset - 1] in " \t":
            offset -= 1
        return offset


def _merged(changes: Iterable[Change]) -> list[Change]:
    """Deletions with those that touch each other joined."""
    result: list[Change] = []
    for change in sorted(changes, key=lambda item: item.start):
        if result and change.start <= result[-1].end:
            result[-1] = Change(result[-1].start, max(result[-1].end, change.end), "")
        else:
            result.append(change)
    return result
