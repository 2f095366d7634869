import random

import pytest

from multimodal.languages import LANGUAGES
from multimodal.nano.scenes import COLOURS, NUMBERS, SHAPES, SIZES, WORDS
from multimodal.nano.text.corpus import sample_conversation
from multimodal.nano.text.phrases import KINDS, phrase_table
from multimodal.nano.text.tokenizer import SPECIAL_TOKENS, VOCAB_SIZE, ConversationEncoder, build_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


@pytest.fixture(scope="module")
def encoder(tokenizer):
    return ConversationEncoder(tokenizer)


def test_size_and_special_tokens(tokenizer):
    assert len(tokenizer) == VOCAB_SIZE
    assert sorted(tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS))) == list(range(VOCAB_SIZE - 8, VOCAB_SIZE))


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda language: language.name)
def test_every_language_comes_back_unchanged(tokenizer, encoder, language):
    row = phrase_table()[language.code]
    text = row["comma"].join(name for kind in KINDS for name in row[kind])
    assert tokenizer.decode(encoder.text(text)) == text


@pytest.mark.parametrize("text", ["<|eot_id|>", "say <|begin_of_text|>!", "🙂 ∑ \x00 ꙮ", "a  b\t c\n\nd", " 007"])
def test_any_text_stays_text(tokenizer, encoder, text):
    ids = encoder.text(text)
    assert not set(ids) & set(tokenizer.all_special_ids)
    assert max(ids) < VOCAB_SIZE - len(SPECIAL_TOKENS)
    assert tokenizer.decode(ids) == text
    assert tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True) == ids


@pytest.mark.parametrize("word", [*COLOURS, *SHAPES, *SIZES, *NUMBERS, *WORDS, "yes", "no", "January", "Friday"])
def test_words_of_the_world_are_one_token_each(encoder, word):
    assert len(encoder.text(word)) == len(encoder.text(f" {word}")) == 1


def test_each_digit_is_a_token(encoder):
    assert len(encoder.text("1985")) == 4
    assert encoder.text("1985")[0] == encoder.text("21")[1]


def test_chat_template(tokenizer):
    turns = [{"role": "user", "content": " What color? "}, {"role": "assistant", "content": "red"}]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    assert text == (
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nWhat color?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nred<|eot_id|>"
    )
    prompt = tokenizer.apply_chat_template(turns[:1], tokenize=False, add_generation_prompt=True)
    assert text == prompt + "red<|eot_id|>"


def test_encoder_agrees_with_template(tokenizer, encoder):
    rng = random.Random(0)
    for _ in range(50):
        turns = sample_conversation(rng).turns
        messages = [{"role": role, "content": text} for role, text in turns]
        encoded = encoder.conversation(turns)
        assert encoded.ids == tokenizer.apply_chat_template(messages, return_dict=False)
        answers = [tokenizer.decode(encoded.ids[start : stop - 1]) for start, stop in encoded.answers]
        assert answers == [text for role, text in turns if role == "assistant"]


def test_saved_and_loaded(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    loaded = type(tokenizer).from_pretrained(tmp_path)
    assert loaded.chat_template == tokenizer.chat_template
    assert loaded.encode("a red circle, ತಮಿಳು") == tokenizer.encode("a red circle, ತಮಿಳು")


def test_same_seed_same_tokenizer(tokenizer):
    assert build_tokenizer().get_vocab() == tokenizer.get_vocab()
