"""What FSDP compiles to, on four virtual devices: run by
tests/test_example_transformer_devices.py.

Argument: a text. Every layer's matrices are gathered one layer at a time, in the
forward and again in the backward pass; activations stay split over the batch.
"""

import re
import sys

import jax
import jax.numpy as jnp

from examples.transformer.core import sharding
from examples.transformer.core.train_step import init_params, loss_of
from examples.transformer.core.update import loss_and_gradient
from examples.transformer.run.config import Config
from examples.transformer.run.plan import make_plan

D, F, B, L = 24, 40, 8, 16  # all shapes can be told apart
CONFIG = Config(
    length=L, width=D, layers=3, heads=2, mlp_width=F, batch_size=B, scan_layers=True,
    scan_unroll=1, fsdp=4, total_steps=12, warmup_steps=4,
)  # fmt: skip


def main(text):
    plan = make_plan(CONFIG.replace(data=text))
    with jax.set_mesh(plan.mesh):
        _, params = init_params(plan.config, plan.mesh)
        for path, x in jax.tree_util.tree_leaves_with_path(params):
            there = x.addressable_shards[0].data.size
            assert there == x.size // (4 if x.ndim > 1 else 1), path
        tokens = jax.ShapeDtypeStruct(
            (B, L + 1), jnp.int32, sharding=sharding.of_batch(plan.mesh)
        )
        gradient = jax.jit(
            jax.grad(loss_of(plan.graphdef)),
            out_shardings=jax.tree.map(lambda x: x.sharding, params),
        )
        program = gradient.lower(params, tokens).compile().as_text()
        accumulated = jax.jit(
            loss_and_gradient(loss_of(plan.graphdef), 2),
            out_shardings=(None, jax.tree.map(lambda x: x.sharding, params)),
        )
        in_parts = accumulated.lower(params, tokens).compile().as_text()

    gathered = re.findall(r"= f32\[([\d,]+)\]\S* all-gather\(", program)
    blocks = {f"1,{D},{3 * D}", f"1,{D},{D}", f"1,{D},{F}", f"1,{F},{D}"}
    for shape in blocks:  # one layer, forward and backward
        again = 1 if shape == f"1,{F},{D}" else 2
        assert gathered.count(shape) >= again, (shape, gathered)
    assert not [s for s in gathered if s.startswith("3,")], "all layers at once"
    assert not [s for s in gathered if s.startswith(f"{B},")], "activations"

    # Each device has its rows of every microbatch: no token travels for them.
    moves = r"= s32\[\S*\]\S* (?:all-gather|all-to-all|collective-permute)\("
    assert not re.findall(moves, in_parts)
    assert f"[2,{B // 2 // 4},{L + 1}]" in in_parts, "two parts of one row a device"
    print("ok")


if __name__ == "__main__":
    main(sys.argv[1])
