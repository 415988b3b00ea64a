"""The same as ``lwexp generate``; ``python generate_data.py --help`` says what it does."""

from lwexp.commands.generate import main

if __name__ == "__main__":
    main()
