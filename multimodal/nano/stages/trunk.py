"""Stage `trunk`: the image trunk learns to see from captions, with open_clip's own model and loss.

The model is open_clip's CoCa (contrastive + captioning, arXiv 2205.01917) without attentional pooling:
a vision transformer, a text tower and a decoder that reads the patches. Only the vision transformer is
kept, `visual.` in the stage's weights. Pictures are drawn as they are needed; half of each batch are
twins that differ from their originals in how parts are bound, so that telling parts is not enough.

Beside CoCa's losses each patch is asked what it is part of, and at first the convolutional stem alone is (our
choice): from captions alone a trunk of this size had not learnt one shape after fifty thousand pictures.
Some things are strangers: their colour or their shape has no name, and nothing is told or asked of it. And that a
pair of colour and shape was never shown is not learnt as if there were none (`undenied.py`).
"""

import argparse
import math
import random
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from open_clip.coca_model import CoCa
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.loss import CoCaLoss
from open_clip.pos_embed import get_2d_sincos_pos_embed
from PIL import Image
from torch import Tensor, nn

from vision.encoder import SIZES
from vision.stem import ConvolutionalStem

from ...training.arithmetic import fast_arithmetic
from ...training.loop import Schedule, train
from .. import captions
from ..captions import NAMELESS, PATCH_NAMES, caption_tile, caption_whole, encode, name_patches, twin_of
from ..pictures import Box, Style, draw, letter_boxes, sample_style
from ..scenes import STRANGERS, Scene, sample_scene, with_strangers
from .beginning import begin
from .undenied import undenied_names, undenied_words

TILE, PATCH = 128, 16
VISION = {"layers": 6, "width": 128, "head_width": 32, "mlp_ratio": 4.0, "patch_size": PATCH, "image_size": TILE}
_SIDES = (96, 112, 160, 200, 256, 320, 512)  # of whole pictures that are not drawn at the tile's own size
_ASPECTS = ((4, 3), (3, 4), (3, 2), (2, 3))
STEM_SHARE = 0.45  # of the steps, the first ones, in which the stem alone learns to name patches
_NOTHING = 0.15  # weight of patches where there is nothing to name
Example = tuple[Image.Image, tuple[str, ...], np.ndarray]  # picture, caption, names of patches


def build_model(seed: int = 0) -> CoCa:
    """open_clip's CoCa around nano's trunk, freshly initialised."""
    torch.manual_seed(seed)
    words, context = len(captions.VOCABULARY), captions.CONTEXT
    tower = {"context_length": context, "vocab_size": words, "width": 128, "heads": 4, "layers": 2}
    model = CoCa(
        embed_dim=128,
        vision_cfg={**VISION, "output_tokens": True},
        text_cfg={**tower, "embed_cls": True, "output_tokens": True},
        multimodal_cfg={**tower, "layers": 1},
        pad_id=captions.PAD,
    )
    model.text.correct_cls_mask = True  # open_clip's default keeps an old mistake for old weights
    # open_clip's small random positions drown in the colour of a patch, and places are learnt late;
    # waves of a size with it are a start that training may leave
    positions = get_2d_sincos_pos_embed(VISION["width"], TILE // PATCH, cls_token=True)
    model.visual.positional_embedding.data.copy_(torch.from_numpy(positions))
    # open_clip leaves this matrix as it lies in memory; the scale is that of its text projections
    nn.init.normal_(model.text_decoder.text_projection, std=128**-0.5)
    model.visual.conv1 = ConvolutionalStem((*SIZES["nano"]["stem_widths"], VISION["width"]))
    model.naming = nn.Linear(VISION["width"], sum(PATCH_NAMES))
    model.early_naming = nn.Linear(VISION["width"], sum(PATCH_NAMES))
    return model


class TrunkStage:
    """Pre-training of the image trunk; `batch_size` counts pictures, half of them twins, `captioned` those told.

    begin_from: weights to go on from, the transformer's at least; then the stem does not learn alone first.
    """

    name = "trunk"

    def __init__(
        self,
        steps: int = 5000,
        batch_size: int = 40,
        captioned: int = 16,
        seed: int = 0,
        peak_lr: float = 1.5e-3,
        begin_from: Path | None = None,
    ):
        self.model = build_model(seed)
        self._done = begin(self.model, begin_from, some=True)
        self._stem_alone = 0 if begin_from else STEM_SHARE * steps
        self.schedule = Schedule(steps=steps, peak_lr=peak_lr, warmup_steps=min(100, steps // 10 + 1))
        self.batch_size, self.captioned, self.seed = batch_size, captioned, seed
        self.criterion = CoCaLoss(caption_loss_weight=2.0, clip_loss_weight=1.0, pad_id=captions.PAD)
        self._held_out: dict[str, dict[str, Tensor]] = {}
        self.model.visual.conv1.register_forward_hook(self._keep_stem)

    def batch(self, step: int) -> dict[str, Tensor]:
        """`pictures` uint8 [batch, 3, 128, 128], `captions` [batch, words], `names` [batch, 6, 8, 8]; twins adjoin.

        While the stem learns alone there are no captions, and more to read.
        """
        rng, pairs = random.Random(f"trunk {self.seed} {self._done + step}"), self.batch_size // 2
        if step >= self._stem_alone:
            return sample_batch(rng, pairs)
        batch = sample_batch(rng, pairs, reading=0.45)
        del batch["captions"]
        return batch

    def _keep_stem(self, stem: nn.Module, inputs: tuple[Tensor], cells: Tensor) -> None:
        self._stem = cells.flatten(2).transpose(1, 2)  # [batch, patches, width]

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        if "captions" not in batch:
            with fast_arithmetic(batch["pictures"].device):
                self.model.visual.conv1(normalise(batch["pictures"]))
                names = self.model.early_naming(self._stem)
            naming = _naming_loss(names.float(), batch["names"])
            return naming, {"early naming": naming.item()}
        out = self._run(batch, captioned=self.captioned)
        names, early_names = out.pop("names"), out.pop("early_names")
        out["logits"] = undenied_words(out["logits"], out["labels"])
        contrastive, caption = self.criterion(**out)
        naming, early = (_naming_loss(one, batch["names"]) for one in (names, early_names))
        losses = {"contrastive": contrastive, "caption": caption, "naming": naming, "early naming": early}
        return sum(losses.values()), {name: loss.item() for name, loss in losses.items()}

    def _run(self, batch: dict[str, Tensor], *, blind: bool = False, captioned: int | None = None) -> dict[str, Tensor]:
        """What the loss takes; `blind` captions each picture by another one's patches, `captioned` only the first."""
        pictures, tokens = normalise(batch["pictures"]), batch["captions"][:captioned]
        with fast_arithmetic(pictures.device):
            image_features, patches = self.model._encode_image(pictures)
            text_features, words = self.model._encode_text(tokens[:, :-1])
            logits = self.model.text_decoder((patches.roll(2, 0) if blind else patches)[:captioned], words)
            names, early_names = self.model.naming(patches), self.model.early_naming(self._stem)
        return {
            "image_features": image_features[:captioned].float(),
            "text_features": text_features.float(),
            "logits": logits.float(),
            "names": names.float(),
            "early_names": early_names.float(),
            "labels": tokens[:, 1:],
            "logit_scale": self.model.logit_scale.exp().clamp(max=100.0),
        }

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Held-out accuracy of each class of words, given those before; `blind` sees another picture.

        `twin` is how often a picture goes with its own caption rather than its twin's, `contrast` how
        often with its own rather than any of 64. `tile_` figures are those of tiles of bigger pictures.
        """
        figures: dict[str, float] = {}
        for prefix, tiles in (("", 0.0), ("tile_", 1.0)):
            if prefix not in self._held_out:
                batch = sample_batch(random.Random(f"trunk held out {tiles}"), 128, held_out=True, tiles=tiles)
                self._held_out[prefix] = batch
            device = self.model.logit_scale.device
            hits: dict[str, list[float]] = defaultdict(list)
            for start in range(0, 256, 64):
                part = {k: v[start : start + 64].to(device) for k, v in self._held_out[prefix].items()}
                out = self._run(part)
                _score_words(hits, prefix, out["logits"], out["labels"])
                _score_names(hits, prefix, out["names"], part["names"])
                if not prefix:
                    _score_contrast(hits, out["image_features"] @ out["text_features"].T)
                    _score_words(hits, "blind_", self._run(part, blind=True)["logits"], out["labels"])
            figures |= {name: sum(values) / len(values) for name, values in hits.items()}
        return figures


def _score_words(hits: dict[str, list[float]], prefix: str, logits: Tensor, labels: Tensor) -> None:
    right = logits.argmax(-1) == labels
    for name, words in captions.CLASSES.items():
        ids = torch.tensor([captions.VOCABULARY.index(word) for word in words], device=labels.device)
        hits[prefix + name] += right[torch.isin(labels, ids)].float().tolist()


def _naming_loss(logits: Tensor, names: Tensor) -> Tensor:
    """Cross-entropy of the names of patches, of those that have one.

    logits [batch, patches, all names], names [batch, 6, rows, columns].
    """
    losses, names = [], names.flatten(2).unbind(1)
    colours, shapes, *others = logits.split(PATCH_NAMES, dim=-1)
    for part, name in zip((*undenied_names(colours, shapes, *names[:2]), *others), names, strict=True):
        weight = torch.ones(part.shape[-1], device=part.device)
        weight[0] = _NOTHING if part.shape[-1] < len(captions.LETTERS) else _NOTHING / 10
        losses.append(nn.functional.cross_entropy(part.flatten(0, 1), name.flatten(), weight, ignore_index=NAMELESS))
    return torch.stack(losses).sum()


def _score_names(hits: dict[str, list[float]], prefix: str, logits: Tensor, names: Tensor) -> None:
    parts = [part.argmax(-1) for part in logits.split(PATCH_NAMES, dim=-1)]
    for label, number in (("colour", 0), ("shape", 1), ("letter", 4)):
        name = names[:, number].flatten(1)
        hits[f"{prefix}patch_{label}"] += (parts[number] == name)[(name > 0) & (name != NAMELESS)].float().tolist()


def _score_contrast(hits: dict[str, list[float]], likeness: Tensor) -> None:
    own = torch.arange(len(likeness), device=likeness.device)
    hits["contrast"] += (likeness.argmax(-1) == own).float().tolist()
    hits["twin"] += (likeness[own, own] > likeness[own, own ^ 1]).float().tolist()


def normalise(pictures: Tensor) -> Tensor:
    """uint8 pictures [..., 3, height, width] with the mean and deviation that CLIP was trained with."""
    mean, deviation = (
        torch.tensor(values, device=pictures.device).view(3, 1, 1)
        for values in (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD)
    )
    return (pictures.float() / 255 - mean) / deviation


def sample_batch(
    rng: random.Random, pairs: int, *, held_out: bool = False, tiles: float = 0.1, reading: float = 0.15
) -> dict[str, Tensor]:
    """`pairs` scenes and their twins, drawn.

    The share `tiles` shows tiles of bigger pictures, without twins; `reading` as in `sample_trunk_scene`.
    """
    pictures, words, names = [], [], []
    for _ in range(pairs):
        scene = sample_trunk_scene(rng, held_out, reading)
        in_tiles = rng.random() < tiles  # where twins may differ in nothing that the tile shows
        twin = sample_trunk_scene(rng, held_out, reading) if in_tiles else twin_of(scene, rng)
        style = sample_style(rng, scene, twin, held_out=held_out)
        other_style = style if rng.random() < 0.5 else sample_style(rng, twin, held_out=held_out)
        seed, make = rng.random(), make_tile if in_tiles else make_whole
        for each, its_style in ((scene, style), (twin, other_style)):
            picture, caption, patch_names = make(each, its_style, random.Random(seed))
            pictures.append(np.asarray(picture).transpose(2, 0, 1))
            words.append(torch.tensor(encode(caption)))
            names.append(patch_names)
    tokens = nn.utils.rnn.pad_sequence(words, batch_first=True, padding_value=captions.PAD)
    stacked = {"pictures": torch.from_numpy(np.stack(pictures)), "names": torch.from_numpy(np.stack(names)).long()}
    return {**stacked, "captions": tokens}


def sample_trunk_scene(rng: random.Random, held_out: bool = False, reading: float = 0.15) -> Scene:
    """A scene; of those with nothing to read the share `reading` gets a text, in training half of random letters.

    In training the share `STRANGERS` has things without a name: a colour is then seen on more than the six shapes, and
    a shape in more than the eight colours, and the one has to be told apart from the other.
    """
    scene = sample_scene(rng, held_out)
    if scene.inscription is None and rng.random() < reading:
        while scene.inscription is None:
            scene = sample_scene(rng, held_out)
    if not held_out and rng.random() < STRANGERS:
        scene = with_strangers(scene, rng)
    if scene.inscription is None or held_out or rng.random() < 0.5:
        return scene
    alphabet = captions.LETTERS[26:] if rng.random() < 0.2 else captions.LETTERS[:26]
    text = "".join(rng.choices(alphabet, k=rng.randint(1, 8)))
    height = min(scene.inscription.height, 1.3 / max(len(text), 3))
    return replace(scene, inscription=replace(scene.inscription, text=text, height=height))


def make_whole(scene: Scene, style: Style, rng: random.Random) -> Example:
    """The whole picture, of any size, in one tile: resized without distortion, black beyond its edge."""
    wide, high = (1, 1) if scene.inscription or rng.random() < 0.8 else rng.choice(_ASPECTS)
    longer = TILE if rng.random() < 0.6 else rng.choice(_SIDES)
    width, height = round(longer * wide / max(wide, high)), round(longer * high / max(wide, high))
    picture = draw(scene, style, width, height)
    fitted = round(TILE * wide / max(wide, high)), round(TILE * high / max(wide, high))
    boxes = _scaled(letter_boxes(scene, style, width, height), fitted[0] / width)
    names = name_patches(scene, boxes, fitted, (0, 0), TILE, PATCH)
    return _cut(_resize(picture, *fitted), 0, 0), caption_whole(scene), names


def make_tile(scene: Scene, style: Style, rng: random.Random) -> Example:
    """One tile of a bigger picture on a canvas of 2x2, 1x2 or 2x1 tiles, one that shows something."""
    columns, rows = rng.choices(((2, 2), (2, 1), (1, 2)), (0.7, 0.15, 0.15))[0]
    shorter = TILE * min(columns, rows) if rng.random() < 0.6 else rng.randint(140, 256)
    if min(columns, rows) == 2:
        wide, high = (1.0, 1.0) if rng.random() < 0.75 else rng.choice(((1.33, 1.0), (1.0, 1.33)))
    else:
        wide, high = float(columns), float(rows)
    width, height = round(shorter * wide), round(shorter * high)
    picture = draw(scene, style, width, height)
    shrink = min(1.0, columns * TILE / width, rows * TILE / height)
    size = round(width * shrink), round(height * shrink)
    boxes = _scaled(letter_boxes(scene, style, width, height), shrink)
    corners = [(TILE * c, TILE * r) for c in range(math.ceil(size[0] / TILE)) for r in range(math.ceil(size[1] / TILE))]
    rng.shuffle(corners)
    for x, y in corners:
        caption = caption_tile(scene, boxes, size, (x, y, x + TILE, y + TILE))
        if len(caption) > 1:
            break
    return _cut(_resize(picture, *size), x, y), caption, name_patches(scene, boxes, size, (x, y), TILE, PATCH)


def _scaled(boxes: list[Box], scale: float) -> list[Box]:
    return [(left * scale, top * scale, right * scale, bottom * scale) for left, top, right, bottom in boxes]


def _resize(picture: Image.Image, width: int, height: int) -> Image.Image:
    return picture if picture.size == (width, height) else picture.resize((width, height), Image.Resampling.BILINEAR)


def _cut(picture: Image.Image, x: int, y: int) -> Image.Image:
    """The tile whose corner is at (x, y), black where the picture ends."""
    return picture.crop((x, y, x + TILE, y + TILE))


def main() -> None:
    """Train the stage from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/nano"), help="run folder")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--batch-size", type=int, default=40)
    parser.add_argument("--peak-lr", type=float, default=1.5e-3)
    arguments = parser.parse_args()
    stage = TrunkStage(steps=arguments.steps, batch_size=arguments.batch_size, peak_lr=arguments.peak_lr)
    train(stage, arguments.out, arguments.device)


if __name__ == "__main__":
    main()
