"""Cheap measurements of many tensors at once. torch is imported inside the functions: when they run,
the observed program has imported it, and importing this module must not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SAMPLE = 4096  # positions looked at per tensor: enough for a LoRA matrix of rank 1 on 4096 inputs


def local(tensor: Any) -> Any:
    """The part of a sharded tensor that lives here; other tensors as they are."""
    to_local = getattr(tensor, "to_local", None)
    return to_local() if to_local is not None else tensor


def norms(tensors: Sequence[Any]) -> list[float]:
    """The 2-norm of each tensor, in one transfer per device. NaN and Inf come through."""
    import torch

    out: list[float] = [0.0] * len(tensors)
    dense: dict[Any, list[int]] = {}
    plain: list[Any] = []
    for index, tensor in enumerate(tensors):
        tensor = local(tensor)
        if tensor.is_sparse:
            tensor = tensor.coalesce().values()
        plain.append(tensor)
        if tensor.numel():
            dense.setdefault((tensor.device, tensor.dtype), []).append(index)
    for indices in dense.values():
        group = [plain[i] for i in indices]
        if group[0].dtype in (torch.float16, torch.bfloat16):
            values = [t.float().norm() for t in group] if len(group) < 4 else _half_norms(group)
        else:
            values = list(torch._foreach_norm(group))
        for index, value in zip(indices, torch.stack(values).tolist(), strict=True):
            out[index] = float(value)
    return out


def _half_norms(group: list[Any]) -> list[Any]:
    import torch

    try:
        return list(torch._foreach_norm(group, 2, dtype=torch.float32))
    except TypeError:  # torch before 2.4 has no dtype here
        return [t.float().norm() for t in group]


def readable(tensor: Any) -> bool:
    """Whether the values are really there: FSDP frees the storage of parameters that still look alive."""
    if tensor.device.type == "meta" or tensor.is_sparse:
        return False
    last = tensor.storage_offset() + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    return bool(tensor.numel() == 0 or tensor.untyped_storage().nbytes() >= (last + 1) * tensor.element_size())


def sample(tensor: Any) -> Any:
    """A strided view of at most SAMPLE positions, flat; the same positions for every tensor of this shape. Empty when the
    values are not here."""
    flat = local(tensor).detach()
    if not readable(flat):
        return flat.new_empty(0, device="cpu")
    flat = flat.view(-1) if flat.is_contiguous() else flat.reshape(-1)
    stride = -(-flat.numel() // SAMPLE) if flat.numel() else 1
    return flat[::stride] if stride > 1 else flat


def samples(tensors: Sequence[Any]) -> list[Any]:
    """Copies of the samples of many tensors."""
    return [sample(t).clone() for t in tensors]


def changes(now: Sequence[Any], before: Sequence[Any]) -> list[float | None]:
    """Norms of the differences at the sampled positions; None where the two cannot be compared."""
    pairs = [(sample(t), old) for t, old in zip(now, before, strict=True)]
    alike = [i for i, (new, old) in enumerate(pairs) if new.shape == old.shape and new.device == old.device]
    values = norms([pairs[i][0].float() - pairs[i][1].float() for i in alike])
    found: list[float | None] = [None] * len(pairs)
    for index, value in zip(alike, values, strict=True):
        found[index] = value
    return found


def equal(a: Sequence[Any], b: Sequence[Any]) -> list[bool]:
    """Whether samples are equal, pair by pair, in one transfer per device."""
    return [value == 0.0 for value in norms([x.float() - y.float() for x, y in zip(a, b, strict=True)])]


def checksums(tensors: Sequence[Any]) -> list[float]:
    """A number for each tensor's sampled values that tells different contents apart: a position-weighted sum."""
    import torch

    sums = []
    for tensor in tensors:
        values = sample(tensor).double()
        weights = torch.arange(1, values.numel() + 1, device=values.device, dtype=torch.float64)
        sums.append((values * weights).sum().cpu() if values.numel() else torch.zeros((), dtype=torch.float64))
    return torch.stack(sums).tolist() if sums else []
