"""What a page's process holds: counted, so that a test need not trust the size of a process."""

import gc
from collections import Counter

import torch
from gradio.blocks import Block

from multimodal.demo.conversations import Conversation

KINDS = {"conversations": Conversation, "components": Block, "tensors": torch.Tensor}


def held() -> Counter:
    """How many conversations, components of gradio's and tensors there are."""
    gc.collect()
    kinds = [type(thing) for thing in gc.get_objects()]
    return Counter({name: sum(issubclass(kind, of) for kind in kinds) for name, of in KINDS.items()})
