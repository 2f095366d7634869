"""Text normalisation as the text comes: an LSTM that names the rule for each written token (paper, section 3).

It sees three tokens to the right and attends to the core's states of the text so far; those of core tokens
stand at the written token in which they end, told by places of characters. T written tokens, S core tokens.
Sizes, hashed features, and that attention comes before the LSTM are our choice.
"""

import zlib
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .readings import Span, found_spans, labels_of_span
from .rule_stream import RuleStream, is_cut
from .rules import CONTINUE, LABELS, Sayer, spans
from .spoken_numbers import numbers_of
from .spoken_text import Piece, piece_of
from .written_tokens import DIGITS, LETTERS, SIGN, Splitter, WrittenToken, in_ascii_digits

RIGHT_CONTEXT = 3  # tokens
LEFT_CONTEXT = 16  # tokens back whose core states are attended to
_WORDS, _AFFIXES, _SHAPES = 1024, 512, 64  # rows of the table of features
_KINDS = (LETTERS, DIGITS, SIGN)
_FITS = {  # what a token of each kind may be tagged with, besides "continue"
    LETTERS: "verbatim|abbreviation|other abbreviation|letters|roman|roman ordinal|address|money",
    DIGITS: """cardinal|ordinal|day|digits|year|decade|date|time|duration|ratio|range|score|minus|out of|money|measure|
        decimal|version|fraction|phone""",
    SIGN: "verbatim|silent|symbol|money|cardinal|measure|decimal|phone",
}


class Normalizer(nn.Module):
    """The tagger.

    core_dim: width of the core's states, 0 for a tagger without them. both_ways: a bidirectional LSTM, which
    needs the whole text. dim: width of the LSTM; embed_dim: of a token's features; heads, head_dim: of the
    attention. In training a share of numbers is dropped before and after the LSTM (dropout) and of the core's
    states (state_dropout), and of the words all but their shape (word_dropout).
    """

    def __init__(
        self,
        core_dim: int,
        dim: int = 128,
        embed_dim: int = 56,
        heads: int = 4,
        head_dim: int = 16,
        both_ways: bool = False,
        dropout: float = 0.0,
        state_dropout: float = 0.0,
        word_dropout: float = 0.0,
    ):
        super().__init__()
        self.core_dim, self.heads, self.both_ways = core_dim, heads, both_ways
        self.dropout, self.state_dropout, self.word_dropout = dropout, state_dropout, word_dropout
        self.features = nn.Embedding(_WORDS + 2 * _AFFIXES + _SHAPES, embed_dim)
        self.look = nn.Linear((1 + RIGHT_CONTEXT) * embed_dim, dim)
        if core_dim:
            self.states_norm = nn.LayerNorm(core_dim)
            self.q = nn.Linear(dim, heads * head_dim)
            self.k = nn.Linear(core_dim, heads * head_dim)
            self.v = nn.Linear(core_dim, heads * head_dim)
            self.out = nn.Linear(heads * head_dim, dim)
            self.offsets = nn.Parameter(torch.zeros(heads, LEFT_CONTEXT + RIGHT_CONTEXT))
        width = dim * 5 // 8 if both_ways else dim  # about as many weights either way
        self.lstm = nn.LSTM(dim, width, batch_first=True, bidirectional=both_ways)
        self.head = nn.Linear(width * (1 + both_ways), len(LABELS))
        self.register_buffer("fits", _fitting(), persistent=False)

    def forward(self, ids: Tensor, keep: Tensor, states: Tensor | None = None, owners: Tensor | None = None) -> Tensor:
        """Logits [B, T, labels] of whole texts.

        ids [B, T, 5] from `token_ids`; keep [B, T]: true where there is a token. states [B, S, D] of the core and
        owners [B, S]: the token in which each core token ends; padding has owners beyond T + RIGHT_CONTEXT.
        """
        x = self._embed(ids) * keep[..., None]
        x = F.pad(x, (0, 0, 0, RIGHT_CONTEXT)).unfold(1, 1 + RIGHT_CONTEXT, 1)  # [B, T, E, 1 + R]
        x = F.gelu(self.look(x.transpose(2, 3).flatten(2)))
        if self.core_dim:
            x = x + self.attend(x, states, owners, torch.arange(ids.shape[1], device=ids.device))
        x = F.dropout(x, self.dropout, self.training)
        if self.both_ways:
            lengths = keep.sum(1).cpu()
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            y, _ = nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], True, total_length=ids.shape[1])
        else:
            y, _ = self.lstm(x)
        return self.logits(F.dropout(y, self.dropout, self.training), ids)

    def logits(self, y: Tensor, ids: Tensor) -> Tensor:
        """y [B, T, W] -> logits [B, T, labels], those that do not fit the kind of the token left out."""
        return self.head(y).masked_fill(~self.fits[ids[..., 4]], -1e4)

    def attend(self, x: Tensor, states: Tensor, owners: Tensor, places: Tensor) -> Tensor:
        """What tokens x [B, T, D] at places [T] take from states [B, S, C] that end in the tokens owners [B, S].

        A token sees the states that end in it, in the LEFT_CONTEXT tokens before it and the RIGHT_CONTEXT after.
        Besides, there is nothing to see: a key and a value of zeros, so that a token without states is defined.
        """
        states = F.dropout(self.states_norm(states), self.state_dropout, self.training)
        q, k, v = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.q(x), self.k(states), self.v(states))
        )
        offset = owners[:, None, :] - places[None, :, None]  # [B, T, S]
        seen = (offset > -LEFT_CONTEXT) & (offset <= RIGHT_CONTEXT)
        bias = self.offsets[:, (offset + LEFT_CONTEXT - 1).clamp(0, LEFT_CONTEXT + RIGHT_CONTEXT - 1)].transpose(0, 1)
        bias = F.pad(bias.masked_fill(~seen[:, None], float("-inf")), (1, 0))
        y = F.scaled_dot_product_attention(q, F.pad(k, (0, 0, 1, 0)), F.pad(v, (0, 0, 1, 0)), attn_mask=bias)
        return self.out(y.transpose(1, 2).flatten(2))

    def _embed(self, ids: Tensor) -> Tensor:
        rows = self.features(ids[..., :4])
        if not self.training:
            return rows.sum(-2)
        known = torch.rand(ids.shape[:-1], device=rows.device) >= self.word_dropout
        return rows[..., :3, :].sum(-2) * known[..., None] + rows[..., 3, :]

    def step(self, window: Tensor, states: Tensor, owners: Tensor, place: int, memory: tuple) -> tuple[Tensor, tuple]:
        """One token: window [1 + R, E] of embedded tokens -> logits [labels] before the fit, the LSTM's memory."""
        x = F.gelu(self.look(window.flatten()))[None, None]
        if self.core_dim:
            x = x + self.attend(x, states[None], owners[None], torch.tensor([place], device=x.device))
        return self.lstm(x, memory)

    def start(self, language: str) -> "SpokenStream | RuleStream":
        """Ready for the first piece of a text. The tagger's language is English; others are said by rules alone.

        Raises ValueError for a language that is not among the 34, and for a tagger that reads both ways.
        """
        numbers_of(language)
        if self.both_ways:
            raise ValueError("a tagger that reads both ways needs the whole text; it cannot be started")
        return SpokenStream(self, language) if language == "en" else RuleStream(language)


class SpokenStream:
    """The spoken form of one text that comes in pieces. Any way to cut the text gives what the whole gives.

    A stretch between two places over which no rule reaches is said when it is complete; where it has a span with
    several readings, when RIGHT_CONTEXT tokens more have come.
    """

    def __init__(self, model: Normalizer, language: str):
        self._model, self._splitter, self._sayer = model, Splitter(), Sayer(language)
        self._tokens: list[WrittenToken] = []  # those that have not been said
        self._before: WrittenToken | None = None  # the one in front of them
        self._first, self._labelled = 0, 0  # the number of the first of them; how many tokens have logits
        self._logits: dict[int, Tensor] = {}  # by number, of tokens that have not been said
        weight = model.head.weight
        self._embedded = weight.new_zeros(0, model.features.embedding_dim)  # of the tokens without logits
        self._ids: list[Tensor] = []
        self._states = weight.new_zeros(0, model.core_dim)
        self._owners = torch.zeros(0, dtype=torch.long, device=weight.device)
        zeros = weight.new_zeros(1, 1, model.lstm.hidden_size)
        self._memory = (zeros, zeros)

    @torch.no_grad()
    def push(self, text: str, hidden: Tensor | None = None) -> list[Piece]:
        """The text of one core token and its state [D] -> what is now certain to be said, often nothing.

        A core token may be a part of a character: its text is then "", and the last part brings the character.
        """
        model = self._model
        if (hidden is None) == bool(model.core_dim) or (hidden is not None and hidden.shape != (model.core_dim,)):
            found = None if hidden is None else tuple(hidden.shape)
            raise ValueError(f"found hidden {found}; this tagger takes {(model.core_dim,) if model.core_dim else None}")
        written = self._splitter.num_written
        self._take(self._splitter.push(text))
        if hidden is not None:
            begun = self._first + len(self._tokens) + self._splitter.is_open
            owner = begun - (self._splitter.num_written > written)
            self._states = torch.cat([self._states, hidden[None].to(self._states)])
            self._owners = torch.cat([self._owners, self._owners.new_tensor([owner])])
        self._label(self._first + len(self._tokens) - RIGHT_CONTEXT)
        return self._say(last=False)

    @torch.no_grad()
    def flush(self) -> list[Piece]:
        """What was still open; the stream has ended."""
        self._take(self._splitter.flush())
        self._label(self._first + len(self._tokens))
        return self._say(last=True)

    def _take(self, tokens: Sequence[WrittenToken]) -> None:
        if tokens:
            ids = token_ids(tokens).to(self._embedded.device)
            self._ids += list(ids)
            self._embedded = torch.cat([self._embedded, self._model._embed(ids)])
            self._tokens += tokens

    def _label(self, until: int) -> None:
        """Logits of the tokens before the number `until`."""
        while self._labelled < until:
            window = self._embedded[: 1 + RIGHT_CONTEXT]
            window = F.pad(window, (0, 0, 0, 1 + RIGHT_CONTEXT - len(window)))
            seen = self._owners > self._labelled - LEFT_CONTEXT
            self._states, self._owners = self._states[seen], self._owners[seen]
            y, self._memory = self._model.step(window, self._states, self._owners, self._labelled, self._memory)
            ids = self._ids.pop(0)
            if self._labelled >= self._first:
                self._logits[self._labelled] = self._model.logits(y, ids[None, None])[0, 0]
            self._embedded = self._embedded[1:]
            self._labelled += 1

    def _say(self, last: bool) -> list[Piece]:
        """Say the stretches that are sure; `last`: no more tokens come."""
        pieces: list[Piece] = []
        tokens = [*self._tokens, *self._splitter.begun, *([None] if last else [])]
        cuts = [at for at in range(1, len(tokens)) if tokens[at] is None or is_cut(tokens, at)]
        said = 0
        for cut in cuts:
            stretch = tokens[said:cut]
            found = found_spans(stretch, self._before)
            logits = [self._logits.get(self._first + span.first) for span in found]
            if any(one is None and len(span.choices) > 1 for one, span in zip(logits, found, strict=True)):
                break
            pieces += self._said(stretch, tokens[cut], settled(stretch, found, logits))
            said, self._before = cut, tokens[cut - 1]
            for number in range(self._first, self._first + len(stretch)):
                self._logits.pop(number, None)
            self._first += len(stretch)
        self._tokens = self._tokens[said:]
        return pieces

    def _said(self, tokens: list[WrittenToken], following: WrittenToken | None, labels: list[str]) -> list[Piece]:
        pieces, behind = [], [*tokens[1:], following]
        for first, last in spans(labels):
            said = self._sayer.say(tokens[first:last], labels[first])
            pieces += piece_of(said, tokens[last - 1], behind[last - 1])
        return pieces


def labels_of(tokens: Sequence[WrittenToken], logits: Tensor) -> list[str]:
    """The labels of a whole text, as a stream settles them; logits [T, labels]."""
    labels: list[str] = []
    cuts = [at for at in range(1, len(tokens)) if is_cut(tokens, at)]
    for begin, end in pairwise([0, *cuts, len(tokens)]) if tokens else ():
        found = found_spans(tokens[begin:end], tokens[begin - 1] if begin else None)
        labels += settled(tokens[begin:end], found, [logits[begin + span.first] for span in found])
    return labels


def settled(tokens: Sequence[WrittenToken], found: Sequence[Span], logits: Sequence[Tensor | None]) -> list[str]:
    """The label of each token of a stretch: of each span, the choice with the largest logit at its first token."""
    labels: list[str] = []
    for span, row in zip(found, logits, strict=True):
        rule = max(span.choices, key=lambda one: row[LABELS.index(one)]) if len(span.choices) > 1 else span.choices[0]
        labels += labels_of_span(tokens[span.first : span.last], rule)
    return labels


def token_ids(tokens: Sequence[WrittenToken]) -> Tensor:
    """Features of tokens [T, 5]: rows of the table for word, beginning, end and shape, and the kind."""
    return torch.tensor([_ids_of(token) for token in tokens], dtype=torch.long).view(-1, 5)


def owners_of(tokens: Sequence[WrittenToken], ends: Sequence[int]) -> list[int]:
    """For each core token, whose text ends before the place ends[i], the last written token that has a part of it.

    One without such a part, of spaces or of nothing, stands at the written token that comes next.
    """
    starts = [token.start for token in tokens]
    owners = []
    for begin, end in zip([0, *ends], ends, strict=False):
        owner = bisect_left(starts, end) - 1
        owners.append(owner + (owner < 0 or begin == end or tokens[owner].stop <= begin))
    return owners


def _ids_of(token: WrittenToken) -> tuple[int, int, int, int, int]:
    text = in_ascii_digits(token.text).lower()
    if token.kind == DIGITS:
        word = text if len(text) < 3 else f"{len(text)} {text[:2]}"
        shape = min(len(text), 6) + 6 * (text[0] == "0")
    else:
        word = text
        cased = token.text[0].isupper() + token.text.isupper() + 2 * (len(token.text) == 1)
        shape = 13 + cased if token.kind == LETTERS else 20
    shape = 2 * shape + token.spaced
    rows = (
        _hash(word, _WORDS),
        _WORDS + _hash(word[:3], _AFFIXES),
        _WORDS + _AFFIXES + _hash(word[-3:], _AFFIXES),
        _WORDS + 2 * _AFFIXES + shape,
    )
    return (*rows, _KINDS.index(token.kind))


def _hash(text: str, rows: int) -> int:
    return zlib.crc32(text.encode("utf-8", "replace")) % rows


def _fitting() -> Tensor:
    """fits [kinds, labels]: which labels a token of each kind may have."""
    table = torch.zeros(len(_KINDS), len(LABELS), dtype=torch.bool)
    for kind, rules in _FITS.items():
        for rule in (CONTINUE, *(rule.strip() for rule in rules.split("|"))):
            table[_KINDS.index(kind), LABELS.index(rule)] = True
    return table
