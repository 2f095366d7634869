"""A head of a few thousand random weights that speaks two languages."""

import torch

from tts.head import HeadConfig, SpeechHead

STATE_DIM = 12


def tiny_head(state_dim: int | None = STATE_DIM) -> SpeechHead:
    torch.manual_seed(0)
    config = HeadConfig(
        speakers={"low": 4.6, "high": 5.3},
        languages={"en": "en-us", "de": "de", "zh": "cmn"},
        prosody=dict(width=32, layers=1, heads=2, ffn_dim=32, state_dim=state_dim),
        acoustic=dict(width=32, phone_blocks=1, frame_blocks=1),
        vocoder=dict(width=32, blocks=1),
    )
    head = SpeechHead(config).eval()
    with torch.no_grad():
        head.vocoder.filters.weight.mul_(0.1)
        head.vocoder.filters.bias.zero_().unflatten(0, (-1, 128))[:, 0] = -2.0
    return head
