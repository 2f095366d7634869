"""Ultravox onto an untouched Llama, and published encoders under a fresh adapter."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    LlamaForCausalLM,
    Wav2Vec2BertConfig,
    Wav2Vec2BertModel,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

import multimodal
from multimodal.assistant import Assistant
from multimodal.info import read_info

from ...adapters.test_speech_adapter import rms
from .folders import VOCABULARY, core_of, hub_model, text_folder

WIDTH, STACK, HIDDEN, CORE = 16, 8, 24, 32
WHISPER = dict(
    d_model=WIDTH,
    num_mel_bins=80,
    encoder_layers=2,
    encoder_attention_heads=2,
    encoder_ffn_dim=32,
    decoder_layers=1,
    decoder_attention_heads=2,
    decoder_ffn_dim=32,
    max_source_positions=50,  # one second
    vocab_size=20,
    pad_token_id=0,
    bos_token_id=1,
    eos_token_id=2,
    decoder_start_token_id=1,
)
VARIANTS = {
    # version: what its configuration says, and whether the Whisper encoder is in the file
    "v0.4": (dict(projector_act="swiglu"), False),
    "v0.5": (dict(projector_act="swiglu", projector_ln_mid=True), True),
    "gelu": (dict(projector_act="gelu", projector_ln_mid=True), False),
    "transformer": (dict(num_projector_layers=1), False),
}


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
    return text_folder(tmp_path_factory.mktemp("text") / "t", core_of(hub_model()))


def tiny_whisper() -> WhisperForConditionalGeneration:
    torch.manual_seed(3)
    model = WhisperForConditionalGeneration(WhisperConfig(**WHISPER)).eval()
    for name, parameter in model.named_parameters():
        parameter.data.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.2)
    return model


def projector_weights(config: dict) -> dict[str, Tensor]:
    """Random weights by Ultravox's names."""
    torch.manual_seed(4)
    if config.get("num_projector_layers"):
        shapes = {
            "linear_in.weight": (WIDTH, WIDTH * STACK),
            "linear_in.bias": (WIDTH,),
            "embed_positions.weight": (50, WIDTH),
            "ln_post.weight": (WIDTH,),
            "linear_out.weight": (CORE, WIDTH),
            "linear_out.bias": (CORE,),
        }
        layer = tiny_whisper().model.encoder.layers[0].state_dict()
        shapes |= {f"layers.0.{name}": tuple(weight.shape) for name, weight in layer.items()}
    else:
        middle = HIDDEN // 2 if config["projector_act"] == "swiglu" else HIDDEN
        norm = {"ln_mid.weight": (middle,)} if config.get("projector_ln_mid") else {"ln_post.weight": (CORE,)}
        shapes = {"linear_1.weight": (HIDDEN, WIDTH * STACK), "linear_2.weight": (CORE, middle)} | norm
    shapes["ln_pre.weight"] = (WIDTH * STACK,)
    return {
        f"multi_modal_projector.{name}": torch.randn(shape) * 0.3 + (1.0 if "ln_" in name else 0.0)
        for name, shape in shapes.items()
    }


def publish(folder: Path, variant: str) -> Path:
    """A folder as Ultravox's repositories are, and beside it the Whisper that it names."""
    config, has_encoder = VARIANTS[variant]
    whisper = tiny_whisper()
    whisper.save_pretrained(folder.parent / "whisper")
    folder.mkdir()
    told = dict(
        model_type="ultravox",
        audio_model_id=str(folder.parent / "whisper"),
        text_model_id="meta-llama/Llama-3.1-8B-Instruct",
        hidden_size=HIDDEN,
        stack_factor=STACK,
        norm_init=0.4,
    )
    (folder / "config.json").write_text(json.dumps(told | config))
    weights = projector_weights(config)
    if has_encoder:  # tuned since: other weights than those of the Whisper that is named
        tuned = whisper.model.encoder.state_dict()
        weights |= {f"audio_tower.{name}": weight * 1.1 for name, weight in tuned.items()}
    save_file(weights, folder / "model.safetensors")
    return folder


def encoder_states(variant: str, samples: Tensor) -> Tensor:
    """[50, WIDTH]: the library's own encoder on a clip that fills it."""
    encoder = tiny_whisper().model.encoder
    if VARIANTS[variant][1]:
        encoder.load_state_dict({name: weight * 1.1 for name, weight in encoder.state_dict().items()})
    features = WhisperFeatureExtractor(feature_size=80, chunk_length=1)(
        samples.numpy(), sampling_rate=16_000, return_tensors="pt"
    )
    return encoder(features["input_features"]).last_hidden_state[0]


def projected(variant: str, states: Tensor) -> Tensor:
    """Ultravox's formulas: [50, WIDTH] -> [7, CORE]."""
    config = VARIANTS[variant][0]
    w = {name.split(".", 1)[1]: weight for name, weight in projector_weights(config).items()}
    groups = torch.cat([states, torch.zeros(-len(states) % STACK, WIDTH)]).view(-1, STACK * WIDTH)
    h = rms(groups, w["ln_pre.weight"])
    if config.get("num_projector_layers"):
        h = h @ w["linear_in.weight"].T + w["linear_in.bias"] + w["embed_positions.weight"][: len(h)]
        layer = tiny_whisper().model.encoder.layers[0]
        layer.load_state_dict(
            {name.removeprefix("layers.0."): v for name, v in w.items() if name.startswith("layers.")}
        )
        h = layer(h[None], None)[0]
        return rms(h, w["ln_post.weight"]) @ w["linear_out.weight"].T + w["linear_out.bias"]
    h = h @ w["linear_1.weight"].T
    if config["projector_act"] == "swiglu":
        first, second = h.chunk(2, -1)
        h = first * torch.nn.functional.silu(second)
    else:
        h = torch.nn.functional.gelu(h)
    if config.get("projector_ln_mid"):
        return rms(h, w["ln_mid.weight"]) @ w["linear_2.weight"].T
    return rms(h @ w["linear_2.weight"].T, w["ln_post.weight"])


def a_second() -> Tensor:
    return torch.randn(16_000, generator=torch.Generator().manual_seed(5)) * 0.1


def heard(assistant: Assistant, samples: Tensor) -> dict[str, Tensor]:
    return assistant.processor("<|begin_of_text|>how<|speech|>many", audio=[(samples, 16_000)])


@torch.no_grad()
@pytest.mark.parametrize("variant", VARIANTS)
def test_ultravox_onto_an_untouched_llama(text, tmp_path, variant):
    assistant = multimodal.compose(text=text, speech=publish(tmp_path / "ultravox", variant))
    inputs = heard(assistant, a_second())
    ids = inputs["input_ids"][0]
    place = assistant.model.config.speech_place_id
    assert (ids == place).sum() == 7  # ceil(50 / 8), and no tokens of ours around them
    assert not set(ids.tolist()) & {VOCABULARY + 2, VOCABULARY + 3}
    plain = LlamaForCausalLM.from_pretrained(text).eval()
    h = plain.model.embed_tokens(ids.clamp(max=VOCABULARY - 1))[None]
    h[0, ids == place] = projected(variant, encoder_states(variant, a_second()))
    found = assistant.model(**inputs).logits
    torch.testing.assert_close(found, plain(inputs_embeds=h).logits, atol=1e-4, rtol=1e-3)
    assert (found - plain(input_ids=ids.clamp(max=VOCABULARY - 1)[None]).logits).abs().max() > 0.1


@torch.no_grad()
def test_speech_alone_is_the_core_on_embeddings_to_the_bit(text, tmp_path):
    assistant = multimodal.compose(text=text, speech=publish(tmp_path / "ultravox", "v0.5"))
    inputs = heard(assistant, a_second())
    speech = assistant.model.hear(inputs["input_ids"], inputs["speech_samples"], inputs["speech_lengths"])
    h = assistant.model.embed(inputs["input_ids"], speech)
    plain = LlamaForCausalLM.from_pretrained(text).eval()
    assert torch.equal(assistant.model(**inputs).logits, plain(inputs_embeds=h).logits)


def test_a_projector_for_another_core_is_refused(text, tmp_path):
    folder = publish(tmp_path / "ultravox", "v0.5")
    weights = projector_weights(VARIANTS["v0.5"][0])
    weights["multi_modal_projector.linear_2.weight"] = torch.zeros(40, HIDDEN // 2)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(
        ValueError, match=r"linear_2\.weight, which makes .* of shape \[40, 12\]; .* asks for \[32, 12\]"
    ):
        heard_by = multimodal.compose(text=text, speech=folder)
        heard_by.ask(audio=(a_second(), 16_000), max_new_tokens=1)


def test_missing_and_left_over_tensors_are_named(text, tmp_path):
    folder = publish(tmp_path / "ultravox", "v0.4")
    weights = projector_weights(VARIANTS["v0.4"][0])
    del weights["multi_modal_projector.ln_post.weight"]
    save_file(weights | {"multi_modal_projector.ln_mid.weight": torch.ones(3)}, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"ln_post\.weight missing; multi_modal_projector\.ln_mid\.weight left over"):
        multimodal.compose(text=text, speech=folder)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["whisper", "w2v-bert"])
def test_an_encoder_alone_comes_with_a_fresh_adapter(text, tmp_path, kind):
    if kind == "whisper":
        published = tiny_whisper()
        published.save_pretrained(tmp_path)
        theirs = published.model.encoder.state_dict()
    else:
        torch.manual_seed(6)
        sizes = dict(hidden_size=WIDTH, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
        published = Wav2Vec2BertModel(Wav2Vec2BertConfig(**sizes, feature_projection_input_dim=160))
        published.save_pretrained(tmp_path)
        theirs = published.state_dict()
    assistant = multimodal.compose(text=text, speech=tmp_path)
    assert assistant.model(**heard(assistant, a_second())).logits.isfinite().all()
    found = assistant.model.speech.encoder.state_dict()
    assert found.keys() == theirs.keys() and all(torch.equal(found[name], theirs[name]) for name in theirs)
    trained = {name for name, p in assistant.model.named_parameters() if p.requires_grad}
    assert trained and all(name.startswith(("speech_adapter.", "extra_embedding.")) for name in trained)


@pytest.mark.parametrize("variant", ["v0.4", "v0.5"])
def test_info_tells_the_parts_that_the_files_hold(tmp_path, variant):
    info = read_info(str(publish(tmp_path / "ultravox", variant)))
    parts = {part.name: part.parameters for part in info.parts}
    encoder = sum(p.numel() for p in tiny_whisper().model.encoder.parameters())
    adapter = sum(weight.numel() for weight in projector_weights(VARIANTS[variant][0]).values())
    assert info.format == "Ultravox's projector for speech" and info.vocabulary is None
    assert parts == {"speech adapter": adapter} | ({"speech encoder": encoder} if variant == "v0.5" else {})
    whisper = read_info(str(tmp_path / "whisper"))
    assert [(part.name, part.parameters) for part in whisper.parts] == [("speech encoder", encoder)]
