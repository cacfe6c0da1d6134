"""What the model must be seen beside: a unigram model of the training tokens, and `xz -9` of the same text."""

from __future__ import annotations

import lzma
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

# xz at level 9 reads about 1 MB/s; beyond this the reference is left out.
LARGEST_XZ_BYTES = 64 << 20


def unigram_nats(label_counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Cost of each token under the training split's histogram, add-one smoothed: -ln((count + 1) / (total + V))."""
    costs: npt.NDArray[np.float64] = -np.log((label_counts + 1) / (label_counts.sum() + len(label_counts)))
    return costs


def xz_bits_per_byte(texts: Sequence[bytes]) -> float | None:
    """Bits per byte of `xz -9` over the texts, a line end between them; None when there is nothing or too much.

    The window is cut to the text's size (xz would take 674 MB for its 64 MiB), which changes no output.
    """
    text = b"\n".join(texts)
    size = sum(map(len, texts))
    if not size or len(text) > LARGEST_XZ_BYTES:
        return None
    window = max(lzma_window(len(text)), 4096)
    packed = lzma.compress(
        text, format=lzma.FORMAT_XZ, filters=[{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": window}]
    )
    return 8 * len(packed) / size


def lzma_window(size: int) -> int:
    """The smallest power of two that holds `size` bytes, at most xz's own 64 MiB."""
    return min(1 << max(0, size - 1).bit_length(), 64 << 20)
