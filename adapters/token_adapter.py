"""Speech told to a core as text is: the tokens that were said, next to each other, and nothing between them.

A small core copies and translates what stands as text does, and loses its thread where embeddings of pauses and
parts of words stand between its tokens. This adapter therefore reads what an encoder spells: of the letters that
it names by CTC it keeps those that are there, doubts included, and forgets how long each took (compression by CTC,
arXiv 2102.01578). A small transformer reads that spelling as a reader who knows the words reads misprints, and
names by CTC the tokens of the core, by the core's own embeddings of them. What is named stands packed at the end of
the clip's places: what follows is then as far from it as in a text. Our choice.

Shapes: B clips, T frames of 40 ms, L letters with CTC's blank, K letters that are there, W width of the adapter,
S places of 80 ms, D width of the core, V its vocabulary.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from .memory import Memory
from .speech_adapter import RotaryLayer

BLANK = 0  # CTC's, of letters and of tokens; token t of the core has the number t + 1
SURE = 0.9  # frames that hold no letter with this probability are left out
EDGE = 2  # places to name tokens at before the first letter, and behind the last
AROUND = 4  # learnt places before the tokens, and behind them


class TokenAdapter(nn.Module):
    """Letters that a CTC head names -> what the core reads: `filler` as often as needed, `lead`, the tokens, `tail`.

    These vectors are learnt, so that the frozen core reads what stands between them as if it stood alone.
    """

    def __init__(self, in_dim: int, width: int, num_layers: int, num_heads: int, ffn_dim: int, out_dim: int):
        """in_dim: the letters, with the blank."""
        super().__init__()
        self.stride = 2
        self.letters = nn.Linear(in_dim, width)
        self.before, self.behind = (nn.Parameter(0.02 * torch.randn(EDGE, width)) for _ in range(2))
        self.layers = nn.ModuleList(
            RotaryLayer(width, num_heads, ffn_dim, rope_theta=10_000.0) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, out_dim)
        self.blank, self.filler = (nn.Parameter(0.02 * torch.randn(out_dim)) for _ in range(2))
        self.lead, self.tail = (nn.Parameter(0.02 * torch.randn(AROUND, out_dim)) for _ in range(2))

    def forward(self, letters: Memory, table: Tensor) -> Memory:
        """Logits of letters at an encoder's frames [B, T, L], the core's embeddings [V, D] -> embeddings [B, S, D]."""
        spellings = [letters_there(clip[there]) for clip, there in zip(*letters, strict=True)]
        return self.tell(self.name_tokens(spellings, table), letters.keep, table)

    def tell(self, named: Memory, frames: Tensor, table: Tensor) -> Memory:
        """What `name_tokens` gave of clips whose frames [B, T] are there -> embeddings [B, S, D]."""
        keep = frames[:, :: self.stride]
        told = [
            self.placed(table[tokens_named(logits[there])], places)
            for logits, there, places in zip(*named, keep.sum(1).tolist(), strict=True)
        ]
        x = pad_sequence(told, batch_first=True)
        return Memory(nn.functional.pad(x, (0, 0, 0, keep.shape[1] - x.shape[1])), keep)

    def name_tokens(self, spellings: list[Tensor], table: Tensor) -> Memory:
        """Letters that are there [K, L] of each clip -> logits [B, K + 2 EDGE, V + 1] of what each place names."""
        lengths = torch.tensor([len(one) + 2 * EDGE for one in spellings], device=table.device)
        x = pad_sequence(
            [torch.cat([self.before, self.letters(one.to(self.before)), self.behind]) for one in spellings],
            batch_first=True,
        )
        keep = torch.arange(x.shape[1], device=x.device) < lengths.unsqueeze(1)
        for layer in self.layers:
            x = layer(x, keep)
        x = self.out(self.norm(x))
        return Memory(x @ torch.cat([self.blank.unsqueeze(0), table.to(x)]).T, keep)

    def placed(self, embeddings: Tensor, places: int) -> Tensor:
        """Embeddings [N, D] of tokens and what stands around them at so many places: [places, D].

        Where there is no room for all, the tail is cut first, then the lead, then the last tokens.
        """
        room = max(0, places - len(embeddings))
        lead, tail = self.lead[AROUND - min(room, AROUND) :], self.tail[: max(0, room - AROUND)]
        fillers = self.filler.expand(max(0, room - 2 * AROUND), -1)
        return torch.cat([fillers, lead, embeddings, tail])[:places]

    def places_used(self, x: Tensor) -> Tensor:
        """Embeddings [B, S, D] of `forward`, zeros behind each clip's -> [B]: at how many places no `filler` stands.

        They hold the tokens, `lead` and `tail`: whoever writes down what was said needs no more tokens than that.
        """
        return ((x != self.filler).any(-1) & (x != 0).any(-1)).sum(1)


def letters_there(logits: Tensor) -> Tensor:
    """Logits [T, L] at the frames of a clip -> how likely each letter is at best, [K, L], at each letter that is there.

    A letter that is only suspected is there as well, with what else it might be; neighbouring frames that name
    the same one, and nothing between them, are one.
    """
    likely = logits.float().softmax(-1)
    names = (likely[:, 1:].argmax(-1) + 1).masked_fill(likely[:, BLANK] > SURE, BLANK)
    names, run = names.unique_consecutive(return_inverse=True)
    best = likely.new_zeros(len(names), likely.shape[1])
    best.scatter_reduce_(0, run.unsqueeze(1).expand_as(likely), likely, "amax")
    return best[names != BLANK]


def tokens_named(logits: Tensor) -> Tensor:
    """Logits [K, V + 1] of what each place names -> the tokens named [N]; by neighbouring places, it is one.

    What else a place might name is left out: the core copies the mixture of two embeddings worse than a wrong one.
    """
    names = logits.argmax(-1).unique_consecutive()
    return names[names != BLANK] - 1
