"""The Llama 3 paper's figures (tables 29 to 34), to stand beside ours."""

from dataclasses import dataclass

_SPEECH = ("Llama 3 8B", "Llama 3 70B", "Whisper", "SeamlessM4T v2", "Gemini 1.0 Ultra", "Gemini 1.5 Pro")
_TRANSLATION = ("Llama 3 8B", "Llama 3 70B", "Whisper v2", "SeamlessM4T v2")
_PICTURES = ("Llama 3 8B", "Llama 3 70B", "Llama 3 405B", "GPT-4V", "GPT-4o", "Gemini 1.5 Pro", "Claude 3.5")
_CLIPS = ("Llama 3 8B", "Llama 3 70B", "Gemini 1.0 Pro", "Gemini 1.0 Ultra", "Gemini 1.5 Pro", "GPT-4V", "GPT-4o")
_WRITTEN_OUT = ("no Llama, context 3", "no Llama, whole sentence", "with Llama 3 8B, context 3")

OTHER = "**other data**"


@dataclass(frozen=True)
class PaperRow:
    """A row of a table: `data` with its split as our data sets are named, `figures` in the table's own unit, by system.

    languages: those that the figure is the mean of, or how many; otherwise: what the paper did that we do not.
    """

    task: str
    data: str
    title: str
    metric: str
    figures: dict[str, float]
    languages: tuple[str, ...] | int | None = None
    otherwise: str | None = None

    def beside(self, data: str, languages: list[str], limit: int | None) -> str:
        """What the row is beside our figures on a data set, with its split, in these languages."""
        if isinstance(self.languages, int):
            has_languages = len(languages) == self.languages
        else:
            has_languages = self.languages is None or sorted(languages) == sorted(self.languages)
        if data != self.data or not has_languages:
            return OTHER
        if limit is not None:
            return "**more of the same data**"
        return "same data" if self.otherwise is None else f"same data, **{self.otherwise}**"


_OTHERWISE = {
    "mmmu validation": "answered after reasoning",
    "chartqa test": "answered after reasoning",
    "nextqa test": "other measure",
    "activitynetqa test": "other measure",
}


def _row(task, data, title, metric, systems, figures, languages=None) -> PaperRow:
    told = zip(systems, figures.split(), strict=True)
    by_system = {name: float(one) for name, one in told if one != "-"}
    return PaperRow(task, data, title, metric, by_system, languages, _OTHERWISE.get(data))


_ENGLISH = ("English",)
PAPER = (
    _row("asr", "mls test", "MLS, English", "WER", _SPEECH, "4.9 4.4 6.2 6.5 4.4 4.2", _ENGLISH),
    _row("asr", "librispeech test-other", "LibriSpeech, other", "WER", _SPEECH, "3.4 3.1 4.9 6.2 - -", _ENGLISH),
    _row("asr", "voxpopuli test", "VoxPopuli, English", "WER", _SPEECH, "6.2 5.7 7.0 7.0 - -", _ENGLISH),
    _row("asr", "fleurs test", "FLEURS, 34 languages", "WER", _SPEECH, "9.6 8.2 14.4 11.7 - -", 34),
    _row("ast-into-english", "fleurs test", "FLEURS, 33 languages", "BLEU", _TRANSLATION, "29.5 33.7 21.9 28.6", 33),
    _row("ast-into-english", "covost2 test", "CoVoST 2, 15 languages", "BLEU", _TRANSLATION, "34.4 38.8 33.8 37.9", 15),
    _row("image-qa", "mmmu validation", "MMMU, val", "accuracy", _PICTURES, "49.6 60.6 64.5 56.4 69.1 62.2 68.3"),
    _row("image-qa", "vqav2 test-dev", "VQAv2, test-dev", "accuracy", _PICTURES, "78.0 79.1 80.2 77.2 - 80.2 -"),
    _row("image-qa", "ai2d test", "AI2D, test", "accuracy", _PICTURES, "84.4 93.0 94.1 78.2 94.2 94.4 94.7"),
    _row("image-qa", "chartqa test", "ChartQA", "accuracy", _PICTURES, "78.7 83.2 85.8 78.4 85.7 87.2 90.8"),
    _row("image-qa", "textvqa val", "TextVQA, val", "accuracy", _PICTURES, "78.2 83.4 84.8 78.0 - 78.7 -"),
    _row("image-qa", "docvqa test", "DocVQA, test", "ANLS", _PICTURES, "84.4 92.2 92.6 88.4 92.8 93.1 95.2"),
    _row("video-qa", "perceptiontest test", "PerceptionTest", "accuracy", _CLIPS, "53.8 60.8 51.1 54.7 - - -"),
    _row("video-qa", "tvqa val", "TVQA, val", "accuracy", _CLIPS, "82.5 87.9 - - - 87.3 -"),
    _row("video-qa", "nextqa test", "NExT-QA", "WUPS", _CLIPS, "27.3 30.3 28.0 29.9 - - -"),
    _row("video-qa", "activitynetqa test", "ActivityNet-QA", "by GPT-3.5", _CLIPS, "52.7 56.3 49.8 52.2 57.5 - 61.9"),
    _row("text-normalization", "in-house", "in-house sample", "sentences right", _WRITTEN_OUT, "73.6 88.0 90.7"),
)


def rows_of(task: str) -> list[PaperRow]:
    """The paper's rows of a task, in the order of its tables."""
    return [row for row in PAPER if row.task == task]
