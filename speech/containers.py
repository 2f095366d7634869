"""Looks into the container of an untrusted sound file before the codec does, because the codec hides what is wrong.

libsndfile cuts a truncated WAV short without a word, believes a FLAC header that tells of too few samples, estimates
the length of an MP3 without a length tag and drops the rest, skips damaged OGG pages, and prints to stderr at whatever
is odd in an MP3. So every chunk, page and frame header is walked here, nothing is decoded, and what passes is whole.
Wrong bits inside an MP3 frame are still heard as they are, with a line of libsndfile's on stderr.
"""

import codecs
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

ReadAt = Callable[[int, int], bytes]  # (position, number of bytes) -> that many bytes, fewer at the end of the file

_OTHER_FILES = (
    (0, b"\x89PNG", "a picture (PNG)"),
    (0, b"\xff\xd8\xff", "a picture (JPEG)"),
    (0, b"GIF8", "a picture (GIF)"),
    (0, b"BM", "a picture (BMP)"),
    (0, b"II*\0", "a picture (TIFF)"),
    (0, b"MM\0*", "a picture (TIFF)"),
    (8, b"WEBP", "a picture (WebP)"),
    (8, b"AVI ", "a video (AVI)"),
    (4, b"ftypM4A", "an MPEG-4 sound file (M4A)"),
    (4, b"ftyp", "a video (MP4 or QuickTime)"),
    (0, b"\x1aE\xdf\xa3", "a video (Matroska or WebM)"),
    (0, b"FLV\x01", "a video (Flash)"),
    (0, b"\0\0\x01\xba", "a video (MPEG)"),
    (0, b"FORM", "an AIFF sound file"),
    (0, b".snd", "an AU sound file"),
    (0, b"MThd", "a MIDI file: notes, no sound"),
    (0, b"#!AMR", "an AMR sound file"),
    (0, b"RIFX", "a big-endian WAV file"),
    (0, b"RF64", "an RF64 sound file"),
    (0, b"\xff\xf1", "an AAC sound file"),
    (0, b"\xff\xf9", "an AAC sound file"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
)


@dataclass(frozen=True)
class Container:
    """What the codec shall see of a file: prefix, then the bytes from start to end.

    kind: WAV, FLAC, OGG or MP3. num_frames: samples of a channel that a header replaced by prefix tells of, if it does.
    """

    kind: str
    start: int
    end: int
    prefix: bytes = b""
    num_frames: int | None = None


class NotSound(Exception):
    """The file is no whole sound file of a kind that is opened; the message says what was found."""


def inspect(read_at: ReadAt, size: int) -> Container:
    """The container of a file of size bytes. Raises NotSound if it is none of ours, or not whole."""
    start = _after_tags(read_at, size)
    head = read_at(start, 12)
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        return _wav(read_at, start, size)
    if head[:4] == b"fLaC":
        return _flac(read_at, start, size)
    if head[:4] == b"OggS":
        return _ogg(read_at, start, size)
    if _mp3_frame(head[:4]):
        return _mp3(read_at, start, size)
    raise NotSound(_describe(read_at(0, 1024)))


def _after_tags(read_at: ReadAt, size: int) -> int:
    """Where the sound begins behind ID3v2 tags (id3.org, ID3v2.4, section 3.1) and the zeros some writers add."""
    position = 0
    while (head := read_at(position, 10))[:3] == b"ID3" and len(head) == 10:
        length = sum((byte & 127) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        position += 10 + length + (10 if head[5] & 16 else 0)
        if position >= size:
            raise NotSound("an ID3 tag and no sound after it")
    while position and (zeros := read_at(position, 4096)) and not zeros[0]:
        position += len(zeros) - len(zeros.lstrip(b"\0"))
    return position


def _describe(head: bytes) -> str:
    """What a file that is no sound of ours seems to be, in words."""
    for position, mark, words in _OTHER_FILES:
        if head[position:].startswith(mark):
            return words
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)  # a letter may be cut at the end of head
    except UnicodeDecodeError:
        text = "\0"
    readable = all(letter.isprintable() or letter.isspace() for letter in text)
    return "text" if readable else "bytes of no known sound format"


# WAV

_LENGTH_UNKNOWN = {0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000}  # written by programs that write into a pipe: up to the end
_MAX_UNEXPLAINED_BYTES = 4096  # after the last chunk; padding of careless writers (our choice)


def _wav(read_at: ReadAt, start: int, size: int) -> Container:
    """Walks the chunks: 4 letters, a length of 4 bytes, and as many bytes, made even."""
    position, has_samples = start + 12, False
    while len(head := read_at(position, 8)) == 8:
        name, length = struct.unpack("<4sI", head)
        there = size - position - 8
        if name == b"data" and not has_samples:
            if length in _LENGTH_UNKNOWN and length > there:
                return Container("WAV", start, size)
            if length > there:
                raise NotSound(
                    f"a truncated WAV file: its header tells of {length} bytes of samples, {there} are there"
                )
            has_samples = True
        elif length > there or not name.isascii() or not name.decode("ascii").isprintable():
            break
        position += 8 + length + length % 2
    if not has_samples:
        raise NotSound("a WAV file without a data chunk: truncated or damaged")
    if size - position > _MAX_UNEXPLAINED_BYTES:
        raise NotSound(f"a WAV file with {size - position} bytes after the end that its header tells of")
    return Container("WAV", start, size)


# FLAC

_STREAMINFO_END, _TOTAL_AT = 42, 18  # RFC 9639, section 8.2: in the 8 bytes from 18 on the low 36 bits
_TOTAL_BITS = 36


def _flac(read_at: ReadAt, start: int, size: int) -> Container:
    """Hides the total number of samples from the codec, which then decodes all that is there; it is compared after."""
    head = read_at(start, _STREAMINFO_END)
    if len(head) < _STREAMINFO_END or head[4] & 127 != 0:
        raise NotSound("a FLAC file without its first block: truncated or damaged")
    facts = int.from_bytes(head[_TOTAL_AT : _TOTAL_AT + 8])
    total = facts % 2**_TOTAL_BITS
    prefix = head[:_TOTAL_AT] + (facts - total).to_bytes(8) + head[_TOTAL_AT + 8 :]
    return Container("FLAC", start + _STREAMINFO_END, size, prefix, total or None)


# OGG

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_CODECS = (
    (b"\x01vorbis", "Vorbis"),
    (b"OpusHead", "Opus"),
    (b"\x80theora", "Theora video"),
    (b"\x7fFLAC", "FLAC"),
    (b"Speex   ", "Speex"),
)


def _ogg(read_at: ReadAt, start: int, size: int) -> Container:
    """Walks the pages (RFC 3533, section 6): each must be whole, have its checksum and belong to the one stream."""
    position, streams, begun = start, [], False
    while position < size:
        head = read_at(position, 27)
        if not head.startswith(b"OggS"[: len(head)]):
            raise NotSound(f"an OGG file damaged at byte {position}")
        table = read_at(position + 27, head[26]) if len(head) == 27 else b""
        page = read_at(position, 27 + len(table) + sum(table))
        if len(head) < 27 or len(table) < head[26] or len(page) < 27 + len(table) + sum(table):
            raise NotSound(f"an OGG file truncated in the page at byte {position}")
        if _ogg_checksum(page) != int.from_bytes(page[22:26], "little"):
            raise NotSound(f"an OGG file with a wrong checksum in the page at byte {position}")
        if head[5] & 2:  # the first page of a stream
            packet = page[27 + len(table) :]
            streams.append(next((name for mark, name in _CODECS if packet.startswith(mark)), "an unknown codec"))
            if begun:
                raise NotSound("an OGG file of several sounds, one after the other")
        else:
            begun = True
        position += len(page)
    if len(streams) != 1 or streams[0] not in ("Vorbis", "Opus"):
        raise NotSound(f"an OGG file of {' and '.join(streams) or 'no stream'}")
    return Container("OGG", start, size)


def _ogg_checksum(page: bytes) -> int:
    """CRC-32 with polynomial 0x04C11DB7, bits not reversed, start 0: zlib's, with every bit turned round."""
    page = page[:22] + bytes(4) + page[26:]
    crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(crc.to_bytes(4, "little").translate(_REVERSED))


# MP3

_KBPS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # MPEG-1 layer III
_KBPS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)  # MPEG-2 and 2.5
_RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # by the version's bits
_ROOMY_BITRATE = 9  # 128 or 80 kbit/s: a frame with room for a length tag at any rate


@dataclass(frozen=True)
class _Mp3Frame:
    size: int  # bytes
    kind: tuple[int, int, bool]  # version, rate in Hz, mono: the same in all frames of a file
    tag_at: int  # where a length tag stands: behind the 4 bytes of the header and the side information


def _mp3_frame(head: bytes) -> _Mp3Frame | None:
    """The frame that a header of 4 bytes announces (ISO 11172-3, section 2.4.2.3); None if it is none."""
    if len(head) < 4 or head[0] != 255 or head[1] & 0xE6 != 0xE2:  # the sync bits, layer III
        return None
    version, bitrate, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or bitrate in (0, 15) or rate == 3:
        return None
    rate_hz, mono, first = _RATES_HZ[version][rate], head[3] >> 6 == 3, version == 3
    size = (144_000 * _KBPS_1[bitrate] if first else 72_000 * _KBPS_2[bitrate]) // rate_hz + (head[2] >> 1 & 1)
    side = (17 if mono else 32) if first else (9 if mono else 17)
    return _Mp3Frame(size, (version, rate_hz, mono), 4 + side)


def _mp3(read_at: ReadAt, start: int, size: int) -> Container:
    """Walks the frames. A file without a length tag gets one that tells of them all, so that none is dropped."""
    first = _mp3_frame(read_at(start, 4))
    assert first is not None
    position, num_frames = start, 0
    while frame := _mp3_frame(read_at(position, 4)):
        if frame.kind != first.kind:
            raise NotSound(f"an MP3 file whose rate or channels change at byte {position}")
        if position + frame.size > size:
            raise NotSound(f"an MP3 file truncated in the frame at byte {position}")
        position, num_frames = position + frame.size, num_frames + 1
    if _after_mp3_tail(read_at, position, size) < size:
        raise NotSound(f"an MP3 file damaged at byte {position}")
    told = _told_frames(read_at(start, first.size), first)
    if told is None:
        return Container("MP3", start, position, _length_tag(read_at(start, 4), first, num_frames))
    if not -1 <= num_frames - 1 - told <= 1:  # some writers count the frame that carries the tag
        raise NotSound(f"an MP3 file whose header tells of {told} frames, {num_frames - 1} are there")
    return Container("MP3", start, position)


def _after_mp3_tail(read_at: ReadAt, position: int, size: int) -> int:
    """Where the tags behind the last frame end: ID3v1 (128 bytes), APEv2 and Lyrics3 (as long as they say), zeros."""
    while position < size:
        head = read_at(position, 4096)
        if not head[0]:
            position += len(head) - len(head.lstrip(b"\0"))
        elif head.startswith(b"TAG"):
            position += 128
        elif head.startswith(b"APETAGEX") and len(head) >= 32:
            position += 32 + int.from_bytes(head[12:16], "little")
        elif head.startswith(b"LYRICSBEGIN") and (end := read_at(position, 2**20).find(b"LYRICS200")) > 0:
            position += end + 9
        else:
            break
    return position


def _told_frames(data: bytes, first: _Mp3Frame) -> int | None:
    """The number of frames in the Xing or Info tag of the first frame, if there is one."""
    name, flags, frames = struct.unpack_from(">4sII", data[first.tag_at :].ljust(12, b"\0"))
    return frames if name in (b"Xing", b"Info") and flags & 1 else None


def _length_tag(head: bytes, first: _Mp3Frame, num_frames: int) -> bytes:
    """A silent frame with a Xing tag; players and libsndfile take it for the file's length and do not play it."""
    head = bytes([head[0], head[1] | 1, _ROOMY_BITRATE << 4 | head[2] & 0x0C, head[3]])  # |1: no checksum
    frame = _mp3_frame(head)
    assert frame is not None
    return (head.ljust(first.tag_at, b"\0") + struct.pack(">4sII", b"Xing", 1, num_frames)).ljust(frame.size, b"\0")
