"""Speech in a text: embeddings that stand where the text holds a place for each of them.

`<|speech|> <|speech_place|> ... <|speech_place|> <|end_of_speech|>`: one place for each embedding of a
clip; the two tokens around it are ours and keep their own embeddings.

Shapes: B rows of a batch, T text tokens, S embeddings of all clips of a row, D width of the core.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


def in_rows(clips: Sequence[Tensor], is_place: Tensor) -> Tensor:
    """Embeddings of clips [s, D], in reading order, as rows of the batch [B, S, D], padded with zeros.

    is_place [B, T], bool: where the text holds a place.

    Raises ValueError if the places of a row are not those of whole clips.
    """
    per_row, rest = is_place.sum(1).tolist(), list(clips)
    rows = []
    for number, places in enumerate(per_row):
        row = [clips[0][:0]] if clips else []
        while sum(map(len, row)) < places and rest:
            row.append(rest.pop(0))
        if (found := sum(map(len, row))) != places:
            raise ValueError(f"row {number} of the text holds places for {places} embeddings of speech, found {found}")
        rows.append(torch.cat(row))
    if rest:
        raise ValueError(f"found {len(rest)} clips more than the text holds places for")
    return pad_sequence(rows, batch_first=True)


def put_in(h: Tensor, is_place: Tensor, speech: Tensor) -> Tensor:
    """h [B, T, D] with the embeddings speech [B, S, D] at the places is_place [B, T] of their rows."""
    count = is_place.sum(1, keepdim=True)
    is_there = torch.arange(speech.shape[1], device=speech.device) < count.to(speech.device)  # [B, S]
    return h.masked_scatter(is_place.unsqueeze(-1), speech[is_there].to(h))


def with_places(ids: Sequence[int], counts: Sequence[int], begin: int, place: int, end: int | None) -> list[int]:
    """ids with every `begin` token opened up for as many places as its clip has embeddings.

    end: the token that closes a clip; None: neither stands around the places, as in Ultravox's prompts.

    Raises ValueError if there are not as many clips as such tokens.
    """
    found = sum(1 for token in ids if token == begin)
    if found != len(counts):
        raise ValueError(f"found {len(counts)} clips for {found} <|speech|> tokens in the text")
    opened, left = [], iter(counts)
    for token in ids:
        if token != begin:
            opened.append(token)
        elif end is None:
            opened += [place] * next(left)
        else:
            opened += [begin, *[place] * next(left), end]
    return opened
