"""Handwritten digits: 1797 real images of 8 x 8 pixels, bundled with scikit-learn.

Shapes are in the names: N images, S side of an image.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

VALIDATION = 360  # images held out; 1437 remain


class Digits(NamedTuple):
    """Images in [-1, 1], and the digits that they show."""

    train_NxSxS: np.ndarray
    train_N: np.ndarray
    validation_NxSxS: np.ndarray
    validation_N: np.ndarray


def load() -> Digits:
    """The data, always with the same split."""
    digits = load_digits()
    images = (digits.images / 8 - 1).astype(np.float32)
    labels = digits.target.astype(np.int32)
    order = np.random.default_rng(0).permutation(len(labels))
    held, rest = order[:VALIDATION], order[VALIDATION:]
    return Digits(images[rest], labels[rest], images[held], labels[held])


def shifted(key: jax.Array, images_NxSxS: jax.Array) -> jax.Array:
    """Augmentation: shifts each image by at most one pixel in each direction."""
    N, S, _ = images_NxSxS.shape
    padded = jnp.pad(images_NxSxS, ((0, 0), (1, 1), (1, 1)), constant_values=-1)
    offsets_Nx2 = jax.random.randint(key, (N, 2), 0, 3)

    def crop(image: jax.Array, offset: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(image, offset, (S, S))

    return jax.vmap(crop)(padded, offsets_Nx2)
