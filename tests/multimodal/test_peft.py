"""LoRA by PEFT on the image blocks: trained beside a frozen core, saved by themselves, loaded back."""

import pytest
import torch

from .tiny import ids, pictures, tiny_model

peft = pytest.importorskip("peft")

ASKED = ids("ab?icdefgh")
ON_IMAGE_BLOCKS = r"image\.\d+\.(q|out|memory\.(k|v)|ffn\.(gate|up|down))"


def test_lora_on_the_image_blocks_trains_saves_and_loads(tmp_path):
    plain = tiny_model()
    model = peft.get_peft_model(tiny_model(), peft.LoraConfig(r=2, target_modules=ON_IMAGE_BLOCKS))
    adapted = {name.partition(".lora_")[0] for name, weight in model.named_parameters() if weight.requires_grad}
    assert len(adapted) == 2 * 7 and all(".image." in name for name in adapted)
    shown = pictures(2)
    expected = plain(ASKED, **shown).logits
    torch.testing.assert_close(model(input_ids=ASKED, **shown).logits, expected)  # a fresh LoRA adds nothing

    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=0.1)
    for _ in range(2):  # the first step moves B alone, which starts at zero
        optimizer.zero_grad()
        model(input_ids=ASKED, labels=ASKED.masked_fill(ASKED >= 96, -100), **shown).loss.backward()
        optimizer.step()
    moved = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    assert moved == {name for name in before if ".lora_" in name}

    model.save_pretrained(tmp_path)
    loaded = peft.PeftModel.from_pretrained(tiny_model(), tmp_path)
    trained = model.eval()(input_ids=ASKED, **shown).logits
    assert torch.equal(loaded(input_ids=ASKED, **shown).logits, trained)
    assert (trained - expected).abs().max() > 1e-2
    text = ids("only words")
    assert torch.equal(loaded(input_ids=text).logits, plain(text).logits)
    merged = loaded.merge_and_unload()
    torch.testing.assert_close(merged(ASKED, **shown).logits, trained)
    tokens = merged.generate(ASKED, attention_mask=torch.ones_like(ASKED), max_new_tokens=4, **shown)
    assert tokens.shape[1] > ASKED.shape[1]
