"""The one exception that means "the user can fix this"."""


class UserError(Exception):
    """One clear line: what was wrong, the value, and what is allowed or what to do.

    The command line prints the line without a traceback and ends with exit code 2.
    """
