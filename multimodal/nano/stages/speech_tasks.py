"""What the core is asked about an utterance, and the rows of text in which it answers."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerFast

from multimodal.languages import LANGUAGES, find_language

from ...model import MultimodalLlama
from ...speech_embeddings import in_rows, put_in
from ..speech.utterances import Utterance, american
from ..text.corpus import REPEAT_PROMPT, TRANSLATE_PROMPT
from ..text.phrases import say_all
from ..text.small_talk import facts
from ..text.tokenizer import ConversationEncoder


@dataclass(frozen=True)
class Task:
    """What is asked of an utterance: the system prompt, if any, the right answer, and the kind for the table."""

    prompt: str | None
    answer: str
    kind: str


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


def sample_task(utterance: Utterance, rng: random.Random) -> Task:
    """A transcription, for some phrases a translation, and for a question that has one the answer."""
    if utterance.text in spoken_answers() and rng.random() < 0.5:
        return Task(None, spoken_answers()[utterance.text], "talk")
    if utterance.kind == "phrase" and rng.random() < 0.25:
        return translation(utterance, rng)
    return transcription(utterance)


@cache
def spoken_answers() -> dict[str, str]:
    """Answers of the closed questions, by what is said."""
    return {american(question): fact.answer for fact in facts() for question in fact.questions}


@dataclass(frozen=True)
class AnswerRows:
    """Conversations about clips, right-padded: ids [B, T] with a place for each embedding of the clip.

    Before the answers' tokens, targets [A], stand the positions `at` [A] of the flattened rows; `row` [A] is whose.
    """

    ids: Tensor
    at: Tensor
    targets: Tensor
    row: Tensor


def answer_rows(
    tokenizer: PreTrainedTokenizerFast,
    encoder: ConversationEncoder,
    place: int,
    tasks: Sequence[Task],
    places: Sequence[int],
) -> AnswerRows:
    """One conversation for each task, about a clip of so many places; `place`: the token that stands at each.

    encoder: the tokenizer's, which is slow to make and remembers texts.
    """
    end_of_turn = tokenizer.convert_tokens_to_ids("<|eot_id|>")
    begin, end = place - 2, place - 1
    rows, at, targets, row = [], [], [], []
    for number, (task, count) in enumerate(zip(tasks, places, strict=True)):
        system = [("system", task.prompt)] if task.prompt else []
        turns = encoder.conversation([*system, ("user", ""), ("assistant", task.answer)])
        said = [index for index, token in enumerate(turns.ids) if token == end_of_turn][len(system)]
        [(start, stop)] = turns.answers
        rows.append(torch.tensor([*turns.ids[:said], begin, *[place] * count, end, *turns.ids[said:]]))
        at.append(torch.arange(start - 1, stop - 1) + count + 2)
        targets.append(torch.tensor(turns.ids[start:stop]))
        row += [number] * (stop - start)
    ids = pad_sequence(rows, batch_first=True, padding_value=tokenizer.pad_token_id)
    at = [number * ids.shape[1] + of_row for number, of_row in enumerate(at)]
    return AnswerRows(ids, torch.cat(at), torch.cat(targets), torch.tensor(row))


def answer(composed: MultimodalLlama, ids: Tensor, at: Tensor, clips: Sequence[Tensor]) -> Tensor:
    """Logits [A, V] of the core at the positions `at`, where clips [S, D] stand at the places of the ids [B, T]."""
    is_place = ids == composed.config.speech_place_id
    h = put_in(composed.embed(ids), is_place, in_rows(clips, is_place))
    states = composed.core.model(inputs_embeds=h, use_cache=False).last_hidden_state
    return composed.core.lm_head(states.flatten(0, 1)[at])


def right_answers(logits: Tensor, targets: Tensor, row: Tensor) -> list[bool]:
    """Of each row of `AnswerRows`, whether every token of its answer is the most likely: logits [A, V]."""
    right = logits.argmax(-1) == targets
    return [bool(right[row == number].all()) for number in range(int(row.max()) + 1)]
