"""The vision transformers that open_clip published: their configuration and table of weights.

Our trunk is open_clip's own module, so its tensors keep their names. Left behind are the text tower
and what pools and projects a picture for it. Source: open_clip 3.3, `model.py` and `transformer.py`.
"""

import json
from collections.abc import Collection, Iterator
from math import isfinite
from pathlib import Path

from open_clip.model import CLIPVisionCfg

from vision.encoder import SIZES

from .table import Row, left_behind, same

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
OURS, THEIRS = "vision.trunk.", "visual."

TRUNK = ("class_embedding", "positional_embedding", "conv1.weight")
NORM_BEFORE = ("ln_pre.weight", "ln_pre.bias")
BLOCK = (
    "ln_1.weight",
    "ln_1.bias",
    "attn.in_proj_weight",
    "attn.in_proj_bias",
    "attn.out_proj.weight",
    "attn.out_proj.bias",
    "ln_2.weight",
    "ln_2.bias",
    "mlp.c_fc.weight",
    "mlp.c_fc.bias",
    "mlp.c_proj.weight",
    "mlp.c_proj.bias",
)
LAYER_SCALE = ("ls_1.gamma", "ls_2.gamma")

# CoCa's attentional pooling normalises the last states (ln_k), lets its queries attend to them, and
# normalises what they found (ln_post). Ours are the states, with the pooler's own norm of them.
POOLER_NORM = {"ln_post.weight": "attn_pool.ln_k.weight", "ln_post.bias": "attn_pool.ln_k.bias"}
POOLER = (
    "ln_post.weight",
    "ln_post.bias",
    "attn_pool.query",
    "attn_pool.ln_q.weight",
    "attn_pool.ln_q.bias",
    "attn_pool.attn.in_proj_bias",
    "attn_pool.attn.out_proj.weight",
    "attn_pool.attn.out_proj.bias",
)
POOLER_OF_ONE_WIDTH = ("attn_pool.attn.in_proj_weight",)  # torch joins the three if pooled and trunk are as wide
POOLER_OF_TWO_WIDTHS = ("attn_pool.attn.q_proj_weight", "attn_pool.attn.k_proj_weight", "attn_pool.attn.v_proj_weight")

OTHER_PARTS = (
    # the text tower, beside the picture's in CLIP
    *("transformer.", "token_embedding.", "positional_embedding", "ln_final.", "text_projection"),
    "text.",  # the same in a module of its own: CoCa, and text towers from the hub
    "text_decoder.",  # CoCa
    *("logit_scale", "logit_bias"),
)

# What open_clip can build and no published vision transformer has. Fields that stand neither here nor
# below tell how to pool, or how to train: states of tokens do not depend on them.
_ACCEPTED = {
    "attentional_pool": (False, True),
    "act_kwargs": (None,),
    "norm_kwargs": (None,),
    "block_type": (None, "default"),
    "qk_norm": (False,),
    "scaled_cosine_attn": (False,),
    "scale_heads": (False,),
    "scale_attn_inner": (False,),
    "scale_attn": (False,),
    "scale_fc": (False,),
}


def read_config(folder: Path) -> dict:
    """The parsed `open_clip_config.json` of a folder.

    Raises ValueError if there is none that can be read.
    """
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder}: found no readable {CONFIG} ({error})") from error
    if not isinstance(config, dict):
        raise ValueError(f"{folder / CONFIG}: found {type(config).__name__}; accepted: model_cfg and preprocess_cfg")
    return config


def vision_config(config: dict) -> dict:
    """Keywords of `VisionConfig` for the model that a parsed `open_clip_config.json` describes.

    Tapped are the paper's blocks of 32 (7.2.1), scaled to the number of blocks.

    Raises ValueError for all but open_clip's own vision transformers.
    """
    vit, paper = _vit(config), SIZES["vit-h-14"]
    return dict(
        encoder="open_clip",
        tile_px=_side("image_size", vit.image_size),
        patch_px=_side("patch_size", vit.patch_size),
        width=vit.width,
        layers=vit.layers,
        heads=vit.width // vit.head_width,
        mlp_ratio=float(vit.mlp_ratio),
        taps=_scaled(paper["taps"], paper["layers"], vit.layers),
        num_global_layers=paper["num_global_layers"],
        trunk_options=_trunk_options(config, vit) or None,
        max_tiles=4,
    )


def normalisation(config: dict) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of red, green and blue (0 to 1) that the model's pictures were normalised with.

    Raises ValueError if a parsed `open_clip_config.json` does not tell them.
    """
    preprocessing = config.get("preprocess_cfg")
    found = [preprocessing.get(name) if isinstance(preprocessing, dict) else None for name in ("mean", "std")]
    for name, values in zip(("mean", "std"), found, strict=True):
        numbers = isinstance(values, list) and all(_is_number(value) for value in values)
        if not numbers or len(values) != 3 or (name == "std" and min(values) <= 0):
            raise ValueError(f"preprocess_cfg has {name} {values!r}; accepted: three numbers, a std above 0")
    mean, std = found
    return tuple(mean), tuple(std)


def rows(config: dict, names: Collection[str]) -> list[Row]:
    """The table of the model that a parsed `open_clip_config.json` describes; names: those of its file.

    Raises ValueError as `vision_config` does.
    """
    others = [left_behind(name) for name in sorted(names) if name.startswith(OTHER_PARTS)]
    return [*_trunk_rows(config), *others]


def _trunk_rows(config: dict) -> Iterator[Row]:
    vit = _vit(config)
    for name in (*TRUNK, *(() if vit.no_ln_pre else NORM_BEFORE)):
        yield same(OURS + name, THEIRS + name)
    for i in range(vit.layers):
        for name in (*BLOCK, *(() if vit.ls_init_value is None else LAYER_SCALE)):
            yield same(f"{OURS}transformer.resblocks.{i}.{name}", f"{THEIRS}transformer.resblocks.{i}.{name}")
    for ours, theirs in POOLER_NORM.items():
        yield same(OURS + ours, THEIRS + (theirs if vit.attentional_pool else ours))
    if vit.attentional_pool:
        one_width = config["model_cfg"].get("embed_dim") == vit.width
        for name in (*POOLER, *(POOLER_OF_ONE_WIDTH if one_width else POOLER_OF_TWO_WIDTHS)):
            yield left_behind(THEIRS + name)
    yield left_behind(THEIRS + "proj")


def _vit(config: dict) -> CLIPVisionCfg:
    """What `model_cfg` says of the vision tower, if that is one of open_clip's own transformers."""
    accepted = "accepted: a vision transformer of open_clip's own, such as ViT-H-14"
    try:
        vit = CLIPVisionCfg(**config["model_cfg"]["vision_cfg"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"found no model_cfg with a vision_cfg of open_clip ({error}); {accepted}") from error
    if vit.timm_model_name:
        raise ValueError(f"vision_cfg has timm_model_name {vit.timm_model_name!r}, a model of timm; {accepted}")
    if isinstance(vit.layers, list):
        raise ValueError(f"vision_cfg has layers {vit.layers}, a ResNet; {accepted}")
    for name in ("layers", "width", "head_width", "mlp_ratio"):
        found = getattr(vit, name)
        if not _is_number(found) or found <= 0 or (name != "mlp_ratio" and not isinstance(found, int)):
            raise ValueError(f"vision_cfg has {name} {found!r}; accepted: a number above 0, whole but for mlp_ratio")
    if vit.width % vit.head_width:
        raise ValueError(f"vision_cfg has width {vit.width}; accepted: a multiple of head_width, {vit.head_width}")
    for name, values in _ACCEPTED.items():
        if getattr(vit, name) not in values:
            told = " or ".join(repr(value) for value in values)
            raise ValueError(f"vision_cfg has {name} {getattr(vit, name)!r}; accepted: {told}")
    return vit


def _trunk_options(config: dict, vit: CLIPVisionCfg) -> list[str]:
    has = {
        "quick_gelu": config["model_cfg"].get("quick_gelu"),
        "layer_scale": vit.ls_init_value is not None,
        "no_norm_before": vit.no_ln_pre,
    }
    return [name for name, there in has.items() if there]


def _side(name: str, found: int | list[int]) -> int:
    """The side of a square, told once or twice."""
    sides = found if isinstance(found, list) else [found, found]
    if len(sides) != 2 or sides[0] != sides[1] or not isinstance(sides[0], int) or sides[0] <= 0:
        raise ValueError(f"vision_cfg has {name} {found!r}; accepted: a whole number of pixels, or a square")
    return sides[0]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and isfinite(value)


def _scaled(taps: Collection[int], of_layers: int, layers: int) -> list[int]:
    """Taps at the same fractions of another depth, to the nearest block, and always before the last."""
    nearest = {min((2 * tap * layers + of_layers) // (2 * of_layers), layers - 1) for tap in taps}
    return sorted(nearest - {0})
