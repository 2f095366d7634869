"""Sound played while it is still being made, where the machine has a sound device."""

import queue
import threading

import numpy as np

from .voice import Speech


class Player:
    """Plays pieces one after the other in a thread of its own; leaving its `with` waits for the end.

    Raises ValueError where nothing can be played.
    """

    def __init__(self, sample_rate: int):
        try:
            import sounddevice
        except ImportError:
            raise ValueError("playing needs sounddevice: pip install 'multimodal-llama[voice]'") from None
        except OSError as error:
            raise ValueError(f"playing needs the library PortAudio of the system ({error})") from None
        self._error = sounddevice.PortAudioError
        try:
            self._out = sounddevice.OutputStream(samplerate=sample_rate, channels=1, dtype="float32")
        except (self._error, ValueError) as error:
            raise ValueError(f"found no sound device to play on ({error}); write a file instead") from None
        self._pieces: queue.SimpleQueue[np.ndarray | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._play, daemon=True)

    def __enter__(self) -> "Player":
        self._out.start()
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        self._pieces.put(None)
        if kind is None:  # interrupted, what is left is not played
            self._thread.join()
            self._out.stop()
        else:
            self._out.abort()
        self._out.close()

    def play(self, piece: Speech) -> None:
        """Behind what is being played."""
        self._pieces.put(piece.samples)

    def _play(self) -> None:
        while (samples := self._pieces.get()) is not None:
            try:
                self._out.write(np.ascontiguousarray(samples))
            except self._error:  # the stream was aborted
                return
