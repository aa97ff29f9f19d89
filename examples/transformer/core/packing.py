"""Several documents in one sequence, each as if it were alone.

Documents end with a token that occurs nowhere else. So their boundaries are read from
the tokens, and a batch needs nothing beside them.

The loss counts no token that follows the end of another document. `Targets` turns it
from nats per token into nats per byte, in which runs of all tokenizers compare.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Packed(NamedTuple):
    """What keeps the documents of a sequence apart."""

    positions_BxL: jax.Array  # of each token in its document, or in what is there of it
    mask_Bx1xLxL: jax.Array  # whether query and key are of the same document


def pack(tokens_BxL: jax.Array, document_end: int) -> Packed:
    """Reads the documents of sequences from their tokens."""
    ends_BxL = tokens_BxL == document_end
    starts_BxL = jnp.pad(ends_BxL[:, :-1], ((0, 0), (1, 0)))
    index_L = jnp.arange(tokens_BxL.shape[1])
    latest_BxL = jax.lax.cummax(jnp.where(starts_BxL, index_L, 0), axis=1)
    document_BxL = jnp.cumsum(starts_BxL, axis=1)
    same_BxLxL = document_BxL[:, :, None] == document_BxL[:, None, :]
    return Packed(index_L - latest_BxL, same_BxLxL[:, None])


def counted(tokens_BxL: jax.Array, document_end: int) -> jax.Array:
    """Which targets, tokens[:, 1:], are of the same document as the token before."""
    return tokens_BxL[:, :-1] != document_end


@dataclass(frozen=True, eq=False)
class Targets:
    """What the targets of a batch are in bytes.

    Args:
        byte_lengths_V: how many bytes each token of the tokenizer stands for.
        document_end: if given, the loss stays within documents that end with it.
    """

    byte_lengths_V: np.ndarray
    document_end: int | None = None

    def bytes(self, tokens_BxL: Any) -> Any:
        """The bytes of the targets that count, of a NumPy or a JAX array."""
        numpy = np if isinstance(tokens_BxL, np.ndarray) else jnp
        lengths_BxL = numpy.asarray(self.byte_lengths_V)[tokens_BxL[:, 1:]]
        if self.document_end is not None:
            lengths_BxL = lengths_BxL * counted(tokens_BxL, self.document_end)
        return lengths_BxL.sum()

    def nats_per_byte(self, loss: jax.Array, tokens_BxL: jax.Array) -> jax.Array:
        """A loss in nats per token, the mean over a batch, as nats per byte of text."""
        if self.document_end is None and (self.byte_lengths_V == 1).all():
            return loss
        targets = tokens_BxL.shape[0] * (tokens_BxL.shape[1] - 1)
        return loss * (targets / jnp.maximum(self.bytes(tokens_BxL), 1))

    def bytes_per_target(self, batches: Sequence[np.ndarray]) -> float:
        """Bytes of a target, over batches of one size.

        The mean loss of the batches, divided by it, is all nats by all bytes.
        """
        targets = sum(tokens_BxL[:, 1:].size for tokens_BxL in batches)
        return max(sum(int(self.bytes(x)) for x in batches), 1) / targets


BYTES = Targets(np.ones(256, np.int32))
