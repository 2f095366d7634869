"""What a table of weights is made of: rows that say which of their tensors make which of ours.

A table is a list of rows. Most only rename; the others say how tensors are cut, joined or laid out
anew, in both directions. Reading and writing go row by row, so that no more than a row is in memory
twice.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checkpoint import some_of

Tensors = Sequence[Tensor]


@dataclass(frozen=True)
class Row:
    """Tensors of ours and the tensors of theirs that they are made of, and back.

    `to_theirs` None: this format is only read. A row without tensors of ours names what is left behind.
    """

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    to_ours: Callable[[Tensors], Tensors]
    to_theirs: Callable[[Tensors], Tensors] | None = None


def same(ours: str, theirs: str) -> Row:
    """Another name for the same tensor."""
    return Row((ours,), (theirs,), lambda tensors: tensors, lambda tensors: tensors)


def joined(ours: str, theirs: Sequence[str]) -> Row:
    """Ours is theirs stacked along the first dimension, in equal parts."""
    return Row(
        (ours,),
        tuple(theirs),
        lambda tensors: [torch.cat(list(tensors))],
        lambda tensors: tensors[0].chunk(len(theirs)),
    )


def cut(ours: Sequence[str], theirs: str, rows: Sequence[int]) -> Row:
    """Ours are consecutive parts of theirs, of so many rows each."""
    return Row(
        tuple(ours),
        (theirs,),
        lambda tensors: tensors[0].split(list(rows)),
        lambda tensors: [torch.cat(list(tensors))],
    )


def shaped(ours: str, theirs: str, our_shape: Sequence[int], their_shape: Sequence[int]) -> Row:
    """The same numbers in the same order, in another shape."""
    return Row(
        (ours,),
        (theirs,),
        lambda tensors: [tensors[0].reshape(list(our_shape))],
        lambda tensors: [tensors[0].reshape(list(their_shape))],
    )


def left_behind(theirs: str) -> Row:
    """A tensor of theirs that the composed model has no use for."""
    return Row((), (theirs,), lambda tensors: [])


def check_names(rows: Iterable[Row], found: Collection[str], where: str) -> None:
    """Every tensor that the table names must be there, and none besides.

    Raises ValueError that names the first ones that are missing or left over.
    """
    wanted = {name for row in rows for name in row.theirs}
    wrong = (("missing", wanted - set(found)), ("left over", set(found) - wanted))
    if told := [f"{some_of(names)} {what}" for what, names in wrong if names]:
        raise ValueError(f"{where}: found other weights than this format has: {'; '.join(told)}")


def to_ours(rows: Iterable[Row], read: Callable[[str], Tensor], where: str) -> Iterator[tuple[str, Tensor]]:
    """Our tensors by name, each made when it is asked for. read: one of their tensors by its name.

    Raises ValueError for a tensor whose shape the table cannot take.
    """
    for row in rows:
        theirs = [read(name) for name in row.theirs] if row.ours else []
        try:
            made = row.to_ours(theirs)
        except RuntimeError as error:
            shapes = ", ".join(f"{name} {list(t.shape)}" for name, t in zip(row.theirs, theirs, strict=True))
            raise ValueError(f"{where}: found {shapes}, which makes no {' and '.join(row.ours)}") from error
        yield from zip(row.ours, made, strict=True)


def to_theirs(rows: Iterable[Row], read: Callable[[str], Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Their tensors by name, each made when it is asked for. read: one of ours by its name."""
    for row in rows:
        assert row.to_theirs is not None, f"{row.theirs} is only read"
        yield from zip(row.theirs, row.to_theirs([read(name) for name in row.ours]), strict=True)
