"""Stage `speech-adapter`: encoder and adapter learn to write embeddings that the frozen core understands.

As in the paper (8.3.2) the encoder goes on learning and the core does not. CTC on the encoder's frames
stays as a second loss, our choice, so that its letters keep their times. Transcription is most of the
mix, and all of it at first; translation a smaller share, and a few spoken questions that the core can
answer in words.
"""

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import jiwer
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import LlamaConfig, PreTrainedTokenizerFast

from adapters.memory import Memory
from multimodal.languages import LANGUAGES, find_language

from ...config import MultimodalLlamaConfig
from ...model import MultimodalLlama
from ...speech_embeddings import in_rows, put_in
from ...training.arithmetic import fast_arithmetic
from ...training.loop import Schedule
from ..compose import core_weights, ears_config
from ..speech.spoken_set import SpokenSet
from ..speech.utterances import Utterance, scored
from ..text.corpus import REPEAT_PROMPT, TRANSLATE_PROMPT
from ..text.phrases import say_all
from ..text.small_talk import facts
from ..text.tokenizer import ConversationEncoder
from .ears import HELD_OUT_UTTERANCES, UTTERANCES_A_STEP, Heard, Speller, ctc_loss, hear, heard, hide_bands, utterances

TRANSLATED = 0.25  # of phrases; the rest is transcribed
TRANSCRIBED_SHARE = 0.35  # of the steps, the first ones: nothing is translated; what comes of itself can be seen
LETTERS_WEIGHT = 0.3
ANSWERED_A_STEP = 4  # utterances that the core answers to: two vectors learn from that
ENCODER_LR_SHARE = 0.25  # of the adapter's learning rate: more makes it forget how to spell


@dataclass(frozen=True)
class Task:
    """What is asked of an utterance: the system prompt, if any, the right answer, and the kind for the table."""

    prompt: str | None
    answer: str
    kind: str


class SpeechAdapterStage:
    """What is trained on speech through the core; see `multimodal.training.loop.Stage`."""

    name = "speech-adapter"

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        core_config: LlamaConfig,
        run: Path,
        steps: int = 6000,
        seed: int = 0,
        translated: float = TRANSLATED,
    ):
        torch.manual_seed(seed)
        self.seed, self.translated = seed, translated
        self.schedule = Schedule(
            steps=steps, peak_lr=1e-3, muon_lr=1e-3, warmup_steps=100, slow="speech.", slow_share=ENCODER_LR_SHARE
        )
        self.model = composed = MultimodalLlama(
            MultimodalLlamaConfig(text_config=core_config, speech_config=ears_config(core_config.vocab_size))
        )
        composed.core.load_state_dict(core_weights(run), strict=False)  # the head is the tied table
        nn.init.zeros_(composed.extra_embedding.weight).requires_grad_(False)
        speller = Speller()
        speller.load_state_dict(load_file(run / "speech-encoder" / "final.safetensors"))
        composed.speech.conformer, composed.speech_letters = speller.conformer, speller.head
        composed.speech.frozen = False
        self._encoder, self._pad = ConversationEncoder(tokenizer), tokenizer.pad_token_id
        self._end_of_turn = tokenizer.convert_tokens_to_ids("<|eot_id|>")
        self._set, self._held_out = SpokenSet(seed + 2), SpokenSet(seed + 2, held_out=True)

    def batch(self, step: int) -> dict[str, Tensor]:
        rng = random.Random(f"speech adapter {self.seed} {step}")
        told = hear(self._set, step)
        features = told.features.clone()
        hide_bands(features, rng)
        translated = self.translated if step >= TRANSCRIBED_SHARE * self.schedule.steps else 0.0
        rows = sorted(rng.sample(range(len(told.utterances)), ANSWERED_A_STEP))
        tasks = [self._task(told.utterances[row], rng, translated) for row in rows]
        return self._collate(replace(told, features=features), tasks, rows)

    def _task(self, utterance: Utterance, rng: random.Random, translated: float) -> Task:
        if utterance.kind == "talk" and utterance.text in spoken_answers() and rng.random() < 0.5:
            return Task(None, spoken_answers()[utterance.text], "talk")
        if utterance.kind == "phrase" and rng.random() < translated:
            return translation(utterance, rng)
        return transcription(utterance)

    def _collate(self, told: Heard, tasks: list[Task], answered: Sequence[int]) -> dict[str, Tensor]:
        """What is heard, its letters and tokens, and the conversations in which the core answers some of it.

        These are rows padded on the right, with one place for each embedding of the utterance of the row.
        """
        rows, at, targets, answer = [], [], [], []
        begin, place = self.model.config.text_config.vocab_size + 2, self.model.config.speech_place_id
        for number, (task, count) in enumerate(zip(tasks, told.frames[list(answered)].tolist(), strict=True)):
            system = [("system", task.prompt)] if task.prompt else []
            turns = self._encoder.conversation([*system, ("user", ""), ("assistant", task.answer)])
            said = [at for at, token in enumerate(turns.ids) if token == self._end_of_turn][len(system)]
            places = math.ceil(count / 8)  # frames of 10 ms, embeddings of 80 ms
            [(start, stop)] = turns.answers
            rows.append(torch.tensor([*turns.ids[:said], begin, *[place] * places, begin + 1, *turns.ids[said:]]))
            at.append(torch.arange(start - 1, stop - 1) + places + 2)
            targets.append(torch.tensor(turns.ids[start:stop]))
            answer += [number] * (stop - start)
        ids = pad_sequence(rows, batch_first=True, padding_value=self._pad)
        tokens = [torch.tensor(self._encoder.text(one.text)) + 1 for one in told.utterances]  # 0 is CTC's blank
        return {
            "features": told.features,
            "frames": told.frames,
            "letters": told.letters,
            "num_letters": told.num_letters,
            "tokens": pad_sequence(tokens, batch_first=True),
            "num_tokens": torch.tensor([len(one) for one in tokens]),
            "answered": torch.tensor(answered),
            "ids": ids,
            "at": torch.cat([row * ids.shape[1] + places for row, places in enumerate(at)]),
            "targets": torch.cat(targets),
            "answer": torch.tensor(answer),
        }

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        with fast_arithmetic(batch["features"].device):
            told = self._hear(batch)
            logits = self._answer(batch, told)
        tokens = ctc_loss(told.tokens.x.float(), told.tokens.keep, batch["tokens"], batch["num_tokens"])
        letters = ctc_loss(told.letters.x.float(), told.letters.keep, batch["letters"], batch["num_letters"])
        answers = nn.functional.cross_entropy(logits.float(), batch["targets"])
        right = (logits.argmax(-1) == batch["targets"]).float().mean().item()
        figures = {"tokens": tokens.item(), "letters": letters.item(), "answers": answers.item(), "accuracy": right}
        return tokens + LETTERS_WEIGHT * letters + answers, figures

    def _hear(self, batch: dict[str, Tensor]) -> "_Told":
        """Logits of letters at the encoder's frames, and of tokens at the adapter's places."""
        frames = self.model.speech.conformer(batch["features"], batch["frames"])
        letters = Memory(self.model.speech_letters(frames.x), frames.keep)
        return _Told(letters, self.model.speech_adapter.name_tokens(frames))

    def _answer(self, batch: dict[str, Tensor], told: "_Told") -> Tensor:
        """Logits [A, V] at the positions before answer tokens; what was heard learns nothing from them."""
        composed, rows = self.model, batch["answered"]
        named = Memory(told.tokens.x[rows].detach(), told.tokens.keep[rows])
        x, keep = composed.speech_adapter.tell(named, composed.core.get_input_embeddings().weight)
        is_place = batch["ids"] == composed.config.speech_place_id
        clips = [clip[there] for clip, there in zip(x, keep, strict=True)]
        h = put_in(composed.embed(batch["ids"]), is_place, in_rows(clips, is_place))
        states = composed.core.model(inputs_embeds=h, use_cache=False).last_hidden_state
        return composed.core.lm_head(states.flatten(0, 1)[batch["at"]])

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Error rates of letters and words of the tokens named; exact answers by kind, with the right tokens before."""
        exact, right_texts, texts = defaultdict(list), [], []
        rng = random.Random(f"speech adapter {self.seed} held out")
        for step in range(HELD_OUT_UTTERANCES // UTTERANCES_A_STEP):
            told = heard(utterances(self._held_out, step))
            tasks = [self._task(one, rng, self.translated) for one in told.utterances]
            batch = self._collate(told, tasks, range(len(tasks)))
            named = self._hear(batch)
            best = self._answer(batch, named).argmax(-1)
            for number, (one, task) in enumerate(zip(told.utterances, tasks, strict=True)):
                mine = batch["answer"] == number
                exact[task.kind].append(torch.equal(best[mine], batch["targets"][mine]))
                tokens = named.tokens.x[number][named.tokens.keep[number]].argmax(-1).unique_consecutive()
                right_texts.append(scored(one.text, one.language))
                texts.append(scored(self._encoder.decode((tokens[tokens > 0] - 1).tolist()), one.language))
        shares = {kind: sum(hits) / len(hits) for kind, hits in sorted(exact.items())}
        return shares | {"letter errors": jiwer.cer(right_texts, texts), "word errors": jiwer.wer(right_texts, texts)}


@dataclass(frozen=True)
class _Told:
    letters: Memory
    tokens: Memory


def transcription(utterance: Utterance) -> Task:
    """The paper's prompt with the language that the utterance begins in."""
    language = find_language(utterance.language)
    return Task(REPEAT_PROMPT.format(language=language.name), utterance.text, "transcribe")


def translation(utterance: Utterance, rng: random.Random) -> Task:
    """Of a phrase into English; of an English one into another language."""
    source = utterance.language
    into = rng.choice([one for one in LANGUAGES if one.code != "en"]) if source == "en" else find_language("en")
    kind = f"translate {'into' if into.code == 'en' else 'from'} English"
    return Task(TRANSLATE_PROMPT.format(language=into.name), say_all(utterance.items, into.code), kind)


@cache
def spoken_answers() -> dict[str, str]:
    """Answers of the closed questions, by what is said."""
    return {question.replace("colour", "color"): fact.answer for fact in facts() for question in fact.questions}
