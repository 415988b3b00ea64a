"""torchrun whose failures are one line instead of pages: ``python -m lwexp.train.parallel.torchrun <its arguments>``.

torchrun itself raises ChildFailedError when a rank fails, prints about 25 lines on each node, and exits with 1
whatever the rank's code was.
"""

import logging
import sys


def main() -> int:
    """Run torchrun. Returns 0, or the exit code of the first rank that failed."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    for name in list(logging.root.manager.loggerDict):
        if name.startswith("torch.distributed.elastic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        run(parse_args(sys.argv[1:]))
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode < 0:
            print(f"error: rank {rank} was killed by {failure.signal_name()}", file=sys.stderr)
            return 1
        return int(failure.exitcode)
    except SignalException as told:  # the ranks had torchrun's 30 seconds to save
        return 128 + int(told.sigval)
    return 0


if __name__ == "__main__":
    sys.exit(main())
