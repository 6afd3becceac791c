"""`python -m rxdesk` is the command `rxdesk`."""

from rxdesk.cli import main

if __name__ == "__main__":  # worker processes that are spawned import this module anew
    main()
