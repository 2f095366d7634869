"""The prosody model: how long, how high and how loud each phone is, told phone by phone.

A uni-directional transformer over phones with two cross-attentions, to linguistic features and to the states
of the language model (paper 8.3). Step t tells the duration of phone t and, knowing it, pitch and power of
phone t - 1: the delayed pattern (arXiv 2109.03264). It sees the features of `LOOKAHEAD` phones on, and the
states of all tokens up to the end of its word. Depths, windows and rotary places are our choice.

Shapes: B rows, P phones, T tokens, D width, H heads, K keys, Q queries, d width of a head.
"""

from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LOOKAHEAD = 2  # phones on whose features are seen
DELAYS = (0, 1, 1)  # steps by which duration, pitch and power of a phone come later
OUTPUTS = len(DELAYS)
OFFSETS, SCALES = (-2.5, 0.0, 0.0), (0.5, 0.2, 1.0)  # of the outputs, about their mean and deviation
_STEPS_BACK, _PHONES_BACK, _TOKENS_BACK = 48, 24, 24  # how far back attention looks: bounds the work of a step
_ROPE_THETA = 10_000.0
_MAX_PLACE = 11  # later phones of a long word are not told apart
ENDINGS = 4  # what a word ends with: nothing, a comma or the like, a full stop or the end, a question mark

SIZES = {
    "nano": dict(width=128, layers=2, heads=4, ffn_dim=256, state_dim=192),
    # the paper's: 6 heads and 864; that 864 is the width of all, and the depth, are our reading
    "paper": dict(width=864, layers=6, heads=6, ffn_dim=864, state_dim=4096),
}


@dataclass
class Linguistic:
    """What the text tells of phones: ids, place [B, P] of a phone in its word, ending [B, P] of its word."""

    ids: Tensor
    place: Tensor
    ending: Tensor

    def of(self, places: slice) -> "Linguistic":
        return Linguistic(*(value[:, places] for value in vars(self).values()))


@dataclass
class Speaking:
    """Who speaks and how: speaker and language [B], long; log_rate [B], 0 for an ordinary rate."""

    speaker: Tensor
    language: Tensor
    log_rate: Tensor


class Prosody(nn.Module):
    """Linguistic features and core states -> outputs [B, P, 3]: log seconds, log-F0 less the mean, power."""

    def __init__(
        self,
        num_phones: int,
        num_speakers: int,
        num_languages: int,
        width: int,
        layers: int,
        heads: int,
        ffn_dim: int,
        state_dim: int | None,
        lookahead: int | None = LOOKAHEAD,
    ):
        """state_dim None: without core states. lookahead None: all phones are seen, which cannot stream.

        Raises ValueError if the heads do not share the width in even parts.
        """
        super().__init__()
        if width % (2 * heads):
            raise ValueError(f"width is {width}; accepted for {heads} heads: a multiple of {2 * heads}")
        self.state_dim, self.lookahead = state_dim, lookahead
        self.turns = partial(turns, head_dim=width // heads)
        self.phone = nn.Embedding(num_phones, width // 2)
        self.place = nn.Embedding(_MAX_PLACE + 1, width // 2)
        self.ending = nn.Embedding(ENDINGS, width // 2)
        self.features = nn.Linear(width // 2, width)
        self.speaker = nn.Embedding(num_speakers, width)
        self.language = nn.Embedding(num_languages, width)
        self.rate = nn.Linear(1, width)
        self.told = nn.Linear(OUTPUTS, width)
        self.states = None if state_dim is None else nn.Sequential(nn.LayerNorm(state_dim), nn.Linear(state_dim, width))
        self.layers = nn.ModuleList(
            ProsodyLayer(width, heads, ffn_dim, with_states=state_dim is not None) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, OUTPUTS)

    def forward(
        self,
        text: Linguistic,
        told: Tensor,
        speaking: Speaking,
        states: Tensor | None = None,
        seen: Tensor | None = None,
    ) -> Tensor:
        """Training: outputs [B, P, 3] of each phone, given the true ones of those before it.

        told [B, P, 3]: the true outputs. states [B, T, state_dim], and seen [B, P]: how many of a row's tokens
        phone p may see; both None without core states.
        """
        steps = told.shape[1] + max(DELAYS)
        before = delayed(_scaled(told), steps)
        features = self._features(text)
        now = F.pad(features, (0, 0, 0, steps - features.shape[1]))
        x = self.told(F.pad(before, (0, 0, 1, -1))) + now + self._speaking(speaking)
        queries = torch.arange(steps, device=told.device)
        phones = torch.arange(features.shape[1], device=told.device)
        ahead = len(phones) if self.lookahead is None else self.lookahead
        back = len(phones) if self.lookahead is None else _PHONES_BACK
        see_steps = _within(queries, queries, _STEPS_BACK, 0)
        see_phones = _within(queries, phones, back, ahead)
        see_tokens, of_tokens = None, None
        if states is not None:
            states = self.states(states)
            seen = torch.cat([seen, seen[:, -1:].expand(-1, steps - seen.shape[1])], 1)
            tokens = torch.arange(states.shape[1], device=told.device)
            see_tokens = _within(seen - 1, tokens, _TOKENS_BACK, 0).unsqueeze(1)
            of_tokens = self.turns(seen - 1), self.turns(tokens)
        at, of_phones = self.turns(queries), self.turns(phones)
        for layer in self.layers:
            x = layer(x, at, features, of_phones, states, of_tokens, see_steps, see_phones, see_tokens)
        return _measured(undelayed(self.out(self.norm(x)), told.shape[1]))

    def _features(self, text: Linguistic) -> Tensor:
        coded = self.phone(text.ids) + self.place(text.place.clamp(max=_MAX_PLACE)) + self.ending(text.ending)
        return self.features(coded)

    def _speaking(self, speaking: Speaking) -> Tensor:
        x = self.speaker(speaking.speaker) + self.language(speaking.language) + self.rate(speaking.log_rate[:, None])
        return x.unsqueeze(1)


def _scaled(values: Tensor) -> Tensor:
    return (values - values.new_tensor(OFFSETS)) / values.new_tensor(SCALES)


def _measured(scaled: Tensor) -> Tensor:
    return scaled * scaled.new_tensor(SCALES) + scaled.new_tensor(OFFSETS)


def delayed(values: Tensor, steps: int) -> Tensor:
    """What is told at each step: values [B, P, 3] of phones -> [B, steps, 3], with zeros where nothing is."""
    parts = [F.pad(values[..., at], (delay, steps - delay - values.shape[1])) for at, delay in enumerate(DELAYS)]
    return torch.stack(parts, -1)


def undelayed(told: Tensor, phones: int) -> Tensor:
    """The inverse: told [B, steps, 3] -> values [B, phones, 3]."""
    return torch.stack([told[:, delay : delay + phones, at] for at, delay in enumerate(DELAYS)], -1)


def _within(queries: Tensor, keys: Tensor, back: int, ahead: int) -> Tensor:
    """Whether a query sees a key: from less than `back` places before it to `ahead` after it; [..., Q, K]."""
    apart = keys - queries.unsqueeze(-1)
    return (apart > -back) & (apart <= ahead)


class ProsodyLayer(nn.Module):
    """Self-attention over steps, attention to phones and to tokens, and two linear layers; each pre-norm."""

    def __init__(self, width: int, heads: int, ffn_dim: int, with_states: bool):
        super().__init__()
        self.steps = Attention(width, heads)
        self.phones = Attention(width, heads)
        self.tokens = Attention(width, heads) if with_states else None
        self.ffn = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, ffn_dim), nn.GELU(), nn.Linear(ffn_dim, width))

    def forward(self, x, at, features, of_phones, states, of_tokens, see_steps, see_phones, see_tokens) -> Tensor:
        x = x + self.steps(x, at, self.steps.remember(self.steps.norm(x), at), see_steps)
        x = x + self.phones(x, at, self.phones.remember(features, of_phones), see_phones)
        if states is not None:
            x = x + self.tokens(x, of_tokens[0], self.tokens.remember(states, of_tokens[1]), see_tokens)
        return x + self.ffn(x)


class Attention(nn.Module):
    """Attention with rotary places, to what `remember` made; a query that may see nothing gets zeros."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads, self.head_dim = heads, width // heads
        self.norm = nn.LayerNorm(width)
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def remember(self, memory: Tensor, at: "Turns") -> tuple[Tensor, Tensor]:
        """memory [B, K, D], the turns of its places -> keys, turned, and values [B, H, K, d]."""
        k, v = self._heads(self.kv(memory), 2 * self.heads).chunk(2, 1)
        return _turned(k, at), v

    def forward(self, x: Tensor, at: "Turns", memory: tuple[Tensor, Tensor], see: Tensor | None = None) -> Tensor:
        """x [B, Q, D], the turns of its places; see [Q, K] or [B, 1, Q, K], None for all."""
        q = _turned(self._heads(self.q(self.norm(x)), self.heads), at)
        if see is None:
            return self.out(F.scaled_dot_product_attention(q, *memory).transpose(1, 2).flatten(2))
        nothing = ~see.any(-1, keepdim=True)
        heard = F.scaled_dot_product_attention(q, *memory, attn_mask=see | nothing)
        return self.out(heard.masked_fill(nothing, 0.0).transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor, heads: int) -> Tensor:
        return x.unflatten(-1, (heads, self.head_dim)).transpose(1, 2)


Turns = tuple[Tensor, Tensor]


def turns(places: Tensor, head_dim: int) -> Turns:
    """places [K], or [B, K] of each row -> cosines and sines [K, d / 2], or [B, 1, K, d / 2], of their angles.

    Made once, for all layers and uses.
    """
    half = head_dim // 2
    speeds = _ROPE_THETA ** (-torch.arange(half, device=places.device, dtype=torch.float32) / half)
    angles = places.to(torch.float32).unsqueeze(-1) * speeds
    if places.ndim == 2:
        angles = angles.unsqueeze(1)
    return angles.cos(), angles.sin()


def _turned(x: Tensor, at: Turns) -> Tensor:
    """x [B, H, K, d] with channel i turned with channel i + d / 2."""
    cos, sin = (one.to(x.dtype) for one in at)
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


@dataclass
class ProsodyState:
    """What is remembered of a row: keys and values per layer of steps, phones and tokens, newest last."""

    steps: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    phones: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    tokens: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    features: Tensor | None = None  # [1, K, D] of phones that are still to be current
    seen: list[int] = field(default_factory=list)  # tokens that each of them may see
    num_steps: int = 0
    num_phones: int = 0
    num_tokens: int = 0
    told: list[Tensor] = field(default_factory=list)  # [1, 1, 3] of the steps whose phones are not complete
    last_seen: int = 0


class ProsodyStream:
    """A row of the model, phone by phone: the same numbers as the whole with its mask gives, fed its own outputs."""

    def __init__(self, model: Prosody, speaking: Speaking):
        """Raises ValueError for a model that sees all phones."""
        if model.lookahead is None:
            raise ValueError("this prosody model sees all phones (lookahead None) and cannot stream")
        self.model, self.state = model, ProsodyState()
        self._who = model._speaking(speaking)

    def hear(self, states: Tensor) -> None:
        """States [1, T, state_dim] of the newest tokens."""
        memory = self.model.states(states)
        state = self.state
        places = torch.arange(state.num_tokens, state.num_tokens + memory.shape[1], device=memory.device)
        at = self.model.turns(places)
        new = [layer.tokens.remember(memory, at) for layer in self.model.layers]
        state.tokens = _joined(state.tokens, new)
        state.num_tokens += memory.shape[1]

    def push(self, text: Linguistic, seen: list[int], last: bool) -> Tensor:
        """The newest phones, and how many tokens each may see -> outputs [1, P, 3] of those now complete."""
        state, model = self.state, self.model
        features = model._features(text)
        places = torch.arange(state.num_phones, state.num_phones + features.shape[1], device=features.device)
        at = model.turns(places)
        new = [layer.phones.remember(features, at) for layer in model.layers]
        state.phones = _joined(state.phones, new)
        state.num_phones += features.shape[1]
        state.features = features if state.features is None else torch.cat([state.features, features], 1)
        state.seen += seen
        until = state.num_phones + max(DELAYS) if last else max(0, state.num_phones - model.lookahead)
        if not state.num_phones:
            until = 0
        while state.num_steps < until:
            self._step()
        self._forget()
        complete = max(0, len(state.told) - max(DELAYS))
        if not complete:
            return features.new_zeros(1, 0, OUTPUTS)
        values = undelayed(torch.cat(state.told, 1), complete)
        state.told = state.told[complete:]
        return _measured(values)

    def _step(self) -> None:
        """One step; what it tells is kept in `told`."""
        state, model = self.state, self.model
        before = state.told[-1] if state.told else self._who.new_zeros(1, 1, OUTPUTS)
        x = model.told(before) + self._who
        if state.features.shape[1]:  # else only what is delayed is still to be told
            x = x + state.features[:, :1]
            state.features = state.features[:, 1:]
            state.last_seen = state.seen.pop(0)
        step, newest = state.num_steps, state.last_seen - 1
        at, now = (model.turns(torch.tensor([place], device=x.device)) for place in (step, newest))
        steps = []
        for number, layer in enumerate(model.layers):
            old = [state.steps[number]] if state.steps else []
            memory = _joined(old, [layer.steps.remember(layer.steps.norm(x), at)])[0]
            steps.append(tuple(one[:, :, -_STEPS_BACK:] for one in memory))
            x = x + layer.steps(x, at, steps[-1])
            seen = _between(state.phones[number], state.num_phones, step - _PHONES_BACK + 1, step + model.lookahead)
            x = x + layer.phones(x, at, seen) if seen[0].shape[2] else x
            if state.tokens:
                seen = _between(state.tokens[number], state.num_tokens, newest - _TOKENS_BACK + 1, newest)
                x = x + layer.tokens(x, now, seen) if seen[0].shape[2] else x
            x = x + layer.ffn(x)
        state.steps = steps
        told = model.out(model.norm(x))
        for output, delay in enumerate(DELAYS):
            if step < delay:
                told[..., output] = 0.0  # of no phone
        state.told.append(told)
        state.num_steps += 1

    def _forget(self) -> None:
        """Drop keys and values that no later step looks at."""
        state = self.state
        phones = state.num_phones - state.num_steps + _PHONES_BACK
        tokens = state.num_tokens - state.last_seen + _TOKENS_BACK
        state.phones = [tuple(one[:, :, -phones:] for one in memory) for memory in state.phones]
        state.tokens = [tuple(one[:, :, -tokens:] for one in memory) for memory in state.tokens]


def _joined(old: list[tuple[Tensor, Tensor]], new: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
    if not old:
        return new
    return [tuple(torch.cat(pair, 2) for pair in zip(*both, strict=True)) for both in zip(old, new, strict=True)]


def _between(memory: tuple[Tensor, Tensor], total: int, first: int, last: int) -> tuple[Tensor, Tensor]:
    """Keys and values of places first to last, both included, of a memory of the newest of `total` places."""
    begun = total - memory[0].shape[2]
    return tuple(one[:, :, max(0, first - begun) : max(0, last + 1 - begun)] for one in memory)


def prosody_loss(told: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Mean absolute error in the model's units; all [B, P, 3]. Weights: 0 where there is no phone or nothing to say."""
    return ((told - truth).abs() / told.new_tensor(SCALES) * weights).sum() / weights.sum().clamp(min=1)
