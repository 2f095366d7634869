"""Speech in the composed model: where its embeddings stand, and what may not matter to them."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor
from transformers import LlamaForCausalLM
from typer.testing import CliRunner

from adapters.media import MediaError
from multimodal import cli, transcription
from multimodal.assistant import Assistant
from multimodal.config import SpeechConfig
from multimodal.speech_embeddings import in_rows, put_in, with_places
from multimodal.transcription import transcribe
from speech.segments import cut_at_pauses

from .tiny_assistant import picture, save, tiny_assistant

RATE = 16_000
EARS_KEYWORDS = dict(
    encoder_keywords=dict(num_mels=80, width=16, layers=1, heads=2, ffn_dim=24, kernel=7),
    adapter_keywords=dict(width=16, num_heads=2, ffn_dim=24),
)
EARS = SpeechConfig(**EARS_KEYWORDS)


@pytest.fixture(scope="module")
def assistant() -> Assistant:
    made = tiny_assistant(speech_config=EARS)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in made.model.named_parameters():
            if name.startswith(("speech.", "speech_adapter.")):
                parameter.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.3)
    return made


def tone(seconds: float, hertz: float = 300.0) -> tuple[np.ndarray, int]:
    at = np.arange(int(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * hertz * at) * (1 + np.sin(40 * at))).astype(np.float32), RATE


@torch.no_grad()
def logits(assistant: Assistant, texts: str | list[str], audio=None, images=None) -> Tensor:
    return assistant.model(**assistant.processor(texts, images, audio)).logits


def embeddings(assistant: Assistant, sound: tuple[np.ndarray, int]) -> Tensor:
    """[S, D], from the encoder and the adapter alone."""
    speech, adapter = assistant.model.speech, assistant.model.speech_adapter
    return adapter(speech(**speech.prepare([torch.from_numpy(sound[0])]))).x[0]


# Where they stand


@torch.no_grad()
def test_speech_is_the_core_on_embeddings_to_the_bit(assistant):
    inputs = assistant.processor("how <|speech|> many", audio=[tone(0.9)])
    ids, model = inputs["input_ids"], assistant.model
    begin, end, place = (assistant.processor.tokenizer.convert_tokens_to_ids(t) for t in (
        "<|speech|>", "<|end_of_speech|>", "<|speech_place|>"))  # fmt: skip
    row = ids[0].tolist()
    first = row.index(place)
    assert row[first - 1] == begin and row[first + 12] == end and row.count(place) == 12  # 80 ms an embedding
    h = model.core.model.embed_tokens(ids.masked_fill(ids >= model.config.text_config.vocab_size, 0))
    for token, at in ((begin, first - 1), (end, first + 12)):
        h[0, at] = model.extra_embedding.weight[token - model.config.text_config.vocab_size]
    h[0, first : first + 12] = embeddings(assistant, tone(0.9))
    plain = LlamaForCausalLM(model.config.text_config).eval()
    plain.load_state_dict(model.core.state_dict())
    assert torch.equal(model(**inputs).logits, plain(inputs_embeds=h).logits)


@torch.no_grad()
def test_company_padding_and_order_change_nothing(assistant):
    texts = ["a<|speech|>b", "<|speech|><|speech|>", "how many", "c<|image|>d<|speech|>"]
    sounds, red = [[tone(0.5)], [tone(1.3, 200), tone(0.2, 500)], [], [tone(0.7)]], picture("red")
    together = logits(assistant, texts, sounds, [[], [], [], [red]])
    turned = logits(assistant, texts[::-1], sounds[::-1], [[red], [], [], []]).flip(0)
    torch.testing.assert_close(together, turned)
    for row, (text, of_row) in enumerate(zip(texts, sounds, strict=True)):
        alone = logits(assistant, [text], [of_row], [[red]] if "image" in text else None)
        torch.testing.assert_close(together[row, -alone.shape[1] :], alone[0])


@torch.no_grad()
def test_a_later_sound_changes_nothing_before_it(assistant):
    text = "a<|speech|>how many<|speech|>"
    one, other = (logits(assistant, text, [tone(0.5), second]) for second in (tone(0.6, 200), tone(0.6, 900)))
    before = one.shape[1] - assistant.processor("<|speech|>", audio=[tone(0.6)])["input_ids"].shape[1] + 1
    assert torch.equal(one[:, :before], other[:, :before])
    assert (one[:, -1] - other[:, -1]).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("beams", [1, 3])
def test_generation_hears_once_and_equals_the_full_pass(assistant, beams, monkeypatch):
    inputs = assistant.processor(
        ["a<|speech|>b", "<|image|><|speech|>"], [[], [picture("red")]], [[tone(0.5)], [tone(1)]]
    )
    heard, encode = [], type(assistant.model.speech).forward
    monkeypatch.setattr(type(assistant.model.speech), "forward", lambda *a, **k: heard.append(1) or encode(*a, **k))
    written = assistant.model.generate(**inputs, max_new_tokens=6, num_beams=beams, do_sample=False)
    assert len(heard) == 1
    if beams == 1:
        ids = inputs["input_ids"]
        for at in range(ids.shape[1], written.shape[1]):
            mask = torch.cat([inputs["attention_mask"], torch.ones(2, at - ids.shape[1], dtype=torch.long)], 1)
            full = assistant.model(**{**inputs, "input_ids": written[:, :at], "attention_mask": mask}).logits[:, -1]
            running = ~(written[:, ids.shape[1] : at] == assistant.processor.tokenizer.pad_token_id).any(1)
            assert torch.equal(full.argmax(-1)[running], written[running, at])


def test_a_dialogue_hears_a_sound_once_and_remembers_it(assistant, monkeypatch):
    heard, encode = [], type(assistant.model.speech).forward
    monkeypatch.setattr(type(assistant.model.speech), "forward", lambda *a, **k: heard.append(1) or encode(*a, **k))
    chat = assistant.chat()
    chat.ask("what is this?", audio=tone(0.8), max_new_tokens=4)
    second = chat.ask("and left of it?", max_new_tokens=4)
    assert len(heard) == 1 and chat.messages[0]["content"][0] == {"type": "audio"}
    messages = [dict(message) for message in chat.messages[:3]]
    messages[0]["content"] = [{"type": "audio", "audio": tone(0.8)}, messages[0]["content"][1]]
    whole = assistant.processor.apply_chat_template(messages, tokenize=True, add_generation_prompt=True)
    written = assistant.model.generate(**whole, max_new_tokens=4, do_sample=False)
    text = assistant.processor.decode(written[0, whole["input_ids"].shape[1] :], skip_special_tokens=True)
    assert text == second.text


def test_a_spoken_question_alone_and_about_a_picture(assistant):
    assert assistant.ask(audio=tone(1.0), max_new_tokens=3).new_tokens
    assert assistant.ask(audio=tone(1.0), image=picture("red"), max_new_tokens=3).new_tokens
    several = assistant.ask("how many?", audio=[tone(0.3), tone(0.4)], max_new_tokens=3)
    assert several.prompt_tokens > assistant.ask("how many?", audio=tone(0.3), max_new_tokens=3).prompt_tokens


# What is refused


def test_places_and_embeddings_must_pair():
    is_place = torch.tensor([[False, True, True], [True, False, False]])
    rows = in_rows([torch.ones(2, 4), torch.full((1, 4), 2.0)], is_place)
    assert rows.shape == (2, 2, 4) and not rows[1, 1].any()
    h = put_in(torch.zeros(2, 3, 4), is_place, rows)
    assert h[0, 1:].eq(1).all() and h[1, 0].eq(2).all() and not h[0, 0].any() and not h[1, 1:].any()
    with pytest.raises(ValueError, match="row 0 of the text holds places for 2 embeddings of speech, found 3"):
        in_rows([torch.ones(3, 4)], is_place)
    with pytest.raises(ValueError, match="found 1 clips more than the text holds places for"):
        in_rows([torch.ones(2, 4), torch.ones(1, 4), torch.ones(1, 4)], is_place)
    with pytest.raises(ValueError, match=r"found 1 clips for 2 <\|speech\|> tokens"):
        with_places([7, 7], [3], 7, 8, 9)


def test_sounds_and_tokens_must_pair_and_be_sounds(assistant, tmp_path):
    with pytest.raises(ValueError, match=r"found 1 sounds for 0 <\|speech\|> tokens"):
        assistant.processor("how many", audio=[tone(0.5)])
    (tmp_path / "no.wav").write_text("no sound")
    with pytest.raises(MediaError, match=r"no\.wav"):
        assistant.ask(audio=tmp_path / "no.wav")
    for use in (tiny_assistant().transcribe, lambda sound: tiny_assistant().ask(audio=sound)):
        with pytest.raises(ValueError, match=r"this model has no speech encoder; accepted: text and pictures$"):
            use(tone(0.5))


# Transcription


@pytest.fixture(scope="module")
def long_sound(tmp_path_factory) -> Path:
    """Three tones with pauses between them."""
    silence = np.zeros(int(2.5 * RATE), np.float32)
    parts = [tone(1.0, 300)[0], silence, tone(2.0, 500)[0], silence, tone(1.5, 700)[0]]
    path = tmp_path_factory.mktemp("sounds") / "three tones.flac"
    soundfile.write(path, np.concatenate(parts), RATE)
    return path


def test_a_configuration_that_no_ears_fit_says_what_is_accepted():
    with pytest.raises(ValueError, match="adapter is 'linear'; accepted: rotary, tokens, stacking, transformer"):
        SpeechConfig(adapter="linear")
    with pytest.raises(ValueError, match="adapter is 'tokens' and letters is empty; accepted: letters for it to read"):
        SpeechConfig(adapter="tokens")


def test_a_long_sound_is_transcribed_piece_by_piece(assistant, long_sound):
    [segments] = transcribe(assistant.model, assistant.processor, [long_sound], "English")
    assert [s.start_s for s in segments] == pytest.approx([0, 3.5, 8], abs=0.3)
    assert [s.end_s for s in segments] == pytest.approx([1, 5.5, 9.5], abs=0.3)
    assert assistant.transcribe(long_sound, language="en") == " ".join(s.text for s in segments)
    for segment, piece in zip(segments, cut_at_pauses(long_sound), strict=True):
        prompt = dict(system="Repeat after me in English:", audio=(piece.samples, piece.sample_rate))
        assert segment.text == assistant.ask(**prompt, max_new_tokens=448).text
    with pytest.raises(ValueError, match="unknown language 'Klingon'"):
        assistant.transcribe(long_sound, language="Klingon")
    assert isinstance(assistant.translate(long_sound, into="Hindi"), str)


def test_files_are_told_in_order_whatever_batch_they_share(assistant, long_sound, monkeypatch):
    made_of = assistant.model, assistant.processor
    alone = [next(transcribe(*made_of, [one], "fr")) for one in (long_sound, tone(0.7))]
    monkeypatch.setattr("multimodal.transcription.BATCH", 2)
    sounds = [long_sound, tone(0.7), (np.zeros(RATE, np.float32), RATE), long_sound]
    found = list(transcribe(*made_of, sounds, "fr"))
    assert found == [alone[0], alone[1], [], alone[0]]


def test_the_bar_reaches_all_seconds_where_these_are_known(assistant, long_sound, capsys):
    how = dict(language="en", progress=True, max_new_tokens=2)
    silence = (np.zeros(2 * RATE, np.float32), RATE)
    list(transcribe(assistant.model, assistant.processor, [long_sound, silence], **how))
    last = capsys.readouterr().err.split("\r")[-1]
    assert "100%" in last and "11.5/11.5" in last
    for unknown in ([long_sound.open("rb")], iter([long_sound])):
        list(transcribe(assistant.model, assistant.processor, unknown, **how))
        assert "%" not in capsys.readouterr().err


def test_the_command_line_writes_text_times_and_json(assistant, long_sound, tmp_path):
    model = str(save(assistant, tmp_path / "model"))

    def run(*args: str) -> list[str]:
        result = CliRunner().invoke(cli.app, [*args, "--model", model])
        assert result.exit_code == 0, result.stderr
        return result.stdout.splitlines()

    text = assistant.transcribe(long_sound)
    assert run("transcribe", str(long_sound)) == [text]
    assert len(run("transcribe", str(long_sound), "--timestamps")) == 3
    [told] = [json.loads(line) for line in run("translate", str(long_sound), "--into", "Hindi", "--json")]
    assert told["text"] == assistant.translate(long_sound, into="Hindi") and len(told["segments"]) == 3
    assert run("ask", "--audio", str(long_sound)) == [assistant.ask(audio=long_sound).text]


def test_no_piece_is_lost_whose_words_cannot_be_placed(assistant, long_sound, tmp_path, monkeypatch):
    spelling = tiny_assistant(speech_config=SpeechConfig(**{**EARS_KEYWORDS, "letters": ["a"]}))
    model = str(save(spelling, tmp_path / "model"))
    monkeypatch.setattr(transcription, "word_times", lambda *a: ())
    result = CliRunner().invoke(cli.app, ["transcribe", str(long_sound), "--timestamps", "--model", model])
    assert result.exit_code == 0 and len(result.stdout.splitlines()) == 3


def test_a_batch_is_bounded_in_number_and_in_padded_seconds(assistant, monkeypatch):
    batches, write = [], transcription._write

    def noting(model, processor, system, pieces, *args, **kwargs) -> list[str]:
        batches.append(pieces)
        return write(model, processor, system, pieces, *args, **kwargs)

    monkeypatch.setattr(transcription, "_write", noting)
    monkeypatch.setattr(transcription, "BATCH", 3)
    monkeypatch.setattr(transcription, "BATCH_S", 4.0)
    sounds = [tone(seconds) for seconds in (0.8, 0.8, 0.8, 0.8, 1.8, 1.8, 5.0, 0.8)]
    found = list(transcribe(assistant.model, assistant.processor, sounds, "fr", max_new_tokens=8))
    assert [len(batch) for batch in batches] == [3, 2, 1, 1, 1] and all(len(segments) == 1 for segments in found)
    assert [s.text for [s] in found] == [
        next(transcribe(assistant.model, assistant.processor, [one], "fr", max_new_tokens=8))[0].text for one in sounds
    ]


def test_a_transcript_has_no_tokens_but_those_that_were_heard(monkeypatch):
    """A core that would write anything, without end, is held to them; a translation has others."""
    reader = dict(width=16, num_layers=1, num_heads=2, ffn_dim=24, memory_width=8)
    ears = SpeechConfig(**EARS_KEYWORDS | dict(adapter="tokens", letters=["a", "b"], adapter_keywords=reader))
    assistant = tiny_assistant(speech_config=ears)
    model, processor = assistant.model, assistant.processor
    model.generation_config.eos_token_id = end = processor.tokenizer.pad_token_id  # which this core does not write
    decode, written = processor.batch_decode, []
    monkeypatch.setattr(processor, "batch_decode", lambda ids, **how: written.extend(ids) or decode(ids, **how))
    sounds, told = [tone(0.7), tone(4.0)], []
    for sound in sounds:
        heard = processor("<|speech|>", audio=sound)
        x = model.hear(heard["input_ids"], heard["speech_samples"], heard["speech_lengths"])
        [counts] = model.speech_adapter.tokens_told(x, model.core.get_input_embeddings().weight)
        told.append(counts)
    assert not torch.equal(*told)
    list(transcribe(model, processor, sounds, "fr", max_new_tokens=40))
    list(transcribe(model, processor, sounds, "fr", translate=True, max_new_tokens=40))
    counts = [ids[ids != end].bincount(minlength=len(told[0])) for ids in written]
    assert all((row <= of_sound).all() and row.any() for row, of_sound in zip(counts[:2], told, strict=True))
    assert not any((row <= of_sound).all() for row, of_sound in zip(counts[2:], told, strict=True))
