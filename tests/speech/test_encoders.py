"""Encoders behind one face: each against the library's own, padding and company, chunks, and freezing."""

import functools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import (
    SeamlessM4TFeatureExtractor,
    Wav2Vec2BertConfig,
    Wav2Vec2BertModel,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

from adapters.memory import Memory
from speech.conformer import normalised
from speech.encoders import ENCODERS, ConformerEncoder, SpeechEncoder, W2vBertSpeechEncoder, WhisperSpeechEncoder
from speech.features import LogMel

WIDTH = 16
WHISPER = WhisperConfig(
    d_model=WIDTH, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=24, num_mel_bins=80, decoder_layers=1,
    decoder_attention_heads=2, decoder_ffn_dim=8, vocab_size=16, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    decoder_start_token_id=1,
)  # fmt: skip
W2V_BERT = Wav2Vec2BertConfig(
    hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, conv_depthwise_kernel_size=5
)
SMALL = {
    "conformer": lambda: ConformerEncoder(num_mels=80, width=WIDTH, layers=2, heads=2, ffn_dim=24, kernel=7),
    "whisper": lambda: WhisperSpeechEncoder(WHISPER),
    "w2v-bert": lambda: W2vBertSpeechEncoder(W2V_BERT),
}
LENGTHS = (16_000, 5_200, 11_000, 601)  # samples; some make an odd number of rows


def random_encoder(kind: str) -> SpeechEncoder:
    torch.manual_seed(0)
    encoder = SMALL[kind]().eval()
    with torch.no_grad():
        for name, weight in encoder.named_parameters():
            if "embed_positions" not in name:
                weight.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.2)
    return encoder


@functools.cache
def clips(*lengths: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(length, generator=generator) * 0.1).clamp(-1, 1) for length in lengths]


@pytest.fixture(params=SMALL)
def kind(request) -> str:
    return request.param


@torch.no_grad()
def encode(encoder: SpeechEncoder, sounds: list[Tensor]) -> Memory:
    return encoder(**encoder.prepare(sounds))


# The one face


def test_frames_come_at_the_stated_rate(kind):
    encoder = random_encoder(kind)
    assert encoder.sample_rate == 16_000 and encoder.out_dim == WIDTH
    assert encoder.max_seconds == {"conformer": 60, "whisper": 30, "w2v-bert": 30}[kind]
    x, keep = encode(encoder, clips(32_000))
    assert x.shape == (1, keep.shape[1], WIDTH) and keep.all()
    assert keep.sum() * encoder.frame_s == pytest.approx(
        2.0, abs=1.5 * encoder.frame_s
    )  # windows end where a clip ends


def test_padding_and_company_change_nothing(kind):
    encoder = random_encoder(kind)
    x, keep = encode(encoder, clips(*LENGTHS))
    assert not x[~keep].any() and x.isfinite().all()
    for row, clip in enumerate(clips(*LENGTHS)):
        alone = encode(encoder, [clip])
        assert alone.keep.all() and keep[row].sum() == alone.x.shape[1]
        torch.testing.assert_close(alone.x[0], x[row][keep[row]], atol=2e-5, rtol=1e-4)
    order = [2, 0, 3, 1]
    turned = encode(encoder, [clips(*LENGTHS)[row] for row in order])
    torch.testing.assert_close(turned, Memory(x[order], keep[order]), atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_what_stands_in_the_padding_of_features_changes_nothing(kind):
    encoder = random_encoder(kind)
    inputs = encoder.prepare(clips(*LENGTHS))
    x, keep = encoder(**inputs)
    there = torch.arange(inputs["features"].shape[1]) < inputs["frames"].unsqueeze(1)
    inputs["features"] = torch.where(there.unsqueeze(-1), inputs["features"], 1e3)
    torch.testing.assert_close(encoder(**inputs), Memory(x, keep), atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_a_longer_clip_is_chunks_back_to_back(kind, monkeypatch):
    encoder = random_encoder(kind)
    monkeypatch.setattr(encoder, "max_seconds", 0.4)
    inputs = encoder.prepare(clips(*LENGTHS))
    assert inputs["chunks"].tolist() == [3, 1, 2, 1]
    x, keep = encoder(**inputs)
    rows = [part[:count] for part, count in zip(inputs["features"], inputs["frames"], strict=True)]
    chunks = [encoder(row[None], torch.tensor([len(row)]), torch.tensor([1])).x[0] for row in rows]
    first = 0
    for row, count in enumerate([3, 1, 2, 1]):
        expected = torch.cat(chunks[first : first + count])
        torch.testing.assert_close(x[row][keep[row]], expected, atol=2e-5, rtol=1e-4)
        first += count
    whole = [len(chunk) for chunk in chunks[:2]]
    assert [count * encoder.frame_s for count in whole] == pytest.approx([0.4, 0.4])
    assert not x[~keep].any()


def test_a_frozen_encoder_stays_frozen_and_in_evaluation_mode(kind):
    encoder = random_encoder(kind).train()
    assert encoder.training
    encoder.freeze()
    torch.nn.Sequential(encoder).train()
    assert not any(module.training for module in encoder.modules())
    assert not any(weight.requires_grad for weight in encoder.parameters())


def test_gradient_reaches_what_is_not_frozen(kind):
    encoder = random_encoder(kind)
    encoder(**encoder.prepare(clips(*LENGTHS))).x.square().sum().backward()
    without = {name for name, weight in encoder.named_parameters() if weight.grad is None or not weight.grad.any()}
    # Whisper's positions are fixed; w2v-BERT's mask vector waits for a masking that is off
    assert (
        without
        == {
            "conformer": set(),
            "whisper": {"encoder.embed_positions.weight"},
            "w2v-bert": {"encoder.masked_spec_embed"},
        }[kind]
    )


@torch.no_grad()
def test_a_half_precision_encoder_takes_what_prepare_gives(kind):
    encoder = random_encoder(kind)
    expected = encode(encoder, clips(*LENGTHS)).x
    inputs = encoder.bfloat16().prepare(clips(*LENGTHS))
    assert inputs["features"].dtype == torch.float32
    x = encoder(**inputs).x
    assert x.dtype == torch.bfloat16 and (x - expected).norm() < 0.1 * expected.norm()


def test_preparing_needs_no_weights(kind):
    with torch.device("meta"):
        encoder = SMALL[kind]()
    inputs, expected = encoder.prepare(clips(*LENGTHS)), random_encoder(kind).prepare(clips(*LENGTHS))
    assert all(torch.equal(inputs[name], expected[name]) for name in expected)


def test_impossible_clips_are_refused(kind):
    encoder = random_encoder(kind)
    shortest = torch.full((encoder.min_samples,), 0.1)
    assert encode(encoder, [shortest + torch.rand(len(shortest))]).keep.sum() >= 1
    for sounds, message in [
        ([], "found no clip; accepted: one or more"),
        (
            [shortest[1:]],
            f"found a clip of {encoder.min_samples - 1} samples; accepted: at least {encoder.min_samples}",
        ),
        ([torch.zeros(2, 9)], r"samples are \[2, 9\] of torch.float32; accepted: \[T\], floating point"),
        ([torch.zeros(999, dtype=torch.int16)], r"samples are \[999\] of torch.int16; accepted: \[T\]"),
    ]:
        with pytest.raises(ValueError, match=message):
            encoder.prepare(sounds)
    inputs = encoder.prepare([shortest])
    with pytest.raises(ValueError, match=r"1 chunks were given for clips of \[2\] chunks"):
        encoder(**(inputs | dict(chunks=torch.tensor([2]))))


# The conformer


@torch.no_grad()
def test_the_conformer_hears_normalised_log_mel_frames():
    encoder, (long, short) = random_encoder("conformer"), clips(16_000, 5_000)
    inputs = encoder.prepare([long, short])
    for row, samples in enumerate((long, short)):
        features, frames = LogMel()(samples[None], torch.tensor([len(samples)]))
        expected = normalised(features, frames)[0, : int(frames)]
        torch.testing.assert_close(inputs["features"][row, : len(expected)], expected)
        assert inputs["frames"][row] == len(expected)


# Whisper


def their_whisper(encoder: WhisperSpeechEncoder) -> WhisperModel:
    whisper = WhisperModel(WHISPER).eval()
    whisper.encoder.load_state_dict(encoder.encoder.state_dict(), strict=True)
    return whisper


@torch.no_grad()
def check_thirty_seconds(ours: WhisperSpeechEncoder, theirs: WhisperSpeechEncoder) -> None:
    sound = clips(30 * 16_000)[0]
    features = WhisperFeatureExtractor()(sound.numpy(), sampling_rate=16_000, return_tensors="pt")["input_features"]
    x, keep = encode(ours, [sound])
    assert keep.shape == (1, 1500) and keep.all()
    torch.testing.assert_close(x, their_whisper(theirs).encoder(features).last_hidden_state)


def test_thirty_seconds_are_whisper_s_own():
    check_thirty_seconds(random_encoder("whisper"), random_encoder("whisper"))


def swap_query_and_key(encoder: WhisperSpeechEncoder) -> None:
    for layer in encoder.encoder.layers:
        q, k = layer.self_attn.q_proj.weight, layer.self_attn.k_proj.weight
        q.data, k.data = k.data, q.data


def turn_positions(encoder: WhisperSpeechEncoder) -> None:
    encoder.encoder.embed_positions.weight.data = encoder.encoder.embed_positions.weight.flip(0)


@pytest.mark.parametrize("broken", [swap_query_and_key, turn_positions])
def test_a_broken_encoder_is_not_whisper(broken):
    ours = random_encoder("whisper")
    broken(ours)
    with pytest.raises(AssertionError):
        check_thirty_seconds(ours, random_encoder("whisper"))


@torch.no_grad()
def test_a_short_clip_is_whisper_s_layers_on_its_own_frames():
    encoder, (sound,) = random_encoder("whisper"), clips(11_111)
    whisper = their_whisper(encoder).encoder
    features = encoder.prepare([sound])["features"]
    assert features.shape == (1, 70, 80)  # 11,111 samples, in hops of 160 and a last one filled with silence
    x = F.gelu(whisper.conv2(F.gelu(whisper.conv1(features.transpose(1, 2))))).transpose(1, 2)
    x = x + whisper.embed_positions(torch.arange(x.shape[1]))
    for layer in whisper.layers:
        x = layer(x, None)
    torch.testing.assert_close(encode(encoder, [sound]).x, whisper.layer_norm(x))


@torch.no_grad()
def test_features_of_a_long_clip_are_of_the_whole_of_it():
    """Whisper's features start from the loudest moment of what they are made of."""
    encoder = random_encoder("whisper")
    quiet_then_loud = torch.cat([clips(30 * 16_000)[0] * 1e-3, clips(32_000)[0]])
    inputs = encoder.prepare([quiet_then_loud])
    assert inputs["frames"].tolist() == [3000, 200] and inputs["chunks"].tolist() == [2]
    loudest = inputs["features"].max()
    assert inputs["features"][0].min() == pytest.approx(float(loudest) - 2)
    assert encode(encoder, [quiet_then_loud]).x.shape == (1, 1600, WIDTH)


def test_more_mel_bins_are_those_of_the_configuration():
    config = WhisperConfig(**(WHISPER.to_dict() | dict(num_mel_bins=128)))
    encoder = WhisperSpeechEncoder(config).eval()
    assert encoder.prepare(clips(5_000))["features"].shape == (1, 32, 128)
    assert encode(encoder, clips(5_000)).x.shape == (1, 16, WIDTH)


# w2v-BERT


@torch.no_grad()
def check_w2v_bert(ours: W2vBertSpeechEncoder, theirs: W2vBertSpeechEncoder) -> None:
    model = Wav2Vec2BertModel(W2V_BERT).eval()
    model.load_state_dict(theirs.encoder.state_dict(), strict=True)
    sounds = [clip.numpy() for clip in clips(*LENGTHS)]
    inputs = SeamlessM4TFeatureExtractor()(sounds, sampling_rate=16_000, return_tensors="pt")
    expected, there = model(**inputs).last_hidden_state, inputs["attention_mask"].bool()
    x, keep = encode(ours, clips(*LENGTHS))
    assert torch.equal(keep.sum(1), there.sum(1))
    torch.testing.assert_close(x[keep], expected[there], atol=2e-5, rtol=1e-4)


def test_valid_frames_are_w2v_bert_s_own():
    check_w2v_bert(random_encoder("w2v-bert"), random_encoder("w2v-bert"))


def test_a_broken_encoder_is_not_w2v_bert():
    ours = random_encoder("w2v-bert")
    for layer in ours.encoder.encoder.layers:
        q, k = layer.self_attn.linear_q.weight, layer.self_attn.linear_k.weight
        q.data, k.data = k.data, q.data
    with pytest.raises(AssertionError):
        check_w2v_bert(ours, random_encoder("w2v-bert"))


def test_training_masks_no_input_and_leaves_the_configuration_alone():
    config = Wav2Vec2BertConfig(
        **(W2V_BERT.to_dict() | dict(layerdrop=0.0, mask_time_prob=0.9, conformer_conv_dropout=0.0))
    )
    encoder = W2vBertSpeechEncoder(config)
    inputs = encoder.prepare(clips(*LENGTHS))
    assert torch.equal(encoder.train()(**inputs).x, encoder.eval()(**inputs).x)
    assert config.apply_spec_augment


def test_the_library_s_own_adapter_is_refused():
    with pytest.raises(ValueError, match="found add_adapter=True; accepted: an encoder without adapter"):
        W2vBertSpeechEncoder(Wav2Vec2BertConfig(**(W2V_BERT.to_dict() | dict(add_adapter=True))))


@torch.no_grad()
@pytest.mark.parametrize("num_samples", [560, 561, 719, 720, 721, 1599, 1600, 1601, 15_999, 16_000, 16_161])
def test_frames_are_known_before_they_are_made(kind, num_samples):
    encoder = random_encoder(kind)
    memory = encoder(**encoder.prepare(clips(num_samples)))
    assert type(encoder) is ENCODERS[kind] and memory.keep.sum() == encoder.num_frames(num_samples)
