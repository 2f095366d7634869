"""What the benchmarks of speech share: a model that hears, trained or not, and sounds to hear."""

import torch

from multimodal.assistant import Assistant, load
from multimodal.model import MultimodalLlama
from multimodal.nano.compose import nano_config
from multimodal.processor import processor_of


def load_hearing(name: str) -> Assistant:
    """The model of that name or folder, on the CPU; one without ears gets nano's, untrained: as quick, and as large."""
    assistant = load(name, device="cpu")
    if assistant.model.speech is not None:
        return assistant
    torch.manual_seed(0)
    sees_clips = assistant.model.video_encoder is not None
    config = nano_config(assistant.model.config.text_config, with_ears=True, with_video=sees_clips)
    model = MultimodalLlama(config)
    missing, unexpected = model.load_state_dict(assistant.model.state_dict(), strict=False)
    assert not unexpected and all(one.startswith("speech") for one in missing), (missing, unexpected)
    model.generation_config = assistant.model.generation_config
    return Assistant(model.eval(), processor_of(config, assistant.processor.tokenizer))
