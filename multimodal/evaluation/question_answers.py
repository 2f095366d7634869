"""Scores of one answer to a question, from 0 to 1, each as its data set publishes it."""

import re
import string
from collections.abc import Sequence

from .items import Item
from .normalizers import plain


def exact(answer: str, references: Sequence[str]) -> float:
    """1 if the answer is one of the references; case, width of letters and a full stop at the end apart."""
    return float(plain(answer) in {plain(one) for one in references})


def choice(answer: str, references: Sequence[str], options: Sequence[str]) -> float:
    """1 if the letter of a right option is chosen: named first, alone or as "(B)", "B." or "answer: B", or by its text.

    An answer that is the text of an option chooses that option; anything else chooses none.
    """
    chosen = chosen_letter(answer, options)
    return float(chosen is not None and chosen in {one.strip().upper() for one in references})


def chosen_letter(answer: str, options: Sequence[str]) -> str | None:
    """The letter that an answer chooses, or None."""
    letters = string.ascii_uppercase[: len(options)]
    for letter, option in zip(letters, options, strict=True):
        if plain(answer) == plain(option):
            return letter
    # a letter with nothing but a sign behind it: "A dog" begins with an article
    named = rf"\W*(?:the\s+)?(?:answer|option)?(?:\s+is)?\W*([{letters}])(?=[).:,]|\W*$)"
    found = re.match(named, answer, re.IGNORECASE)
    return found[1].upper() if found else None


def vqa(answer: str, references: Sequence[str]) -> float:
    """VQA accuracy: each person left out in turn, a third for each other one who said the same, at most 1; the mean.

    Both sides go through the published cleaning (VQA, Antol et al. 2015; the evaluator of TextVQA and VQAv2).

    Raises ValueError for fewer than four references: nobody could then be right.
    """
    if len(references) < 4:
        raise ValueError(
            f"found {len(references)} references; VQA accuracy needs 4 or more people's answers, usually 10"
        )
    said, given = vqa_clean(answer), [vqa_clean(one) for one in references]
    same = [one == said for one in given]
    return sum(min(1.0, (sum(same) - own) / 3) for own in same) / len(given)


_VQA_SIGNS = ';/[]"{}()=+\\_-><@`,?!'
_VQA_NUMBERS = {
    word: str(at) for at, word in enumerate("zero one two three four five six seven eight nine ten".split())
} | {"none": "0"}
_VQA_ARTICLES = {"a", "an", "the"}
# Written without their apostrophe they are the same words; the published table holds some rare ones besides.
_CONTRACTIONS = {
    word.replace("'", ""): word
    for word in (
        "ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll how's "
        "isn't it'd it'll ma'am mightn't might've mustn't must've needn't not've o'clock oughtn't shan't should've "
        "shouldn't somebody'll somebody's someone'd someone'll someone's something'd something'll that's there'd "
        "there're there's they'd they'll they're they've 'twas wasn't we've weren't what'll what're what's what've "
        "when's where'd where's where've who'd who'll who's who've why'll why're why's won't would've wouldn't y'all "
        "you'd you'll you're you've"
    ).split()
}


def vqa_clean(text: str) -> str:
    """An answer as VQA compares it: no signs, no articles, numbers to ten as digits, contractions with apostrophes."""
    text = text.replace("\n", " ").replace("\t", " ").strip().lower()
    drops_all = re.search(r"\d,\d", text) is not None
    cleaned = text
    for sign in _VQA_SIGNS:
        drops = drops_all or f"{sign} " in text or f" {sign}" in text
        cleaned = cleaned.replace(sign, "" if drops else " ")
    cleaned = re.sub(r"\.(?!\d)", "", cleaned)
    words = [_VQA_NUMBERS.get(word, word) for word in cleaned.split()]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _VQA_ARTICLES)


def anls(answer: str, references: Sequence[str]) -> float:
    """Average normalised Levenshtein similarity (DocVQA): the best reference's, 0 below one half."""
    from rapidfuzz.distance import Levenshtein

    said = " ".join(answer.lower().split())
    best = max(Levenshtein.normalized_similarity(said, " ".join(one.lower().split())) for one in references)
    return best if best >= 0.5 else 0.0


def relaxed(answer: str, references: Sequence[str]) -> float:
    """Relaxed accuracy (ChartQA): numbers within 5% of a reference, other answers equal in any case."""
    return float(any(_is_close(answer.strip(), one.strip()) for one in references))


def _is_close(answer: str, reference: str) -> bool:
    said, right = _number(answer), _number(reference)
    if said is not None and right:  # of zero there is no 5%
        return abs(said - right) / abs(right) <= 0.05
    return answer.lower() == reference.lower()


def _number(text: str) -> float | None:
    """A number, or a percentage as its share."""
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None


def score_answer(item: Item, answer: str) -> float:
    """The score of an answer by the metric that its item names, "exact" if it names none."""
    metric = item.extra.get("metric", "exact")
    if metric == "choice":
        return choice(answer, item.references, item.extra["options"])
    return _BY_NAME[metric](answer, item.references)


_BY_NAME = {"exact": exact, "vqa": vqa, "anls": anls, "relaxed": relaxed}
METRICS = (*_BY_NAME, "choice")


def refuse_unscorable(item: Item) -> None:
    """Raises ValueError for an item whose answer could not be scored, before any answer is asked for."""
    metric = item.extra.get("metric", "exact")
    if metric == "wups":
        raise ValueError(
            f"item {item.id}: the metric is wups, which needs WordNet, a download that this package does not make; "
            f"accepted: {', '.join(METRICS)}"
        )
    if metric not in METRICS:
        raise ValueError(f"item {item.id}: found metric {metric!r}; accepted: {', '.join(METRICS)}")
    if metric == "choice" and not item.extra.get("options"):
        raise ValueError(f"item {item.id}: the metric is choice and there are no options; extra['options'] holds them")
    if metric == "vqa" and len(item.references) < 4:
        raise ValueError(
            f"item {item.id}: found {len(item.references)} references; VQA accuracy needs 4 or more people's answers"
        )
