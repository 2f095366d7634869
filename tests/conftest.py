"""What every test gets: no network, few threads, the same random numbers whatever ran before."""

import os
import socket
import sys

import pytest

# Read at the first import of these libraries, so set before any test imports them; an outer setting wins.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", str(min(2, os.cpu_count() or 1)))  # tiny models: more threads are slower

OFFLINE = os.environ["HF_HUB_OFFLINE"] != "0"


@pytest.fixture(autouse=True, scope="session")
def no_network():
    """Opening a connection or looking up a name beyond this machine raises, unless HF_HUB_OFFLINE=0."""
    if not OFFLINE:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, _only_here(getattr(socket.socket, name)))
        patch.setattr(socket, "getaddrinfo", _only_names_here(socket.getaddrinfo))
        yield


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Runs before the fixtures of the test, those of its module included."""
    torch = sys.modules.get("torch")
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")
    if torch:
        torch.manual_seed(0)


def _only_here(connect):
    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_here(address[0]):
            raise RuntimeError(f"a test opened a connection to {address[0]}; tests run offline")
        return connect(self, address)

    return guarded


def _only_names_here(getaddrinfo):
    def guarded(host, *arguments, **options):
        if host is not None and not _is_here(host):
            raise RuntimeError(f"a test looked up {host}; tests run offline")
        return getaddrinfo(host, *arguments, **options)

    return guarded


def _is_here(host: str | bytes) -> bool:
    host = host.decode() if isinstance(host, bytes) else host
    return host in ("", "localhost", "::1", "0.0.0.0", socket.gethostname()) or host.startswith("127.")
