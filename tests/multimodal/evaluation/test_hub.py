"""Tables as they lie on the hub, by parquet files of our own in a folder: the way that a hub id takes, offline."""

import io

import pytest
from datasets import Audio, Dataset, Features, Image, List, Value
from PIL import Image as Pictures

from multimodal.evaluation.data import open_dataset
from speech.audio import open_sound

from . import layouts

FILE = {"bytes": Value("binary"), "path": Value("string")}


def red() -> Pictures.Image:
    return Pictures.new("RGB", (4, 4), "red")


@pytest.fixture
def flac(tmp_path):
    layouts.sound(tmp_path / "some.flac", 0.5)
    return {"bytes": (tmp_path / "some.flac").read_bytes(), "path": "some.flac"}


def parquet(path, rows, **features):
    """A file whose schema tells of sounds and pictures, as those of the hub do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {"audio": FILE, "image": Image(), "answers": List(Value("string")), "options": List(Value("string"))}
    named = {name: features.get(name) or columns.get(name) or Value("string") for name in rows[0]}
    table = Dataset.from_list(rows, features=Features(named))
    if "audio" in rows[0]:
        table = table.cast_column("audio", Audio())
    table.to_parquet(path)


@pytest.mark.parametrize(
    ("name", "language", "file", "row", "told"),
    [
        (
            "fleurs",
            "hi",
            "parquet-data/hi_in/test-00000-of-00001.parquet",
            {"path": "11.wav", "transcription": "वह"},
            "वह",
        ),
        ("mls", "de", "german/test-00000-of-00001.parquet", {"id": "1_2_3", "transcript": "gut"}, "gut"),
        ("voxpopuli", "en", "en/test-00000-of-00002.parquet", {"audio_id": "2010", "normalized_text": "day"}, "day"),
        ("librispeech", "en", "other/test/0000.parquet", {"id": "1-2-3", "text": "DAY"}, "DAY"),
        ("common_voice", "sv", "sv-SE/test-00000-of-00001.parquet", {"path": "a.mp3", "sentence": "Dag."}, "Dag."),
    ],
)
def test_speech_tables(tmp_path, flac, name, language, file, row, told):
    parquet(tmp_path / "set" / file, [row | {"audio": flac}])
    where = f"{name}={tmp_path / 'set'}"
    [one] = open_dataset("asr", where, [language], cache=tmp_path / "cache")
    assert [one] == list(open_dataset("asr", where, cache=tmp_path / "cache"))  # all that the folder has
    assert one.references == (told,)
    assert open_sound(one.audio).seconds == 0.5 and one.audio.suffix == ".flac"


def test_translations_have_a_table_a_pair(tmp_path, flac):
    for pair, text in (("de_en", "Day."), ("en_de", "Tag.")):
        parquet(tmp_path / f"set/{pair}/test-00000-of-00001.parquet", [{"id": "a", "translation": text, "audio": flac}])
    for task, text in (("ast-into-english", "Day."), ("ast-from-english", "Tag.")):
        [one] = open_dataset(task, f"covost2={tmp_path / 'set'}", ["German"], cache=tmp_path / "cache")
        assert (one.references, one.language) == ((text,), "German")


@pytest.mark.parametrize(
    ("name", "row", "references", "metric"),
    [
        ("textvqa", {"question_id": "1", "question": "?", "answers": ["a"] * 10}, ("a",) * 10, "vqa"),
        ("docvqa", {"questionId": "1", "question": "?", "answers": ["a", "b"]}, ("a", "b"), "anls"),
        ("chartqa", {"type": "human_test", "question": "?", "answer": "14"}, ("14",), "relaxed"),
        ("ai2d", {"question": "?", "options": ["x", "y"], "answer": "1"}, ("B",), "choice"),
    ],
)
def test_picture_tables(tmp_path, name, row, references, metric):
    split = "validation" if name in ("textvqa", "docvqa") else "test"
    config = "DocVQA/" if name == "docvqa" else "data/"
    parquet(tmp_path / f"set/{config}{split}-00000-of-00001.parquet", [row | {"image": red()}])
    [one] = open_dataset("image-qa", f"{name}={tmp_path / 'set'}", cache=tmp_path / "cache")
    assert (one.prompt, one.references, one.extra["metric"]) == ("?", references, metric)
    assert Pictures.open(io.BytesIO(one.images[0].read_bytes())).size == (4, 4)


def test_vqav2_has_ten_answers_with_their_makers(tmp_path):
    answers = [{"answer": "red", "answer_confidence": "yes", "answer_id": at} for at in range(10)]
    kind = List({"answer": Value("string"), "answer_confidence": Value("string"), "answer_id": Value("int64")})
    row = {"question_id": 42, "question": "?", "answers": answers, "image": red()}
    parquet(tmp_path / "set/data/validation-0.parquet", [row], answers=kind, question_id=Value("int64"))
    [one] = open_dataset("image-qa", f"vqav2={tmp_path / 'set'}", cache=tmp_path / "cache")
    assert (one.id, one.references) == ("42", ("red",) * 10)


def test_only_as_many_rows_are_read_as_wanted(tmp_path, flac):
    rows = [{"id": str(at), "transcript": "gut", "audio": flac} for at in range(5)]
    parquet(tmp_path / "set/german/test-00000-of-00001.parquet", rows)
    items = open_dataset("asr", f"mls={tmp_path / 'set'}", ["de"], 2, cache=tmp_path / "cache")
    assert [one.id for one in items] == ["0", "1"]
    assert len(list((tmp_path / "cache/mls").iterdir())) == 1  # equal sounds are one file


def test_what_is_missing_is_named(tmp_path, flac):
    parquet(tmp_path / "set/german/test-00000-of-00001.parquet", [{"id": "1", "text": "gut", "audio": flac}])
    where = f"mls={tmp_path / 'set'}"
    with pytest.raises(ValueError, match=r"has no transcript; found .*text"):
        open_dataset("asr", where, ["de"], cache=tmp_path)
    with pytest.raises(ValueError, match=r"found no parquet file of 'french' in .*; its files are of german, test"):
        open_dataset("asr", where, ["fr"], cache=tmp_path)
    with pytest.raises(ValueError, match="found no parquet file of 'dev'"):
        open_dataset("asr", where, ["de"], split="dev", cache=tmp_path)


def test_a_hub_id_without_network_is_one_clear_error(tmp_path):
    with pytest.raises((ValueError, OSError), match="multilingual_librispeech"):
        open_dataset("asr", "mls=facebook/multilingual_librispeech", ["de"], 1, cache=tmp_path)
