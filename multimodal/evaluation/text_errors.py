"""Edits between what was said and what was written: the counts behind word and character error rates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Edits:
    """Edits of a hypothesis, and the units of the reference that they were counted against."""

    edits: int
    length: int

    @property
    def rate(self) -> float:
        """Edits a unit; against an empty reference 0 for silence and 1 for anything else (our choice)."""
        return self.edits / self.length if self.length else float(self.edits > 0)


def count_edits(
    hypothesis: str, references: Sequence[str], language: str, units: Callable[[str, str], list[str]]
) -> Edits:
    """The edits against the reference that they are fewest a unit of; of equal ones the first.

    Raises ValueError without a reference.
    """
    if not references:
        raise ValueError("found no reference; at least one is needed")
    said = units(hypothesis, language)
    return min((_between(units(reference, language), said) for reference in references), key=lambda one: one.rate)


def _between(reference: list[str], hypothesis: list[str]) -> Edits:
    import jiwer

    # jiwer takes words as texts with single spaces between, and units hold none
    found = jiwer.process_words([" ".join(reference)], [" ".join(hypothesis)])
    return Edits(found.substitutions + found.deletions + found.insertions, len(reference))
