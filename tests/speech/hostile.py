"""The table of hostile sounds: what is opened, and what the error must say was found."""

import io
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from speech.audio import SoundLimits

# Small, so that the table is quick; what is tested is that a limit holds, whatever its value.
LIMITS = SoundLimits(max_bytes=2**20, max_memory_bytes=2**20, max_seconds=30, deadline_s=2.0)
RATE = 16_000


@dataclass(frozen=True)
class Hostile:
    make: Callable[[Path], Any]  # an empty folder -> the source to open
    found: str  # a regular expression


def melody(seconds: float = 1.0, rate: int = RATE) -> np.ndarray:
    """[T] float32: three notes that move, and a little noise."""
    t = np.arange(int(seconds * rate)) / rate
    notes = sum(np.sin(2 * np.pi * hz * t + 3 * np.sin(t * hz / 50)) for hz in (220, 450, 910))
    return (0.15 * notes + 0.01 * np.random.default_rng(0).standard_normal(len(t))).astype(np.float32)


def encoded(samples: np.ndarray, kind: str, coding: str | None = None, rate: int = RATE) -> bytes:
    """samples [T] or [T, channels], written a second at a time: libsndfile's OGG crashes on minutes at once."""
    file, channels = io.BytesIO(), samples.shape[1] if samples.ndim == 2 else 1
    with soundfile.SoundFile(file, "w", rate, channels, coding, format=kind) as sound:
        for first in range(0, len(samples), rate):
            sound.write(samples[first : first + rate])
    return file.getvalue()


def wav(
    data: bytes = bytes(3200),
    rate: int = RATE,
    channels: int = 1,
    bits: int = 16,
    told: int | None = None,
    code: int = 1,
) -> bytes:
    """A WAV file with any header. told: the bytes of samples that its header tells of; code: 1 integers, 3 floats."""
    wrapped = (rate * channels * bits // 8) % 2**32, channels * bits // 8 % 2**16
    form = struct.pack("<HHIIHH", code, channels, rate, *wrapped, bits)
    told = len(data) if told is None else told
    chunks = b"fmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", told) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def wav_of_floats(*values: float) -> bytes:
    return wav(struct.pack(f"<{len(values)}f", *values), bits=32, code=3)


def flac_telling(total: int) -> bytes:
    """One second of FLAC whose header tells of total samples."""
    data = bytearray(encoded(melody(), "FLAC"))
    facts = int.from_bytes(data[18:26]) >> 36 << 36 | total
    data[18:26] = facts.to_bytes(8)
    return bytes(data)


def ogg_page(page: bytes) -> bytes:
    """The page with its right checksum: RFC 3533, section 6, one bit at a time."""
    checksum = 0
    for byte in page[:22] + bytes(4) + page[26:]:
        checksum ^= byte << 24
        for _ in range(8):
            checksum = (checksum << 1 ^ (0x104C11DB7 if checksum >> 31 else 0)) & 0xFFFFFFFF
    return page[:22] + checksum.to_bytes(4, "little") + page[26:]


def ogg_telling(total: int) -> bytes:
    """Ten seconds of OGG whose last page tells of total samples."""
    data = encoded(melody(10), "OGG")
    last = data.rfind(b"OggS")
    page = data[last:]
    return data[:last] + ogg_page(page[:6] + struct.pack("<q", total) + page[14:])


def ogg_of(packet: bytes) -> bytes:
    """The first page of a stream, and no more."""
    return ogg_page(b"OggS\0\2" + bytes(20) + bytes([1, len(packet)]) + packet)


def mp3_telling(frames: int) -> bytes:
    """One second of MP3 whose length tag tells of so many frames."""
    data = bytearray(encoded(melody(), "MP3"))
    place = data.find(b"Xing") + 8
    data[place : place + 4] = struct.pack(">I", frames)
    return bytes(data)


def without_length_tag(mp3: bytes) -> bytes:
    """The MP3 as a recorder writes it that cannot go back: without its first frame, which holds the tag."""
    second = mp3.find(mp3[:2], 4)
    while mp3[second + 3] >> 6 != mp3[3] >> 6 or mp3[second + 2] >> 2 & 3 != mp3[2] >> 2 & 3:
        second = mp3.find(mp3[:2], second + 1)
    return mp3[second:]


def damaged(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(600) + data[middle + 600 :]


def in_file(data: bytes, name: str = "sound.wav") -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return write


def made(make: Callable[[Path], Any]) -> Callable[[Path], Path]:
    """What make puts at a path, and that path."""

    def at(folder: Path) -> Path:
        make(folder / "sound.wav")
        return folder / "sound.wav"

    return at


def pair(array: Any, rate: Any = RATE) -> Callable[[Path], tuple[Any, Any]]:
    return lambda folder: (array, rate)


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(os.path.relpath(path))  # a name of a socket is short


class Failing(io.RawIOBase):
    def read(self, size: int = -1) -> bytes:
        raise OSError("the disk is gone")


WAV, FLAC, OGG, OPUS, MP3 = (
    encoded(melody(), kind, coding)
    for kind, coding in [("WAV", None), ("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None)]
)
MP4 = b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2" + bytes(200)
SOUND = melody()

HOSTILE = {
    # what is no sound file
    "text": Hostile(in_file("Ein Satz, längst kein Ton.\n".encode() * 50), "text"),
    "nothing": Hostile(in_file(b""), r"nothing \(0 bytes\)"),
    "no bytes": Hostile(lambda folder: b"", r"nothing \(0 bytes\)"),
    "noise bytes": Hostile(in_file(np.random.default_rng(4).bytes(5000)), "bytes of no known sound format"),
    "zeros": Hostile(in_file(bytes(5000)), "bytes of no known sound format"),
    "a picture": Hostile(in_file(b"\x89PNG\r\n\x1a\n" + bytes(50)), r"a picture \(PNG\)"),
    "a video": Hostile(in_file(MP4), r"a video \(MP4 or QuickTime\)"),
    "a WebM video": Hostile(in_file(b"\x1aE\xdf\xa3" + bytes(50)), r"a video \(Matroska or WebM\)"),
    "an AVI video": Hostile(in_file(b"RIFF\0\0\0\0AVI LIST" + bytes(50)), r"a video \(AVI\)"),
    "an OGG video": Hostile(in_file(ogg_of(b"\x80theora") + OGG), "an OGG file of Theora video and Vorbis"),
    "Speex": Hostile(in_file(ogg_of(b"Speex   ")), "an OGG file of Speex"),
    "an AIFF file": Hostile(in_file(encoded(SOUND, "AIFF")), "an AIFF sound file"),
    "a WAV of G.721": Hostile(in_file(encoded(SOUND, "WAV", "G721_32")), "coded as G721_32"),
    "a tag and no more": Hostile(in_file(b"ID3\x04\0\0\0\0\x02\0" + bytes(256)), "an ID3 tag and no sound"),
    "a folder": Hostile(made(os.mkdir), "a folder"),
    "a pipe": Hostile(made(os.mkfifo), "a named pipe"),
    "a device": Hostile(lambda folder: "/dev/zero", "a device"),
    "a socket": Hostile(made(unix_socket), "a socket"),
    "no file": Hostile(lambda folder: folder / "none.wav", "no such file"),
    "an address": Hostile(lambda folder: "https://example.org/a.wav", "an address, and nothing is fetched"),
    "a null byte": Hostile(lambda folder: "a\0b.wav", "no valid path"),
    "an object": Hostile(lambda folder: object(), "an object of type object"),
    "a failing stream": Hostile(lambda folder: Failing(), "a stream that cannot be read"),
    "a stream of text": Hostile(lambda folder: io.StringIO("no bytes"), "a stream that gives str"),
    # too much, too little
    "a large file": Hostile(in_file(WAV + bytes(2**20)), r"a file of \d+ bytes"),
    "many bytes": Hostile(lambda folder: WAV + bytes(2**20), "more than 1048576 bytes"),
    "31 seconds": Hostile(in_file(encoded(np.zeros(31 * RATE), "FLAC")), "of 31 s or more"),
    "31 seconds, not told": Hostile(in_file(wav(bytes(31 * RATE), bits=8, told=2**32 - 1)), "of 31 s or more"),
    "200 channels": Hostile(in_file(wav(channels=200)), "of 200 channels"),
    "65535 channels": Hostile(in_file(wav(channels=65535)), r"cannot be decoded \(Too many channels"),
    "no channel": Hostile(in_file(wav(channels=0)), r"cannot be decoded \(Channel count is zero"),
    "rate 0": Hostile(in_file(wav(rate=0)), "cannot be decoded"),
    "rate 1": Hostile(in_file(wav(rate=1)), "at 1 Hz"),
    "rate 10^9": Hostile(in_file(wav(rate=10**9)), "at 1000000000 Hz"),
    "rate -1": Hostile(in_file(wav(rate=2**32 - 1)), "cannot be decoded"),
    "no samples": Hostile(in_file(wav(b"")), "without a sample"),
    "no samples in OGG": Hostile(in_file(encoded(SOUND[:0], "OGG")), "without a sample"),
    # cut short and damaged
    "half a WAV": Hostile(in_file(WAV[: len(WAV) // 2]), "a truncated WAV file"),
    "a WAV less a byte": Hostile(in_file(WAV[:-1]), "a truncated WAV file"),
    "the beginning of a WAV": Hostile(in_file(WAV[:30]), "a WAV file without a data chunk"),
    "half a FLAC": Hostile(in_file(FLAC[: len(FLAC) // 2]), "cannot be decoded"),
    "a FLAC less a byte": Hostile(in_file(FLAC[:-1]), "cannot be decoded"),
    "the beginning of a FLAC": Hostile(in_file(FLAC[:20]), "a FLAC file without its first block"),
    "a damaged FLAC": Hostile(in_file(damaged(FLAC)), "cannot be decoded"),
    "half an OGG": Hostile(in_file(OGG[: len(OGG) // 2]), "an OGG file truncated"),
    "an OGG less a byte": Hostile(in_file(OGG[:-1]), "an OGG file truncated"),
    "a damaged OGG": Hostile(in_file(damaged(OGG)), "an OGG file with a wrong checksum"),
    "an OGG and noise": Hostile(in_file(OGG + b"noise"), "an OGG file damaged at byte"),
    "half an Opus": Hostile(in_file(OPUS[: len(OPUS) // 2]), "an OGG file truncated"),
    "half an MP3": Hostile(in_file(MP3[: len(MP3) // 2]), "an MP3 file truncated"),
    "an MP3 less a byte": Hostile(in_file(MP3[:-1]), "an MP3 file truncated"),
    "a damaged MP3": Hostile(in_file(damaged(MP3)), "an MP3 file damaged"),
    "a damaged MP3, no length": Hostile(in_file(damaged(without_length_tag(MP3))), "an MP3 file damaged"),
    # headers that lie
    "a WAV that tells of more": Hostile(in_file(wav(told=2**31)), "a truncated WAV file"),
    "a WAV that tells of less": Hostile(in_file(wav(bytes(9000), told=1000)), "8000 bytes after the end"),
    "a FLAC that tells of more": Hostile(in_file(flac_telling(RATE + 1)), "tells of 16001 samples .* has 16000"),
    "a FLAC that tells of less": Hostile(in_file(flac_telling(RATE - 1)), "tells of 15999 samples .* has 16000"),
    "a FLAC that tells of hours": Hostile(in_file(flac_telling(2**36 - 1)), r"of 4.29497e\+06 s or more"),
    "an OGG that tells of more": Hostile(in_file(ogg_telling(20 * RATE)), "tells of 320000 samples"),
    "an OGG that tells of years": Hostile(in_file(ogg_telling(2**50)), "s or more"),
    "an MP3 that tells of more": Hostile(in_file(mp3_telling(1000)), "tells of 1000 frames"),
    "two MP3s in one": Hostile(in_file(MP3 + MP3), "tells of 30 frames"),
    "two rates in one MP3": Hostile(in_file(MP3 + encoded(melody(rate=8000), "MP3", rate=8000)), "channels change"),
    "two OGGs in one": Hostile(in_file(OGG + OGG), "several sounds, one after the other"),
    # samples that are none
    "NaN": Hostile(in_file(wav_of_floats(0.1, float("nan"), 0.1)), "NaN or infinite"),
    "infinity": Hostile(in_file(wav_of_floats(0.1, float("-inf"), 0.1)), "NaN or infinite"),
    "loud floats": Hostile(in_file(wav_of_floats(0.1, 32000.0)), "values up to 32000 where full scale is 1"),
    # arrays
    "an array without a rate": Hostile(lambda folder: SOUND, "an array without its rate"),
    "a tensor without a rate": Hostile(lambda folder: torch.from_numpy(SOUND), "an array without its rate"),
    "an array and more": Hostile(lambda folder: (SOUND, RATE, 1), "a tuple of 3"),
    "a mapping without a rate": Hostile(lambda folder: {"array": SOUND}, "the keys array"),
    "a list": Hostile(pair([0.1, 0.2]), "an object of type list where an array belongs"),
    "rate and array": Hostile(lambda folder: (RATE, SOUND), "an object of type int where an array belongs"),
    "a rate of text": Hostile(pair(SOUND, "16000"), "a rate of '16000'"),
    "a rate of True": Hostile(pair(SOUND, True), "a rate of True"),
    "an array at 1 Hz": Hostile(pair(SOUND, 1), "at 1 Hz"),
    "an array at -16000 Hz": Hostile(pair(SOUND, -16000), "at -16000 Hz"),
    "an empty array": Hostile(pair(SOUND[:0]), r"shape \[0\], without a sample"),
    "no channels": Hostile(pair(np.zeros((0, 100))), r"shape \[0, 100\], without a sample"),
    "one number": Hostile(pair(np.float32(1)[...]), r"an array of shape \[\]"),
    "three axes": Hostile(pair(SOUND.reshape(2, 2, -1)), r"an array of shape \[2, 2, 4000\]"),
    "33 channels": Hostile(pair(np.zeros((33, 100))), "of 33 channels"),
    "a long array": Hostile(pair(np.zeros(31 * RATE, np.int16)), "of 31 s or more"),
    "complex": Hostile(pair(SOUND.astype(complex)), "values of type complex128"),
    "objects": Hostile(pair(SOUND.astype(object)), "values of type object"),
    "bools": Hostile(pair(SOUND > 0), "values of type bool"),
    "64 bits": Hostile(pair(torch.zeros(100, dtype=torch.int64)), "values of type int64"),
    "a complex tensor": Hostile(pair(torch.zeros(100, dtype=torch.complex64)), "values of type complex64"),
    "a NaN": Hostile(pair(np.array([0.1, np.nan])), "NaN or infinite"),
    "beyond float32": Hostile(pair(np.array([0.1, 1e300])), "NaN or infinite"),
    "a tensor with an infinity": Hostile(pair(torch.tensor([0.1, float("inf")])), "NaN or infinite"),
    "16 bits as floats": Hostile(pair(SOUND * 2**15), r"where full scale is 1"),
}
