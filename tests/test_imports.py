"""Imports point one way: the folders, what each may import, and what the default install must have."""

import ast
import re
import sys
import tomllib
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# folder: (our folders it may import besides itself, the libraries it may import; None: any that is declared)
MAY_IMPORT: dict[str, tuple[set[str], set[str] | None]] = {
    "adapters": (set(), {"torch", "einops"}),
    "vision": ({"adapters"}, {"torch", "torchvision", "open_clip", "PIL", "numpy", "einops"}),
    "video": ({"adapters", "vision"}, {"torch", "torchvision", "av", "decord", "torchcodec", "numpy", "einops"}),
    "speech": ({"adapters"}, {"torch", "torchaudio", "soundfile", "transformers", "numpy", "einops"}),
    "tts": (set(), {"torch", "safetensors", "num2words", "babel"}),
    "multimodal": ({"adapters", "vision", "video", "speech", "tts"}, None),
}
LLAMA_INTERNALS = "transformers.models.llama"
MAY_TOUCH_LLAMA = "multimodal/model.py"


@dataclass(frozen=True)
class Import:
    module: str  # absolute dotted name, for `from a.b import c` both a.b and a.b.c
    line: int
    when_imported: bool  # runs when the file is imported: not inside a function, not for type checkers only

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


def read_imports(source: str, path: Path) -> list[Import]:
    """Every import of a file. path is relative to the root of the repository and resolves relative imports."""
    package = list(path.with_suffix("").parts[:-1])
    found = []

    def visit(node: ast.AST, when_imported: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, node.lineno, when_imported) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join(above + ([node.module] if node.module else []))
            found.append(Import(base, node.lineno, when_imported))
            found.extend(Import(f"{base}.{alias.name}", node.lineno, when_imported) for alias in node.names)
        elif isinstance(node, ast.If):
            when_imported &= "TYPE_CHECKING" not in ast.unparse(node.test)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            when_imported = False
        for child in ast.iter_child_nodes(node):
            visit(child, when_imported)

    visit(ast.parse(source), True)
    return found


def wrong_imports(source: str, path: Path) -> list[str]:
    """One line for each import that the map above does not allow."""
    folder = path.parts[0]
    ours, libraries = MAY_IMPORT[folder]
    wrong = []
    for found in read_imports(source, path):
        if found.top in MAY_IMPORT or found.top in ("tests", "benchmarks"):
            allowed = found.top in ours | {folder}
        else:
            allowed = libraries is None or found.top in libraries or found.top in sys.stdlib_module_names
        if f"{found.module}.".startswith(f"{LLAMA_INTERNALS}."):
            allowed = path.as_posix() == MAY_TOUCH_LLAMA
        if not allowed:
            wrong.append(f"{path.as_posix()}:{found.line} imports {found.module}")
    return wrong


def package_files() -> list[Path]:
    return sorted(file.relative_to(ROOT) for folder in MAY_IMPORT for file in (ROOT / folder).rglob("*.py"))


def test_imports_point_one_way():
    wrong = [line for path in package_files() for line in wrong_imports((ROOT / path).read_text("utf-8"), path)]
    assert not wrong, "\n".join(["imports against the map at the top of this file:", *wrong])


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("adapters/memory.py", "import vision"),
        ("adapters/memory.py", "from transformers import LlamaConfig"),
        ("adapters/memory.py", "def f():\n    import numpy.linalg"),
        ("vision/image.py", "from multimodal.config import Limits"),
        ("vision/image.py", "from ..multimodal import config"),
        ("tts/head.py", "from speech.features import log_mel"),
        ("speech/audio.py", "if True:\n    import vision.image"),
        ("multimodal/assistant.py", "from tests.conftest import OFFLINE"),
        ("multimodal/processor.py", "from transformers.models.llama.modeling_llama import LlamaModel"),
        ("multimodal/processor.py", "from transformers.models import llama"),
    ],
)
def test_a_planted_wrong_import_is_found(path, source):
    assert wrong_imports(source, Path(path))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("adapters/memory.py", "import math, torch\nfrom einops import rearrange\nfrom .memory import Memory"),
        ("video/encoder.py", "from vision.encoder import VisionEncoder"),
        ("multimodal/processor.py", "import rich\nfrom transformers import LlamaForCausalLM\nfrom tts import head"),
        ("multimodal/model.py", "from transformers.models.llama.modeling_llama import LlamaModel"),
        ("multimodal/nano/pictures.py", "from ..training import loop\nfrom . import scenes"),
    ],
)
def test_a_right_import_is_not_reported(path, source):
    assert not wrong_imports(source, Path(path))


def test_every_folder_with_code_stands_in_the_map():
    packages = {file.parent.name for file in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert packages <= set(MAY_IMPORT), f"no row for {packages - set(MAY_IMPORT)} in the map at the top of this file"


# What is installed by default must be enough for everything but training and evaluation.


def declared(extras: bool) -> set[str]:
    """Names of the distributions that pyproject.toml asks for, normalised."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = list(project["dependencies"])
    if extras:
        wanted += chain.from_iterable(project["optional-dependencies"].values())
    return {normalised(re.match(r"[\w.-]+", requirement)[0]) for requirement in wanted}


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def undeclared(found: Import, distributions: set[str], installed: dict[str, list[str]]) -> bool:
    if found.top in MAY_IMPORT or found.top in sys.stdlib_module_names:
        return False
    return not {normalised(name) for name in installed.get(found.top, [found.top])} & distributions


def test_every_library_imported_is_declared():
    installed, distributions = packages_distributions(), declared(extras=True)
    missing = {
        f"{path.as_posix()}:{found.line} imports {found.top}"
        for path in package_files()
        for found in read_imports((ROOT / path).read_text("utf-8"), path)
        if undeclared(found, distributions, installed)
    }
    assert not missing, "\n".join(["not in pyproject.toml:", *sorted(missing)])


def test_the_default_install_is_enough_to_ask():
    """Follows what runs on import from every file directly in a folder (training and nano's makers lie deeper)."""
    installed, distributions = packages_distributions(), declared(extras=False)
    todo = [path for path in package_files() if len(path.parts) == 2]
    seen, missing = set(todo), []
    while todo:
        path = todo.pop()
        for found in read_imports((ROOT / path).read_text("utf-8"), path):
            if not found.when_imported:
                continue
            if undeclared(found, distributions, installed):
                missing.append(f"{path.as_posix()}:{found.line} imports {found.top}")
            new = {file for file in files_behind(found.module) if file not in seen}
            seen |= new
            todo += new
    assert not missing, "\n".join(["not in the default dependencies:", *missing])


def files_behind(module: str) -> list[Path]:
    """The files of ours that importing the module runs: its own and its packages' __init__."""
    parts = module.split(".")
    if parts[0] not in MAY_IMPORT:
        return []
    places = [Path(*parts[: i + 1]) for i in range(len(parts))]
    files = [place / "__init__.py" for place in places] + [places[-1].with_suffix(".py")]
    return [file for file in files if (ROOT / file).is_file()]
