"""Experiments with the trained model after the last step. They leave the model as it was."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_lint.lifecycle.record import ProbeRecord
from lora_lint.verify.models import Live
from lora_lint.verify.parts import adapter_layers

if TYPE_CHECKING:
    from lora_lint.verify.watch import Watch

LARGE = 200_000_000  # adapter elements (embeddings in modules_to_save) that are not written to disk for a probe


def run_probes(watch: Watch) -> None:
    """Probe every model that was trained here and is not sharded."""
    for live in watch.recorder.models.all:
        if live.record.role != "trained" or live.outer is not None or live.module is None:
            continue
        if any(name.startswith("fsdp") for name in live.record.wrapped):
            watch.recorder.rank.probes.append(ProbeRecord("all", None, "not made: the model is sharded"))
            continue
        number = watch.training.table.model_number(live)
        for probe in _Probe(watch, live).results():
            probe.model = number
            watch.recorder.rank.probes.append(probe)


class _Probe:
    """The experiments with one model."""

    def __init__(self, watch: Watch, live: Live) -> None:
        import torch

        self.torch = torch
        self.watch = watch
        self.live = live
        self.model = live.named
        self.peft = _is_peft_model(self.model)

    def results(self) -> Iterator[ProbeRecord]:
        """All experiments that can be made."""
        yield from self._targets()
        with self.torch.no_grad(), _as_it_was(self.torch, self.model):
            self.model.eval()
            before = self._forward()
            if before is None:
                yield ProbeRecord("eval-twice", None, "not made: no forward of the training can be repeated")
            else:
                yield self._twice(before)
                yield from self._switched_off(before)
            yield from self._saved(before)

    def _forward(self) -> list[Any] | None:
        """The float outputs of the last training batch, None when it cannot be repeated."""
        if self.live.forward_input is None:
            return None
        args, kwargs = self.live.forward_input
        try:
            output = self.model(*args, **kwargs)
        except (RuntimeError, TypeError, ValueError, KeyError, IndexError, AttributeError):
            return None  # the user's forward may depend on a state that only the training loop has
        return _floats(self.torch, output)

    def _twice(self, before: list[Any]) -> ProbeRecord:
        with _dropouts(self.torch) as active:
            again = self._forward() or []
        apart = _difference(self.torch, before, again)
        if apart <= _tolerance(before):
            return ProbeRecord("eval-twice", True, "two forwards in eval mode are equal", apart)
        text = f"two forwards of one batch in eval mode differ (by {apart:.1e} of the largest output)"
        if active:
            text += f": {len(active)} calls of dropout pass training=True"
        # a user's module may draw random numbers on purpose; dropout in eval mode is none
        sure = bool(active) or _from_transformers(self.model)
        return ProbeRecord("eval-twice", False if sure else None, text, apart)

    def _switched_off(self, before: list[Any]) -> Iterator[ProbeRecord]:
        if not self.peft or not hasattr(self.model, "disable_adapter"):
            return
        with self.model.disable_adapter():
            bare = self._forward()
        if bare is None:
            return
        apart = _difference(self.torch, before, bare)
        if apart > 0.0:
            yield ProbeRecord("adapter-on-off", True, f"the adapter changes the output (by {apart:.1e} so far)", apart)
        else:
            yield ProbeRecord(
                "adapter-on-off", None, "the output is the same with and without the adapter so far", apart
            )

    def _saved(self, before: list[Any] | None) -> Iterator[ProbeRecord]:
        if not self.peft:
            return
        size = sum(row.parameter.numel() for row in self.live.rows() if row.adapter)
        if size > LARGE:
            yield ProbeRecord("saved-tensors", None, f"not made: the adapter has {size:,} elements")
            return
        name = self._adapter_name()
        with tempfile.TemporaryDirectory(prefix="lora-lint-save-") as folder:
            self.model.save_pretrained(folder)
            place = Path(folder) / name if name != "default" else Path(folder)
            tensors = _read(self.torch, place)
        live = {row.name for row in self.live.rows() if row.adapter == name}
        if not tensors:
            yield ProbeRecord("saved-tensors", False, "the saved adapter file is empty: it holds 0 tensors", 0.0)
            return
        foreign = [key for key in tensors if key.startswith(("module.", "_orig_mod.")) or "._orig_mod." in key]
        if foreign:
            text = f"the saved adapter's names have a wrapper's prefix ({foreign[0]}): loading finds none of them"
            yield ProbeRecord("saved-tensors", False, text, float(len(tensors)))
            return
        yield ProbeRecord(
            "saved-tensors", True, f"{len(tensors)} tensors saved, {len(live)} in the model", float(len(tensors))
        )
        if len(tensors) < len(live) and self._prompts(name):
            text = "not made: the prompt is saved, without the encoder that computed it"
            yield ProbeRecord("save-and-load", None, text)
            return
        if all(bool(self.torch.isfinite(tensor).all()) for tensor in tensors.values()):
            yield self._loaded(tensors, name, before is not None)

    def _prompts(self, name: str) -> bool:
        return bool(getattr(self.model.peft_config.get(name), "is_prompt_learning", False))

    def _loaded(self, tensors: dict[str, Any], name: str, forward: bool) -> ProbeRecord:
        """Put the saved weights into an emptied adapter; its values decide, the output is told. The output before is
        computed anew: saving repacks 4-bit weights."""
        from peft import set_peft_model_state_dict

        rows = [row for row in self.live.rows() if row.adapter == name]
        kept = [row.parameter.detach().clone() for row in rows]
        before = self._forward() if forward else None
        for row in rows:
            row.parameter.data.zero_()
        try:
            set_peft_model_state_dict(self.model, tensors, adapter_name=name)
            after = self._forward() if forward else None
            lost = [row.name for row, old in zip(rows, kept, strict=True) if not _close(self.torch, row.parameter, old)]
        finally:
            for row, old in zip(rows, kept, strict=True):
                row.parameter.data.copy_(old)
        apart = _difference(self.torch, before or [], after or [])
        if not lost:
            return ProbeRecord("save-and-load", True, "the saved adapter is the same when it is loaded", apart)
        share = f"{len(lost)} of {len(rows)} adapter tensors"
        text = f"{share} are lost in save and load ({lost[0]}); the output differs by {apart:.1e}"
        return ProbeRecord("save-and-load", False, text, apart)

    def _adapter_name(self) -> str:
        active = getattr(self.model, "active_adapter", "default")
        return active[0] if isinstance(active, (list, tuple)) else str(active)

    def _targets(self) -> Iterator[ProbeRecord]:
        """How many modules each pattern of target_modules and modules_to_save matched."""
        configs = getattr(self.model, "peft_config", None)
        if not isinstance(configs, dict):
            return
        layers = [path for path, _ in adapter_layers(self.model)]
        for name, config in configs.items():
            for field in ("target_modules", "modules_to_save"):
                patterns = getattr(config, field, None)
                if not isinstance(patterns, (list, set, tuple)):
                    continue
                counts = {p: sum(path == p or path.endswith(f".{p}") for path in layers) for p in sorted(patterns)}
                text = f"{name}: " + ", ".join(f"{pattern} {count}×" for pattern, count in _by_last(counts).items())
                whole = all(counts.values()) or (field == "modules_to_save" and any(counts.values()))
                yield ProbeRecord(field.replace("_", "-"), whole, text)


def _by_last(counts: dict[str, int]) -> dict[str, int]:
    """Counts by the last step of the pattern where there are many: peft writes "all-linear" out as full paths."""
    if len(counts) <= 8 or not all(counts.values()):
        return counts
    found: dict[str, int] = {}
    for pattern, count in counts.items():
        found[pattern.rsplit(".", 1)[-1]] = found.get(pattern.rsplit(".", 1)[-1], 0) + count
    return found


def _is_peft_model(model: Any) -> bool:
    return any(kind.__name__ == "PeftModel" for kind in type(model).__mro__)


def _from_transformers(model: Any) -> bool:
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return any(kind.__name__ == "PreTrainedModel" for kind in type(inner).__mro__)


def _floats(torch: Any, output: Any) -> list[Any]:
    """Copies of the float tensors of a model's output, logits first."""
    if isinstance(output, torch.Tensor):
        return [output.detach().clone()] if output.is_floating_point() else []
    logits = getattr(output, "logits", None)
    if isinstance(logits, torch.Tensor):
        return [logits.detach().clone()]
    values = output.values() if hasattr(output, "values") else output if isinstance(output, (list, tuple)) else []
    return [v.detach().clone() for v in values if isinstance(v, torch.Tensor) and v.is_floating_point()][:4]


def _difference(torch: Any, a: list[Any], b: list[Any]) -> float:
    """The largest difference over the largest value; infinite when the shapes differ."""
    largest = 0.0
    if len(a) != len(b):
        return float("inf")
    for x, y in zip(a, b, strict=True):
        if x.shape != y.shape:
            return float("inf")
        if x.numel():
            x, y = torch.nan_to_num(x.float()), torch.nan_to_num(y.float())
            largest = max(largest, float((x - y).abs().max()) / (float(x.abs().max()) or 1.0))
    return largest


def _close(torch: Any, now: Any, old: Any) -> bool:
    """Whether values survived, up to the rounding of a 16-bit file."""
    a, b = now.detach().float(), old.float()
    return bool(torch.isclose(a, b, rtol=1e-2, atol=1e-4).all())


def _tolerance(values: list[Any]) -> float:
    return 0.02 if any(v.element_size() < 4 for v in values) else 1e-3


def _read(torch: Any, folder: Path) -> dict[str, Any]:
    """The tensors of a saved adapter."""
    safe = folder / "adapter_model.safetensors"
    if safe.exists():
        from safetensors.torch import load_file

        return dict(load_file(str(safe)))
    binary = folder / "adapter_model.bin"
    return dict(torch.load(binary, map_location="cpu", weights_only=True)) if binary.exists() else {}


@contextmanager
def _dropouts(torch: Any) -> Iterator[list[float]]:
    """Collects the calls of functional dropout that are active."""
    functional = torch.nn.functional
    original = functional.dropout
    active: list[float] = []

    def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
        if training and p > 0:
            active.append(p)
        return original(input, p, training, inplace)

    functional.dropout = dropout
    try:
        yield active
    finally:
        functional.dropout = original


@contextmanager
def _as_it_was(torch: Any, model: Any) -> Iterator[None]:
    """Restore modes, requires_grad and the random state afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            for module, mode in modes:
                module.training = mode
            for parameter, flag in flags:
                if parameter.requires_grad != flag:
                    parameter.requires_grad_(flag)
