"""The errors that tell a user in one line what can't be done, and why."""


class NeidError(ValueError):
    """What was asked for can't be done; the message is the one line that the user sees."""


class UsageError(NeidError):
    """What was asked for does not go together, whatever the files hold."""


def reason_of(error: BaseException) -> str:
    """Return why an operation failed: one line, without the number and file of an OSError.

    Args:
        error: what was raised.

    Returns:
        The system's text for an OSError, lower case at its start; else the first 300 characters
        of the message; else the name of the error's class.
    """
    if isinstance(error, MemoryError):
        return "not enough memory"
    text = getattr(error, "strerror", None) if isinstance(error, OSError) else None
    text = " ".join(str(text or error).split())[:300]
    if not text:
        return type(error).__name__
    return text[0].lower() + text[1:] if isinstance(error, OSError) else text
