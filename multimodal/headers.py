"""A model's configuration and the headers of its weight files, from a folder or the hub: no weight is fetched.

A model of the hub gets a stand-in: a folder with its configuration, and with weight files that have its
headers and nothing behind them, holes as long as the weights. What opens a whole model opens it, too.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import HfApi, is_offline_mode
from huggingface_hub.constants import HF_HUB_DOWNLOAD_TIMEOUT
from huggingface_hub.errors import GatedRepoError, HFValidationError, HTTPError, SafetensorsParsingError
from huggingface_hub.utils import TensorInfo

from .checkpoint import INDEX, WEIGHTS, files_of, weights_folder
from .convert import open_clip
from .convert.published import ACCEPTED, Published, open_published

_CONFIGURATIONS = ("config.json", open_clip.CONFIG, INDEX)
_ACCEPTED = f"accepted: 'nano', or a folder or hub id of {ACCEPTED}"


@contextmanager
def opened(name: str) -> Iterator[Published]:
    """What is at "nano", a folder, or a hub id; its weights are to be looked at, not read.

    The hub is asked only for what is not on this machine whole, and not if HF_HUB_OFFLINE is set.

    Raises ValueError if there is none, or it is in no format that we know.
    """
    is_here = name == "nano" or Path(name).is_dir()
    folder = _local_folder(name)
    if folder is None and is_offline_mode():
        raise ValueError(f"{name}: found no such folder, and no such model of the hub on this machine; {_ACCEPTED}")
    if is_here or is_offline_mode() or (folder is not None and _is_whole(folder)):
        yield open_published(name, local_files_only=True)
        return
    with TemporaryDirectory() as empty:
        stand_in = Path(empty)
        try:
            _fill(stand_in, name)
            published = open_published(stand_in)
        except ValueError as error:
            raise ValueError(str(error).replace(empty, name)) from error
        yield published


def _local_folder(name: str) -> Path | None:
    try:
        return weights_folder(name, local_files_only=True)
    except ValueError:
        return None


def _weight_files(folder: Path) -> list[Path]:
    """The weight files that the configuration in a folder asks for."""
    if (folder / open_clip.CONFIG).is_file():
        return [folder / open_clip.WEIGHTS]
    return list(files_of(folder)) if (folder / INDEX).is_file() else [folder / WEIGHTS]


def _is_whole(folder: Path) -> bool:
    return all(file.is_file() for file in _weight_files(folder))


def _fill(folder: Path, name: str) -> None:
    """Make a folder the stand-in of a model on the hub, as its newest commit is.

    Raises ValueError if the hub has no such model, does not show it, or it has no safetensors.
    """
    hub = HfApi()
    try:
        model = hub.model_info(name, timeout=HF_HUB_DOWNLOAD_TIMEOUT)
        there = {file.rfilename for file in model.siblings or ()}
        for configuration in there.intersection(_CONFIGURATIONS):
            hub.hf_hub_download(name, configuration, revision=model.sha, local_dir=folder)
        for file in _weight_files(folder):
            if file.name not in there:
                raise ValueError(f"{name}: found no {file.name}; {_ACCEPTED}, in safetensors")
            header = hub.parse_safetensors_file_metadata(name, file.name, revision=model.sha)
            _write_hollow(file, header.tensors)
    except GatedRepoError as error:
        raise ValueError(
            f"{name}: the hub shows it to those only who accepted its licence; accept it at {hub.endpoint}/{name} and "
            "log in with: hf auth login"
        ) from error
    except (HTTPError, HFValidationError, SafetensorsParsingError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"{name}: found neither such a folder nor such a model on the hub ({reason}); {_ACCEPTED}"
        ) from error


def _write_hollow(file: Path, tensors: dict[str, TensorInfo]) -> None:
    """A safetensors file with these tensors in its header, and a hole in their place: it takes no room on the disk."""
    entries = {
        name: {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": list(tensor.data_offsets)}
        for name, tensor in tensors.items()
    }
    header = json.dumps(entries).encode()
    with open(file, "wb") as opened:
        opened.write(len(header).to_bytes(8, "little") + header)
        opened.truncate(
            8 + len(header) + max((end for entry in entries.values() for end in entry["data_offsets"]), default=0)
        )
