"""Trains a small network on handwritten digits, with a learning-rate warmup.

Needs `pip install optax_warmup flax scikit-learn`, and a few seconds on a CPU. It uses
nnx.jit, the simplest way; examples/transformer has a training step with less overhead.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from sklearn.datasets import load_digits

import optax_warmup as ow

BATCH_SIZE, WARMUP_STEPS, TOTAL_STEPS = 64, 100, 600


class CNN(nnx.Module):
    """Maps images of 8 x 8 pixels to the logits of the ten digits."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.conv = nnx.Conv(1, 32, kernel_size=(3, 3), rngs=rngs)
        self.hidden = nnx.Linear(4 * 4 * 32, 128, rngs=rngs)
        self.output = nnx.Linear(128, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.avg_pool(nnx.relu(self.conv(x)), window_shape=(2, 2), strides=(2, 2))
        return self.output(nnx.relu(self.hidden(x.reshape(len(x), -1))))


def loss_fn(model: CNN, images: jax.Array, labels: jax.Array) -> jax.Array:
    logits = model(images)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


@nnx.jit
def train_step(
    model: CNN, optimizer: nnx.Optimizer, images: jax.Array, labels: jax.Array
) -> jax.Array:
    loss, grads = nnx.value_and_grad(loss_fn)(model, images, labels)
    optimizer.update(model, grads)
    return loss


def main() -> None:
    digits = load_digits()  # 1,797 real images, bundled with scikit-learn
    rng = np.random.default_rng(0)
    order = rng.permutation(len(digits.target))
    images = digits.images[order, :, :, None].astype(np.float32) / 16
    labels = digits.target[order].astype(np.int32)
    train, test = slice(0, 1437), slice(1437, None)

    # AdamW, with the schedule in its last part, which remembers the learning rate.
    schedule = ow.warmup_cosine(3e-3, WARMUP_STEPS, TOTAL_STEPS, offset=1)
    adamw = optax.chain(
        optax.scale_by_adam(b1=0.9, b2=0.99),
        optax.add_decayed_weights(1e-2),
        ow.scale_by_learning_rate(schedule),
    )
    # Optional: record how Adam's moments warm up, to get advice at the end.
    adamw = ow.record_moments(adamw)

    model = CNN(rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, adamw, wrt=nnx.Param)
    losses = []
    for step in range(TOTAL_STEPS):
        batch = rng.integers(train.stop, size=BATCH_SIZE)
        losses.append(train_step(model, optimizer, images[batch], labels[batch]))
        if step % 50 == 0 or step == TOTAL_STEPS - 1:
            rate = float(ow.learning_rate(optimizer))
            print(f"step {step:3}  loss {losses[-1]:.4f}  learning rate {rate:.1e}")
    correct = model(images[test]).argmax(axis=-1) == labels[test]
    print(f"test accuracy {correct.mean():.1%}")

    # Was the warmup long enough? Was the learning rate too high?
    history = ow.read_moments(optimizer)
    advice = ow.diagnostics.advise(history, losses=jnp.stack(losses))
    for each in advice or ["No issues found."]:
        print(each)


if __name__ == "__main__":
    main()
