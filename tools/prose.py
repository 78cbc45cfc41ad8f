"""Counts hard-to-read clauses and long sentences in docstrings and pages.

    python -m tools.prose src                             # counts, a line for each folder
    python -m tools.prose src docs --list                 # the places, as file:line
    python -m tools.prose src --headless 0.5 --mean 20 --long 0

A headless clause has a pronoun where its noun should stand: "what that takes", "those of the
layer". Figures: headless clauses per 1,000 words, words per sentence, and sentences of more than
35 words. With limits, exit code 1 says that a figure is above its limit.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LONGEST_SENTENCE = 35

# "What" within a sentence is the symbol W with a hat: the weight that codes stand for.
_HEADLESS = re.compile(
    r"\b(?:what(?:ever)?|[Tt]hat of)\b"
    r"|\b[Tt]hose (?:of|that|which|in|with|for|whose|who|from|it|they)\b"
    r"|^[\W_]*What(?:ever)?\b"
)
# A clause after a period, a question mark or an exclamation mark: a capital, a quote, a backtick.
_SENTENCE_END = re.compile(r"[.!?][)\"'`*]*\s+(?=[\"'`(*\[]*[A-Z0-9_`\"'*])")
_ABBREVIATION = re.compile(r"\b(e\.g|i\.e|et al|vs|cf|al|Fig|No|resp)\.(?=\s)")
_WORD = re.compile(r"[A-Za-z][\w'-]*")
# Lines that are no running text: fences, headings, tables, HTML, TOML tables.
_NO_PROSE = re.compile(r"^\s*(```|#|\||<|\[|:::|-{3,}|\{[%{])")
_ITEM = re.compile(r"^\s*(?:[-*]|\d+\.)\s+")
# A heading such as "Raises:" alone on its line; the text below it is indented.
_SECTION = re.compile(r"^\s*[A-Z][\w ]{0,30}:\s*$")
# "Raises:" and the names of arguments begin something new.
_ENTRY = re.compile(
    r"^\s*(?:(?:Args|Arguments|Raises|Returns|Yields|Attributes):\s*$|[\w`*., ]{1,40}:\s)"
)


@dataclass(frozen=True)
class Text:
    """Running text that begins at ``line`` (counted from 1) of ``path``."""

    path: Path
    line: int
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Finding:
    """A place that reads badly: a headless clause, or a sentence that is too long."""

    path: Path
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.kind}: {self.text}"


@dataclass
class Count:
    """Words, sentences and findings of some texts."""

    words: int = 0
    sentences: int = 0
    headless: int = 0
    long: int = 0

    def add(self, other: Count) -> None:
        """Adds ``other`` to this count."""
        self.words += other.words
        self.sentences += other.sentences
        self.headless += other.headless
        self.long += other.long

    @property
    def headless_rate(self) -> float:
        """Headless clauses per 1,000 words."""
        return 1000 * self.headless / max(self.words, 1)

    @property
    def mean(self) -> float:
        """Words per sentence."""
        return self.words / max(self.sentences, 1)


def texts(path: Path) -> Iterator[Text]:
    """The docstrings of a Python file, or the whole of a Markdown file."""
    source = path.read_text()
    if path.suffix == ".md":
        yield Text(path, 1, tuple(source.splitlines()))
        return
    for node in ast.walk(ast.parse(source)):
        # Docstrings, and the strings that describe an attribute.
        value = node.value if isinstance(node, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield Text(path, value.lineno, tuple(_dedented(value.value)))


def _dedented(text: str) -> list[str]:
    first, *rest = text.split("\n")
    margin = min((len(r) - len(r.lstrip()) for r in rest if r.strip()), default=0)
    return [first.strip(), *(line[margin:] for line in rest)]


def sentences(text: Text) -> Iterator[tuple[int, str]]:
    """Line and words of each sentence; formulas, code, tables and headings are left out."""
    for line, paragraph in _paragraphs(text):
        start = 0
        plain = _ABBREVIATION.sub(lambda m: m.group(1).replace(".", " ") + " ", paragraph)
        for end in [*(m.end() for m in _SENTENCE_END.finditer(plain)), len(plain)]:
            sentence = plain[start:end].strip()
            if sentence:
                yield line + plain.count("\n", 0, start), " ".join(sentence.split())
            start = end


def _paragraphs(text: Text) -> Iterator[tuple[int, str]]:
    """Line and text of each run of lines that belong together."""
    begin, held, fenced, entries = text.line, list[str](), False, False
    for number, line in enumerate(text.lines, text.line):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        entries = entries or bool(_SECTION.match(line))
        code = line.startswith("    ") and not entries and not (held and _ITEM.match(held[0]))
        skip = fenced or code or not line.strip() or bool(_NO_PROSE.match(line))
        new = bool(_ITEM.match(line)) or (entries and bool(_ENTRY.match(line)))
        if (skip or new) and held:
            yield begin, "\n".join(held)
            held = []
        if not skip:
            begin = begin if held else number
            held.append(line)
    if held:
        yield begin, "\n".join(held)


def examine(text: Text) -> tuple[Count, list[Finding]]:
    """Counts ``text`` and finds its headless clauses and long sentences."""
    count, found = Count(), list[Finding]()
    for line, sentence in sentences(text):
        words = len(_WORD.findall(_plain(sentence)))
        if words == 0:
            continue
        count.words += words
        count.sentences += 1
        if not sentence.rstrip("*_)\"'").endswith("?"):
            for match in _HEADLESS.finditer(_plain(sentence)):
                count.headless += 1
                found.append(Finding(text.path, line, f"headless {match.group()!r}", sentence))
        if words > LONGEST_SENTENCE:
            count.long += 1
            found.append(Finding(text.path, line, f"{words} words", sentence))
    return count, found


def _plain(sentence: str) -> str:
    """The sentence with code, names of files and targets of links as one word each."""
    sentence = re.sub(r"\]\([^)]*\)", "]", sentence)
    return re.sub(r"``?[^`]+``?", "code", sentence)


def survey(roots: list[Path]) -> tuple[dict[Path, Count], list[Finding]]:
    """Counts of each folder below ``roots``, and every finding in the order of files and lines."""
    counts, found = dict[Path, Count](), list[Finding]()
    for root in roots:
        files = [root] if root.is_file() else sorted([*root.rglob("*.py"), *root.rglob("*.md")])
        for path in files:
            for text in texts(path):
                count, findings = examine(text)
                counts.setdefault(path.parent, Count()).add(count)
                found += findings
    return counts, sorted(found, key=lambda f: (str(f.path), f.line))


def over_limits(
    total: Count, headless: float | None, mean: float | None, long: int | None
) -> list[str]:
    """A line for each figure that is above its limit; None is no limit."""
    lines = []
    if headless is not None and total.headless_rate > headless:
        lines.append(f"headless clauses: {total.headless_rate:.2f} per 1,000 words > {headless}")
    if mean is not None and total.mean > mean:
        lines.append(f"sentences: {total.mean:.1f} words on average > {mean}")
    if long is not None and total.long > long:
        lines.append(f"sentences of more than {LONGEST_SENTENCE} words: {total.long} > {long}")
    return lines


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.prose", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("paths", nargs="+", type=Path, help="files or folders: .py and .md")
    parser.add_argument("--list", action="store_true", help="print every place")
    parser.add_argument("--headless", type=float, help="most clauses per 1,000 words")
    parser.add_argument("--mean", type=float, help="most words per sentence, on average")
    parser.add_argument("--long", type=int, help=f"most sentences over {LONGEST_SENTENCE} words")
    options = parser.parse_args(arguments)
    counts, found = survey(options.paths)
    total = Count()
    for count in counts.values():
        total.add(count)
    excess = over_limits(total, options.headless, options.mean, options.long)
    if options.list or excess:
        print(*found, sep="\n")
    print(f"{'words':>7} {'headless':>9} {'per 1,000':>9} {'mean':>6} {'over 35':>8}")
    for name, count in [*((str(path), c) for path, c in sorted(counts.items())), ("all", total)]:
        print(
            f"{count.words:7} {count.headless:9} {count.headless_rate:9.2f}"
            f" {count.mean:6.1f} {count.long:8}  {name}"
        )
    print(*excess, sep="\n", end="\n" if excess else "")
    return 1 if excess else 0


if __name__ == "__main__":
    raise SystemExit(main())
