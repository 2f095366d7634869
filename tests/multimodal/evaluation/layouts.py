"""A few rows of our own in each layout that a data set is published in: a function a data set, which fills a folder."""

import csv
import json
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image


def sound(path: Path, seconds: float = 0.1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    form = {".ogg": "OGG", ".mp3": "MP3", ".flac": "FLAC", ".wav": "WAV"}[path.suffix]
    soundfile.write(path, np.zeros(round(16_000 * seconds)), 16_000, format=form)


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), "red").save(path)


def clip(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"-")


def tsv(path: Path, *rows: tuple[str, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(row) + "\n" for row in rows), "utf-8")


def as_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), "utf-8")


def fleurs(folder: Path) -> None:
    """No header, quotes that are none; a sentence twice in Hindi, and one that English lacks."""
    rows = {
        "hi_in": [
            ("1", "11.wav", 'वह "यहाँ" है।', "वह यहाँ है"),
            ("1", "12.wav", 'वह "यहाँ" है।', "वह यहाँ है"),
            ("3", "13.wav", "नहीं।", "नहीं"),
        ],
        "en_us": [("1", "21.wav", 'He is "here".', "he is here"), ("2", "22.wav", "Yes.", "yes")],
    }
    for code, some in rows.items():
        tsv(folder / code / "test.tsv", *((*row, "h e |", "1600", "MALE") for row in some))
        for row in some:
            sound(folder / code / "audio" / "test" / row[1])


def covost2(folder: Path) -> None:
    """Into English as the splitting script writes it; from English one table with all splits, as it is published."""
    header = ("path", "sentence", "translation", "client_id")
    tsv(folder / "de/covost_v2.de_en.test.tsv", header, ("a.mp3", "Guten Tag.", 'Good \\"day\\".', "x"))
    sound(folder / "de/clips/a.mp3")
    rows = [("b.mp3", "你好。", "test"), ("c.mp3", "不。", "train")]
    tsv(folder / "en/covost_v2.en_zh-CN.tsv", ("path", "translation", "split"), *rows)
    sound(folder / "en/clips/b.mp3")


def mls(folder: Path) -> None:
    tsv(folder / "mls_german/test/transcripts.txt", ("10_20_000001", "guten tag"), ("10_20_000002", "gute nacht"))
    for name in ("10_20_000001", "10_20_000002"):
        sound(folder / "mls_german/test/audio/10/20" / f"{name}.flac")


def voxpopuli(folder: Path) -> None:
    header = ("id", "raw_text", "normalized_text", "speaker_id", "split", "gender", "is_gold_transcript", "accent")
    name = "20100119-0900-PLENARY-3-en_20100119-09:06:01_0"
    tsv(
        folder / "transcribed_data/en/asr_test.tsv",
        header,
        (name, "Good day.", "good day", "1", "test", "male", "True", "None"),
    )
    sound(folder / "transcribed_data/en/2010" / f"{name}.ogg")


def librispeech(folder: Path) -> None:
    chapter = folder / "LibriSpeech/test-other/367/130732"
    sound(chapter / "367-130732-0000.flac")
    sound(chapter / "367-130732-0001.flac")
    (chapter / "367-130732.trans.txt").write_text("367-130732-0000 GOOD DAY\n367-130732-0001 GOOD NIGHT\n")


def common_voice(folder: Path) -> None:
    header = (
        "client_id",
        "path",
        "sentence",
        "up_votes",
        "down_votes",
        "age",
        "gender",
        "accents",
        "locale",
        "segment",
    )
    tsv(
        folder / "cv-corpus-17.0-2024-03-15/sv-SE/test.tsv",
        header,
        ("x", "common_voice_sv-SE_1.mp3", 'God "dag".', "2", "0", "", "", "", "sv-SE", ""),
    )
    sound(folder / "cv-corpus-17.0-2024-03-15/sv-SE/clips/common_voice_sv-SE_1.mp3")


def vqav2(folder: Path) -> None:
    questions = [{"image_id": 42, "question": "What color is it?", "question_id": 42000}]
    answers = [{"answer": "red", "answer_confidence": "yes", "answer_id": at} for at in range(1, 11)]
    annotations = [{"question_id": 42000, "image_id": 42, "answers": answers, "multiple_choice_answer": "red"}]
    as_json(folder / "v2_OpenEnded_mscoco_val2014_questions.json", {"questions": questions, "info": {}})
    as_json(folder / "v2_mscoco_val2014_annotations.json", {"annotations": annotations, "info": {}})
    picture(folder / "val2014/COCO_val2014_000000000042.jpg")


def textvqa(folder: Path) -> None:
    row = {"question_id": 34602, "question": "What brand?", "image_id": "003a8ae2ef43b901", "answers": ["nous"] * 10}
    as_json(folder / "TextVQA_0.5.1_val.json", {"dataset_type": "val", "data": [row]})
    picture(folder / "train_images/003a8ae2ef43b901.jpg")


def docvqa(folder: Path, table: str = "val/val_v1.0.json", pictures: str = "val/documents") -> None:
    row = {
        "questionId": 49153,
        "question": "Which year?",
        "image": "documents/pybv0228_81.png",
        "answers": ["1999", "in 1999"],
    }
    as_json(folder / table, {"dataset_name": "docvqa", "dataset_split": "val", "data": [row]})
    picture(folder / pictures / "pybv0228_81.png")


def chartqa(folder: Path) -> None:
    for kind, label in (("human", "14"), ("augmented", "Yes")):
        row = {"imgname": f"{kind}.png", "query": "How many?", "label": label}
        as_json(folder / f"ChartQA Dataset/test/test_{kind}.json", [row])
        picture(folder / f"ChartQA Dataset/test/png/{kind}.png")


def ai2d(folder: Path) -> None:
    question = {
        "abcLabel": False,
        "answerTexts": ["ears", "nose", "mouth"],
        "correctAnswer": 2,
        "questionId": "7.png-0",
    }
    for number in (7, 8):
        about = {
            "imageName": f"{number}.png",
            "questions": {"What is it?": question | {"questionId": f"{number}.png-0"}},
        }
        as_json(folder / f"ai2d/questions/{number}.png.json", about)
        picture(folder / f"ai2d/images/{number}.png")
    (folder / "ai2d_test_ids.csv").write_text("7\n9\n")


def mmmu(folder: Path) -> None:
    from datasets import Dataset, Features, Value
    from datasets import Image as ImageColumn

    columns = ["id", "question", "options", "answer", "question_type"]
    features = Features(
        {name: Value("string") for name in columns} | {f"image_{n}": ImageColumn() for n in range(1, 8)}
    )
    red, blue = (Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))
    rows = [
        ("1", "<image 1> Who painted it?", "['Monet', \"O'Keeffe <image 2>\"]", "B", "multiple-choice", red, blue),
        ("2", "Of <image 2> and <image 1>, which is from <image 3>?", "[]", "['1872', '1873']", "open", red, blue),
    ]
    table = [
        dict(zip([*columns, "image_1", "image_2"], row, strict=True)) | {f"image_{n}": None for n in range(3, 8)}
        for row in rows
    ]
    (folder / "Art").mkdir()
    Dataset.from_list(table, features=features).to_parquet(folder / "Art/validation-00000-of-00001.parquet")


def perceptiontest(folder: Path) -> None:
    question = {
        "id": 3,
        "question": "Did it move?",
        "options": ["yes", "no", "maybe"],
        "answer_id": 1,
        "area": "physics",
    }
    about = {"metadata": {"split": "valid", "video_id": "video_10"}, "mc_question": [question]}
    as_json(folder / "mc_question_valid.json", {"video_10": about})
    clip(folder / "videos/video_10.mp4")


def nextqa(folder: Path, choice: bool = False) -> None:
    header = ["video", "frame_count", "width", "height", "question", "answer", "qid", "type"]
    row = ["4010069381", "369", "640", "480", "how do the two, by the wall, talk", "use phone", "6", "CH"]
    if choice:
        header += [f"a{number}" for number in range(5)]
        row[5] = "2"
        row += ["sing", "wave", "use phone", "write", "laugh"]
    else:
        as_json(folder / "add_reference_answer_test.json", {"4010069381": {"6": "by phone", "7": "no"}})
    with (folder / "test.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, row])
    as_json(folder / "map_vid_vidorID.json", {"4010069381": "1164/4010069381"})
    clip(folder / "NExTVideo/1164/4010069381.mp4")


def activitynetqa(folder: Path) -> None:
    as_json(
        folder / "test_q.json", [{"video_name": "1QIUV7WYKXg", "question": "is it outside", "question_id": "v_1_0"}]
    )
    as_json(folder / "test_a.json", [{"answer": "yes", "type": 3, "question_id": "v_1_0"}])
    clip(folder / "videos/v_1QIUV7WYKXg.mkv")
