import re

import pytest
import torch

from tts.head import SpeechHead, load_head, save_head
from tts.hifigan import HifiGan

from .tiny_head import STATE_DIM, tiny_head

TEXT = "The red circle is left of the blue square, and 23 apples are in a box. Is it one?"


@pytest.fixture(scope="module")
def head():
    return tiny_head()


def spoken(head, pieces, states=None, **how):
    """One text in pieces -> its sound, piece by piece."""
    stream = head.start(**how)
    hidden = [None] * len(pieces) if states is None else states.unsqueeze(1)
    sounds = [stream.push([piece], state)[0] for piece, state in zip(pieces, hidden, strict=True)]
    return [*sounds, stream.flush()[0]]


def words(text):
    return re.findall(r"\s*\S+", text)


def test_sound_comes_before_the_fifth_word_is_written(head):
    sounds = spoken(head, words(TEXT))
    assert next(at for at, sound in enumerate(sounds) if len(sound)) < 4
    assert sum(len(sound) > 0 for sound in sounds) > 8  # and goes on with nearly every word


def test_any_way_to_cut_a_text_gives_the_same_sound(head):
    """Without states; with them the same holds token by token."""
    whole = torch.cat(spoken(head, [TEXT]))
    assert len(whole) > 3 * head.sample_rate and whole.isfinite().all() and whole.abs().max() <= 1
    for pieces in (words(TEXT), list(TEXT)):
        torch.testing.assert_close(torch.cat(spoken(head, pieces)), whole, rtol=0, atol=1e-4)


def test_a_row_of_a_batch_is_as_alone(head):
    texts = [words("a small red circle at the top"), words("Guten Tag, how do you do today?")]
    states = torch.randn(2, 7, STATE_DIM, generator=torch.Generator().manual_seed(0))
    stream, rows = head.start(2), [[], []]
    for at in range(7):
        for row, sound in zip(rows, stream.push([text[at] for text in texts], states[:, at]), strict=True):
            row.append(sound)
    for row, sound in zip(rows, stream.flush(), strict=True):
        row.append(sound)
    for row, text, state in zip(rows, texts, states, strict=True):
        torch.testing.assert_close(torch.cat(row), torch.cat(spoken(head, text, state)), rtol=0, atol=1e-4)


def test_states_are_heard(head):
    text = words("a small red circle at the top")
    first, second = (torch.cat(spoken(head, text, scale * torch.ones(7, STATE_DIM).cumsum(1))) for scale in (1.0, -1.0))
    assert first.shape != second.shape or not torch.equal(first, second)


def test_rate_pitch_speaker_and_language_change_the_sound(head):
    usual = torch.cat(spoken(head, words(TEXT)))
    for how in ({"rate": 1.5}, {"pitch": 1.5}, {"speaker": "high"}, {"language": "de"}):
        other = torch.cat(spoken(head, words(TEXT), **how))
        assert other.shape != usual.shape or (other - usual).abs().max() > 0.01


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"language": "xx"}, "found language 'xx'; accepted by this voice: en, de, zh"),
        ({"speaker": "Bob"}, "found speaker 'Bob'; accepted by this voice: low, high"),
        ({"rate": 0.0}, r"rate is 0.0; accepted are 0.5 to 2.0"),
        ({"pitch": 9.0}, r"pitch is 9.0; accepted are 0.5 to 2.0"),
    ],
)
def test_what_it_cannot_do_is_refused(head, how, told):
    with pytest.raises(ValueError, match=told):
        head.start(**how)


def test_texts_and_states_that_do_not_fit_are_refused(head):
    with pytest.raises(ValueError, match="found 2 texts; this stream has 1 rows"):
        head.start().push(["a", "b"])
    with pytest.raises(ValueError, match=r"states are \[1, 5\]; this voice takes \[1, 12\]"):
        head.start().push(["a"], torch.zeros(1, 5))


@pytest.mark.parametrize("text", ["", " \n", "...", "\x00\x07", "😀", "\ud800"])
def test_nothing_to_say_is_silence(head, text):
    assert not sum(len(sound) for sound in spoken(head, [text]))


@pytest.mark.parametrize(
    "text", ["a\x00b \x07 c", "I see 😀 today", "Привет, мир 你好 hello", "!?;: yes", "a" * 700, "क"]
)
def test_odd_texts_are_said(head, text):
    sound = torch.cat(spoken(head, [text]))
    assert len(sound) > 0.1 * head.sample_rate and sound.isfinite().all()


def test_a_published_vocoder_takes_the_place_of_ours(head):
    torch.manual_seed(0)
    sizes = dict(
        width=32, upsample_rates=(4, 4, 4, 4), upsample_kernels=(8, 8, 8, 8), kernels=(3,), dilations=((1, 3),)
    )
    other = SpeechHead(head.config, vocoder=HifiGan(**sizes)).eval()
    sounds = spoken(other, words(TEXT))
    assert sum(len(sound) > 0 for sound in sounds) > 8
    torch.testing.assert_close(torch.cat(sounds), torch.cat(spoken(other, [TEXT])), rtol=0, atol=1e-4)


@pytest.mark.slow
def test_ten_thousand_characters_are_said(head):
    sound = torch.cat(spoken(head, words("seven red circles, " * 527)))
    assert len(sound) > 500 * head.sample_rate


def test_a_saved_head_is_the_same(head, tmp_path):
    save_head(head, tmp_path / "voice.json", tmp_path / "voice.safetensors")
    again = load_head(tmp_path / "voice.json", tmp_path / "voice.safetensors")
    assert (again.speakers, again.languages, again.hidden_dim) == (head.speakers, head.languages, STATE_DIM)
    first, second = (torch.cat(spoken(one, words("yes, it is a red circle"))) for one in (head, again))
    assert abs(len(first) - len(second)) < 0.05 * len(first)  # weights are rounded to float16


def test_files_that_do_not_belong_together_are_refused(head, tmp_path):
    save_head(head, tmp_path / "voice.json", tmp_path / "voice.safetensors")
    save_head(tiny_head(state_dim=None), tmp_path / "other.json", tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="tensors differ, such as"):
        load_head(tmp_path / "other.json", tmp_path / "voice.safetensors")
    (tmp_path / "voice.json").write_text('{"speakers": 3}')
    with pytest.raises(ValueError, match="no configuration of a voice"):
        load_head(tmp_path / "voice.json", tmp_path / "voice.safetensors")
