"""Whisper and SeamlessM4T v2 as models to measure: tiny, with random weights, saved to a folder and opened again."""

import numpy as np
import pytest
import soundfile
import torch
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    GenerationConfig,
    SeamlessM4TFeatureExtractor,
    SeamlessM4TProcessor,
    SeamlessM4TTokenizer,
    SeamlessM4Tv2Config,
    SeamlessM4Tv2ForSpeechToText,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

from multimodal.evaluation.items import Item
from multimodal.evaluation.outside import SeamlessAnswers, WhisperAnswers
from speech.audio import open_sound

LETTERS = sorted(ByteLevel.alphabet())
SPECIAL = (
    "<|endoftext|> <|startoftranscript|> <|en|> <|fr|> <|hi|> <|translate|> <|transcribe|> <|nospeech|> "
    "<|notimestamps|>".split()
)
TIMES = [f"<|{number * 0.02:.2f}|>" for number in range(1501)]
ID = {token: number for number, token in enumerate(LETTERS + SPECIAL + TIMES)}
SMALL = dict(num_hidden_layers=1, encoder_layers=1, decoder_layers=1)


def randomise(model):
    torch.manual_seed(3)
    for name, parameter in model.named_parameters():
        parameter.data.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.3)
    return model.eval()


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whisper")
    config = WhisperConfig(
        **SMALL,
        vocab_size=len(ID),
        d_model=16,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_target_positions=32,
        decoder_start_token_id=ID["<|startoftranscript|>"],
        bos_token_id=ID["<|endoftext|>"],
        eos_token_id=ID["<|endoftext|>"],
        pad_token_id=ID["<|endoftext|>"],
    )
    model = randomise(WhisperForConditionalGeneration(config))
    model.generation_config = GenerationConfig(
        decoder_start_token_id=ID["<|startoftranscript|>"],
        bos_token_id=ID["<|endoftext|>"],
        eos_token_id=ID["<|endoftext|>"],
        pad_token_id=ID["<|endoftext|>"],
        no_timestamps_token_id=ID["<|notimestamps|>"],
        is_multilingual=True,
        lang_to_id={token: ID[token] for token in ("<|en|>", "<|fr|>", "<|hi|>")},
        task_to_id={"translate": ID["<|translate|>"], "transcribe": ID["<|transcribe|>"]},
        max_length=16,
        max_initial_timestamp_index=50,
    )
    model.save_pretrained(folder)
    tokenizer = WhisperTokenizer(vocab=ID, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": SPECIAL + TIMES})
    WhisperProcessor(WhisperFeatureExtractor(), tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def seamless(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seamless")
    languages = ["__eng__", "__fra__", "__hin__"]
    vocabulary = {token: number for number, token in enumerate(["<pad>", "<unk>", "<s>", "</s>", *LETTERS, *languages])}
    config = SeamlessM4Tv2Config(
        vocab_size=len(vocabulary),
        hidden_size=16,
        encoder_layers=1,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=16,
        encoder_attention_heads=2,
        encoder_ffn_dim=16,
        speech_encoder_layers=1,
        speech_encoder_attention_heads=2,
        speech_encoder_intermediate_size=16,
        max_position_embeddings=64,
        max_new_tokens=12,
    )
    model = randomise(SeamlessM4Tv2ForSpeechToText(config))
    model.generation_config = GenerationConfig(
        decoder_start_token_id=3,
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
        max_new_tokens=12,
        text_decoder_lang_to_code_id={name[2:-2]: vocabulary[name] for name in languages},
    )
    model.save_pretrained(folder)
    tokenizer = SeamlessM4TTokenizer(vocab=vocabulary, additional_special_tokens=languages)
    SeamlessM4TProcessor(SeamlessM4TFeatureExtractor(), tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Noises of several lengths."""
    folder, paths = tmp_path_factory.mktemp("sounds"), []
    for number, seconds in enumerate((1.0, 1.7, 2.5, 32.0)):
        noise = np.random.default_rng(number).normal(0, 0.1, round(seconds * 16_000))
        paths.append(folder / f"{number}.flac")
        soundfile.write(paths[-1], noise, 16_000)
    return paths


def item(number, task, language, sound):
    return Item(str(number), task, language, None, ("-",), audio=sound)


def test_whisper_gets_the_task_and_language_of_each_item(whisper, sounds):
    items = [
        item(0, "asr", "French", sounds[0]),
        item(1, "asr", "Hindi", sounds[1]),
        item(2, "asr", "French", sounds[2]),
    ]
    model = WhisperAnswers(whisper)
    texts = model.answer(items)
    for one, text in zip(items, texts, strict=True):
        assert text == whispered(whisper, one.audio, one.language[:2].lower(), "transcribe")
    [translated] = model.answer([item(3, "ast-into-english", "Hindi", sounds[1])])
    assert translated == whispered(whisper, sounds[1], "hi", "translate")
    assert len({*texts, translated}) > 1


def whispered(folder, path, language, task):
    """By transformers itself, alone."""
    model, processor = WhisperForConditionalGeneration.from_pretrained(folder), WhisperProcessor.from_pretrained(folder)
    features = processor(open_sound(path).samples.numpy(), sampling_rate=16_000, return_tensors="pt").input_features
    ids = model.generate(features, language=language, task=task, do_sample=False)
    return processor.batch_decode(ids, skip_special_tokens=True)[0].strip()


def test_whisper_hears_a_long_sound_beside_short_ones(whisper, sounds):
    texts = WhisperAnswers(whisper).answer([item(at, "asr", "French", sounds[at]) for at in (3, 0)])
    assert texts[1] == whispered(whisper, sounds[0], "fr", "transcribe")
    assert len(texts[0]) > 0


def test_whisper_refuses_what_it_was_not_made_for(whisper, sounds):
    model = WhisperAnswers(whisper)
    assert model.refusal("asr") is None
    assert "does not do ast-from-english" in model.refusal("ast-from-english")
    with pytest.raises(ValueError, match="has no Greek; it has en, fr, hi"):
        model.answer([item(0, "asr", "Greek", sounds[0])])
    with pytest.raises(ValueError, match="does not do image-qa"):
        model.answer([item(0, "image-qa", "English", None)])
    with pytest.raises(ValueError, match="item 7 has no sound"):
        model.answer([item(7, "asr", "French", None)])


def test_seamless_writes_the_language_that_is_wanted_of_each_item(seamless, sounds):
    items = [
        item(0, "ast-from-english", "French", sounds[0]),
        item(1, "asr", "Hindi", sounds[1]),
        item(2, "ast-into-english", "Hindi", sounds[1]),
        item(3, "ast-from-english", "Hindi", sounds[2]),
    ]
    texts = SeamlessAnswers(seamless).answer(items)
    for one, code, text in zip(items, ("fra", "hin", "eng", "hin"), texts, strict=True):
        assert text == translated(seamless, one.audio, code)
    assert len(set(texts)) > 1


def translated(folder, path, language):
    model = SeamlessM4Tv2ForSpeechToText.from_pretrained(folder)
    processor = SeamlessM4TProcessor.from_pretrained(folder)
    inputs = processor(audio=open_sound(path).samples.numpy(), sampling_rate=16_000, return_tensors="pt")
    ids = model.generate(**inputs, tgt_lang=language, do_sample=False, num_beams=1)
    return processor.batch_decode(ids, skip_special_tokens=True)[0].strip()


def test_sounds_may_be_opened_ahead(seamless, sounds):
    model, items = SeamlessAnswers(seamless), [item(at, "asr", "French", sounds[at]) for at in range(2)]
    assert model.answer(items, [model.load(one) for one in items]) == model.answer(items)
