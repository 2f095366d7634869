import random
import unicodedata
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch.utils.data import DataLoader

from multimodal.languages import LANGUAGES, find_language
from multimodal.nano.speech.spoken_set import SpokenSet, sample_voices
from multimodal.nano.speech.synthesiser import SYNTHESIS_RATE_HZ, Voice, resampled, say
from multimodal.nano.speech.utterances import ITEMS, SHARES, UNSAID, as_read, sample_utterance, scored
from multimodal.nano.speech.voices import (
    HELD_OUT_VARIANTS,
    PLAYED_AT_HZ,
    TRAINING_VARIANTS,
    sample_playing_hz,
    sample_voice,
    spoken_for,
)
from multimodal.nano.text.phrases import KINDS, is_held_out, phrase_table, say_all


def utterances(held_out, number, kind=None):
    rng = random.Random(f"{held_out} {kind}")
    return [sample_utterance(rng, held_out, kind) for _ in range(number)]


def test_a_phrase_is_written_as_the_table_writes_it():
    for utterance in utterances(False, 300, "phrase"):
        assert utterance.text == say_all(utterance.items, utterance.language)
        assert utterance.parts[0].spoken == as_read(utterance.text, utterance.language)


def test_all_kinds_and_languages_are_said():
    drawn = utterances(False, 1500)
    shares = Counter(utterance.kind for utterance in drawn)
    assert all(shares[kind] / 1500 == pytest.approx(share, abs=0.04) for kind, share in SHARES.items())
    assert {utterance.language for utterance in drawn} == {language.code for language in LANGUAGES}


def test_training_hears_more_numbers_and_dates_than_the_phrases_of_the_core_have():
    drawn = Counter(item.kind for utterance in utterances(False, 1500, "phrase") for item in utterance.items)
    shares = {kind: count / drawn.total() for kind, count in drawn.items()}
    assert shares == pytest.approx(ITEMS, abs=0.03)
    held_out = Counter(item.kind for utterance in utterances(True, 1500, "phrase") for item in utterance.items)
    assert held_out["number"] / held_out.total() < 0.5 * shares["number"]  # what is measured stays as it was


def test_two_languages_in_one_sentence():
    for utterance in utterances(False, 100, "mixed"):
        one, other = utterance.parts
        assert one.language != other.language and 2 <= len(utterance.items) <= 3
        places = range(1, len(utterance.items))
        lists = [
            f"{say_all(utterance.items[:at], one.language)} {say_all(utterance.items[at:], other.language)}"
            for at in places
        ]
        assert utterance.text in lists


def test_what_would_sound_alike_or_cannot_be_read_is_left_out():
    for utterance in utterances(False, 3000):
        assert not any((part.language, item) in UNSAID for part in utterance.parts for item in utterance.items)
        assert "colour" not in utterance.text


def test_training_and_held_out_share_no_text():
    heard = [
        {(part.language, scored(part.spoken, part.language)) for one in drawn for part in one.parts if not one.items}
        for drawn in (utterances(False, 1500, "question"), utterances(True, 300, "question"))
    ]
    heard[0] |= {("en", scored(one.text, "en")) for one in utterances(False, 3000, "talk")}
    heard[1] |= {("en", scored(one.text, "en")) for one in utterances(True, 300, "talk")}
    assert min(map(len, heard)) > 50 and not heard[0] & heard[1]
    for held_out in (False, True):
        for kind in ("phrase", "mixed"):
            assert all(is_held_out(one.items) == held_out for one in utterances(held_out, 200, kind))


def test_training_and_held_out_share_no_voice():
    rng = random.Random(0)
    training, held_out = ([sample_voice(rng, "en-us", one) for _ in range(2000)] for one in (False, True))
    for field in ("variant", "rate_wpm", "pitch"):
        values = [{getattr(voice, field) for voice in voices} for voices in (training, held_out)]
        assert len(values[1]) > 5 and not values[0] & values[1]
    assert {voice.variant for voice in training} == set(TRAINING_VARIANTS)
    assert {voice.variant for voice in held_out} == set(HELD_OUT_VARIANTS)


def test_a_voice_played_faster_takes_as_long():
    voice = Voice("en-us", "m1", rate_wpm=150)
    whole = say("One red circle and two blue stars.", voice).samples
    for playing_hz in (PLAYED_AT_HZ[0], PLAYED_AT_HZ[-1]):
        sound = resampled(say("One red circle and two blue stars.", spoken_for(voice, playing_hz)).samples, playing_hz)
        assert len(sound) / 16_000 == pytest.approx(len(whole) / SYNTHESIS_RATE_HZ, rel=0.08)


def test_only_training_voices_are_played_at_other_rates():
    rng = random.Random(0)
    assert {sample_playing_hz(rng, held_out=True) for _ in range(100)} == {SYNTHESIS_RATE_HZ}
    training = Counter(sample_playing_hz(rng) for _ in range(2000))
    assert set(training) == {SYNTHESIS_RATE_HZ, *PLAYED_AT_HZ} and training[SYNTHESIS_RATE_HZ] > 900


def test_greetings_are_for_training():
    assert "Goodbye." in {one.text for one in utterances(False, 6000, "talk")}
    assert "Goodbye." not in {one.text for one in utterances(True, 1000, "talk")}


@pytest.mark.parametrize(
    ("text", "code", "heard"),
    [
        ("What color is the star?", "en", "what color is the star"),
        ("Terça-feira, Irã", "pt", "terça feira irã"),
        ("İtalya, Işık", "tr", "italya ışık"),
        ("12. März 1985", "de", "12 märz 1985"),
        ("中文、法国", "zh", "中文 法国"),
        ("سه\N{ZERO WIDTH NON-JOINER}شنبه، مه", "fa", "سهشنبه مه"),
        ("Kiina", "fi", "kiina"),
    ],
)
def test_what_is_scored_can_be_heard(text, code, heard):
    assert scored(text, code) == heard


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
def test_scoring_keeps_names_apart_that_sound_different(language):
    names = [name for kind in KINDS for name in phrase_table()[language.code][kind]]
    heard = {scored(name, language.code) for name in names}
    assert all(heard) and len(heard) == len({unicodedata.normalize("NFC", name).casefold() for name in names})


def test_a_transcript_is_not_respelled():
    for utterance in utterances(False, 1500, "phrase"):
        if utterance.language == "ar":
            assert not any("\u064b" <= letter <= "\u0652" for letter in utterance.text)
    assert as_read("الولايات المتحدة", "ar") != "الولايات المتحدة"


def test_an_utterance_is_a_function_of_seed_set_and_index():
    one, again, other_seed, held_out = SpokenSet(1)[5], SpokenSet(1)[5], SpokenSet(2)[5], SpokenSet(1, True)[5]
    assert one.utterance == again.utterance and one.voices == again.voices and torch.equal(one.sound, again.sound)
    for different in (other_seed, held_out, SpokenSet(1)[6]):
        assert (different.utterance, different.voices) != (one.utterance, one.voices)


def test_drawn_utterances_sound():
    for held_out in (False, True):
        spoken = [SpokenSet(0, held_out)[index] for index in range(25)]
        for one in spoken:
            assert one.sound.dtype == torch.float32 and one.sound.isfinite().all()
            assert 0.3 < len(one.sound) / 16_000 < 20 and 0.01 < one.sound.abs().max() <= 1
            assert len(one.voices) == len(one.utterance.parts)
            allowed = HELD_OUT_VARIANTS if held_out else TRAINING_VARIANTS
            assert all(voice.variant in allowed for voice in one.voices)
        assert {one.room.noise for one in spoken} >= {"none", "white", "pink"}


def test_two_languages_have_one_speaker_or_two():
    speakers = Counter()
    for at, utterance in enumerate(utterances(False, 100, "mixed")):
        voices = sample_voices(random.Random(at), utterance)
        assert [voice.language for voice in voices] == [find_language(part.language).espeak for part in utterance.parts]
        speakers[len({replace(voice, language="") for voice in voices})] += 1
    assert speakers[1] > 30 and speakers[2] > 30


@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_worker_processes_give_the_same_sound(start):
    """Up to rounding: a worker computes in one thread. A spawned one is slow, for it imports everything once more."""
    ours = SpokenSet(4)
    here = [ours[index] for index in range(3)]
    loader = DataLoader(ours, batch_size=None, sampler=range(3), num_workers=1, multiprocessing_context=start)
    for one, other in zip(here, loader, strict=True):
        assert one.utterance == other.utterance and one.voices == other.voices
        torch.testing.assert_close(one.sound, other.sound, atol=1e-5, rtol=1e-4)
