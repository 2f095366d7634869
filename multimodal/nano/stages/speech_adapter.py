"""Stage `speech-adapter`: encoder and adapter learn to name the core's tokens in speech.

As in the paper (8.3.2) the encoder goes on learning and the core does not. The adapter names tokens by CTC, and
what it names stands in the core's text as a text would (`adapters.token_adapter`): what the core then does with
it, repeat, translate or answer, it has learnt in words alone. CTC of letters on the encoder's frames stays as a
second loss, our choice, so that letters keep their times.
"""

import random
from collections import defaultdict
from pathlib import Path

import jiwer
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import LlamaConfig, PreTrainedTokenizerFast

from adapters.memory import Memory

from ...training.arithmetic import fast_arithmetic
from ...training.loop import Schedule
from ..compose import core_weights
from ..speech.spoken_set import SpokenSet
from ..speech.utterances import scored
from ..text.tokenizer import ConversationEncoder
from .ears import HELD_OUT_UTTERANCES, UTTERANCES_A_STEP, Heard, Speller, ctc_loss, hear, heard, hide_bands, utterances
from .speech_places import SpeechPlacesStage, ears_around, right_answers
from .speech_tasks import answer, answer_rows, sample_task

LETTERS_WEIGHT = 0.3
ENCODER_LR_SHARE = 0.25  # of the adapter's learning rate: more makes it forget how to spell


class SpeechAdapterStage:
    """What is trained on speech through the core's tokens; see `multimodal.training.loop.Stage`."""

    name = "speech-adapter"

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, core_config: LlamaConfig, run: Path, steps: int = 6000, seed: int = 0
    ):
        torch.manual_seed(seed)
        self.seed, self._tokenizer, self._encoder = seed, tokenizer, ConversationEncoder(tokenizer)
        self.schedule = Schedule(
            steps=steps, peak_lr=1e-3, muon_lr=1e-3, warmup_steps=100, slow="speech.", slow_share=ENCODER_LR_SHARE
        )
        self.model = composed = ears_around(core_config, core_weights(run))
        speller = Speller()
        speller.load_state_dict(load_file(run / "speech-encoder" / "final.safetensors"))
        composed.speech.conformer, composed.speech_letters = speller.conformer, speller.head
        composed.speech.frozen = False
        composed.load_state_dict(load_file(run / SpeechPlacesStage.name / "final.safetensors"), strict=False)
        self._set, self._held_out = SpokenSet(seed + 2), SpokenSet(seed + 2, held_out=True)

    def batch(self, step: int) -> dict[str, Tensor]:
        batch = self._collate(hear(self._set, step))
        batch["features"] = batch["features"].clone()
        hide_bands(batch["features"], random.Random(f"speech adapter {self.seed} {step}"))
        return batch

    def _collate(self, told: Heard) -> dict[str, Tensor]:
        tokens = [torch.tensor(self._encoder.text(one.text)) + 1 for one in told.utterances]  # 0 is CTC's blank
        return {
            "features": told.features,
            "frames": told.frames,
            "letters": told.letters,
            "num_letters": told.num_letters,
            "tokens": pad_sequence(tokens, batch_first=True),
            "num_tokens": torch.tensor([len(one) for one in tokens]),
        }

    def loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        with fast_arithmetic(batch["features"].device):
            named, spelled = self._hear(batch)
        tokens = ctc_loss(named.x.float(), named.keep, batch["tokens"], batch["num_tokens"])
        letters = ctc_loss(spelled.x.float(), spelled.keep, batch["letters"], batch["num_letters"])
        return tokens + LETTERS_WEIGHT * letters, {"tokens": tokens.item(), "letters": letters.item()}

    def _hear(self, batch: dict[str, Tensor]) -> tuple[Memory, Memory]:
        """Logits of tokens at the adapter's places, and of letters at the encoder's frames."""
        frames = self.model.speech.conformer(batch["features"], batch["frames"])
        return self.model.speech_adapter.name_tokens(frames), Memory(self.model.speech_letters(frames.x), frames.keep)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Error rates of letters and words of the tokens named; exact answers by kind, with the right tokens before."""
        exact, right_texts, texts = defaultdict(list), [], []
        rng, place = random.Random(f"speech adapter {self.seed} held out"), self.model.config.speech_place_id
        table = self.model.core.get_input_embeddings().weight
        for step in range(HELD_OUT_UTTERANCES // UTTERANCES_A_STEP):
            told = heard(utterances(self._held_out, step))
            named, _ = self._hear(self._collate(told))
            x, keep = self.model.speech_adapter.tell(named, table)
            tasks = [sample_task(one, rng) for one in told.utterances]
            rows = answer_rows(self._tokenizer, self._encoder, place, tasks, keep.sum(1).tolist())
            clips = [clip[there] for clip, there in zip(x, keep, strict=True)]
            right = right_answers(answer(self.model, rows.ids, rows.at, clips), rows.targets, rows.row)
            for one, task, is_right, logits, there in zip(told.utterances, tasks, right, *named, strict=True):
                exact[task.kind].append(is_right)
                tokens = logits[there].argmax(-1).unique_consecutive()
                right_texts.append(scored(one.text, one.language))
                texts.append(scored(self._encoder.decode((tokens[tokens > 0] - 1).tolist()), one.language))
        shares = {kind: sum(hits) / len(hits) for kind, hits in sorted(exact.items())}
        return shares | {"letter errors": jiwer.cer(right_texts, texts), "word errors": jiwer.wer(right_texts, texts)}
