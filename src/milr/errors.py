"""The one exception for what a user can correct, and the exit code that goes with it."""

USER_ERROR = 2


class MilrError(Exception):
    """Something the user can correct: its message is one line that says what is wrong and what to do.

    The command line prints the message without a traceback and exits with USER_ERROR.

    Example:
        >>> import milr, torch
        >>> try:
        ...     milr.Batch(torch.zeros(2, 3, 32, 32), decide=5)
        ... except milr.MilrError as error:
        ...     print(error)
        Batch(images, decide): decide is a function of the network's output, not 5
    """
