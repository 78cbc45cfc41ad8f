"""``python -m subbyte``: the program, where its folder is not on the path."""

from subbyte.cli import main

if __name__ == "__main__":
    main()
