"""The command `rxdesk`: one module a noun, and one line on standard error for what an operator can put right.

A verb imports what it needs when it runs, so that `--help` and `version` answer at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rxdesk.cli import common


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 it failed, 2 it was called wrongly, 130 it was interrupted."""
    from rxdesk.cli.verbs import app

    try:
        status = app(arguments, prog_name="rxdesk", standalone_mode=False)
    except (KeyboardInterrupt, common.Ended):
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output, such as `head`, has gone
        common.discard_output()
        sys.exit(1)
    except Exception as error:
        line, status = common.judged(error)
        if line is None:
            raise
        common.complain(line)
    sys.exit(status if isinstance(status, int) else 0)
