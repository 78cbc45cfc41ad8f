"""The command line: ``subbyte compress | inline | eval | inspect | bench | library-path | ...``."""


def main() -> None:
    """Entry point of the ``subbyte`` program."""
    from subbyte.cli.app import app

    app(prog_name="subbyte")
