"""The data of text normalisation, the stage that learns it, and the tagger that is shipped."""

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

import multimodal
from multimodal.assistant import NANO
from multimodal.core_states import CoreStates
from multimodal.nano.recipe import STAGES
from multimodal.nano.stages import normalizer as stage
from multimodal.nano.voice.export import export_voice, trained_head
from multimodal.nano.voice.normalization_quality import interval
from multimodal.nano.voice.written_forms import NUM_HELD_OUT, NUM_TRAINED, _frames, _words, sentence
from multimodal.nano.voice.written_frames import FRAMES, WORDS
from tts.head import load_head, save_head
from tts.rules import LABELS, say, spoken_form
from tts.spoken_text import joined

MEASURED_ON = 500  # held-out sentences
AT_LEAST = 0.78  # measured over 5,000: 85.5%


@pytest.fixture(scope="module")
def nano():
    return multimodal.load("nano")


# The data.


def test_sentences_are_numbered_and_enough():
    assert sentence(7) == sentence(7) != sentence(7, held_out=True) != sentence(7, seed=1)
    assert NUM_TRAINED >= 48_000
    assert NUM_HELD_OUT >= 5_000


def test_frames_and_words_of_training_are_not_held_out():
    for group in FRAMES:
        assert not set(_frames(group, True)) & set(_frames(group, False)), group
        told = [{frame for _, frame in _frames(group, side)} for side in (False, True)]
        assert not told[0] & told[1] and len(told[0]) >= 3 * len(told[1]), group
    for category in set(WORDS) - {"mid"}:
        assert _words(category, True)
        assert not set(_words(category, True)) & set(_words(category, False)), category
    trained = {sentence(at).written for at in range(1500)}
    assert not trained & {sentence(at, held_out=True).written for at in range(1500)}


def test_every_rule_of_the_data_occurs_on_both_sides():
    sides = [{label for at in range(1200) for label in sentence(at, held_out).labels} for held_out in (False, True)]
    assert sides[0] == sides[1] >= set(LABELS) - {"silent"}


def test_labels_say_what_is_spoken():
    for at in range(200):
        one = sentence(at)
        assert len(one.labels) == len(one.tokens)
        assert say(one.tokens, one.labels, "en") == one.spoken
        assert not any(sign.isdigit() for sign in one.spoken), one


def test_one_form_is_read_in_more_than_one_way():
    readings: dict[str, set[str]] = {}
    for at in range(4000):
        one = sentence(at)
        for token, label in zip(one.tokens, one.labels, strict=True):
            readings.setdefault(token.text, set()).add(label)
    assert len(readings["St"]) == 2
    assert len(readings["IV"]) == 3
    assert len(readings["5"]) >= 10


# The states.


def test_states_as_the_text_comes_are_those_of_training(nano):
    one = sentence(3)
    row = stage.encode([sentence(2), one, sentence(4)])[1]
    stream = CoreStates(nano.model, nano.processor).start()
    ids = nano.processor.tokenizer(one.written, add_special_tokens=False)["input_ids"]
    states = torch.cat([stream.push(torch.tensor([[token]]))[0] for token in ids])
    torch.testing.assert_close(states, row.states.float(), atol=0.02, rtol=2e-3)


# The stage.


def test_a_stage_learns_and_its_batches_are_functions_of_the_step(tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "_CHUNK", 64)
    monkeypatch.setattr(stage, "NUM_TRAINED", 64)
    rows = [stage.encode([sentence(at) for at in range(64)])] * 2
    monkeypatch.setattr(stage, "encoded", lambda run, held_out, count: rows[held_out])
    for name in stage.VARIANTS:
        one = stage.NormalizerStage(name, tmp_path, steps=30)
        assert torch.equal(one.batch(5)["ids"], one.batch(5)["ids"])
        optimizer = torch.optim.AdamW(one.model.parameters(), lr=4e-3)
        losses = []
        for step in range(8):
            loss, _ = one.loss(one.batch(step))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.75 * losses[0]
        assert 0 <= one.evaluate()["sentences"] <= 1


def test_states_are_kept_and_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "_CHUNK", 8)
    first = stage.encoded.__wrapped__(tmp_path, True, 16)
    assert len(list((tmp_path / "voice-normalizer-states").iterdir())) == 2
    monkeypatch.setattr(stage, "_encode", None)  # nothing is computed again
    again = stage.encoded.__wrapped__(tmp_path, True, 16)
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.states, other.states)
        assert torch.equal(one.owners, other.owners)


def test_the_recipe_has_the_stage():
    assert "voice-normalizer" in STAGES


# What is shipped.


@pytest.fixture(scope="module")
def shipped():
    return load_head(NANO / "voice.json", NANO / "voice.safetensors")


def test_the_shipped_tagger_reads_held_out_sentences(shipped):
    sentences = [sentence(at, held_out=True) for at in range(MEASURED_ON)]
    told = stage.said(shipped.normalizer, sentences, stage.encode(sentences))
    right = sum(one.spoken == form for one, form in zip(sentences, told, strict=True))
    assert right / MEASURED_ON >= AT_LEAST


def as_it_comes(model, nano, text):
    """A text token by token, with the core's states as they come."""
    core, stream, said, place = CoreStates(nano.model, nano.processor).start(), model.start("en"), [], 0
    coded = nano.processor.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    for token, (_, end) in zip(coded["input_ids"], coded["offset_mapping"], strict=True):
        said += stream.push(text[place:end], core.push(torch.tensor([[token]]))[0, 0])
        place = end
    return joined(said + stream.flush())


def test_the_shipped_tagger_speaks_with_the_core(nano, shipped):
    """Token by token: the same words as for the whole."""
    for at in range(12):
        one = sentence(at, held_out=True)
        whole = stage.said(shipped.normalizer, [one], stage.encode([one]))[0]
        assert as_it_comes(shipped.normalizer, nano, one.written) == whole


@pytest.mark.parametrize("text", ["2 plus 10 is 12.", "How much is 0 plus 14?", "7", "The text 1.", "I see 3 rings."])
def test_the_shipped_tagger_says_the_numbers_of_nano(nano, shipped, text):
    assert as_it_comes(shipped.normalizer, nano, text) == spoken_form(text, "en")


def test_a_tagger_of_other_rules_is_refused(tmp_path):
    config = json.loads((NANO / "voice.json").read_text())
    config["labels"].reverse()
    (tmp_path / "voice.json").write_text(json.dumps(config))
    shutil.copy(NANO / "voice.safetensors", tmp_path)
    with pytest.raises(ValueError, match="another list of rules"):
        load_head(tmp_path / "voice.json", tmp_path / "voice.safetensors")


def test_a_tagger_trained_alone_changes_nothing_of_the_sound(tmp_path, shipped):
    run, folder = tmp_path / "run", tmp_path / "nano"
    (run / "voice-normalizer").mkdir(parents=True)
    folder.mkdir()
    tagger = {name: torch.full_like(value, 0.5) for name, value in shipped.normalizer.state_dict().items()}
    save_file(tagger, run / "voice-normalizer" / "final.safetensors")
    save_head(shipped, folder / "voice.json", folder / "voice.safetensors")
    export_voice(run, folder)
    again = load_head(folder / "voice.json", folder / "voice.safetensors").state_dict()
    for name, value in shipped.state_dict().items():
        assert torch.equal(again[name], torch.full_like(value, 0.5) if name.startswith("normalizer.") else value), name
    with pytest.raises(ValueError, match="no trained acoustic and vocoder and prosody"):
        trained_head(run)


# The figures.


def test_an_interval_holds_the_mean_and_narrows_with_frames_alone():
    def of(frames: int, sentences: int) -> tuple[float, float, float]:
        values = torch.arange(frames).remainder(4).eq(0).float().repeat_interleave(sentences)
        return interval(values, [str(frame) for frame in range(frames) for _ in range(sentences)])

    mean, low, high = of(100, 1)
    assert mean == 0.25
    assert 0.14 < low < 0.2 < 0.3 < high < 0.36
    assert of(100, 20) == pytest.approx((mean, low, high))
    assert of(1600, 1)[2] - of(1600, 1)[1] < 0.4 * (high - low)
