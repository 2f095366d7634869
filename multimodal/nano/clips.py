"""Nano's clips: scenes of `text/clips.py` drawn frame by frame, and encoded, so that a codec is part of the world.

Time is a share of the clip, 0 to 1: with three events the first happens somewhere in the first third. Places
are fractions of the frame as in `scenes.py`, radii of its shorter side. All of this world is our choice.
"""

import io
import math
import random
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch
from PIL import Image, ImageDraw

from video.reader import Clip

from .pictures import Colour, Style, edge_of, paint_ground, sample_style, shade, unnamed
from .scenes import HELD_OUT_PAIRS, OTHER, Scene, Thing
from .shapes import paint_shape
from .text.clips import Actor, ClipScene, sample_clip

CODECS = ("libx264", "libvpx-vp9")
CONTAINERS = {"libx264": "mp4", "libvpx-vp9": "webm", "mpeg4": "mp4", "libvpx": "webm"}
HELD_OUT_CODECS = ("mpeg4", "libvpx")  # MPEG-4 Part 2 and VP8: a third of the held-out clips
RATES_HZ, HELD_OUT_RATES_HZ = (4, 5, 6, 8, 10, 12, 15, 24, 25, 30), (7, 9, 14, 20, 50)
SECONDS = (1.0, 20.0)
MOST_FRAMES, FEWEST_FRAMES = 72, 12  # of a clip: longer ones have a lower rate
SHORT_SIDES_PX, HELD_OUT_SHORT_SIDES_PX = (96, 112, 128, 128, 160, 192), (104, 144, 240, 360)
_ASPECTS = ((1, 1), (1, 1), (4, 3), (3, 4), (3, 2), (16, 9))  # width, height
_RADII, _SMALL, _LARGE = (0.08, 0.14), (0.055, 0.075), (0.13, 0.16)
_LEAST_WAY = 0.34  # of what moves, as a fraction of the side along which it does
_APART = 0.03
_WAYS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
_BACKWARDS = {"left": "right", "right": "left", "up": "down", "down": "up"}
_UNDONE = {"appears": "vanishes", "vanishes": "appears", "grows": "shrinks", "shrinks": "grows"}


@dataclass(frozen=True)
class Pose:
    """An actor at one time."""

    x: float
    y: float
    radius: float
    turn: float  # radians
    colour: str


@dataclass(frozen=True)
class Path:
    """What an actor goes through between two shares of the clip; before and after it rests."""

    actor: Actor
    begin: float
    end: float
    first: Pose
    last: Pose

    def at(self, share: float) -> Pose | None:
        """The actor's pose at this share of the clip; None if it is not there."""
        done = min(1.0, max(0.0, (share - self.begin) / (self.end - self.begin)))
        if self.actor.action == ("appears" if done < 0.5 else "vanishes"):
            return None
        x, y, radius, turn = (
            a + (b - a) * done for a, b in zip(_numbers(self.first), _numbers(self.last), strict=True)
        )
        return Pose(x, y, radius, turn, (self.first if done < 0.5 else self.last).colour)


def _numbers(pose: Pose) -> tuple[float, float, float, float]:
    return pose.x, pose.y, pose.radius, pose.turn


@dataclass(frozen=True)
class Film:
    """A clip before it is drawn. `crf`: H.264's constant quality, from which the bit rate of others follows."""

    scene: ClipScene
    paths: tuple[Path, ...]  # one an actor
    style: Style
    width_px: int
    height_px: int
    rate_hz: int
    frames: int
    codec: str
    crf: int
    key_every: int


def sample_scene_of_clip(rng: random.Random, held_out: bool = False) -> ClipScene:
    """A random clip in words; one that is held out shows a held-out pair of colour and shape, the others none."""
    while True:
        scene = sample_clip(rng)
        if bool(pairs_of(scene) & HELD_OUT_PAIRS) == held_out:
            return scene


def pairs_of(scene: ClipScene) -> set[tuple[str, str]]:
    """The pairs of colour and shape that are seen in a clip."""
    return {(colour, actor.shape) for actor in scene.actors for colour in _colours(actor)}


def with_strangers(scene: ClipScene, rng: random.Random) -> ClipScene:
    """The scene with one of its things in a colour, or of a shape, that has no name here (`OTHER`).

    A named shape in any colour, and a named colour on any shape, teach to tell the one apart from the other.
    """
    at = rng.randrange(len(scene.actors))
    what = "shape" if scene.actors[at].action == "becomes" or rng.random() < 0.5 else "colour"
    actors = [replace(actor, **{what: OTHER}) if at == n else actor for n, actor in enumerate(scene.actors)]
    return ClipScene(tuple(actors))


def _colours(actor: Actor) -> tuple[str, ...]:
    return (actor.colour, actor.detail) if actor.action == "becomes" else (actor.colour,)


def played_backwards(scene: ClipScene) -> ClipScene | None:
    """What the clip shows from its end to its beginning; None where two things would begin in one colour."""
    undone = [_undone(actor) for actor in (*reversed(scene.events), *scene.actors[len(scene.events) :])]
    return ClipScene(tuple(undone)) if len({actor.colour for actor in undone}) == len(undone) else None


def _undone(actor: Actor) -> Actor:
    if actor.action == "becomes":
        return replace(actor, colour=actor.detail, detail=actor.colour)
    return replace(
        actor, action=_UNDONE.get(actor.action, actor.action), detail=_BACKWARDS.get(actor.detail, actor.detail)
    )


def sample_film(scene: ClipScene, rng: random.Random, held_out: bool = False) -> Film:
    """How a scene is shown: places, sizes, times, style, size, rate, length and codec."""
    across, down = rng.choice(_ASPECTS)
    short = rng.choice(HELD_OUT_SHORT_SIDES_PX if held_out else SHORT_SIDES_PX)
    width, height = (2 * round(short * side / min(across, down) / 2) for side in (across, down))
    seconds = math.exp(rng.uniform(math.log(SECONDS[0]), math.log(SECONDS[1])))
    rates = HELD_OUT_RATES_HZ if held_out else RATES_HZ
    fitting = [rate for rate in rates if FEWEST_FRAMES <= rate * seconds <= MOST_FRAMES]
    rate = rng.choice(fitting) if fitting else (rates[0] if seconds * rates[0] > MOST_FRAMES else rates[-1])
    paths = _sample_paths(scene, rng, width / min(width, height), height / min(width, height))
    codecs = HELD_OUT_CODECS if held_out and rng.random() < 1 / 3 else CODECS
    return Film(
        scene,
        paths,
        sample_style(rng, Scene(tuple(_as_things(paths))), held_out=held_out),
        width,
        height,
        rate,
        max(FEWEST_FRAMES, round(rate * seconds)),
        rng.choice(codecs),
        rng.randint(18, 30),
        rng.choice((12, 50, 250)),
    )


def _as_things(paths: tuple[Path, ...]) -> list[Thing]:
    """All that is ever seen, each colour of a thing as one."""
    return [
        Thing(path.actor.shape, pose.colour, "medium", pose.x, pose.y, pose.radius)
        for path in paths
        for pose in (path.first, path.last)
    ]


def _sample_paths(scene: ClipScene, rng: random.Random, wide: float, high: float) -> tuple[Path, ...]:
    """Paths on which no two things ever touch; wide, high: the frame's sides in units of the shorter one."""
    windows = _windows(len(scene.events), rng)
    while True:
        paths: list[Path] = []
        for at, actor in enumerate(scene.actors):
            begin, end = windows[at] if at < len(windows) else (0.0, 1.0)
            for _ in range(20):
                path = _sample_path(actor, begin, end, rng, wide, high)
                if all(_are_apart(path, other, wide, high) for other in paths):
                    paths.append(path)
                    break
            else:
                break
        if len(paths) == len(scene.actors):
            return tuple(paths)


def _windows(events: int, rng: random.Random) -> list[tuple[float, float]]:
    """When each event happens: in its share of the clip, with a rest before and after it."""
    return [((at + rng.uniform(0.03, 0.25)) / events, (at + rng.uniform(0.75, 0.97)) / events) for at in range(events)]


def _sample_path(actor: Actor, begin: float, end: float, rng: random.Random, wide: float, high: float) -> Path:
    radius = last_radius = rng.uniform(*_RADII)
    if actor.action in ("grows", "shrinks"):
        radius, last_radius = rng.uniform(*_SMALL), rng.uniform(*_LARGE)
        if actor.action == "shrinks":
            radius, last_radius = last_radius, radius
    edges = [(max(radius, last_radius) + 0.02) / side for side in (wide, high)]
    x, y = last_x, last_y = tuple(rng.uniform(edge, 1 - edge) for edge in edges)
    if actor.action == "moves":
        way_x, way_y = _WAYS[actor.detail]
        x, last_x = _from_to(x, way_x, edges[0], rng)
        y, last_y = _from_to(y, way_y, edges[1], rng)
    turned = rng.choice((-1, 1)) * rng.uniform(2.1, 6.3) if actor.action == "turns" else 0.0
    turn = math.radians(rng.uniform(-8, 8))
    colour = actor.detail if actor.action == "becomes" else actor.colour
    return Path(
        actor,
        begin,
        end,
        Pose(x, y, radius, turn, actor.colour),
        Pose(last_x, last_y, last_radius, turn + turned, colour),
    )


def _from_to(at: float, way: int, edge: float, rng: random.Random) -> tuple[float, float]:
    """Where a thing begins and ends on one axis: it goes way (-1, 0 or 1), by `_LEAST_WAY` or more."""
    if not way:
        return at, at
    first = rng.uniform(edge, 1 - edge - _LEAST_WAY)
    last = rng.uniform(first + _LEAST_WAY, 1 - edge)
    return (first, last) if way > 0 else (last, first)


def _are_apart(one: Path, other: Path, wide: float, high: float) -> bool:
    """Whether two things keep apart all the time, seen or not."""
    for number in range(25):
        a, b = (_seen_or_not(path, number / 24) for path in (one, other))
        if math.hypot((a.x - b.x) * wide, (a.y - b.y) * high) < a.radius + b.radius + _APART:
            return False
    return True


def _seen_or_not(path: Path, share: float) -> Pose:
    return path.at(share) or path.first


def draw_frames(film: Film) -> list[np.ndarray]:
    """The frames [H, W, 3] uint8: equal films give equal pixels. The ground and each thing's shade stand still."""
    style, rng, noise = film.style, random.Random(film.style.seed), np.random.default_rng(film.style.seed)
    size = film.width_px, film.height_px
    ground, scale = paint_ground(style, *size, noise), min(2, style.supersample)
    if scale > 1:
        ground = ground.resize((size[0] * scale, size[1] * scale), Image.Resampling.NEAREST)
    looks = [
        (rng.random(), {colour: _fill(colour, style, rng) for colour in _colours(path.actor)}) for path in film.paths
    ]
    frames = []
    for number in range(film.frames):
        canvas = ground.copy()
        brush = ImageDraw.Draw(canvas)
        for path, (build, shades) in zip(film.paths, looks, strict=True):
            if pose := path.at(share_of(film, number)):
                _draw_pose(brush, path.actor.shape, pose, shades[pose.colour], build, style, canvas.size)
        frames.append(np.asarray(canvas.reduce(scale) if scale > 1 else canvas))
    return frames


def _fill(colour: str, style: Style, rng: random.Random) -> Colour:
    return unnamed(style, rng) if colour == OTHER else shade(colour, style, rng)


def share_of(film: Film, frame: int) -> float:
    """At which share of the clip a frame is shown."""
    return frame / (film.frames - 1)


def _draw_pose(
    brush: ImageDraw.ImageDraw,
    shape: str,
    pose: Pose,
    fill: tuple[int, int, int],
    build: float,
    style: Style,
    size: tuple[int, int],
) -> None:
    x, y, radius = pose.x * size[0] - 0.5, pose.y * size[1] - 0.5, pose.radius * min(size)
    if style.outline:
        paint_shape(brush, shape, x, y, radius, pose.turn, build, edge_of(fill), style.outline)
        radius *= 1 - style.outline
    paint_shape(brush, shape, x, y, radius, pose.turn, build, fill, 0.0)


def encode(film: Film) -> bytes:
    """The film as a file of its codec's container: MP4, or WebM for VP8 and VP9."""
    import av

    file, container = io.BytesIO(), CONTAINERS[film.codec]
    with av.open(file, "w", format=container, container_options={"fflags": "+bitexact"}) as out:
        stream = out.add_stream(film.codec, rate=Fraction(film.rate_hz), options=_options(film))
        stream.width, stream.height, stream.pix_fmt = film.width_px, film.height_px, "yuv420p"
        stream.codec_context.gop_size = film.key_every
        stream.codec_context.thread_count = 1
        if film.codec != "libx264":
            stream.bit_rate = _bit_rate(film)
        for frame in draw_frames(film):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        out.mux(stream.encode())
    return file.getvalue()


def _options(film: Film) -> dict[str, str]:
    if film.codec == "libx264":
        return {"preset": "superfast", "crf": str(film.crf)}
    return {"deadline": "realtime", "cpu-used": "8"} if film.codec.startswith("libvpx") else {}


def _bit_rate(film: Film) -> int:
    """Bits a second for encoders that are told these: a fifth of a bit a pixel at crf 23, half of that at 29."""
    return round(0.2 * 2 ** ((23 - film.crf) / 6) * film.width_px * film.height_px * film.rate_hz)


def decode(file: bytes, max_frames: int, longer_side_px: int) -> Clip:
    """What `video.reader.read_clip` gives, but in this process, for files that are our own."""
    import av

    with av.open(io.BytesIO(file)) as source:
        source.streams.video[0].codec_context.thread_count = 1
        decoded = list(source.decode(video=0))
    chosen = np.linspace(0, len(decoded) - 1, min(len(decoded), max_frames)).round().astype(int)
    shrink = min(1.0, longer_side_px / max(decoded[0].width, decoded[0].height))
    size = (max(1, round(side * shrink)) for side in (decoded[0].width, decoded[0].height))
    width, height = size
    frames = [decoded[at].to_ndarray(format="rgb24", width=width, height=height) for at in chosen]
    times = torch.tensor([float(decoded[at].time - decoded[0].time) for at in chosen])
    step = (times[-1] / chosen[-1]).item() if chosen[-1] else 1.0
    return Clip(torch.from_numpy(np.stack(frames)).movedim(-1, 1).contiguous(), times, times[-1].item() + step)
