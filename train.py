"""The same as ``lwexp train``; ``python train.py --help`` says what it does."""

from lwexp.commands.train import main

if __name__ == "__main__":
    main()
