"""The one exception that users see as a sentence instead of a traceback."""


class UserError(Exception):
    """A user's mistake, or an input that cannot be used.

    The message says in one sentence what is wrong, where (file, key, image id), what was expected and what to
    do. The command line prints it and exits with status 2.
    """
