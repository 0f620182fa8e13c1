"""Exit statuses of every command, the daemon included. Documented here and nowhere else."""

OK = 0
"""Everything asked for was done; the daemon was told to stop and has drained."""

FAILED = 1
"""Something did not work: a probe failed, a pipeline failed for good."""

USAGE = 2
"""The command line is wrong (argparse's own status)."""

IN_USE = 75
"""Another daemon has the state directory (EX_TEMPFAIL of sysexits.h): try again later."""

CONFIG = 78
"""The configuration is wrong (EX_CONFIG of sysexits.h): starting again will not help."""
