"""How the command line loads a model: quietly."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .assistant import Assistant


def load_model(model: str, seed: int | None, voice: str | None = None) -> "Assistant":
    """The assistant of a model, with its own voice unless another is named; seed: of the tokens that are drawn."""
    import torch

    from .assistant import load

    quiet_libraries()
    if seed is not None:
        torch.manual_seed(seed)
    return load(model, voice=voice) if voice is not None else load(model)


def quiet_libraries() -> None:
    """What libraries say on the way is turned off; downloads keep their progress bars."""
    import huggingface_hub.utils
    import transformers.utils.logging

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    huggingface_hub.utils.enable_progress_bars()
