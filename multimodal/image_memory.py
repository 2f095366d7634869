"""What the text can still see of the pictures, or of the clips, of a dialogue: keys and values, and who may look.

The tensors stand beside the text cache, not in it: a static cache, a compiled decode step or a beam
search need to know nothing of pictures, and the next turn of a chat takes them over as they are.

What is said of pictures here holds for clips too, which have a memory of the same kind for themselves.

Shapes: B rows of a batch, N places of all pictures of a row, T text tokens, K key heads, d their width.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from adapters.cross_attention import GatedCrossAttention

FOREVER = 2**62  # the end of a span that no later picture has closed yet; exact as a float too


class ImageMemory(NamedTuple):
    """Keys and values of every image block, and the span of text positions that sees each place.

    keys, values: one [B, K, N, d] an image block. first, end [B, N], int64: a token at position t of
    its row (padding counted) sees the place if first <= t < end. Padding has first == FOREVER.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    first: Tensor
    end: Tensor

    def seen_from(self, positions: Tensor) -> Tensor:
        """positions [T] -> [B, T, N], bool: which places each text token sees."""
        positions = positions.to(self.first.device)[:, None]
        return (self.first[:, None] <= positions) & (positions < self.end[:, None])

    def repeat_interleave(self, times: int) -> "ImageMemory":
        """Each row `times` times in a row, as beams and several samples of a prompt want it."""
        keys, values = (tuple(x.repeat_interleave(times, 0) for x in side) for side in (self.keys, self.values))
        return ImageMemory(keys, values, self.first.repeat_interleave(times, 0), self.end.repeat_interleave(times, 0))

    def followed_by(self, later: "ImageMemory") -> "ImageMemory":
        """This memory and that of later pictures of the same rows.

        What was seen to the end is now seen up to the first later picture of its row; where that
        one stands directly behind, the two are one group and end together.
        """
        first, end = later.first[:, :1], later.end[:, :1]  # of the row's first later picture, if it has one
        last = self.first.masked_fill(self.first.eq(FOREVER), -2).amax(1, keepdim=True)
        closes = torch.where(last + 1 == first, end, first)  # FOREVER for rows without a later picture
        is_open = self.end.eq(FOREVER) & self.first.ne(FOREVER)
        return ImageMemory(
            tuple(torch.cat(pair, 2) for pair in zip(self.keys, later.keys, strict=True)),
            tuple(torch.cat(pair, 2) for pair in zip(self.values, later.values, strict=True)),
            torch.cat([self.first, later.first], 1),
            torch.cat([torch.where(is_open, closes, self.end), later.end], 1),
        )


def remembered(
    pictures: list[Tensor], is_picture: Tensor, blocks: Iterable[GatedCrossAttention], offset: int = 0
) -> ImageMemory:
    """What these blocks keep of pictures [places, D], in reading order; is_picture, offset: see `picture_spans`."""
    spans = picture_spans(is_picture, offset)  # [P, 2]
    spans = [span.expand(len(picture), 2) for span, picture in zip(spans, pictures, strict=True)]
    per_row = is_picture.sum(1).tolist()
    x = _pad_rows(pictures, per_row, 0.0)  # [B, N, D]
    first, end = _pad_rows(spans, per_row, FOREVER).unbind(-1)  # [B, N] each
    return ImageMemory(*zip(*(block.memory(x) for block in blocks), strict=True), first, end)


def seen_by_layer(
    layers: list[int], memory: ImageMemory | None, positions: Tensor
) -> dict[int, tuple[Tensor, Tensor, Tensor]]:
    """What the block before each of these layers takes: its keys, its values, and which places tokens see.

    positions [T], of the tokens. No memory: no block takes anything.
    """
    if memory is None:
        return {}
    see = memory.seen_from(positions)  # [B, T, N]
    pairs = zip(memory.keys, memory.values, strict=True)
    return {layer: (*pair, see) for layer, pair in zip(layers, pairs, strict=True)}


def _pad_rows(pictures: list[Tensor], per_row: list[int], padding: float) -> Tensor:
    """Consecutive pictures [places, D], so many a row -> [B, N, D], padded to the longest row."""
    parts = iter(pictures)
    rows = [torch.cat([pictures[0][:0], *(next(parts) for _ in range(count))]) for count in per_row]
    return pad_sequence(rows, batch_first=True, padding_value=padding)


def picture_spans(is_picture: Tensor, offset: int = 0) -> Tensor:
    """The text that sees each picture: is_picture [B, T], bool -> [P, 2], int64, pictures in reading order.

    A picture is seen from its own token on, up to the next picture that does not stand directly
    behind it or behind its neighbours; the last group is seen to the end. Source: the rule of the
    released models. `offset` is added to the positions.
    """
    spans = []
    for row in is_picture:
        end, following, of_row = FOREVER, None, []
        for place in reversed(row.nonzero().flatten().tolist()):
            if following is not None and following != place + 1:
                end = following + offset
            of_row.append([place + offset, end])
            following = place
        spans += reversed(of_row)
    return torch.tensor(spans, dtype=torch.int64, device=is_picture.device).reshape(-1, 2)
