"""Plots of a run as SVG text, drawn by matplotlib without a display."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from typing import Any

from lora_lint.lifecycle.record import RankRecord, TensorRecord
from lora_lint.verify.summary import loss_values, total_norms

MOST_LAYERS = 60
_INK = "#1f2324"  # becomes the colour of the page's text, so that the plots suit light and dark
_LAYER = re.compile(r"^(.*?\b\d+)\b")


def curves(rank: RankRecord) -> list[tuple[str, str]]:
    """Loss, gradient norm and memory by step, as pairs of name and SVG."""
    found = []
    losses = loss_values(rank)
    if losses:
        found.append(("loss at each backward", _line("loss at each backward", losses, "backward call")))
    norms = total_norms(rank.tensors)
    if norms:
        found.append(("gradient norm", _line("gradient norm at each step", norms, "optimizer step")))
    if rank.memory:
        found.append(("memory", _line("peak memory in MB", rank.memory, "optimizer step", from_zero=True)))
    return found


def heat_maps(rank: RankRecord) -> list[tuple[str, str]]:
    """Gradient norms and updates by layer and step, as pairs of name and SVG."""
    layers = _by_layer(rank.tensors)
    if not layers:
        return []
    return [
        (title, _heat(title, layers, field))
        for title, field in (("gradient norm by layer and step", "grad"), ("update by layer and step", "delta"))
    ]


def _by_layer(tensors: Sequence[TensorRecord]) -> dict[str, list[TensorRecord]]:
    """Trained tensors by layer: the name up to its first number, or the adapted module."""
    found: dict[str, list[TensorRecord]] = {}
    for tensor in tensors:
        if tensor.samples:
            match = _LAYER.match(tensor.name)
            name = match.group(1) if match else tensor.layer or tensor.name
            found.setdefault(name.removeprefix("base_model.model."), []).append(tensor)
    return found


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure  # no pyplot: no display, no global state

    return Figure(figsize=(width, height), layout="constrained", facecolor="none")


def _axes(figure: Any, title: str, label: str) -> Any:
    axes = figure.add_subplot(facecolor="none")
    axes.set_title(title, fontsize=10, loc="left", color=_INK)
    axes.set_xlabel(label, fontsize=9, color=_INK)
    axes.tick_params(labelsize=8, colors=_INK)
    for spine in axes.spines.values():
        spine.set_color(_INK)
        spine.set_alpha(0.4)
    return axes


def _svg(figure: Any) -> str:
    from matplotlib import rc_context

    stream = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "lora-lint"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :].replace(_INK, "currentColor")


def _line(title: str, values: Sequence[float], label: str, from_zero: bool = False) -> str:
    figure = _figure(5.2, 2.7)
    axes = _axes(figure, title, label)
    numbers = range(1, len(values) + 1)
    finite = [v if math.isfinite(v) else math.nan for v in values]
    axes.plot(numbers, finite, marker="o", markersize=4, color="#2f81f7")
    broken = [number for number, value in zip(numbers, values, strict=True) if not math.isfinite(value)]
    for number in broken:
        axes.axvline(number, color="#e5534b", linestyle=":")
    axes.set_xlim(0.5, len(values) + 0.5)
    if broken:
        axes.annotate(
            "NaN or infinite", (broken[0], 0.95), xycoords=("data", "axes fraction"), fontsize=8, color="#e5534b"
        )
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.ticklabel_format(axis="y", useOffset=False)
    if from_zero:
        axes.set_ylim(0, 1.15 * max(values))
    axes.grid(alpha=0.25)
    return _svg(figure)


def _heat(title: str, layers: dict[str, list[TensorRecord]], field: str) -> str:
    import numpy

    names = _thinned(list(layers))
    steps = sorted({s.step for tensors in layers.values() for t in tensors for s in t.samples})
    grid = numpy.full((len(names), len(steps)), numpy.nan)
    for row, name in enumerate(names):
        for column, step in enumerate(steps):
            found = [getattr(s, field) for t in layers[name] for s in t.samples if s.step == step]
            known = [v for v in found if v is not None and math.isfinite(v)]
            if any(known):
                grid[row, column] = math.log10(math.sqrt(sum(v * v for v in known)))
    longest = max(len(_short(name)) for name in names)
    figure = _figure(max(5.0, 2.0 + 0.07 * longest + 0.45 * len(steps)), max(1.6, 0.9 + 0.24 * len(names)))
    axes = _axes(figure, f"{title} (log10; grey: none or zero)", "optimizer step")
    axes.set_facecolor("#8b949e55")  # nothing, or exactly zero
    image = axes.imshow(grid, aspect="auto", cmap="viridis", interpolation="nearest")
    axes.set_yticks(range(len(names)), [_short(name) for name in names], fontsize=7)
    axes.set_xticks(range(len(steps)), [str(step) for step in steps], fontsize=8)
    if not numpy.isnan(grid).all():
        bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)
        bar.ax.tick_params(labelsize=7, colors=_INK)
        bar.outline.set_edgecolor("none")
    return _svg(figure)


def _short(name: str) -> str:
    """The end of a long name, where layers differ."""
    return name if len(name) <= 48 else "…" + name[-47:]


def _thinned(names: list[str]) -> list[str]:
    """At most MOST_LAYERS names, evenly spread."""
    if len(names) <= MOST_LAYERS:
        return names
    return [names[round(i * (len(names) - 1) / (MOST_LAYERS - 1))] for i in range(MOST_LAYERS)]
