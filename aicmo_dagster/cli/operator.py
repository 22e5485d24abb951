"""Who works at the command line, as the audit names it. Not here: whom `--by` names."""

import os
import pwd


def operator() -> str:
    """``cli:USER``, of the operating system and not of the environment, which anyone may set."""
    try:
        return f"cli:{pwd.getpwuid(os.getuid()).pw_name}"
    except KeyError:  # a container may run as a number that nobody is
        return f"cli:{os.getuid()}"
