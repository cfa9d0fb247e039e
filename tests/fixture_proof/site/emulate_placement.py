"""A pretended GPU, for the one question whether a batch is where the model is.

Emulated: modules and tensors that are moved to `cuda` (they stay on the CPU and are remembered), and the check of the
embedding lookup that its index lies where its weight does, for tensors that the program itself hands to a moved model.
Not emulated: everything after that.
"""

from __future__ import annotations

from typing import Any

import emulate_cuda
import torch

_MARK = "_pretended_cuda"
_moved: set[int] = set()  # storages on the pretended GPU
_left_behind: set[int] = set()  # storages that a moved model was given from the CPU
_depth = 0


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _goes_to_cuda(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return any(map(emulate_cuda._is_cuda, args)) or emulate_cuda._is_cuda(kwargs.get("device"))


def _copied(tensor: torch.Tensor) -> torch.Tensor:
    """The same values in memory of their own, which counts as the GPU's."""
    copy = tensor.clone()
    _moved.add(_storage(copy))
    _left_behind.discard(_storage(copy))
    return copy


def install() -> None:
    """Pretend one GPU and remember what was moved there."""
    emulate_cuda.install()
    tensor_to, module_to, module_call = torch.Tensor.to, torch.nn.Module.to, torch.nn.Module.__call__
    embedding = torch.nn.functional.embedding

    def to(self: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        result = tensor_to(self, *args, **kwargs)
        return _copied(result) if _goes_to_cuda(args, kwargs) else result

    def move(self: torch.nn.Module, *args: Any, **kwargs: Any) -> torch.nn.Module:
        module_to(self, *args, **kwargs)
        if _goes_to_cuda(args, kwargs):
            for parameter in self.parameters():
                setattr(parameter, _MARK, True)
        return self

    def call(self: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        global _depth
        if _depth == 0 and hasattr(next(self.parameters(), None), _MARK):
            given = (value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor))
            _left_behind.update({_storage(value) for value in given} - _moved)
        _depth += 1
        try:
            return module_call(self, *args, **kwargs)
        finally:
            _depth -= 1

    def lookup(input: torch.Tensor, weight: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if hasattr(weight, _MARK) and _storage(input) in _left_behind:
            raise RuntimeError(
                "Expected all tensors to be on the same device, but got index is on cpu, different from other tensors "
                "on cuda:0 (pretended)"
            )
        return embedding(input, weight, *args, **kwargs)

    torch.Tensor.to = to
    torch.Tensor.cuda = lambda self, *_args, **_kwargs: self.to("cuda")
    torch.nn.Module.to = move
    torch.nn.Module.cuda = lambda self, *_args: self.to("cuda")
    torch.nn.Module.__call__ = call
    torch.nn.functional.embedding = lookup
