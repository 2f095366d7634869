"""Numbers of half the width where the device multiplies faster in them; weights stay in float32."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def fast_arithmetic(device: torch.device) -> Iterator[bool]:
    """bfloat16 where the device multiplies faster in it than in float32; gives whether it is in force."""
    fast = device.type == "cuda" or (device.type == "cpu" and torch.cpu._is_avx512_bf16_supported())
    with torch.autocast(device.type, torch.bfloat16, enabled=fast):
        yield fast
