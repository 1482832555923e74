"""The errors that tell a user in one line what can't be done, and why."""


class NeidError(ValueError):
    """What was asked for can't be done; the message is the one line that the user sees."""


class UsageError(NeidError):
    """What was asked for does not go together, whatever the files hold."""
