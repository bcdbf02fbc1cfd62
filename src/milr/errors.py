"""The one exception for what a user can mend, and the exit code that goes with it."""

USER_ERROR = 2


class MilrError(Exception):
    """Something the user can mend: its message is one line that says what is wrong and how to mend it.

    The command line prints the message without a traceback and exits with USER_ERROR.
    """
