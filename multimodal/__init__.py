"""A frozen Llama 3 with eyes.

    import multimodal

    assistant = multimodal.load("nano")
    print(assistant.ask("How many circles are there?", image="scene.png"))

The import also makes the model known to the library: `AutoConfig`, `AutoModel`,
`AutoModelForImageTextToText` and `AutoProcessor` load it from any folder or hub id.
"""

from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, AutoProcessor

from adapters.media import MediaError

from .assistant import Answer, Assistant, Chat, Event, load
from .compose import compose
from .config import MultimodalLlamaConfig
from .model import MultimodalLlama
from .processor import MultimodalLlamaProcessor

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "Assistant",
    "Chat",
    "Event",
    "MediaError",
    "MultimodalLlama",
    "MultimodalLlamaConfig",
    "MultimodalLlamaProcessor",
    "compose",
    "load",
]

AutoConfig.register(MultimodalLlamaConfig.model_type, MultimodalLlamaConfig)
AutoModel.register(MultimodalLlamaConfig, MultimodalLlama)
AutoModelForImageTextToText.register(MultimodalLlamaConfig, MultimodalLlama)
AutoProcessor.register(MultimodalLlamaConfig, MultimodalLlamaProcessor)
