"""The readings that are found are CTC's, and of those that sound alike the likelier text is told."""

from itertools import product

import pytest
import torch
from torch import Tensor

from adapters.token_readings import BLANK, CHOICES, END, READINGS, Expectation, likely_readings

DIM, VOCAB = 8, 11


@pytest.fixture
def table() -> Tensor:
    torch.manual_seed(1)
    return torch.randn(VOCAB, DIM)


@pytest.fixture
def expectation() -> Expectation:
    torch.manual_seed(0)
    return Expectation(DIM, width=16)


def read_by_hand(names: tuple[int, ...]) -> tuple[int, ...]:
    unlike = [name for at, name in enumerate(names) if at == 0 or name != names[at - 1]]
    return tuple(name - 1 for name in unlike if name != BLANK)


def test_the_log_probability_of_a_reading_is_that_of_all_ways_to_it():
    torch.manual_seed(2)
    logits = torch.randn(4, 3)
    logs, ways = logits.log_softmax(-1), {}
    for names in product(range(3), repeat=4):
        ways.setdefault(read_by_hand(names), []).append(sum(logs[at, name] for at, name in enumerate(names)))
    right = {reading: torch.stack(of).logsumexp(0).item() for reading, of in ways.items()}
    assert len(right) <= READINGS and logits.shape[1] <= CHOICES  # nothing is left out
    assert dict(likely_readings(logits)) == pytest.approx(right, abs=1e-5)


def test_what_is_likeliest_at_each_place_need_not_be_so_as_a_whole():
    """Nothing is likelier than the token at each of three places, but all ways to say it once together are not."""
    likely = torch.tensor([[0.6, 0.4, 0.0], [0.6, 0.4, 0.0], [0.6, 0.4, 0.0]])
    assert read_by_hand(tuple(likely.argmax(-1).tolist())) == ()
    assert likely_readings(likely.log())[0][0] == (0,)


def test_equal_tokens_need_a_blank_between_them():
    likely = torch.full((3, VOCAB + 1), 1e-6)
    likely[0, 4] = likely[1, BLANK] = likely[2, 4] = 1.0
    assert likely_readings(likely.log())[0][0] == (3, 3)
    likely[1] = likely[0]
    assert likely_readings(likely.log())[0][0] == (3,)


def test_nothing_to_read_says_nothing(expectation, table):
    assert likely_readings(torch.zeros(0, VOCAB + 1)) == [((), 0.0)]
    assert expectation.best([[((), 0.0)]], table) == [()]


@torch.no_grad()
def test_what_follows_is_expected_by_what_stands_before_it_alone(expectation, table):
    said = table[torch.tensor([[3, 5, 1], [3, 5, 2]])]
    follows = expectation(said, table)
    assert follows.shape == (2, 4, VOCAB + 1)
    torch.testing.assert_close(follows[0, :3], follows[1, :3])
    assert not torch.allclose(follows[0, 3], follows[1, 3], atol=1e-4)


@torch.no_grad()
def test_a_text_is_as_likely_as_its_tokens_one_by_one_and_its_end_in_any_company(expectation, table):
    texts = [(3, 5, 1), (7,), (), (3, 5)]
    expected = expectation.expected(texts, table)
    for text, likely in zip(texts, expected, strict=True):
        logs = expectation(table[list(text)].unsqueeze(0), table)[0].log_softmax(-1)
        named = [*(token + 1 for token in text), END]
        assert likely.item() == pytest.approx(sum(logs[at, name].item() for at, name in enumerate(named)), abs=1e-4)


def test_of_what_sounds_alike_the_likelier_text_is_told(expectation, table):
    optimizer = torch.optim.AdamW(expectation.parameters(), lr=1e-2)
    usual, unusual = (3, 5), (3, 4, 5)
    for _ in range(60):
        optimizer.zero_grad()
        (-expectation.expected([usual], table).sum()).backward()
        optimizer.step()
    sounds_alike = [(unusual, -1.0), (usual, -1.2)]
    heard_well = [(unusual, -0.01), (usual, -40.0)]
    sure = [((7,), -2.0)]
    assert expectation.best([sounds_alike, sure, heard_well], table) == [usual, (7,), unusual]
