"""Tokens named in speech stand next to each other, as a text's do, and nothing else of a clip matters."""

import pytest
import torch

from adapters.memory import Memory
from adapters.token_adapter import BLANK, TokenAdapter, means_of_runs

WIDTH, DIM, VOCAB = 16, 8, 11


@pytest.fixture
def adapter() -> TokenAdapter:
    torch.manual_seed(0)
    adapter = TokenAdapter(in_dim=6, width=WIDTH, num_heads=2, ffn_dim=24, out_dim=DIM, num_tokens=VOCAB)
    with torch.no_grad():
        for parameter in (adapter.lead, adapter.tail, adapter.filler):
            parameter.normal_()
        adapter.tokens.weight.normal_()
    return adapter


def frames(batch: int, places: int, *lengths: int) -> Memory:
    torch.manual_seed(1)
    keep = torch.arange(places) < torch.tensor(lengths or [places] * batch).unsqueeze(1)
    return Memory(torch.randn(batch, places, 6), keep)


def certain(*names: int) -> Memory:
    """Logits of one clip whose places say these for sure: 0 is nothing, t + 1 token t."""
    logits = torch.full((1, len(names), VOCAB + 1), -1e4)
    logits[0, torch.arange(len(names)), torch.tensor(names)] = 0
    return Memory(logits, torch.ones(1, len(names), dtype=torch.bool))


def test_what_is_named_for_sure_stands_as_in_a_text(adapter):
    table = torch.randn(VOCAB, DIM)
    said = certain(BLANK, 3, 3, BLANK, BLANK, 3, 7, 7, 7, BLANK, 1, BLANK, BLANK, BLANK)
    told, keep = adapter.tell(said, table)
    expected = [adapter.filler.expand(2, -1), adapter.lead, table[[2, 2, 6, 0]], adapter.tail]
    assert keep.all() and torch.equal(told[0], torch.cat(expected))


def test_doubt_is_a_mixture_of_the_core_s_embeddings(adapter):
    table, doubt = torch.randn(VOCAB, DIM), certain(BLANK, 4, BLANK)
    doubt.x[0, 1, 4], doubt.x[0, 1, 9] = torch.tensor(0.75).log(), torch.tensor(0.25).log()
    torch.testing.assert_close(adapter.tell(doubt, table).x[0, 2], 0.75 * table[3] + 0.25 * table[8])


def test_silence_and_no_clip_at_all_say_nothing(adapter):
    table = torch.randn(VOCAB, DIM)
    told = adapter.tell(certain(*[BLANK] * 10), table).x[0]
    assert torch.equal(told, torch.cat([adapter.filler.expand(2, -1), adapter.lead, adapter.tail]))
    nothing = Memory(torch.zeros(1, 2, VOCAB + 1), torch.zeros(1, 2, dtype=torch.bool))
    assert adapter.tell(nothing, table).x.shape == (1, 2, DIM)


def test_where_there_is_no_room_the_tokens_stay(adapter):
    table = torch.randn(VOCAB, DIM)
    assert torch.equal(adapter.tell(certain(2, 5, 2, 5), table).x[0], table[[1, 4, 1, 4]])
    one_more = adapter.tell(certain(2, 5, 2, 5, BLANK), table).x[0]
    assert torch.equal(one_more, torch.cat([adapter.lead[-1:], table[[1, 4, 1, 4]]]))


@torch.no_grad()
def test_padding_and_company_change_nothing(adapter):
    table, both = torch.randn(VOCAB, DIM), frames(2, 21, 21, 12)
    told = adapter(both, table)
    alone = adapter(Memory(both.x[1:, :12], both.keep[1:, :12]), table)
    torch.testing.assert_close(told.x[1, :6], alone.x[0])
    both.x[1, 12:] = 7.0
    torch.testing.assert_close(adapter(both, table).x[0], told.x[0])
    torch.testing.assert_close(adapter(both, table).x[1, :6], told.x[1, :6])
    assert told.keep.sum(1).tolist() == [11, 6]


def test_means_of_runs_of_one_name():
    x = torch.tensor([[1.0], [3.0], [5.0], [7.0], [9.0]])
    assert means_of_runs(x, torch.tensor([4, 4, BLANK, 4, 2])).flatten().tolist() == [2.0, 7.0, 9.0]
    assert means_of_runs(x[:0], torch.tensor([], dtype=torch.long)).shape == (0, 1)


def test_tokens_learn_from_what_the_core_makes_of_them(adapter):
    adapter(frames(1, 60), torch.randn(VOCAB, DIM)).x.square().sum().backward()
    assert all(parameter.grad is not None for parameter in adapter.parameters())
