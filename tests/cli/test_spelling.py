from __future__ import annotations

from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from subbyte.cli.app import app
from subbyte.cli.spelling import as_typed, document_as_typed
from subbyte.compression import CompressOptions
from subbyte.errors import OptionError
from tests import tiny

SPELLINGS = {
    "`bits`": "--bits",
    "`max_drop`": "--max-drop",
    "`tune_linear=0`": "--tune-linear 0",
    "`layout=nhwc`": "--layout nhwc",
    "`scale=1`": "--input-scale 1",
    "`preprocessing` imagenet": "--preset imagenet",
    "`set_inputs={'rate': 16}`": "--set-input rate=16",
    "`set_inputs={'NAME': VALUE}`": "--set-input NAME=VALUE",
    "`batch_axes={'a.b:0': 1}`": "--batch-axis a.b:0=1",
    "`shapes={'ids': (1, ...)}`": "--shape ids=1x...",
    "`images.size=(480, 640)`": "--image-size 480x640",
    "`labels=FILE.txt`": "--labels FILE.txt",
}


@pytest.mark.parametrize("text", SPELLINGS)
def test_options_are_as_the_command_line_has_them(text: str) -> None:
    assert as_typed(f"expected {text}, or not") == f"expected {SPELLINGS[text]}, or not"
    option = SPELLINGS[text].partition(" ")[0]
    commands = get_command(app).commands.values()  # type: ignore[attr-defined]
    assert any(option in each.opts for command in commands for each in command.params)


def test_nothing_else_between_backticks_is_an_option() -> None:
    text = "run `subbyte calibrate-cpu` again, then `subbyte plan`"
    assert as_typed(text) == text


def test_sentences_of_documents() -> None:
    document = {
        "name": "`a`",
        "proof": {"warnings": ["try `tune`"]},
        "missing": [{"reason": "`b`"}],
    }
    assert document_as_typed(document) == {
        "name": "`a`",
        "proof": {"warnings": ["try --tune"]},
        "missing": [{"reason": "--b"}],
    }


def test_the_same_mistake_in_python_and_on_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(OptionError) as error:
        CompressOptions(bits=2.0, max_drop=1.0)
    assert str(error.value) == "`bits` and `max_drop` exclude each other"
    path = tiny.save(tiny.classifier(), tmp_path / "net.onnx")
    words = ["compress", path, "-o", tmp_path / "a.onnx", "--calib", "x.npz", "--bits", 2]
    result = CliRunner().invoke(app, [*map(str, words), "--max-drop", "1"])
    assert result.exit_code == 2
    assert result.stderr == "error: --bits and --max-drop exclude each other\n"
