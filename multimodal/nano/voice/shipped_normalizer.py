"""The tagger of written forms as it is shipped: its weights and its sizes, in two files beside nano's others.

`multimodal/nano/stages/normalizer.py` trains it and writes both.
"""

import json
from pathlib import Path

from safetensors import safe_open

from tts.normalizer import Normalizer
from tts.rules import LABELS

WEIGHTS = Path(__file__).parents[1] / "weights"
WEIGHTS_FILE, CONFIG_FILE = "voice_normalizer.safetensors", "voice_normalizer.json"
PREFIX = "normalizer."


def load_normalizer(folder: Path = WEIGHTS) -> Normalizer:
    """The tagger of a folder, ready to be started.

    Raises ValueError for files of other labels or sizes: a tag is a place in the list of labels.
    """
    config = json.loads((folder / CONFIG_FILE).read_text("utf-8"))
    if config.pop("labels") != list(LABELS):
        raise ValueError(f"{folder / CONFIG_FILE} belongs to another list of rules; train the tagger again")
    model = Normalizer(**config)
    with safe_open(folder / WEIGHTS_FILE, framework="pt") as file:
        found = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (not a dict)
    wanted = {PREFIX + name: tuple(value.shape) for name, value in model.state_dict().items()}
    if wrong := sorted(set(wanted.items()) ^ {(name, tuple(value.shape)) for name, value in found.items()}):
        raise ValueError(f"{folder / WEIGHTS_FILE} does not hold the tagger of {CONFIG_FILE}: {wrong[:3]}")
    model.load_state_dict({name.removeprefix(PREFIX): value for name, value in found.items()})
    return model.eval()
