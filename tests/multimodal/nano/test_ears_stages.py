"""The stages of nano's ears: what they are trained on, and that the shipped model will hear the same."""

import random
from collections import Counter
from pathlib import Path

import jiwer
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import LlamaForCausalLM

import multimodal
from multimodal.nano.compose import compose_nano, nano_config, places_weights
from multimodal.nano.recipe import SHARDS, export
from multimodal.nano.speech import misspelling
from multimodal.nano.speech.letters import letters, read, spelled
from multimodal.nano.speech.misspelling import misspelled
from multimodal.nano.speech.spoken_set import Spoken
from multimodal.nano.speech.utterances import scored
from multimodal.nano.stages import speech_adapter
from multimodal.nano.stages.core import core_config
from multimodal.nano.stages.ears import (
    HEARINGS,
    STEPS_A_GROUP,
    BestRqStage,
    Speller,
    SpellingStage,
    hear,
    heard,
    heard_again,
    utterances,
)
from multimodal.nano.stages.speech_adapter import SpeechAdapterStage
from multimodal.nano.stages.speech_places import SpeechPlacesStage
from multimodal.nano.stages.speech_tasks import (
    AnswerRows,
    answer,
    answer_rows,
    sample_task,
    transcription,
    translation,
)
from multimodal.nano.stages.tokenizer import train_tokenizer
from multimodal.nano.stages.trunk import build_model
from multimodal.training.loop import train
from multimodal.transcription import transcribe


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The folder of a run whose core is random, and whose BEST-RQ had two steps."""
    out = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    core = LlamaForCausalLM(core_config(train_tokenizer(out))).state_dict()
    parts = {"core": {name: value for name, value in core.items() if name != "lm_head.weight"}}
    parts["speech-encoder"], parts["trunk"] = Speller().state_dict(), build_model().state_dict()
    for name, weights in parts.items():
        (out / name).mkdir()
        save_file(weights, out / name / "final.safetensors", {"steps": "0"})
    config = nano_config(core_config(train_tokenizer(out)))
    eyes = {name: value for name, value in compose_nano(config, out).state_dict().items() if name.startswith("image")}
    (out / "image-adapter").mkdir()
    save_file(eyes, out / "image-adapter" / "final.safetensors", {"steps": "0"})
    train(BestRqStage(steps=2), out, eval_every=1000)
    return out


@pytest.fixture(scope="module")
def stage(run) -> SpeechAdapterStage:
    tokenizer = train_tokenizer(run)
    places = SpeechPlacesStage(tokenizer, core_config(tokenizer), run, steps=2)
    train(places, run, eval_every=1000)
    stage = SpeechAdapterStage(tokenizer, core_config(tokenizer), run, steps=10)
    stage.model.eval()
    return stage


def answered(stage: SpeechAdapterStage, spoken: list[Spoken]) -> tuple[AnswerRows, Tensor]:
    """The rows in which these are transcribed, and the core's logits before the answers' tokens."""
    told = heard(spoken)
    letters = stage._letters(told.features, told.frames)
    x, keep = stage.model.speech_adapter(letters, stage.model.core.get_input_embeddings().weight)
    clips = [clip[there] for clip, there in zip(x, keep, strict=True)]
    tasks = [transcription(one) for one in told.utterances]
    place = stage.model.config.speech_place_id
    rows = answer_rows(stage._tokenizer, stage._encoder, place, tasks, list(map(len, clips)))
    return rows, answer(stage.model, rows.ids, rows.at, clips)


def test_every_letter_of_an_utterance_can_be_spelled_and_read(stage):
    for one in utterances(stage._set, 3) + utterances(stage._held_out, 3):
        target = spelled(one.utterance.text, one.utterance.language)
        text = scored(one.utterance.text, one.utterance.language)
        frames = torch.stack([target, torch.zeros_like(target)], 1).flatten()  # a blank after each letter
        assert read(torch.nn.functional.one_hot(frames, len(letters()) + 1)) == text


def test_the_encoder_begins_with_what_best_rq_learnt_and_learns_to_spell(run):
    stage = SpellingStage(run, steps=8)
    begun = Speller().conformer.state_dict()
    assert all(
        not torch.equal(begun[n], v) for n, v in stage.model.conformer.state_dict().items() if n.endswith("qkv.weight")
    )
    batch = stage.batch(0)
    optimizer = torch.optim.AdamW(stage.model.parameters(), lr=2e-3)
    losses = []
    for _ in range(6):
        loss, _ = stage.loss(batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_each_utterance_is_heard_as_often_as_every_other(run):
    steps = 100 * STEPS_A_GROUP * HEARINGS
    times = Counter(heard_again(step) for step in range(steps))
    inner = [made for made in times if 0 <= made < 60 * STEPS_A_GROUP]
    assert len(inner) == 60 * STEPS_A_GROUP and all(times[made] == HEARINGS for made in inner)
    stage = SpellingStage(run, steps=steps)
    again = [step for step in range(steps) if heard_again(step) == heard_again(steps // 2)]
    batches = [stage.batch(step) for step in again]
    assert all(torch.equal(batches[0]["targets"], one["targets"]) for one in batches)
    assert not torch.equal(batches[0]["features"], batches[1]["features"])  # other bands are hidden


def test_a_batch_is_a_function_of_its_step(stage):
    first, again, other = stage.batch(1), stage.batch(1), stage.batch(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert first["tokens"].shape != other["tokens"].shape or not torch.equal(first["tokens"], other["tokens"])


@torch.no_grad()
def test_the_shipped_model_hears_what_the_stage_trains_on(stage):
    spoken = utterances(stage._set, 4)[:3]
    rows, logits = answered(stage, spoken)
    sounds = [one.sound for one in spoken]
    lengths = torch.tensor([len(sound) for sound in sounds])
    samples = torch.nn.utils.rnn.pad_sequence(sounds, batch_first=True)
    found = stage.model(rows.ids, speech_samples=samples, speech_lengths=lengths).logits
    torch.testing.assert_close(logits, found.flatten(0, 1)[rows.at], atol=1e-4, rtol=1e-3)
    assert torch.equal(rows.ids.flatten()[rows.at + 1], rows.targets)


def test_core_and_encoder_stay_as_they_are_and_the_adapter_learns(stage):
    loss, _ = stage.loss(stage.batch(5))
    loss.backward()
    parameters = dict(stage.model.named_parameters())
    learns = {name for name, p in parameters.items() if p.grad is not None and p.grad.any()}
    around = {f"speech_adapter.{name}" for name in ("lead", "tail", "filler")}
    assert learns == {name for name in parameters if name.startswith("speech_adapter.")} - around
    assert learns == {name for name, p in parameters.items() if p.requires_grad}
    stage.model.zero_grad()


def test_a_text_misspelled_at_no_level_is_spelled_right_and_at_others_it_is_not(monkeypatch):
    rng, text = random.Random(0), list(range(1, 31))
    monkeypatch.setattr(misspelling, "LEVELS", (0.0,))
    assert misspelled(text, 40, rng).argmax(-1).tolist() == text
    monkeypatch.setattr(misspelling, "LEVELS", (2.5,))
    drawn = [misspelled(text, 40, rng) for _ in range(50)]
    assert all(one.shape[1] == 41 and one.min() >= 0 and one.max() <= 1 for one in drawn)
    errors = jiwer.cer([" ".join(map(str, text))] * 50, [" ".join(map(str, one.argmax(-1).tolist())) for one in drawn])
    assert 0.1 < errors < 0.5
    assert any(len(one) < 30 for one in drawn) and any(len(one) > 30 for one in drawn)


def test_what_stands_around_learns_alone_and_the_stage_begins_with_it(run, stage):
    tokenizer = train_tokenizer(run)
    places = SpeechPlacesStage(tokenizer, core_config(tokenizer), run, steps=10)
    loss, _ = places.loss(places.batch(3))
    loss.backward()
    learns = {name for name, p in places.model.named_parameters() if p.grad is not None}
    assert learns == {f"speech_adapter.{name}" for name in ("lead", "tail", "filler")}
    learnt = places_weights(run)
    assert set(learnt) == learns and all(torch.equal(stage.model.state_dict()[name], learnt[name]) for name in learns)


def test_the_stage_tells_how_much_is_right_of_what_it_never_heard(stage, monkeypatch):
    monkeypatch.setattr(speech_adapter, "HELD_OUT_UTTERANCES", 16)
    figures = stage.evaluate()
    assert {"transcribe", "letter errors", "word errors"} <= set(figures)
    assert figures["transcribe"] == 0 and figures["letter errors"] > 0.5  # it has learnt nothing yet


def test_tasks_are_the_papers_prompts(stage):
    rng, kinds = random.Random(0), set()
    for step in range(3):
        for one in hear(stage._set, step).utterances:
            task = sample_task(one, rng)
            kinds.add(task.kind)
            if task.kind == "transcribe":
                assert task.prompt.startswith("Repeat after me in ") and task.answer == one.text
            if one.kind == "phrase":
                told = translation(one, rng)
                assert told.prompt.startswith("Translate the following sentence into ")
                assert ("into English" in told.kind) == (one.language != "en")
    assert {"transcribe", "translate into English"} <= kinds


@torch.no_grad()
def test_what_the_stages_made_ships_with_the_rest(stage, run, tmp_path):
    ears = {name: value for name, value in stage.model.state_dict().items() if name.startswith("speech")}
    eyes = compose_nano(nano_config(stage.model.config.text_config), run).state_dict()
    joins = ("vision.global", "vision.tile", "image")
    made = {
        "speech-adapter": {name: value for name, value in ears.items() if name.startswith("speech_adapter.")},
        "image-adapter": {name: value for name, value in eyes.items() if name.startswith(joins)},
    }
    for name, tensors in made.items():
        (run / name).mkdir(exist_ok=True)
        save_file({key: value.contiguous() for key, value in tensors.items()}, run / name / "final.safetensors")
    export(run, tmp_path / "nano")
    assert {file.name for file in (tmp_path / "nano").glob("*.safetensors")} == set(SHARDS) - {"video.safetensors"}
    assistant, one = multimodal.load(tmp_path / "nano"), utterances(stage._set, 6)[0]
    rows, _ = answered(stage, [one])
    prompt = [
        {"role": "system", "content": transcription(one.utterance).prompt},
        {"role": "user", "content": [{"type": "audio", "audio": (one.sound, 16_000)}]},
    ]
    shipped = assistant.processor.apply_chat_template(prompt, tokenize=True, add_generation_prompt=True)
    assert shipped["input_ids"][0].tolist() == rows.ids[0, : rows.at[0] + 1].tolist()
    logits = assistant.model(**shipped).logits[0, -1]
    files = (tmp_path / "nano" / file for file in ("speech.safetensors", "speech_adapter.safetensors"))
    on_disk = {name: weight for file in files for name, weight in load_file(file).items()}
    assert {weight.dtype for weight in on_disk.values() if weight.ndim > 1} == {torch.float8_e4m3fn}
    stage.model.load_state_dict(on_disk, strict=False)
    torch.testing.assert_close(logits, answered(stage, [one])[1][0], atol=1e-4, rtol=1e-3)
    [segments] = transcribe(assistant.model, assistant.processor, [(one.sound, 16_000)], "English", words=True)
    for segment in segments:
        times = [time for word in segment.words for time in (word.start_s, word.end_s)]
        assert times == sorted(times) and all(segment.start_s <= time <= segment.end_s + 0.04 for time in times)
