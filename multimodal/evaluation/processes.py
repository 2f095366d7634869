"""Several processes on one evaluation, as `torchrun` and `accelerate launch` start them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

LONGEST_WAIT = timedelta(days=2)  # for a process whose share takes longer


@dataclass(frozen=True)
class Processes:
    """This process among `count` of them."""

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def wait(self) -> None:
        """Until all are here. Raises if one of them is gone."""
        if self.count > 1:
            import torch.distributed

            torch.distributed.barrier()

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """What is inside is done by the first process, then by the others: files that it makes are then there."""
        if not self.leads:
            self.wait()
        try:
            yield
        finally:
            if self.leads:
                self.wait()


@contextmanager
def launched() -> Iterator[Processes]:
    """The processes that a launcher started, joined over gloo; one alone without a launcher."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes()
        return
    import torch.distributed

    torch.distributed.init_process_group("gloo", timeout=LONGEST_WAIT)
    try:
        yield Processes(torch.distributed.get_rank(), count)
    finally:
        torch.distributed.destroy_process_group()


def own_device() -> str | None:
    """The GPU of this process among those of its machine; None leaves the choice to the loader."""
    if "LOCAL_RANK" not in os.environ:
        return None
    import torch

    return f"cuda:{os.environ['LOCAL_RANK']}" if torch.cuda.is_available() else None
