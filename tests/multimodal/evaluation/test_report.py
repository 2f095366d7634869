"""From answers to figures, intervals, tables and pictures."""

import io
import json
import math

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from multimodal.evaluation.answering import Reply
from multimodal.evaluation.bootstrap import resampled_values
from multimodal.evaluation.items import Item
from multimodal.evaluation.measures import measures
from multimodal.evaluation.plots import bars
from multimodal.evaluation.published_tables import PAPER
from multimodal.evaluation.report import as_figure, markdown, paper_rows, terminal_table
from multimodal.evaluation.results import Settings, read_items, task_results, versions
from multimodal.evaluation.scoring import score, speed

from .plain_models import Forgetful, sentences


@pytest.fixture(scope="module")
def items() -> list[Item]:
    thai = [Item(f"Thai-{at:03d}", "asr", "Thai", None, ("วันจันทร์ สีแดง",)) for at in range(12)]
    return [*sentences(40), *sentences(30, "German"), *thai]


@pytest.fixture(scope="module")
def section(items) -> dict:
    texts = Forgetful().answer(items)
    return task_results("asr", "made up", items, [Reply(text) for text in texts], seed=0)


def settings(**changed) -> Settings:
    kept = dict(model="nano", tasks=("asr",), data={"asr": "made up"}, languages=("English", "German", "Thai"))
    return Settings(**(kept | dict(limit=None, batch_size=16, seed=0, max_new_tokens=448) | changed))


def test_overall_is_the_mean_of_languages_and_the_whole_corpus(items, section):
    values = [one["figures"][0]["value"] for one in section["languages"].values()]
    assert list(section["languages"]) == ["English", "German", "Thai"] and section["measure"] == "WER or CER"
    assert section["overall"]["macro"]["value"] == pytest.approx(sum(values) / 3)
    texts = Forgetful().answer(items)
    rows = [measures("asr", item.language)[0].rows([item], [text])[0] for item, text in zip(items, texts, strict=True)]
    edits, length = np.sum(rows, 0)
    assert section["overall"]["corpus"]["value"] == pytest.approx(edits / length)
    told = [*[one["figures"][0] for one in section["languages"].values()], *list(section["overall"].values())[1:]]
    assert all(one["low"] <= one["value"] <= one["high"] for one in told)


def test_an_interval_has_the_spread_of_the_mean():
    """Of a share it is that of the binomial: p plus or minus 1.96 standard errors."""
    items = [Item(str(at), "image-qa", "English", "?", ("yes",)) for at in range(400)]
    texts = ["yes" if at % 4 else "no" for at in range(400)]
    told = score("image-qa", items, texts, seed=0)["languages"]["English"]["figures"][0]
    error = 1.96 * math.sqrt(0.75 * 0.25 / 400)
    assert told["value"] == 0.75
    assert told["low"] == pytest.approx(0.75 - error, abs=0.012) and told["high"] == pytest.approx(
        0.75 + error, abs=0.012
    )


def test_an_interval_is_that_of_the_language_whatever_else_is_measured(items):
    german = [item for item in items if item.language == "German"]
    alone = score("asr", german, Forgetful().answer(german), seed=0)["languages"]["German"]
    assert alone == score("asr", items, Forgetful().answer(items), seed=0)["languages"]["German"]
    assert alone != score("asr", german, Forgetful().answer(german), seed=1)["languages"]["German"]


def test_resampling_a_corpus_figure_is_sacrebleus_kind(items):
    """A BLEU of each resample comes from summed n-grams, so all of one sentence is its own BLEU."""
    [item] = [Item("a", "ast-into-english", "German", None, ("a red circle is left of a star",))]
    bleu = measures("ast-into-english", "German")[0]
    rows = bleu.rows([item] * 9, ["a red circle is right of a star"] * 9)
    values = resampled_values(bleu, rows, 0, "x")
    assert np.allclose(values, bleu.value(rows[0])) and 0 < values[0] < 100


def test_empty_references_leave_no_figure_and_no_nan_in_the_file():
    items = [Item("a", "asr", "English", None, ("!",)), *sentences(3, "German")]
    found = task_results("asr", "x", items, [Reply("a"), *[Reply("red")] * 3], seed=0)
    json.dumps(found, allow_nan=False)
    assert found["languages"]["English"]["figures"][0] == dict(name="WER", value=None, low=None, high=None)
    assert found["overall"]["macro"]["value"] == found["languages"]["German"]["figures"][0]["value"]
    assert "| English | 1 | - |" in markdown(*_reported(found)) and bars(found)


def _reported(section: dict) -> tuple:
    results = {"settings": settings().told(), "versions": versions(), "tasks": [section]}
    return results, {"asr": speed([], [], 0.0, 16)}, {"asr": "plots/asr.png"}


def test_results_hold_every_answer_and_give_the_items_back(items, section):
    told = json.loads(json.dumps(section))
    found, texts = read_items(told)
    assert texts == Forgetful().answer(items)
    kept = [(item.id, item.language, item.references) for item in items]
    assert [(item.id, item.language, item.references) for item in found] == kept
    assert told["items"][1]["WER"] == 0.5 and told["items"][1]["hypothesis"] == "red"


def test_the_terminal_shows_a_row_a_language(section):
    console = Console(width=160, file=io.StringIO())
    console.print(terminal_table(section))
    lines = console.file.getvalue().splitlines()
    assert [name for name in ("English", "German", "Thai") if any(f"│ {name} " in line for line in lines)] == [
        "English", "German", "Thai",
    ]  # fmt: skip
    assert any("mean of 3 languages" in line and "82" in line for line in lines)


def test_the_report_tells_figures_speed_versions_and_the_papers_rows(items, section):
    replies = [Reply("", first_token_s=0.2, first_audio_s=0.5, made_audio_s=1.0) for _ in items]
    speeds = {"asr": speed(items, replies, seconds=4.0, batch_size=16)}
    heard = sum(item.extra.get("duration_s", 0) for item in items)
    told = {"settings": settings(skipped={"video-qa": "video-qa needs a clip encoder"}).told(), "versions": versions()}
    section = section | {"contamination": {"manifest": "train.tsv", "share": {"0.2": 0.125}, "too_short": 3}}
    report = markdown(told | {"tasks": [section]}, speeds, {"asr": "plots/asr.png"})
    english = section["languages"]["English"]["figures"][0]
    for expected in (
        f"| English | 40 | WER {as_figure(english, percent=True)} |",
        f"RTFx {heard / 4:.1f}",
        "time to first token 0.200 s median",
        "time to first audio 0.500 s median",
        "12.5% at 0.2; 3 items are too short",
        "video-qa needs a clip encoder",
        "jiwer 4",
        "![asr, made up](plots/asr.png)",
        "| FLEURS, 34 languages | WER | **other data** | Llama 3 8B 9.6, Llama 3 70B 8.2, Whisper 14.4, Sea",
    ):
        assert expected in report, expected


def test_sacrebleus_signature_is_in_the_report():
    items = sentences(5, "Japanese", "ast-from-english")
    section = task_results("ast-from-english", "x", items, [Reply("あかい")] * 5, seed=0)
    report = markdown(
        {"settings": settings().told(), "versions": versions(), "tasks": [section]},
        {"ast-from-english": speed(items, [], 1.0, 16)},
        {"ast-from-english": "p.png"},
    )
    assert "tok:ja-mecab" in report and "|version:2." in report and section["measure"] == "BLEU"


@pytest.mark.parametrize(
    ("task", "data", "languages", "same"),
    [
        ("asr", "fleurs test", 34, ["FLEURS, 34 languages"]),
        ("asr", "fleurs test", 2, []),
        ("asr", "librispeech test-other", 1, ["LibriSpeech, other"]),
        ("ast-into-english", "fleurs test", 33, ["FLEURS, 33 languages"]),
        ("asr", "librispeech test-clean", 1, []),
        ("image-qa", "vqav2 val", 1, []),  # the paper's is test-dev
        ("image-qa", "textvqa val", 1, ["TextVQA, val"]),
        ("asr", "espeak34 held out, seed 0", 34, []),
    ],
)
def test_the_papers_rows_are_marked_as_other_data_unless_they_are_the_same(task, data, languages, same):
    names = ["English"] if languages == 1 else [f"language {at}" for at in range(languages)]
    section = {"task": task, "data": data, "languages": dict.fromkeys(names)}
    rows = paper_rows(section, limit=None)
    assert [row.title for row, beside in rows if beside == "same data"] == same and len(rows) > 1
    assert {beside for row, beside in rows if row.title not in same} == {"**other data**"}
    assert not any(beside == "same data" for _, beside in paper_rows(section, limit=20))


def test_what_the_paper_did_otherwise_is_marked():
    def beside(task, data):
        rows = paper_rows({"task": task, "data": data, "languages": {"English": {}}}, limit=None)
        return [told for _, told in rows if told != "**other data**"]

    assert beside("image-qa", "chartqa test") == ["same data, **answered after reasoning**"]
    assert beside("video-qa", "nextqa test") == ["same data, **other measure**"]


def test_the_papers_figures_are_whole():
    assert len(PAPER) == 17
    assert next(row for row in PAPER if row.data == "docvqa test").figures["Llama 3 405B"] == 92.6
    assert "GPT-4V" not in next(row for row in PAPER if row.data == "nextqa test").figures


def test_a_plot_is_a_picture_with_a_bar_a_language(section):
    picture = Image.open(io.BytesIO(bars(section))).convert("RGB")
    pixels = np.asarray(picture)
    blue = (np.abs(pixels.astype(int) - (0x44, 0x77, 0xAA)).sum(-1) < 30).any(0)
    assert np.count_nonzero(np.diff(blue.astype(int)) == 1) >= 3
    assert bars(section) == bars(section)  # the same run, the same file
