"""Nano's clips show what their scenes tell, through every codec, and played backwards they tell the reverse."""

import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch

from multimodal.nano import clips
from multimodal.nano.clip_quality import held_out_clips, needing_order, one_frame, score, shuffled
from multimodal.nano.clips import (
    CODECS,
    CONTAINERS,
    HELD_OUT_CODECS,
    decode,
    draw_frames,
    encode,
    pairs_of,
    played_backwards,
    sample_film,
    sample_scene_of_clip,
)
from multimodal.nano.scenes import COLOURS, HELD_OUT_PAIRS, Question
from multimodal.nano.text.clips import ACTIONS, Actor, ClipScene
from video.reader import Clip, read_clip


def films(number: int, held_out: bool = False) -> list[clips.Film]:
    rng = random.Random(f"test {held_out}")
    return [sample_film(sample_scene_of_clip(rng, held_out), rng, held_out) for _ in range(number)]


def test_every_action_is_on_the_screen():
    """What a path says is what its actor does, seen by where, how large and in which colour it is."""
    seen = Counter()
    for film in films(60):
        for path in film.paths:
            first, last = path.at(0.0), path.at(1.0)
            seen[path.actor.action] += 1
            assert (first is None) == (path.actor.action == "appears")
            assert (last is None) == (path.actor.action == "vanishes")
            if first and last:
                x, y = last.x - first.x, last.y - first.y
                ways = {"left": x < -0.3, "right": x > 0.3, "up": y < -0.3, "down": y > 0.3}
                assert [way for way, is_so in ways.items() if is_so] == (
                    [path.actor.detail] if path.actor.action == "moves" else []
                )
                grown = last.radius / first.radius
                assert (grown > 1.5) == (path.actor.action == "grows")
                assert (grown < 0.67) == (path.actor.action == "shrinks")
                assert (abs(last.turn - first.turn) > 2) == (path.actor.action == "turns")
                assert (last.colour != first.colour) == (path.actor.action == "becomes")
    assert set(seen) == set(ACTIONS)


def test_events_follow_one_another():
    for film in films(60):
        times = [(path.begin, path.end) for path in film.paths[: len(film.scene.events)]]
        assert all(one[1] < other[0] for one, other in pairwise(times))
        assert all(0 < begin < end < 1 for begin, end in times)


def test_frames_show_the_colours_where_the_things_are():
    for film in films(8):
        frames = draw_frames(film)
        assert len(frames) == film.frames and frames[0].shape == (film.height_px, film.width_px, 3)
        for path in film.paths:
            if path.actor.shape in ("ring", "cross", "star"):
                continue  # whose middle may be open, or narrow
            for number, frame in ((0, frames[0]), (film.frames - 1, frames[-1])):
                if pose := path.at(clips.share_of(film, number)):
                    found = frame[int(pose.y * film.height_px), int(pose.x * film.width_px)].astype(int)
                    assert np.abs(found - COLOURS[pose.colour]).max() < 75, (path.actor.name, found)


@pytest.mark.parametrize("codec", [*CODECS, *HELD_OUT_CODECS])
def test_a_file_of_every_codec_is_read_as_it_was_drawn(codec):
    film = clips.replace(films(1)[0], codec=codec, crf=18)
    file, drawn = encode(film), draw_frames(film)
    assert file == encode(film)
    read, quick = read_clip(file, max_frames=8), decode(file, 8, 1120)
    wanted = np.linspace(0, film.frames - 1, 8).round().astype(int)
    assert torch.allclose(read.times_s, quick.times_s, atol=2e-3)
    assert read.times_s.tolist() == pytest.approx([at / film.rate_hz for at in wanted], abs=2e-3)
    for at, *of_both in zip(wanted, read.frames, quick.frames, strict=True):
        for frame in of_both:
            assert np.abs(frame.movedim(0, -1).numpy().astype(int) - drawn[at]).mean() < 12
    assert CONTAINERS[codec] in ("mp4", "webm")


def test_training_and_held_out_clips_share_no_pair_codec_rate_or_ground():
    trained, held_out = films(150), films(60, held_out=True)
    assert not any(pairs_of(film.scene) & HELD_OUT_PAIRS for film in trained)
    assert all(pairs_of(film.scene) & HELD_OUT_PAIRS for film in held_out)
    assert {film.codec for film in trained} == set(CODECS) and {film.codec for film in held_out} > set(CODECS)
    for of_film in (lambda film: film.rate_hz, lambda film: min(film.width_px, film.height_px)):
        assert not {of_film(film) for film in trained} & {of_film(film) for film in held_out}
    seconds = [film.frames / film.rate_hz for film in trained]
    assert min(seconds) < 1.5 and max(seconds) > 15 and max(film.frames for film in trained) <= 80


def test_a_clip_backwards_is_the_reverse_and_twice_backwards_itself():
    scene = ClipScene(
        (
            Actor("red", "star", "moves", "left"),
            Actor("blue", "ring", "becomes", "green"),
            Actor("white", "cross", "stays"),
        )
    )
    assert played_backwards(scene) == ClipScene(
        (
            Actor("green", "ring", "becomes", "blue"),
            Actor("red", "star", "moves", "right"),
            Actor("white", "cross", "stays"),
        )
    )
    for film in films(40):
        backwards = played_backwards(film.scene)
        assert backwards is None or played_backwards(backwards) == film.scene


# What is asked


def test_what_is_asked_needs_the_order_of_the_frames():
    scene = ClipScene((Actor("red", "star", "moves", "left"), Actor("blue", "ring", "grows")))
    asked = {
        "Which way does the star move?": ("direction", "left", True),
        "What happens first?": ("order", "the red star moves left", True),
        "What happens after the red star moves left?": ("order", "the blue ring grows", True),
        "How many things grow?": ("clip count", "one", True),
        "How many things move?": ("clip count", "one", False),
        "How many things are there?": ("clip count", "two", False),
        "Does the ring grow?": ("clip yes/no", "yes", True),
        "Does the ring turn?": ("clip yes/no", "no", False),
    }
    questions = [Question(kind, text, answer) for text, (kind, answer, _) in asked.items()]
    kept = {one.text for one in needing_order(scene, questions, random.Random(0))}
    assert kept == {text for text, (*_, needs) in asked.items() if needs}


def test_held_out_questions_are_many_and_balanced():
    sheets = held_out_clips(1500)
    asked = [question for sheet in sheets for question in sheet.questions]
    kinds = Counter(question.kind for question in asked)
    assert len(asked) >= 1500 and len(kinds) == 6 and min(kinds.values()) >= 100
    said = Counter(question.answer for question in asked if question.kind == "clip yes/no")
    assert abs(said["yes"] - said["no"]) <= 1
    assert held_out_clips(100) == sheets[: len(held_out_clips(100))]
    scores = score(asked, {way: [one.answer for one in asked] for way in ("exact", "shuffled", "one_frame", "blind")})
    assert scores["overall"].exact == 1.0 and scores["overall"].constant < 0.35


def test_ways_without_time_take_only_time_away():
    sheet = held_out_clips(1)[0]
    clip = Clip(torch.arange(16).view(16, 1, 1, 1).expand(16, 3, 2, 2), torch.arange(16.0), 16.0)
    mixed = shuffled(clip, sheet)
    assert sorted(mixed.frames[:, 0, 0, 0].tolist()) == list(range(16))
    assert mixed.frames[:, 0, 0, 0].tolist() != list(range(16)) and torch.equal(mixed.times_s, clip.times_s)
    assert one_frame(clip, sheet).frames.shape == (1, 3, 2, 2)
