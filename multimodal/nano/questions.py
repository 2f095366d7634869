"""Questions about a scene, with exact answers. One kind a function; yes/no and counts are balanced."""

import random
from collections import Counter
from dataclasses import replace
from functools import partial

from .scenes import (
    COLOURS,
    HELD_OUT_PAIRS,
    NUMBERS,
    OTHER,
    SHAPES,
    SIZES,
    UNSEEN_WITH,
    WORDS,
    Question,
    Scene,
    Thing,
    describe,
)

CLEARLY_APART = 0.2  # two centres nearer than this along an axis are not asked to be told apart


def ask_about(scene: Scene, rng: random.Random, number: int) -> list[Question]:
    """One to `number` different questions with one right answer each, kinds in random order.

    Of a thing whose colour or shape has no name only the rest is asked.
    """
    questions: dict[str, Question] = {}
    tries = 0
    while len(questions) < number and (tries < 3 * number or not questions):
        asked = rng.choice(_ASKERS)(scene, rng)
        if asked and OTHER not in f"{asked.text} {asked.answer}":
            questions.setdefault(asked.text, asked)
        tries += 1
    return list(questions.values())


def ask_kind(kind: str, scene: Scene, rng: random.Random) -> Question | None:
    """One question of the kind, or None where the scene allows none."""
    return rng.choice([asker for asker, its_kind in _KIND_OF.items() if its_kind == kind])(scene, rng)


def _references(scene: Scene, hidden: str) -> list[tuple[str, Thing]]:
    """Every shortest name that points at exactly one thing and does not tell its `hidden` attribute."""
    found = []
    for thing in scene.things:
        for attributes in (("shape",), ("colour",), ("colour", "shape"), ("size", "shape"), ("size", "colour")):
            if hidden in attributes:
                continue
            values = [getattr(thing, attribute) for attribute in attributes]
            same = [t for t in scene.things if [getattr(t, attribute) for attribute in attributes] == values]
            if len(same) == 1:
                noun = () if "shape" in attributes else ("thing",)
                found.append((" ".join((*values, *noun)), thing))
    return found


_ATTRIBUTE_FORMS = {
    "colour": ("What color is the {}?", "What colour is the {}?", "Which color does the {} have?"),
    "shape": ("What shape is the {}?", "Which shape is the {}?", "What is the {}?"),
    "size": ("What size is the {}?", "How big is the {}?", "How large is the {}?"),
    "place": ("Where is the {}?", "Where do you see the {}?", "In which place is the {}?"),
}


def _attribute(attribute: str, kind: str, scene: Scene, rng: random.Random) -> Question | None:
    """What one attribute of a thing is, the thing named by others."""
    references = _references(scene, attribute)
    if not references:
        return None
    name, thing = rng.choice(references)
    return _asked_of(thing, attribute, kind, rng.choice(_ATTRIBUTE_FORMS[attribute]).format(name))


def _asked_of(thing: Thing, attribute: str, kind: str, text: str) -> Question:
    """A question that an attribute of the thing answers."""
    other = {"colour": thing.shape, "shape": thing.colour}.get(attribute)
    return Question(kind, text, getattr(thing, attribute), UNSEEN_WITH.get(other, frozenset()))


_colour, _shape, _size = (partial(_attribute, kind, kind) for kind in ("colour", "shape", "size"))
_place = partial(_attribute, "place", "position")


def _count(scene: Scene, rng: random.Random) -> Question:
    """How many of a shape, a colour or all: each answer as often as the scene lets it be."""
    choices: dict[int, list[str]] = {}
    shapes, colours = (Counter(getattr(t, name) for t in scene.things) for name in ("shape", "colour"))
    for shape in SHAPES:
        plural = "crosses" if shape == "cross" else shape + "s"
        choices.setdefault(shapes[shape], []).append(plural)
    for colour in COLOURS:
        choices.setdefault(colours[colour], []).append(f"{colour} things")
    choices.setdefault(len(scene.things), []).extend(["things", "shapes"] * 3)
    # zero and one are possible in nearly every scene; asked less often, they do not drown the rest
    weights = [{0: 0.12, 1: 0.35}.get(answer, 1.0) for answer in choices]
    answer = rng.choices(list(choices), weights)[0]
    form = rng.choice(("How many {} are there?", "How many {} are in the picture?", "How many {} do you see?"))
    return Question("count", form.format(rng.choice(choices[answer])), NUMBERS[answer])


def _apart(scene: Scene, rng: random.Random) -> tuple[str, str, bool, bool] | None:
    """Two named things clearly apart along an axis: names, whether that axis is x, whether the first is before."""
    references = _references(scene, "place")
    pairs = []
    for first_name, first in references:
        for second_name, second in references:
            if first is not second:
                if abs(first.x - second.x) > CLEARLY_APART:
                    pairs.append((first_name, second_name, True, first.x < second.x))
                if abs(first.y - second.y) > CLEARLY_APART:
                    pairs.append((first_name, second_name, False, first.y < second.y))
    return rng.choice(pairs) if pairs else None


def _side(scene: Scene, rng: random.Random) -> Question | None:
    pair = _apart(scene, rng)
    if pair is None:
        return None
    first, second, horizontal, before = pair
    words = ("left", "right") if horizontal else ("above", "below")
    asked = "left or right of" if horizontal else "above or below"
    return Question("position", f"Is the {first} {asked} the {second}?", words[not before])


def _extreme(scene: Scene, rng: random.Random) -> Question | None:
    """Which thing stands furthest to one side."""
    word, key = rng.choice(
        (("left", lambda t: t.x), ("right", lambda t: -t.x), ("top", lambda t: t.y), ("bottom", lambda t: -t.y))
    )
    ranked = sorted(scene.things, key=key)
    if len(ranked) < 2 or key(ranked[1]) - key(ranked[0]) < CLEARLY_APART:
        return None
    superlative = {"left": "leftmost", "right": "rightmost", "top": "highest", "bottom": "lowest"}[word]
    if rng.random() < 0.5:
        return _asked_of(ranked[0], "shape", "position", f"Which shape is {superlative}?")
    return _asked_of(ranked[0], "colour", "position", f"What color is the {superlative} shape?")


def _yes_no(scene: Scene, rng: random.Random) -> Question | None:
    """Half yes, half no; a no recombines what is present where it can, so that parts alone do not tell."""
    truth = rng.random() < 0.5
    ask = rng.choice((_is_there, _is_there, _has_attribute, _has_attribute, _stands))
    return ask(scene, rng, truth)


def _is_there(scene: Scene, rng: random.Random, truth: bool) -> Question | None:
    answer = "yes" if truth else "no"
    form = rng.choice(("Is there {}?", "Do you see {}?", "Is there {} in the picture?"))
    if rng.random() < 0.4:  # one attribute
        attribute, values = rng.choice((("shape", SHAPES), ("colour", tuple(COLOURS))))
        present = {getattr(t, attribute) for t in scene.things}
        values = [value for value in values if (value in present) == truth]
        if not values:
            return None
        value = rng.choice(values)
        name = f"{value} thing" if attribute == "colour" else value
    else:
        pairs = {(t.colour, t.shape) for t in scene.things}
        hard = [(a.colour, b.shape) for a in scene.things for b in scene.things if (a.colour, b.shape) not in pairs]
        near = [(t.colour, shape) for t in scene.things for shape in SHAPES if (t.colour, shape) not in pairs]
        hard, near = ([pair for pair in choices if pair not in HELD_OUT_PAIRS] for choices in (hard, near))
        choices = sorted(pairs) if truth else (hard if hard and rng.random() < 0.7 else near)
        if not choices:
            return None
        name = " ".join(rng.choice(choices))
    return Question("yes/no", form.format(f"{'an' if name[0] in 'aeiou' else 'a'} {name}"), answer)


def _has_attribute(scene: Scene, rng: random.Random, truth: bool) -> Question | None:
    attribute, values = rng.choice((("colour", tuple(COLOURS)), ("shape", SHAPES), ("size", tuple(SIZES))))
    references = _references(scene, attribute)
    if not references:
        return None
    name, thing = rng.choice(references)
    value = getattr(thing, attribute)
    if not truth:
        others = [replace(thing, **{attribute: v}) for v in values if v != value]
        wrong = [getattr(one, attribute) for one in others if attribute == "size" or not _is_held_out(one)]
        elsewhere = [v for v in wrong if any(getattr(t, attribute) == v for t in scene.things)]
        value = rng.choice(elsewhere if elsewhere and rng.random() < 0.7 else wrong)
    article = "a " if attribute == "shape" else ""
    return Question("yes/no", f"Is the {name} {article}{value}?", "yes" if truth else "no")


def _is_held_out(thing: Thing) -> bool:
    """Whether training pictures never show it: asked about there, the answer would always be no."""
    return (thing.colour, thing.shape) in HELD_OUT_PAIRS


def _stands(scene: Scene, rng: random.Random, truth: bool) -> Question | None:
    pair = _apart(scene, rng)
    if pair is None:
        return None
    first, second, horizontal, before = pair
    words = ("left of", "right of") if horizontal else ("above", "below")
    return Question("yes/no", f"Is the {first} {words[before != truth]} the {second}?", "yes" if truth else "no")


def _text(scene: Scene, rng: random.Random) -> Question | None:
    if scene.inscription is None:
        return None
    forms = ("What does it say?", "What is written in the picture?", "Read the text.", "What text do you see?")
    form = rng.choice(forms)
    return Question("text", form, scene.inscription.text)


def _text_yes_no(scene: Scene, rng: random.Random) -> Question | None:
    if scene.inscription is None:
        return None
    truth = rng.random() < 0.5
    said = scene.inscription.text if truth else rng.choice([word for word in WORDS if word != scene.inscription.text])
    return Question("yes/no", f"Does it say {said}?", "yes" if truth else "no")


def _describe(scene: Scene, rng: random.Random) -> Question:
    form = rng.choice(("Describe the picture.", "What is in the picture?", "What do you see?"))
    return Question("describe", form, describe(scene))


# A text question is only possible in a fifth of the scenes, hence its weight.
_ASKERS = (
    *(_colour, _colour, _shape, _shape, _size, _size, _count, _count),
    *(_place, _side, _extreme, _yes_no, _yes_no, _yes_no),
    *(_text, _text, _text, _text, _text_yes_no, _describe),
)
_KIND_OF = {
    _colour: "colour",
    _shape: "shape",
    _count: "count",
    _size: "size",
    _place: "position",
    _side: "position",
    _extreme: "position",
    _yes_no: "yes/no",
    _text: "text",
    _text_yes_no: "yes/no",
    _describe: "describe",
}
