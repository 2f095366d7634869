import pytest
import torch

from tts.prosody import (
    LOOKAHEAD,
    SIZES,
    Linguistic,
    Prosody,
    ProsodyStream,
    Speaking,
    delayed,
    prosody_loss,
    undelayed,
)

PHONES, TOKENS = 70, 30
SIZE = dict(width=32, layers=2, heads=4, ffn_dim=48, state_dim=16)


@pytest.fixture(scope="module", params=[16, None], ids=["with states", "without states"])
def model(request):
    torch.manual_seed(0)
    made = Prosody(40, 2, 3, **{**SIZE, "state_dim": request.param}).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return made


@pytest.fixture
def inputs():
    torch.manual_seed(1)
    text = Linguistic(
        torch.randint(0, 40, (1, PHONES)), torch.randint(0, 14, (1, PHONES)), torch.randint(0, 4, (1, PHONES))
    )
    seen = (torch.arange(PHONES) // 3 + 1).clamp(max=TOKENS)[None]
    speaking = Speaking(torch.tensor([1]), torch.tensor([2]), torch.tensor([0.2]))
    return text, speaking, torch.randn(1, TOKENS, 16), seen


def streamed(model, text, speaking, states, seen, size):
    stream, pieces, heard = ProsodyStream(model, speaking), [], 0
    for at in range(0, PHONES, size):
        wanted = int(seen[0, min(PHONES, at + size) - 1])
        if model.state_dim and wanted > heard:
            stream.hear(states[:, heard:wanted])
            heard = wanted
        last = at + size >= PHONES
        pieces.append(stream.push(text.of(slice(at, at + size)), seen[0, at : at + size].tolist(), last))
    return pieces


def whole(model, text, told, speaking, states, seen):
    return model(text, told, speaking, *((states, seen) if model.state_dim else ()))


@torch.no_grad()
@pytest.mark.parametrize("size", [1, 4, PHONES])
def test_speaking_is_the_training_mask(model, inputs, size):
    text, speaking, states, seen = inputs
    said = torch.cat(streamed(model, text, speaking, states, seen, size), 1)
    assert said.shape == (1, PHONES, 3)
    torch.testing.assert_close(whole(model, text, said, speaking, states, seen), said, rtol=0, atol=1e-4)


@torch.no_grad()
def test_no_phone_beyond_the_lookahead_and_no_token_beyond_the_word_is_seen(model, inputs):
    text, speaking, states, seen = inputs
    told = torch.randn(1, PHONES, 3)
    before = whole(model, text, told, speaking, states, seen)
    at = 40
    changed = Linguistic(*(value.clone() for value in vars(text).values()))
    changed.ids[:, at:] = 0
    states = states.clone()
    states[:, int(seen[0, at - 1]) :] = 0  # tokens that no phone before may see
    after = whole(model, changed, told, speaking, states, seen)
    # the duration of a phone is told with LOOKAHEAD phones ahead, pitch and power a step later
    same = (before == after) | torch.isclose(before, after, atol=1e-5)
    assert same[0, : at - LOOKAHEAD, 0].all() and same[0, : at - LOOKAHEAD - 1].all()
    assert not same[0, at - LOOKAHEAD :, 0].all()


@torch.no_grad()
def test_states_speaker_rate_and_what_was_told_matter(model, inputs):
    text, speaking, states, seen = inputs
    told = torch.randn(1, PHONES, 3)
    before = whole(model, text, told, speaking, states, seen)
    others = [Speaking(torch.tensor([0]), speaking.language, speaking.log_rate)]
    others.append(Speaking(speaking.speaker, speaking.language, torch.tensor([-0.5])))
    assert all((before != whole(model, text, told, other, states, seen)).any() for other in others)
    assert (before != whole(model, text, told + 1, speaking, states, seen)).any()
    if model.state_dim:
        assert (before != whole(model, text, told, speaking, -states, seen)).any()


def test_the_delayed_pattern_and_back():
    values = torch.arange(12.0).view(1, 4, 3)
    steps = delayed(values, 5)
    assert steps[0, :, 0].tolist() == [0, 3, 6, 9, 0] and steps[0, :, 1].tolist() == [0, 1, 4, 7, 10]
    assert torch.equal(undelayed(steps, 4), values)


def test_every_parameter_is_trained(inputs):
    torch.manual_seed(0)
    model = Prosody(40, 2, 3, **SIZE)
    text, speaking, states, seen = inputs
    told = torch.randn(1, PHONES, 3)
    prosody_loss(model(text, told, speaking, states, seen), told + 1, torch.ones_like(told)).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


def test_one_that_sees_all_cannot_stream(inputs):
    model = Prosody(40, 2, 3, **SIZE, lookahead=None)
    with pytest.raises(ValueError, match="cannot stream"):
        ProsodyStream(model, inputs[1])


def test_the_papers_size():
    with torch.device("meta"):
        model = Prosody(617, 2, 34, **SIZES["paper"])
    assert model.layers[0].steps.heads == 6 and model.norm.weight.shape == (864,)
    assert model.states[1].weight.shape == (864, 4096)
    assert sum(parameter.numel() for parameter in model.parameters()) == 66_993_683


def test_a_width_that_heads_cannot_share_is_refused():
    with pytest.raises(ValueError, match="width is 30; accepted for 4 heads: a multiple of 8"):
        Prosody(40, 2, 3, **{**SIZE, "width": 30})
