import ctypes
import gc
import random
import time

import pytest
import torch

from multimodal.languages import LANGUAGES, find_language
from multimodal.nano.speech import synthesiser
from multimodal.nano.speech.synthesiser import SYNTHESIS_RATE_HZ, Voice, resampled, say, variants
from multimodal.nano.speech.utterances import UNSAID, as_read
from multimodal.nano.speech.voices import HELD_OUT_VARIANTS, TRAINING_VARIANTS
from multimodal.nano.text.phrases import KINDS, Item, phrase_table
from multimodal.nano.text.phrases import say as write

ITEMS = (Item("date", date=(12, 3, 1985)), Item("country", 5), Item("language", 5), Item("number", 347))


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
def test_every_language_makes_differing_sound_of_a_likely_length(language):
    sounds = []
    for item in ITEMS:
        text = as_read(write(item, language.code), language.code)
        samples = say(text, Voice(language.espeak)).samples
        assert samples.dtype == torch.float32 and samples.ndim == 1 and samples.isfinite().all()
        assert samples.square().mean().sqrt() > 0.01 and samples.abs().max() < 1
        assert 0.2 < len(samples) / SYNTHESIS_RATE_HZ < 6
        sounds.append(samples)
    assert len({sound.numpy().tobytes() for sound in sounds}) == len(sounds)


def heap_in_use():
    """Bytes that C's library has given out and not got back: small pieces and large ones."""

    class Info(ctypes.Structure):
        _names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
        _fields_ = [(name, ctypes.c_size_t) for name in _names]

    ask = ctypes.CDLL(None).mallinfo2
    ask.restype = Info
    info = ask()
    return info.uordblks + info.hblkhd


def grown(text, voice):
    before = heap_in_use()
    say(text, voice)
    return heap_in_use() - before


@pytest.mark.parametrize("code", ["zh", "ja", "fr", "ar", "bn", "vi", "th", "fa"])  # those that are respelled
def test_no_name_is_read_in_another_language(code):
    """For a sign that it lacks a voice opens a second language, which the library never gives back."""
    voice = Voice(find_language(code).espeak, rate_wpm=450)
    items = [Item(kind, at) for kind in KINDS for at in range(len(phrase_table()[code][kind]))]
    names = [as_read(write(item, code), code) for item in items if (code, item) not in UNSAID]
    say(names[0], voice)
    assert grown(". ".join(names), voice) < 50_000


def test_a_second_language_is_noticed():
    say("匈牙利", Voice("cmn"))
    assert grown("匈牙利", Voice("cmn")) > 50_000


@pytest.mark.parametrize(
    ("code", "written", "read"),
    [("fr", "Éthiopie", "Étiopie"), ("bn", "চেকিয়া", "চেকি\N{BENGALI LETTER YYA}া"), ("zh", "1985年", "一九八五年")],
)
def test_respelling_changes_the_sound(code, written, read):
    assert as_read(written, code) == read
    voice = Voice(find_language(code).espeak)
    assert [one.name for one in say(written, voice).phonemes] != [one.name for one in say(read, voice).phonemes]


def test_german_days_are_ordinals():
    def phonemes(text):
        return "".join(one.name for one in say(text, Voice("de")).phonemes)

    text = write(Item("date", date=(12, 3, 1985)), "de")
    assert "12. März" in text and "tsvˈœlftə" in phonemes(as_read(text, "de"))
    assert "tsvˈœlftə" not in phonemes(text)


@pytest.mark.parametrize("name", ["fr-fr", "xx", "../ja", "en-us+f2", "gmw/en-US+f2"])
def test_unknown_voice_is_refused_and_the_one_before_not_used(name):
    before = say("bonjour", Voice("fr", "f2")).samples
    with pytest.raises(ValueError, match="no voice '" + name.replace("+", r"\+")):
        say("bonjour", Voice(name))
    assert torch.equal(say("bonjour", Voice("fr", "f2")).samples, before)


def test_unknown_variant_is_refused():
    with pytest.raises(ValueError, match=r"no voice 'en-us\+nope'; its variants are .*Andy"):
        say("hello", Voice("en-us", "nope"))


@pytest.mark.parametrize(
    ("field", "value"), [("rate_wpm", 79), ("rate_wpm", 451), ("pitch", 100), ("pitch_range", -1), ("volume", 201)]
)
def test_numbers_that_the_library_would_bend_are_refused(field, value):
    with pytest.raises(ValueError, match=f"{field} of a voice is {value}"):
        Voice("en-us", **{field: value})


@pytest.mark.parametrize("text", ["", " \n", "one\0two"])
def test_a_text_without_words_is_refused(text):
    with pytest.raises(ValueError, match="needs words"):
        say(text, Voice("en-us"))


def test_a_text_that_makes_no_sound_is_refused():
    with pytest.raises(ValueError, match="makes no sound of"):
        say(",", Voice("en-us"))


@pytest.mark.parametrize("variant", ["", "klatt2", "whisper", "f2"])  # noise, flutter: whatever keeps a state
def test_same_words_same_bits_whatever_was_said_before(variant):
    voice = Voice("en-us", variant)
    first = say("What color is the star?", voice).samples
    say("Something else, at length.", Voice("de", "klatt4", rate_wpm=300, pitch=90))
    assert torch.equal(say("What color is the star?", voice).samples, first)


def test_the_noise_does_not_depend_on_the_clock():
    """The library seeds its noise with the second of the day: two calls more than one apart."""
    first = say("she sells sea shells", Voice("en-us", "whisper")).samples
    time.sleep(1.1)
    assert torch.equal(say("she sells sea shells", Voice("en-us", "whisper")).samples, first)


def test_every_setting_changes_the_sound():
    settings = [{}, {"rate_wpm": 220}, {"pitch": 80}, {"pitch_range": 90}, {"volume": 40}, {"variant": "f2"}]
    sounds = [say("What color is the star?", Voice("en-us", **setting)).samples for setting in settings]
    assert len({sound.numpy().tobytes() for sound in sounds}) == len(sounds)
    assert len(sounds[1]) < 0.9 * len(sounds[0])


def test_every_variant_that_is_used_exists_and_speaks():
    assert set(TRAINING_VARIANTS + HELD_OUT_VARIANTS) <= variants()
    sounds = [say("Monday", Voice("en-us", one)).samples for one in TRAINING_VARIANTS + HELD_OUT_VARIANTS]
    assert all(sound.square().mean().sqrt() > 0.005 for sound in sounds)
    assert len({sound.numpy().tobytes() for sound in sounds}) == len(sounds)


@pytest.mark.parametrize("code", ["en", "ru", "ja", "hi", "zh"])
def test_events_are_in_order_and_within_the_sound(code):
    language = find_language(code)
    items = (Item("country", 13), Item("language", 8), Item("weekday", 2))
    text = as_read(", ".join(write(item, code) for item in items), code)
    speech = say(text, Voice(language.espeak))
    seconds = len(speech.samples) / SYNTHESIS_RATE_HZ
    for events in (speech.phonemes, speech.words):
        times = [event.time_s for event in events]
        assert len(times) >= 3 and times == sorted(times) and times[0] >= 0 and times[-1] <= seconds
    assert sum(phoneme.name == "" for phoneme in speech.phonemes) >= 2  # at the commas
    starts = [word.start for word in speech.words]
    assert starts == sorted(starts) and all(0 <= w.start < w.start + w.length <= len(text) for w in speech.words)


def test_words_are_where_the_text_has_them():
    text = "Привет, мир and more"
    cut = [text[word.start : word.start + word.length] for word in say(text, Voice("ru")).words]
    assert cut == ["Привет", "мир", "and", "more"]


def test_phonemes_follow_the_sound():
    speech = say("a sea", Voice("en-us"))
    start, end = (next(p.time_s for p in speech.phonemes if p.name.strip("ˈˌ") == name) for name in ("s", "iː"))
    hiss = speech.samples[round(start * SYNTHESIS_RATE_HZ) : round(end * SYNTHESIS_RATE_HZ)]
    power = torch.fft.rfft(hiss * torch.hann_window(len(hiss))).abs().square()
    assert power[len(power) * 3500 // (SYNTHESIS_RATE_HZ // 2) :].sum() > 0.7 * power.sum()


def test_resampling_keeps_length_and_loudness():
    time = torch.arange(SYNTHESIS_RATE_HZ) / SYNTHESIS_RATE_HZ
    tone = torch.sin(2 * torch.pi * 440 * time)
    at_16_khz = resampled(tone)
    assert len(at_16_khz) == 16_000
    torch.testing.assert_close(
        at_16_khz[500:-500], torch.sin(2 * torch.pi * 440 * torch.arange(16_000) / 16_000)[500:-500], rtol=0, atol=2e-3
    )


def test_without_espeak_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(synthesiser.importlib.util, "find_spec", lambda name: None)
    synthesiser._folder.cache_clear()
    try:
        with pytest.raises(ValueError, match=r"multimodal-llama\[espeak\]"):
            say("hello", Voice("en-us"))
    finally:
        synthesiser._folder.cache_clear()


def test_a_library_in_use_elsewhere_is_refused():
    path = str(synthesiser._folder() / "libespeak-ng.so")
    library = ctypes.CDLL(path)
    try:
        with pytest.raises(RuntimeError, match="in use elsewhere"):
            say("hello", Voice("en-us"))
    finally:
        synthesiser._this_process().dlclose(library._handle)
    assert len(say("hello", Voice("en-us")).samples)


def test_memory_does_not_grow():
    rng = random.Random(0)
    voices = [Voice(rng.choice(LANGUAGES).espeak, rng.choice(TRAINING_VARIANTS)) for _ in range(20)]
    voices.append(Voice("en-us"))  # found by listing all voices
    after = []
    for _ in range(4):
        for voice in voices:
            say("1 2", voice)
        gc.collect()
        after.append(heap_in_use())
    assert after[3] - after[1] < 10_000  # in forty utterances
