"""Stage `video`: the temporal aggregator and the video blocks learn; everything that was there before is frozen.

A row is a clip and several questions, each in a branch of its own, as in the picture stage. Projection and
blocks begin as copies of the picture adapter's, so that a clip is at first the mean of its frames as pictures.
Besides the answers, the memory learns to tell of each place what passed there: our choice, which teaches the
aggregator in few steps. Every other clip is shown backwards, and told so. No pair of colour and shape is denied
that was never shown (`undenied.py`).
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlamaConfig, PreTrainedTokenizerFast

from adapters.memory import Memory

from ...image_memory import remembered
from ...model import MultimodalLlama
from ...training.arithmetic import fast_arithmetic
from ...training.loop import Schedule
from ..clips import Film, played_backwards, share_of
from ..compose import compose_nano, nano_config, picture_weights
from ..film_features import SeenClip, SeenClips
from ..scenes import COLOURS, OTHER, SHAPES
from ..text.clips import ACTIONS, DIRECTIONS, Actor, ClipScene, ask_about_clip
from ..text.tokenizer import ConversationEncoder
from .beginning import begin
from .branches import Branched, InBranches, answer_loss, collate, exact_answers, sees, shares
from .undenied import undenied_names

CLIPS = 6144  # of the training set
HELD_OUT_CLIPS = 128
CLIPS_A_STEP = 8
QUESTIONS_A_CLIP = 10
TOKENS_A_ROW = 180
FRAMES_SHOWN = (9, 16)  # of the frames seen, at random in training: no two looks at a clip are alike
STORY_WEIGHT = 0.5
FACTS = {  # what the memory of a place tells of the thing that passed there; 0: nothing did, or no such fact
    "colour": tuple(COLOURS),
    "shape": SHAPES,
    "action": ACTIONS,
    "detail": (*DIRECTIONS, *COLOURS),
    "order": ("first", "second", "third"),
}


@dataclass(frozen=True)
class ClipRow(Branched):
    """A clip as it is shown, what passed each of its places, and questions about it in branches."""

    features: Tensor  # [F, N, D]
    times_s: Tensor  # [F]
    story: Tensor  # [facts, N - 1], int64: -100 where two things passed, or none


class ClipStudent(nn.Module):
    """The composed nano, and a head that tells what passed each place; the head does not outlive the training."""

    def __init__(self, nano: MultimodalLlama):
        super().__init__()
        self.nano = nano
        self.story = nn.Linear(nano.config.text_config.hidden_size, sum(1 + len(names) for names in FACTS.values()))


class SeenAlready:
    """Stands for the picture encoder where tiles are its features already, one tile a frame."""

    max_tiles = 1

    def __call__(self, tiles: Tensor, tiles_per_picture: Tensor, aspect_ids: Tensor) -> Memory:
        return Memory(tiles, torch.ones(tiles.shape[:2], dtype=torch.bool, device=tiles.device))


class VideoStage:
    """What is trained on clips; see `multimodal.training.loop.Stage`."""

    name = "video"

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        core_config: LlamaConfig,
        run: Path,
        steps: int = 2800,
        seed: int = 0,
        clips: int = CLIPS,
        held_out_clips: int = HELD_OUT_CLIPS,
        begin_from: Path | None = None,
    ):
        torch.manual_seed(seed)
        self.seed, self.schedule = seed, Schedule(steps=steps, peak_lr=2e-3, muon_lr=2e-3, warmup_steps=40)
        nano = compose_nano(nano_config(core_config, with_video=True), run)
        nano.load_state_dict(picture_weights(run), strict=False)
        nano.requires_grad_(False)
        begin_as_pictures(nano)
        for part in (nano.video_encoder, nano.video):
            part.requires_grad_(True)
        self.model = ClipStudent(nano)
        self._done = begin(self.model, begin_from, some=True)
        self.clips = SeenClips(run / self.name / "clips", clips, seed)
        self.held_out_clips = SeenClips(run / self.name / "held out clips", held_out_clips, seed, held_out=True)
        self._pad, end_of_turn = tokenizer.pad_token_id, tokenizer.convert_tokens_to_ids("<|eot_id|>")
        medium = nano.config.video_token_id
        self.in_branches = InBranches(ConversationEncoder(tokenizer), end_of_turn, medium, TOKENS_A_ROW)
        self._held_out: list[ClipRow] = []

    def see_clips(self) -> None:
        """What this stage trains and is measured on, made where it is not there yet."""
        frames = self.model.nano.config.video_config.max_frames
        self.model.eval()
        for clips in (self.held_out_clips, self.clips):
            clips.write(self.model.nano, frames)

    def batch(self, step: int) -> dict[str, Tensor]:
        rng = random.Random(f"video {self.seed} {self._done + step}")
        return self._collate([self.row(self.clips[rng.randrange(self.clips.number)], rng) for _ in range(CLIPS_A_STEP)])

    def row(self, seen: SeenClip, rng: random.Random, may_turn: bool = True) -> ClipRow:
        """Random questions about a clip; in training half of the clips run backwards."""
        scene, film, features, times_s = seen.film.scene, seen.film, seen.features, seen.times_s
        backwards = played_backwards(scene) if may_turn and rng.random() < 0.5 else None
        if backwards:
            scene, features, times_s = backwards, features.flip(0), times_s.max() - times_s.flip(0)
        story = told_by_place(film, scene, len(features), bool(backwards))
        if may_turn:
            shown = sorted(rng.sample(range(len(features)), min(len(features), rng.randint(*FRAMES_SHOWN))))
            features, times_s = features[shown], times_s[shown]
        asked = [one for one in ask_about_clip(scene, rng, QUESTIONS_A_CLIP) if OTHER not in one.text + one.answer]
        return ClipRow(**vars(self.in_branches(asked)), features=features, times_s=times_s, story=story)

    def _collate(self, rows: Sequence[ClipRow]) -> dict[str, Tensor]:
        return collate(rows, self._pad) | {
            "features": torch.cat([row.features for row in rows]).float(),
            "frames": torch.tensor([len(row.features) for row in rows]),
            "times_s": torch.cat([row.times_s for row in rows]),
            "story": torch.stack([row.story for row in rows]),
        }

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        with fast_arithmetic(batch["features"].device):
            logits, memory = self._answer_logits(batch)
        answers, accuracy = answer_loss(logits.float(), batch)
        story = self._story_loss(Memory(memory.x.float(), memory.keep), batch["story"])
        told = {"accuracy": accuracy, "answers": answers.item(), "story": story.item()}
        return answers + STORY_WEIGHT * story, told

    def _story_loss(self, memory: Memory, story: Tensor) -> Tensor:
        """Cross-entropy of what passed each place; the first place of an aggregate is the frame's own, and no place."""
        facts, places = story.shape[1:]
        x = memory.x[:, : places + 1][:, 1:]  # of a clip's first aggregate, which all 16 frames belong to
        colours, shapes, *others = self.model.story(x).split([1 + len(names) for names in FACTS.values()], -1)
        told = [*undenied_names(colours, shapes, story[:, 0], story[:, 1]), *others]
        losses = [F.cross_entropy(one.flatten(0, 1), story[:, at].flatten()) for at, one in enumerate(told)]
        return torch.stack(losses).sum() / facts

    def _answer_logits(self, batch: dict[str, Tensor]) -> tuple[Tensor, Memory]:
        """Logits [A, V] at the positions before answer tokens, and the clips' memory."""
        nano = self.model.nano
        ones = torch.ones_like(batch["frames"])
        memory = nano.video_encoder(SeenAlready(), batch["features"], batch["frames"], ones, batch["times_s"])
        clips = [clip[kept] for clip, kept in zip(*memory, strict=True)]
        is_clip = batch["ids"] == nano.config.video_token_id
        h, _ = nano.run_layers(
            batch["ids"],
            None,
            sees(batch["branch"]),
            position_ids=batch["position"],
            use_cache=False,
            video_memory=remembered(clips, is_clip, nano.video.values()),
        )
        return nano.core.lm_head(h.flatten(0, 1)[batch["at"]]), memory

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Exact match of greedy answers about held-out clips, by kind."""
        if not self._held_out:
            rng = random.Random("video held out")
            clips = [self.held_out_clips[at] for at in range(self.held_out_clips.number)]
            self._held_out = [self.row(clip, rng, may_turn=False) for clip in clips]
        return shares(exact_answers(self._held_out, CLIPS_A_STEP, self._asked), apart="describe clip")

    def _asked(self, rows: Sequence[ClipRow]) -> tuple[Tensor, dict[str, Tensor]]:
        batch = {name: tensor.to(self.model.nano.device) for name, tensor in self._collate(rows).items()}
        return self._answer_logits(batch)[0], batch


@torch.no_grad()
def begin_as_pictures(nano: MultimodalLlama) -> None:
    """Blocks as those for pictures in the same places, and a memory that is the mean of the frames' own."""
    for layer, block in nano.video.items():
        block.load_state_dict(nano.image[layer].state_dict())
    encoder = nano.video_encoder
    encoder.project.load_state_dict(nano.image_projection.state_dict())
    encoder.out.weight.copy_(torch.eye(len(encoder.out.weight)))
    nn.init.zeros_(encoder.out.bias)
    nn.init.normal_(encoder.time.linear.weight, std=0.2)  # as large as what the picture encoder tells of a place
    for layer in encoder.aggregator.layers:
        for last in (layer.out, layer.mlp[-1]):
            last.weight.mul_(0.3)


def told_by_place(film: Film, scene: ClipScene, frames: int, backwards: bool, side: int = 8) -> Tensor:
    """For each of side x side patches, what passed there: [facts, patches], numbered from 1 in `FACTS`.

    A patch that nothing passed has 0 for its colour and nothing to tell else (-100), one that several things
    passed nothing at all. `scene` is the film's own, or its reverse where it is shown backwards.
    """
    passed: dict[int, set[int]] = defaultdict(set)
    centre = (torch.arange(side) + 0.5) / side
    longer = max(film.width_px, film.height_px)
    wide, high = film.width_px / longer, film.height_px / longer  # of the tile, which they fill from the top left
    shown = torch.linspace(0, film.frames - 1, frames).round().long().tolist()
    for at, path in enumerate(film.paths):
        for pose in (path.at(share_of(film, frame)) for frame in shown):
            if pose is None:
                continue
            x, y, reach = pose.x * wide, pose.y * high, pose.radius * min(wide, high) + 0.25 / side
            near = (centre - x).square() + (centre[:, None] - y).square() < reach**2
            for place in near.flatten().nonzero().flatten().tolist():
                passed[place].add(at)
    story = torch.full((len(FACTS), side * side), -100)
    story[0] = 0
    told = [_facts(actor, scene) for actor in _in_order_of_paths(scene, len(scene.events), backwards)]
    for place, things in passed.items():
        story[:, place] = told[next(iter(things))] if len(things) == 1 else -100
    return story


def _in_order_of_paths(scene: ClipScene, events: int, backwards: bool) -> list:
    """The actors as the film has them: what is shown backwards has its events in reverse."""
    actors = list(scene.actors)
    return actors[:events][::-1] + actors[events:] if backwards else actors


def _facts(actor: Actor, scene: ClipScene) -> Tensor:
    """What is told of an actor, numbered as in `FACTS`; of a colour or a shape without a name nothing is told."""
    order = scene.events.index(actor) + 1 if actor in scene.events else 0
    values = (actor.colour, actor.shape, actor.action, actor.detail)
    numbers = [
        -100 if value == OTHER else 1 + names.index(value) if value else 0
        for names, value in zip(list(FACTS.values())[:-1], values, strict=True)
    ]
    return torch.tensor([*numbers, order])
