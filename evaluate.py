"""The same as ``lwexp evaluate``; ``python evaluate.py --help`` says what it does."""

from lwexp.commands.evaluate import main

if __name__ == "__main__":
    main()
