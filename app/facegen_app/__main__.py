"""``python -m facegen_app``: the same as ``facegen``."""

from facegen_app.cli import main

if __name__ == "__main__":
    main()
