import pytest
import torch

from tts.layers import CausalStack, LookaheadConv


@torch.no_grad()
@pytest.mark.parametrize("size", [1, 2, 7, 20])
def test_pieces_are_the_whole(size):
    torch.manual_seed(0)
    x = torch.randn(2, 20, 6)
    conv, stack = LookaheadConv(6, 8, before=2, ahead=3), CausalStack(8, 2, kernel=4)
    whole = stack(conv(x)[0])[0]
    past, pasts, pieces = None, None, []
    for at in range(0, 20, size):
        y, past = conv(x[:, at : at + size], past, last=at + size >= 20)
        y, pasts = stack(y, pasts)
        pieces.append(y)
    assert whole.shape == (2, 20, 8)
    torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_place_sees_what_it_should_and_nothing_more():
    torch.manual_seed(0)
    x, conv, stack = torch.randn(1, 20, 6), LookaheadConv(6, 8, before=2, ahead=3), CausalStack(8, 1, kernel=4)
    other = x.clone()
    other[:, 12] += 1
    changed = (stack(conv(x)[0])[0] != stack(conv(other)[0])[0]).any(-1)[0]
    assert changed.nonzero()[:, 0].tolist() == list(range(12 - 3, 12 + 2 + 3 + 1))
