"""Names as exporters and people give them, and worse."""

from __future__ import annotations

import random

PARTS = (
    *("x", "onnx::Conv", "serving_default_x:0", "a/b", "/model/layer.0/Conv_output", "with space"),
    *("naïve", "重み", "x'y", 'x"y', "[brackets]", "100%", "{curly}", "a\\b", ".hidden", "-dash"),
    *("subbyte", "tab\tname", "a=b", "n" * 120, "#", "StatefulPartitionedCall/x:0", "x.weight"),
)


class Names:
    """Gives every value a name of its own: plain ones, or odd ones."""

    def __init__(self, rng: random.Random, odd: bool) -> None:
        self.rng = rng
        self.odd = odd
        self.given: set[str] = set()

    def value(self, hint: str) -> str:
        """A name that no value has yet."""
        found = self.rng.choice(PARTS) if self.odd else hint
        while found in self.given:
            found = f"{found}{len(self.given)}"
        self.given.add(found)
        return found

    def node(self, hint: str) -> str:
        """Names of nodes may be empty, and be given twice."""
        return self.rng.choice(("", hint, *PARTS[:6])) if self.odd else hint
