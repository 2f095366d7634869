"""How often the voice reads a whole sentence of written forms right, with the core's states and without.

    python -m multimodal.nano.voice.normalization_quality --run runs/nano [--json]

Held-out sentences have frames, leads, tails and words that training never showed. A sentence is right if every
word of its spoken form is. Sentences of one frame rise and fall together, so intervals hold 95% of 2,000
resamplings of the frames, not of the sentences; differences are paired.
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


def interval(values: Tensor, frames: Sequence[str], seed: int = 0) -> tuple[float, float, float]:
    """Mean of values [N], and the bounds that hold 95% of the means when the frames they come from are resampled."""
    names, of = torch.tensor([sorted(set(frames)).index(frame) for frame in frames]).unique(return_inverse=True)
    sums = torch.zeros(len(names)).index_add(0, of, values)
    counts = of.bincount().float()
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(names), (_RESAMPLINGS, len(names)), generator=generator)
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = means.quantile(torch.tensor([0.025, 0.975])).tolist()
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
    first, frames = "voice-normalizer", [one.frames[0] for one in sentences]
    return {
        "sentences": count,
        "accuracy": {
            name: {s: r[m].mean().item() for s, m in slices.items()} | {"all": interval(r, frames)}
            for name, r in right.items()
        },
        "gain": {name: interval(right[first] - right[name], frames) for name in right if name != first},
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
