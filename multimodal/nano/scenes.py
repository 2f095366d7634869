"""The world of nano's pictures: what can be in one, and what can be asked about it.

A `Scene` is a description; `pictures.py` draws it. The same scene, told in words, is what the text
core learns to answer questions about before it is frozen. Places are fractions of the picture's
side, x to the right and y down. All of this world is our choice.
"""

import random
from dataclasses import dataclass, replace

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
COLOURS = {
    "red": (214, 32, 36),
    "orange": (246, 138, 20),
    "yellow": (246, 222, 36),
    "green": (34, 150, 62),
    "blue": (36, 80, 208),
    "purple": (138, 44, 168),
    "black": (18, 18, 20),
    "white": (250, 250, 250),
}
SIZES = {"small": 0.06, "medium": 0.095, "large": 0.14}  # radius, as a fraction of the shorter side
SIZE_JITTER = 0.08  # a drawn radius differs from the nominal one by at most this share
GRID = (0.19, 0.5, 0.81)  # centres of the nine places a thing can stand in
PLACES = (
    ("top left", "top", "top right"),
    ("left", "center", "right"),
    ("bottom left", "bottom", "bottom right"),
)
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")
WORDS = tuple(
    """apple baby ball bank bed bee bell bird black blue boat book box boy brown bus cake camera car
    cat chair city clock closed coat coffee cold cow cup dance day desk dog door down drink duck east
    egg eight end exit farm fast fire fish five flag flower food four fox free friday frog garden
    girl gold green hand happy hat hello help home horse hot hotel house ice jam juice june july key
    king lake lamp leaf left lemon light lion love map march market milk monday money moon mouse
    music night nine north nose ocean off old one open orange park pen pig pink plane plant queen
    rain red river road sale salt school sea seven ship shoe six sky snow soap song south star stop
    street sugar summer sun sunday table taxi tea ten three tiger time today train tree truck two up
    water welcome west white wind window winter wolf yellow yes young zebra zero zoo""".split()
)

# Colour and shape pairs that no training picture shows: every colour and every shape is known from
# other pairs, so a held-out picture asks whether the two are bound or merely remembered together.
HELD_OUT_PAIRS = frozenset(
    {
        ("red", "star"),
        ("orange", "cross"),
        ("yellow", "circle"),
        ("green", "triangle"),
        ("blue", "ring"),
        ("purple", "square"),
        ("black", "star"),
        ("white", "circle"),
    }
)
# For each colour and each shape, what training never shows it with. No training loss may say that the two do not go
# together: that they were not seen together is all there is to know (our choice, as logit adjustment,
# arXiv 2007.07314, by a prior that is 0 or 1).
UNSEEN_WITH = {
    name: frozenset(other for pair in HELD_OUT_PAIRS if name in pair for other in pair if other != name)
    for name in (*COLOURS, *SHAPES)
}
KINDS = ("colour", "shape", "count", "size", "position", "yes/no", "text")
OTHER = "other"  # a shape or a colour that has no name in this world
STRANGERS = 0.4  # share of scenes of training in which some things have such a one


@dataclass(frozen=True)
class Thing:
    """One shape: its centre (x, y) and radius are fractions of the picture's side."""

    shape: str
    colour: str
    size: str
    x: float
    y: float
    radius: float

    @property
    def name(self) -> str:
        return f"{self.size} {self.colour} {self.shape}"

    @property
    def place(self) -> str:
        column, row = (min(range(3), key=lambda i: abs(GRID[i] - at)) for at in (self.x, self.y))
        return PLACES[row][column]


@dataclass(frozen=True)
class Inscription:
    """A printed word or number: centre and height of a letter are fractions of the side."""

    text: str
    colour: str
    x: float
    y: float
    height: float


@dataclass(frozen=True)
class Scene:
    """What a picture shows: things in reading order, and at most one inscription."""

    things: tuple[Thing, ...]
    inscription: Inscription | None = None


@dataclass(frozen=True)
class Question:
    """A question, the exact answer in lower case, and its kind (one of `KINDS` or `describe`).

    `unseen`: answers that would name a pair which training never shows, and which it must therefore not deny.
    """

    kind: str
    text: str
    answer: str
    unseen: frozenset[str] = frozenset()


def sample_scene(rng: random.Random, held_out: bool = False, max_things: int = 6) -> Scene:
    """A random scene; `held_out` puts at least one held-out pair in, otherwise none occurs."""
    if rng.random() < 0.22:
        inscription = _sample_inscription(rng)
        beside = rng.choice((0, 0, 1, 2))
        rows = [0, 2] if inscription.y == 0.5 else [r for r in range(3) if abs(GRID[r] - inscription.y) > 0.25]
        cells = rng.sample([(c, r) for c in range(3) for r in rows], beside)
        sizes = ("small", "medium")
    else:
        inscription = None
        count = rng.randint(1, max_things)
        cells = rng.sample([(c, r) for c in range(3) for r in range(3)], count)
        sizes = tuple(SIZES)
    pairs = _sample_pairs(rng, len(cells), held_out)
    things = tuple(
        _place_thing(rng, colour, shape, rng.choice(sizes), cell)
        for (colour, shape), cell in zip(pairs, sorted(cells, key=lambda cell: (cell[1], cell[0])), strict=True)
    )
    return Scene(things, inscription)


def with_strangers(scene: Scene, rng: random.Random) -> Scene:
    """The scene with about half of its things in a colour, or of a shape, that has no name here (`OTHER`).

    A named shape in any colour, and a named colour on any shape, teach to tell the one apart from the
    other; no held-out pair is shown for it.
    """
    things = (_stranger(thing, rng) if rng.random() < 0.5 else thing for thing in scene.things)
    return replace(scene, things=tuple(things))


def _stranger(thing: Thing, rng: random.Random) -> Thing:
    return replace(thing, colour=OTHER) if rng.random() < 0.5 else replace(thing, shape=OTHER)


def _sample_inscription(rng: random.Random) -> Inscription:
    text = rng.choice(WORDS) if rng.random() < 0.6 else str(rng.randrange(10 ** rng.randint(1, 3)))
    height = min(rng.uniform(0.16, 0.3), 1.3 / max(len(text), 3))
    return Inscription(text, rng.choice(tuple(COLOURS)), 0.5, rng.choice((0.3, 0.5, 0.5, 0.7)), height)


def _sample_pairs(rng: random.Random, count: int, held_out: bool) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    while len(pairs) < count:
        if pairs and rng.random() < 0.35:  # repeat a colour or a shape: counting and binding need it
            colour, shape = rng.choice(pairs)
            pair = (colour, rng.choice(SHAPES)) if rng.random() < 0.4 else (rng.choice(tuple(COLOURS)), shape)
        else:
            pair = (rng.choice(tuple(COLOURS)), rng.choice(SHAPES))
        if held_out or pair not in HELD_OUT_PAIRS:
            pairs.append(pair)
    if held_out and pairs and not HELD_OUT_PAIRS & set(pairs):
        pairs[rng.randrange(count)] = rng.choice(sorted(HELD_OUT_PAIRS))
    return pairs


def _place_thing(rng: random.Random, colour: str, shape: str, size: str, cell: tuple[int, int]) -> Thing:
    radius = SIZES[size] * rng.uniform(1 - SIZE_JITTER, 1 + SIZE_JITTER)
    slack = min(0.06, max(0.0, 0.155 - radius))  # neighbours stand 0.31 apart: none may touch another
    x, y = (GRID[at] + rng.uniform(-slack, slack) for at in cell)
    return Thing(shape, colour, size, x, y, radius)


def describe(scene: Scene) -> str:
    """The scene as one sentence, things in reading order and the inscription last."""
    at = {"center": "in the center", "left": "on the left", "right": "on the right"}
    parts = [
        f"{'an' if thing.name[0] in 'aeiou' else 'a'} {thing.name} {at.get(thing.place, 'at the ' + thing.place)}"
        for thing in scene.things
    ]
    if scene.inscription:
        parts.append(f"the text {scene.inscription.text}")
    return ", ".join(parts)
