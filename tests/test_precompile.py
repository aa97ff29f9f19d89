"""Model warm-up: compiled from shapes, run on zeros, the caller's arrays untouched."""

import re
import subprocess
import sys
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.experimental.compilation_cache import compilation_cache

import optax_warmup as ow

TRACES = []


class State(NamedTuple):
    params: dict
    opt_state: optax.OptState


OPTIMIZER = optax.chain(
    optax.scale_by_adam(), ow.scale_by_learning_rate(ow.warmup(1e-2, 10, offset=1))
)


def loss_fn(params, x):
    return jnp.mean((x @ params["w"]) ** 2)


@partial(jax.jit, donate_argnums=0, static_argnames="kind")
def train_step(state, x, *, kind="mean"):
    TRACES.append(kind)
    loss, grads = jax.value_and_grad(loss_fn)(state.params, x)
    if kind == "sum":
        loss *= x.shape[0]
    updates, opt_state = OPTIMIZER.update(grads, state.opt_state, state.params)
    return State(optax.apply_updates(state.params, updates), opt_state), loss


def fresh_state():
    params = {"w": jnp.full((3, 2), 0.5)}
    return State(params, OPTIMIZER.init(params))


X = jnp.arange(12.0).reshape(4, 3)
ABSTRACT = jax.eval_shape(fresh_state)
ABSTRACT_X = jax.ShapeDtypeStruct(X.shape, X.dtype)


@pytest.fixture(scope="module")
def warm():
    return ow.precompile(train_step, ABSTRACT, ABSTRACT_X)


def same(tree, wanted):
    jax.tree.map(np.testing.assert_array_equal, tree, wanted)


def test_it_computes_what_the_function_computes(warm):
    same(warm(fresh_state(), X), train_step(fresh_state(), X))


def test_a_real_call_traces_and_compiles_nothing(warm, caplog):
    before, state = len(TRACES), jax.block_until_ready(fresh_state())
    with jax.transfer_guard("disallow"), jax.log_compiles():
        warm(state, X)
    assert not caplog.records
    assert len(TRACES) == before


def test_donation_is_kept_and_the_callers_arrays_too():
    state = fresh_state()
    warm = ow.precompile(train_step, state, X)
    same(state, fresh_state())  # would raise if it were deleted
    jax.block_until_ready(warm(state, X))
    assert state.params["w"].is_deleted()


def test_static_arguments_are_compiled_in(warm):
    before = len(TRACES)
    total = ow.precompile(train_step, ABSTRACT, ABSTRACT_X, kind="sum")
    assert TRACES[before:] == ["sum"]
    mean, sum_ = warm(fresh_state(), X)[1], total(fresh_state(), X)[1]
    np.testing.assert_allclose(sum_, 4 * mean, rtol=1e-6)
    with pytest.raises(TypeError, match="kind"):
        total(fresh_state(), X, kind="mean")


def test_the_report_is_one_readable_line(warm):
    units = r"[\d.e+]+ (s|ms|us)"
    pattern = (
        rf"train_step: traced in {units}, compiled in {units}; "
        rf"first call {units}, then {units} \([\d.]+ k?FLOP, [\d.]+ k?B\)"
    )
    assert re.fullmatch(pattern, repr(warm)), repr(warm)


def test_the_report_counts_what_the_program_does():
    product = jax.jit(lambda a, b: a @ b)
    a, b = (jax.ShapeDtypeStruct(s, jnp.float32) for s in ((64, 32), (32, 16)))
    warm = ow.precompile(product, a, b)
    assert warm.flops == pytest.approx(2 * 64 * 32 * 16, rel=0.01)
    wanted = 4 * (64 * 32 + 32 * 16 + 64 * 16)
    assert warm.bytes_accessed == pytest.approx(wanted, rel=0.01)


def test_the_report_tells_tracing_compiling_and_running_apart():
    program = """
import time, jax, jax.numpy as jnp, optax_warmup as ow

calls = []

def wait(x):
    calls.append(x)
    time.sleep(0.5 if len(calls) == 1 else 0.1)  # slow when it is first called
    return x

@jax.jit
def slow(x):
    time.sleep(0.3)  # slow to trace
    return jax.pure_callback(wait, x, x)

warm = ow.precompile(slow, jax.ShapeDtypeStruct((), jnp.float32))
assert len(calls) == 4
assert 0.3 <= warm.trace_seconds, warm
assert 0.5 <= warm.first_call_seconds, warm
assert 0.1 <= warm.steady_seconds < 0.5 <= warm.first_call_seconds, warm
assert "first call 5" in repr(warm) or "first call 6" in repr(warm), warm
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_sharding_is_kept(monkeypatch):
    seen = []
    call = jax.stages.Compiled.__call__

    def spy(self, *args):
        seen.extend(x.sharding for x in args)
        return call(self, *args)

    monkeypatch.setattr(jax.stages.Compiled, "__call__", spy)
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    warm = ow.precompile(
        jax.jit(lambda x: x + 1),
        jax.ShapeDtypeStruct((4,), jnp.float32, sharding=place),
    )
    assert seen == [place] * 4  # the zeros of the first call and of three more
    assert warm(jax.device_put(jnp.zeros(4), place)).sharding == place


def test_keys_numbers_and_unused_arguments():
    def function(key, scale, unused):
        return scale * jax.random.normal(key, (2,))

    key = jax.random.key(3)
    abstract = jax.ShapeDtypeStruct(key.shape, key.dtype)
    warm = ow.precompile(jax.jit(function), abstract, 1.0, jnp.zeros(5, jnp.int8))
    same(warm(key, 2.0, jnp.zeros(5, jnp.int8)), jax.jit(function)(key, 2.0, 0))


def test_zeros_may_give_nan_where_nan_is_an_error():
    with jax.debug_nans(True):
        warm = ow.precompile(jax.jit(lambda x: x / x), jnp.ones(3))
        same(warm(jnp.ones(3)), jnp.ones(3))


def test_the_persistent_cache_is_filled(tmp_path):
    settings = {
        "jax_compilation_cache_dir": str(tmp_path),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in settings}

    def configure(values):
        for name, value in values.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()

    def program(x):
        return jnp.sin(x) * 17.25

    def stored():
        return {path.name for path in tmp_path.iterdir() if "program" in path.name}

    configure(settings)
    try:
        ow.precompile(jax.jit(program), ABSTRACT_X)
        entries = stored()
        # The function as a user would call it in the next process finds its program.
        jax.jit(program)(X)
    finally:
        configure(before)
    assert entries and stored() == entries


@pytest.mark.parametrize("function", [loss_fn, "loss", nnx.jit(lambda m, x: m(x))])
def test_what_is_not_jitted_is_refused(function):
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match=r"precompile: function must be jitted by jax"):
        ow.precompile(function, model, ABSTRACT_X)


@pytest.mark.parametrize("bad", ["text", object(), [1.0, {"x": "text"}]])
def test_an_argument_that_is_no_array_is_named(bad):
    with pytest.raises(TypeError, match=r"(?s)type <class '.*path x.*static_arg"):
        ow.precompile(train_step, ABSTRACT, bad)


def test_a_call_with_another_shape_says_which_argument_differs(warm):
    with pytest.raises(TypeError) as caught:
        warm(fresh_state(), X[:, :2])
    assert "'x' compiled with float32[4,3] and called with float32[4,2]" in str(
        caught.value
    )
    assert "state" not in str(caught.value)
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), fresh_state().params)
    with pytest.raises(TypeError, match=r"state\.params\['w'\]. compiled with float32"):
        warm(fresh_state()._replace(params=half), X)
    with pytest.raises(TypeError, match=r"args\[0\]\.params"):
        warm(fresh_state()._replace(params={"v": X}), X)
