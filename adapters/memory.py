"""What an encoder hands to cross-attention."""

from typing import NamedTuple

from torch import Tensor


class Memory(NamedTuple):
    """Features of B things (pictures, clips), padded to the longest.

    x [B, N, D]: one feature vector a place. keep [B, N], bool: True where there is one, False where
    there is only padding, which nothing may ever attend to.
    """

    x: Tensor
    keep: Tensor
