"""The command `optax-warmup`, and that its argument is never run as Python."""

import io
import subprocess
import sys
import time

import pytest

import optax_warmup as ow
from optax_warmup._command import main
from optax_warmup._inspect import expression
from optax_warmup._inspect.expression import ExpressionError
from optax_warmup._inspect.simulate import natural_length
from optax_warmup._vocabulary import vocabulary

COSINE = "warmup_cosine(3e-4, 2000, 100_000)"
VOCABULARY = vocabulary()


def parse(text):
    return expression.parse(text, VOCABULARY)


@pytest.mark.parametrize(
    ("text", "schedule"),
    [
        (COSINE, ow.warmup_cosine(3e-4, 2000, 100_000)),
        ("  constant( 1 )\n", ow.constant(1)),
        ("constant(+0.5)", ow.constant(0.5)),
        ("delay(constant(2*3 - 1/2 + 2**-1), 5)", ow.delay(6.0, 5)),
        ("constant(10**-3)", ow.constant(0.001)),
        ("warmup(1.0, steps=10, offset=1)", ow.warmup(1.0, steps=10, offset=1)),
        (
            "wsd(1., 5, 50, decay_steps=9, decay_shape=shapes.power(1/2))",
            ow.wsd(1.0, 5, 50, decay_steps=9, decay_shape=ow.shapes.power(0.5)),
        ),
        (
            "piecewise(0, [(2, 1.0), (3, 1.0, shapes.reverse(shapes.cosine))])",
            ow.piecewise(0, [(2, 1.0), (3, 1.0, ow.shapes.reverse(ow.shapes.cosine))]),
        ),
        (
            "multiply(warmup(1, 3), join([(5, 1), (5, noam(512, 9))], last=0.1))",
            ow.multiply(ow.warmup(1, 3), ow.join([(5, 1), (5, ow.noam(512, 9))], 0.1)),
        ),
        (
            "warmup_inverse_sqrt(1, 9, timescale=None)",
            ow.warmup_inverse_sqrt(1, 9),
        ),
    ],
)
def test_builds_what_the_text_says(text, schedule):
    assert parse(text).schedule == schedule


def test_every_printed_schedule_is_read_again():
    for schedule in (
        ow.warmup_cosine(3e-4, 20, 100),
        ow.wsd(1.0, 5, 50, 9, decay_shape=ow.shapes.power(0.5)),
        ow.switch(1.0, 2.0, 3, steps=4),
        ow.growing_batch(1.0, ow.join([(5, 4)], last=8), base=4),
        ow.round_to(ow.noam(512, 100), multiple=8),
        ow.retime(ow.warmup_linear(1.0, 2, 9), 9, 12, begin=4),
        ow.multiply(ow.factors.radam(0.999), ow.factors.exponential(10)),
        ow.warmup(1.0, 3, shape=ow.shapes.reverse(ow.shapes.power(3))),
        ow.compat.transformers.get_scheduler("cosine", 1e-3, 10, 100),
    ):
        assert parse(repr(schedule)).schedule == schedule


def test_knows_the_public_schedules_and_shapes():
    known = set(VOCABULARY)
    assert {"warmup_cosine", "wsd", "piecewise", "constant", "switch"} <= known
    assert {"shapes.linear", "shapes.cosine", "shapes.power"} <= known
    assert {"factors.untuned_linear", "factors.radam"} <= known
    assert {"compat.transformers.get_scheduler"} <= known
    for name in (
        "Schedule",
        "steps_from",
        "plot",
        "simulate",
        "shapes",
        "shapes.Shape",
        "diagnostics.load_moments",
    ):
        assert name not in known


@pytest.mark.parametrize("prefix", ["ow.", "optax_warmup."])
def test_text_may_be_pasted_from_a_program(prefix):
    pasted = f"{prefix}warmup(1.0, 10, shape={prefix}shapes.cosine)"
    assert parse(pasted).schedule == ow.warmup(1.0, 10, shape=ow.shapes.cosine)
    with pytest.raises(ExpressionError, match=f"Did you mean {prefix}constant"):
        parse(f"constant({prefix}constnt(1))")


ATTACKS = [
    "__import__('os').system('true')",
    "__import__('os')",
    "__builtins__",
    "open('/etc/passwd')",
    "eval('1')",
    "exec('1')",
    "getattr(constant, 'x')",
    "constant.__class__",
    "constant.__init__.__globals__",
    "constant(1).__class__.__bases__[0].__subclasses__()",
    "warmup(1, 2, shape=os.linear)",
    "warmup(1, 2, shape=shapes.shapes.linear)",
    "shapes.__class__",
    "shapes.__dict__",
    "shapes._shape.jax",
    "shapes.linear.__class__",
    "shapes.Shape()",
    "ow.ow.constant(1)",
    "ow",
    "ow.__builtins__",
    "ow.constant.__globals__",
    "os.system('true')",
    "().__class__",
    "''.join(['a'])",
    "'{0.__class__}'.format(1)",
    "constant('{}'.format(1))",
    "f'{open(1)}'",
    "constant(f'{1}')",
    "lambda: 1",
    "constant((lambda: 1)())",
    "multiply(lambda step: step)",
    "[constant(x) for x in (1, 2)]",
    "constant(sum(x for x in (1, 2)))",
    "{x: 1 for x in (1,)}",
    "{1, 2}",
    "{'a': 1}",
    "constant((x := 1))",
    "constant(1 if 1 else 2)",
    "constant(1 and 2)",
    "constant(not 1)",
    "constant(~1)",
    "constant(1 < 2)",
    "constant([1, 2][0])",
    "constant(*[1])",
    "constant(**{'value': 1})",
    "constant(1)(2)",
    "constant(1 @ 2)",
    "constant(1 // 2)",
    "constant(7 % 4)",
    "constant(1 << 99)",
    "await constant(1)",
    "yield 1",
    "constant(...)",
    "constant(1j)",
    "constant(b'1')",
    "constant(True)",
    "constant(None)",
    "constant('1')",
    "constant(x)",
    "warmup",
    "shapes",
    "shapes.cosine",
    "shapes.linear(0.5)",
    "record_moments(1)",
    "load_moments('x.npz')",
    "Schedule()",
    "plot(constant(1), 5)",
    "steps_from(steps=3)",
    "import os",
    "x = 1",
    "constant(1); constant(2)",
    "constant(1)\nconstant(2)",
    "",
    "   ",
    "#",
    "1",
    "'a'",
    "[constant(1)]",
    "constant(\x00)",
]


@pytest.mark.parametrize("text", ATTACKS)
def test_refuses_all_that_is_no_schedule(text):
    with pytest.raises(ExpressionError):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "constant(9**9**9)",
        "constant(9**9**9**9)",
        "constant(2**(2**40))",
        "constant((2**60)**(2**60))",
        "constant(10.0**999)",
        "constant(1e999)",
        "constant(-1e999)",
        "constant(0**-1)",
        "constant(1/0)",
        "constant((-1)**0.5)",
        f"constant({'9' * 3000})",
        f"constant({'9' * 5000})",
        "constant(" + "2**99*" * 50 + "1)",
        "constant(1e308*1e308)",
        "constant('a'*10**9)",
        "piecewise(0, [(1, 1)]*10**9)",
        "(" * 1000 + ")" * 1000,
        "constant(" + "-" * 3000 + "1)",
        "constant(" + "+".join("1" * 1000) + ")",
        "warmup(" * 300 + "1" + ",1)" * 300,
        "constant(1" + " " * 10**6 + ")",
        "noise" * 10**5,
    ],
)
def test_refuses_at_once_what_would_take_for_ever(text):
    began = time.monotonic()
    with pytest.raises(ExpressionError):
        parse(text)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "warmup_cosin(1, 2, 3)",
            "there is no warmup_cosin. Did you mean warmup_cosine?\n"
            "    warmup_cosin(1, 2, 3)\n"
            "    ^^^^^^^^^^^^",
        ),
        (
            "constant(value=1, value=2)",
            "the argument value is given twice.\n"
            "    constant(value=1, value=2)\n"
            "    ^^^^^^^^^^^^^^^^^^^^^^^^^^",
        ),
        (
            "warmup(1, 2, shape=shapes.cosin)",
            "there is no shapes.cosin. Did you mean shapes.cosine?\n"
            "    warmup(1, 2, shape=shapes.cosin)\n"
            "                       ^^^^^^^^^^^^",
        ),
        (
            "multiply('é', constant(9**9**9))",
            "this power is too large.\n"
            "    multiply('é', constant(9**9**9))\n"
            "                           ^^^^^^^",
        ),
        (
            "multiply(2, constant(-1))",
            "constant: value must be a finite number >= 0, got -1 (a schedule's values "
            "are >= 0; optax flips the sign when it descends).\n"
            "    multiply(2, constant(-1))\n"
            "                ^^^^^^^^^^^^",
        ),
        (
            "warmup(1, 2",
            "'(' was never closed.\n    warmup(1, 2\n          ^",
        ),
    ],
)
def test_shows_where_the_mistake_is(text, message):
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert str(caught.value) == message


def test_shows_a_part_of_a_long_text():
    text = f"multiply({'1.0, ' * 200} nonsense(1), {'1.0, ' * 200})"
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    _, line, pointer = str(caught.value).splitlines()
    assert len(line) < 140
    assert line[pointer.index("^") : pointer.rindex("^") + 1] == "nonsense"


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        (COSINE, 100_001),
        ("wsd(1., 5, 50, decay_steps=9)", 51),
        ("multiply(warmup_linear(1., 5, 50), warmup_linear(1., 5, 80))", 81),
        ("warmup(transition(1, 0, 900), 100)", 1125),
        ("warmup_inverse_sqrt(1.0, 500)", 2000),
        ("constant(1)", 112),
    ],
)
def test_finds_how_many_updates_show_all_of_it(text, steps):
    parsed = parse(text)
    assert natural_length(parsed.schedule, parsed.total_steps) == steps


def test_the_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"optax_warmup {ow.__version__}\n"


def test_plot_draws_in_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setenv("LINES", "30")
    assert main(["plot", COSINE, "wsd(3e-4, 2000, 100_000, 9000)"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 70
    assert lines[0].startswith("3e-4 ┤")
    assert "100,000" in lines[-4]
    assert lines[-2].strip() == f"a  {COSINE}"
    assert "\x1b" not in "".join(lines)


def test_plot_falls_back_to_ascii(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["plot", COSINE, "--log", "--steps", "500"]) == 0
    out.flush()
    assert b"*" in out.buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "begins"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_plot_writes_a_picture(tmp_path, capsys, kind, begins):
    path = tmp_path / f"picture.{kind}"
    assert main(["plot", COSINE, "constant(1e-4)", "--output", str(path)]) == 0
    assert path.read_bytes().startswith(begins)
    assert capsys.readouterr().out == f"{path}: 100,001 updates\n"


def test_describe_says_it_in_words(capsys):
    assert main(["describe", COSINE, "warmup_constant(1.0, 4)", "--steps", "50"]) == 0
    first, second = capsys.readouterr().out.split("\n\n")
    assert first.splitlines()[0] == COSINE
    assert "  warmup        from 0, ends at step 49" in first
    assert "  peak          1 at step 4" in second
    assert main(["describe", COSINE]) == 0
    assert "updates       100,000\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plot", "nonsense(1)"], ["there is no nonsense", "^^^^^^^^"]),
        (["describe", "constant(-1)"], ["constant: value"]),
        (
            ["plot", "constant(0)", "--log", "--output", "never.png"],
            ["plot: schedules must have a value above 0"],
        ),
        (["plot", COSINE, "--output", "picture.doc"], ["--output", ".png", ".doc"]),
        (
            ["plot", COSINE, "--output", "/nowhere/at/all.png"],
            ["--output cannot be written"],
        ),
    ],
)
def test_mistakes_end_with_status_2(capsys, arguments, words):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("optax-warmup: ")
    for word in words:
        assert word in captured.err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["plot"],
        ["draw", COSINE],
        ["plot", COSINE, "--steps", "0"],
        ["plot", COSINE, "--steps", "1.5"],
        ["plot", COSINE, "--steps", "many"],
        ["plot", COSINE, "--steps", "nan"],
        ["describe", COSINE, "--log"],
    ],
)
def test_wrong_usage_is_explained(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: optax-warmup" in capsys.readouterr().err


def test_runs_as_a_module():
    command = [sys.executable, "-m", "optax_warmup", "describe", "constant(0.5)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "peak          0.5 at step 0" in done.stdout
    assert done.stderr == ""
