"""The words that the image trunk learns by: a scene told in a tiny vocabulary, patch by patch, and its twins.

A caption is a tuple of words: how many things, then place, size, colour and shape of each in reading
order, then the letters of the inscription. `("one", "top left", "large", "black", "triangle", "text",
"n", "o")`. A colour or shape that has no name here (`scenes.OTHER`) is told by nobody: its word is padding, which
the text tower does not attend to and no loss counts, and its patches are asked for the rest. All of this is our choice.
"""

import random
from dataclasses import replace

import numpy as np

from .pictures import Box
from .scenes import (
    COLOURS,
    GRID,
    HELD_OUT_PAIRS,
    NUMBERS,
    OTHER,
    PLACES,
    SHAPES,
    SIZE_JITTER,
    SIZES,
    Inscription,
    Scene,
    Thing,
)

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
# In a tile of a bigger picture a thing looks bigger than it is for the picture: what the trunk can see
# is how big it looks. Small, medium and large stand for the radii that they have in a whole picture.
LOOKS = (("small", 0.076), ("medium", 0.106), ("broad", 0.1285), ("large", 0.163), ("huge", 0.23), ("giant", 9.0))
PAD, BEGIN, END = 0, 1, 2
VOCABULARY = (
    *("<pad>", "<begin>", "<end>"),
    *NUMBERS,
    *(name for name, _ in LOOKS),
    *COLOURS,
    *SHAPES,
    *(place for row in PLACES for place in row),
    "text",
    *LETTERS,
)
CLASSES = {
    "count": NUMBERS,
    "place": tuple(place for row in PLACES for place in row),
    "size": tuple(name for name, _ in LOOKS),
    "colour": tuple(COLOURS),
    "shape": SHAPES,
    "letter": tuple(LETTERS),
}
CONTEXT = 32  # no caption is longer
_ID = {word: number for number, word in enumerate(VOCABULARY)} | {OTHER: PAD}
_THINGS = 6  # at most so many things are told
# In a tile a thing or a letter is named if so much of its box lies inside. Tiles cut what stands in the
# middle of a picture into quarters and halves, and each part should still look like what it is part of.
_NAMED_THING, _NAMED_LETTER = 0.22, 0.45


def encode(caption: tuple[str, ...]) -> list[int]:
    """Token ids of a caption between begin and end."""
    return [BEGIN, *(_ID[word] for word in caption), END]


def decode(ids: list[int]) -> tuple[str, ...]:
    """The caption of token ids, up to the first end."""
    ids = ids[: ids.index(END)] if END in ids else ids
    return tuple(VOCABULARY[number] for number in ids if number not in (PAD, BEGIN))


def caption_whole(scene: Scene) -> tuple[str, ...]:
    """The caption of a scene seen whole."""
    told = [(thing.place, thing.size, thing.colour, thing.shape) for thing in scene.things]
    return _told(told, scene.inscription.text if scene.inscription else "")


def caption_tile(scene: Scene, letter_boxes: list[Box], size: tuple[float, float], tile: Box) -> tuple[str, ...]:
    """The caption of what a square tile of a picture shows: places and sizes are those within the tile.

    `size` is the picture's, `tile` the box cut from it and `letter_boxes` where its letters stand, all
    in pixels of the same picture.
    """
    left, top, right, _ = tile
    side = right - left
    seen = []
    for thing in scene.things:
        x, y, radius = thing.x * size[0], thing.y * size[1], thing.radius * min(size)
        if _share_inside((x - radius, y - radius, x + radius, y + radius), tile) < _NAMED_THING:
            continue
        at_x, at_y = min(max((x - left) / side, 0.0), 1.0), min(max((y - top) / side, 0.0), 1.0)
        seen.append(replace(thing, x=at_x, y=at_y, radius=radius / side))
    seen = in_reading_order(seen)[:_THINGS]
    told = [(thing.place, looks(thing.radius), thing.colour, thing.shape) for thing in seen]
    letters = [
        letter
        for letter, box in zip(scene.inscription.text if scene.inscription else "", letter_boxes, strict=True)
        if _share_inside(box, tile) >= _NAMED_LETTER
    ]
    return _told(told, "".join(letters))


def looks(radius: float) -> str:
    """The word for a radius that is this fraction of the tile's side."""
    return next(name for name, below in LOOKS if radius < below)


def in_reading_order(things: list[Thing]) -> list[Thing]:
    """Things row by row of the nine places, left to right."""
    rows = {place: number for number, place in enumerate(CLASSES["place"])}
    return sorted(things, key=lambda thing: (rows[thing.place], thing.x))


# What a patch is named by, each with its number of names, 0 for nothing: colour, shape and look of the thing there,
# whether its centre is there, and the letters centred in its left and in its right half.
PATCH_NAMES = (len(COLOURS) + 1, len(SHAPES) + 1, len(LOOKS) + 1, 2, len(LETTERS) + 1, len(LETTERS) + 1)
NAMELESS = 255  # where there is a colour or a shape without a name


def name_patches(
    scene: Scene, letter_boxes: list[Box], size: tuple[float, float], corner: tuple[float, float], side: int, patch: int
) -> np.ndarray:
    """Names of the patches of the tile at `corner`: uint8 [6, side / patch, side / patch], see `PATCH_NAMES`.

    `size`, `corner` and `letter_boxes` are in pixels of the picture, `side` and `patch` those of tile and patch.
    """
    count = side // patch
    names = np.zeros((len(PATCH_NAMES), count, count), np.uint8)
    centres = (np.arange(count) + 0.5) * patch
    for thing in scene.things:
        x, y, radius = thing.x * size[0] - corner[0], thing.y * size[1] - corner[1], thing.radius * min(size)
        across, down = (np.maximum(np.abs(centres - at) - patch / 2, 0.0) for at in (x, y))
        here = np.hypot(across[None, :], down[:, None]) <= 0.6 * radius
        look = [name for name, _ in LOOKS].index(looks(radius / side))
        numbers = (_number(thing.colour, tuple(COLOURS)), _number(thing.shape, SHAPES), look + 1)
        names[:3, here] = np.array(numbers, np.uint8)[:, None]
        if 0 <= x < side and 0 <= y < side:
            names[3, int(y // patch), int(x // patch)] = 1
    for letter, (left, top, right, bottom) in zip(
        scene.inscription.text if scene.inscription else "", letter_boxes, strict=True
    ):
        x, y = (left + right) / 2 - corner[0], (top + bottom) / 2 - corner[1]
        if 0 <= x < side and 0 <= y < side:
            half = int(2 * x // patch)
            names[4 + half % 2, int(y // patch), half // 2] = LETTERS.index(letter) + 1
    return names


def _number(name: str, names: tuple[str, ...]) -> int:
    return NAMELESS if name == OTHER else names.index(name) + 1


def _told(things: list[tuple[str, str, str, str]], text: str) -> tuple[str, ...]:
    words = [NUMBERS[len(things)], *(word for thing in things for word in thing)]
    return tuple(words + ["text", *text]) if text else tuple(words)


def _share_inside(box: Box, tile: Box) -> float:
    wide = min(box[2], tile[2]) - max(box[0], tile[0])
    high = min(box[3], tile[3]) - max(box[1], tile[1])
    return max(0.0, wide) * max(0.0, high) / ((box[2] - box[0]) * (box[3] - box[1]))


def twin_of(scene: Scene, rng: random.Random) -> Scene:
    """A scene of the same parts, bound otherwise: colours, shapes, sizes or places of two things exchanged.

    Where there is nothing to exchange, one part is changed. No held-out pair comes into being that the
    scene's own things do not show, and no thing without any name. What is told of the scene is not true of its twin:
    of a part without a name nothing is told, so that it is exchanged but never given a name.
    """
    if scene.inscription and (not scene.things or rng.random() < 0.7):
        return replace(scene, inscription=_other_text(scene.inscription, rng))
    allowed = {(thing.colour, thing.shape) for thing in scene.things}
    for _ in range(8):
        things = _exchange(list(scene.things), rng) if len(scene.things) > 1 else None
        things = things or _change_one(list(scene.things), rng)
        pairs = {(thing.colour, thing.shape) for thing in things}
        if not (pairs - allowed) & (HELD_OUT_PAIRS | {(OTHER, OTHER)}) and set(things) != set(scene.things):
            return replace(scene, things=tuple(in_reading_order(things)))
    return replace(scene, things=tuple(in_reading_order(_resize_one(list(scene.things), rng))))


def _exchange(things: list[Thing], rng: random.Random) -> list[Thing] | None:
    """Two of the things with one part exchanged, or None if they are alike in it."""
    part = rng.choice(("colour", "colour", "shape", "shape", "place", "size"))
    one, other = rng.sample(range(len(things)), 2)
    a, b = things[one], things[other]
    if part == "place":
        things[one], things[other] = _stand_at(a, b), _stand_at(b, a)
    elif part == "size":
        things[one] = _stand_at(replace(a, size=b.size, radius=b.radius), a)
        things[other] = _stand_at(replace(b, size=a.size, radius=a.radius), b)
    else:
        things[one] = replace(a, **{part: getattr(b, part)})
        things[other] = replace(b, **{part: getattr(a, part)})
    told = {(t.place, t.size, t.colour, t.shape) for t in (a, b)}
    return things if {(t.place, t.size, t.colour, t.shape) for t in (things[one], things[other])} != told else None


def _stand_at(thing: Thing, other: Thing) -> Thing:
    """The thing in the middle of the other's place, where any size fits."""
    x, y = (min(GRID, key=lambda centre: abs(centre - at)) for at in (other.x, other.y))
    return replace(thing, x=x, y=y)


def _change_one(things: list[Thing], rng: random.Random) -> list[Thing]:
    at = rng.randrange(len(things))
    parts = (("colour", tuple(COLOURS)), ("shape", SHAPES))
    part, values = rng.choice([one for one in parts if getattr(things[at], one[0]) != OTHER])
    old = getattr(things[at], part)
    things[at] = replace(things[at], **{part: rng.choice([value for value in values if value != old])})
    return things


def _resize_one(things: list[Thing], rng: random.Random) -> list[Thing]:
    at = rng.randrange(len(things))
    size = rng.choice([size for size in SIZES if size != things[at].size])
    radius = SIZES[size] * rng.uniform(1 - SIZE_JITTER, 1 + SIZE_JITTER)
    things[at] = _stand_at(replace(things[at], size=size, radius=radius), things[at])
    return things


def _other_text(inscription: Inscription, rng: random.Random) -> Inscription:
    """The inscription with two letters exchanged or one changed."""
    letters = list(inscription.text)
    at, other = rng.randrange(len(letters)), rng.randrange(len(letters))
    if letters[at] != letters[other] and rng.random() < 0.5:
        letters[at], letters[other] = letters[other], letters[at]
    else:
        alphabet = LETTERS[26:] if letters[at].isdigit() else LETTERS[:26]
        letters[at] = rng.choice([letter for letter in alphabet if letter != letters[at]])
    return replace(inscription, text="".join(letters))
