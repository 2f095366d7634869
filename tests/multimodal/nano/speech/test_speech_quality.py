"""What nano's ears are measured on is unseen, the scores are right, and the shipped ears score what was measured."""

import json
from pathlib import Path

import pytest
import torch

import multimodal
from multimodal.assistant import NANO
from multimodal.config import SpeechConfig
from multimodal.languages import LANGUAGES
from multimodal.nano import quality as seen
from multimodal.nano.speech import held_out, other_voices, quality
from multimodal.nano.speech.held_out import held_out_mixed, held_out_phrases, noise_alone, recorded, translations
from multimodal.nano.speech.utterances import Part, Utterance
from multimodal.nano.speech.voices import HELD_OUT_VARIANTS, TRAINING_VARIANTS
from multimodal.nano.text.phrases import Item, is_held_out, say_all
from tests.multimodal.tiny_assistant import tiny_assistant

# What the shipped ears must reach: a little over (errors) and under (shares) what was measured. The goals:
# clean 0.02 and no language above 0.06, noisy 0.06, translations 0.85 and no language under 0.65, questions 0.9 of
# those in writing.
CLEAN_CER = 0.05
WORST_CLEAN_CER = 0.13
NOISY_CER = 0.23
INTO_ENGLISH = 0.72
WORST_INTO_ENGLISH = 0.53
FROM_ENGLISH = 0.7
WORST_FROM_ENGLISH = 0.14
SPOKEN_QUESTIONS = 0.93  # of the accuracy of those in writing

# What `python -m multimodal.nano.speech.quality --json` wrote of the shipped weights.
FIGURES = NANO / "speech_figures.json"

EARS = SpeechConfig(
    encoder_keywords=dict(num_mels=80, width=16, layers=1, heads=2, ffn_dim=24, kernel=7),
    adapter_keywords=dict(width=16, num_heads=2, ffn_dim=24),
)


@pytest.fixture(scope="module")
def tiny() -> multimodal.Assistant:
    assistant = tiny_assistant(speech_config=EARS)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in assistant.model.named_parameters():
            if name.startswith(("speech.", "speech_adapter.")):
                parameter.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.3)
    return assistant


def said(text: str, code: str) -> Utterance:
    return Utterance(text, (Part(code, text),), "phrase")


# What is said


def test_every_language_has_as_many_different_unseen_phrases():
    phrases = held_out_phrases(6)
    assert [one.language for one in phrases] == [language.code for language in LANGUAGES for _ in range(6)]
    assert all(is_held_out(one.items) for one in phrases)
    assert len({(one.language, one.text) for one in phrases}) == len(phrases)
    few = held_out_phrases(2)
    assert quality.first_of_each(phrases, phrases, 2) == few and held_out_phrases(2, seed=1) != few


def test_mixed_lists_are_unseen_and_stand_by_language():
    lists = held_out_mixed(20)
    assert len({one.text for one in lists}) == 20 and all(is_held_out(one.items) for one in lists)
    assert all(len(one.parts) == 2 for one in lists)
    assert [one.language for one in lists] == sorted(one.language for one in lists)


def test_an_utterance_sounds_the_same_each_time_and_in_held_out_voices(monkeypatch):
    voices = []
    read_aloud = held_out.read_aloud
    monkeypatch.setattr(held_out, "read_aloud", lambda text, voice: voices.append(voice) or read_aloud(text, voice))
    for one in held_out_phrases(1)[:4]:
        (clean, rate), (noisy, _) = recorded(one), recorded(one, 10.0)
        assert rate == 16_000 and torch.equal(clean, recorded(one)[0]) and torch.equal(noisy, recorded(one, 10.0)[0])
        assert clean.shape == noisy.shape == noise_alone(one)[0].shape
        assert not torch.equal(clean, noisy)
    assert {voice.variant for voice in voices} <= set(HELD_OUT_VARIANTS) and len({v.variant for v in voices}) > 1
    assert not {voice.variant for voice in voices} & set(TRAINING_VARIANTS)


def test_a_name_that_sounds_like_another_may_be_translated_as_either():
    language = Item("language", [one.code for one in LANGUAGES].index("zh"))
    finnish = Utterance(say_all((language,), "fi"), (Part("fi", say_all((language,), "fi")),), "phrase", (language,))
    assert translations(finnish, "en") == {"China", "Chinese"}
    german = Utterance(say_all((language,), "de"), (Part("de", say_all((language,), "de")),), "phrase", (language,))
    assert translations(german, "en") == {"Chinese"}


# The scores


def test_errors_count_what_can_be_heard():
    utterances = [said("Kiina, Ruotsi", "fi"), said("March 3, 1999", "en")]
    assert quality.errors(utterances, ["kiina ruotsi", "march 3 1999"]) == {"cer": 0, "wer": 0, "utterances": 2}
    wrong = quality.errors(utterances, ["kiina ruotsin", "march 3 1999"])
    assert wrong["cer"] == pytest.approx(1 / 24) and wrong["wer"] == pytest.approx(1 / 5)
    assert quality.errors(utterances, ["", ""])["cer"] == 1


def test_languages_count_alike_and_the_worst_is_named():
    utterances = [said("ab", "fi"), said("abcd", "fi"), said("abcdefgh", "en")]
    found = quality.by_language(utterances, ["ab", "abcx", "abcdefgh"])
    assert found["cer"] == pytest.approx(1 / 12)  # the mean of 1/6 and 0, not 1/14
    assert (found["worst"], found["worst_cer"]) == ("Finnish", pytest.approx(1 / 6))
    assert found["languages"]["English"] == {"cer": 0, "wer": 0, "utterances": 1}


def test_translations_are_exact_to_the_letter_and_sorted_by_the_other_language():
    [phrase] = [one for one in held_out_phrases(1) if one.language == "de"]
    [right] = translations(phrase, "en")
    wanted = [(phrase, "en"), (phrase, "en"), (phrase, "fr")]
    texts = [f" {right}\n", right.lower(), say_all(phrase.items, "fr")]
    assert quality.exact(wanted, texts, of_source=True)["languages"] == {"German": pytest.approx(2 / 3)}
    found = quality.exact(wanted, texts, of_source=False)
    assert found["languages"] == {"English": 0.5, "French": 1.0}
    assert (found["exact"], found["worst"], found["worst_exact"]) == (0.75, "English", 0.5)


def test_sounds_go_through_the_public_face_in_their_order(tiny):
    some = [(one, one.language) for one in held_out_phrases(1)[:3]]
    some.append(some[0])
    found = quality.write_down(tiny, some, recorded, "test")
    assert found == [tiny.transcribe(recorded(one), language=code) for one, code in some]
    into = quality.write_down(tiny, [(some[1][0], "fr")], recorded, "test", translate=True)
    assert into == [tiny.translate(recorded(some[1][0]), into="French")]


def test_spoken_questions_are_those_of_asking_one_by_one(tiny):
    sheets = seen.held_out_sheets(1)[:2]
    together = quality.ask_aloud(tiny, sheets, recorded, "test")
    alone = [
        tiny.ask(
            image=seen.held_out_file(sheet),
            audio=recorded(held_out.spoken_question(question.text)),
            max_new_tokens=seen.MAX_NEW_TOKENS,
        ).text
        for sheet in sheets
        for question in sheet.questions
    ]
    assert together == alone and len(set(alone)) > 1


def test_only_a_few_sounds_are_in_memory(tiny):
    made = []

    def sound_of(one):
        made.append(one)
        return recorded(one)

    texts = quality._texts(tiny, [(one, "en") for one in held_out_phrases(1)], sound_of, False)
    next(texts)
    assert len(made) <= 2 * quality.BATCH


@pytest.mark.slow
def test_everything_is_measured_and_told(tiny):
    figures = quality.measure(tiny, utterances=1, mixed=2, questions=1)
    languages = {language.name for language in LANGUAGES}
    for name in ("clean", "noisy", "blind"):
        assert set(figures["transcription"][name]["languages"]) == languages
    for name in ("into English", "from English"):
        assert set(figures["translation"][name]["languages"]) == languages - {"English"}
    assert json.loads(json.dumps(figures)) == figures
    for table in quality.tables(figures):
        assert table.row_count


def test_a_model_without_ears_is_refused():
    with pytest.raises(ValueError, match="found a model without a speech encoder"):
        quality.measure(tiny_assistant(), 1)


# Voices that are not espeak-ng


def test_other_voices_are_those_installed_and_none_is_an_error(monkeypatch):
    monkeypatch.setattr(other_voices.shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="found none of the programs flite, festival and pico2wave"):
        other_voices.installed_voices()


def test_other_voices_say_nanos_english(tiny):
    try:
        voices = other_voices.installed_voices()
    except ValueError as error:
        pytest.skip(str(error))
    assert not any(name.endswith("awb_time") for name in voices)
    utterances = other_voices.english_utterances(4)
    assert {one.kind for one in utterances} == {"phrase", "question"} and {one.language for one in utterances} == {"en"}
    for say in voices.values():
        samples, rate = say("How many circles are there?")
        assert rate == 16_000 and 1 < len(samples) / rate < 4 and 0.05 < samples.abs().max() <= 1


def test_words_recognised_are_a_share_of_the_words_said(tiny):
    utterances = other_voices.english_utterances(2)
    found = other_voices.measure_voice(tiny, utterances, recorded, "espeak")
    assert found["utterances"] == 2 and found["recognised"] == 0 and found["wer"] > 0.5  # it writes single letters


# The shipped ears


@pytest.fixture(scope="module")
def figures() -> dict:
    return json.loads(FIGURES.read_text("utf-8"))


def test_the_figures_shipped_are_those_of_the_weights_and_good_enough(figures):
    assert figures["weights"] == seen.weight_hashes(NANO)
    heard, told = figures["transcription"], figures["translation"]
    assert min(one["utterances"] for one in heard["clean"]["languages"].values()) >= quality.UTTERANCES
    assert len(heard["clean"]["languages"]) == len(LANGUAGES)
    for name, found, most in (
        ("clean", heard["clean"]["cer"], CLEAN_CER),
        ("worst clean", heard["clean"]["worst_cer"], WORST_CLEAN_CER),
        ("noisy", heard["noisy"]["cer"], NOISY_CER),
    ):
        assert found <= most, name
    for name, found, least in (
        ("into English", told["into English"]["exact"], INTO_ENGLISH),
        ("worst into English", told["into English"]["worst_exact"], WORST_INTO_ENGLISH),
        ("from English", told["from English"]["exact"], FROM_ENGLISH),
        ("worst from English", told["from English"]["worst_exact"], WORST_FROM_ENGLISH),
        ("questions", figures["questions"]["ratio"], SPOKEN_QUESTIONS),
    ):
        assert found >= least, name
    for side in ("clean", "noisy"):  # it hears: to noise alone it would have said the same
        assert heard[side]["cer"] < 0.5 * heard["blind"]["cer"]
    assert figures["questions"]["spoken"] > figures["questions"]["blind"]


def test_nano_hears_a_sample_as_well_as_its_figures_say(figures):
    phrases = held_out_phrases(quality.SAMPLE_UTTERANCES)
    wanted = [(one, one.language) for one in phrases]
    texts = quality.write_down(multimodal.load("nano", device="cpu"), wanted, recorded, "sample")
    found = quality.errors(phrases, texts)
    assert found["utterances"] == figures["transcription"]["sample"]["utterances"]
    for rate in ("cer", "wer"):  # another processor may round a few letters otherwise
        assert found[rate] == pytest.approx(figures["transcription"]["sample"][rate], abs=0.02), rate


def test_nano_hears_the_spoken_example():
    folder = Path(__file__).parents[4] / "examples"
    nano = multimodal.load("nano", device="cpu")
    written = nano.ask("What color is the star?", image=folder / "scene.png").text
    assert nano.ask(audio=folder / "question.wav", image=folder / "scene.png").text == written
    assert nano.transcribe(folder / "question.wav", language="English") == "What color is the star?"
