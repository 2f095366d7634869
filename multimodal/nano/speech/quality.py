"""How well a model hears what training has never said to it: from the sound to the words, greedily.

    python -m multimodal.nano.speech.quality --model nano [--utterances 60] [--other-voices] [--json heard.json]

Held out from training are combinations of words, voice variants, rates and pitches; rooms are drawn as in
training, once without added noise and once with noise of 10 dB. Character and word errors count what can be
heard (`utterances.scored`). Translations count if they are right to the letter; a name that sounds like another
may be translated as either. Beside it stands the same model that hears noise of the same length instead.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import jiwer
import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table

from multimodal.languages import LANGUAGES, find_language

from ...assistant import NANO, Assistant, load
from ...transcription import BATCH, transcribe
from .. import quality as seen
from ..scenes import Question
from .held_out import Sound, held_out_mixed, held_out_phrases, noise_alone, recorded, spoken_question, translations
from .utterances import Utterance, scored

UTTERANCES = 60  # of each language
MIXED = 240
QUESTIONS = 5 * seen.QUESTIONS_A_BLOCK
NOISE_DB = 10.0
BLIND_UTTERANCES = 8  # of each language
SAMPLE_UTTERANCES = 2  # of each language, which the tests listen to each time
MAX_NEW_TOKENS = 64  # the longest right text has half as many; who hears nothing may not know when to end

SoundOf = Callable[[Utterance], Sound]


def write_down(
    assistant: Assistant,
    wanted: Sequence[tuple[Utterance, str]],
    sound_of: SoundOf,
    title: str,
    translate: bool = False,
) -> list[str]:
    """The text of each utterance in the language (its code) beside it, which it is translated into or said in.

    The texts are those of `Assistant.transcribe` and `translate`; neighbours of one language share a batch, and no
    more sounds than a batch are in memory.
    """
    texts = _texts(assistant, wanted, sound_of, translate)
    return list(track(texts, title, total=len(wanted), console=Console(stderr=True)))


def _texts(
    assistant: Assistant, wanted: Sequence[tuple[Utterance, str]], sound_of: SoundOf, translate: bool
) -> Iterator[str]:
    made_of = assistant.model, assistant.processor
    for code, group in groupby(wanted, key=lambda pair: pair[1]):
        sounds = (sound_of(utterance) for utterance, _ in group)
        for segments in transcribe(*made_of, sounds, code, translate, max_new_tokens=MAX_NEW_TOKENS):
            yield " ".join(segment.text for segment in segments)


def errors(utterances: Sequence[Utterance], texts: Sequence[str]) -> dict[str, float]:
    """Shares of wrong characters and words of all these together; `utterances`: how many there are."""
    told = [scored(one.text, one.language) for one in utterances]
    heard = [scored(text, one.language) for one, text in zip(utterances, texts, strict=True)]
    return {"cer": jiwer.cer(told, heard), "wer": jiwer.wer(told, heard), "utterances": len(told)}


def by_language(utterances: Sequence[Utterance], texts: Sequence[str]) -> dict[str, Any]:
    """The errors of each language, their means over languages, and the language with most wrong characters."""
    languages = {}
    for language in LANGUAGES:
        pairs = [pair for pair in zip(utterances, texts, strict=True) if pair[0].language == language.code]
        if pairs:
            languages[language.name] = errors(*zip(*pairs, strict=True))
    worst = max(languages, key=lambda name: languages[name]["cer"])
    means = {rate: _mean(one[rate] for one in languages.values()) for rate in ("cer", "wer")}
    return means | {"worst": worst, "worst_cer": languages[worst]["cer"], "languages": languages}


def exact(wanted: Sequence[tuple[Utterance, str]], texts: Sequence[str], of_source: bool) -> dict[str, Any]:
    """Shares of right translations: of each language (that spoken, or that written), their mean, and the lowest."""
    hits: dict[str, list[bool]] = {}
    for (utterance, into), text in zip(wanted, texts, strict=True):
        name = find_language(utterance.language if of_source else into).name
        hits.setdefault(name, []).append(text.strip() in translations(utterance, into))
    languages = {name: _mean(of_language) for name, of_language in hits.items()}
    worst = min(languages, key=languages.__getitem__)
    return {
        "exact": _mean(languages.values()),
        "worst": worst,
        "worst_exact": languages[worst],
        "utterances": len(texts),
        "languages": languages,
    }


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values)


def measure_transcription(assistant: Assistant, utterances: Sequence[Utterance]) -> dict[str, Any]:
    """Errors in rooms without added noise and with noise, of the first few of each language, and of noise alone."""
    wanted = [(one, one.language) for one in utterances]
    clean = write_down(assistant, wanted, recorded, "transcribing")
    noisy = write_down(assistant, wanted, lambda one: recorded(one, NOISE_DB), f"with noise, {NOISE_DB:g} dB")
    few = first_of_each(utterances, utterances, BLIND_UTTERANCES)
    blind = write_down(assistant, [(one, one.language) for one in few], noise_alone, "noise alone")
    sample, said = (first_of_each(utterances, some, SAMPLE_UTTERANCES) for some in (utterances, clean))
    return {
        "clean": by_language(utterances, clean),
        "noisy": by_language(utterances, noisy) | {"snr_db": NOISE_DB},
        "blind": by_language(few, blind),
        "sample": errors(sample, said),
    }


def first_of_each(utterances: Sequence[Utterance], values: Sequence, number: int) -> list:
    """The values that belong to the first few utterances of each language."""
    chosen, seen_of = [], dict.fromkeys((language.code for language in LANGUAGES), 0)
    for one, value in zip(utterances, values, strict=True):
        seen_of[one.language] += 1
        if seen_of[one.language] <= number:
            chosen.append(value)
    return chosen


def measure_translation(assistant: Assistant, utterances: Sequence[Utterance]) -> dict[str, Any]:
    """Exact translations into English, from English into each language, and of noise alone into English."""
    foreign = [(one, "en") for one in utterances if one.language != "en"]
    english = [one for one in utterances if one.language == "en"]
    others = [(one, language.code) for language in LANGUAGES if language.code != "en" for one in english]
    spoken = [one for one, _ in foreign]
    few = [(one, "en") for one in first_of_each(spoken, spoken, BLIND_UTTERANCES)]
    into = write_down(assistant, foreign, recorded, "into English", translate=True)
    out_of = write_down(assistant, others, recorded, "from English", translate=True)
    blind = write_down(assistant, few, noise_alone, "noise into English", translate=True)
    return {
        "into English": exact(foreign, into, of_source=True),
        "from English": exact(others, out_of, of_source=False),
        "blind": exact(few, blind, of_source=True),
    }


def measure_questions(assistant: Assistant, questions: int) -> dict[str, Any]:
    """Exact answers about held-out pictures: asked in writing, aloud in held-out voices, and by noise alone."""
    sheets = seen.held_out_sheets(questions)
    asked = [question for sheet in sheets for question in sheet.questions]
    written = seen.ask_all(assistant, sheets, seen.held_out_file, "questions in writing")
    aloud = ask_aloud(assistant, sheets, recorded, "questions aloud")
    blind = ask_aloud(assistant, sheets, noise_alone, "noise about pictures")
    scores = {"written": written, "spoken": aloud, "blind": blind}
    shares = {name: _right(asked, answers) for name, answers in scores.items()}
    kinds = {
        kind: {name: _right(asked, answers, kind) for name, answers in scores.items()}
        for kind in dict.fromkeys(question.kind for question in asked)
    }
    ratio = shares["spoken"] / shares["written"] if shares["written"] else 0.0
    return shares | {"ratio": ratio, "questions": len(asked), "kinds": kinds}


def _right(asked: Sequence[Question], answers: Sequence[str], kind: str | None = None) -> float:
    pairs = zip(asked, answers, strict=True)
    return _mean(seen.is_right(question, answer) for question, answer in pairs if kind in (None, question.kind))


def ask_aloud(assistant: Assistant, sheets: Sequence[seen.Sheet], sound_of: SoundOf, title: str) -> list[str]:
    """The greedy answer to every question of the sheets, asked by its sound alone beside the picture.

    The answers are those of `assistant.ask(audio=..., image=...)`, asked one by one.
    """
    asked = [(sheet, spoken_question(question.text)) for sheet in sheets for question in sheet.questions]
    answers: list[str] = []
    for start in track(range(0, len(asked), BATCH), title, console=Console(stderr=True)):
        answers += _ask_batch(assistant, asked[start : start + BATCH], sound_of)
    return answers


@torch.no_grad()
def _ask_batch(assistant: Assistant, asked: Sequence[tuple[seen.Sheet, Utterance]], sound_of: SoundOf) -> list[str]:
    model, processor = assistant.model, assistant.processor
    conversations = []
    for sheet, question in asked:
        picture = {"type": "image", "image": seen.held_out_file(sheet)}
        conversations.append([{"role": "user", "content": [picture, {"type": "audio", "audio": sound_of(question)}]}])
    inputs = processor.apply_chat_template(conversations, tokenize=True, add_generation_prompt=True)
    inputs = {name: value.to(model.device) for name, value in inputs.items()}
    written = model.generate(**inputs, do_sample=False, max_new_tokens=seen.MAX_NEW_TOKENS)
    return processor.batch_decode(written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def measure(
    assistant: Assistant,
    utterances: int = UTTERANCES,
    mixed: int = MIXED,
    questions: int = QUESTIONS,
    other_voices: bool = False,
) -> dict[str, Any]:
    """All figures; utterances: of each language. Raises ValueError if the model has no ears."""
    if assistant.model.speech is None:
        raise ValueError("found a model without a speech encoder; accepted: one that hears")
    phrases, lists = held_out_phrases(utterances), held_out_mixed(mixed)
    texts = write_down(assistant, [(one, one.language) for one in lists], recorded, "two languages")
    figures = {
        "transcription": measure_transcription(assistant, phrases),
        "translation": measure_translation(assistant, phrases),
        "mixed": errors(lists, texts),
    }
    if assistant.model.vision is not None:
        figures["questions"] = measure_questions(assistant, questions)
    if other_voices:
        from .other_voices import measure_voices  # programs of the system, which few have

        figures["other voices"] = measure_voices(assistant, 2 * utterances)  # lists and questions
    return figures


def tables(figures: dict[str, Any]) -> list[Table]:
    """The figures as tables for a terminal."""
    return [
        _language_table(figures),
        *([_question_table(figures["questions"])] if "questions" in figures else []),
        *([_voice_table(figures["other voices"])] if "other voices" in figures else []),
    ]


def _language_table(figures: dict[str, Any]) -> Table:
    heard, told = figures["transcription"], figures["translation"]
    sides = [heard[name]["languages"] for name in ("clean", "noisy", "blind")]
    ways = [told[name] for name in ("into English", "from English", "blind")]
    table = Table(
        Column("language", no_wrap=True),
        *("CER", "WER", "CER, noise", "WER, noise", "CER, blind", "into English", "from English", "blind"),
        title="Held-out voices and phrases",
    )
    for name in sides[0]:
        rates = [side[name][rate] for side, rate in zip(
            (sides[0], sides[0], sides[1], sides[1], sides[2]), ("cer", "wer", "cer", "wer", "cer"), strict=True
        )]  # fmt: skip
        shares = [way["languages"].get(name) for way in ways]
        table.add_row(name, *map(_percent, [*rates, *shares]), end_section=name == list(sides[0])[-1])
    clean, noisy, blind = (heard[name] for name in ("clean", "noisy", "blind"))
    means = [clean["cer"], clean["wer"], noisy["cer"], noisy["wer"], blind["cer"], *(way["exact"] for way in ways)]
    table.add_row("mean", *map(_percent, means))
    worst = [clean, None, noisy, None, blind, *ways]
    table.add_row("worst", *(one["worst"] if one else "" for one in worst))
    mixed = figures["mixed"]
    table.add_row("two languages", _percent(mixed["cer"]), _percent(mixed["wer"]), *[""] * 6)
    return table


def _question_table(questions: dict[str, Any]) -> Table:
    table = Table("kind", "written", "spoken", "blind", title="Questions about held-out pictures")
    for kind, one in (*questions["kinds"].items(), ("overall", questions)):
        table.add_row(kind, *(_percent(one[name]) for name in ("written", "spoken", "blind")))
    table.add_row("spoken / written", "", f"{questions['ratio']:.3f}", "")
    return table


def _voice_table(voices: dict[str, dict[str, float]]) -> Table:
    table = Table("voice", "words recognised", "WER", "CER", "utterances", title="English voices of other programs")
    for name, one in voices.items():
        shares = (_percent(one[share]) for share in ("recognised", "wer", "cer"))
        table.add_row(name, *shares, str(one["utterances"]))
    return table


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def main(
    model: Annotated[str, typer.Option(help="nano, or the folder of another model")] = "nano",
    utterances: Annotated[int, typer.Option(min=1, help="so many of each language")] = UTTERANCES,
    questions: Annotated[int, typer.Option(min=1, help="at least so many about pictures")] = QUESTIONS,
    other_voices: Annotated[bool, typer.Option("--other-voices", help="also those of flite, festival, pico")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="also write the figures there")] = None,
) -> None:
    """Measure how well a model hears held-out voices in 34 languages."""
    figures = measure(load(model), utterances, min(MIXED, 4 * utterances), questions, other_voices)
    console = Console()
    for table in tables(figures):
        console.print(table)
    if json_file:
        hashes = seen.weight_hashes(NANO if model == "nano" else Path(model))
        json_file.write_text(json.dumps(figures | {"weights": hashes}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
