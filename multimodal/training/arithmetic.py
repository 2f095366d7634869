"""Numbers of half the width where the device multiplies faster in them; weights stay in float32."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def fast_arithmetic(device: torch.device) -> Iterator[None]:
    """bfloat16 where the device multiplies faster in it than in float32.

    On a CPU attention is then computed as separate products: backwards, the fused one takes several times as long.
    """
    on_cpu = device.type == "cpu"
    fast = torch.cpu._is_avx512_bf16_supported() if on_cpu else device.type == "cuda"
    with (
        torch.autocast(device.type, torch.bfloat16, enabled=fast),
        sdpa_kernel(SDPBackend.MATH) if fast and on_cpu else nullcontext(),
    ):
        yield
