"""A few hundred closed questions with short answers: greetings, capitals, sums, the calendar, opposites."""

import random
from dataclasses import dataclass
from functools import cache

from multimodal.nano.text.phrases import COUNTRIES, Item, say

_CAPITALS = dict(
    pair.replace("_", " ").split("=")
    for pair in """US=Washington CA=Ottawa MX=Mexico_City BR=Brasilia AR=Buenos_Aires PE=Lima CU=Havana EG=Cairo
    MA=Rabat NG=Abuja KE=Nairobi ET=Addis_Ababa ZA=Pretoria FR=Paris DE=Berlin IT=Rome ES=Madrid PT=Lisbon
    NL=Amsterdam AT=Vienna CH=Bern PL=Warsaw CZ=Prague HU=Budapest RO=Bucharest GR=Athens SE=Stockholm
    NO=Oslo FI=Helsinki DK=Copenhagen GB=London UA=Kyiv RU=Moscow TR=Ankara IR=Tehran IQ=Baghdad IN=New_Delhi
    PK=Islamabad CN=Beijing JP=Tokyo KR=Seoul VN=Hanoi TH=Bangkok ID=Jakarta AU=Canberra""".split()
)
_SPOKEN = dict(
    pair.split("=")
    for pair in """US=English MX=Spanish BR=Portuguese AR=Spanish CU=Spanish EG=Arabic MA=Arabic FR=French DE=German
    IT=Italian ES=Spanish PT=Portuguese NL=Dutch AT=German PL=Polish CZ=Czech HU=Hungarian RO=Romanian
    GR=Greek SE=Swedish FI=Finnish GB=English RU=Russian TR=Turkish IR=Persian IQ=Arabic PK=Urdu CN=Chinese
    JP=Japanese KR=Korean VN=Vietnamese TH=Thai ID=Indonesian KE=Swahili AU=English""".split()
)
_OPPOSITES = """hot=cold big=small up=down left=right day=night open=closed fast=slow old=new happy=sad black=white
north=south east=west summer=winter top=bottom yes=no first=last high=low long=short wet=dry full=empty early=late
light=dark hard=soft rich=poor strong=weak good=bad before=after start=end""".split()
_COLOURS_OF = """a lemon=yellow|grass=green|the sky=blue|snow=white|blood=red|coal=black|milk=white|the sun=yellow|
a tomato=red|an orange=orange|the night=black|a leaf=green|the sea=blue|a strawberry=red|a plum=purple|a crow=black|
a carrot=orange|a banana=yellow|a frog=green|sugar=white"""
_KINDS_OF = """dog=animal cat=animal cow=animal horse=animal lion=animal tiger=animal apple=fruit lemon=fruit
banana=fruit plum=fruit tea=drink coffee=drink milk=drink water=drink juice=drink bus=vehicle car=vehicle
train=vehicle truck=vehicle taxi=vehicle red=color blue=color green=color circle=shape square=shape star=shape
triangle=shape chair=furniture table=furniture bed=furniture""".split()
_CHAT = """Hello.|Hi.|Hello there.|Hey.|Good day.=Hello, how can I help you?
Good morning.=Good morning.
Good evening.=Good evening.
Good night.=Good night.
How are you?|How are you today?|How do you do?=I am fine, thank you.
Who are you?|What are you?|What is your name?|Tell me who you are.=I am nano, a small language model.
What can you do?|How can you help me?=I can see pictures and clips, hear speech and speak.
Can you see?|Can you look at a picture?=Yes, show me a picture.
Can you hear?|Can you understand speech?=Yes, I understand 34 languages.
Can you speak?|Do you have a voice?=Yes, I can speak.
Thanks.|Thank you.|Thank you very much.|Thanks a lot.=You are welcome.
Goodbye.|Bye.|See you.|See you later.=Goodbye.
Are you a person?|Are you human?|Are you a human?=No, I am a language model.
How many languages do you know?=34
How many days are in a week?|How many days does a week have?=7
How many months are in a year?|How many months does a year have?=12
How many hours are in a day?|How many hours does a day have?=24
How many minutes are in an hour?=60
How many seconds are in a minute?=60
How many sides does a triangle have?|How many corners does a triangle have?=3
How many sides does a square have?|How many corners does a square have?=4
How many legs does a dog have?|How many legs does a cat have?|How many legs does a horse have?=4
How many legs does a spider have?=8
How many legs does a bird have?=2
How many wheels does a car have?=4
How many wheels does a bicycle have?=2
Which is the first month?|What is the first month of the year?=January
Which is the last month?|What is the last month of the year?=December
Which shape is round?=circle
What do cows give?|What do we get from cows?=milk
What do bees make?=honey
Where do fish live?=water
What does a clock show?=time
What do you read?=book
When is it dark?=night
What falls in winter?=snow
What is frozen water?=ice"""


@dataclass(frozen=True)
class Fact:
    """Questions that mean the same, the one answer to them, and the topic they belong to."""

    topic: str
    questions: tuple[str, ...]
    answer: str


@cache
def facts() -> tuple[Fact, ...]:
    """Every fact of small talk, sums not among them."""
    return tuple([*_chat(), *_geography(), *_calendar(), *_words()])


def _chat() -> list[Fact]:
    rows = [line.rsplit("=", 1) for line in _CHAT.splitlines()]
    return [Fact("chat", tuple(questions.split("|")), answer) for questions, answer in rows]


def _geography() -> list[Fact]:
    named = {code: say(Item("country", at), "en") for at, code in enumerate(COUNTRIES)}
    named |= {code: f"the {named[code]}" for code in ("US", "GB", "NL")}
    made = []
    for code, name in named.items():
        city = _CAPITALS[code]
        asked = (
            f"What is the capital of {name}?",
            f"Which city is the capital of {name}?",
            f"Name the capital of {name}.",
        )
        made.append(Fact("capital", asked, city))
        made.append(
            Fact("country", (f"Which country has the capital {city}?", f"Where is {city}?"), name.removeprefix("the "))
        )
    for code, language in _SPOKEN.items():
        name = named[code]
        asked = (
            f"Which language is spoken in {name}?",
            f"What do people speak in {name}?",
            f"What language do they speak in {name}?",
        )
        made.append(Fact("spoken", asked, language))
    return made


def _calendar() -> list[Fact]:
    made = []
    for kind, count, word in (("weekday", 7, "day"), ("month", 12, "month")):
        names = [say(Item(kind, at), "en") for at in range(count)]
        for at, name in enumerate(names):
            after, before = names[(at + 1) % count], names[at - 1]
            made.append(Fact("calendar", (f"Which {word} comes after {name}?", f"What comes after {name}?"), after))
            made.append(Fact("calendar", (f"Which {word} comes before {name}?", f"What comes before {name}?"), before))
    for at, days in enumerate((31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)):
        name = say(Item("month", at), "en")
        asked = (f"How many days are in {name}?", f"How many days does {name} have?", f"How long is {name}?")
        made.append(Fact("calendar", asked, str(days)))
    return made


def _words() -> list[Fact]:
    made = []
    for pair in _OPPOSITES:
        for word, other in (pair.split("="), pair.split("=")[::-1]):
            made.append(
                Fact("opposite", (f"What is the opposite of {word}?", f"Tell me the opposite of {word}."), other)
            )
    for pair in _COLOURS_OF.replace("\n", "").split("|"):
        thing, colour = pair.split("=")
        made.append(
            Fact(
                "colour of",
                (f"What color is {thing}?", f"What colour is {thing}?", f"Which color does {thing} have?"),
                colour,
            )
        )
    for pair in _KINDS_OF:
        thing, kind = pair.split("=")
        made.append(
            Fact("kind of", (f"What kind of thing is {thing}?", f"What is {thing}, an animal, a fruit or what?"), kind)
        )
    return made


def sample_sum(rng: random.Random) -> tuple[str, str]:
    """A sum or difference within twenty, in digits."""
    total = rng.randint(0, 20)
    part = rng.randint(0, total)
    if rng.random() < 0.5:
        asked, answer = rng.choice(("What is {} plus {}?", "How much is {} plus {}?")).format(part, total - part), total
    else:
        asked, answer = (
            rng.choice(("What is {} minus {}?", "How much is {} minus {}?")).format(total, part),
            total - part,
        )
    return asked, str(answer)


def sample_small_talk(rng: random.Random) -> tuple[str, str]:
    """A question and its answer."""
    if rng.random() < 0.2:
        return sample_sum(rng)
    fact = rng.choice(facts())
    return rng.choice(fact.questions), fact.answer
