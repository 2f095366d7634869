"""Many questions about few pictures or clips, asked at once: each of these is encoded once for all of its questions."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..assistant import Assistant
from ..image_memory import FOREVER, ImageMemory
from .scenes import Question


@torch.no_grad()
def ask_together(
    assistant: Assistant,
    asked: Sequence[Sequence[Question]],
    medium: str,
    prepared: Mapping[str, Tensor],
    max_new_tokens: int,
) -> list[str]:
    """The greedy answers to all questions, those about each picture or clip (`medium`: image or video) in turn.

    prepared: what `processor.pictures` or `processor.clips` makes of them. The answers are those of
    `assistant.ask`, asked one by one.
    """
    model, processor = assistant.model, assistant.processor
    encode, token = {
        "image": (model.look, processor.image_token_id),
        "video": (model.watch, processor.video_token_id),
    }[medium]
    prompts, owner = _rows_of(assistant, asked, medium)
    ids = prompts["input_ids"]
    shown = {name: value.to(model.device) for name, value in prepared.items()}
    one_each = torch.full((len(asked), 1), token, device=model.device)
    memory = _for_rows(encode(one_each, **shown), owner, (ids == token).int().argmax(1))
    written = model.generate(
        ids,
        attention_mask=prompts["attention_mask"],
        do_sample=False,
        max_new_tokens=max_new_tokens,
        **{f"{medium}_memory": memory},
    )
    return processor.tokenizer.batch_decode(written[:, ids.shape[1] :], skip_special_tokens=True)


def _rows_of(
    assistant: Assistant, asked: Sequence[Sequence[Question]], medium: str
) -> tuple[dict[str, Tensor], Tensor]:
    """Prompts of all questions, each about one picture or clip (`medium`), and which one: owner [B]."""
    processor, device = assistant.processor, assistant.model.device
    prompts = processor.tokenizer.apply_chat_template(
        [
            [{"role": "user", "content": [{"type": medium}, {"type": "text", "text": question.text}]}]
            for questions in asked
            for question in questions
        ],
        chat_template=processor.chat_template,
        add_generation_prompt=True,
        tokenize=True,
        sanitize_control_tokens=True,
        padding=True,
        tokenizer_kwargs={"padding_side": "left"},
        return_dict=True,
        return_tensors="pt",
    ).to(device)
    return prompts, torch.tensor([at for at, questions in enumerate(asked) for _ in questions], device=device)


def _for_rows(memory: ImageMemory, owner: Tensor, start: Tensor) -> ImageMemory:
    """Rows that each see one picture, picture `owner` [B] of the memory, from position `start` [B] on."""
    first = memory.first[owner]
    keys, values = (tuple(x[owner] for x in side) for side in (memory.keys, memory.values))
    return ImageMemory(keys, values, torch.where(first == FOREVER, first, start[:, None]), memory.end[owner])
