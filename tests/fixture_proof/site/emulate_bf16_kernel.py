"""A pretended CUDA kernel: the one that unscales gradients, which exists for floats and halves and not for bfloat16."""

from __future__ import annotations

import torch


def install() -> None:
    """Have the CPU's kernel refuse bfloat16 as the one for CUDA does."""
    real = torch._amp_foreach_non_finite_check_and_unscale_

    def unscale(grads: list[torch.Tensor], found_inf: torch.Tensor, inv_scale: torch.Tensor) -> None:
        if any(grad.dtype is torch.bfloat16 for grad in grads):
            raise NotImplementedError(
                "\"_amp_foreach_non_finite_check_and_unscale_cuda\" not implemented for 'BFloat16' (pretended)"
            )
        real(grads, found_inf, inv_scale)

    torch._amp_foreach_non_finite_check_and_unscale_ = unscale
