"""``python -m lwexp train ...`` is ``lwexp train ...``."""

from lwexp.commands import main

main()
