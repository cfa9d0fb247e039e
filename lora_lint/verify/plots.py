"""Plots of a run as SVG text, drawn by matplotlib without a display."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from typing import Any

from lora_lint.lifecycle.record import RankRecord, TensorRecord

MOST_LAYERS = 60
_LAYER = re.compile(r"^(.*?\b\d+)\b")


def curves(rank: RankRecord) -> list[tuple[str, str]]:
    """Loss, gradient norm and memory by step, as pairs of name and SVG."""
    found = []
    losses = [loss.value for loss in rank.losses if loss.value is not None]
    if losses:
        found.append(("loss at each backward", _line("loss at each backward", losses, "backward call")))
    norms = _total_norms(rank.tensors)
    if norms:
        found.append(("gradient norm", _line("gradient norm at each step", norms, "optimizer step")))
    if rank.memory:
        found.append(("memory", _line("peak memory in MB", rank.memory, "optimizer step")))
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


def _total_norms(tensors: Sequence[TensorRecord]) -> list[float]:
    squares: dict[int, float] = {}
    for tensor in tensors:
        for sample in tensor.samples:
            if sample.grad is not None:
                squares[sample.step] = squares.get(sample.step, 0.0) + sample.grad**2
    return [math.sqrt(squares[step]) for step in sorted(squares)]


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

    return Figure(figsize=(width, height), layout="constrained")


def _svg(figure: Any) -> str:
    from matplotlib import rc_context

    stream = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "lora-lint"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]


def _line(title: str, values: Sequence[float], label: str) -> str:
    figure = _figure(5.2, 2.7)
    axes = figure.add_subplot()
    numbers = range(1, len(values) + 1)
    finite = [v if math.isfinite(v) else math.nan for v in values]
    axes.plot(numbers, finite, marker="o", markersize=4, color="#0969da")
    for number, value in zip(numbers, values, strict=True):
        if not math.isfinite(value):
            axes.axvline(number, color="#cf222e", linestyle=":")
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel(label, fontsize=9)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.25)
    axes.tick_params(labelsize=8)
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
    figure = _figure(max(5.0, 2.5 + 0.5 * len(steps)), max(1.6, 0.9 + 0.24 * len(names)))
    axes = figure.add_subplot()
    axes.set_facecolor("#eaeef2")  # nothing, or exactly zero
    image = axes.imshow(grid, aspect="auto", cmap="viridis", interpolation="nearest")
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.set_xticks(range(len(steps)), [str(step) for step in steps], fontsize=8)
    axes.set_xlabel("optimizer step", fontsize=9)
    axes.set_title(f"{title} (log10; grey: none or zero)", fontsize=10, loc="left")
    figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02).ax.tick_params(labelsize=7)
    return _svg(figure)


def _thinned(names: list[str]) -> list[str]:
    """At most MOST_LAYERS names, evenly spread."""
    if len(names) <= MOST_LAYERS:
        return names
    return [names[round(i * (len(names) - 1) / (MOST_LAYERS - 1))] for i in range(MOST_LAYERS)]
