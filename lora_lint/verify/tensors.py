"""Cheap measurements of many tensors at once. torch is imported inside the functions: when they run,
the observed program has imported it, and importing this module must not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

SAMPLE = 4096  # positions looked at per tensor: enough for a LoRA matrix of rank 1 on 4096 inputs


def local(tensor: Any) -> Any:
    """The part of a sharded tensor that lives here; other tensors as they are."""
    to_local = getattr(tensor, "to_local", None)
    return to_local() if to_local is not None else tensor


def norms(tensors: Sequence[Any]) -> list[float]:
    """The 2-norm of each tensor, in one transfer per device. NaN and Inf come through."""
    return [value or 0.0 for value in placed(len(tensors), norm_vectors(tensors))]


def placed(size: int, vectors: Iterable[tuple[Sequence[int], Any]]) -> list[float | None]:
    """The values of vectors (or lists) at the numbers they stand for, None at numbers of none."""
    found: list[float | None] = [None] * size
    for numbers, vector in vectors:
        for number, value in zip(numbers, vector if isinstance(vector, list) else vector.tolist(), strict=True):
            found[number] = float(value)
    return found


def norm_vectors(tensors: Sequence[Any]) -> list[tuple[list[int], Any]]:
    """The same left on the devices: numbers of tensors, and a vector with the norm of each. Empty tensors are in none."""
    import torch

    dense: dict[Any, list[int]] = {}
    plain: list[Any] = []
    for index, tensor in enumerate(tensors):
        tensor = local(tensor)
        if tensor.is_sparse:
            tensor = tensor.coalesce().values()
        plain.append(tensor)
        if tensor.numel():
            dense.setdefault((tensor.device, tensor.dtype), []).append(index)
    found = []
    for indices in dense.values():
        group = [plain[i] for i in indices]
        if group[0].dtype in (torch.float16, torch.bfloat16):
            values = [t.float().norm() for t in group] if len(group) < 4 else _half_norms(group)
        else:
            values = list(torch._foreach_norm(group))
        found.append((indices, torch.stack(values)))
    return found


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
    if tensor.numel() == 0:
        return True
    if tensor.is_contiguous():
        last = tensor.storage_offset() + tensor.numel() - 1
    else:
        last = tensor.storage_offset() + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    return bool(tensor.untyped_storage().nbytes() >= (last + 1) * tensor.element_size())


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
    return gathered([sample(t) for t in tensors])


def gathered(views: Sequence[Any]) -> list[Any]:
    """Copies of flat views: one copy for each dtype and device, cut into pieces. A call for each tensor would cost more
    than all the numbers in them."""
    import torch

    found: list[Any] = [None] * len(views)
    for indices in _alike(views).values():
        pieces = torch.cat([views[i] for i in indices]).split([views[i].numel() for i in indices])
        for index, piece in zip(indices, pieces, strict=True):
            found[index] = piece
    return found


def _alike(views: Sequence[Any]) -> dict[Any, list[int]]:
    """Numbers of the tensors by device and dtype."""
    groups: dict[Any, list[int]] = {}
    for index, view in enumerate(views):
        groups.setdefault((view.device, view.dtype), []).append(index)
    return groups


def changes(now: Sequence[Any], before: Sequence[Any]) -> list[float | None]:
    """Norms of the differences at the sampled positions; None where the two cannot be compared."""
    return differences([sample(t) for t in now], before)


def differences(views: Sequence[Any], before: Sequence[Any]) -> list[float | None]:
    """The same for samples."""
    return placed(len(views), difference_vectors(views, before))


def difference_vectors(views: Sequence[Any], before: Sequence[Any]) -> list[tuple[list[int], Any]]:
    """The same left on the devices: numbers of samples, and a vector with the norm of each one's difference. Samples that
    cannot be compared (None, or another shape or device) are in none; those of no elements are on the CPU."""
    import torch

    alike = [
        i
        for i, (x, y) in enumerate(zip(views, before, strict=True))
        if y is not None and x.shape == y.shape and x.device == y.device
    ]
    empty = [i for i in alike if not views[i].numel()]
    found: list[tuple[list[int], Any]] = [(empty, torch.zeros(len(empty)))] if empty else []
    full = [i for i in alike if views[i].numel()]
    for places in _alike([views[i] for i in full]).values():
        indices = [full[place] for place in places]
        sizes = [views[i].numel() for i in indices]
        apart = torch.cat([views[i] for i in indices]).float() - torch.cat([before[i] for i in indices]).float()
        found += [([indices[i] for i in part], vector) for part, vector in norm_vectors(apart.split(sizes))]
    return found


def equal(a: Sequence[Any], b: Sequence[Any]) -> list[bool]:
    """Whether samples are equal, pair by pair; those that cannot be compared are not."""
    return [value == 0.0 for value in differences(a, b)]


def checksums(tensors: Sequence[Any]) -> list[float]:
    """A number for each tensor's sampled values that tells different contents apart: a position-weighted sum."""
    import torch

    sums = []
    for tensor in tensors:
        values = sample(tensor).double()
        weights = torch.arange(1, values.numel() + 1, device=values.device, dtype=torch.float64)
        sums.append((values * weights).sum().cpu() if values.numel() else torch.zeros((), dtype=torch.float64))
    return torch.stack(sums).tolist() if sums else []
