"""What is said: phrases in 34 languages, two languages in one breath, and questions in English.

A transcript is written as the text core has learnt to copy it: a list as `say_all` writes it, a question
with its capital and its question mark. Of that a listener hears the words and, in a pause, the commas. It
cannot hear a capital (Finnish Kiina is the country, kiina its language), which is why `scored` compares
transcripts in small letters and without punctuation. Nor can it hear the difference between colour and
color, so spoken questions have the American spelling; nor between names that sound alike, one of which is
then never said (`UNSAID`).

espeak-ng does not read every spelling as the language does; `as_read` respells those that we know of (found
by comparing the phonemes of the whole phrase table). What remains: its Thai is a sound for each letter, even
[s] for some vowels, and a word for each digit, and no Thai would understand it; days of the month are plain
numbers except in German; Arabic lacks some vowels still.
"""

import random
import re
import unicodedata
import zlib
from dataclasses import dataclass

from multimodal.languages import LANGUAGES

from ..questions import ask_about
from ..scenes import sample_scene
from ..text.phrases import CODES, COUNTRIES, ITEM_SHARES, Item, sample_items, say_all
from ..text.small_talk import facts, sample_small_talk

SHARES = {"phrase": 0.7, "mixed": 0.15, "question": 0.1, "talk": 0.05}
_HELD_OUT_SHARES = {"phrase": 0.6, "mixed": 0.15, "question": 0.17, "talk": 0.08}
# Of what training says: a thousand numbers and a hundred years want to be heard more often than forty countries.
ITEMS = {"country": 0.27, "language": 0.22, "month": 0.1, "weekday": 0.08, "date": 0.2, "number": 0.13}

# Hungary and Hungarian begin with a syllable that the Chinese voice does not have and spells in English;
# elsewhere Kannada sounds as Canada does.
UNSAID = {
    ("zh", Item("country", COUNTRIES.index("HU"))),
    ("zh", Item("language", CODES.index("hu"))),
    *((code, Item("language", CODES.index("kn"))) for code in ("nl", "fr", "sv")),
}

_RESPELLED = {
    # vowel marks, where espeak-ng would string consonants together
    "ar": """الولايات=الوِلايات المتحدة=المُتَحِدة إثيوبيا=إِثيوبيا الدانمرك=الدانِمارك هولندا=هولَندا
    الهولندية=الهولَندية الإنجليزية=الإِنجليزية الفنلندية=الفِنلَندية الفرنسية=الفَرَنسية الألمانية=الأَلمانية
    الهنغارية=الهُنغارية الإندونيسية=الإِندونيسية الإسبانية=الإِسبانية البولندية=البولَندية السواحلية=السَواحِلية
    الأوردية=الأُردية""",
    # the letter yya in two characters, as NFC writes it, is dropped; in one it is read
    "bn": "\N{BENGALI LETTER YA}\N{BENGALI SIGN NUKTA}=\N{BENGALI LETTER YYA}",
    "fa": "پرو=پِرو",
    # these three, and the Vietnamese names below, would be read in English
    "fr": "Éthiopie=Étiopie Danemark=Danemarque marathi=marati",
    "ja": "ウェ=エ",
    "vi": """U-crai-na=U-cờ-rai-na Bangla=Băng-la Gujarati=Gu-gia-ra-ti Hindi=Hin-đi Kannada=Can-na-đa
    Malayalam=Ma-lay-a-lam Marathi=Ma-ra-thi Swahili=Soa-hi-li Tamil=Ta-min Telugu=Tê-lu-gu Urdu=U-đu""",
}
_RESPELLINGS = {code: [pair.split("=") for pair in pairs.split()] for code, pairs in _RESPELLED.items()}
_CHINESE_DIGITS = str.maketrans("0123456789", "零一二三四五六七八九")


@dataclass(frozen=True)
class Part:
    """What is read in one go, in one language, by one voice: the language's code and the text as it is read."""

    language: str
    spoken: str


@dataclass(frozen=True)
class Utterance:
    """What a transcript says, what is read aloud for it, of which kind (of SHARES) it is, and about which items."""

    text: str
    parts: tuple[Part, ...]
    kind: str
    items: tuple[Item, ...] = ()

    @property
    def language(self) -> str:
        """The code of the language that it begins in."""
        return self.parts[0].language


def sample_utterance(rng: random.Random, held_out: bool = False, kind: str | None = None) -> Utterance:
    """A random utterance (by default of a drawn kind); every text is either for training or held out, never both.

    As in the phrase table, single names are a closed list and for training; so are greetings and the like.
    """
    shares = _HELD_OUT_SHARES if held_out else SHARES
    kind = kind or rng.choices(list(shares), list(shares.values()))[0]
    return _SAMPLERS[kind](rng, held_out)


def sample_short_phrase(rng: random.Random) -> Utterance:
    """One or two names in one language, for training: what a beginner hears."""
    return _phrase(rng, False, most=2)


def as_read(text: str, code: str) -> str:
    """The text, respelled so that espeak-ng reads it as the language does."""
    for written, read in _RESPELLINGS.get(code, ()):
        text = text.replace(written, read)
    if code == "de":  # before a capital the point of an ordinal ends the sentence, and the number is no ordinal
        text = re.sub(r"(?<=\d\. )\w", lambda first: first[0].lower(), text)
    if code == "th":  # the voice knows no mark above: not the one that silences its letter, no tone, no short vowel
        text = re.sub("[ก-ฮ][ิุ]?\N{THAI CHARACTER THANTHAKHAT}|[็-๋]", "", text)
    if code == "zh":  # years are said digit by digit
        text = re.sub(r"\d{4}(?=年)", lambda year: year[0].translate(_CHINESE_DIGITS), text)
    return text


def scored(text: str, code: str) -> str:
    """What can be heard of a transcript: small letters, no punctuation but spaces, no joining marks.

    Hyphens and points become spaces ("terça-feira" is two words), apostrophes vanish.
    """
    if code == "tr":
        text = text.replace("I", "ı").replace("İ", "i")
    kept = (_heard(letter) for letter in unicodedata.normalize("NFC", text.lower()))
    return " ".join("".join(kept).split())


def _heard(letter: str) -> str:
    if letter in "'’" or unicodedata.category(letter) == "Cf":
        return ""
    return " " if unicodedata.category(letter)[0] in "PZ" else letter


def _phrase(rng: random.Random, held_out: bool, most: int = 3) -> Utterance:
    code = rng.choice(LANGUAGES).code
    items = _sayable(rng, held_out, code, most=most)
    text = say_all(items, code)
    return Utterance(text, (Part(code, as_read(text, code)),), "phrase", items)


def _mixed(rng: random.Random, held_out: bool) -> Utterance:
    """A list that changes its language on the way, with no comma there (as the text core has seen it)."""
    codes = [language.code for language in rng.sample(LANGUAGES, 2)]
    items = ()
    while len(items) < 2:
        items = _sayable(rng, held_out, *codes)
    turn = rng.randint(1, len(items) - 1)
    texts = [(code, say_all(some, code)) for code, some in zip(codes, (items[:turn], items[turn:]), strict=True)]
    parts = tuple(Part(code, as_read(text, code)) for code, text in texts)
    return Utterance(" ".join(text for _, text in texts), parts, "mixed", items)


def _sayable(rng: random.Random, held_out: bool, *codes: str, most: int = 3) -> tuple[Item, ...]:
    while True:
        items = sample_items(rng, held_out, most, ITEM_SHARES if held_out else ITEMS)
        if not any((code, item) in UNSAID for code in codes for item in items):
            return items


def _question(rng: random.Random, held_out: bool) -> Utterance:
    while True:
        for question in ask_about(sample_scene(rng), rng, 4):
            if _is_held_out_text(question.text) == held_out:
                return in_english(question.text, "question")


def _talk(rng: random.Random, held_out: bool) -> Utterance:
    chat = {question for fact in facts() if fact.topic == "chat" for question in fact.questions}
    while True:
        asked, _ = sample_small_talk(rng)
        if (asked not in chat and _is_held_out_text(asked)) == held_out:
            return in_english(asked, "talk")


def american(text: str) -> str:
    """A question in the spelling that ears are taught: nobody hears how "colour" is written."""
    return text.replace("colour", "color")


def in_english(text: str, kind: str) -> Utterance:
    """A text of nano's world as it is said."""
    text = american(text)
    return Utterance(text, (Part("en", text),), kind)


def _is_held_out_text(text: str) -> bool:
    """One text in twenty; a pure function of what is heard of it."""
    return zlib.crc32(scored(american(text), "en").encode()) % 20 == 0


_SAMPLERS = {"phrase": _phrase, "mixed": _mixed, "question": _question, "talk": _talk}
