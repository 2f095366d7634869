"""The cut between acoustic model and vocoder: log-mel frames as SpeechT5's vocoders take them.

80 bins between 80 and 7,600 Hz, base-10 logarithm of magnitudes, a frame for each 16 ms of sound at 16 kHz.
With this definition vocoders that others have trained stand behind our acoustic model, and the other way round.
"""

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

SAMPLE_RATE_HZ = 16_000
HOP = 256  # samples a frame
WINDOW = 1024
NUM_MELS = 80
_LOWEST_HZ, _HIGHEST_HZ = 80.0, 7600.0
_FLOOR = 1e-5  # of a magnitude; below it is silence
SILENCE = math.log10(_FLOOR)


def log_mel(wave: Tensor) -> Tensor:
    """wave [B, F * HOP] in -1 to 1 -> [B, F, 80]; frame i is centred on the middle of its own HOP samples."""
    padded = F.pad(wave.unsqueeze(1), ((WINDOW - HOP) // 2,) * 2, mode="reflect").squeeze(1)
    window = torch.hann_window(WINDOW, device=wave.device, dtype=wave.dtype)
    spectrum = torch.stft(padded, WINDOW, HOP, window=window, center=False, return_complex=True).abs()  # [B, bins, F]
    mel = spectrum.transpose(1, 2) @ filterbank().to(wave)
    return mel.clamp(min=_FLOOR).log10()


@cache
def filterbank() -> Tensor:
    """Triangles on Slaney's mel scale, each of area 1: [WINDOW / 2 + 1, 80]."""
    edges = _hz(torch.linspace(_mel(_LOWEST_HZ), _mel(_HIGHEST_HZ), NUM_MELS + 2, dtype=torch.float64))
    bins = torch.linspace(0, SAMPLE_RATE_HZ / 2, WINDOW // 2 + 1, dtype=torch.float64)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return (torch.minimum(rising, falling).clamp(min=0) * 2 / (edges[2:] - edges[:-2])).float()


_LINEAR_TO_HZ, _HZ_A_MEL, _LOG_STEP = 1000.0, 200 / 3, math.log(6.4) / 27  # linear below 1 kHz, logarithmic above


def _mel(hz: float) -> float:
    if hz < _LINEAR_TO_HZ:
        return hz / _HZ_A_MEL
    return _LINEAR_TO_HZ / _HZ_A_MEL + math.log(hz / _LINEAR_TO_HZ) / _LOG_STEP


def _hz(mel: Tensor) -> Tensor:
    above = _LINEAR_TO_HZ * torch.exp(_LOG_STEP * (mel - _LINEAR_TO_HZ / _HZ_A_MEL))
    return torch.where(mel < _LINEAR_TO_HZ / _HZ_A_MEL, mel * _HZ_A_MEL, above)
