"""Speech told to a core as text is: the tokens that were said, next to each other, and nothing between them.

A small core copies and translates what stands as text does, and loses its thread where embeddings of pauses and
parts of words stand between its tokens. This adapter therefore reads what an encoder spells: of the letters that
it names by CTC it keeps those that are there, doubts included, and forgets how long each took (compression by CTC,
arXiv 2102.01578). A small transformer reads that spelling as a reader who knows the words reads misprints, and
names by CTC the tokens of the core, by the core's own embeddings of them; of what they may be as a whole, the
likeliest text is told (`adapters.token_readings`). It stands packed at the end of the clip's places: what follows is
then as far from it as in a text. Our choice.

Shapes: B clips, T frames of 40 ms, L letters with CTC's blank, K letters that are there, W width of the adapter,
N = 2 (K + 2 EDGE) places to name a token at, M tokens of a clip, S places of 80 ms, D width of the core, V its
vocabulary.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from .memory import Memory
from .speech_adapter import RotaryLayer
from .token_readings import BLANK, Expectation, likely_readings

SURE = 0.9  # frames that hold no letter with this probability are left out
EDGE = 2  # what is read before the first letter, and behind the last
# Tokens that a letter has room to name. With one, "1944" had no room for the blank that CTC wants between its two
# fours, nor a letter of three bytes for its tokens, and digits were lost wherever letters stand close.
TOKENS_A_LETTER = 2
AROUND = 4  # learnt places before the tokens, and behind them


class TokenAdapter(nn.Module):
    """Letters that a CTC head names -> what the core reads: `filler` as often as needed, `lead`, the tokens, `tail`.

    These vectors are learnt, so that the frozen core reads what stands between them as if it stood alone.
    """

    def __init__(
        self, in_dim: int, width: int, num_layers: int, num_heads: int, ffn_dim: int, memory_width: int, out_dim: int
    ):
        """in_dim: the letters, with the blank; memory_width: of the language model (`Expectation`)."""
        super().__init__()
        self.stride = 2
        self.letters = nn.Linear(in_dim, width)
        self.before, self.behind = (nn.Parameter(0.02 * torch.randn(EDGE, width)) for _ in range(2))
        self.layers = nn.ModuleList(
            RotaryLayer(width, num_heads, ffn_dim, rope_theta=10_000.0) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, TOKENS_A_LETTER * out_dim)
        self.expectation = Expectation(out_dim, memory_width)
        self.blank, self.filler = (nn.Parameter(0.02 * torch.randn(out_dim)) for _ in range(2))
        self.lead, self.tail = (nn.Parameter(0.02 * torch.randn(AROUND, out_dim)) for _ in range(2))

    def forward(self, letters: Memory, table: Tensor) -> Memory:
        """Logits of letters at an encoder's frames [B, T, L], the core's embeddings [V, D] -> embeddings [B, S, D]."""
        spellings = [letters_there(clip[there]) for clip, there in zip(*letters, strict=True)]
        return self.tell(self.read(self.name_tokens(spellings, table), table), letters.keep, table)

    def tell(self, tokens: list[Tensor], frames: Tensor, table: Tensor) -> Memory:
        """The tokens [M] of clips whose frames [B, T] are there -> embeddings [B, S, D]."""
        keep = frames[:, :: self.stride]
        told = [self.placed(table[one], places) for one, places in zip(tokens, keep.sum(1).tolist(), strict=True)]
        x = pad_sequence(told, batch_first=True)
        return Memory(nn.functional.pad(x, (0, 0, 0, keep.shape[1] - x.shape[1])), keep)

    def read(self, named: Memory, table: Tensor) -> list[Tensor]:
        """What `name_tokens` gave -> the tokens [M] of each clip, the likeliest text of the likely readings.

        What else it might be is left out: the core copies the mixture of two embeddings worse than a wrong one.
        """
        readings = [likely_readings(logits[there]) for logits, there in zip(*named, strict=True)]
        best = self.expectation.best(readings, table)
        return [torch.tensor(text, dtype=torch.long, device=table.device) for text in best]

    def name_tokens(self, spellings: list[Tensor], table: Tensor) -> Memory:
        """Letters that are there [K, L] of each clip -> logits [B, N, V + 1] of what each place names."""
        lengths = torch.tensor([len(one) + 2 * EDGE for one in spellings], device=table.device)
        x = pad_sequence(
            [torch.cat([self.before, self.letters(one.to(self.before)), self.behind]) for one in spellings],
            batch_first=True,
        )
        keep = torch.arange(x.shape[1], device=x.device) < lengths.unsqueeze(1)
        for layer in self.layers:
            x = layer(x, keep)
        x = self.out(self.norm(x)).unflatten(-1, (TOKENS_A_LETTER, -1)).flatten(1, 2)
        keep = keep.repeat_interleave(TOKENS_A_LETTER, 1)
        return Memory(x @ torch.cat([self.blank.unsqueeze(0), table.to(x)]).T, keep)

    def placed(self, embeddings: Tensor, places: int) -> Tensor:
        """Embeddings [M, D] of tokens and what stands around them at so many places: [places, D].

        Where there is no room for all, the tail is cut first, then the lead, then the last tokens.
        """
        room = max(0, places - len(embeddings))
        lead, tail = self.lead[AROUND - min(room, AROUND) :], self.tail[: max(0, room - AROUND)]
        fillers = self.filler.expand(max(0, room - 2 * AROUND), -1)
        return torch.cat([fillers, lead, embeddings, tail])[:places]

    def tokens_told(self, x: Tensor, table: Tensor) -> Tensor:
        """Embeddings [B, S, D] of `forward`, the core's embeddings [V, D] -> how often each token was told: [B, V]."""
        counts = x.new_zeros(len(x), len(table), dtype=torch.long)
        row, place = ((x != self.filler).any(-1) & (x != 0).any(-1)).nonzero(as_tuple=True)
        told = x[row, place].to(table)
        nearest = (told @ table.T - table.square().sum(-1) / 2).argmax(-1)
        is_token = (table[nearest] == told).all(-1)  # and not of what stands around them
        return counts.index_put((row, nearest), is_token.long(), accumulate=True)


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
