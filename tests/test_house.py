"""What the whole repository promises: commands, sizes of files, docstrings, imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "subbyte"
FOLDERS = ("src", "tests", "benchmarks", "examples", "native")
LONGEST_FILE = 500
MOST_ROOMS, MOST_FLOORS, MOST_SOURCES = 15, 8, 15

# Where the name to import is not the name to install.
_DISTRIBUTION = {"PIL": "pillow", "google": "protobuf", "onnx_ir": "onnx-ir"}


def sources(folder: Path, *suffixes: str) -> list[Path]:
    return sorted(path for suffix in suffixes for path in folder.rglob(f"*{suffix}"))


def readme_commands() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def ci_commands() -> list[str]:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def test_ci_runs_every_command_of_the_readme_in_its_place() -> None:
    """The order may differ only between make targets, which do not depend on each other."""
    readme, ci = readme_commands(), ci_commands()
    assert {"make demo", "make test"} <= set(readme)
    assert [line for line in ci if line in readme and not line.startswith("make")] == [
        line for line in readme if not line.startswith("make")
    ]
    assert {line for line in readme if line.startswith("make")} <= set(ci)


def test_ci_stops_at_the_first_failure_and_checks_everything() -> None:
    assert "set -euo pipefail" in ci_commands()
    assert "make check" in ci_commands()


def test_a_first_result_takes_few_lines() -> None:
    assert len(readme_commands()) < 15


# What a file records, and words that are another program's.
DASHES_OF_OTHERS = {"--activations float", "subbyte compress --plan", "tf2onnx", "--saved-model"}
_GIT = "report/system.py"


def test_only_the_command_line_gives_options_dashes() -> None:
    found = []
    for path in sources(PACKAGE, ".py"):
        if path.is_relative_to(PACKAGE / "cli") or path.as_posix().endswith(_GIT):
            continue
        tree = ast.parse(path.read_text())
        docs = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
                continue
            ours = not any(words in node.value for words in DASHES_OF_OTHERS)
            if ours and id(node) not in docs and re.search(r"(?<![-\w])--[a-z]", node.value):
                found.append((path.name, node.lineno, node.value))
    assert found == []


def test_make_targets_of_the_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sources(ROOT / "docs", ".md")]:
        named = set(re.findall(r"`make ([a-z-]+)", page.read_text()))
        assert named <= targets, page.name


def test_links_between_documents_lead_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sources(ROOT / "docs", ".md")]
    broken = [
        f"{page.relative_to(ROOT)} -> {link}"
        for page in pages
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text())
        if not (page.parent / link).exists()
    ]
    assert broken == []


def test_paths_in_documents_exist() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sources(ROOT / "docs", ".md")]
    pattern = re.compile(r"`((?:src|native|tests|benchmarks|examples|docs|tools)/[\w./-]+)[`:]")
    missing = [
        f"{page.relative_to(ROOT)}: {path}"
        for page in pages
        for path in pattern.findall(page.read_text())
        if not (ROOT / path).exists()
    ]
    assert missing == []


def test_the_overview_names_every_page() -> None:
    overview = ROOT / "docs" / "index.md"
    linked = set(re.findall(r"\]\(([^)#:]+)\)", overview.read_text()))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in sources(ROOT / "docs", ".md")}
    assert pages - linked == {overview.name}


def test_files_are_short() -> None:
    paths = [
        path
        for folder in FOLDERS
        if (ROOT / folder).is_dir()
        for path in sources(ROOT / folder, ".py", ".cpp", ".h")
    ]
    assert len(paths) > 20
    long = [str(path) for path in paths if len(path.read_text().splitlines()) > LONGEST_FILE]
    assert long == []


@pytest.mark.parametrize(
    "path", sources(PACKAGE, ".py"), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_every_module_has_a_docstring(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_third_party_imports_are_declared() -> None:
    """What the package imports stands in its dependencies or in one of the user's extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    required = project["dependencies"] + extras["compress"] + extras["bench"] + extras["ray"]
    declared = {re.split(r"[<>=!~\[ ]", line)[0] for line in required}
    imported = {name for path in sources(PACKAGE, ".py") for name in _imports(path)}
    outside = imported - set(sys.stdlib_module_names) - {"subbyte"}
    assert {_DISTRIBUTION.get(name, name) for name in outside} <= declared


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import subbyte", ("torch", "onnx", "onnxruntime", "numpy", "rich", "typer")),
        ("import subbyte; subbyte.load", ("torch", "onnx", "onnx_ir", "rich", "typer")),
        ("import subbyte; subbyte.evaluate; subbyte.bench", ("torch", "onnx", "onnx_ir")),
        ("import subbyte.cli.app", ("torch", "onnx")),
    ],
)
def test_import_brings_in_no_more_than_it_needs(statement: str, absent: tuple[str, ...]) -> None:
    code = f"{statement}\nimport sys\nprint([m for m in {absent!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_version_is_the_packages() -> None:
    import subbyte

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert subbyte.__version__ == project["version"]


# Tests: what they may import, and what they may replace

IMPORTED_TEST = re.compile(
    r"^\s*(?:from|import) tests[\w.]*(?:\.test_| import [^\n(]*\btest_| import \([^)]*\btest_)",
    re.M,
)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("from tests.graph.test_one import run", True),
        ("from tests.graph import test_one as one", True),
        ("from tests.graph import (\n    zoo,\n    test_one,\n)", True),
        ("import tests.graph.test_one", True),
        ("from tests.graph.one import latest_run", False),
        ("from tests import tiny\n\n\ndef test_one() -> None:", False),
    ],
)
def test_imports_of_test_files_are_seen(line: str, found: bool) -> None:
    assert bool(IMPORTED_TEST.search(line)) == found


def test_no_test_file_is_imported_by_another() -> None:
    """Code that several tests share stands in a module beside them, without tests."""
    paths = [path for path in sources(ROOT / "tests", ".py") if path.name != "test_house.py"]
    assert len(paths) > 200
    found = [path.name for path in paths if IMPORTED_TEST.search(path.read_text())]
    assert found == []


# Modules of the outside world, whose failures tests may pretend.
OUTSIDE = {"fcntl", "futures", "os", "sys", "tempfile", "time", "torch"}
# Still to be mended: tests that replace something of ours. Nothing is to be added here.
REPLACED = {
    "tests/benchmarks/papers/test_horq.py": {"horq.DATA", "horq.TASKS", "horq.measure"},
    "tests/benchmarks/test_whole_networks.py": {"whole_networks.measure"},
    "tests/cli/commands/test_plan.py": {"timings.calibrate"},
    "tests/cli/test_bad_input.py": {"subbyte.compression.compress"},
    "tests/compression/proof/test_inline.py": {"inlined.inline"},
    "tests/compression/proof/test_prove.py": {"pipeline.write_coded"},
}


QUOTES = "'\""


def replaced(source: str) -> set[str]:
    """The names that the tests of a file replace, but for those of the outside world."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        called = node.func if isinstance(node, ast.Call) else None
        if (
            isinstance(node, ast.Call)
            and isinstance(called, ast.Attribute)
            and called.attr in ("setattr", "delattr")
            and node.args
        ):
            target = node.args[0]
            if isinstance(target, ast.Constant):
                name = str(target.value)
            else:
                name = f"{ast.unparse(target)}.{ast.unparse(node.args[1]).strip(QUOTES)}"
            if name.partition(".")[0] not in OUTSIDE:
                found.add(name)
    return found


def test_what_is_replaced_is_seen() -> None:
    ours = 'monkeypatch.setattr(grid, "MOST", 3)\npatch.delattr("subbyte.grid.MOST")'
    assert replaced(ours) == {"grid.MOST", "subbyte.grid.MOST"}
    assert replaced('monkeypatch.setattr(os, "replace", full)\nsetattr(a, "b", 1)') == set()
    assert replaced('monkeypatch.setattr("tempfile.mkstemp", full)') == set()


def test_tests_replace_nothing_of_ours() -> None:
    """A constant or a helper that a test wants otherwise is a parameter (CONTRIBUTING.md)."""
    found = {
        path.relative_to(ROOT).as_posix(): names
        for path in sources(ROOT / "tests", ".py")
        if (names := replaced(path.read_text()))
    }
    assert found == REPLACED


# The map of the package: few rooms, few floors, no way round in a circle


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("subbyte", exclude_type_checking_imports=True, cache_dir=None)


def arrows(imports: grimp.ImportGraph, package: str) -> dict[str, set[str]]:
    """The rooms of a package, its modules and packages, and the rooms that each imports."""
    rooms = sorted(imports.find_children(package))
    room_of = {inside: room for room in rooms for inside in {room} | imports.find_descendants(room)}
    found: dict[str, set[str]] = {room: set() for room in rooms}
    for inside, room in room_of.items():
        read = imports.find_modules_directly_imported_by(inside)
        found[room] |= {room_of[other] for other in read if other in room_of} - {room}
    return found


def floors(arrows: dict[str, set[str]]) -> list[set[str]]:
    """Rooms that import nothing, rooms that import only those, and so on; rooms that import
    each other in a circle are on no floor."""
    found: list[set[str]] = []
    left = dict(arrows)
    while below := {room for room, read in left.items() if not read & left.keys()}:
        found.append(below)
        left = {room: read for room, read in left.items() if room not in below}
    return found


def test_floors_of_rooms() -> None:
    assert floors({"a": {"b"}, "b": set(), "c": {"b"}}) == [{"b"}, {"a", "c"}]
    assert floors({"a": {"b"}, "b": {"a"}, "c": set(), "d": {"a"}}) == [{"c"}]


@pytest.mark.parametrize("package", ["subbyte.compression", "subbyte.graph"])
def test_rooms_of_a_package_are_few_and_import_no_circle(
    package: str, imports: grimp.ImportGraph
) -> None:
    rooms = arrows(imports, package)
    stacked = floors(rooms)
    assert set(rooms) == set().union(*stacked)
    assert len(rooms) <= MOST_ROOMS
    assert len(stacked) <= MOST_FLOORS


def test_folders_hold_few_sources() -> None:
    counts = {
        folder.relative_to(ROOT).as_posix(): len(
            [p for p in folder.iterdir() if p.suffix in (".py", ".cpp", ".h")]
        )
        - (folder / "__init__.py").is_file()
        for tree in (ROOT / "src", ROOT / "native", ROOT / "benchmarks", ROOT / "tests")
        for folder in [tree, *(path for path in tree.rglob("*") if path.is_dir())]
    }
    assert len(counts) > 20
    assert {name: count for name, count in counts.items() if count > MOST_SOURCES} == {}


def test_nothing_inside_imports_the_whole_package(imports: grimp.ImportGraph) -> None:
    assert imports.find_modules_that_directly_import("subbyte") == set()
