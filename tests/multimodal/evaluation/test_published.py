"""Each published layout, by a few rows of our own; and what is said where something of it is missing."""

import json
from pathlib import Path

import pytest
from PIL import Image

from multimodal.evaluation.assistant_answers import question_parts
from multimodal.evaluation.data import open_dataset
from multimodal.evaluation.items import Item
from multimodal.evaluation.published.registry import PUBLISHED

from . import layouts


@pytest.fixture
def filled(tmp_path):
    """A folder in the layout of a data set."""

    def fill(name, **options):
        folder = tmp_path / name
        folder.mkdir()
        getattr(layouts, name)(folder, **options)
        return folder

    return fill


def test_every_set_has_a_fixture_here():
    assert all(hasattr(layouts, name) for name in PUBLISHED)


@pytest.mark.parametrize(
    ("name", "task", "languages", "expected"),
    [
        ("fleurs", "asr", ["hi"], [("Hindi", "वह यहाँ है")] * 2 + [("Hindi", "नहीं")]),
        ("fleurs", "ast-into-english", ["hi"], [("Hindi", 'He is "here".')] * 2),
        ("fleurs", "ast-from-english", ["hi"], [("Hindi", 'वह "यहाँ" है।')]),
        ("covost2", "ast-into-english", ["de"], [("German", 'Good "day".')]),
        ("covost2", "ast-from-english", ["zh"], [("Chinese", "你好。")]),
        ("mls", "asr", ["de"], [("German", "guten tag"), ("German", "gute nacht")]),
        ("voxpopuli", "asr", ["en"], [("English", "good day")]),
        ("librispeech", "asr", [], [("English", "GOOD DAY"), ("English", "GOOD NIGHT")]),
        ("common_voice", "asr", ["sv"], [("Swedish", 'God "dag".')]),
    ],
)
def test_speech_is_read_from_its_layout(filled, name, task, languages, expected):
    items = open_dataset(task, f"{name}={filled(name)}", languages)
    assert [(one.language, *one.references) for one in items] == expected
    assert all(one.audio.is_file() and one.task == task for one in items)
    assert len({one.id for one in items}) == len(items)
    assert items.name == f"{name} {PUBLISHED[name].split}"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("vqav2", [("What color is it?", ("red",) * 10, "vqa", None)]),
        ("textvqa", [("What brand?", ("nous",) * 10, "vqa", None)]),
        ("docvqa", [("Which year?", ("1999", "in 1999"), "anls", None)]),
        ("chartqa", [("How many?", ("14",), "relaxed", None), ("How many?", ("Yes",), "relaxed", None)]),
        ("ai2d", [("What is it?", ("C",), "choice", ["ears", "nose", "mouth"])]),
        (
            "mmmu",
            [
                ("<image 1> Who painted it?", ("B",), "choice", ["Monet", "O'Keeffe <image 2>"]),
                ("Of <image 2> and <image 1>, which is from <image 3>?", ("1872", "1873"), "exact", None),
            ],
        ),
        ("perceptiontest", [("Did it move?", ("B",), "choice", ["yes", "no", "maybe"])]),
        ("nextqa", [("how do the two, by the wall, talk", ("use phone", "by phone"), "wups", None)]),
        ("activitynetqa", [("is it outside", ("yes",), "exact", None)]),
    ],
)
def test_questions_are_read_from_their_layout(filled, tmp_path, name, expected):
    [task] = PUBLISHED[name].tasks
    items = open_dataset(task, f"{name}={filled(name)}", cache=tmp_path / "cache")
    assert [(one.prompt, one.references, one.extra["metric"], one.extra.get("options")) for one in items] == expected
    assert all((one.video or one.images[0]).is_file() and one.language == "English" for one in items)
    assert len({one.id for one in items}) == len(items)


def test_nextqa_with_options_is_multiple_choice(filled):
    [one] = open_dataset("video-qa", f"nextqa={filled('nextqa', choice=True)}")
    assert (one.references, one.extra["metric"], one.extra["options"][2]) == (("C",), "choice", "use phone")


@pytest.mark.parametrize("table", ["spdocvqa_qas/val_v1.0_withQT.json", "val_v1.0_withQT.json"])
def test_docvqa_may_have_all_its_pictures_in_one_folder(filled, table):
    folder = filled("docvqa", table=table, pictures="spdocvqa_images")
    [one] = open_dataset("image-qa", f"docvqa={folder}")
    assert one.images[0].parent.name == "spdocvqa_images" and one.references == ("1999", "in 1999")


def test_vqav2_may_lie_as_its_own_tools_expect(filled):
    folder = filled("vqav2")
    for kind, place in (("questions", "Questions"), ("annotations", "Annotations")):
        (folder / place).mkdir()
        [table] = folder.glob(f"v2_*_{kind}.json")
        table.rename(folder / place / table.name)
    (folder / "Images/mscoco").mkdir(parents=True)
    (folder / "val2014").rename(folder / "Images/mscoco/val2014")
    assert len(open_dataset("image-qa", f"vqav2={folder}")) == 1


def test_every_picture_of_a_question_stands_in_its_place(filled, tmp_path):
    choice, both = open_dataset("image-qa", f"mmmu={filled('mmmu')}", cache=tmp_path / "cache")
    assert [_colour(picture) for picture in both.images] == ["red", "blue"]
    red, blue = both.images
    assert question_parts(both) == ["Of ", blue, " and ", red, ", which is from <image 3>?"]
    before, one, between, two, after = question_parts(choice)
    assert (one, two) == (red, blue) and before.startswith("Select the correct answer")
    assert between == " Who painted it?\nA. Monet\nB. O'Keeffe " and after.startswith("\nAnswer with")


def _colour(picture) -> str:
    return {(255, 0, 0): "red", (0, 0, 255): "blue"}[Image.open(picture).getpixel((0, 0))]


def test_pictures_without_a_place_come_first():
    one, two = Path("1.png"), Path("2.png")
    asked = Item("a", "image-qa", "English", "Or <image 2>? <image 2>", ("x",), images=(one, two))
    assert question_parts(asked) == [one, "Or ", two, "? <image 2>"]
    spoken = Item("a", "spoken-qa", "English", None, ("x",), images=(one, two), audio=Path("a.wav"))
    assert question_parts(spoken) == [one, two]


def test_no_language_named_means_those_that_the_folder_has(filled):
    folder = filled("fleurs")
    assert {one.language for one in open_dataset("asr", f"fleurs={folder}")} == {"Hindi", "English"}
    assert [one.language for one in open_dataset("asr", f"fleurs={folder}", limit=1)] == ["English", "Hindi"]
    assert {one.language for one in open_dataset("ast-from-english", f"covost2={filled('covost2')}")} == {"Chinese"}


def swap(file, old, new):
    file.write_text(file.read_text("utf-8").replace(old, new), "utf-8")


@pytest.mark.parametrize(
    ("name", "task", "languages", "spoil", "message"),
    [
        ("fleurs", "asr", ["fr"], lambda at: None, "found no fr_fr or data/fr_fr in .*, which holds en_us, hi_in"),
        ("fleurs", "asr", ["hi"], lambda at: (at / "hi_in/test.tsv").unlink(), "found no test.tsv in .*hi_in"),
        ("fleurs", "asr", ["hi"], lambda at: (at / "hi_in/audio/test/12.wav").unlink(), r"no file .*12.wav.*test.tsv"),
        ("fleurs", "asr", ["hi"], lambda at: layouts.tsv(at / "hi_in/test.tsv", ("1", "11.wav")), "row 1 .* fewer"),
        ("covost2", "ast-into-english", ["fr"], lambda at: None, "found no fr or .*which holds de, en"),
        ("covost2", "ast-from-english", ["fr"], lambda at: None, "no ast-from-english for French; accepted: Arabic"),
        (
            "covost2",
            "ast-into-english",
            ["de"],
            lambda at: swap(at / "de/covost_v2.de_en.test.tsv", "translation", "text"),
            "has no translation; found path, sentence, text",
        ),
        (
            "mls",
            "asr",
            ["de"],
            lambda at: swap(at / "mls_german/test/transcripts.txt", "\t", " "),
            "line without a tab",
        ),
        ("mls", "asr", ["fr"], lambda at: None, "found no mls_french or mls_french_opus"),
        (
            "voxpopuli",
            "asr",
            ["en"],
            lambda at: swap(at / "transcribed_data/en/asr_test.tsv", "normalized_text", "text"),
            "has no normalized_text; found id, raw_text, text",
        ),
        ("librispeech", "asr", [], lambda at: next(at.rglob("*0001.flac")).unlink(), "found no file .*0001.flac"),
        ("common_voice", "asr", ["sv"], lambda at: next(at.rglob("*.mp3")).unlink(), "found no file .*SE_1.mp3"),
        (
            "vqav2",
            "image-qa",
            [],
            lambda at: swap(at / "v2_mscoco_val2014_annotations.json", "42000", "1"),
            "no answer to question 42000",
        ),
        ("vqav2", "image-qa", [], lambda at: next(at.rglob("*.jpg")).unlink(), "found no file .*000042.jpg"),
        ("textvqa", "image-qa", [], lambda at: swap(at / "TextVQA_0.5.1_val.json", "answers", "x"), "has no answers"),
        ("docvqa", "image-qa", [], lambda at: (at / "val/val_v1.0.json").write_text("{"), "val_v1.0.json is no JSON"),
        (
            "docvqa",
            "image-qa",
            [],
            lambda at: next(at.rglob("*.png")).unlink(),
            "found no val/documents/pybv0228_81.png or",
        ),
        ("chartqa", "image-qa", [], lambda at: next(at.rglob("test_human.json")).unlink(), "found no test_human.json"),
        ("ai2d", "image-qa", [], lambda at: (at / "ai2d_test_ids.csv").unlink(), "found no ai2d_test_ids.csv or"),
        ("mmmu", "image-qa", [], lambda at: next(at.rglob("*.parquet")).unlink(), "found no parquet file in .*Art/val"),
        ("perceptiontest", "video-qa", [], lambda at: next(at.rglob("*.mp4")).unlink(), "found no file .*video_10.mp4"),
        (
            "nextqa",
            "video-qa",
            [],
            lambda at: (at / "map_vid_vidorID.json").write_text("{}"),
            "has no video 4010069381",
        ),
        (
            "activitynetqa",
            "video-qa",
            [],
            lambda at: next(at.rglob("*.mkv")).unlink(),
            "found no file v_1QIUV7WYKXg.mp4 or",
        ),
    ],
)
def test_what_is_missing_is_named(filled, tmp_path, name, task, languages, spoil, message):
    folder = filled(name)
    spoil(folder)
    with pytest.raises(ValueError, match=message):
        open_dataset(task, f"{name}={folder}", languages, cache=tmp_path / "cache")


def test_a_split_that_is_not_there_is_named(filled):
    with pytest.raises(ValueError, match=r"found no dev.tsv in .*hi_in, which holds audio, test.tsv"):
        open_dataset("asr", f"fleurs={filled('fleurs')}", ["hi"], split="dev")


def test_the_fixtures_are_json_that_others_write(filled):
    """Keys that we do not read may be there."""
    folder = filled("textvqa")
    table = json.loads((folder / "TextVQA_0.5.1_val.json").read_text())
    table["data"][0]["image_classes"] = ["Belt"]
    layouts.as_json(folder / "TextVQA_0.5.1_val.json", table)
    assert len(open_dataset("image-qa", f"textvqa={folder}")) == 1
