"""The clip stage asks as the shipped model will hear it and trains only what is new; parts are added to a folder."""

import json
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerFast

import multimodal
from multimodal.assistant import NANO
from multimodal.nano.clips import encode, played_backwards
from multimodal.nano.compose import begin_with_shipped
from multimodal.nano.film_features import STRANGERS_FROM, SeenClips, film_of
from multimodal.nano.quality import weight_hashes
from multimodal.nano.recipe import SHARDS, add_parts, export
from multimodal.nano.scenes import OTHER
from multimodal.nano.stages import video
from multimodal.nano.stages.core import core_config
from multimodal.nano.stages.tokenizer import train_tokenizer
from multimodal.nano.stages.video import FACTS, VideoStage, told_by_place
from multimodal.nano.text.clips import ask_about_clip

EYES = ("core.safetensors", "image_adapter.safetensors", "vision.safetensors")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("run")
    begin_with_shipped(out)
    return out


@pytest.fixture(scope="module")
def stage(run) -> VideoStage:
    tokenizer = train_tokenizer(run)
    stage = VideoStage(tokenizer, core_config(tokenizer), run, steps=10, clips=6, held_out_clips=2)
    stage.see_clips()
    return stage


def test_a_run_that_begins_with_the_shipped_parts_exports_them_again(run, tmp_path):
    export(run, tmp_path / "nano")
    written, shipped = weight_hashes(tmp_path / "nano"), weight_hashes(NANO)
    assert {name: written[name] for name in EYES} == {name: shipped[name] for name in EYES}
    assert (tmp_path / "nano" / "tokenizer.json").read_bytes() == (NANO / "tokenizer.json").read_bytes()


@torch.no_grad()
def test_features_are_what_the_model_sees_of_the_file(stage, run):
    """Decoded in this process by another library, for speed, and resized by it."""
    seen, nano = stage.clips[3], stage.model.nano
    processor = multimodal.processor.processor_of(nano.config, train_tokenizer(run))
    read = processor.clips([encode(seen.film)])
    frames = len(read["frame_times_s"])
    expected, _ = nano.vision(read["frame_values"], torch.ones(frames, dtype=torch.long), torch.ones(frames).long())
    assert torch.allclose(read["frame_times_s"], seen.times_s, atol=2e-3)
    assert seen.features.shape == expected.shape and seen.features.dtype == torch.float16
    alike = torch.cosine_similarity(seen.features.float(), expected, dim=-1)
    assert alike.mean() > 0.97 and alike.mean() > torch.cosine_similarity(expected, expected.roll(1, 1), dim=-1).mean()


def test_files_that_are_there_stay(stage, run):
    files = sorted(stage.clips.folder.glob("*.safetensors"))
    times = [file.stat().st_mtime_ns for file in files]
    stage.see_clips()
    assert [file.stat().st_mtime_ns for file in files] == times and len(files) == 1
    assert torch.equal(SeenClips(stage.clips.folder, 6, 0)[2].features, stage.clips[2].features)


@torch.no_grad()
def test_each_question_is_asked_as_if_alone(stage):
    nano, rng = stage.model.nano, random.Random(3)
    rows = [stage.row(stage.clips[at], rng, may_turn=False) for at in range(2)]
    batch = stage._collate(rows)
    stage.model.eval()
    logits, memory = stage._answer_logits(batch)
    answer = 0
    for number, row in enumerate(rows):
        alone = stage._collate([row])
        for start, stop in row.answers:
            own = row.branch[start]
            ids = [token for token, branch in zip(row.ids[:stop], row.branch[:stop], strict=True) if branch in (0, own)]
            one = alone | {"ids": torch.tensor([ids]), "branch": torch.zeros(1, len(ids), dtype=torch.long)}
            one |= {
                "position": torch.arange(len(ids))[None],
                "at": torch.arange(len(ids) - (stop - start), len(ids)) - 1,
            }
            expected, _ = stage._answer_logits(one)
            torch.testing.assert_close(logits[batch["answer"] == answer], expected, atol=1e-4, rtol=1e-4)
            answer += 1
        torch.testing.assert_close(memory.x[number], stage._answer_logits(alone)[1].x[0], atol=1e-4, rtol=1e-4)
    assert nano.config.video_token_id in rows[0].ids


def test_a_row_is_the_prompt_of_the_processor(stage, run):
    row = stage.row(stage.clips[0], random.Random(1))
    tokenizer = train_tokenizer(run)
    processor = multimodal.processor.processor_of(stage.model.nano.config, tokenizer)
    question = tokenizer.decode(row.ids[len(stage.in_branches.prefix) : row.ids.index(tokenizer.eos_token_id)])
    clip = torch.zeros(2, 3, 64, 64)
    messages = [{"role": "user", "content": [{"type": "video", "video": clip}, {"type": "text", "text": question}]}]
    prompt = processor.apply_chat_template(messages, tokenize=True, add_generation_prompt=True)
    assert prompt["input_ids"][0].tolist() == row.ids[: row.answers[0][0]]


def test_every_look_in_training_shows_other_frames_in_their_order(stage):
    seen = stage.clips[1]
    looks = [stage.row(seen, random.Random(seed)) for seed in range(12)]
    assert {len(row.features) for row in looks} > {len(looks[0].features)}
    for row in looks:
        times = row.times_s if torch.isin(row.times_s, seen.times_s).all() else seen.times_s.max() - row.times_s
        assert torch.isin(times.round(decimals=3), seen.times_s.round(decimals=3)).all()
        assert (row.times_s.diff() > 0).all() and len(row.features) == len(row.times_s)
    whole = stage.row(seen, random.Random(0), may_turn=False)
    assert torch.equal(whole.features, seen.features)


def test_a_clip_shown_backwards_is_asked_about_as_that(stage, monkeypatch, run):
    monkeypatch.setattr(video, "FRAMES_SHOWN", (16, 16))
    seen = stage.clips[1]
    rows = [stage.row(seen, random.Random(seed)) for seed in range(12)]
    turned = [row for row in rows if not _is_part(row.features, seen.features)]
    assert 0 < len(turned) < 12 and all(_is_part(row.features, seen.features.flip(0)) for row in turned)
    assert all(row.times_s[0] >= 0 and (row.times_s.diff() > 0).all() for row in rows)
    answers = {one.text: one.answer for one in ask_about_clip(played_backwards(seen.film.scene), random.Random(0), 400)}
    tokenizer, row = train_tokenizer(run), turned[0]
    for start, stop in row.answers:
        begin = max(at for at in range(start) if row.branch[at] != row.branch[start]) + 1
        question = tokenizer.decode(row.ids[begin : row.ids.index(tokenizer.eos_token_id, begin)])
        if question in answers:
            assert tokenizer.decode(row.ids[start:stop], skip_special_tokens=True) == answers[question]


def test_places_tell_what_passed_them(stage):
    film = stage.clips[0].film
    story = told_by_place(film, film.scene, 16, backwards=False)
    for path, actor in zip(film.paths, film.scene.actors, strict=True):
        pose = path.at(1.0) or path.at(0.0)
        longer = max(film.width_px, film.height_px)
        column, row = int(8 * pose.x * film.width_px / longer), int(8 * pose.y * film.height_px / longer)
        told = story[:, row * 8 + column].tolist()
        if told[0] != -100:  # two things may pass one place
            names = [names[at - 1] if at > 0 else "" for at, names in zip(told, FACTS.values(), strict=True)]
            assert names[:4] == [actor.colour, actor.shape, actor.action, actor.detail]
    assert (story[0] == 0).sum() > 20 and (story[1:, story[0] == 0] == -100).all()


@pytest.mark.parametrize("number", range(STRANGERS_FROM, STRANGERS_FROM + 6))
def test_of_a_thing_without_a_name_its_places_tell_what_it_has(number):
    film = film_of(number, seed=0)
    story = told_by_place(film, film.scene, 16, backwards=False)
    [stranger] = [actor for actor in film.scene.actors if OTHER in (actor.colour, actor.shape)]
    told = {
        -100 if name == OTHER else names.index(name) + 1
        for name, names in zip((stranger.colour, stranger.shape), FACTS.values(), strict=False)
    }
    alone = [places for places in story.T.tolist() if set(places[:2]) == told]
    assert alone and all(FACTS["action"][places[2] - 1] == stranger.action for places in alone)


def test_only_what_is_for_clips_is_trained(stage):
    stage.model.train()
    loss, _ = stage.loss(stage.batch(0))
    loss.backward()
    with_gradient = {name for name, p in stage.model.named_parameters() if p.grad is not None and p.grad.any()}
    assert with_gradient == {name for name, p in stage.model.named_parameters() if p.requires_grad}
    assert {name.split(".")[1] for name in with_gradient} == {"video_encoder", "video", "weight", "bias"}
    stage.model.zero_grad()


def test_parts_are_added_and_all_other_bytes_stay(stage, run, tmp_path):
    folder = tmp_path / "nano"
    export(run, folder)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(ValueError, match="found neither"):
        add_parts(folder, run)
    trained = {name: p.detach().half().float() for name, p in stage.model.named_parameters() if p.requires_grad}
    save_file(trained, run / "video" / "final.safetensors", {"steps": "1"})
    try:
        add_parts(folder, run)
        export(run, tmp_path / "whole")
    finally:
        (run / "video" / "final.safetensors").unlink()
    changed = {name for name, data in before.items() if (folder / name).read_bytes() != data}
    assert changed == {"config.json", "model.safetensors.index.json", "processor_config.json"}
    assert {file.name for file in folder.iterdir()} == before.keys() | {"video.safetensors"}
    for file in (tmp_path / "whole").iterdir():
        assert (folder / file.name).read_bytes() == file.read_bytes(), file.name
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert {file for file in index["weight_map"].values()} == {*EYES, "video.safetensors"} <= SHARDS.keys()
    film = stage.clips[2].film
    answer = multimodal.load(folder).ask("What happens?", video=encode(film), max_new_tokens=4)
    assert answer.prompt_tokens > 5 and isinstance(PreTrainedTokenizerFast.from_pretrained(folder).eos_token, str)


def _is_part(some: torch.Tensor, of: torch.Tensor) -> bool:
    """Whether the frames are among those, in their order."""
    left = iter(of)
    return all(any(torch.equal(frame, one) for one in left) for frame in some)
