"""Clips in words: shapes that do one thing each, in an order, and questions that no single frame answers.

A `ClipScene` is a description; told in words it teaches the text core, drawn frame by frame it is a
clip. Time is counted in events: the first takes the first share of the clip, and so on. Our choice.
"""

import random
from collections import Counter
from dataclasses import dataclass

from multimodal.nano.scenes import COLOURS, NUMBERS, SHAPES, UNSEEN_WITH, Question

DIRECTIONS = ("left", "right", "up", "down")
ACTIONS = ("moves", "appears", "vanishes", "turns", "grows", "shrinks", "becomes", "stays")
CLIP_KINDS = ("direction", "action", "order", "change", "clip count", "clip yes/no")
_NO_ROUND = ("square", "triangle", "star", "cross")  # a turning circle or ring looks like one at rest
_ASKED = {"appears": "appear", "vanishes": "vanish", "turns": "turn", "grows": "grow", "shrinks": "shrink"}


@dataclass(frozen=True)
class Actor:
    """A shape of a clip and what it does: `detail` is the direction it moves in or its new colour."""

    colour: str
    shape: str
    action: str  # one of ACTIONS
    detail: str = ""

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"

    @property
    def deed(self) -> str:
        return f"{self.action} {self.detail}".strip()

    @property
    def plain(self) -> str:
        """The deed after "does it": move left, appear, become red."""
        verb = {"moves": "move", "becomes": "become", "stays": "stay"}.get(self.action) or _ASKED[self.action]
        return f"{verb} {self.detail}".strip()


@dataclass(frozen=True)
class ClipScene:
    """One to three actors, all different in colour and in shape, in the order in which they act.

    Those that stay come last, since they do nothing at any time.
    """

    actors: tuple[Actor, ...]

    @property
    def events(self) -> tuple[Actor, ...]:
        return tuple(actor for actor in self.actors if actor.action != "stays")


def sample_clip(rng: random.Random, max_actors: int = 3) -> ClipScene:
    """A random clip in which at least one thing happens."""
    count = rng.randint(1, max_actors)
    staying = rng.choice((0, 0, 0, 1)) if count > 1 else 0
    shapes, colours = rng.sample(SHAPES, count), rng.sample(tuple(COLOURS), count)
    actors = []
    for at, (shape, colour) in enumerate(zip(shapes, colours, strict=True)):
        action = "stays" if at >= count - staying else rng.choice(("moves", "moves", *ACTIONS[:-1]))
        if action == "turns" and shape not in _NO_ROUND:
            action = "moves"
        detail = ""
        if action == "moves":
            detail = rng.choice(DIRECTIONS)
        elif action == "becomes":
            detail = rng.choice([c for c in COLOURS if c not in colours])
        actors.append(Actor(colour, shape, action, detail))
    return ClipScene(tuple(actors))


def narrate(clip: ClipScene) -> str:
    """The clip as one sentence, events in their order, those that stay last."""
    parts = [f"{'an' if actor.name[0] in 'aeiou' else 'a'} {actor.name} {actor.deed}" for actor in clip.actors]
    events = len(clip.events)
    return ", then ".join(parts[:events]) + "".join(f", and {part}" for part in parts[events:])


def ask_about_clip(clip: ClipScene, rng: random.Random, number: int) -> list[Question]:
    """Up to `number` different questions with one right answer each, kinds in random order."""
    questions: dict[str, Question] = {}
    for _ in range(4 * number):
        asked = rng.choice(_ASKERS)(clip, rng)
        if asked and asked.text not in questions:
            questions[asked.text] = asked
        if len(questions) == number:
            break
    return list(questions.values())


def _reference(actor: Actor, rng: random.Random) -> str:
    """A name that points at the actor: all differ in shape, and in their first colour."""
    return rng.choice((actor.shape, actor.shape, actor.name, f"{actor.colour} thing"))


def _the(actor: Actor) -> str:
    return f"the {actor.name} {actor.deed}"


def _direction(clip: ClipScene, rng: random.Random) -> Question | None:
    moving = [actor for actor in clip.events if actor.action == "moves"]
    if not moving:
        return None
    actor = rng.choice(moving)
    form = rng.choice(("Which way does the {} move?", "Where does the {} go?", "In which direction does the {} move?"))
    return Question("direction", form.format(_reference(actor, rng)), actor.detail)


def _action(clip: ClipScene, rng: random.Random) -> Question:
    actor = rng.choice(clip.actors)
    form = rng.choice(("What does the {} do?", "What happens to the {}?"))
    return Question("action", form.format(_reference(actor, rng)), actor.deed)


def _who(clip: ClipScene, rng: random.Random) -> Question | None:
    """Which shape, or which colour, does it."""
    single = [action for action, n in Counter(actor.action for actor in clip.events).items() if n == 1]
    if not single:
        return None
    action = rng.choice(single)
    actor = next(actor for actor in clip.events if actor.action == action)
    deed = "changes color" if action == "becomes" else action
    if rng.random() < 0.6 or action == "becomes":
        return _shape_asked(actor, "action", rng.choice(("Which shape {}?", "What {}?")).format(deed))
    return _colour_asked(actor, actor.colour, "action", f"What color is the thing that {deed}?")


def _shape_asked(actor: Actor, kind: str, text: str) -> Question:
    colours = (actor.colour, actor.detail) if actor.action == "becomes" else (actor.colour,)
    return Question(kind, text, actor.shape, frozenset().union(*(UNSEEN_WITH.get(one, ()) for one in colours)))


def _colour_asked(actor: Actor, colour: str, kind: str, text: str) -> Question:
    return Question(kind, text, colour, UNSEEN_WITH.get(actor.shape, frozenset()))


def _order(clip: ClipScene, rng: random.Random) -> Question | None:
    events = clip.events
    if len(events) < 2:
        return None
    form = rng.choice(("first", "last", "after", "before", "shape"))
    if form in ("first", "last"):
        return Question("order", f"What happens {form}?", _the(events[0 if form == "first" else -1]))
    if form == "shape":
        which = rng.choice(("first", "last"))
        return _shape_asked(events[0 if which == "first" else -1], "order", f"Which shape does something {which}?")
    at = rng.randrange(len(events) - 1)
    known, asked = (events[at], events[at + 1]) if form == "after" else (events[at + 1], events[at])
    return Question("order", f"What happens {'right ' if len(events) > 2 else ''}{form} {_the(known)}?", _the(asked))


def _change(clip: ClipScene, rng: random.Random) -> Question | None:
    changing = [actor for actor in clip.events if actor.action == "becomes"]
    actor = rng.choice(changing or clip.actors)
    when = rng.choice(("start", "end"))
    if actor.action == {"start": "appears", "end": "vanishes"}[when]:
        return None  # not there at that time
    colour = actor.detail if when == "end" and changing else actor.colour
    return _colour_asked(actor, colour, "change", f"What color is the {actor.shape} at the {when}?")


def _count(clip: ClipScene, rng: random.Random) -> Question:
    counts = Counter(actor.action for actor in clip.actors)
    deeds = {"move": counts["moves"], "change color": counts["becomes"], "stay": counts["stays"]}
    deeds |= {plain: counts[action] for action, plain in _ASKED.items()}
    asked = [f"How many things {deed}?" for deed in deeds]
    answers = list(deeds.values())
    asked += [
        "How many things are there at the start?",
        "How many things are there at the end?",
        "How many things are there?",
    ]
    answers += [len(clip.actors) - counts["appears"], len(clip.actors) - counts["vanishes"], len(clip.actors)]
    weights = [{0: 0.2}.get(answer, 1.0) for answer in answers]  # most deeds are done by none
    at = rng.choices(range(len(asked)), weights)[0]
    return Question("clip count", asked[at], NUMBERS[answers[at]])


def _yes_no(clip: ClipScene, rng: random.Random) -> Question | None:
    truth = rng.random() < 0.5
    answer = "yes" if truth else "no"
    events = clip.events
    if len(events) > 1 and rng.random() < 0.5:
        first, second = sorted(rng.sample(range(len(events)), 2))
        word = rng.choice(("before", "after"))
        if truth != (word == "before"):
            first, second = second, first
        earlier, later = events[first], events[second]
        asked = f"Does the {earlier.name} {earlier.plain} {word} {_the(later)}?"
        return Question("clip yes/no", asked, answer)
    actor = rng.choice(clip.actors)
    plain = actor.plain
    if not truth:
        others = [other.plain for other in clip.actors if other.plain != plain]
        others += [f"move {way}" for way in DIRECTIONS] if actor.action == "moves" else [*_ASKED.values(), "stay"]
        plain = rng.choice([other for other in others if other != plain])
    return Question("clip yes/no", f"Does the {_reference(actor, rng)} {plain}?", answer)


def _describe(clip: ClipScene, rng: random.Random) -> Question:
    form = rng.choice(("Describe the clip.", "What happens in the clip?", "What happens?"))
    return Question("describe clip", form, narrate(clip))


_ASKERS = (
    *(_direction, _direction, _action, _action, _who, _who, _order, _order, _order),
    *(_change, _change, _count, _count, _yes_no, _yes_no, _yes_no, _describe),
)
