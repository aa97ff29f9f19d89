"""Data that every machine has: the standard library's text, scikit-learn's digits."""

import functools

import jax.numpy as jnp
import numpy as np

from examples.transformer.core.data import load_corpus

from .models import BYTES

PAIRS = 32 * BYTES
TRAINING_DIGITS = 1400  # of 1797
HELD_OUT_SEQUENCES = 256


@functools.cache
def digits() -> tuple:
    """Pixels in [-1, 1] and labels, in one shuffled order: training, held out."""
    try:
        from sklearn import datasets
    except ImportError:
        raise SystemExit(
            "The digits come with scikit-learn. Install it with "
            "pip install 'optax_warmup[examples]'."
        ) from None
    pixels, labels = datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    pixels = (pixels[order] / 8 - 1).astype(np.float32)
    labels = labels[order].astype(np.int32)
    n = TRAINING_DIGITS
    return (
        (jnp.asarray(pixels[:n]), jnp.asarray(labels[:n])),
        (jnp.asarray(pixels[n:]), jnp.asarray(labels[n:])),
    )


@functools.cache
def text(length: int, *, prose: bool = False) -> tuple:
    """Bytes to train on, and a held-out batch."""
    train, held = manual() if prose else source_code()
    last = len(held) - length - 1
    starts = np.linspace(0, last, HELD_OUT_SEQUENCES).astype(int)
    chosen = jnp.asarray(held[starts[:, None] + np.arange(length + 1)], jnp.int32)
    return jnp.asarray(train), (chosen[:, :-1], chosen[:, 1:])


def source_code() -> tuple[np.ndarray, np.ndarray]:
    corpus = load_corpus()
    return ascii_only(corpus.train), ascii_only(corpus.heldout)


def manual() -> tuple[np.ndarray, np.ndarray]:
    from pydoc_data.topics import topics

    whole = "\n".join(topics.values()).encode()
    everything = ascii_only(np.frombuffer(whole, np.uint8))
    cut = len(everything) * 9 // 10
    return everything[:cut], everything[cut:]


def ascii_only(values: np.ndarray) -> np.ndarray:
    return np.where(values < BYTES, values, 0).astype(np.uint8)
