"""Whether nano's voice is understood in the 33 languages that no recogniser here but its own ears knows.

    python -m multimodal.nano.voice.other_languages [--phrases 10]

The same held-out phrases are said by nano and by espeak-ng, from which it has learnt, and written down by nano. It has
learnt to hear from espeak-ng too, which flatters both: their ratio is what counts (wanted: at most 2).
"""

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from multimodal.languages import find_language

from ...assistant import Assistant, load
from ..speech.held_out import Sound, held_out_phrases
from ..speech.quality import by_language, write_down
from ..speech.synthesiser import SAMPLE_RATE_HZ, Voice, resampled, say
from ..speech.utterances import Utterance

PHRASES = 10  # of each language


def measure(assistant: Assistant, utterances: Sequence[Utterance]) -> dict[str, Any]:
    """Errors in what is heard of both voices, by language, and the ratio of their mean shares of wrong characters."""

    def by_nano(one: Utterance) -> Sound:
        said = assistant.speak(one.text, language=find_language(one.language).name)
        return said.samples, said.sample_rate

    wanted = [(one, one.language) for one in utterances]
    figures = {
        voice: by_language(utterances, write_down(assistant, wanted, sound_of, voice))
        for voice, sound_of in (("nano", by_nano), ("espeak-ng", by_espeak))
    }
    return figures | {"ratio": figures["nano"]["cer"] / figures["espeak-ng"]["cer"]}


def by_espeak(one: Utterance) -> Sound:
    """The utterance in espeak-ng's plain voices."""
    [part] = one.parts
    return resampled(say(part.spoken, Voice(find_language(part.language).espeak)).samples), SAMPLE_RATE_HZ


def main(phrases: Annotated[int, typer.Option(min=1, help="Of each language.")] = PHRASES) -> None:
    """Measure how nano's voice is understood in other languages than English."""
    utterances = [one for one in held_out_phrases(phrases) if one.language != "en"]
    print(json.dumps(measure(load("nano"), utterances), indent=1))


if __name__ == "__main__":
    typer.run(main)
