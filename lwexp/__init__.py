"""lwexp: the LongWriter recipe as one composable experiment framework.

Data flows one way, through files: generate -> mix -> pack -> train -> sample -> score -> report.
Each room's ``__init__`` says what it reads, what it writes and what it never touches.
From Python, the commands are the functions of ``lwexp.api``.
"""

__version__ = "0.2.0"
