"""Several documents in one sequence, each as if it were alone.

Documents end with a token that occurs nowhere else. So their boundaries are read from
the tokens, and a batch needs nothing beside them.

The loss counts no token that follows the end of another document. It is a mean over
tokens; `Targets` turns it into nats per byte.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Packed(NamedTuple):
    """What keeps the documents of a sequence apart."""

    positions_BxL: jax.Array  # of each token in its document, or in what is there of it
    mask_Bx1xLxL: jax.Array  # whether query and key are of the same document


def pack(tokens_BxL: jax.Array, document_end: int) -> Packed:
    """Reads the documents of sequences from their tokens."""
    starts_BxL = starts_of(tokens_BxL, document_end)
    index_L = jnp.arange(tokens_BxL.shape[1])
    latest_BxL = jax.lax.cummax(jnp.where(starts_BxL, index_L, 0), axis=1)
    document_BxL = jnp.cumsum(starts_BxL, axis=1)
    same_BxLxL = document_BxL[:, :, None] == document_BxL[:, None, :]
    return Packed(index_L - latest_BxL, same_BxLxL[:, None])


def starts_of(tokens_BxL: jax.Array, document_end: int) -> jax.Array:
    """Whether a token is the first one after the end of another document."""
    ends_BxL = tokens_BxL == document_end
    return jnp.pad(ends_BxL[:, :-1], ((0, 0), (1, 0)))


def counted(tokens_BxL: jax.Array, document_end: int) -> jax.Array:
    """Which targets, tokens[:, 1:], are of the same document as the token before."""
    return ~starts_of(tokens_BxL, document_end)[:, 1:]


@dataclass(frozen=True, eq=False)
class Targets:
    """The targets of a batch, in tokens and in bytes.

    Args:
        byte_lengths_V: how many bytes each token of the tokenizer stands for.
        document_end: if given, the loss stays within documents that end with it.
    """

    byte_lengths_V: np.ndarray
    document_end: int | None = None

    def tokens(self, tokens_BxL: jax.Array) -> jax.Array:
        """How many targets the loss is a mean of, int32; at least 1."""
        return jnp.maximum(self.counted(tokens_BxL).sum(), 1)

    def bytes(self, tokens_BxL: jax.Array) -> jax.Array:
        """How many bytes they stand for, int32; at least 1."""
        lengths_BxL = jnp.asarray(self.byte_lengths_V)[tokens_BxL[:, 1:]]
        return jnp.maximum((lengths_BxL * self.counted(tokens_BxL)).sum(), 1)

    def nats_per_byte(self, loss: jax.Array, tokens_BxL: jax.Array) -> jax.Array:
        """A mean over targets, in nats per token, as nats per byte of their text."""
        if (self.byte_lengths_V == 1).all():
            return loss
        return loss * (self.tokens(tokens_BxL) / self.bytes(tokens_BxL))

    def counted(self, tokens_BxL: jax.Array) -> jax.Array:
        if self.document_end is None:
            return jnp.ones(tokens_BxL[:, 1:].shape, jnp.int32)
        return counted(tokens_BxL, self.document_end).astype(jnp.int32)


BYTES = Targets(np.ones(256, np.int32))
