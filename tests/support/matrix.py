"""A matrix of compositions: what must hold for each case.

Every case trains for six steps and is compared with `matrix_oracle`. A record may be
around it all, so every composition is recorded, too.
"""

import jax
import jax.numpy as jnp
import numpy as np
from matrix_cases import (
    LOSSES,
    RESUMED,
    STEPS,
    UNRECORDED,
    cast,
    dtype_of,
    gradients,
    parameters,
    wide,
)
from matrix_optimizers import ToldState, composed, schedules
from matrix_oracle import Adam, Record, Told
from matrix_programs import CONTAINERS, around, compiled, everywhere, placed

import optax_warmup as ow


def check(case):
    with around(case) as mesh:
        _check(case, mesh)


def _check(case, mesh):
    optimizer, oracle = composed(case)
    params = placed(case, mesh, cast(parameters(case), dtype_of(case, "parameters")))
    places = {name: getattr(x, "sharding", None) for name, x in params.items()}
    carry = CONTAINERS[case["container"]](optimizer, params)
    names, given = schedules(case)
    traces = []

    def step(now, grads, extra):
        traces.append(extra)
        now, updates = carry.step(now, grads, extra)
        rates = ow.learning_rates(carry.state(now), schedule=given)
        return now, (updates, rates)

    program = compiled(case, mesh, step)
    now, described = everywhere(case, mesh, carry.first), [describe(carry.first)]
    for n in range(STEPS):
        grads = cast(gradients(case, n), dtype_of(case, "gradients"))
        before = wide(carry.parameters(now))
        told = Told(LOSSES[n], n == RESUMED, n != UNRECORDED, n)
        now, (updates, traced) = program(
            now,
            placed(case, mesh, grads),
            {
                "value": jnp.float32(told.value),
                "resumed": jnp.bool_(told.resumed),
                "record": jnp.bool_(told.record),
                "number": jnp.int32(n),
            },
        )
        told = told._replace(factor=automatic_factor(carry.state(now)))
        wanted = oracle.update(wide(grads), before, told)
        described.append(describe(now))
        after = carry.parameters(now)
        if mesh is not None and case["mesh"] != "manual":
            for name, place in places.items():
                kept = after[name]
                assert kept is None or kept.sharding.is_equivalent_to(place, kept.ndim)
        reported = ow.learning_rates(carry.state(now), schedule=given)
        assert list(reported) == names, (reported, names)
        assert all(type(rate) is float for rate in reported.values())
        np.testing.assert_allclose(
            [traced[name] for name in names], list(reported.values()), rtol=1e-6
        )
        _require_rates(case, oracle, list(reported.values()), n)
        applied = (
            wide(updates)
            if updates is not None
            else {name: x - before[name] for name, x in wide(after).items()}
        )
        rounding = 0 if updates is not None else 4 * epsilon(case, "parameters")
        _require_updates(
            case, oracle, list(reported.values()), wanted, applied, rounding
        )
    _require_constant(case, described, traces)
    state = carry.state(now)
    heard = [int(np.ravel(x)[0]) for x in _numbers(state)]
    assert heard == [part.number for part in oracle.parts(Adam)], heard
    for part in oracle.parts(Record):
        _require_record(case, part, ow.read_moments(state))


def automatic_factor(state):
    """What `automatic_warmup` says that it scaled by; the updates must agree."""
    kind = ow.states.AutomaticWarmupState
    nodes = jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, kind))
    for node in (node for node in nodes if isinstance(node, kind)):
        factor = float(jax.tree.leaves(node.factor)[0])
        assert 0 <= factor <= 1
        return factor or 1.0  # 0 where there has been nothing to scale
    return 1.0


def describe(carry):
    """The structure and the types of a tree."""
    leaves, structure = jax.tree.flatten(carry)
    return structure, [(x.shape, str(x.dtype), x.weak_type) for x in leaves]


def epsilon(case, what):
    return float(jnp.finfo(dtype_of(case, what)).eps)


def tolerance(case):
    """What the rounding of a few operations may amount to."""
    coarse = max(epsilon(case, "gradients"), epsilon(case, "parameters"), 1e-7)
    if case.get("mu") == "bfloat16":
        coarse = float(jnp.finfo(jnp.bfloat16).eps)
    return 1e-5 if coarse < 1e-5 else 6 * coarse


def _require_rates(case, oracle, reported, step):
    # Rates that are injected have the parameters' dtype.
    exact = tolerance(case) if case["composition"] == "injected" else 1e-6
    np.testing.assert_allclose(reported, oracle.scales, exact, err_msg=f"step {step}")


def _require_updates(case, oracle, reported, wanted, applied, rounding):
    """The reported rate times the oracle's direction."""
    assert set(applied) == set(wanted)
    for name, update in wanted.items():
        group = 0 if len(reported) == 1 or name == "w" else 1
        direction = update / oracle.scales[group]
        np.testing.assert_allclose(
            applied[name],
            reported[group] * direction,
            rtol=tolerance(case),
            atol=2 * rounding + tolerance(case) * reported[group] / 2,
            err_msg=name,
        )


def _require_constant(case, described, traces):
    """From init on, but for what Adam itself does not keep constant.

    Moments of bfloat16 parameters take the type of float32 gradients.
    """
    if case["dtype"] != "mixed":
        assert len(traces) == 1, len(traces)
        assert all(each == described[0] for each in described)
        return
    assert len(traces) <= 2
    assert all(each == described[1] for each in described[1:])
    assert described[0][0] == described[1][0]
    for before, after in zip(described[0][1], described[1][1], strict=True):
        narrow = (before[0], "bfloat16", before[2])
        assert before == after or (before == narrow and after[1] == "float32")


def _numbers(state):
    found = [
        x.number
        for x in jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, ToldState))
        if isinstance(x, ToldState)
    ]
    return [jax.tree.leaves(x)[0] for x in found]


def _require_record(case, part, history):
    assert history.steps.tolist() == list(part.rows), (history.steps, list(part.rows))
    exact = 10 * tolerance(case)
    whole = len(part.scales) == 1
    for row, (step, numbers) in enumerate(part.rows.items()):
        for name, wanted in numbers.items():
            got = history.overall[name][row]
            if name == "applied_rate" and not whole and np.isnan(got):
                continue  # of two groups with different rates there is none
            np.testing.assert_allclose(
                got,
                wanted,
                rtol=exact,
                err_msg=f"{name} at step {step}",
            )
