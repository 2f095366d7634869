"""Speech told to a core as text is: the tokens that were said, next to each other, and nothing between them.

A small core copies and translates what stands as text does, and loses its thread where embeddings of pauses and
parts of words stand between its tokens. This adapter therefore names tokens by CTC, keeps one embedding for each
that it names, and moves them together (compression by CTC, arXiv 2102.01578), to the end of the clip's places: what
follows is then as far from them as in a text. What it names need not be certain: an embedding is the mean of the
core's own, weighted by how likely each token is. Our choice.

Shapes: B clips, T frames, S places of 80 ms, F width of the frames, W of the adapter, D of the core, V its vocabulary.
"""

import torch
from torch import Tensor, nn

from .memory import Memory
from .speech_adapter import SpeechAdapter

BLANK = 0  # CTC's; token t of the core has the number t + 1
AROUND = 4  # learnt places before the tokens, and behind them


class TokenAdapter(nn.Module):
    """The paper's adapter with a head for the core's tokens, which stand packed at the last places of a clip.

    x [B, T, F] at 40 ms -> [B, ceil(T / 2), D]: `filler` as often as needed, `lead`, the tokens and `tail`. These
    vectors are learnt, so that the frozen core reads what stands between them as if it stood alone.
    """

    def __init__(self, in_dim: int, width: int, num_heads: int, ffn_dim: int, out_dim: int, num_tokens: int):
        super().__init__()
        self.adapter = SpeechAdapter(in_dim, width, num_heads, ffn_dim, width)
        self.stride = self.adapter.stride
        self.tokens = nn.Linear(width, num_tokens + 1)
        self.lead = nn.Parameter(torch.zeros(AROUND, out_dim))
        self.tail = nn.Parameter(torch.zeros(AROUND, out_dim))
        self.filler = nn.Parameter(torch.zeros(out_dim))
        for parameter in (self.lead, self.tail, self.filler):
            nn.init.normal_(parameter, std=0.02)

    def name_tokens(self, frames: Memory) -> Memory:
        """Logits [B, S, V + 1] of what each place says, and the places that are there."""
        x, keep = self.adapter(frames)
        return Memory(self.tokens(x), keep)

    def forward(self, frames: Memory, table: Tensor) -> Memory:
        """table [V, D]: the core's embeddings."""
        return self.tell(self.name_tokens(frames), table)

    def tell(self, named: Memory, table: Tensor) -> Memory:
        """Logits [B, S, V + 1] of what each place says -> embeddings [B, S, D]."""
        logits, keep = named
        told = [self._told(clip[there], table) for clip, there in zip(logits, keep, strict=True)]
        x = nn.utils.rnn.pad_sequence(told, batch_first=True)
        return Memory(nn.functional.pad(x, (0, 0, 0, keep.shape[1] - x.shape[1])), keep)

    def _told(self, logits: Tensor, table: Tensor) -> Tensor:
        """The places [S, V + 1] of a clip -> embeddings [S, D]."""
        tokens = means_of_runs(logits.softmax(-1), logits.argmax(-1))[:, 1:]
        embeddings = (tokens / tokens.sum(-1, keepdim=True)) @ table.to(tokens)
        return self.placed(embeddings, len(logits))

    def placed(self, embeddings: Tensor, places: int) -> Tensor:
        """Embeddings [K, D] of tokens and what stands around them at so many places: [places, D].

        Where there is no room for all, the tail is cut first, then the lead.
        """
        room = max(0, places - len(embeddings))
        lead, tail = self.lead[AROUND - min(room, AROUND) :], self.tail[: max(0, room - AROUND)]
        fillers = self.filler.expand(max(0, room - 2 * AROUND), -1)
        return torch.cat([fillers, lead, embeddings, tail])[:places]


def means_of_runs(x: Tensor, names: Tensor) -> Tensor:
    """Means [K, ...] of x [S, ...] over the runs of places with one name [S], without those that are named BLANK."""
    begins = names.diff(prepend=names.new_full((1,), -1)) != 0
    run = begins.cumsum(0) - 1
    sums = x.new_zeros(int(begins.sum()), *x.shape[1:]).index_add(0, run, x)
    means = sums / run.bincount(minlength=len(sums)).view(-1, *[1] * (x.ndim - 1)).to(x)
    return means[names[begins] != BLANK]
