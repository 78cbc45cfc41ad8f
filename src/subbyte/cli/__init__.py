"""The command line: ``subbyte compress | inline | eval | inspect | bench | library-path | ...``."""

import atexit
import gc


def main() -> None:
    """Entry point of the ``subbyte`` program."""
    from subbyte.cli.app import app

    # Python would look for garbage in all modules once more before it ends, for half a second.
    atexit.register(gc.freeze)
    app(prog_name="subbyte")
