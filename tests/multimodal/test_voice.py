"""What a voice promises: heard before the text has ended, the same with and without sound, and saved beside a model."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import multimodal
from multimodal import Assistant
from multimodal.checkpoint import NANO
from multimodal.core_states import CoreStates
from multimodal.info import read_info
from multimodal.nano.voice.states import states_of
from multimodal.voice import Speaking
from multimodal.voice_head import HeadVoice

from .tiny_assistant import POSITIONS, picture, tiny_assistant, tiny_tokenizer
from .tiny_voices import HOP, HummingHead, speecht5_folder, vits_folder

QUESTION = "how many are there?"


@pytest.fixture(scope="module")
def plain() -> Assistant:
    return tiny_assistant()


@pytest.fixture(scope="module")
def vits(tmp_path_factory) -> Path:
    return vits_folder(tmp_path_factory.mktemp("vits"))


def with_head(plain: Assistant, hidden_dim: int | None = 48) -> Assistant:
    return Assistant(plain.model, plain.processor, HeadVoice(HummingHead(hidden_dim), plain.model, plain.processor))


@pytest.fixture(params=["head", "hub"])
def speaking(request, plain, vits) -> Assistant:
    return with_head(plain) if request.param == "head" else Assistant(plain.model, plain.processor, vits)


def joined(events: list) -> np.ndarray:
    return np.concatenate([event.audio.samples for event in events if event.audio])


# An answer and its sound in one loop


@pytest.mark.parametrize("image", [None, picture()], ids=["text", "picture"])
def test_speaking_changes_nothing_of_what_is_written(plain, speaking, image):
    how = dict(image=image, max_new_tokens=12)
    silent, spoken = plain.ask(QUESTION, **how), speaking.ask(QUESTION, speak=True, **how)
    assert (spoken.text, spoken.prompt_tokens, spoken.new_tokens) == (
        silent.text,
        silent.prompt_tokens,
        silent.new_tokens,
    )
    assert silent.speech is None and silent.time_to_first_audio_s is None
    assert 0 < spoken.time_to_first_audio_s <= spoken.total_s and spoken.speech.duration_s > 0


def test_drawn_tokens_are_the_same_with_a_voice_that_draws(plain, speaking):
    def sample(assistant: Assistant, **how) -> str:
        torch.manual_seed(3)
        return assistant.ask(QUESTION, temperature=1.5, max_new_tokens=30, **how).text

    assert sample(speaking, speak=True) == sample(plain)


def test_sound_comes_before_the_text_has_ended(plain):
    events = list(with_head(plain).stream(QUESTION, speak=True, max_new_tokens=12))
    kinds = ["audio" if event.audio else "text" for event in events if not event.answer]
    assert kinds.index("audio") < 5 and "text" in kinds[kinds.index("audio") :]
    answer = events[-1].answer
    np.testing.assert_array_equal(joined(events), answer.speech.samples)
    assert len(answer.speech.samples) == HOP * len(answer.text) and answer.speech.sample_rate == 16_000
    assert all(bool(event.text) + bool(event.audio) + bool(event.answer) == 1 for event in events)


def test_a_hub_voice_says_each_clause_when_it_is_whole(vits):
    assistant = tiny_assistant()
    voice = Assistant(assistant.model, assistant.processor, vits).voice
    stream = voice.start(Speaking())
    pushed = [len(stream.push([text], [0])[0]) for text in ("it is", " Monday", ",", " and", " cold", ".")]
    assert [bool(samples) for samples in pushed] == [False, False, False, True, False, False]
    assert len(stream.flush()[0]) > 0


def test_a_chat_speaks_turn_by_turn_and_silent_turns_stay_silent(plain, speaking):
    silent, chat = plain.chat(), speaking.chat()
    for at, question in enumerate((QUESTION, "and left of it?", "what is in this picture?")):
        answer = chat.ask(question, speak=at != 1, max_new_tokens=9)
        assert answer.text == silent.ask(question, max_new_tokens=9).text
        assert (answer.speech is None) == (at == 1)


@pytest.mark.parametrize("until", ["text", "audio", "answer"])
def test_a_reader_who_stops_anywhere_may_go_on(speaking, until):
    """Whether he stops at a piece of text or of sound, the history is the text that he read."""
    chat, text, events = speaking.chat(), "", None
    events = chat.stream(QUESTION, speak=True)
    for event in events:
        text += event.text
        if getattr(event, until):
            break
    events.close()
    assert chat.messages[-1] == {"role": "assistant", "content": text}
    assert chat.ask("and left of it?", max_new_tokens=9, speak=True).speech.duration_s > 0
    assert [message["role"] for message in chat.messages] == ["user", "assistant"] * 2


def test_an_early_stop_leaves_what_a_silent_one_leaves(plain, speaking):
    chats = [plain.chat(), speaking.chat()]
    for chat, how in zip(chats, ({}, {"speak": True}), strict=True):
        events, texts = chat.stream(QUESTION, **how), 0
        while texts < 2:
            texts += bool(next(events).text)
        events.close()
    answers = [chat.ask("and left of it?", max_new_tokens=9).text for chat in chats]
    assert answers[0] == answers[1] and chats[0].messages == chats[1].messages


def test_the_voice_is_told_how(plain):
    assistant = with_head(plain)
    assistant.ask(QUESTION, speak=True, language="Hindi", speaker="high", rate=2.0, pitch=0.5, max_new_tokens=5)
    assert assistant.voice.head.told == [(1, "hi", "high", 2.0, 0.5)]


# The core's states


def test_states_are_the_middle_layers_after_an_empty_question(plain):
    """Those that the voice is trained on, token by token: as one pass over the whole gives them."""
    text = "what is in this picture? HOW MANY"
    states, tokenizer = CoreStates(plain.model, plain.processor), plain.processor.tokenizer
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    stream = states.start()
    ours = torch.cat([stream.push(torch.tensor([[token]])) for token in tokens], dim=1)[0]
    ids = torch.tensor([states.prompt + tokens])
    hidden = plain.model.core.model(ids, output_hidden_states=True).hidden_states[2]  # after 2 of 4 layers
    torch.testing.assert_close(ours, hidden[0, len(states.prompt) :])
    torch.testing.assert_close(states.start().push(torch.tensor([tokens]))[0], ours)


def test_nanos_states_are_those_of_its_training():
    nano, text = multimodal.load("nano"), "It is Monday, the 3rd of May."
    [(_, trained)] = states_of(nano.model, nano.processor.tokenizer, [text])
    stream = CoreStates(nano.model, nano.processor).start(rows=2)
    tokens = nano.processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    ours = torch.cat([stream.push(torch.tensor([[token]] * 2)) for token in tokens], dim=1)
    torch.testing.assert_close(ours[0], trained, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(ours[1], ours[0], atol=1e-3, rtol=1e-4)


def test_states_begin_again_where_the_positions_end(plain):
    states = CoreStates(plain.model, plain.processor)
    stream, first = states.start(), states.start().push(torch.tensor([[70]]))
    fits = POSITIONS - len(states.prompt)
    stream.push(torch.full((1, fits), 70))
    torch.testing.assert_close(stream.push(torch.tensor([[70]])), first)


def test_a_head_of_another_core_is_refused(plain):
    with pytest.raises(ValueError, match="trained around another core: on states of width 192, not 48"):
        with_head(plain, hidden_dim=192)


# speak


@pytest.mark.parametrize("hidden_dim", [None, 48])
def test_texts_side_by_side_are_said_as_alone(plain, hidden_dim):
    assistant, texts = with_head(plain, hidden_dim), ["It is Monday.", "hi", "what is in this picture?"]
    for text, speech in zip(texts, assistant.speak(texts), strict=True):
        alone = assistant.speak(text)
        assert len(speech.samples) == HOP * len(text)
        np.testing.assert_allclose(speech.samples, alone.samples, atol=1e-5)


def test_rate_reaches_a_vits(vits, plain):
    assistant = Assistant(plain.model, plain.processor, vits)
    slow, fast = (assistant.speak("how many red circles are there", rate=rate).duration_s for rate in (0.5, 2.0))
    assert fast < slow / 2


def test_speakers_of_a_vits_are_numbered(plain, tmp_path):
    assistant = Assistant(plain.model, plain.processor, vits_folder(tmp_path, num_speakers=3))
    assert assistant.voice.speakers == ("0", "1", "2")
    first, default, last = (assistant.speak("hello", speaker=one).samples for one in ("0", None, "2"))
    np.testing.assert_array_equal(first, default)
    assert len(first) != len(last) or np.abs(first - last).max() > 1e-3
    with pytest.raises(ValueError, match="found speaker '3'; accepted by this voice: 0, 1, 2"):
        assistant.speak("hello", speaker="3")


def test_a_speecht5_speaks_through_its_vocoder(plain, tmp_path):
    assistant = Assistant(plain.model, plain.processor, speecht5_folder(tmp_path / "t5", tiny_tokenizer()))
    assert len(assistant.speak("hello.").samples)
    folder = tmp_path / "saved"
    assistant.save_pretrained(folder)
    again = multimodal.load(folder)
    np.testing.assert_allclose(again.speak("hi").samples[:32], assistant.speak("hi").samples[:32], atol=1e-4)


# Files


@pytest.mark.parametrize("adapters_only", [False, True])
def test_a_folder_saved_and_loaded_again_speaks(plain, vits, tmp_path, adapters_only):
    assistant = Assistant(plain.model, plain.processor, vits)
    if adapters_only:
        core = tmp_path / "core"
        plain.model.core.save_pretrained(core)
        plain.model.config.sources = {"core": {"id": str(core), "revision": None}}
    try:
        assistant.save_pretrained(tmp_path / "saved", adapters_only=adapters_only)
    finally:
        plain.model.config.sources = None
    loaded = multimodal.load(tmp_path / "saved")
    assert loaded.has_voice
    np.testing.assert_allclose(loaded.speak("hello").samples, assistant.speak("hello").samples, atol=1e-5)
    assert loaded.ask(QUESTION, max_new_tokens=9).text == plain.ask(QUESTION, max_new_tokens=9).text


def test_a_voice_of_the_hub_is_named_where_only_adapters_are_kept(plain, vits, tmp_path):
    voice = Assistant(plain.model, plain.processor, vits).voice
    voice.hub_id = "facebook/mms-tts-eng"
    voice.save(tmp_path, by_name=True)
    assert [file.name for file in tmp_path.iterdir()] == ["voice.json"]
    assert json.loads((tmp_path / "voice.json").read_text()) == {"hub_voice": "facebook/mms-tts-eng"}


# What cannot be


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ({"language": "Klingon"}, "unknown language 'Klingon'; accepted are Arabic"),
        ({"rate": 0.1}, "rate is 0.1; accepted: 0.5 to 2.0"),
        ({"rate": float("nan")}, "rate is nan"),
        ({"pitch": -1.0}, "pitch is -1.0; accepted: 0.5 to 2.0"),
        ({"pitch": float("inf")}, "pitch is inf"),
        ({"speaker": "nobody"}, "found speaker 'nobody'; accepted"),
    ],
    ids=str,
)
def test_what_no_voice_can_do_is_refused_before_anything_is_written(speaking, how, found):
    chat = speaking.chat()
    for call in (lambda: chat.ask(QUESTION, speak=True, **how), lambda: speaking.speak("hello", **how)):
        with pytest.raises(ValueError, match=re.escape(found)):
            call()
    assert chat.messages == []


def test_how_to_speak_without_speaking_is_a_mistake(speaking):
    with pytest.raises(ValueError, match="found rate without speak=True"):
        speaking.ask(QUESTION, rate=2.0)


@pytest.mark.parametrize("how", [{"rate": 2.0}, {"pitch": 2.0}], ids=str)
def test_a_hub_voice_refuses_what_its_kind_cannot_do(plain, tmp_path, how):
    assistant = Assistant(plain.model, plain.processor, speecht5_folder(tmp_path, tiny_tokenizer()))
    with pytest.raises(ValueError, match=f"{next(iter(how))} is 2.0; this voice"):
        assistant.speak("hello", **how)


HOSTILE = {
    "emoji": "👩‍👩‍👧 ok",
    "mixed scripts": "hello мир 世界 नमस्ते",
    "control characters": "a\x00b\x07c\x1b[31m\u200b",
    "special tokens": "say <|eot_id|> and <|start_header_id|>",
    "a bidirectional override": "abc \u202e def",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_any_text_is_said(speaking, text):
    speech = speaking.speak(text)
    assert speech.duration_s > 0 and np.isfinite(speech.samples).all()


def test_ten_thousand_characters_are_said(plain):
    text = "hello there, you. " * 560
    assert len(with_head(plain).speak(text).samples) == HOP * len(text)


@pytest.mark.slow
def test_a_hub_voice_says_ten_thousand_characters(plain, vits):
    assert Assistant(plain.model, plain.processor, vits).speak("hello there, you. " * 560).duration_s > 0


def test_a_special_token_that_a_text_spells_is_said(plain):
    assert len(with_head(plain).speak("a<|eot_id|>b").samples) == HOP * len("a<|eot_id|>b")


@pytest.mark.parametrize("text", ["", "  \n", "\udcff", None])
def test_no_text_is_refused(speaking, text):
    with pytest.raises((ValueError, TypeError), match=r"text to say|not iterable"):
        speaking.speak(text)


@pytest.mark.parametrize("text", ["👍", "..."])
def test_what_a_voice_has_no_sound_for_is_refused(plain, vits, text):
    with pytest.raises(ValueError, match="found nothing that this voice can say"):
        Assistant(plain.model, plain.processor, vits).speak(text)


def test_a_model_without_a_voice_says_how_to_get_one(plain):
    assert not plain.has_voice
    for call in (lambda: plain.speak("hello"), lambda: plain.ask(QUESTION, speak=True)):
        with pytest.raises(ValueError, match=r"this model has no voice: give it one with voice=.*accepted: "):
            call()


@pytest.mark.parametrize("damage", ["empty", "pickle", "weights cut", "no voice", "a file", "no json", "head without"])
def test_a_folder_that_is_no_voice_is_refused_in_one_line(plain, vits, tmp_path, damage):
    for file in vits.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    where, weights = tmp_path, tmp_path / "model.safetensors"
    if damage == "empty":
        where = tmp_path / "sub"
        where.mkdir()
    elif damage == "pickle":
        weights.rename(tmp_path / "pytorch_model.bin")
    elif damage == "weights cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "no voice":
        (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    elif damage == "a file":
        where = weights
    elif damage == "no json":
        (tmp_path / "voice.json").write_text("[")
    elif damage == "head without":
        (tmp_path / "voice.json").write_text("{}")
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        _ = Assistant(plain.model, plain.processor, where).voice
    assert damage != "pickle" or "could run code" in str(refused.value)
    assert str(tmp_path) in str(refused.value)


def test_no_such_voice_is_refused_at_once(plain):
    with pytest.raises(ValueError, match="no/such-voice: found neither such a folder nor such a model"):
        Assistant(plain.model, plain.processor, "no/such-voice")


@pytest.mark.slow
def test_info_tells_of_nanos_voice():
    told = read_info("nano")
    [part] = [part for part in told.parts if part.name == "voice"]
    assert part.bytes == (NANO / "voice.safetensors").stat().st_size and part.parameters * 2 <= part.bytes
    assert "34 languages" in told.voice
