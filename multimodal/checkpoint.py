"""Weights on disk: read strictly and without a copy, and told apart from what stands elsewhere.

A folder of adapters holds what was trained and names the rest. In its configuration `sources` says
where a part of the model comes from, {"core": {"id": "meta-llama/Llama-3.1-8B", "revision": None}},
and `left_out` which of these parts the folder leaves there. A source is "nano", a folder, or a hub
id; it holds a composed model (its weights under the part's name) or the part alone.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError, safe_open
from torch import Tensor

NANO = Path(__file__).parent / "nano" / "weights"
CORE = "core"

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
MAX_NAMED = 3  # names that an error spells out
SAMPLE = 1024  # elements at either end of a weight that its fingerprint covers


def weights_folder(
    name: str,
    revision: str | None = None,
    *,
    local_files_only: bool = False,
    token: str | bool | None = None,
    cache_dir: str | None = None,
) -> Path:
    """The folder of "nano", of a path, or of a hub id, which is downloaded unless local_files_only.

    Raises ValueError if there is none.
    """
    if name == "nano":
        return NANO
    if Path(name).is_dir():
        return Path(name)
    try:
        folder = snapshot_download(
            name,
            revision=revision,
            allow_patterns=["*.safetensors", "*.json"],
            ignore_patterns=["*/*"],
            local_files_only=local_files_only,
            token=token,
            cache_dir=cache_dir,
        )
    except (OSError, ValueError) as error:  # the hub's own errors are of these kinds
        at = f" at revision {revision}" if revision else ""
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"{name}{at}: found neither such a folder nor such a model on the hub ({reason})") from error
    return Path(folder)


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All weights of a folder by name, mapped from its safetensors files: read when they are used.

    Raises ValueError if there are none in that format, or if a file is missing, damaged, or other
    than its index says.
    """
    weights: dict[str, Tensor] = {}
    for file, expected in files_of(folder).items():
        try:
            with safe_open(file, framework="pt") as opened:
                found = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        except FileNotFoundError as error:
            raise ValueError(f"{folder}: found no {file.name}, which its index names") from error
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{file}: found no readable safetensors file ({error})") from error
        if expected is not None and found.keys() != expected:
            raise ValueError(f"{file}: found other weights than its index names: {some_of(found.keys() ^ expected)}")
        weights |= found
    return weights


def files_of(folder: Path) -> dict[Path, set[str] | None]:
    """The files of a folder's weights, and the names that each must hold if there is an index."""
    if (folder / WEIGHTS).is_file():
        return {folder / WEIGHTS: None}
    if not (folder / INDEX).is_file():
        others = sorted(file.name for file in folder.glob("*") if file.suffix in (".bin", ".pth", ".pt", ".ckpt"))
        instead = f"found {some_of(others)}, which could run code when opened" if others else "found no weights"
        raise ValueError(f"{folder}: {instead}; accepted: {WEIGHTS}, or {INDEX} and its files")
    try:
        weight_map = json.loads((folder / INDEX).read_text("utf-8"))["weight_map"]
        names = {file: {name for name, home in weight_map.items() if home == file} for file in weight_map.values()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / INDEX}: found no index of weights ({error})") from error
    outside = [file for file in names if file != Path(file).name]
    if outside:
        raise ValueError(f"{folder / INDEX}: found {some_of(outside)}; accepted: files of the same folder")
    return {folder / file: of_file for file, of_file in names.items()}


def read_part(part: str, source: Mapping[str, str | None], **hub) -> dict[str, Tensor]:
    """The weights of one part from its source, named as in the composed model.

    hub: keywords of `weights_folder`.

    Raises ValueError if they cannot be had, or are not those whose fingerprint the source notes.
    """
    return _read_part(part, source, weights_folder(source["id"], source.get("revision"), **hub))


def _read_part(part: str, source: Mapping[str, str | None], folder: Path) -> dict[str, Tensor]:
    weights, prefix = read_weights(folder), f"{part}."
    inside = {name: weight for name, weight in weights.items() if name.startswith(prefix)}
    weights = inside or {prefix + name: weight for name, weight in weights.items()}
    noted, found = source.get("fingerprint"), fingerprint(weights)
    if noted not in (None, found):
        raise ValueError(
            f"{source['id']}: found {part} with fingerprint {found}; these adapters were trained on that with {noted}"
        )
    return weights


def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """16 hexadecimal digits that tell one core from another, whatever its size, at once.

    SHA-256 over names, types, shapes and both ends of every weight: it finds a mistake, not a forgery.
    """
    digest = hashlib.sha256()
    for name, weight in sorted(weights.items()):
        flat = weight.flatten()
        digest.update(f"{name} {weight.dtype} {list(weight.shape)}".encode())
        for end in (flat[:SAMPLE], flat[-SAMPLE:]):
            digest.update(end.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def split_off_sources(
    weights: Mapping[str, Tensor], sources: Mapping[str, Mapping], tied: set[str]
) -> tuple[dict[str, Tensor], dict[str, dict], list[str]]:
    """What a folder of adapters holds of a model's weights, its `sources` and its `left_out`.

    A part is left out if it equals its source to the bit; one that was trained since is kept. tied:
    names of weights that are another's, which no file needs to hold. The sources returned carry the
    commit and the fingerprint of what was found.

    Raises ValueError if the core has no source or is not that of its source, if a source cannot be
    read, or is of a part that the model lacks.
    """
    if CORE not in sources:
        raise ValueError(
            f"config.sources has {some_of(sources) or 'nothing'}; to save adapters only it must say where the core "
            'comes from, for example {"core": {"id": "meta-llama/Llama-3.1-8B-Instruct", "revision": None}}'
        )
    kept, named, left_out = dict(weights), {}, []
    for part, source in sources.items():
        ours = {name: weight for name, weight in weights.items() if name.startswith(f"{part}.")}
        if not ours:
            raise ValueError(f"config.sources has {part!r}; the model has no such part")
        folder = weights_folder(source["id"], source.get("revision"))
        theirs = _read_part(part, source, folder)
        other = [name for name, weight in ours.items() if not _is_at(theirs, name, weight, tied)]
        if other and part == CORE:
            raise ValueError(
                f"{source['id']}: the core of this model is not the one found there: {some_of(other)} differ"
            )
        if not other:
            kept = {name: weight for name, weight in kept.items() if name not in ours}
            left_out.append(part)
        named[part] = dict(source) | {"revision": _commit(folder), "fingerprint": fingerprint(theirs)}
    return kept, named, left_out


def _is_at(source: Mapping[str, Tensor], name: str, weight: Tensor, tied: set[str]) -> bool:
    if name not in source:
        return name in tied
    return torch.equal(source[name].to(weight.dtype), weight.cpu())


def _commit(folder: Path) -> str | None:
    """The commit of a folder in the hub's cache, None for any other."""
    return folder.name if folder.parent.name == "snapshots" else None


def refuse_incomplete(where: str, missing: set[str], unexpected: set[str], mismatched: set[tuple]) -> None:
    """Weights must be those of the model, neither more nor fewer: the library itself would only warn.

    Raises ValueError that names weights that are missing, unexpected, or (name, found, wanted) of another shape.
    """
    wrong = [f"{some_of(names)} {what}" for names, what in ((missing, "missing"), (unexpected, "unexpected")) if names]
    shapes = [f"{name} is {list(found)} and should be {list(wanted)}" for name, found, wanted in mismatched]
    if wrong or shapes:
        raise ValueError(f"{where}: found weights of another model: {'; '.join(wrong + sorted(shapes)[:MAX_NAMED])}")


def some_of(names: Collection[str]) -> str:
    """The first names, and how many more there are."""
    names = sorted(names)
    return ", ".join(names[:MAX_NAMED]) + (f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else "")
