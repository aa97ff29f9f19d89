"""The transformer example writes on from a prompt, with a cache of keys and values."""

import jax
import jax.monitoring
import numpy as np
import pytest
from flax import nnx
from selection import parametrize
from transformer_runs import (
    TINY,
    assert_same_training,
    kept_programs,
    run,
    write_text,
)

from examples.transformer.core.generate import make_generate
from examples.transformer.core.settings import InputError
from examples.transformer.core.sharding import make_mesh
from examples.transformer.core.train_step import init_params
from examples.transformer.run import sample
from examples.transformer.run.result import load_result

pytestmark = pytest.mark.train

PROMPT = "the qu"


programs = kept_programs(autouse=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    return run(TINY, folder / "run", data=write_text(folder)).folder


@pytest.fixture(scope="module")
def sampler(finished):
    return sample.load_sampler(finished)


@parametrize("scan_layers", [True, False], quick=[True])
def test_the_cache_changes_nothing(scan_layers):
    """The likeliest bytes are those of the whole model, run anew for each byte."""
    config = TINY.replace(layers=2, scan_layers=scan_layers)
    graphdef, params = init_params(config, make_mesh(config.batch_size, config.fsdp))
    generate = make_generate(config, graphdef)
    tokens_L = np.zeros(config.length, np.int32)
    tokens_L[:6] = list(PROMPT.encode())
    written_L = generate(params, tokens_L, 6, 14, 0.0, 0)

    whole = jax.jit(lambda tokens_BxL: nnx.merge(graphdef, params)(tokens_BxL))
    for n in range(6, 14):
        tokens_L[n] = whole(tokens_L[None])[0, n - 1].argmax()
    np.testing.assert_array_equal(written_L, tokens_L)


def test_the_first_request_compiles_nothing(sampler):
    """So it is as fast as the tenth."""
    events = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda name, seconds, **_: events.append(name)
    )
    first = sampler(PROMPT, 8)
    assert not events
    jax.jit(lambda x: x + 3)(1)
    assert events  # the listener does hear of compilation
    assert first.startswith(PROMPT) and len(first.encode("utf-8", "replace")) >= 14
    assert sampler(PROMPT, 8) == first
    assert len({sampler(PROMPT, 8, seed=seed) for seed in range(4)}) > 1


def test_a_trained_model_writes_what_it_read(sampler):
    """Twelve updates are enough to leave all bytes behind that are not in the text."""
    written = sampler(PROMPT, 10, temperature=0)[len(PROMPT) :]
    assert set(written) <= set("the quick brown fox jumps over the lazy dog. ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", 5), "prompt: it is empty"),
        (("the", 14), "together are 17 tokens.*length=16 positions"),
        (("the", 0), "tokens=0 .*1 or more"),
        (("the", 5, -1.0), "temperature=-1.0 .*0 or more"),
        (("the", 5, float("nan")), "temperature=nan .*finite"),
    ],
)
def test_requests_that_will_not_do(sampler, arguments, message):
    with pytest.raises(InputError, match=message):
        sampler(*arguments)


def test_command_line_samples(finished, tmp_path, capsys):
    arguments = [str(finished), "--prompt", "the", "fox", "--tokens", "5"]
    assert sample.main(arguments) == 0
    out = capsys.readouterr().out
    assert out.startswith("generate: traced in ")
    assert "\nthe" in out and "\nfox" in out
    assert sample.main([str(tmp_path)]) == 2
    assert "is not a run" in capsys.readouterr().err


def test_training_precompiled_is_the_same_training(finished, tmp_path):
    wanted = load_result(finished)
    result = run(wanted.config, tmp_path / "run", precompile=True)
    assert_same_training(result, wanted)
