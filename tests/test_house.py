"""What a reader and an installer may rely on in this repository, whatever its models can do."""

import ast
import re
import socket
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .conftest import OFFLINE

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
FOLDERS = [name for name in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"] if not name.endswith("*")]
PACKAGES = [ROOT / name for name in FOLDERS if (ROOT / name).is_dir()]
SOURCES = sorted(file for package in PACKAGES for file in package.rglob("*.py"))

MAX_LINES = 400
MAX_WEIGHTS_BYTES = 30_000_000


def test_a_file_is_short_enough_to_read():
    files = [*SOURCES, *ROOT.glob("tests/**/*.py"), *ROOT.glob("benchmarks/**/*.py")]
    lines = {file.relative_to(ROOT).as_posix(): file.read_text("utf-8").count("\n") for file in files}
    assert not {name: count for name, count in lines.items() if count > MAX_LINES}


# Loading a file from outside never runs code from it.

RUNS_CODE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
UNSAFE_CALLS = {"torch.load", "torch.save", "eval", "exec", "torch.hub.load"}
UNSAFE_OPTIONS = {"trust_remote_code", "allow_pickle"}
# Meta's own files are pickles. torch's restricted loader builds tensors from them and nothing else.
READS_PICKLED_TENSORS = "multimodal/convert/meta.py"
HARMLESS = {"torch.load(weights_only=True)", "pickle.UnpicklingError"}


def restricted(call: ast.Call) -> bool:
    return any(option.arg == "weights_only" and ast.unparse(option.value) == "True" for option in call.keywords)


def unsafe_loading(source: str) -> list[str]:
    """One entry for each import, call or option by which a loaded file could run code."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.partition(".")[0] in RUNS_CODE]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name for name in names if name.partition(".")[0] in RUNS_CODE or name in UNSAFE_CALLS]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load" and restricted(node):
            found.append("torch.load(weights_only=True)")
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            options = {option.arg for option in node.keywords if getattr(option.value, "value", True) is not False}
            found += sorted({name} & UNSAFE_CALLS) + sorted(options & UNSAFE_OPTIONS)
    return found


def test_nothing_is_loaded_that_could_run_code():
    found = {file.relative_to(ROOT).as_posix(): set(unsafe_loading(file.read_text("utf-8"))) for file in SOURCES}
    assert found.pop(READS_PICKLED_TENSORS) == HARMLESS
    assert not {name: calls for name, calls in found.items() if calls}


@pytest.mark.parametrize(
    "planted",
    [
        "import pickle",
        "from joblib import load",
        "from torch import load",
        "torch.load(path, weights_only=True)",
        "torch.load(path, weights_only=False)",
        "from pickle import UnpicklingError",
        "AutoModel.from_pretrained(name, trust_remote_code=trust)",
        "np.load(path, allow_pickle=True)",
    ],
)
def test_a_planted_unsafe_load_is_found(planted):
    assert unsafe_loading(planted)


# The distribution.


def test_the_wheel_carries_every_file_of_the_packages():
    globs = PROJECT["tool"]["setuptools"]["package-data"]
    carried = [f"{package.replace('.', '/')}/{glob}" for package, of_package in globs.items() for glob in of_package]
    files = [
        file.relative_to(ROOT)
        for package in PACKAGES
        for file in package.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".py"
    ]
    assert not [file.as_posix() for file in files if not any(file.match(glob) for glob in carried)]


def test_every_folder_of_code_is_a_package():
    assert not {
        file.parent.relative_to(ROOT).as_posix() for file in SOURCES if not (file.parent / "__init__.py").exists()
    }
    assert not [package.name for package in PACKAGES if not (package / "py.typed").exists()]
    # a folder of tests that is none would take the name of the folder of code it mirrors: speech, vision
    tests = {file.parent for file in ROOT.glob("tests/**/*.py")}
    assert not sorted(folder.relative_to(ROOT).as_posix() for folder in tests if not (folder / "__init__.py").exists())


def test_nano_stays_small():
    weights = sum(file.stat().st_size for file in (ROOT / "multimodal" / "nano" / "weights").glob("*"))
    assert weights <= MAX_WEIGHTS_BYTES


def test_the_version_is_one():
    told = re.search(r'^__version__ = "(.+)"$', (ROOT / "multimodal" / "__init__.py").read_text("utf-8"), re.M)
    assert told
    assert told[1] == PROJECT["project"]["version"]


def test_constraints_pin_what_is_asked_for():
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert all(re.fullmatch(r"[\w.-]+", name + version) for name, version in pins.items())  # no host, no local build
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    asked = chain(PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"].values())
    wrong = [
        one for one in map(Requirement, asked) if pins.get(canonicalize_name(one.name), "none") not in one.specifier
    ]
    assert not wrong


@pytest.mark.skipif(not OFFLINE, reason="HF_HUB_OFFLINE=0 lets tests reach the network")
@pytest.mark.parametrize("host", ["192.0.2.1", "example.org"])
def test_the_tests_run_offline(host):
    with pytest.raises(RuntimeError, match="offline"):
        socket.create_connection((host, 443), timeout=1)
