import pytest
import torch

from benchmarks.voice import SENTENCES
from multimodal.assistant import NANO, load
from multimodal.nano.speech.utterances import scored
from multimodal.nano.voice.judge import hear
from multimodal.nano.voice.states import states_of
from tts.head import load_head

MAX_BYTES = 7_000_000


@pytest.fixture(scope="module")
def head():
    return load_head(NANO / "voice.json", NANO / "voice.safetensors")


@pytest.fixture(scope="module")
def nano():
    return load("nano")


def say(head, nano, text, **how):
    ends, states = states_of(nano.model, nano.processor.tokenizer, [text])[0]
    stream, begun, sounds = head.start(**how), 0, []
    for end, state in zip(ends, states, strict=True):
        sounds.append(stream.push([text[begun:end]], state[None])[0])
        begun = end
    return torch.cat([*sounds, stream.flush()[0]])


def test_it_is_small_and_speaks_34_languages(head):
    assert (NANO / "voice.safetensors").stat().st_size <= MAX_BYTES
    assert len(head.speakers) >= 2 and len(head.languages) == 34 and head.sample_rate == 16_000


@pytest.mark.parametrize("speaker", ["bass", "alto"])
def test_an_outside_recogniser_hears_what_it_says(head, nano, speaker):
    text = "a red circle moves left, then a yellow ring grows"
    assert hear(say(head, nano, text, speaker=speaker)) == scored(text, "en")


@pytest.mark.parametrize("text", SENTENCES)
def test_the_first_sound_comes_before_the_fifth_word_is_written(head, nano, text):
    ends, states = states_of(nano.model, nano.processor.tokenizer, [text])[0]
    stream, begun = head.start(), 0
    for end, state in zip(ends, states, strict=True):
        if len(stream.push([text[begun:end]], state[None])[0]):
            break
        begun = end
    assert len(text[:end].split()) < 5  # of the fifth no letter is there


def test_rate_and_pitch_are_what_was_asked_for(head, nano):
    text = "the red circle moves up"
    usual = say(head, nano, text)
    assert len(say(head, nano, text, rate=1.3)) == pytest.approx(len(usual) / 1.3, rel=0.15)
    bass, alto = (_pitch(say(head, nano, text, speaker=name)) for name in ("bass", "alto"))
    assert alto > 1.4 * bass
    assert _pitch(say(head, nano, text, pitch=1.3)) == pytest.approx(1.3 * bass, rel=0.1)


def _pitch(wave):
    """Hz, the median over voiced frames."""
    from multimodal.nano.voice.pitch import pitch_of

    log_f0, voiced = pitch_of(wave, 60, 400)
    return log_f0[voiced].exp().median().item()
