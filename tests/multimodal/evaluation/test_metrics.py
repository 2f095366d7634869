"""Figures against the libraries called directly and the formulas written out, on generated cases and traps."""

import random
import re
from itertools import product

import jiwer
import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF
from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

from multimodal.evaluation.items import Item
from multimodal.evaluation.measures import measures
from multimodal.evaluation.question_answers import chosen_letter, refuse_unscorable, score_answer, vqa_clean

CASES = 200
WORDS = {
    "English": "the colour of 21 twenty-one can't Mr. Smith's, $5 — hello? (uh) gray grey 100%".split(),
    "Arabic": "كَتَبَ كتب الوَلَدُ الولد دَرْسًا درسا ١٢ ،".split(),
    "Hindi": "सोमवार हिन्दी है। नहीं १२ लाल वृत्त".split(),
    "Thai": "วันจันทร์ ที่ สีแดง กี่ วงกลม ๑๒".split(),
    "Chinese": "星期一 红色 圆形 有 几个 １２ 12 ，。".split(),
    "Japanese": "げつようび あかい まる は いくつ １２ 。".split(),
    "Korean": "월요일 빨간 원 몇 개 있나요?".split(),
    "Turkish": "İstanbul ısı kırmızı daire pazartesi!".split(),
}
CHARACTERS = ("Thai", "Chinese", "Japanese", "Korean")


def item(at: int, task: str, language: str, references, **extra) -> Item:
    return Item(str(at), task, language, None, tuple(references), extra=extra)


def changed(words: list[str], pool: list[str], rng: random.Random) -> list[str]:
    """Words with some dropped, doubled or replaced."""
    out = []
    for word in words:
        out += rng.choice([[word], [word], [word], [], [word, word], [rng.choice(pool)]])
    return out


def generated(language: str, count: int, seed: int) -> tuple[list[str], list[str]]:
    """References and hypotheses, some of them empty."""
    rng, pool = random.Random(seed), WORDS[language]
    join = "" if language in ("Thai", "Chinese", "Japanese") else " "
    references = [rng.choices(pool, k=rng.choice([0, 1, 2, 5, 9])) for _ in range(count)]
    hypotheses = [[] if rng.random() < 0.1 else changed(words, pool, rng) for words in references]
    return [join.join(one) for one in references], [join.join(one) for one in hypotheses]


def figure(task: str, language: str, items, answers, at: int = 0) -> float:
    measure = measures(task, language)[at]
    return measure.value(measure.rows(items, answers).sum(0))


@pytest.mark.parametrize("language", WORDS)
def test_error_rates_are_jiwers(language):
    references, hypotheses = generated(language, CASES, seed=1)
    items = [item(at, "asr", language, [one]) for at, one in enumerate(references)]
    normal = (
        EnglishTextNormalizer() if language == "English" else BasicTextNormalizer(split_letters=language in CHARACTERS)
    )
    said, written = [normal(one) for one in references], [normal(one) for one in hypotheses]
    assert figure("asr", language, items, hypotheses) == pytest.approx(jiwer.wer(said, written), abs=1e-9)
    utterances = [
        jiwer.wer(one, other) if one.split() else float(bool(other.split()))
        for one, other in zip(said, written, strict=True)
    ]
    assert figure("asr", language, items, hypotheses, 1) == pytest.approx(sum(utterances) / CASES, abs=1e-9)
    assert measures("asr", language)[0].name == ("CER" if language in CHARACTERS else "WER")


@pytest.mark.parametrize("language", WORDS)
@pytest.mark.parametrize("empties", [True, False])
def test_bleu_and_chrf_are_sacrebleus(language, empties):
    references, hypotheses = generated(language, CASES, seed=2)
    if not empties:
        references, hypotheses = zip(
            *[(r or "a", h or "b") for r, h in zip(references, hypotheses, strict=True)], strict=True
        )
    items = [item(at, "ast-from-english", language, [one]) for at, one in enumerate(references)]
    tokenizer = {"Chinese": "zh", "Japanese": "ja-mecab", "Korean": "ko-mecab", "Thai": "char"}.get(language, "13a")
    for at, metric in enumerate((BLEU(tokenize=tokenizer), CHRF())):
        expected = metric.corpus_score(list(hypotheses), [list(references)]).score
        assert figure("ast-from-english", language, items, hypotheses, at) == pytest.approx(expected, abs=1e-9)
        assert (
            measures("ast-from-english", language)[at].signature.split("|")[1:]
            == str(metric.get_signature()).split("|")[2:]
        )
    assert f"tok:{tokenizer.split('-')[0]}" in measures("ast-from-english", language)[0].signature


def test_bleu_into_english_takes_english_words_whatever_was_spoken():
    told = [measures("ast-into-english", "Japanese")[0], measures("ast-from-english", "Dutch")[0]]
    assert told[0].signature == told[1].signature and "tok:13a" in told[0].signature


def test_several_references_are_sacrebleus():
    references, hypotheses = generated("English", CASES, seed=3)
    others, _ = generated("English", CASES, seed=4)
    items = [
        item(at, "ast-into-english", "Dutch", pair) for at, pair in enumerate(zip(references, others, strict=True))
    ]
    expected = BLEU().corpus_score(hypotheses, [references, others]).score
    assert figure("ast-into-english", "Dutch", items, hypotheses) == pytest.approx(expected, abs=1e-9)


# Questions: the published formulas, written out


def levenshtein(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def anls(answer: str, references: list[str]) -> float:
    answer, shares = " ".join(answer.strip().lower().split()), []
    for one in (" ".join(one.strip().lower().split()) for one in references):
        longer = max(len(answer), len(one))
        shares.append(levenshtein(answer, one) / longer if longer else 0.0)
    return 1 - min(shares) if 1 - min(shares) >= 0.5 else 0.0


def relaxed(answer: str, reference: str) -> float:
    def number(text):
        try:
            return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
        except ValueError:
            return None

    said, right = number(answer), number(reference)
    if said is not None and right:
        return float(abs(said - right) / abs(right) <= 0.05)
    return float(answer.lower() == reference.lower())


def vqa(answer: str, given: list[str]) -> float:
    """Leave one person out, then min(matches among the others / 3, 1)."""
    scores = []
    for left_out in range(len(given)):
        others = [one for at, one in enumerate(given) if at != left_out]
        scores.append(min(1.0, len([one for one in others if one == answer]) / 3))
    return sum(scores) / len(scores)


def test_anls_is_the_published_formula():
    rng = random.Random(5)
    for at in range(CASES):
        references = ["".join(rng.choices("abc D", k=rng.randint(0, 8))) for _ in range(rng.randint(1, 3))]
        answer = "".join(changed(list(references[0]), list("abc D"), rng))
        found = score_answer(item(at, "image-qa", "English", references, metric="anls"), answer)
        assert found == pytest.approx(anls(answer, references), abs=1e-9)


def test_relaxed_accuracy_is_the_published_formula():
    rng = random.Random(6)
    numbers = [
        "0",
        "0.0",
        "100",
        "105",
        "105.1",
        "95",
        "94.9",
        "-3",
        "-3.1",
        "5%",
        "0.05",
        "5.2%",
        "Yes",
        "yes",
        "1,000",
        "",
    ]
    pairs = [(rng.choice(numbers), rng.choice(numbers)) for _ in range(CASES)] + list(product(numbers, numbers))
    for at, (answer, reference) in enumerate(pairs):
        found = score_answer(item(at, "image-qa", "English", [reference], metric="relaxed"), answer)
        assert found == relaxed(answer, reference), (answer, reference)


def test_vqa_accuracy_is_the_published_formula():
    rng = random.Random(7)
    for at in range(CASES):
        given = [rng.choice(["red", "blue", "2", "dark red", ""]) for _ in range(10)]
        answer = rng.choice(given + ["green"])
        found = score_answer(item(at, "image-qa", "English", given, metric="vqa"), answer)
        assert found == pytest.approx(vqa(answer, given), abs=1e-9)


@pytest.mark.parametrize(
    ("written", "cleaned"),
    [
        ("The dog.", "dog"),
        ("two", "2"),
        ("None", "0"),
        ("it's a dont", "it's don't"),
        ("black-and-white", "black and white"),
        ("yes, sir", "yes sir"),
        ("1,000", "1000"),
        ("3.5", "3.5"),
        (" red\n", "red"),
    ],
)
def test_vqa_cleans_both_sides_as_published(written, cleaned):
    assert vqa_clean(written) == cleaned
    assert score_answer(item(0, "image-qa", "English", [cleaned] * 10, metric="vqa"), written) == 1


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"), ("b", "B"), ("(B)", "B"), ("B.", "B"), ("B: a dog", "B"), ("The answer is C.", "C"),
        ("Answer: c", "C"), ("dog", "B"), ("A dog", None), ("Beautiful", None), ("E", None), ("", None),
    ],
)  # fmt: skip
def test_a_choice_is_its_letter_or_its_text(answer, letter):
    options = ["cat", "dog", "horse"]
    assert chosen_letter(answer, options) == letter
    score = score_answer(item(0, "video-qa", "English", ["B"], metric="choice", options=options), answer)
    assert score == (letter == "B")


def test_exact_forgives_case_width_and_the_full_stop_alone():
    asked = item(0, "spoken-qa", "Japanese", ["三つ", "12"])
    assert [score_answer(asked, said) for said in (" 三つ。", "１２", "12.", "三", "12 3", "")] == [1, 1, 1, 0, 0, 0]


# Traps


@pytest.mark.parametrize(
    ("language", "reference", "hypothesis", "rate"),
    [
        ("English", "hello world", "", 1.0),
        ("English", "Hello, world!", "hello world", 0.0),
        ("English", "twenty-one colours", "21 colors", 0.0),
        ("English", "I can't", "i can not", 0.0),
        ("German", "Straße", "strasse", 1.0),  # the basic rules keep letters as they are
        ("Chinese", "１２月", "12月", 0.0),
        ("Chinese", "星期一。", "星 期 一", 0.0),
        ("Chinese", "星期一", "星期二", 1 / 3),
        ("Korean", "월요일", "월요 일", 0.0),
        ("Thai", "กขค", "ก ข ค", 0.0),
        ("Arabic", "كتب", "كَتَبَ", 3.0),  # Whisper's rule puts a space in the place of each mark
    ],
)
def test_published_error_rates_of_traps(language, reference, hypothesis, rate):
    assert figure("asr", language, [item(0, "asr", language, [reference])], [hypothesis]) == pytest.approx(rate)


def test_an_empty_reference_counts_what_was_written():
    items = [item(0, "asr", "English", [""]), item(1, "asr", "English", ["one two three four"])]
    assert figure("asr", "English", items, ["a b", "1 2 3 4"]) == pytest.approx(
        jiwer.wer(["", EnglishTextNormalizer()("one two three four")], ["a b", EnglishTextNormalizer()("1 2 3 4")])
    )
    alone = figure("asr", "English", items[:1], ["a b"])
    assert np.isnan(alone)  # nothing to divide by
    assert figure("asr", "English", items[:1], ["a b"], 1) == 1 and figure("asr", "English", items[:1], [""], 1) == 0


@pytest.mark.parametrize(
    ("language", "reference", "hypothesis", "rate"),
    [
        ("Arabic", "كتب الولد", "كَتَبَ الوَلَدُ", 0.0),
        ("Hindi", "लाल वृत्त", "लाल वृत", 0.5),
        ("Thai", "ที่", "ที", 1.0),  # a tone is part of its letter
        ("Tamil", "திங்கள்", "திங்கள்!", 0.0),
    ],
)
def test_with_vowel_signs_kept_words_stay_whole(language, reference, hypothesis, rate):
    kept = measures("asr", language)[2]
    assert kept.name.endswith("vowel signs kept")
    assert kept.value(kept.rows([item(0, "asr", language, [reference])], [hypothesis]).sum(0)) == rate


def test_code_switching_counts_latin_words_among_characters():
    asked = [item(0, "code-switch", "Chinese", ["我 喜欢 machine learning"])]
    assert figure("code-switch", "Chinese", asked, ["我喜欢machine translation"]) == pytest.approx(1 / 5)
    assert measures("code-switch", "Hindi")[0].name == "MER"


@pytest.mark.parametrize(
    ("references", "extra", "found"),
    [
        (["a"], dict(metric="wups"), "WordNet"),
        (["a"], dict(metric="bleurt"), "found metric 'bleurt'; accepted: exact"),
        (["a"], dict(metric="choice"), "no options"),
        (["a"] * 3, dict(metric="vqa"), "found 3 references"),
    ],
)
def test_what_cannot_be_scored_is_refused_before_anything_is_asked(references, extra, found):
    with pytest.raises(ValueError, match=re.escape(found)):
        refuse_unscorable(item(7, "video-qa", "English", references, **extra))
