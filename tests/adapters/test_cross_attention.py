"""The cross-attention block against its formulas, against the library's, and by its properties."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from transformers.models.mllama.configuration_mllama import MllamaTextConfig
from transformers.models.mllama.modeling_mllama import MllamaCrossAttentionDecoderLayer

from adapters.cross_attention import GatedCrossAttention

DIM, MEMORY_DIM, HEADS, KV_HEADS, HEAD_DIM, FFN_DIM = 24, 24, 6, 2, 4, 40
B, T, N = 3, 5, 7


def random_block(gates: float = 0.7) -> GatedCrossAttention:
    """A block all of whose weights are random, the norms' too."""
    torch.manual_seed(0)
    block = GatedCrossAttention(DIM, MEMORY_DIM, HEADS, KV_HEADS, HEAD_DIM, FFN_DIM)
    with torch.no_grad():
        for name, parameter in block.named_parameters():
            if name.endswith("openness"):
                parameter.fill_(gates if name.startswith("attention") else -gates / 2)
            else:
                parameter.normal_(1 if parameter.ndim == 1 else 0, 0.4)
    return block


def random_inputs(see_all: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """h [B, T, D], memory [B, N, F], see [B, T, N]; unless see_all, the row [1, 2] and the batch row 2 see nothing."""
    torch.manual_seed(1)
    see = torch.rand(B, T, N) < 0.6
    see[..., 0] = True
    if not see_all:
        see[1, 2] = see[2] = False
    return torch.randn(B, T, DIM), torch.randn(B, N, MEMORY_DIM), see


def run(block: GatedCrossAttention, h: Tensor, memory: Tensor, see: Tensor) -> Tensor:
    return block(h, *block.memory(memory), see)


def written_out(weights: dict[str, Tensor], h: Tensor, memory: Tensor, see: Tensor) -> Tensor:
    """The published block, token by token and head by head. Source: paper 7.2, and the released formulas."""

    def rms_norm(x: Tensor, scale: Tensor) -> Tensor:
        return x / (x.square().mean() + 1e-5).sqrt() * scale

    new = h.clone()
    for b in range(len(h)):
        for t in range(h.shape[1]):
            places = see[b, t].nonzero().flatten().tolist()
            if not places:
                continue
            x = rms_norm(h[b, t], weights["attention_norm.weight"])
            heads = []
            for head in range(HEADS):
                rows = slice(head * HEAD_DIM, (head + 1) * HEAD_DIM)
                of_group = head // (HEADS // KV_HEADS)  # neighbouring query heads share a key head
                kv_rows = slice(of_group * HEAD_DIM, (of_group + 1) * HEAD_DIM)
                q = rms_norm(weights["q.weight"][rows] @ x, weights["q_norm.weight"])
                keys = [weights["memory.k.weight"][kv_rows] @ memory[b, n] for n in places]
                scores = [q @ rms_norm(k, weights["memory.k_norm.weight"]) / math.sqrt(HEAD_DIM) for k in keys]
                shares = torch.stack(scores).exp() / torch.stack(scores).exp().sum()
                values = [weights["memory.v.weight"][kv_rows] @ memory[b, n] for n in places]
                heads.append(sum(share * value for share, value in zip(shares, values, strict=True)))
            attended = weights["out.weight"] @ torch.cat(heads)
            y = h[b, t] + weights["attention_gate.openness"].tanh() * attended
            x = rms_norm(y, weights["ffn_norm.weight"])
            gate, up = weights["ffn.gate.weight"] @ x, weights["ffn.up.weight"] @ x
            fed = weights["ffn.down.weight"] @ (gate * gate.sigmoid() * up)
            new[b, t] = y + weights["ffn_gate.openness"].tanh() * fed
    return new


@torch.no_grad()
def test_the_block_is_the_published_formula():
    block, inputs = random_block(), random_inputs()
    torch.testing.assert_close(run(block, *inputs), written_out(block.state_dict(), *inputs))


def swap_key_heads(block: GatedCrossAttention) -> None:
    weight = block.memory.k.weight.data.unflatten(0, (KV_HEADS, HEAD_DIM))
    weight.copy_(weight.flip(0))


def forget_query_norm(block: GatedCrossAttention) -> None:
    block.q_norm = nn.Identity()


def forget_key_norm(block: GatedCrossAttention) -> None:
    block.memory.k_norm = nn.Identity()


def swap_group_order(block: GatedCrossAttention) -> None:
    """Query head h reads key head h % K, not h // (H / K)."""
    groups = (KV_HEADS, HEADS // KV_HEADS, HEAD_DIM)
    block.q.weight.data = block.q.weight.data.unflatten(0, groups[1::-1] + groups[2:]).transpose(0, 1).flatten(0, 2)
    columns = block.out.weight.data.unflatten(1, groups[1::-1] + groups[2:])
    block.out.weight.data = columns.transpose(1, 2).flatten(1)


def forget_tanh(block: GatedCrossAttention) -> None:
    gate = block.attention_gate
    gate.forward = lambda x: gate.openness * x


def exchange_norms(block: GatedCrossAttention) -> None:
    block.attention_norm, block.ffn_norm = block.ffn_norm, block.attention_norm


def exchange_gate_and_up(block: GatedCrossAttention) -> None:
    block.ffn.gate, block.ffn.up = block.ffn.up, block.ffn.gate


def let_blind_rows_look(block: GatedCrossAttention) -> None:
    forward = block.forward
    block.forward = lambda h, keys, values, see: forward(h, keys, values, see | ~see.any(-1, keepdim=True))


BREAKS = [
    swap_key_heads,
    forget_query_norm,
    forget_key_norm,
    swap_group_order,
    forget_tanh,
    exchange_norms,
    exchange_gate_and_up,
    let_blind_rows_look,
]


@torch.no_grad()
@pytest.mark.parametrize("break_it", BREAKS, ids=lambda break_it: break_it.__name__)
def test_a_wrong_block_is_told_from_the_formula(break_it):
    block, inputs = random_block(), random_inputs()
    broken = copy.deepcopy(block)
    break_it(broken)
    with pytest.raises(AssertionError, match="not close"):
        torch.testing.assert_close(run(broken, *inputs), written_out(block.state_dict(), *inputs))


# Against the library's block of the released model

THEIRS = {
    "input_layernorm.weight": "attention_norm.weight",
    "cross_attn.q_proj.weight": "q.weight",
    "cross_attn.q_norm.weight": "q_norm.weight",
    "cross_attn.k_proj.weight": "memory.k.weight",
    "cross_attn.k_norm.weight": "memory.k_norm.weight",
    "cross_attn.v_proj.weight": "memory.v.weight",
    "cross_attn.o_proj.weight": "out.weight",
    "cross_attn_attn_gate": "attention_gate.openness",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "mlp.gate_proj.weight": "ffn.gate.weight",
    "mlp.up_proj.weight": "ffn.up.weight",
    "mlp.down_proj.weight": "ffn.down.weight",
    "cross_attn_mlp_gate": "ffn_gate.openness",
}


def run_theirs(block: GatedCrossAttention, h: Tensor, memory: Tensor, see: Tensor, attention: str) -> Tensor:
    """The library's block with our weights; it is given an explicit mask, and the rows that see nothing."""
    config = MllamaTextConfig(
        hidden_size=DIM,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        intermediate_size=FFN_DIM,
        num_hidden_layers=1,
        cross_attention_layers=[0],
    )
    config._attn_implementation = attention
    theirs = MllamaCrossAttentionDecoderLayer(config, layer_idx=0).eval()
    ours = block.state_dict()
    assert set(THEIRS.values()) == ours.keys()
    theirs.load_state_dict({name: ours[our_name] for name, our_name in THEIRS.items()}, strict=True)
    sees = see.any(-1)[:, None, :, None]  # [B, 1, T, 1]
    mask = torch.zeros(B, 1, T, N).masked_fill(~see[:, None], torch.finfo(h.dtype).min) * sees
    return theirs(h, memory, mask, attention_mask=None, full_text_row_masked_out_mask=sees.to(h.dtype))


@torch.no_grad()
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_block_is_the_library_s_where_every_row_sees_something(attention):
    block, inputs = random_block(), random_inputs(see_all=True)
    torch.testing.assert_close(run(block, *inputs), run_theirs(block, *inputs, attention))


@torch.no_grad()
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_library_lets_rows_that_see_nothing_look_and_we_do_not(attention):
    """The library masks their FFN but not their attention; the released formulas mask both."""
    block, (h, memory, see) = random_block(), random_inputs()
    ours, theirs = run(block, h, memory, see), run_theirs(block, h, memory, see, attention)
    sees = see.any(-1)
    assert torch.equal(ours[~sees], h[~sees])
    assert (theirs[~sees] - h[~sees]).abs().amax(-1).min() > 1e-2
    torch.testing.assert_close(ours[sees], theirs[sees])


# Properties


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@torch.no_grad()
def test_half_precision_is_near_and_rows_that_see_nothing_keep_their_bits(dtype):
    block, (h, memory, see) = random_block(), random_inputs()
    exact = run(block, h, memory, see)
    h = h.to(dtype)
    rounded = run(block.to(dtype), h, memory.to(dtype), see)
    assert rounded.dtype == dtype and torch.equal(rounded[~see.any(-1)], h[~see.any(-1)])
    torch.testing.assert_close(rounded.float(), exact, atol=0.3 if dtype != torch.float32 else 1e-5, rtol=0.05)


@pytest.mark.parametrize("value", [1e4, -1e4, 1e30], ids=str)
@torch.no_grad()
def test_what_stands_in_a_place_that_nobody_sees_changes_nothing(value):
    """As long as it is finite: attention multiplies it by zero."""
    block, (h, memory, see) = random_block(), random_inputs()
    see[..., 3:5] = False
    keys, values = block.memory(memory)
    expected = block(h, keys, values, see)
    keys[:, :, 3:5], values[:, :, 3:5] = value, value
    assert torch.equal(block(h, keys, values, see), expected)


@torch.no_grad()
def test_batch_padding_and_order_of_places_change_nothing():
    block, (h, memory, see) = random_block(), random_inputs()
    expected = run(block, h, memory, see)
    for b in range(B):
        torch.testing.assert_close(run(block, *(x[b : b + 1] for x in (h, memory, see))), expected[b : b + 1])
    padded = nn.functional.pad(memory, (0, 0, 0, 4))
    torch.testing.assert_close(run(block, h, padded, nn.functional.pad(see, (0, 4))), expected)
    order = torch.randperm(N)
    torch.testing.assert_close(run(block, h, memory[:, order], see[..., order]), expected)


@torch.no_grad()
def test_a_token_depends_on_its_own_row_of_see_alone():
    block, (h, memory, see) = random_block(), random_inputs()
    expected, changed = run(block, h, memory, see), see.clone()
    changed[0, 3] = ~changed[0, 3]
    other = run(block, h, memory, changed)
    untouched = torch.ones(B, T, dtype=torch.bool)
    untouched[0, 3] = False
    assert torch.equal(other[untouched], expected[untouched]) and not torch.equal(other[0, 3], expected[0, 3])
    for t in range(T):  # one token at a time, as when decoding
        step = run(block, h[:, t : t + 1], memory, see[:, t : t + 1])
        torch.testing.assert_close(step, expected[:, t : t + 1])


@torch.no_grad()
def test_pictures_projected_once_each_are_those_projected_together():
    block, (h, memory, see) = random_block(), random_inputs()
    keys, values = block.memory(memory)
    assert keys.shape == values.shape == (B, KV_HEADS, N, HEAD_DIM)  # not repeated for the query heads
    assert keys.is_contiguous() and values.is_contiguous()
    early, late = block.memory(memory[:, :3]), block.memory(memory[:, 3:])
    joined = [torch.cat(pair, 2) for pair in zip(early, late, strict=True)]
    torch.testing.assert_close(block(h, *joined, see), run(block, h, memory, see))


@torch.no_grad()
def test_closed_gates_keep_every_bit():
    block, (h, memory, see) = random_block(gates=0.0), random_inputs()
    assert torch.equal(run(block, h, memory, see), h)


@pytest.mark.parametrize("gates", [0.0, 0.7], ids=["closed", "open"])
def test_gradient_reaches_every_weight_once_the_gates_are_open(gates):
    block, inputs = random_block(gates), random_inputs()
    run(block, *inputs).square().sum().backward()
    moved = {name for name, parameter in block.named_parameters() if parameter.grad.any()}
    everything = {name for name, _ in block.named_parameters()}
    assert moved == (everything if gates else {"attention_gate.openness", "ffn_gate.openness"})


def test_rows_that_see_nothing_send_no_gradient_into_the_block():
    block, (h, memory, see) = random_block(), random_inputs()
    h.requires_grad_(True)
    run(block, h, memory, torch.zeros_like(see)).sum().backward()
    assert torch.equal(h.grad, torch.ones_like(h))
    assert not any(parameter.grad.any() for parameter in block.parameters())


def test_query_heads_must_be_a_multiple_of_key_heads():
    with pytest.raises(ValueError, match=r"num_heads \(6\) must be a multiple of num_kv_heads \(4\)"):
        GatedCrossAttention(DIM, MEMORY_DIM, 6, 4, HEAD_DIM, FFN_DIM)
