"""What the harness builds itself: held out, the same each time, whole files, used again."""

import random
import re
from pathlib import Path

import pytest
import soundfile
import torch
from PIL import Image

from multimodal import load
from multimodal.evaluation import espeak34
from multimodal.evaluation.data import open_dataset
from multimodal.evaluation.processes import Processes
from multimodal.languages import LANGUAGES, find_language
from multimodal.nano.speech.rooms import Room
from multimodal.nano.speech.utterances import Part, Utterance, sample_utterance
from multimodal.nano.speech.voices import HELD_OUT_VARIANTS
from multimodal.nano.text.phrases import CODES, COUNTRIES, Item, is_held_out, say_all
from multimodal.nano.voice.written_forms import sentence
from speech.audio import open_sound


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def test_a_smaller_set_is_the_beginning_of_a_larger_one_whatever_the_languages(cache):
    few = open_dataset("asr", None, ["Hindi"], 2, cache=cache)
    more = open_dataset("asr", None, ["fr", "hi"], 3, cache=cache)
    assert [one for one in more if one.language == "Hindi"][:2] == list(few)
    assert [one.language for one in more] == ["French"] * 3 + ["Hindi"] * 3
    other = open_dataset("asr", None, ["Hindi"], 2, seed=1, cache=cache)
    assert {one.references for one in few}.isdisjoint(one.references for one in other)


def test_another_cache_gets_the_same_sounds(cache, tmp_path):
    for one, two in zip(
        open_dataset("asr", None, ["Thai"], 2, cache=cache),
        open_dataset("asr", None, ["th"], 2, cache=tmp_path),
        strict=True,
    ):
        assert one.audio.read_bytes() == two.audio.read_bytes()
        assert one.id == two.id and one.audio.name == two.audio.name


def test_sounds_are_made_once_and_whole(cache, monkeypatch):
    first = open_dataset("asr", None, ["Dutch"], 2, cache=cache)
    made = first.items[0].audio.stat().st_mtime_ns
    first.items[1].audio.unlink()
    again = open_dataset("asr", None, ["Dutch"], 2, cache=cache)
    assert again.items == first.items
    assert again.items[0].audio.stat().st_mtime_ns == made
    first.items[1].audio.unlink()
    write = soundfile.write

    def killed(part, *arguments, **options):
        write(part, *arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(soundfile, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        open_dataset("asr", None, ["Dutch"], 2, cache=cache)
    assert not first.items[1].audio.exists()
    assert not list(first.items[1].audio.parent.glob("*.part"))


def test_every_utterance_is_held_out_and_different():
    for code, some in espeak34.utterances("phrase", LANGUAGES, espeak34.UTTERANCES_A_LANGUAGE, 0).items():
        assert len({one.text for one in some}) == espeak34.UTTERANCES_A_LANGUAGE
        assert all(one.language == code and is_held_out(one.items) for one in some)


def test_voices_are_held_out_and_the_same_with_noise():
    one = sample_utterance(random.Random(0), held_out=True, kind="mixed")
    clean, noisy = (espeak34.recording(one, noisy, "x") for noisy in (False, True))
    assert {voice.variant for voice in clean.voices} <= set(HELD_OUT_VARIANTS)
    assert clean.voices == noisy.voices
    assert (clean.room.noise, noisy.room.snr_db) == ("none", 10.0) and noisy.room.noise in ("white", "pink")


def test_noise_is_10_db_below_the_speech(cache):
    for task, name in (("asr", "Hindi"), ("code-switch", "Czech")):
        pairs = [open_dataset(task, data, [name], 3, cache=cache) for data in ("espeak34", "espeak34-noise10")]
        for clean, noisy in zip(*pairs, strict=True):
            assert (clean.id, clean.references) == (noisy.id, noisy.references)
            speech, both = (open_sound(one.audio).samples for one in (clean, noisy))
            gain = (speech * both).sum() / speech.square().sum()  # each is brought to the same peak
            inside = slice(round(0.2 * 16_000), len(speech) - round(0.2 * 16_000))
            ratio = (gain * speech)[inside].square().mean() / (both - gain * speech).square().mean()
            assert 10 * torch.log10(ratio) == pytest.approx(10, abs=0.6)


def test_translations_are_of_what_is_transcribed(cache):
    heard = open_dataset("asr", None, ["Greek"], 2, cache=cache)
    into = open_dataset("ast-into-english", None, ["Greek"], 2, cache=cache)
    assert [one.audio for one in heard] == [one.audio for one in into]
    english = open_dataset("asr", None, ["English"], 2, cache=cache)
    out = open_dataset("ast-from-english", None, ["Greek", "Thai"], 2, cache=cache)
    assert [one.audio for one in english] * 2 == [one.audio for one in out]
    said = espeak34.utterances("phrase", [find_language("el"), find_language("en")], 2, 0)
    assert [one.references[0] for one in into] == [say_all(one.items, "en") for one in said["el"]]
    assert [one.references[0] for one in out] == [
        say_all(one.items, code) for code in ("el", "th") for one in said["en"]
    ]


def test_of_names_that_sound_alike_either_is_right():
    china, chinese = Item("country", COUNTRIES.index("CN")), Item("language", CODES.index("zh"))
    said = Utterance("Kiina", (Part("fi", "Kiina"),), "phrase", (china,))
    assert espeak34._right(said, "en") == (say_all([china], "en"), say_all([chinese], "en"))


def test_processes_make_a_share_of_the_sounds_each(tmp_path):
    there = []

    class Counting(Processes):
        def wait(self):
            there.append(len(list((tmp_path / str(self.rank)).rglob("*.flac"))))

    sets = [
        open_dataset("asr", None, ["el", "th"], 2, cache=tmp_path / str(rank), processes=Counting(rank, 3))
        for rank in range(3)
    ]
    assert there == [2, 1, 1]
    assert len({tuple((one.id, one.audio.name) for one in items) for items in sets}) == 1


def test_all_languages_are_those_that_a_task_has(cache):
    assert {one.language for one in open_dataset("asr", None, (), 1, cache=cache)} == {one.name for one in LANGUAGES}
    assert len(espeak34.languages_of("ast-into-english")) == len(CODES) - 1
    with pytest.raises(ValueError, match="espeak34 has no ast-into-english for English; accepted: Arabic"):
        open_dataset("ast-into-english", None, ["English"], 1, cache=cache)
    with pytest.raises(ValueError, match="no spoken-qa for French; accepted: English"):
        open_dataset("spoken-qa", None, ["French"], 1, cache=cache)


def test_a_sentence_that_switches_names_both_languages(cache):
    for one in open_dataset("code-switch", None, ["Polish"], 3, cache=cache):
        assert one.extra["languages"][0] == one.language == "Polish"
        assert one.extra["languages"][1] != "Polish"


def test_spoken_questions_are_the_written_ones_about_the_same_pictures(cache):
    spoken, written = (open_dataset(task, None, (), 4, cache=cache) for task in ("spoken-qa", "image-qa"))
    for heard, read in zip(spoken, written, strict=True):
        assert (heard.id, heard.images, heard.references, heard.prompt) == (read.id, read.images, read.references, None)
        assert heard.extra["transcript"] == read.prompt.replace("colour", "color")
        assert heard.extra["metric"] == read.extra["metric"] == "exact"
        assert open_sound(heard.audio).seconds == pytest.approx(heard.extra["duration_s"], abs=1e-3)
        Image.open(read.images[0]).load()
    assert written.name == "nano-pictures held out, seed 0"


def test_clips_are_files_with_questions(cache):
    clips = open_dataset("video-qa", None, (), 4, cache=cache)
    assert len(clips) == 4 and len({one.id for one in clips}) == 4
    assert all(one.video.stat().st_size > 500 and one.references[0] for one in clips)


def test_texts_to_say_are_different_and_several_kinds(cache):
    texts = [one.prompt for one in open_dataset("tts-intelligibility", None, cache=cache)]
    assert len(set(texts)) == 60
    assert any(" on the left" in text for text in texts) and any(text.count(" ") == 0 for text in texts)


def test_written_forms_are_held_out_sentences_and_how_they_are_said(cache):
    some = open_dataset("text-normalization", None, (), 40, cache=cache)
    assert [(one.prompt, one.references) for one in some] == [
        (one.written, (one.spoken,)) for one in (sentence(at, held_out=True) for at in range(40))
    ]
    assert sum(one.prompt != one.references[0] for one in some) > 20


@pytest.mark.slow
def test_the_longest_right_answer_fits_twice_into_what_make_evaluate_allows():
    """A model that hears badly may never end its answer: the limit decides how long the run takes."""
    tokenizer = load().processor.tokenizer
    makefile = (Path(__file__).parents[3] / "Makefile").read_text()
    limit = int(re.search(r"--max-new-tokens (\d+)", makefile)[1])
    said = [espeak34.utterances(kind, LANGUAGES, espeak34.UTTERANCES_A_LANGUAGE, 0) for kind in ("phrase", "mixed")]
    texts = [one.text for some in said for of_language in some.values() for one in of_language]
    texts += [say_all(one.items, code) for one in said[0]["en"] for code in CODES]
    longest = max(len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"])
    assert 2 * longest <= limit <= 3 * longest


def test_a_recording_is_named_after_all_that_makes_it(tmp_path):
    one = sample_utterance(random.Random(1), held_out=True, kind="phrase")
    recording = espeak34.recording(one, False, "x")
    louder = espeak34.Recording(one, recording.voices, Room(**{**vars(recording.room), "peak": 0.25}))
    assert recording.file(tmp_path) == recording.file(tmp_path) != louder.file(tmp_path)
    assert open_sound(louder.file(tmp_path)).samples.abs().max() == pytest.approx(0.25, abs=1e-3)
