"""``python -m edgevit``."""

from edgevit.cli.main import main

if __name__ == "__main__":
    main()
