"""``python -m refbp``."""

from refbp.cli import main

if __name__ == "__main__":
    main()
