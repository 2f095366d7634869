"""Stage `speech-adapter`: the adapter learns to read what the encoder spells, and names the core's tokens.

The encoder has learnt all it will; the adapter reads its letters with all its errors (`adapters.token_adapter`), and
besides them texts that are misspelled as an unsure ear spells, which cost no sound and bring many more words. Of the
same texts its language model learns what follows what. What is named stands in the core's text as a text would: what
the core then does with it, repeat, translate or answer, it has learnt in words alone. In the paper (8.3.2) the encoder
goes on learning and there is no CTC: our choice.
"""

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import jiwer
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import LlamaConfig, PreTrainedTokenizerFast

from adapters.memory import Memory
from adapters.token_adapter import letters_there

from ...config import MultimodalLlamaConfig
from ...model import MultimodalLlama
from ...training.arithmetic import fast_arithmetic
from ...training.loop import Schedule
from ..compose import core_weights, ears_config, places_weights, spelling_weights
from ..speech.letters import letters, spelled
from ..speech.misspelling import misspelled
from ..speech.spoken_set import SpokenSet
from ..speech.utterances import sample_utterance, scored
from ..text.tokenizer import ConversationEncoder
from .beginning import begin
from .ears import HELD_OUT_UTTERANCES, UTTERANCES_A_STEP, ctc_loss, hear, heard, hide_bands, utterances
from .speech_tasks import answer, answer_rows, right_answers, sample_task

MISSPELLED_A_STEP = 48
OTHER_TOKENS = 700  # of the vocabulary, which stand for all that a step's texts do not hold


def ears_around(core_config: LlamaConfig, core: dict[str, Tensor]) -> MultimodalLlama:
    """Fresh ears around a core of these weights, all of it frozen but the ears."""
    composed = MultimodalLlama(MultimodalLlamaConfig(text_config=core_config, speech_config=ears_config()))
    composed.core.load_state_dict(core, strict=False)  # the head is the tied table
    nn.init.zeros_(composed.extra_embedding.weight).requires_grad_(False)
    return composed


class SpeechAdapterStage:
    """What is trained on spellings; see `multimodal.training.loop.Stage`. begin_from: weights of it to go on from."""

    name = "speech-adapter"

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        core_config: LlamaConfig,
        run: Path,
        steps: int = 11_000,
        seed: int = 0,
        begin_from: Path | None = None,
    ):
        torch.manual_seed(seed)
        self.seed, self._tokenizer, self._encoder = seed, tokenizer, ConversationEncoder(tokenizer)
        self.schedule = Schedule(steps=steps, peak_lr=1e-3, muon_lr=2e-3, warmup_steps=100)
        self.model = composed = ears_around(core_config, core_weights(run))
        before = spelling_weights(run) | places_weights(run)
        composed.load_state_dict(before, strict=False)
        for name, parameter in composed.named_parameters():
            parameter.requires_grad_(name.startswith("speech_adapter.") and name not in before)
        self._done = begin(composed, begin_from, some=True)  # nothing but the adapter
        self._set, self._held_out = SpokenSet(seed + 2), SpokenSet(seed + 2, held_out=True)

    @property
    def _table(self) -> Tensor:
        return self.model.core.get_input_embeddings().weight

    def batch(self, step: int) -> dict[str, Tensor]:
        """Features of sounds, misspelled texts behind each other, and the tokens of both, those of the sounds first.

        Tokens are numbered from 1 among those that the step may name; see `few_tokens`.
        """
        step += self._done
        rng, told = random.Random(f"speech adapter {self.seed} {step}"), hear(self._set, step)
        features = told.features.clone()
        hide_bands(features, rng)
        read = [sample_utterance(rng) for _ in range(MISSPELLED_A_STEP)]
        spellings = [misspelled(spelled(one.text, one.language).tolist(), len(letters()), rng) for one in read]
        texts = [self._encoder.text(one.text) for one in (*told.utterances, *read)]
        among, shift = few_tokens(texts, len(self._table), rng)
        number = {token: at for at, token in enumerate(among.tolist(), start=1)}
        tokens = [torch.tensor([number[token] for token in text]) for text in texts]
        return {
            "features": features,
            "frames": told.frames,
            "misspelled": torch.cat(spellings),
            "num_misspelled": torch.tensor([len(one) for one in spellings]),
            "among": among,
            "shift": shift,
            "tokens": pad_sequence(tokens, batch_first=True),
            "num_tokens": torch.tensor([len(one) for one in tokens]),
        }

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        with fast_arithmetic(batch["features"].device):
            spellings = _spellings(self._letters(batch["features"], batch["frames"]))
            misspelled = batch["misspelled"].split(batch["num_misspelled"].tolist())
            table = self._table[batch["among"]]
            named = self.model.speech_adapter.name_tokens([*spellings, *misspelled], table)
            follows = self.model.speech_adapter.expectation(table[(batch["tokens"] - 1).clamp(min=0)], table)
        heard = ctc_loss(named.x.float() + batch["shift"], named.keep, batch["tokens"], batch["num_tokens"])
        expected = expectation_loss(follows.float() + batch["shift"], batch["tokens"], batch["num_tokens"])
        return heard + expected, {"heard": heard.item(), "expected": expected.item()}

    @torch.no_grad()
    def _letters(self, features: Tensor, frames: Tensor) -> Memory:
        x, keep = self.model.speech.conformer(features, frames)
        return Memory(self.model.speech_letters(x), keep)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Error rates of letters and words of the tokens named, and exact answers by kind, the right tokens before."""
        exact, right_texts, texts = defaultdict(list), [], []
        rng, place = random.Random(f"speech adapter {self.seed} held out"), self.model.config.speech_place_id
        for step in range(HELD_OUT_UTTERANCES // UTTERANCES_A_STEP):
            told = heard(utterances(self._held_out, step))
            spelling = self._letters(told.features, told.frames)
            named = self.model.speech_adapter.name_tokens(_spellings(spelling), self._table)
            tokens = self.model.speech_adapter.read(named, self._table)
            clips = _clips(self.model.speech_adapter.tell(tokens, spelling.keep, self._table))
            tasks = [sample_task(one, rng) for one in told.utterances]
            rows = answer_rows(self._tokenizer, self._encoder, place, tasks, list(map(len, clips)))
            right = right_answers(answer(self.model, rows.ids, rows.at, clips), rows.targets, rows.row)
            read = (self._encoder.decode(one.tolist()) for one in tokens)
            for one, task, is_right, text in zip(told.utterances, tasks, right, read, strict=True):
                exact[task.kind].append(is_right)
                right_texts.append(scored(one.text, one.language))
                texts.append(scored(text, one.language))
        shares = {kind: sum(hits) / len(hits) for kind, hits in sorted(exact.items())}
        return shares | {"letter errors": jiwer.cer(right_texts, texts), "word errors": jiwer.wer(right_texts, texts)}


def _clips(batch: Memory) -> list[Tensor]:
    """What is there of each clip."""
    return [clip[there] for clip, there in zip(*batch, strict=True)]


def _spellings(logits: Memory) -> list[Tensor]:
    return [letters_there(clip) for clip in _clips(logits)]


def expectation_loss(logits: Tensor, tokens: Tensor, lengths: Tensor) -> Tensor:
    """Mean over tokens of the negative log-likelihood of texts: logits [B, T + 1, N + 1], tokens [B, T] from 1, [B].

    Number 0 is the end of a text and pads it.
    """
    there = torch.arange(logits.shape[1], device=lengths.device) <= lengths.unsqueeze(1)
    return nn.functional.cross_entropy(logits[there], nn.functional.pad(tokens, (0, 1))[there])


def few_tokens(texts: Sequence[Sequence[int]], vocabulary: int, rng: random.Random) -> tuple[Tensor, Tensor]:
    """The tokens [N] of the texts, and behind them some others drawn from the vocabulary, which stand for the rest.

    To choose among all of the vocabulary costs more than all else of a step. What the drawn ones' logits are to be
    shifted by [N + 1], CTC's blank or the end of a text first, makes each of them count for as many as it stands for
    (importance sampling, Bengio and Senecal 2003).
    """
    said = sorted({token for text in texts for token in text})
    others = [token for token in rng.sample(range(vocabulary), OTHER_TOKENS) if token not in set(said)]
    shift = torch.zeros(1 + len(said) + len(others))
    shift[1 + len(said) :] = math.log((vocabulary - len(said)) / len(others))
    return torch.tensor(said + others), shift
