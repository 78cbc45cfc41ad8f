"""The counter of headless clauses and long sentences, on texts with known counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.prose import Count, Text, examine, main, over_limits, sentences, texts


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def counted(path: Path) -> Count:
    total = Count()
    for text in texts(path):
        total.add(examine(text)[0])
    return total


@pytest.mark.parametrize(
    ("sentence", "headless"),
    [
        ("Reads what the file holds.", 1),
        ("The scales are those of the layer, the type is that of the input.", 2),
        ("What does the file hold?", 0),
        ("Reads the arrays that the file holds.", 0),
        ("The option `what` is a name.", 0),
        ("Whatever it takes, what it takes counts.", 2),
        ("It minimises tr((W* - What) H (W* - What)^T).", 0),
    ],
)
def test_headless_clauses(tmp_path: Path, sentence: str, headless: int) -> None:
    assert counted(written(tmp_path, "page.md", sentence)).headless == headless


def test_sentences_end_at_periods_and_items() -> None:
    page = "One two. Three, e.g. four: five.\n\n- six\n- seven\n  eight\n"
    found = [sentence for text in [_text(page)] for _, sentence in sentences(text)]
    assert found == ["One two.", "Three, e g four: five.", "- six", "- seven eight"]


def _text(page: str) -> Text:
    return Text(Path("page.md"), 1, tuple(page.splitlines()))


def test_code_formulas_tables_and_headings_are_no_prose(tmp_path: Path) -> None:
    page = "# What\n\n    y = what\n\n| what |\n| --- |\n\n```sh\nwhat\n```\n\nProse.\n"
    count = counted(written(tmp_path, "page.md", page))
    assert (count.words, count.sentences, count.headless) == (1, 1, 0)


def test_docstrings_alone_are_counted_in_python(tmp_path: Path) -> None:
    source = '"""One two three."""\n\ndef f():\n    """What it is."""\n    return "what it is"\n'
    count = counted(written(tmp_path, "module.py", source))
    assert (count.words, count.sentences, count.headless) == (6, 2, 1)


def test_text_below_a_heading_is_counted(tmp_path: Path) -> None:
    source = '"""First.\n\nPacked form:\n    decode: what the file holds.\n"""\n'
    assert counted(written(tmp_path, "module.py", source)).headless == 1


def test_findings_have_the_line_of_their_sentence(tmp_path: Path) -> None:
    path = written(tmp_path, "module.py", '"""First.\n\nSecond. Third is\nwhat it is.\n"""\n')
    (text,) = texts(path)
    _, (finding,) = examine(text)
    assert (finding.line, finding.text) == (3, "Third is what it is.")


def test_long_sentences_are_counted(tmp_path: Path) -> None:
    page = " ".join(["word"] * 36) + ". " + " ".join(["Word"] * 35) + "."
    count = counted(written(tmp_path, "page.md", page))
    assert (count.long, count.sentences, count.mean) == (1, 2, 35.5)


def test_only_figures_above_their_limit_are_said() -> None:
    count = Count(words=1000, sentences=50, headless=1, long=0)
    assert over_limits(count, 1.0, 20.0, 0) == []
    assert over_limits(count, None, None, None) == []
    assert len(over_limits(count, 0.9, 19.9, -1)) == 3


def test_the_command_names_file_and_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "page.md", "Good.\nReads what it finds.\n")
    assert main([str(path), "--headless", "0"]) == 1
    assert f"{path}:2: headless 'what'" in capsys.readouterr().out
    assert main([str(path), "--headless", "300"]) == 0
