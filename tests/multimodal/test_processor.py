"""Prompts and pictures as tensors: pairs that fit, batches that answer as single prompts do."""

import pytest
import torch
from transformers import AutoProcessor

import multimodal
from multimodal.processor import EXTRA_TOKENS

from .tiny_assistant import picture, save, tiny_assistant


@pytest.fixture(scope="module")
def assistant() -> multimodal.Assistant:
    return tiny_assistant()


def asked(text: str, *images) -> list[dict]:
    parts = [{"type": "image", "image": image} for image in images] + [{"type": "text", "text": text}]
    return [{"role": "user", "content": parts}]


QUESTIONS = [
    ("what is in this picture?", [picture("red")]),
    ("and now a longer question about two pictures?", [picture("blue", 40), picture("green", 200)]),
    ("only text", []),
]


def test_a_batch_of_a_reloaded_processor_answers_as_each_alone(assistant, tmp_path):
    save(assistant, tmp_path)
    reloaded = multimodal.load(tmp_path)
    inputs = reloaded.processor.apply_chat_template(
        [asked(text, *images) for text, images in QUESTIONS], tokenize=True, add_generation_prompt=True
    )
    tokens = reloaded.model.generate(**inputs, max_new_tokens=10)[:, inputs["input_ids"].shape[1] :]
    answers = reloaded.processor.tokenizer.batch_decode(tokens, skip_special_tokens=True)
    alone = [assistant.ask(text, image=images or None, max_new_tokens=10).text for text, images in QUESTIONS]
    assert answers == alone


def test_auto_processor_loads_it(assistant, tmp_path):
    save(assistant, tmp_path)
    loaded, expected = AutoProcessor.from_pretrained(tmp_path), assistant.processor
    assert type(loaded) is type(expected) and loaded.chat_template == expected.chat_template
    assert (loaded.tile_px, loaded.max_tiles) == (expected.tile_px, expected.max_tiles)
    ours, theirs = (
        one.apply_chat_template(asked("hi", picture()), tokenize=True, add_generation_prompt=True)
        for one in (expected, loaded)
    )
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_our_tokens_follow_the_core_s_vocabulary(assistant):
    tokenizer, config = assistant.processor.tokenizer, assistant.model.config
    ids = tokenizer.convert_tokens_to_ids(list(EXTRA_TOKENS))
    assert ids == list(range(config.text_config.vocab_size, config.text_config.vocab_size + len(EXTRA_TOKENS)))
    assert assistant.processor.image_token_id == config.image_token_id


def test_a_prompt_in_words_is_the_chat_in_tokens(assistant):
    conversation = asked("what is in this picture?", picture())
    words = assistant.processor.apply_chat_template(conversation, add_generation_prompt=True)
    ours = assistant.processor(words, picture())
    theirs = assistant.processor.apply_chat_template(conversation, tokenize=True, add_generation_prompt=True)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    "texts, images, found",
    [
        ("no token", [picture()], "found 1 pictures for 0"),
        ("<|image|>", None, "found 0 pictures for 1"),
        ("<|image|><|image|>", picture(), "found 1 pictures for 2"),
        (["<|image|>", "a"], [[], [picture()]], r"found \[0, 1\] pictures a text for \[1, 0\]"),
    ],
)
def test_pictures_and_their_tokens_must_pair(assistant, texts, images, found):
    with pytest.raises(ValueError, match=found):
        assistant.processor(texts, images)


def test_pictures_of_each_text_may_stand_in_its_list(assistant):
    texts, first, second = ["<|image|>a", "<|image|><|image|>b"], picture("red"), picture("blue")
    nested = assistant.processor(texts, [[first], [second, first]])
    flat = assistant.processor(texts, [first, second, first])
    assert all(torch.equal(nested[name], flat[name]) for name in flat)


def test_a_picture_that_cannot_be_used_is_named(assistant, tmp_path):
    (tmp_path / "notes.png").write_text("no picture")
    with pytest.raises(multimodal.MediaError, match=r"notes\.png: found text"):
        assistant.processor("<|image|>", tmp_path / "notes.png")
