"""What a clip's tokens may be, and which of these readings is a likely text.

CTC names each token as if its neighbours were not known, and what is likeliest at each place need not be so as a
whole: "franciarancia" is what comes of two ways to divide a word, each of which is likely. So the likeliest whole
readings are searched for (CTC prefix beam search, arXiv 1408.2873), and a small language model of the core's tokens
has a say in which of them is right (as with the n-best lists of arXiv 1412.5567). Weights and widths are our choice.

Shapes: N places that may name a token, V tokens of the core, D width of the core, B texts, T tokens of a text.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

BLANK = 0  # CTC's; token t of the core has the number t + 1
END = 0  # the language model's
READINGS = 16  # that are kept
CHOICES = 8  # at a place, the likeliest,
LEAST = -9.0  # and none whose log-probability is lower
FURTHEST = 12.0  # a reading's log-probability below that of the best
BEGINNINGS_AT_ONCE = 512  # of texts, whose next tokens are weighed together
EXPECTED, A_TOKEN = 0.4, 1.0  # what a reading's expectedness counts, and what each of its tokens makes up for


@dataclass
class _Ends:
    """Log-probabilities of a reading at some place: of all ways to it that end in a blank there, and in its token."""

    blank: float = -math.inf
    token: float = -math.inf

    @property
    def either(self) -> float:
        return _added(self.blank, self.token)


def _added(a: float, b: float) -> float:
    """Of two log-probabilities, the one of either."""
    high, low = (a, b) if a > b else (b, a)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


def likely_readings(logits: Tensor) -> list[tuple[tuple[int, ...], float]]:
    """Logits [N, V + 1] of what each place names -> the likeliest tokens as a whole, with their log-probabilities."""
    logits = logits.float()
    values, numbers = logits.topk(min(CHOICES, logits.shape[-1]), -1)
    values = values - logits.logsumexp(-1, keepdim=True)
    readings = {(): _Ends(blank=0.0)}
    for likely, named in zip(values.tolist(), numbers.tolist(), strict=True):
        choices = [pair for pair in zip(likely, named, strict=True) if pair[0] > LEAST or pair[0] == likely[0]]
        if [number for _, number in choices] == [BLANK]:  # most places are sure to name nothing
            readings = {reading: _Ends(blank=ends.either + likely[0]) for reading, ends in readings.items()}
            continue
        longer = _longer(readings, choices)
        ranked = sorted(((ends.either, reading) for reading, ends in longer.items()), reverse=True)[:READINGS]
        readings = {reading: longer[reading] for value, reading in ranked if value > ranked[0][0] - FURTHEST}
    return [(reading, ends.either) for reading, ends in readings.items()]


def _longer(readings: dict[tuple[int, ...], _Ends], choices: list[tuple[float, int]]) -> dict[tuple[int, ...], _Ends]:
    """The readings one place further, where each of the choices (log-probability, number) may be named."""
    longer: dict[tuple[int, ...], _Ends] = defaultdict(_Ends)
    for reading, ends in readings.items():
        either = ends.either
        for value, number in choices:
            if number == BLANK:
                same = longer[reading]
                same.blank = _added(same.blank, either + value)
                continue
            again = bool(reading) and reading[-1] == number - 1
            if again:
                same = longer[reading]
                same.token = _added(same.token, ends.token + value)
            more = longer[(*reading, number - 1)]
            more.token = _added(more.token, (ends.blank if again else either) + value)
    return longer


class Expectation(nn.Module):
    """A small language model of what is said, in tokens of the core, by the core's own embeddings of them."""

    def __init__(self, dim: int, width: int):
        """dim: of the core; width: of the memory of what was said."""
        super().__init__()
        self.start = nn.Parameter(0.02 * torch.randn(dim))
        self.memory = nn.GRU(dim, width, batch_first=True)
        self.out = nn.Linear(width, dim)
        self.end = nn.Parameter(0.02 * torch.randn(dim))

    def forward(self, said: Tensor, table: Tensor) -> Tensor:
        """Embeddings [B, T, D] of what is said, those [V, D] of the tokens -> logits [B, T + 1, V + 1] of what follows.

        The first stands before the first token; number 0 is the end of the text, token t has the number t + 1.
        """
        remembered, _ = self.memory(torch.cat([self.start.expand(len(said), 1, -1), said], 1))
        return self.out(remembered) @ self._named(table).T

    def _named(self, table: Tensor) -> Tensor:
        """What may follow, by its number: [V + 1, D]."""
        return torch.cat([self.end.unsqueeze(0), table.to(self.end)])

    def expected(self, texts: Sequence[tuple[int, ...]], table: Tensor) -> Tensor:
        """Log-probabilities [B] of whole texts, each of so many tokens.

        Where several begin alike, as readings of one sound do, what is remembered and what follows is computed once.
        """
        beginnings, remembered = [], []
        level = [()]  # all beginnings of one length
        said, memory = self.start.unsqueeze(0), self.start.new_zeros(1, self.memory.hidden_size)
        while level:
            memory = torch.gru_cell(said, memory, *self.memory.all_weights[0])
            beginnings += level
            remembered.append(memory)
            at = {beginning: place for place, beginning in enumerate(level)}
            length = len(level[0]) + 1
            level = list(dict.fromkeys(text[:length] for text in texts if len(text) >= length))
            said, memory = table[[one[-1] for one in level]], memory[[at[one[:-1]] for one in level]]
        x, named = self.out(torch.cat(remembered)), self._named(table)
        # not all at once: a minute of speech has thousands of beginnings
        total = torch.cat([(part @ named.T).float().logsumexp(-1) for part in x.split(BEGINNINGS_AT_ONCE)])
        number_of = {beginning: number for number, beginning in enumerate(beginnings)}
        follows = [
            (row, number_of[text[:at]], number)
            for row, text in enumerate(texts)
            for at, number in enumerate([*(token + 1 for token in text), END])
        ]
        of_text, behind, numbers = torch.tensor(follows, device=table.device).T
        likely = (x[behind] * named[numbers]).sum(-1).float() - total[behind]
        return likely.new_zeros(len(texts)).index_add(0, of_text, likely)

    def best(self, clips: Sequence[Sequence[tuple[tuple[int, ...], float]]], table: Tensor) -> list[tuple[int, ...]]:
        """Of what `likely_readings` gave of each clip, the likeliest text."""
        unsure = [text for clip in clips if len(clip) > 1 for text, _ in clip]
        expected = iter(self.expected(unsure, table).tolist() if unsure else ())

        def likely(clip: Sequence[tuple[tuple[int, ...], float]]) -> tuple[int, ...]:
            if len(clip) == 1:
                return clip[0][0]
            scores = [heard + A_TOKEN * len(text) + EXPECTED * next(expected) for text, heard in clip]
            return clip[scores.index(max(scores))][0]

        return [likely(clip) for clip in clips]
