"""Text without media: `MultimodalLlama` beside the plain `LlamaForCausalLM` that it is built around.

    python -m benchmarks.text_only

Both run the very same weights. Required: at least 0.99 of the plain core's tokens a second, in reading a prompt, in
decoding, and in the library's `generate`.
"""

import statistics
from collections.abc import Callable

import torch
import typer
from torch import Tensor
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from benchmarks.measure import head, in_turns, machine, ratio, row
from multimodal.config import MultimodalLlamaConfig
from multimodal.model import MultimodalLlama

REQUIRED = 0.99
PROMPT_TOKENS, DECODED_TOKENS = 128, 16

# Llama 3 8B made small, in about its proportions.
CORE = dict(
    hidden_size=512,
    intermediate_size=1792,
    num_hidden_layers=8,
    num_attention_heads=8,
    num_key_value_heads=2,
    vocab_size=4096,
)
EYES = dict(tile_px=28, patch_px=14, width=32, layers=2, heads=2, taps=[1], num_global_layers=1)  # they stay shut


def models(core: dict) -> tuple[MultimodalLlama, LlamaForCausalLM]:
    """A composed model, and a plain Llama that holds the very tensors of its core."""
    torch.manual_seed(0)
    text = LlamaConfig(**core, bos_token_id=0, eos_token_id=None, pad_token_id=0)
    ours = MultimodalLlama(MultimodalLlamaConfig(text_config=text, vision_config=EYES)).eval()
    plain = LlamaForCausalLM(text).eval()
    plain.load_state_dict(ours.core.state_dict(), assign=True)
    return ours, plain


def prefill(model: MultimodalLlama | LlamaForCausalLM, prompt: Tensor) -> Callable[[], Tensor]:
    """Reads the prompt [1, T] -> logits [1, 1, vocabulary]."""

    @torch.no_grad()
    def run() -> Tensor:
        return model(prompt, use_cache=True, logits_to_keep=1).logits

    return run


def decode(model: MultimodalLlama | LlamaForCausalLM, prompt: Tensor) -> Callable[[], Tensor]:
    """Greedy tokens behind the prompt, one forward call each -> [1, DECODED_TOKENS]; the prompt is read beforehand."""
    cache = DynamicCache(config=model.config.get_text_config())
    with torch.no_grad():
        model(prompt, past_key_values=cache, use_cache=True)

    @torch.no_grad()
    def run() -> Tensor:
        tokens = [prompt[:, -1:]]
        for _ in range(DECODED_TOKENS):
            logits = model(tokens[-1], past_key_values=cache, use_cache=True, logits_to_keep=1).logits
            tokens.append(logits[:, -1].argmax(-1, keepdim=True))
        cache.crop(-DECODED_TOKENS)
        return torch.cat(tokens[1:], 1)

    return run


def generate(model: MultimodalLlama | LlamaForCausalLM, prompt: Tensor) -> Callable[[], Tensor]:
    """The library's own loop: prompt and DECODED_TOKENS greedy tokens."""
    mask = torch.ones_like(prompt)
    return lambda: model.generate(prompt, attention_mask=mask, max_new_tokens=DECODED_TOKENS, do_sample=False)


KINDS = {
    # name: the work, and its tokens
    "prefill": (prefill, PROMPT_TOKENS),
    "decode": (decode, DECODED_TOKENS),
    "generate, new tokens": (generate, DECODED_TOKENS),
}


def compare(rounds: int, core: dict) -> bool:
    """Print tokens a second of both, and their ratio -> whether the requirement is met."""
    ours, plain = models(core)
    prompt = torch.randint(core["vocab_size"], (1, PROMPT_TOKENS), generator=torch.Generator().manual_seed(0))
    print(machine())
    print(f"core {core}, prompt of {PROMPT_TOKENS} tokens, {rounds} rounds\n")
    head("tokens a second", "ours", "plain core")
    met = True
    for name, (kind, tokens) in KINDS.items():
        sides = [kind(ours, prompt), kind(plain, prompt)]
        assert torch.equal(sides[0](), sides[1]()), name  # the same answer, so the same work
        seconds = in_turns(sides, rounds)
        speeds = [f"{tokens / statistics.median(of_side):.1f}" for of_side in seconds]
        met &= row(name, *speeds, ratio(seconds[1], seconds[0]), least=REQUIRED)
    return met


def main(rounds: int = 100) -> None:
    """Exits with 1 if the requirement is missed."""
    raise SystemExit(not compare(rounds, CORE))


if __name__ == "__main__":
    typer.run(main)
