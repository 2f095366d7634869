"""What asking, streaming and chatting promise, against the library's own `generate` on one whole prompt."""

import io

import numpy as np
import pytest
import torch

import multimodal
from multimodal.generation import TextStream

from .tiny_assistant import POSITIONS, picture, save, tiny_assistant, tiny_tokenizer

QUESTIONS = ("what is in this picture?", "and left of it?", "how many are there?")


@pytest.fixture(scope="module")
def assistant() -> multimodal.Assistant:
    return tiny_assistant()


@pytest.fixture
def read(assistant):
    """Every token that the model reads from a chat during a test, in order."""
    tokens: list[int] = []

    def note(model, args):  # `generate` passes its ids by name
        tokens.extend(args[0][0].tolist() if args else ())

    hook = assistant.model.register_forward_pre_hook(note)
    yield tokens
    hook.remove()


def user(question: str | None, image=None) -> dict:
    parts = [{"type": "image", "image": image}] if image is not None else []
    return {"role": "user", "content": parts + ([{"type": "text", "text": question}] if question else [])}


def said(answer: str) -> dict:
    return {"role": "assistant", "content": answer}


def prompt(assistant, *messages: dict) -> dict[str, torch.Tensor]:
    return assistant.processor.apply_chat_template(list(messages), tokenize=True, add_generation_prompt=True)


def by_generate(assistant, *messages: dict, max_new_tokens: int = 12) -> tuple[str, int, int]:
    """The library's greedy answer to a dialogue in one prompt: text, tokens of the prompt, new tokens."""
    inputs = prompt(assistant, *messages)
    read = inputs["input_ids"].shape[1]
    tokens = assistant.model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)[0, read:]
    return assistant.processor.tokenizer.decode(tokens, skip_special_tokens=True), read, len(tokens)


def figures(answer: multimodal.Answer) -> tuple[str, int, int]:
    return answer.text, answer.prompt_tokens, answer.new_tokens


# One question


@pytest.mark.parametrize("image", [None, picture()], ids=["text", "picture"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_an_answer_is_what_generate_gives(assistant, question, image):
    answer = assistant.ask(question, image=image, max_new_tokens=12)
    assert figures(answer) == by_generate(assistant, user(question, image))
    assert 0 < answer.time_to_first_token_s <= answer.total_s
    assert str(answer) == answer.text


def test_a_picture_is_a_question_and_a_system_prompt_stands_first(assistant, read):
    answer = assistant.ask(image=picture(), system="be brief", max_new_tokens=12)
    system = {"role": "system", "content": "be brief"}
    assert figures(answer) == by_generate(assistant, system, user(None, picture()))
    expected = prompt(assistant, system, user(None, picture()))["input_ids"][0].tolist()
    assert read[: len(expected)] == expected


def test_another_picture_gives_another_answer(assistant):
    answers = {assistant.ask(QUESTIONS[0], image=picture(colour)).text for colour in ("red", "blue", "black")}
    assert len(answers) > 1


def test_the_stream_joined_is_the_answer(assistant):
    *pieces, last = assistant.stream(QUESTIONS[0], image=picture(), max_new_tokens=12)
    assert "".join(piece.text for piece in pieces) == last.answer.text
    assert len(pieces) > 1 and all(piece.text and piece.answer is None for piece in pieces) and last.text == ""


@pytest.mark.parametrize("number", [1, 2, 5])
def test_max_new_tokens_cuts(assistant, number):
    whole = assistant.ask(QUESTIONS[0], image=picture())
    cut = assistant.ask(QUESTIONS[0], image=picture(), max_new_tokens=number)
    assert cut.new_tokens == number < whole.new_tokens
    assert whole.text.startswith(cut.text)


def test_an_end_token_is_counted_and_not_shown(assistant):
    answer = assistant.ask(QUESTIONS[0], image=picture())
    assert answer.new_tokens == len(answer.text) + 1  # every letter of the tiny model is one token
    assert by_generate(assistant, user(QUESTIONS[0], picture()), max_new_tokens=256) == figures(answer)


def test_a_picture_may_come_in_any_form(assistant, tmp_path):
    image = picture()
    file = io.BytesIO()
    image.save(file, "PNG")
    path = tmp_path / "circle.png"
    path.write_bytes(file.getvalue())
    array = np.array(image)
    forms = [image, path, str(path), file.getvalue(), array, torch.from_numpy(array).permute(2, 0, 1), [image], (path,)]
    assert len({assistant.ask(QUESTIONS[0], image=form, max_new_tokens=12).text for form in forms}) == 1


def test_pictures_are_seen_in_their_order(assistant):
    red, blue = picture("red"), picture("blue", side=90)
    parts = [{"type": "image", "image": red}, {"type": "image", "image": blue}, {"type": "text", "text": QUESTIONS[0]}]
    expected = by_generate(assistant, {"role": "user", "content": parts})
    assert figures(assistant.ask(QUESTIONS[0], image=[red, blue], max_new_tokens=12)) == expected


def test_sampling_is_that_of_a_seed(assistant):
    def sample(seed: int, **how) -> str:
        torch.manual_seed(seed)
        return assistant.ask(QUESTIONS[2], max_new_tokens=30, **how).text

    assert sample(1, temperature=1.5) == sample(1, temperature=1.5)
    assert len({sample(seed, temperature=1.5) for seed in range(4)}) > 1
    greedy = assistant.ask(QUESTIONS[2], max_new_tokens=30).text
    assert sample(1, temperature=1.5, top_p=1e-6) == greedy == sample(2, temperature=0.0, top_p=0.5)


@pytest.mark.parametrize(
    ("wrong", "accepted"),
    [
        ({"max_new_tokens": 0}, "1 or more"),
        ({"max_new_tokens": -3}, "1 or more"),
        ({"temperature": -0.1}, "0 .greedy. or more"),
        ({"temperature": float("nan")}, "0 .greedy. or more"),
        ({"temperature": float("inf")}, "0 .greedy. or more"),
        ({"top_p": 0.0}, "at most 1"),
        ({"top_p": 1.01}, "at most 1"),
        ({"top_p": float("nan")}, "at most 1"),
    ],
    ids=str,
)
def test_senseless_sampling_is_refused(assistant, wrong, accepted):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} is .*accepted: .*{accepted}"):
        assistant.ask("hello", **wrong)


# Several turns


@pytest.mark.parametrize("max_new_tokens", [4, 200], ids=["cut answers", "whole answers"])
def test_a_later_turn_is_the_whole_dialogue_in_one_prompt(assistant, read, max_new_tokens):
    chat, dialogue = assistant.chat(), []
    for question, image in zip(QUESTIONS, (picture("red"), None, picture("blue", side=90)), strict=True):
        dialogue.append(user(question, image))
        answer = chat.ask(question, image=image, max_new_tokens=max_new_tokens)
        expected = prompt(assistant, *dialogue)["input_ids"][0].tolist()
        assert read[: len(expected)] == expected  # what the chat has read so far, each token once
        assert figures(answer) == by_generate(assistant, *dialogue, max_new_tokens=max_new_tokens)
        dialogue.append(said(answer.text))
    assert [message["role"] for message in chat.messages] == ["user", "assistant"] * 3


def test_a_picture_is_encoded_once_a_chat(assistant):
    encoded = []
    hook = assistant.model.vision.register_forward_hook(lambda vision, args, output: encoded.append(len(args[1])))
    chat = assistant.chat()
    for question, image in zip(QUESTIONS, (picture("red"), None, [picture("blue"), picture("black")]), strict=True):
        chat.ask(question, image=image, max_new_tokens=6)
    hook.remove()
    assert encoded == [1, 2]  # pictures a call


@pytest.mark.parametrize("lets_go", [True, False], ids=["closed", "still open"])
def test_a_stream_left_early_leaves_a_chat_to_go_on_with(assistant, lets_go):
    chat = assistant.chat()
    events = chat.stream(QUESTIONS[0], image=picture())
    part = next(events).text + next(events).text
    if lets_go:
        events.close()
    answer = chat.ask(QUESTIONS[1], max_new_tokens=12)
    expected = by_generate(assistant, user(QUESTIONS[0], picture()), said(part), user(QUESTIONS[1]))
    assert figures(answer) == expected
    assert list(events) == []


class Broken(BaseException):
    pass


@pytest.mark.parametrize("at_token", [0, 3])
def test_an_interrupted_turn_leaves_a_chat_to_go_on_with(assistant, at_token):
    """Interrupted in the middle of the layers, some of which have the tokens in their caches already."""
    first, second = user(QUESTIONS[0], picture()), user(QUESTIONS[1])
    expected = assistant.chat()
    expected.ask(QUESTIONS[0], image=picture(), max_new_tokens=6)
    chat = assistant.chat()
    chat.ask(QUESTIONS[0], image=picture(), max_new_tokens=6)
    passes = []

    def interrupt(layer, args):
        passes.append(1)
        if len(passes) == at_token + 1:
            raise Broken

    hook = assistant.model.core.model.layers[2].register_forward_pre_hook(interrupt)
    with pytest.raises(Broken):
        chat.ask(QUESTIONS[1], image=picture("blue"), max_new_tokens=6)
    hook.remove()
    if at_token == 0:  # nothing of the turn was read: it never was
        assert chat.messages == expected.messages
        assert figures(chat.ask(QUESTIONS[2], max_new_tokens=6)) == figures(
            expected.ask(QUESTIONS[2], max_new_tokens=6)
        )
        return
    answers = [said(message["content"]) for message in chat.messages if message["role"] == "assistant"]
    second = user(QUESTIONS[1], picture("blue"))
    whole = by_generate(assistant, first, answers[0], second, answers[1], user(QUESTIONS[2]), max_new_tokens=6)
    assert len(answers[1]["content"]) == at_token
    assert figures(chat.ask(QUESTIONS[2], max_new_tokens=6)) == whole


def test_what_does_not_fit_the_positions_is_refused_and_the_chat_lives_on(assistant):
    chat, other = assistant.chat(), assistant.chat()
    for one in (chat, other):
        one.ask(QUESTIONS[0], image=picture(), max_new_tokens=6)
    before = list(chat.messages)
    with pytest.raises(ValueError, match=rf"has \d+ tokens; this model reads at most {POSITIONS - 1}"):
        chat.ask("x" * POSITIONS, image=picture("blue"))
    assert chat.messages == before
    assert figures(chat.ask(QUESTIONS[1], max_new_tokens=6)) == figures(other.ask(QUESTIONS[1], max_new_tokens=6))


def test_a_chat_ends_when_its_positions_are_full(assistant):
    chat = assistant.chat()
    with pytest.raises(ValueError, match="this model reads at most"):
        for _ in range(POSITIONS):
            answer = chat.ask("how many, how many, how many, how many, how many are there?", max_new_tokens=64)
            assert answer.prompt_tokens + answer.new_tokens <= POSITIONS
    assert chat.messages[-1]["role"] == "assistant"


@pytest.mark.parametrize("letters", ["ab", "zażółć", "日本語", "👩‍👩‍👧 ok", "é" * 3])
def test_text_comes_in_whole_letters(letters):
    tokenizer = tiny_tokenizer()
    ids = tokenizer.encode(letters, add_special_tokens=False)
    stream = TextStream(tokenizer)
    pieces = [stream.push(token) for token in ids]
    assert "".join(pieces) == letters == stream.text and not any("\ufffd" in piece for piece in pieces)
    assert stream.close() == ""


def test_half_a_letter_comes_out_at_the_end():
    tokenizer = tiny_tokenizer()
    stream = TextStream(tokenizer)
    pieces = [stream.push(token) for token in tokenizer.encode("a語", add_special_tokens=False)[:-1]]
    assert "".join(pieces) == "a" and stream.close().startswith("\ufffd") and stream.text.startswith("a\ufffd")


# A folder


def test_a_saved_assistant_answers_alike(assistant, tmp_path):
    loaded = multimodal.load(save(assistant, tmp_path))
    for image in (None, picture()):
        how = dict(image=image, max_new_tokens=12)
        assert figures(loaded.ask(QUESTIONS[0], **how)) == figures(assistant.ask(QUESTIONS[0], **how))


@pytest.mark.parametrize("damage", ["empty", "configuration", "weights cut", "no weights", "no tokenizer"])
def test_a_damaged_folder_is_refused(assistant, tmp_path, damage):
    if damage != "empty":
        save(assistant, tmp_path)
    if damage == "configuration":
        (tmp_path / "config.json").write_text("{")
    elif damage == "weights cut":
        weights = tmp_path / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1000])
    elif damage == "no weights":
        (tmp_path / "model.safetensors").unlink()
    elif damage == "no tokenizer":
        (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        multimodal.load(tmp_path)
