"""A record told: scalars, tables, files, pictures and the page."""

import html
import html.parser
import json
import math
import re
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
import trainings
from matplotlib import pyplot
from selection import parametrize

import optax_warmup as ow
from optax_warmup._command import main
from optax_warmup.diagnostics import Advice
from optax_warmup.diagnostics._report_command import report_command
from optax_warmup.diagnostics._run_folders import load_runs
from optax_warmup.diagnostics._verdict import Verdict, verdict

pytestmark = pytest.mark.train

matplotlib.use("agg")


@pytest.fixture(scope="module")
def healthy():
    return trainings.healthy("adam 0.95")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


def test_scalars_are_the_numbers_of_one_row(healthy):
    history, _ = healthy
    scalars = ow.diagnostics.to_scalars(history)
    assert scalars["moments/step"] == history.steps[-1]
    assert (
        scalars["moments/normalized_gradient_rms"]
        == history.overall["normalized_gradient_rms"][-1]
    )
    group = history.groups.index("layer1/w")
    got, wanted = (
        scalars["moments/layer1/w/normalized_gradient_rms"],
        history.statistics["normalized_gradient_rms"],
    )
    assert got == wanted[-1, group]
    assert all(type(value) is float for value in scalars.values())
    assert len(scalars) == 6 + len(history.overall) * (1 + len(history.groups))
    earlier = ow.diagnostics.to_scalars(history, step=65)  # recorded are 64 and 68
    assert earlier["moments/step"] == 64
    assert earlier["moments/effective_sample_size"] == history.effective_sample_size[48]


def test_scalars_leave_out_groups_without_moments():
    history, _ = trainings.partly_sgd()
    scalars = ow.diagnostics.to_scalars(history)
    assert not any("layer0" in name for name in scalars)
    assert any("layer1" in name for name in scalars)
    assert ow.diagnostics.to_scalars(trainings.empty()) == {}


def test_tidy_columns_hold_every_number(healthy):
    history, _ = healthy
    columns = history.tidy()
    count = len(history.steps) * (
        5
        + len(history.overall)
        + history.statistics["normalized_gradient_rms"].shape[1]
        * len(history.statistics)
    )
    assert {len(column) for column in columns.values()} == {count}
    rows = (columns["group"] == "layer0/w") & (
        columns["statistic"] == "normalized_gradient_rms"
    )
    np.testing.assert_array_equal(
        columns["value"][rows],
        history.statistics["normalized_gradient_rms"][
            :, history.groups.index("layer0/w")
        ],
    )
    np.testing.assert_array_equal(columns["step"][rows], history.steps)
    rows = (columns["group"] == "") & (columns["statistic"] == "effective_sample_size")
    np.testing.assert_array_equal(columns["value"][rows], history.effective_sample_size)


def test_text_for_terminals(healthy):
    history, _ = healthy
    line = history.summary()
    assert "\n" not in line and len(line) <= 120
    assert f"step {history.steps[-1]:,}" in line
    assert "sample size 39 of 39" in line and "g/sqrt(nu_hat) 0.967" in line
    table = str(history).splitlines()
    assert len(table) == 4 + len(history.groups) + 1
    assert len({len(row) for row in table[4:]}) == 1
    assert "no update recorded yet" in trainings.empty().summary()
    assert "NOT FINITE" in trainings.nan_in_a_batch()[0].summary()


def test_a_file_tells_where_it_comes_from(healthy, tmp_path):
    history, _ = healthy
    schedule = ow.warmup_constant(1e-3, 20)
    path = history.save(tmp_path / "moments", schedule=schedule)
    loaded = ow.diagnostics.load_moments(path)
    assert loaded.meta["schedule"] == str(schedule)
    assert loaded.meta["fingerprint"] == ow.fingerprint(schedule)
    text = history.save(tmp_path / "text", schedule="my own")
    assert ow.diagnostics.load_moments(text).meta["schedule"] == "my own"
    assert {"optax_warmup", "jax", "optax", "numpy"} < set(loaded.meta)
    assert loaded.corrected and loaded.eps == history.eps
    again = ow.diagnostics.load_moments(loaded.save(tmp_path / "again"))
    assert again.meta == loaded.meta
    rmsprop = trainings.healthy("rmsprop")[0].save(tmp_path / "rmsprop")
    assert ow.diagnostics.load_moments(rmsprop).corrected is False


def change(path, **changes):
    """Rewrites a file with other arrays; None drops one."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    arrays |= changes
    np.savez(path, **{name: x for name, x in arrays.items() if x is not None})


def test_files_that_do_not_fit_are_refused(healthy, tmp_path):
    history, _ = healthy
    path = history.save(tmp_path / "moments")
    change(path, steps=history.steps[:-1])
    with pytest.raises(ValueError, match=r"complete file .*: counts has the shape"):
        ow.diagnostics.load_moments(path)
    history.save(path)
    change(path, relative_error=None)
    with pytest.raises(ValueError, match="relative_error.* is missing"):
        ow.diagnostics.load_moments(path)
    history.save(path)
    with np.load(path) as file:
        meta = json.loads(str(file["meta"]))
    change(path, meta=np.array(json.dumps(meta | {"format": 99})))
    with pytest.raises(ValueError, match=r"has format 99, this optax_warmup reads 3"):
        ow.diagnostics.load_moments(path)
    change(path, meta=np.array("[1, 2]"))
    with pytest.raises(ValueError, match="it holds something else"):
        ow.diagnostics.load_moments(path)
    whole = history.save(path).read_bytes()
    for cut in (0, 10, len(whole) // 3, len(whole) - 5):
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match="truncated or damaged"):
            ow.diagnostics.load_moments(path)


class Page(html.parser.HTMLParser):
    """Checks that tags are closed in order, and collects what a page refers to."""

    VOID = {"meta", "br", "path", "circle", "rect", "input"}

    def __init__(self, text):
        super().__init__()
        self.open, self.counts, self.links, self.classes = [], {}, [], set()
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.links += [v for k, v in attrs if k in ("src", "href", "xlink:href")]
        self.classes |= {c for k, v in attrs if k == "class" for c in v.split()}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.counts[tag] = self.counts.get(tag, 0) + 1

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_of_one_run_stands_alone(healthy, tmp_path):
    history, losses = healthy
    path = ow.diagnostics.write_report(tmp_path / "report.html", history, losses=losses)
    text = path.read_text()
    page = Page(text)
    assert page.links == [] and page.counts["svg"] == 10
    # The only address is the name space of SVG, which nobody asks for.
    assert set(re.findall(r"https?://[^\s\"']*", text)) == {
        "http://www.w3.org/2000/svg"
    }
    assert not re.search(r"@import|url\(|fetch\(|import\(", text)
    assert "width=device-width" in text and "prefers-color-scheme: dark" in text
    assert '<p class="verdict fine" role="status">No issues found.</p>' in text
    seen = text[: text.index("<script")]
    assert "NaN" not in seen and ">nan" not in seen
    assert path.stat().st_size < 200_000
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_a_measured_sharpness_has_a_picture(tmp_path):
    history, _ = trainings.measured_quadratic(0.1)
    path = ow.diagnostics.write_report(tmp_path / "report.html", history)
    assert "<b>Sharpness over its stability threshold</b>" in path.read_text()
    assert "beyond-stability" in path.read_text()
    assert Page(path.read_text()).links == ["https://arxiv.org/abs/2207.14484"]
    _, axes = ow.diagnostics.plot_moments(history)
    (edge, curve) = axes["sharpness"].lines
    assert set(edge.get_ydata()) == {1.0}
    np.testing.assert_allclose(curve.get_xdata(), history.sharpness_steps)
    np.testing.assert_allclose(
        curve.get_ydata(), history.sharpness * 0.1 / 38, rtol=1e-5
    )
    again = ow.diagnostics.load_moments(history.save(tmp_path / "moments"))
    assert ow.diagnostics.advise(again) == ow.diagnostics.advise(history)
    without, _ = trainings.quadratic(0.1)
    assert "sharpness" not in ow.diagnostics.plot_moments(without)[1]


def test_the_page_of_several_runs_has_advice_for_each(healthy, tmp_path):
    ill, losses = trainings.no_warmup()
    runs = {"with <warmup>": healthy[0], "without": ill}
    path = ow.diagnostics.write_report(
        tmp_path / "r.html", runs, losses={"without": losses}
    )
    text = path.read_text()
    page = Page(text)
    assert "with &lt;warmup&gt;" in text and "<warmup>" not in text
    assert page.counts["article"] == len(ow.diagnostics.advise(ill, losses=losses))
    assert page.counts["svg"] == 8 + 2 * 2
    assert {"run0", "run1", "warning", "note"} <= page.classes
    untagged = re.sub("<[^>]*>", "", text)
    for advice in ow.diagnostics.advise(ill, losses=losses):
        assert html.escape(advice.explanation) in untagged
    assert page.counts["details"] >= page.counts["article"]
    # The verdict, the main pictures, advice, tables.
    tags = ('"verdict warning"', "<svg", "<article", "<table")
    places = [text.index(tag) for tag in tags]
    assert places == sorted(places)


@parametrize(
    "training",
    [
        trainings.nan_in_a_batch,
        trainings.partly_sgd,
        trainings.no_rate_at_all,
        trainings.one_huge_gradient,
        trainings.cold_rmsprop,
        lambda: (trainings.empty(), None),
        lambda: (trainings.empty(), {}),
    ],
    quick=3,
)
def test_ill_and_empty_records_render(training, tmp_path):
    history, losses = training()
    if losses is not None and len(losses):
        losses = losses.copy()
        losses[-3:] = np.inf, np.nan, -np.inf
    text = ow.diagnostics.write_report(
        tmp_path / "r.html", history, losses=losses
    ).read_text()
    Page(text)
    coordinates = re.findall(r'(?: d| x| y|width|height|cx|cy)="([^"]*)"', text)
    assert not [c for c in coordinates if "nan" in c or "inf" in c]
    figure, _ = ow.diagnostics.plot_moments(history, losses=losses)
    figure.savefig(tmp_path / "figure.png")


def test_a_long_run_keeps_the_page_small(healthy, tmp_path):
    history, _ = healthy
    losses = np.exp(-np.arange(200_000) / 1e5) + 1
    path = ow.diagnostics.write_report(tmp_path / "r.html", history, losses=losses)
    assert path.stat().st_size < 200_000


def test_the_figure_has_a_panel_for_all_that_is_recorded(healthy):
    history, losses = healthy
    _, axes = ow.diagnostics.plot_moments(history, losses=losses)
    assert set(axes) == {
        *(
            "loss",
            "learning_rate",
            "effective_sample_size",
            "update_rms",
            "normalized_gradient_rms",
        ),
        *("update_to_weight", "alignment", "noise_scale", "distribution", "groups"),
    }
    x, y = axes["update_rms"].lines[-1].get_data()
    np.testing.assert_array_equal(x, history.steps)
    np.testing.assert_array_equal(y, history.overall["update_rms"])
    labels = [text.get_text() for text in axes["groups"].get_yticklabels()]
    assert labels == list(history.groups)


def test_the_figure_of_two_runs_names_their_curves(healthy):
    other, _ = trainings.healthy("adam 0.999")
    _, axes = ow.diagnostics.plot_moments({"fast": healthy[0], "slow": other})
    said = [text.get_text() for text in axes["normalized_gradient_rms"].texts]
    assert {"fast", "slow"} <= set(said)
    colors = {
        text.get_color()
        for text in axes["normalized_gradient_rms"].texts
        if text.get_text() in ("fast", "slow")
    }
    assert len(colors) == 2
    assert {"distribution fast", "groups slow"} <= set(axes)


def test_quantiles_lie_where_the_moments_do():
    """Against nu_hat of one known gradient: all coordinates within one bin."""
    import jax.numpy as jnp
    import optax

    optimizer = ow.record_moments(optax.adam(1e-3))
    grads = {"w": jnp.full(64, 0.05)}
    state = optimizer.init(grads)
    for _ in range(8):
        _, state = optimizer.update(grads, state)
    _, axes = ow.diagnostics.plot_moments(ow.read_moments(state))
    for line in axes["distribution"].lines:
        # A bin is a factor of two of the gradient's size.
        assert np.all(np.abs(np.log2(line.get_ydata() / 0.05)) <= 1)


def test_wrong_runs_and_losses_are_refused(healthy, tmp_path):
    history, losses = healthy
    path = tmp_path / "r.html"
    with pytest.raises(ValueError, match="runs must hold at least one run"):
        ow.diagnostics.write_report(path, {})
    with pytest.raises(TypeError, match=r"runs must be a MomentHistory .*got list"):
        ow.diagnostics.write_report(path, [history])
    with pytest.raises(TypeError, match="names of runs must be strings, got 1"):
        ow.diagnostics.plot_moments({1: history, "1": history})
    with pytest.raises(TypeError, match="'a' must be a MomentHistory, got dict"):
        ow.diagnostics.plot_moments({"a": {}})
    with pytest.raises(ValueError, match=r"losses must map names of runs \(a\)"):
        ow.diagnostics.plot_moments({"a": history}, losses={"b": losses})
    with pytest.raises(ValueError, match="losses must map names"):
        ow.diagnostics.write_report(path, {"a": history}, losses=losses)
    for bad, error, message in (
        ({1.5: 0.0}, ValueError, r"keys of losses must be steps.*got 1\.5"),
        ({-1: 0.0}, ValueError, "keys of losses must be steps.*got -1"),
        ({"3": 0.0}, ValueError, "keys of losses must be steps.*got '3'"),
        ({3: "low"}, TypeError, "the loss of step 3 must be a number, got 'low'"),
        ("abc", TypeError, "losses must be numbers.*got str"),
    ):
        with pytest.raises(error, match=message):
            ow.diagnostics.write_report(path, history, losses=bad)
    assert not path.exists()


def test_wrong_paths_are_refused(healthy, tmp_path):
    history, _ = healthy
    for suffix in ("pdf", "npz"):
        with pytest.raises(ValueError, match=r"path must end in \.html or \.htm"):
            ow.diagnostics.write_report(tmp_path / f"r.{suffix}", history)
    for call in (
        lambda: ow.diagnostics.write_report(None, history),
        lambda: ow.diagnostics.load_moments(3),
        lambda: history.save(b"moments"),
    ):
        with pytest.raises(TypeError, match="path must be a string or a pathlib.Path"):
            call()
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="is a folder; pass the .npz file in it"):
        ow.diagnostics.load_moments(tmp_path)


def advice(severity, finding="One thing. Another thing.", code="some-code"):
    return Advice(code, severity, finding)


@pytest.mark.parametrize(
    ("found", "severity", "sentence"),
    [
        ({"run": ()}, "fine", "No issues found."),
        (
            {"run": (advice("note"), advice("note"))},
            "fine",
            "No problems found; the notes below (2) are for information.",
        ),
        (
            {"run": (advice("note", "No update is recorded yet.", "empty-record"),)},
            "note",
            "No update is recorded yet.",
        ),
        (
            {"run": (advice("problem"), advice("warning"), advice("warning"))},
            "problem",
            "1 problem and 2 warnings: One thing.",
        ),
        ({"a": (), "b": ()}, "fine", "No issues found in 2 runs."),
        (
            {
                "a": (advice("warning"),),
                "b": (),
                "c": (advice("problem", "It is 0.5."),),
            },
            "problem",
            "1 problem and 1 warning in “a” and “c”; in “c”: It is 0.5.",
        ),
        (
            {name: (advice("warning"),) for name in "abcd"},
            "warning",
            "4 warnings in 4 runs; in “a”: One thing.",
        ),
    ],
)
def test_a_verdict_is_one_sentence(found, severity, sentence):
    assert verdict(found) == Verdict(severity, sentence)


def test_names_with_a_dot_keep_their_ends(healthy, tmp_path):
    history, _ = healthy
    paths = {history.save(tmp_path / f"lr0.{i}") for i in (1, 2)}
    assert {path.name for path in paths} == {"lr0.1.npz", "lr0.2.npz"}
    assert history.save(tmp_path / "run.npz").name == "run.npz"
    folders = [tmp_path / "lr1.0", tmp_path / "lr1.1"]
    for folder in folders:
        run_folder(folder, healthy)
    assert list(load_runs(folders)[0]) == ["lr1.0", "lr1.1"]


def run_folder(folder, training):
    """A folder as the transformer example writes it, cut off in its last line."""
    history, losses = training
    folder.mkdir(parents=True)
    history.save(folder / "moments")
    rows = [
        {"step": s, "loss": "NaN" if math.isnan(x) else x} for s, x in enumerate(losses)
    ]
    rows.insert(3, {"step": 3, "heldout_loss": 1.0})
    lines = "\n".join(map(json.dumps, rows))
    (folder / "metrics.jsonl").write_text(lines + '\n{"step": 99999, "lo')


def test_report_of_run_folders(healthy, tmp_path):
    run_folder(tmp_path / "one" / "run", healthy)
    run_folder(tmp_path / "two" / "run", trainings.nan_in_a_batch())
    folders = [tmp_path / "one" / "run", tmp_path / "two" / "run"]
    _, losses = load_runs(folders)
    assert losses["one/run"] == dict(enumerate(healthy[1]))
    assert math.isnan(losses["two/run"][25])
    said = report_command(folders, tmp_path / "report.html")
    assert said.splitlines()[0] == "one/run" and "\ntwo/run\n" in said
    assert "problem: nu holds NaN" in said
    assert said.endswith("report.html")
    *narrow, _ = report_command(folders, tmp_path / "r.html", width=60).splitlines()
    assert max(map(len, narrow)) <= 60
    text = (tmp_path / "report.html").read_text()
    assert "<b>Loss</b>" in text
    alone = report_command([folders[0] / "moments.npz"], tmp_path / "alone.html")
    assert alone.startswith("moments\n")
    with pytest.raises(ValueError, match=r"holds no run: there is no moments\.npz"):
        report_command([tmp_path], tmp_path / "x.html")
    with pytest.raises(ValueError, match="given twice"):
        report_command([folders[0], folders[0]], tmp_path / "x.html")


def test_the_command(healthy, tmp_path, capsys):
    run_folder(tmp_path / "run", healthy)
    page = tmp_path / "page.html"
    assert main(["report", str(tmp_path / "run"), "--output", str(page)]) == 0
    assert "No issues found." in capsys.readouterr().out
    assert page.is_file()
    for wrong, message in (
        (tmp_path / "none", f"report: there is no {tmp_path / 'none'}."),
        (tmp_path, "holds no run: there is no moments.npz"),
    ):
        assert main(["report", str(wrong), "--output", str(page)]) == 2
        assert message in capsys.readouterr().err
    assert main(["report", str(tmp_path / "run"), "--output", "r.pdf"]) == 2
    assert "--output must end in .html or .htm, got 'r.pdf'" in capsys.readouterr().err
    (tmp_path / "run" / "moments.npz").write_bytes(b"PK")
    assert main(["report", str(tmp_path / "run"), "--output", str(page)]) == 2
    assert "truncated or damaged" in capsys.readouterr().err


def test_a_report_needs_no_matplotlib(tmp_path):
    history, _ = trainings.first_update_zero()
    path = history.save(tmp_path / "moments")
    code = (
        "import sys, optax_warmup as ow\n"
        "history = ow.diagnostics.load_moments(sys.argv[1])\n"
        "ow.diagnostics.write_report(sys.argv[2], history)\n"
        "assert 'matplotlib' not in sys.modules"
    )
    page = tmp_path / "r.html"
    subprocess.run([sys.executable, "-c", code, path, page], check=True)
    assert page.is_file()
