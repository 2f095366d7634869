import random

import pytest
import torch
from safetensors.torch import load_file

from multimodal.assistant import load
from multimodal.core_states import CoreStates
from multimodal.nano.speech.utterances import scored
from multimodal.nano.stages import voice as stages
from multimodal.nano.voice import recordings as made
from multimodal.nano.voice.pitch import pitch_of
from multimodal.nano.voice.recordings import record, recordings
from multimodal.nano.voice.states import states_of
from multimodal.nano.voice.texts import Line, sample_answer, sample_line
from multimodal.training.loop import train
from tts.mel import HOP, SAMPLE_RATE_HZ
from tts.phones import PHONES


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder with few recordings."""
    folder = tmp_path_factory.mktemp("run")
    recordings(folder, number=130)
    recordings(folder, held_out=True, number=96)
    return folder


def test_pitch_is_measured_and_drawn_on():
    seconds = torch.arange(40 * HOP) / SAMPLE_RATE_HZ
    turns = (torch.where(seconds < 0.3, 110.0, 140.0) / SAMPLE_RATE_HZ).cumsum(0)
    wave = sum(torch.sin(2 * torch.pi * k * turns) / k for k in range(1, 12)) * 0.1
    wave[: 10 * HOP] = 0
    log_f0, voiced = pitch_of(wave, 60, 220)
    assert not voiced[:7].any() and voiced[13:38].all()
    torch.testing.assert_close(log_f0[[2, 14, 30]].exp(), torch.tensor([110.0, 110.0, 140.0]), rtol=0.02, atol=0)


@pytest.mark.parametrize(("speaker", "low", "high"), [("bass", 70, 140), ("alto", 150, 260)])
def test_a_recording_tells_of_its_phones(speaker, low, high):
    row = record(Line("a sea", "a sea", "en"), speaker, 175, 50)
    assert [PHONES[i] for i in row["ids"]] == ["ɐ", "s", "ˈiː", "|"]
    assert row["ending"].tolist() == [0, 2, 2, 2] and row["place"].tolist() == [0, 0, 1, 2]
    assert len(row["wave"]) == HOP * len(row["pitch"]) == HOP * len(row["voiced"])
    ends = row["start_s"] + row["log_s"].exp()
    torch.testing.assert_close(row["start_s"][1:], ends[:-1], rtol=0, atol=2e-3)
    assert low < row["log_f0"][2].exp() < high
    assert row["share"][1] < 0.5 < row["share"][2] and row["power"][2] > row["power"][3] + 1


def test_texts_are_for_training_or_held_out():
    rng = random.Random(0)
    training, held_out = ({scored(sample_line(rng, held).written, "en") for _ in range(150)} for held in (False, True))
    assert not training & held_out
    assert len({line.language for line in (sample_line(rng) for _ in range(300))}) > 20
    assert len(scored(sample_answer(rng), "en").split()) > 2


def test_recordings_are_read_back(run):
    some = recordings(run)
    assert len(some) == 130
    for number in (0, 7, 129):
        row = some[number]
        phones = {len(row[name]) for name in ("ids", "place", "ending", "start_s", "log_s", "log_f0", "power", "seen")}
        assert len(phones) == 1 and some.length(number) == len(row["pitch"])
        assert row["seen"].min() >= 1 and row["seen"].max() == len(row["states"]) and row["states"].shape[1] == 192


def test_states_are_those_that_speaking_computes():
    """One whole pass and one token at a time, with a cache, by the code that speaks."""
    nano = load("nano")
    text = "a small red circle at the top left"
    ends, states = states_of(nano.model, nano.processor.tokenizer, [text, "yes"])[0]
    stream = CoreStates(nano.model, nano.processor).start()
    ids = nano.processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    cached = torch.cat([stream.push(torch.tensor([[token]]))[0] for token in ids])
    assert ends[-1] == len(text)
    torch.testing.assert_close(states, cached, rtol=0, atol=1e-3)


@pytest.mark.parametrize("stage", [stages.VoiceAcousticStage, stages.VoiceVocoderStage, stages.VoiceProsodyStage])
def test_a_batch_is_a_function_of_the_step_and_a_step_helps(run, stage, monkeypatch):
    first, again = stage(run, steps=30), stage(run, steps=30)
    one, same, other = first.batch(3), again.batch(3), first.batch(4)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(one[name].shape != other[name].shape or not torch.equal(one[name], other[name]) for name in one)
    optimizer = torch.optim.Adam(first.model.parameters(), 3e-3)
    losses = []
    for _ in range(8):
        loss, _ = first.loss(one)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def test_the_variants_of_prosody_are_trained_apart(run):
    names = {stages.VoiceProsodyStage(run, with_states=a, streaming=b).name for a in (0, 1) for b in (0, 1)}
    assert len(names) == 4


@pytest.mark.slow
def test_a_run_exports_a_head(run, tmp_path):
    from multimodal.nano.voice.export import trained_head

    for stage in (stages.VoiceAcousticStage, stages.VoiceVocoderStage, stages.VoiceProsodyStage):
        train(stage(run, steps=2), run)
    head = trained_head(run)
    assert head.speakers == tuple(made.SPEAKERS) and head.config.speakers["bass"] < head.config.speakers["alto"]
    assert len(head.start().push(["a red circle"])[0]) == 0


def test_a_part_goes_on_from_its_final_weights(run, tmp_path):
    from multimodal.nano.train_on import train_on

    (tmp_path / "voice").symlink_to(run / "voice")
    stage = stages.VoiceVocoderStage(tmp_path, steps=2)
    with pytest.raises(ValueError, match="no weights to begin from"):
        train_on(tmp_path, stage.name, 2)
    final = train(stage, tmp_path)
    first = load_file(final)
    assert train_on(tmp_path, stage.name, 1) == final
    for _ in range(2):
        before = load_file(final.with_name("before.safetensors"))
        assert all(torch.equal(before[name], value) for name, value in first.items())
        again = stages.VoiceVocoderStage(tmp_path, steps=9, begin_from=final)
        assert torch.equal(again.batch(0)["wave"], stage.batch(3)["wave"])  # of 2 steps and 1 more
        assert 0 < max((load_file(final)[name] - value).abs().max() for name, value in first.items()) < 1e-3
        final.unlink()  # as if it had been killed: it goes on from what was before
        train_on(tmp_path, stage.name, 1)
    moved = []
    for how in ({}, {"rate": 1.0}):  # at half the rates, where nothing else is said
        final.unlink()
        after = load_file(train_on(tmp_path, stage.name, 1, **how))
        moved.append(max((after[name] - value).abs().max().item() for name, value in first.items()))
    assert moved[1] == pytest.approx(2 * moved[0], rel=0.02)
    with pytest.raises(ValueError, match="found stage 'core'"):
        train_on(tmp_path, "core", 2)
