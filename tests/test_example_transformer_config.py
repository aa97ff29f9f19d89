"""Settings of the transformer example: on the command line, in files and folders."""

import dataclasses
import json
import re

import pytest
from compiled import quickly
from transformer_runs import OPTIONS, TINY, compile_once, write_text

from examples.transformer.core.settings import InputError
from examples.transformer.run import train
from examples.transformer.run.command_line import TrainOptions, parse
from examples.transformer.run.config import Config
from examples.transformer.run.config_file import read_config, read_run, read_settings
from examples.transformer.run.presets import PRESETS
from examples.transformer.run.result import load_result


def config_of(*arguments):
    _, config = parse(TrainOptions, "train", "", arguments, on_divergence="stop")
    return config


def options_of(*arguments):
    options, _ = parse(TrainOptions, "train", "", arguments)
    return options


def write(path, **settings):
    path.write_text(json.dumps(settings))
    return str(path)


def test_options_override_a_preset():
    config = config_of(
        "--preset", "small", "--no-tied-embedding", "--peak-value", "2e-3"
    )
    assert config == PRESETS["small"].replace(tied_embedding=False, peak_value=2e-3)
    assert config_of().on_divergence == "stop"


def test_a_file_of_settings_travels(tmp_path):
    """A run's config.json, a part of one, and TOML: options go over each of them."""
    whole = write(tmp_path / "config.json", **dataclasses.asdict(TINY))
    assert config_of("--config", whole) == TINY
    assert config_of("--config", str(tmp_path)) == TINY  # the folder of a run
    assert config_of("--config", whole, "--seed", "3") == TINY.replace(seed=3)

    part = write(tmp_path / "part.json", preset="small", layers=2)
    assert config_of("--config", part, "--width", "192") == PRESETS["small"].replace(
        layers=2, width=192
    )
    (tmp_path / "part.toml").write_text('# a comment\npreset = "small"\nlayers = 2\n')
    assert config_of("--config", str(tmp_path / "part.toml")) == config_of(
        "--config", part
    )


def test_a_file_goes_over_the_defaults_of_a_command(tmp_path):
    assert config_of().on_divergence == "stop"
    file = write(tmp_path / "c.json", on_divergence="continue")
    assert config_of("--config", file).on_divergence == "continue"


def test_every_setting_of_a_file_is_taken_or_refused(tmp_path):
    """What asdict wrote comes back, whatever the kind of the field."""
    changed = Config(
        data="texts", attention="xla", fsdp=0, b1=0.5, remat=True, run_dir="runs/a"
    )
    file = write(tmp_path / "c.json", **json.loads(json.dumps(vars(changed))))
    assert Config(**read_settings(file)) == changed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"layer": 3}', "'layer' is no setting. Did you mean layers"),
        ('{"batch-size": 3}', "'batch-size' is no setting. Did you mean batch_size"),
        ('{"dropout": 0.1}', "'dropout' is no setting. --help lists"),
        ('{"layers": "3"}', "layers='3' is invalid: it must be a whole number"),
        ('{"layers": 2.0}', "layers=2.0 is invalid"),
        ('{"layers": null}', "layers=None is invalid"),
        ('{"layers": true}', "layers=True is invalid"),
        ('{"layers": [3]}', r"layers=\(3,\) is invalid"),
        ('{"remat": 1}', "remat=1 is invalid: it must be true or false"),
        ('{"peak_value": "NaN"}', "peak_value=nan is invalid: it must be finite"),
        ('{"attention": "flash"}', "attention='flash' .*one of auto, cudnn, xla"),
        ('{"preset": "tiny"}', "preset='tiny' is none.*small"),
        ('{"preset": 3}', "preset=3 is none"),
        ('{"layers": 2, "layers": 3}', "cannot be read.*'layers' is there twice"),
        ("{", "cannot be read"),
        ("[1]", "cannot be read.*no JSON object"),
        ("", "cannot be read"),
        ("\xff", "cannot be read"),
    ],
)
def test_a_file_that_will_not_do(tmp_path, text, message):
    file = tmp_path / "c.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=f"{re.escape(str(file))}.*({message})"):
        config_of("--config", str(file))


def test_a_file_that_is_not_there():
    with pytest.raises(InputError, match="config='no.json' does not exist"):
        config_of("--config", "no.json")


def test_there_is_one_start(tmp_path):
    file = write(tmp_path / "c.json", layers=2)
    with pytest.raises(InputError, match="--preset and --config each say"):
        config_of("--preset", "small", "--config", file)
    with pytest.raises(InputError, match="--preset and --resume each say"):
        config_of("--preset", "small", "--resume", str(tmp_path))
    with pytest.raises(InputError, match="takes one folder, got a, b"):
        config_of("--resume", "a", "b")


def test_resume_with_and_without_a_folder(tmp_path):
    """Without one the settings are those of the command, as on a cluster's requeue."""
    assert options_of().resume is None
    assert options_of("--preset", "small", "--resume").resume == ()
    assert config_of("--resume", "--preset", "small").layers == 6
    folder = tmp_path / "mine.incomplete"
    folder.mkdir()
    config = TINY.replace(run_dir="elsewhere/old", on_divergence="continue")
    write(folder / "config.json", **dataclasses.asdict(config))
    for name in ("mine", "mine.incomplete", "mine/"):  # moved, and by any of its names
        found = config_of("--resume", f"{tmp_path}/{name}")
        assert found == config.replace(run_dir=str(tmp_path / "mine"))
    changed = config_of("--resume", str(folder), "--total-steps", "20")
    assert changed.total_steps == 20 and changed.width == TINY.width


def test_a_folder_without_a_run_cannot_go_on(tmp_path):
    with pytest.raises(InputError, match="there is no run in .*nope nor in .*nope.inc"):
        read_run(str(tmp_path / "nope"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty has no config.json"):
        read_run(str(tmp_path / "empty"))
    write(tmp_path / "empty" / "config.json", layer=3)
    with pytest.raises(InputError, match="Did you mean layers.*Put .*config.json back"):
        read_config(tmp_path / "empty")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--warmup-step", "3"], "Perhaps you meant:.*--warmup-steps"),
        (["--preset", "smal"], "invalid choice 'smal'.*small"),
        (["--layers", "1.5"], "--layers.*1.5"),
        (["--layers"], "--layers"),
        (["stray"], "stray"),
    ],
)
def test_a_command_line_that_will_not_do(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        config_of(*arguments)
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert re.search(message, said.err + said.out, re.S)


def test_help_shows_the_values_to_start_from(capsys):
    with pytest.raises(SystemExit) as ended:
        config_of("--preset", "small", "--help")
    assert ended.value.code == 0
    assert re.search(r"--width INT\b.*?default: 384", capsys.readouterr().out, re.S)


@pytest.mark.slow
@pytest.mark.train
def test_a_run_goes_on_from_its_folder_alone(tmp_path, tmp_path_factory, capsys):
    """It ended at 8 updates, was moved, and is trained for 12."""
    data = ["--data", write_text(tmp_path), "--log-every", "5"]
    short = ["--run-dir", str(tmp_path / "run"), "--total-steps", "8"]
    moved = tmp_path / "moved"
    with compile_once(tmp_path_factory, quickly):
        assert train.main([*OPTIONS, *data, *short]) == 0
        (tmp_path / "run").rename(moved)
        longer = ["--resume", str(moved), "--total-steps", "12", "--accept-changes"]
        assert train.main(longer) == 0
        printed = capsys.readouterr().out
        assert train.main(["--resume", str(moved)]) == 0
    assert f"the run is in {moved}/" in printed
    assert f"{moved}/ is finished" in capsys.readouterr().out
    # The last line is that of the last update, though it is not one of every fifth.
    result = load_result(moved)
    assert result.updates["step"].tolist() == [0, 5, 7, 10, 11]
    last = [line for line in printed.splitlines() if " step " in line][-1]
    assert "step 12/12" in last
    assert f"loss {result.updates['loss'][-1]:.3f}" in last
