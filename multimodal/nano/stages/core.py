"""Stage 2: the text core, a small Llama 3 that learns nano's whole world in words and is then frozen.

Loss on the answers only. A batch is a few groups of conversations of like length, padded on the
right, one conversation a row. Sizes, rates and lengths are our choice.
"""

import argparse
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from multimodal.nano.stages.initialise import start_with_copying
from multimodal.nano.stages.tokenizer import train_tokenizer
from multimodal.nano.text.corpus import Conversation, family_weights, sample_conversation
from multimodal.nano.text.tokenizer import ConversationEncoder, EncodedConversation
from multimodal.training.loop import Schedule, train

TOKENS_A_STEP = 3072
GROUPS = 8  # rows of like length together: a seventh of what is computed is padding
STEPS = 4200
HELD_OUT_CONVERSATIONS = 60  # of each family


def core_config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """Nano's core: Llama 3's architecture at width 192."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=192,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=32,
        intermediate_size=512,
        max_position_embeddings=2048,
        rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        initializer_range=192**-0.5,  # the library's 0.02 is for wide models
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


@dataclass(frozen=True)
class Group:
    """Rows of like length and where their answers stand."""

    ids: Tensor  # [B, T], padded on the right
    at: Tensor  # [A], positions in the flattened rows whose next token belongs to an answer
    targets: Tensor  # [A], those next tokens
    weights: Tensor  # [A], float; an answer of n tokens weighs sqrt(n) in all
    answer: Tensor  # [A], which answer of the group the token belongs to


class CoreStage:
    """The text core and what it is trained on; see `multimodal.training.loop.Stage`."""

    name = "core"

    def __init__(self, tokenizer: PreTrainedTokenizerFast, steps: int = STEPS, seed: int = 0):
        self.seed = seed
        self.schedule = Schedule(steps=steps, peak_lr=1e-3, muon_lr=2e-3, warmup_steps=150)
        self._encoder = ConversationEncoder(tokenizer)
        self._pad = tokenizer.pad_token_id
        torch.manual_seed(seed)
        self.model: nn.Module = LlamaForCausalLM(core_config(tokenizer))
        start_with_copying(self.model, seed)

    def batch(self, step: int) -> list[dict[str, Tensor]]:
        """About TOKENS_A_STEP tokens of conversations from the mix, in groups of like length."""
        rng = random.Random(f"core {self.seed} {step}")
        conversations, tokens = [], 0
        while tokens < TOKENS_A_STEP:
            conversation = sample_conversation(rng, progress=step / self.schedule.steps)
            conversations.append(self._encoder.conversation(conversation.turns))
            tokens += len(conversations[-1].ids)
        return [vars(group) for group in self._groups(conversations, GROUPS)]

    def loss(self, batch: list[dict[str, Tensor]]) -> tuple[Tensor, dict[str, float]]:
        total, weight, right, count = 0.0, 0.0, 0, 0
        for group in batch:
            logits = self._answer_logits(group)
            nll = nn.functional.cross_entropy(logits, group["targets"], reduction="none")
            total = total + (nll * group["weights"]).sum()
            weight += group["weights"].sum().item()
            right += (logits.argmax(-1) == group["targets"]).sum().item()
            count += len(group["targets"])
        return total / weight, {"accuracy": right / count}

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Exact match of greedy answers on held-out conversations, by kind.

        Greedy decoding gives the reference exactly if and only if each of its tokens is the likeliest
        after those before it, so one pass over the reference tells.
        """
        right: dict[str, list[bool]] = defaultdict(list)
        rng = random.Random(f"core {self.seed} held out")
        for family in family_weights(1.0):
            for conversation in (
                sample_conversation(rng, family, held_out=True) for _ in range(HELD_OUT_CONVERSATIONS)
            ):
                for kind, exact in zip(conversation.kinds, self.exact_answers(conversation), strict=True):
                    right[kind].append(exact)
        return {kind: sum(values) / len(values) for kind, values in sorted(right.items())}

    @torch.no_grad()
    def exact_answers(self, conversation: Conversation) -> list[bool]:
        """For each answer, whether greedy decoding gives it exactly, with the right answers before it."""
        group = vars(next(self._groups([self._encoder.conversation(conversation.turns)], 1)))
        group = {name: tensor.to(self.model.device) for name, tensor in group.items()}
        wrong = self._answer_logits(group).argmax(-1) != group["targets"]
        return [not wrong[group["answer"] == at].any().item() for at in range(len(conversation.kinds))]

    def _answer_logits(self, group: dict[str, Tensor]) -> Tensor:
        """Logits [A, V] at the positions before answer tokens; the rest of the head is not computed."""
        hidden = self.model.model(group["ids"], use_cache=False).last_hidden_state.flatten(
            0, 1
        )  # causal, so padding is never seen
        return self.model.lm_head(hidden[group["at"]])

    def _groups(self, conversations: list[EncodedConversation], number: int) -> Iterator[Group]:
        """Sorted by length and cut where the tokens are shared out evenly."""
        ordered = sorted(conversations, key=lambda conversation: len(conversation.ids))
        total, done, groups = sum(len(c.ids) for c in ordered), 0, [[] for _ in range(number)]
        for conversation in ordered:
            groups[min(number - 1, done * number // total)].append(conversation)
            done += len(conversation.ids)
        return (self._group(rows) for rows in groups if rows)

    def _group(self, rows: list[EncodedConversation]) -> Group:
        width = max(len(row.ids) for row in rows)
        ids = torch.full((len(rows), width), self._pad)
        at, targets, weights, answer, answers = [], [], [], [], 0
        for number, row in enumerate(rows):
            ids[number, : len(row.ids)] = torch.tensor(row.ids)
            for start, stop in row.answers:
                at += range(number * width + start - 1, number * width + stop - 1)
                targets += row.ids[start:stop]
                weights += [(stop - start) ** -0.5] * (stop - start)
                answer += [answers] * (stop - start)
                answers += 1
        return Group(ids, *(torch.tensor(values) for values in (at, targets, weights, answer)))


def main() -> None:
    """Train this stage alone, with those before it where they are missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/nano"))
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    train(CoreStage(train_tokenizer(arguments.out), arguments.steps), arguments.out, arguments.device)


if __name__ == "__main__":
    main()
