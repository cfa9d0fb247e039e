"""The kinds of error: the user's input, a broken knowledge file, and (everything else) our own bug."""

from __future__ import annotations


class InputError(Exception):
    """A file, path or setting of the user's that cannot be used. The message is one clear line with the place."""


class KnowledgeError(Exception):
    """A broken YAML file of rules or API specs, the user's own included. The message starts with file:line."""


class InternalError(Exception):
    """A bug of ours outside any single file. The message names the exception; the cause is chained."""
