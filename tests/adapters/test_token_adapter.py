"""Tokens named in speech stand next to each other, as a text's do, and nothing else of a clip matters."""

import pytest
import torch
from torch import Tensor

from adapters.memory import Memory
from adapters.token_adapter import AROUND, EDGE, TOKENS_A_LETTER, TokenAdapter, letters_there
from adapters.token_readings import BLANK

LETTERS, DIM, VOCAB = 5, 8, 11  # letters with the blank


@pytest.fixture
def adapter() -> TokenAdapter:
    torch.manual_seed(0)
    sizes = dict(width=16, num_layers=2, num_heads=2, ffn_dim=24, memory_width=16)
    adapter = TokenAdapter(in_dim=LETTERS, out_dim=DIM, **sizes)
    with torch.no_grad():
        for parameter in (adapter.lead, adapter.tail, adapter.filler, adapter.out.weight):
            parameter.normal_()
    return adapter


@pytest.fixture
def table() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(VOCAB, DIM)


def frames(batch: int, places: int, *lengths: int) -> Memory:
    torch.manual_seed(2)
    keep = torch.arange(places) < torch.tensor(lengths or [places] * batch).unsqueeze(1)
    return Memory(3 * torch.randn(batch, places, LETTERS), keep)


def certain(names: list[int], choices: int) -> Tensor:
    """Logits [len(names), choices] that are sure of these names."""
    logits = torch.full((len(names), choices), -1e4)
    logits[torch.arange(len(names)), torch.tensor(names)] = 0
    return logits


def test_letters_are_there_once_however_long_they_take():
    heard = letters_there(certain([BLANK, 3, 3, BLANK, 3, 1, 1, 4, BLANK, BLANK], LETTERS))
    assert torch.equal(heard, torch.eye(LETTERS)[[3, 3, 1, 4]])
    assert letters_there(certain([BLANK] * 6, LETTERS)).shape == (0, LETTERS)


def test_a_letter_that_is_only_suspected_is_there_with_what_else_it_might_be():
    likely = torch.tensor([[0.98, 0.02, 0, 0, 0], [0.6, 0, 0.3, 0.1, 0], [0.3, 0, 0.5, 0.2, 0], [0.98, 0.02, 0, 0, 0]])
    torch.testing.assert_close(letters_there(likely.log()), torch.tensor([[0.6, 0, 0.5, 0.2, 0]]))


def test_tokens_are_named_once_by_their_numbers_in_the_core(adapter, table):
    named = certain([BLANK, 3, 3, BLANK, 3, 7, 1, BLANK], VOCAB + 1).unsqueeze(0)
    [tokens] = adapter.read(Memory(named, torch.ones(1, 8, dtype=torch.bool)), table)
    assert tokens.tolist() == [2, 2, 6, 0]


def test_tokens_stand_at_the_end_of_their_places(adapter, table):
    expected = [adapter.filler.expand(2, -1), adapter.lead, table[:4], adapter.tail]
    assert torch.equal(adapter.placed(table[:4], 2 * AROUND + 6), torch.cat(expected))
    assert torch.equal(adapter.placed(table[:4], 5), torch.cat([adapter.lead[-1:], table[:4]]))
    assert torch.equal(adapter.placed(table[:4], 3), table[:3])


def test_of_what_the_core_reads_the_tokens_that_were_told_are_known_again(adapter, table):
    told = [adapter.placed(table[[3, 5, 3]], 2 * AROUND + 6), adapter.placed(table[[7]], 4)]
    x = torch.nn.utils.rnn.pad_sequence(told, batch_first=True)
    counts = adapter.tokens_told(x, table)
    assert counts.tolist() == [[0, 0, 0, 2, 0, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]]


def test_silence_and_no_clip_at_all_say_nothing(adapter, table):
    with torch.no_grad():
        adapter.out.weight.zero_()
        adapter.out.bias.copy_(adapter.blank.copy_(100 * torch.ones(DIM)).repeat(TOKENS_A_LETTER))
    silence = Memory(certain([BLANK] * 20, LETTERS).unsqueeze(0), torch.ones(1, 20, dtype=torch.bool))
    told = adapter(silence, table).x[0]
    assert torch.equal(told, torch.cat([adapter.filler.expand(2, -1), adapter.lead, adapter.tail]))
    nothing = Memory(torch.zeros(1, 4, LETTERS), torch.zeros(1, 4, dtype=torch.bool))
    told, keep = adapter(nothing, table)
    assert told.shape == (1, 2, DIM) and not keep.any()


@torch.no_grad()
def test_padding_and_company_change_nothing(adapter, table):
    both = frames(2, 41, 41, 24)
    told = adapter(both, table)
    alone = adapter(Memory(both.x[1:, :24], both.keep[1:, :24]), table)
    torch.testing.assert_close(told.x[1, :12], alone.x[0])
    both.x[1, 24:] = 7.0
    torch.testing.assert_close(adapter(both, table).x[0], told.x[0])
    torch.testing.assert_close(adapter(both, table).x[1, :12], told.x[1, :12])
    assert told.keep.sum(1).tolist() == [21, 12]


@torch.no_grad()
def test_every_letter_and_the_room_around_them_can_name_a_token(adapter, table):
    logits, keep = adapter.name_tokens([torch.eye(LETTERS)[[1, 2]], torch.eye(LETTERS)[[3]]], table)
    places = [TOKENS_A_LETTER * (letters + 2 * EDGE) for letters in (2, 1)]
    assert logits.shape == (2, max(places), VOCAB + 1) and keep.sum(1).tolist() == places


def test_the_reader_learns_the_core_s_tokens_and_not_the_core(adapter, table):
    table.requires_grad_(False)
    spelled = torch.eye(LETTERS)[[1, 3, 3, 2]]  # as "1944": a token for each letter, two of them alike
    tokens = torch.tensor([[5, 2, 2, 7]])
    optimizer = torch.optim.AdamW(adapter.parameters(), lr=1e-2)
    for _ in range(80):
        logits, _ = adapter.name_tokens([spelled], table)
        loss = torch.nn.functional.ctc_loss(
            logits.log_softmax(-1).transpose(0, 1), tokens + 1, torch.tensor([logits.shape[1]]), torch.tensor([4])
        )
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    [told] = adapter.read(adapter.name_tokens([spelled], table), table)
    assert told.tolist() == [5, 2, 2, 7] and table.grad is None
