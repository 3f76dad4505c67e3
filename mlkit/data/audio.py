"""Sound: WAV files, and the logarithm of their mel spectrogram, which is what networks listen to."""

import io
import math
import os
import warnings

import numpy as np

from .. import blas
from ..errors import ArgumentError, DataError
from ..file import read_bounded
from ..kernels import Array

LOUDEST = {"u1": 128.0, "i2": 32768.0, "i4": 2147483648.0}


def read_wav(file: "str | os.PathLike[str] | bytes") -> tuple[int, Array]:
    """(samples a second, (n,) float32 from -1 to 1) of a WAV file or its content; the mean of several channels."""
    from scipy.io import wavfile

    name = "the sound" if isinstance(file, bytes) else os.fspath(file)
    content = file if isinstance(file, bytes) else read_bounded(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # a length that is not known when the head is written
            rate, samples = wavfile.read(io.BytesIO(content))
    except Exception as error:  # SciPy raises whatever comes
        raise DataError(f"{name} is no WAV file that can be read: {error}") from error
    if rate < 1 or samples.ndim > 2 or not samples.size:
        raise DataError(f"{name} has no samples")
    kind = samples.dtype.str[1:]
    loud = samples.astype(np.float32)
    if kind in LOUDEST:
        loud = (loud - (128 if kind == "u1" else 0)) / np.float32(LOUDEST[kind])
    return int(rate), loud if loud.ndim == 1 else loud.mean(1, dtype=np.float32)


def resample(samples: Array, before: int, after: int) -> Array:
    """The same sound with another number of samples a second. Source: scipy.signal.resample_poly."""
    from scipy.signal import resample_poly

    if min(before, after) < 1:
        raise ArgumentError(f"resample: from {before} to {after} samples a second; both are from 1")
    shared = math.gcd(before, after)
    found: Array = samples if before == after else resample_poly(samples, after // shared, before // shared).astype(np.float32)
    return found


def log_mel(samples: Array, rate: int, mels: int = 40, window: float = 0.025, hop: float = 0.01) -> Array:
    """(frames, mels) natural logarithm of the power in bands that are even on the mel scale, a frame every `hop` seconds.

    Hann windows, triangular bands from 20 Hz to half the rate; 1e-10 is added before the logarithm.
    Source: Stevens, Volkmann & Newman 1937; O'Shaughnessy's formula, 2595 log10(1 + f / 700).
    """
    from scipy import fft

    length, step = round(window * rate), round(hop * rate)
    if samples.ndim != 1 or step < 1 or length < 2 or mels < 1:
        raise ArgumentError(f"log_mel: samples {samples.shape}, {rate} a second, {mels} bands, window {window} s, hop {hop} s")
    if len(samples) < length:
        samples = np.pad(samples, (0, length - len(samples)))
    frames = np.lib.stride_tricks.sliding_window_view(samples, length)[::step]
    spectrum = fft.rfft(frames * np.hanning(length + 1)[:-1].astype(np.float32), axis=1)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    found: Array = np.log(blas.gemm(power.astype(np.float32), mel_bands(length, rate, mels).T) + np.float32(1e-10))
    return found


def mel_bands(length: int, rate: int, mels: int) -> Array:
    """(mels, length // 2 + 1) triangles over the frequencies of a Fourier transform of `length` samples."""
    low, high = (2595 * math.log10(1 + f / 700) for f in (20.0, rate / 2))
    edges = 700 * (10 ** (np.linspace(low, high, mels + 2) / 2595) - 1)
    f = np.arange(length // 2 + 1) * rate / length
    rising = (f - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - f) / np.diff(edges)[1:, None]
    found: Array = np.maximum(np.minimum(rising, falling), 0).astype(np.float32)
    return found
