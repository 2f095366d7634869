"""How often the voice reads a whole sentence of written forms right, with the core's states and without.

    python -m multimodal.nano.voice.normalization_quality --run runs/nano [--json]

Held-out sentences have frames, leads, tails and words that training never showed. A sentence is right if every
word of its spoken form is. Intervals hold 95% of 2,000 resamplings of the sentences; differences are paired.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from tts.normalizer import Normalizer
from tts.rules import spoken_form

from ..stages.normalizer import VARIANTS, encoded, said
from .written_forms import NUM_HELD_OUT, Sentence, sentence

_RESAMPLINGS = 2000


def right_of(run: Path, sentences: Sequence[Sentence]) -> dict[str, Tensor]:
    """For each tagger of a run, and for rules alone, which sentences it says right: [N], 0 or 1."""
    rows = encoded(run, True, len(sentences))
    told = {"rules alone": [spoken_form(one.written, "en") for one in sentences]}
    for name, config in VARIANTS.items():
        model = Normalizer(**config).eval()
        model.load_state_dict(load_file(run / name / "final.safetensors"))
        told[name] = said(model, list(sentences), rows)
    wanted = [one.spoken for one in sentences]
    return {
        name: torch.tensor([float(a == b) for a, b in zip(forms, wanted, strict=True)]) for name, forms in told.items()
    }


def interval(values: Tensor, seed: int = 0) -> tuple[float, float, float]:
    """Mean of values [N], and the bounds that hold 95% of the means of resampled values."""
    generator = torch.Generator().manual_seed(seed)
    means = [
        values[torch.randint(len(values), (len(values),), generator=generator)].mean() for _ in range(_RESAMPLINGS)
    ]
    low, high = torch.stack(means).quantile(torch.tensor([0.025, 0.975])).tolist()
    return values.mean().item(), low, high


def measure(run: Path, count: int = NUM_HELD_OUT) -> dict:
    """Accuracy of each tagger over all sentences, by what stands in them, and differences to the first."""
    sentences = [sentence(at, held_out=True) for at in range(count)]
    right = right_of(run, sentences)
    slices = {
        "all": torch.ones(count, dtype=torch.bool),
        "words of nano's world": torch.tensor([one.known for one in sentences]),
        "names and words outside of it": torch.tensor([not one.known for one in sentences]),
    }
    groups = sorted({group for one in sentences for group in one.groups})
    slices |= {group: torch.tensor([one.groups == (group,) for one in sentences]) for group in groups}
    first = "voice-normalizer"
    return {
        "sentences": count,
        "accuracy": {
            n: {s: interval(r[m]) if s == "all" else r[m].mean().item() for s, m in slices.items()}
            for n, r in right.items()
        },
        "gain": {n: interval(right[first] - right[n]) for n in right if n != first},
        "slices": {s: int(m.sum()) for s, m in slices.items()},
    }


def main() -> None:
    """The command above."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="the folder of the trained stages")
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    options = parser.parse_args()
    figures = measure(options.run)
    if options.json:
        print(json.dumps(figures, indent=1))
        return
    names = list(figures["accuracy"])
    print(f"| {figures['sentences']:,} held-out sentences | " + " | ".join(names) + " |")
    print("|---|" + "---:|" * len(names))
    for name, count in figures["slices"].items():
        cells = [figures["accuracy"][one][name] for one in names]
        told = [f"{c[0]:.1%} ({c[1]:.1%} to {c[2]:.1%})" if name == "all" else f"{c:.1%}" for c in cells]
        print(f"| {name} ({count:,}) | " + " | ".join(told) + " |")
    for name, (mean, low, high) in figures["gain"].items():
        print(f"voice-normalizer against {name}: {mean:+.1%} ({low:+.1%} to {high:+.1%})")


if __name__ == "__main__":
    main()
