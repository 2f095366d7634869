"""Properties of the composition that parity with another implementation cannot show."""

import pytest
import torch
from transformers import DynamicCache, LlamaForCausalLM

from multimodal.image_memory import FOREVER, picture_spans
from multimodal.model import MultimodalLlama

from .tiny import ids, pictures, tiny_config, tiny_model

TEXT = ids("hello world")
ASKED = ids("ab?icdefgh")


@pytest.fixture(scope="module")
def model() -> MultimodalLlama:
    return tiny_model()


def plain_core(model: MultimodalLlama) -> LlamaForCausalLM:
    """A Llama of the library's own, built from the core's weights."""
    core = LlamaForCausalLM(model.config.text_config).eval()
    core.load_state_dict(model.core.state_dict())
    return core


# Text untouched


@pytest.mark.parametrize("text", [TEXT, ids("hello world", "goodbye all")], ids=["single", "batch"])
@torch.no_grad()
def test_without_media_logits_and_cache_are_the_core_s(model, text):
    core = plain_core(model)
    ours, theirs = model(text), core(text)
    assert torch.equal(ours.logits, theirs.logits)
    for mine, its in zip(ours.past_key_values, theirs.past_key_values, strict=True):
        assert torch.equal(mine[0], its[0]) and torch.equal(mine[1], its[1])
    step = ids(*"x" * len(text))
    assert torch.equal(
        model(step, past_key_values=ours.past_key_values).logits,
        core(step, past_key_values=theirs.past_key_values).logits,
    )


@pytest.mark.parametrize("how", [{}, {"num_beams": 3}, {"do_sample": True}], ids=["greedy", "beams", "sampling"])
def test_without_media_generated_tokens_are_the_core_s(model, how):
    padded = ids("..hello", "goodbye")
    mask, core = (padded != 0).long(), plain_core(model)
    torch.manual_seed(1)
    ours = model.generate(padded, attention_mask=mask, max_new_tokens=12, **how)
    torch.manual_seed(1)
    theirs = core.generate(padded, attention_mask=mask, max_new_tokens=12, **how)
    assert torch.equal(ours, theirs)


@torch.no_grad()
def test_text_only_rows_beside_picture_rows_are_the_core_s(model):
    batch = ids("ab?icdefgh", "only words", "iabcdefghj")
    words = batch.masked_fill(batch == model.config.image_token_id, 5)
    assert torch.equal(model(batch, **pictures(1, 4)).logits[1], plain_core(model)(words).logits[1])


@torch.no_grad()
def test_closed_gates_leave_the_core_s_logits():
    model = tiny_model(gate=0.0)
    with_picture = ids("ab?icdefgh")
    as_text = with_picture.masked_fill(with_picture == model.config.image_token_id, 7)
    model.extra_embedding.weight[0] = model.core.model.embed_tokens.weight[7]
    assert torch.equal(model(with_picture, **pictures(4)).logits, plain_core(model)(as_text).logits)


def test_fresh_composition_has_closed_gates():
    fresh = MultimodalLlama(tiny_config())
    assert all(not p.any() for name, p in fresh.named_parameters() if name.endswith("openness"))


def test_training_step_moves_everything_new_and_nothing_of_the_core(model):
    model = tiny_model().train()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    model(ASKED, labels=ASKED.masked_fill(ASKED >= 96, -100), **pictures(4)).loss.backward()
    optimizer.step()
    for name, parameter in model.named_parameters():
        frozen = name.startswith(("core.", "vision.trunk."))
        assert frozen == (parameter.grad is None), name
        assert torch.equal(parameter, before[name]) == frozen, name


# Right masks


@torch.no_grad()
def test_a_picture_changes_no_logit_before_it_and_every_one_from_it_on(model):
    one, other = (model(ASKED, **pictures(2, seed=seed)).logits[0] for seed in (1, 2))
    where = (ASKED[0] == model.config.image_token_id).nonzero().item()
    assert torch.equal(one[:where], other[:where])
    assert (one[where:] - other[where:]).abs().amax(-1).min() > 1e-4


@torch.no_grad()
def test_a_second_picture_leaves_earlier_logits_alone(model):
    text, both = ids("iabcdiefgh"), pictures(2, 4)
    first = {name: value[: 2 if name == "pixel_values" else 1] for name, value in both.items()}
    torch.testing.assert_close(model(text, **both).logits[:, :5], model(text[:, :5], **first).logits, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_token_sees_the_last_picture_only_and_neighbours_together(model):
    text = ids("iabicd")
    for seed in (1, 2):  # an earlier picture that is no neighbour reaches later text through the text alone
        changed = pictures(1, 1)
        changed["pixel_values"][0] = pictures(1, seed=seed)["pixel_values"][0]
        memory = model.look(text, **changed)
        assert memory.seen_from(torch.arange(6))[0].int().tolist() == (
            [[1] * 5 + [0] * 5] * 3 + [[0] * 5 + [1] * 5] * 3
        )
    memory = model.look(ids("aiibcd"), **pictures(1, 1))
    assert memory.seen_from(torch.arange(6))[0].int().tolist() == ([[0] * 10] + [[1] * 5 + [0] * 5] + [[1] * 10] * 4)


@pytest.mark.parametrize(
    "row, spans",
    [
        ("abc", []),
        ("aib", [[1, FOREVER]]),
        ("iaib", [[0, 2], [2, FOREVER]]),
        ("iiaiib", [[0, 3], [1, 3], [3, FOREVER], [4, FOREVER]]),
        ("aii", [[1, FOREVER], [2, FOREVER]]),
    ],
)
def test_spans_follow_the_published_rule(model, row, spans):
    assert picture_spans(ids(row) == model.config.image_token_id).tolist() == spans


@torch.no_grad()
def test_cached_equals_full(model):
    text = ids("abiicdeifgh", "..icdefghkl")
    mask = (text != 0).long()
    shown = pictures(1, 4, 2, 3)
    full = model(text, attention_mask=mask, **shown)
    memory, cache, logits = model.look(text, **shown), DynamicCache(config=model.config.text_config), []
    for t in range(text.shape[1]):
        step = model(text[:, t : t + 1], attention_mask=mask[:, : t + 1], past_key_values=cache, image_memory=memory)
        logits.append(step.logits)
    real = mask.bool()
    torch.testing.assert_close(torch.cat(logits, 1)[real], full.logits[real], atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_later_turn_equals_the_whole_dialogue(model):
    whole, shown = ids("aibciidefig"), pictures(1, 2, 4, 1)
    expected = model(whole, **shown).logits
    early = {"pixel_values": shown["pixel_values"][:3], "tiles_per_picture": shown["tiles_per_picture"][:2]}
    late = {"pixel_values": shown["pixel_values"][3:], "tiles_per_picture": shown["tiles_per_picture"][2:]}
    early["aspect_ids"], late["aspect_ids"] = shown["aspect_ids"][:2], shown["aspect_ids"][2:]
    turn = model(whole[:, :5], **early, use_cache=True)  # the turn's end splits two neighbouring pictures
    second = model(whole[:, 5:], past_key_values=turn.past_key_values, image_memory=turn.image_memory, **late)
    torch.testing.assert_close(torch.cat([turn.logits, second.logits], 1), expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_padding_and_batch_order_change_nothing(model):
    alone = [model(ids("ab?icdef"), **pictures(2)).logits[0], model(ids("only text")).logits[0]]
    rows = ids("..ab?icdef", ".only text", "iabiicdefg")
    shown, other = pictures(2), pictures(1, 4, 3, seed=5)
    batch = {name: torch.cat([shown[name], other[name]]) for name in shown}
    mask = (rows != 0).long()
    position_ids = (mask.cumsum(-1) - 1).clamp(min=0)
    logits = model(rows, attention_mask=mask, position_ids=position_ids, **batch).logits
    torch.testing.assert_close(logits[0, 2:], alone[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(logits[1, 1:], alone[1], atol=1e-5, rtol=0)
    turned = {name: torch.cat([other[name], shown[name]]) for name in shown}
    again = model(rows.flip(0), attention_mask=mask.flip(0), position_ids=position_ids.flip(0), **turned).logits
    torch.testing.assert_close(again.flip(0)[mask.bool()], logits[mask.bool()], atol=1e-5, rtol=0)


# Pictures and tokens must match


@pytest.mark.parametrize("text, shown", [("abc", (1,)), ("aib", (1, 1)), ("aiib", (2,))])
def test_as_many_picture_tokens_as_pictures(model, text, shown):
    with pytest.raises(ValueError, match=f"{text.count('i')} picture tokens in the text for {len(shown)} pictures"):
        model(ids(text), **pictures(*shown))


def test_tiles_of_another_size_are_refused(model):
    shown = pictures(1)
    shown["pixel_values"] = shown["pixel_values"][..., :16]
    with pytest.raises(ValueError, match=r"this encoder takes \[K, 3, 32, 32\]"):
        model(ids("aib"), **shown)


def test_a_model_without_eyes_refuses_pictures():
    blind = tiny_model(vision_config=None, image_layers=[])
    with pytest.raises(ValueError, match="this model has no picture encoder"):
        blind(ids("aib"), **pictures(1))
