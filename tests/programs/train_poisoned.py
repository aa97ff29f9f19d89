"""A training in which some batches break the parameters: run by tests/faults/ and by
this as a program.

Arguments: the batches, as "5,7"; then those of the trainer.
"""

import contextlib
import sys
from unittest import mock

import jax
import jax.numpy as jnp

from examples.transformer.run import train, training

MARK = 255  # a token that no text has


@contextlib.contextmanager
def poisoned(bad, value=jnp.nan):
    """The batches in `bad` make the loss, and all parameters after them, `value`."""
    training_batch = training.training_batch
    make_programs = training.make_programs

    def marked(corpus, seed, batch, **shape):
        tokens = training_batch(corpus, seed, batch, **shape)
        return tokens * 0 + MARK if batch in bad else tokens

    def wrapped(plan):
        programs = make_programs(plan)

        @jax.jit
        def is_bad(tokens):
            return tokens.min() == MARK

        def step(state, tokens):
            poison = bool(is_bad(tokens))
            state, metrics = programs.train_step(state, tokens)
            if poison:
                params = jax.tree.map(lambda x: x * value, state.params)
                state = state._replace(params=params)
                metrics = metrics | {"loss": metrics["loss"] * value}
            return state, metrics

        return programs._replace(train_step=step)

    with (
        mock.patch.object(training, "training_batch", marked),
        mock.patch.object(training, "make_programs", wrapped),
        mock.patch.object(train, "make_programs", wrapped),
    ):
        yield


if __name__ == "__main__":
    batches, *arguments = sys.argv[1:]
    with poisoned({int(x) for x in batches.split(",")}):
        sys.exit(train.main(arguments))
