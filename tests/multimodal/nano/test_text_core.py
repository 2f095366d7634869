import pytest
import torch

from multimodal.nano.stages.core import CoreStage
from multimodal.nano.stages.tokenizer import train_tokenizer
from multimodal.nano.text.corpus import Conversation


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    return CoreStage(train_tokenizer(tmp_path_factory.mktemp("run")), steps=100)


def test_a_batch_is_a_function_of_its_step(stage):
    first, again, other = stage.batch(7), stage.batch(7), stage.batch(8)
    for one, two in zip(first, again, strict=True):
        assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(first[0]["ids"][0, :40], other[0]["ids"][0, :40])


def test_targets_are_the_tokens_after(stage):
    for group in stage.batch(3):
        flat = group["ids"].flatten()
        assert torch.equal(flat[group["at"] + 1], group["targets"])
        weights = torch.zeros(group["answer"].max() + 1).index_add(0, group["answer"], group["weights"])
        assert torch.allclose(weights**2, torch.bincount(group["answer"]).float())


def test_padding_changes_no_answer(stage):
    group = max(stage.batch(5), key=lambda group: group["ids"].shape[1] * len(group["ids"]))
    together = stage._answer_logits(group)
    wider = dict(group, ids=torch.nn.functional.pad(group["ids"], (0, 9), value=stage._pad))
    width = group["ids"].shape[1]
    wider["at"] = group["at"] // width * (width + 9) + group["at"] % width
    assert torch.allclose(together, stage._answer_logits(wider), atol=1e-4)


def test_exact_answers_are_what_greedy_decoding_gives(stage):
    turns = (("user", "hello"), ("assistant", "hi there"), ("user", "bye"), ("assistant", "bye"))
    start, stop = stage._encoder.conversation(turns).answers[0]
    ids = stage._encoder.conversation(turns).ids
    out = stage.model.generate(torch.tensor([ids[:start]]), max_new_tokens=stop - start, do_sample=False)
    assert stage.exact_answers(Conversation(turns, ("a", "b")))[0] == (out[0, start:].tolist() == ids[start:stop])


def test_loss_falls_on_one_batch(stage):
    batch = stage.batch(0)
    optimizer = torch.optim.AdamW(stage.model.parameters(), 2e-4)
    losses = []
    for _ in range(6):
        loss, figures = stage.loss(batch)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.5 and 0 <= figures["accuracy"] <= 1


def test_core_starts_with_heads_that_copy(stage, tmp_path):
    fresh = CoreStage(train_tokenizer(tmp_path), seed=1).model
    fresh.set_attn_implementation("eager")
    ids = torch.randperm(4000, generator=torch.Generator().manual_seed(0))[:20]
    attention = fresh(torch.cat([ids, ids])[None], output_attentions=True).attentions
    for head in (0, 3):  # the first of each group
        assert attention[0][0, head].diagonal(-1).mean() > 0.9  # the token before
        assert attention[1][0, head].diagonal(-19)[1:].mean() > 0.4  # what followed this token the last time
    assert attention[1][0, 1].diagonal(-19)[1:].mean() < 0.1
