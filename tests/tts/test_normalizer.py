"""The tagger, with small random weights: pieces are said as the whole, and it sees what it may see and no more."""

import random
from itertools import chain

import pytest
import torch
from torch import Tensor

from tts.normalizer import LEFT_CONTEXT, RIGHT_CONTEXT, Normalizer, labels_of, owners_of, token_ids
from tts.rule_stream import RuleStream
from tts.rules import LABELS, say, spoken_form
from tts.spoken_text import joined
from tts.written_tokens import split

TEXT = (
    "On 2/3 Dr. King paid $5.50 at 10:30, 5 km from St. Mary; 1,234 dogs (IV) won 3-5. Call 555-0142 ... 😀 ok?! " * 2
)
MANY_READINGS = "in 1984 or 2/3, 3-5 and 10:30, 8.11 of 101 St. IV 7 in a 12B BBC No. May 5, 555-0142 "
CORE_DIM = 24


def small(core_dim: int = CORE_DIM, **options: bool) -> Normalizer:
    torch.manual_seed(0)
    model = Normalizer(core_dim=core_dim, dim=32, embed_dim=16, heads=2, head_dim=8, **options)
    for name, weight in model.named_parameters():  # loud enough that all labels occur
        torch.nn.init.normal_(weight, std=0.5 if weight.ndim > 1 else 0.2)
        assert weight.requires_grad, name
    return model.eval()


def in_pieces(text: str, seed: int = 0, most: int = 6) -> list[str]:
    """A text cut as a core's tokens might be: into pieces of any length, some of them empty."""
    rng, pieces = random.Random(seed), []
    while text:
        size = rng.randint(0, most)
        pieces.append(text[:size])
        text = text[size:]
    return pieces


def states_for(pieces: list[str]) -> Tensor:
    return torch.randn(len(pieces), CORE_DIM, generator=torch.Generator().manual_seed(len(pieces)))


def ends_of(pieces: list[str]) -> list[int]:
    return torch.tensor([len(piece) for piece in pieces]).cumsum(0).tolist()


def logits_of(model: Normalizer, text: str, pieces: list[str], states: Tensor) -> Tensor:
    tokens = split(text)
    seen = (states[None], torch.tensor([owners_of(tokens, ends_of(pieces))])) if model.core_dim else ()
    with torch.no_grad():
        return model(token_ids(tokens)[None], torch.ones(1, len(tokens), dtype=torch.bool), *seen)[0]


def whole(model: Normalizer, pieces: list[str], states: Tensor) -> str:
    text = "".join(pieces)
    tokens = split(text)
    return say(tokens, labels_of(tokens, logits_of(model, text, pieces, states)), "en")


def streamed(model: Normalizer, pieces: list[str], states: Tensor) -> str:
    stream = model.start("en")
    said = [stream.push(piece, state if model.core_dim else None) for piece, state in zip(pieces, states, strict=True)]
    return joined([*chain.from_iterable(said), *stream.flush()])


@pytest.mark.parametrize("core_dim", [CORE_DIM, 0])
@pytest.mark.parametrize("seed", range(6))
def test_a_text_in_pieces_is_said_as_the_whole(core_dim, seed):
    model, pieces = small(core_dim), in_pieces(TEXT, seed, most=(1, 2, 4, 8, 20, 60)[seed])
    states = states_for(pieces)
    said = streamed(model, pieces, states)
    assert said == whole(model, pieces, states)
    assert said != spoken_form(TEXT, "en")  # random labels: the test would not see spans otherwise


@pytest.mark.parametrize("broken", ["a state late", "no memory", "no right context"])
def test_one_broken_thing_is_heard(broken, monkeypatch):
    model = small()
    texts = [in_pieces(MANY_READINGS[at:] + MANY_READINGS[:at], at) for at in range(0, len(MANY_READINGS), 7)]
    states = [states_for(pieces) for pieces in texts]
    right = [whole(model, *one) for one in zip(texts, states, strict=True)]
    if broken == "a state late":
        states = [one.roll(1, 0) for one in states]
    elif broken == "no memory":
        step = model.step
        monkeypatch.setattr(model, "step", lambda w, s, o, p, memory: (step(w, s, o, p, memory)[0], memory))
    else:
        step = model.step
        monkeypatch.setattr(model, "step", lambda w, *rest: step(torch.cat([w[:1], 0 * w[1:]]), *rest))
    assert [streamed(model, *one) for one in zip(texts, states, strict=True)] != right


@pytest.mark.parametrize("core_dim", [CORE_DIM, 0])
def test_it_sees_three_tokens_to_the_right_and_no_more(core_dim):
    model = small(core_dim)
    text, at = "a b c d e f g h i j k l", 4
    pieces = list(text)
    states = states_for(pieces)
    before = logits_of(model, text, pieces, states)
    for far, same in ((RIGHT_CONTEXT, False), (RIGHT_CONTEXT + 1, True)):
        place = 2 * (at + far)
        other = text[:place] + "7" + text[place + 1 :]
        changed = logits_of(model, other, list(other), states)
        assert torch.equal(before[at], changed[at]) == same
        if core_dim:
            moved = states.clone()
            moved[place] += 1.0
            assert torch.equal(before[at], logits_of(model, text, pieces, moved)[at]) == same


def test_both_ways_sees_all_and_cannot_be_started():
    model = small(0, both_ways=True)
    text = "a b c d e f g h i j k l"
    pieces = list(text)
    before = logits_of(model, text, pieces, states_for(pieces))
    assert not torch.equal(before[0], logits_of(model, text[:-1] + "7", pieces, states_for(pieces))[0])
    with pytest.raises(ValueError, match="both ways"):
        model.start("en")


def test_padding_and_rows_beside_change_nothing():
    model, pieces = small(), list("a b 12 c")
    states = states_for(pieces)
    alone = logits_of(model, "a b 12 c", pieces, states)
    ids = torch.zeros(2, 9, 5, dtype=torch.long)
    ids[0, :4], ids[1] = token_ids(split("a b 12 c")), token_ids(split("1 2 3 4 5 6 7 8 9"))
    keep = torch.arange(9) < torch.tensor([[4], [9]])
    owners = torch.full((2, 12), 1_000_000)
    owners[0, : len(pieces)] = torch.tensor(owners_of(split("a b 12 c"), ends_of(pieces)))
    padded = torch.zeros(2, 12, CORE_DIM)
    padded[0, : len(pieces)] = states
    with torch.no_grad():
        together = model(ids, keep, padded, owners)
    torch.testing.assert_close(together[0, :4], alone)


@pytest.mark.parametrize("core_dim", [CORE_DIM, 0])
def test_everything_learns(core_dim):
    model, pieces = small(core_dim), in_pieces(TEXT)
    tokens = split(TEXT)
    seen = (states_for(pieces)[None], torch.tensor([owners_of(tokens, ends_of(pieces))])) if core_dim else ()
    model(token_ids(tokens)[None], torch.ones(1, len(tokens), dtype=torch.bool), *seen).logsumexp(-1).sum().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()]


def test_a_tag_fits_its_token():
    model, pieces = small(), in_pieces(TEXT)
    labels = logits_of(model, TEXT, pieces, states_for(pieces)).argmax(-1)
    for token, label in zip(split(TEXT), labels, strict=True):
        if token.kind == "letters":
            assert LABELS[label] not in ("cardinal", "date", "silent", "phone")
        if token.kind == "digits":
            assert LABELS[label] not in ("letters", "abbreviation", "address", "silent")


def test_owners_stand_where_core_tokens_end():
    tokens = split("No. 12 km")
    assert owners_of(tokens, [2, 3, 4, 6, 9]) == [0, 1, 2, 2, 3]
    assert owners_of(split("a.  b"), [1, 2, 2, 3, 5]) == [0, 1, 2, 2, 2]
    assert owners_of(split("  a"), [1, 3]) == [0, 0]


def test_what_a_stream_keeps_does_not_grow():
    model = small()
    stream = model.start("en")
    for at in range(600):
        stream.push("ab " if at % 3 else "1-", torch.zeros(CORE_DIM))
    assert len(stream._states) <= 3 * (LEFT_CONTEXT + RIGHT_CONTEXT)
    assert len(stream._tokens) <= 30
    assert len(stream._ids) <= RIGHT_CONTEXT + 1


@pytest.mark.parametrize("text", ["", " ", "\ud800\x00", "😀", "9" * 400, "ｱ１٤ हि", "." * 300])
def test_hostile_text(text):
    model = small()
    stream = model.start("en")
    said = joined([*chain.from_iterable(stream.push(sign, torch.zeros(CORE_DIM)) for sign in text), *stream.flush()])
    said.encode("utf-8")


def test_states_are_asked_for_and_refused():
    with pytest.raises(ValueError, match=r"found hidden None.*24"):
        small().start("en").push("a")
    with pytest.raises(ValueError, match=r"found hidden \(3,\).*24"):
        small().start("en").push("a", torch.zeros(3))
    with pytest.raises(ValueError, match="takes None"):
        small(0).start("en").push("a", torch.zeros(CORE_DIM))


def test_other_languages_are_said_by_rules():
    stream = small().start("de")
    assert isinstance(stream, RuleStream)
    said = stream.push("Um 10:30 gehen ", torch.zeros(CORE_DIM)) + stream.push("wir 5 km") + stream.flush()
    assert joined(said) == spoken_form("Um 10:30 gehen wir 5 km", "de")
    with pytest.raises(ValueError, match="klingon"):
        small().start("klingon")


def test_what_has_one_reading_is_said_when_the_next_word_begins():
    stream = small().start("en")
    words = "In Paris, it's very (nearly) always so".split()
    said = [joined(stream.push(f" {word}", torch.zeros(CORE_DIM))) for word in words]
    assert said == ["", "In", " Paris,", " it's", "", " very (nearly)", " always"]
    assert joined(stream.flush()) == " so"


def test_what_has_several_readings_waits_for_three_tokens():
    stream = small().start("en")
    pieces = ["My", " St", ". Ives", " is", " not", " one"]
    said = [joined(stream.push(piece, torch.zeros(CORE_DIM))) for piece in pieces]
    assert said[:4] == ["", "My", "", ""] and said[4] in (" Saint Ives is", " Street Ives is")
    assert said[5] == " not"


def test_every_reading_of_a_span_can_be_picked():
    """The tagger decides by the logit of the span's first token, among the readings that fit."""
    tokens = split("On 2/3 and 23 in less May 5 came No. 12B")
    for wanted, said in (
        ("date", "On February third and twenty three in less May five came number twelve billion"),
        ("cardinal", "On two thirds and twenty three in less May five came number twelve B"),
        ("measure", "On two thirds and twenty three inches less May five came number twelve billion"),
        ("ordinal", "On two thirds and twenty three in less May fifth came number twelve billion"),
        ("verbatim", "On two thirds and twenty three in less May five came No. twelve billion"),
    ):
        logits = torch.zeros(len(tokens), len(LABELS))
        logits[:, LABELS.index(wanted)] = 1.0
        assert say(tokens, labels_of(tokens, logits), "en") == said
