"""Progress where there is no terminal."""

from __future__ import annotations

from subbyte.cli.console import ProgressLines, stage_progress


class Clock:
    """Tells the time it is given."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_line_every_few_seconds() -> None:
    clock, lines = Clock(), list[str]()
    progress = ProgressLines(lines.append, clock, every=5)
    for clock.now, done in ((101, 0), (104.9, 1), (105, 2), (107, 3), (109.9, 4), (111, 5)):
        progress("encode", done, 9, f"conv{done}")
    assert lines == ["5 s: encode 2/9, conv2", "11 s: encode 5/9, conv5"]
    # A long step: nobody says anything new.
    clock.now = 115
    progress.tick()
    clock.now = 117
    progress.tick()
    progress("prove", 9, 9, "")
    assert lines[2:] == ["17 s: encode 5/9, conv5"]
    clock.now = 130
    progress.tick()
    assert lines[3:] == ["30 s: prove 9/9"]


def test_nothing_is_written_before_anything_is_said() -> None:
    clock, lines = Clock(), list[str]()
    progress = ProgressLines(lines.append, clock, every=5)
    clock.now = 200
    progress.tick()
    assert lines == []


def test_a_short_command_writes_nothing(capfd) -> None:  # type: ignore[no-untyped-def]
    with stage_progress() as progress:
        progress("encode", 0, 2, "")
        progress("encode", 2, 2, "")
    assert capfd.readouterr() == ("", "")
