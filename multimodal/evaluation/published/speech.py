"""Speech as it is published: FLEURS, CoVoST 2, Multilingual LibriSpeech, VoxPopuli, LibriSpeech, Common Voice."""

from collections.abc import Callable, Iterator
from pathlib import Path

from multimodal.languages import LANGUAGES, find_language

from ..items import Item
from .sets import Asked, HubRow, Published
from .tables import find, media, require, rows_of

_ENGLISH = find_language("English")
_FLEURS_COLUMNS = ("id", "file_name", "raw_transcription", "transcription", "characters", "num_samples", "gender")
_COMMON_VOICE_CODES = {one.code: {"zh": "zh-CN", "sv": "sv-SE"}.get(one.code, one.code) for one in LANGUAGES}
_COVOST_CODES = {code: _COMMON_VOICE_CODES[code] for code in "fr de es it ru zh pt fa nl tr ar sv ta ja id en".split()}
_COVOST_FROM_ENGLISH = tuple("ar zh fa de id ja sv ta tr".split())
_MLS_CODES = {
    find_language(name).code: name for name in "english german dutch french spanish italian portuguese polish".split()
}
_VOXPOPULI_CODES = {code: code for code in "en de fr es pl it ro hu cs nl fi".split()}


def _transcription(asked: Asked, name: str, sound: Path, text: str) -> Item:
    return Item(name, "asr", asked.language.name, None, (text,), audio=sound)


def _fleurs_rows(asked: Asked, code: str) -> Iterator[tuple[dict[str, str], Path]]:
    """Rows of a language, and the folder of its sounds."""
    folder = find(asked.folder, code, f"data/{code}")
    table = find(folder, f"{asked.split}.tsv")
    for row in rows_of(table, _FLEURS_COLUMNS[:4], _FLEURS_COLUMNS):
        yield row, folder / "audio" / asked.split / row["file_name"]


def _fleurs(asked: Asked) -> Iterator[Item]:
    """Sentences have the same number in all languages: translations are found by it."""
    spoken = _ENGLISH if asked.task == "ast-from-english" else asked.language
    told = {}
    if asked.task != "asr":
        into = asked.language if asked.task == "ast-from-english" else _ENGLISH
        told = {row["id"]: row["raw_transcription"] for row, _ in _fleurs_rows(asked, into.fleurs)}
    for row, sound in _fleurs_rows(asked, spoken.fleurs):
        if asked.task == "asr":
            text = row["transcription"]
        elif row["id"] in told:
            text = told[row["id"]]
        else:
            continue  # some sentences were not recorded in every language
        table = asked.folder / spoken.fleurs / f"{asked.split}.tsv"
        name = f"{asked.language.fleurs}/{row['file_name']}"
        yield Item(name, asked.task, asked.language.name, None, (text,), audio=media(sound, table))


def _covost(asked: Asked) -> Iterator[Item]:
    """Beside Common Voice's clips of the spoken language: covost_v2.de_en.test.tsv, or one table with all splits.

    Both are written with a backslash before a quote (`get_covost_splits.py`).
    """
    source, target = _covost_pair(asked)
    folder, pair = find(asked.folder, source, f"cv-corpus-*/{source}"), f"covost_v2.{source}_{target}"
    table = find(folder, f"{pair}.{asked.split}.tsv", f"{pair}.tsv")
    for row in rows_of(table, ("path", "translation"), escape="\\"):
        if row.get("split", asked.split) != asked.split:
            continue
        sound = media(_with_ending(folder / "clips" / row["path"]), table)
        name = f"{pair}/{row['path']}"
        yield Item(name, asked.task, asked.language.name, None, (row["translation"],), audio=sound)


def _covost_pair(asked: Asked) -> tuple[str, str]:
    return ("en", asked.code) if asked.task == "ast-from-english" else (asked.code, "en")


def _with_ending(path: Path) -> Path:
    """Older releases of Common Voice name clips without an ending."""
    return path if path.suffix else path.with_name(f"{path.name}.mp3")


def _mls(asked: Asked) -> Iterator[Item]:
    folder = find(asked.folder, f"mls_{asked.code}", f"mls_{asked.code}_opus") / asked.split
    table = find(folder, "transcripts.txt")
    for line in table.read_text("utf-8").splitlines():
        name, tab, text = line.partition("\t")
        if not tab:
            raise ValueError(f"{table} has a line without a tab: {line[:60]!r}")
        speaker, book, _ = name.split("_")
        sound = find(folder / "audio" / speaker / book, f"{name}.flac", f"{name}.opus")
        yield _transcription(asked, name, sound, text)


def _voxpopuli(asked: Asked) -> Iterator[Item]:
    folder = find(asked.folder, asked.code, f"transcribed_data/{asked.code}")
    table = find(folder, f"asr_{asked.split}.tsv")
    for row in rows_of(table, ("id", "normalized_text")):
        sound = media(folder / row["id"][:4] / f"{row['id']}.ogg", table)  # by year
        yield _transcription(asked, row["id"], sound, row["normalized_text"])


def _librispeech(asked: Asked) -> Iterator[Item]:
    folder = find(asked.folder, asked.split, f"LibriSpeech/{asked.split}")
    find(folder, "*/*/*.trans.txt")
    for table in sorted(folder.glob("*/*/*.trans.txt")):
        for line in table.read_text("utf-8").splitlines():
            name, _, text = line.partition(" ")
            yield _transcription(asked, name, media(table.with_name(f"{name}.flac"), table), text)


def _common_voice(asked: Asked) -> Iterator[Item]:
    folder = find(asked.folder, asked.code, f"cv-corpus-*/{asked.code}")
    table = find(folder, f"{asked.split}.tsv")
    for row in rows_of(table, ("path", "sentence")):
        sound = media(_with_ending(folder / "clips" / row["path"]), table)
        yield _transcription(asked, row["path"], sound, row["sentence"])


def _spoken_row(name: str, text: str) -> Callable[[HubRow, Asked], Item]:
    """How a row of the hub becomes an item: the columns of its name and its text."""

    def item(row: HubRow, asked: Asked) -> Item:
        return _transcription(asked, str(row.values[name]), row.save("audio"), row.values[text])

    return item


def _fleurs_hub(row: HubRow, asked: Asked) -> Item:
    if asked.task != "asr":
        raise ValueError(f"fleurs has {asked.task} from a folder only: translations are in tables of two languages")
    require(tuple(row.values), ("path",), "fleurs")
    name = f"{asked.language.fleurs}/{Path(row.values['path']).name}"
    return _transcription(asked, name, row.save("audio"), row.values["transcription"])


def _covost_hub(row: HubRow, asked: Asked) -> Item:
    name = str(row.values["id"])
    return Item(name, asked.task, asked.language.name, None, (row.values["translation"],), audio=row.save("audio"))


def _columns(*names: str) -> Callable[[Asked], tuple[str, ...]]:
    return lambda asked: (*names, "audio")


SETS = (
    Published(
        "fleurs",
        ("asr", "ast-into-english", "ast-from-english"),
        {one.code: one.fleurs for one in LANGUAGES},
        "test",
        "hi_in/test.tsv without a header and hi_in/audio/test/*.wav",
        _fleurs,
        "google/fleurs",
        lambda asked: asked.language.fleurs,
        {"dev": "validation"},
        _fleurs_hub,
        _columns("path", "transcription"),
    ),
    Published(
        "covost2",
        ("ast-into-english", "ast-from-english"),
        _COVOST_CODES,
        "test",
        "de/covost_v2.de_en.test.tsv (or de/covost_v2.de_en.tsv with a column split) and Common Voice's de/clips",
        _covost,
        "fixie-ai/covost2",
        lambda asked: "_".join(_covost_pair(asked)),
        {"dev": "validation"},
        _covost_hub,
        _columns("id", "translation"),
        lambda asked: (f"**/covost_v2.{'_'.join(_covost_pair(asked))}.*",),
        _COVOST_FROM_ENGLISH,
    ),
    Published(
        "mls",
        ("asr",),
        _MLS_CODES,
        "test",
        "mls_german/test/transcripts.txt and mls_german/test/audio/SPEAKER/BOOK/*.flac",
        _mls,
        "facebook/multilingual_librispeech",
        lambda asked: asked.code,
        {},
        _spoken_row("id", "transcript"),
        _columns("id", "transcript"),
        lambda asked: (f"mls_{asked.code}", f"mls_{asked.code}_opus"),
        hub_lacks=("en",),
    ),
    Published(
        "voxpopuli",
        ("asr",),
        _VOXPOPULI_CODES,
        "test",
        "transcribed_data/en/asr_test.tsv and transcribed_data/en/YEAR/*.ogg",
        _voxpopuli,
        "facebook/voxpopuli",
        lambda asked: asked.code,
        {"dev": "validation"},
        _spoken_row("audio_id", "normalized_text"),
        _columns("audio_id", "normalized_text"),
    ),
    Published(
        "librispeech",
        ("asr",),
        {"en": "en"},
        "test-other",
        "LibriSpeech/test-other/SPEAKER/CHAPTER/*.trans.txt and *.flac",
        _librispeech,
        "openslr/librispeech_asr",
        lambda asked: asked.split.partition("-")[2],
        {"test-other": "test", "test-clean": "test", "dev-other": "validation", "dev-clean": "validation"},
        _spoken_row("id", "text"),
        _columns("id", "text"),
    ),
    Published(
        "common_voice",
        ("asr",),
        _COMMON_VOICE_CODES,
        "test",
        "hi/test.tsv and hi/clips/*.mp3",
        _common_voice,
        None,
        lambda asked: asked.code,
        {"dev": "validation"},
        _spoken_row("path", "sentence"),
        _columns("path", "sentence"),
    ),
)
