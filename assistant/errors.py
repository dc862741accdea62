"""Errors as part of the product: each says what it means and what to do, and has an exit code."""

from __future__ import annotations


class PilothouseError(Exception):
    """Base of everything that we raise on purpose.

    `meaning` is one sentence on what happened, `hint` one sentence on what to do, `detail` the raw text of the
    other side (already redacted). `code` is stable and machine-readable, `exit_code` is DESIGN section 8's.
    """

    code = "internal"
    exit_code = 70

    def __init__(self, meaning: str, hint: str = "", *, detail: str = "") -> None:
        """Keep the three texts; none of them may hold a secret."""
        super().__init__(meaning)
        self.meaning = meaning
        self.hint = hint
        self.detail = detail


class UsageError(PilothouseError):
    """The command line or the configuration cannot be understood."""

    code = "usage"
    exit_code = 2


class ClusterError(PilothouseError):
    """The cluster cannot be read: unreachable, unauthorised, broken kubeconfig, or it answered with an error."""

    code = "cluster"
    exit_code = 4


class NotFoundError(ClusterError):
    """The API server says that the object or the kind does not exist."""

    code = "not-found"


class ForbiddenError(ClusterError):
    """The API server says that this identity may not do that."""

    code = "forbidden"


class BundleError(ClusterError):
    """A support bundle cannot be read."""

    code = "bundle"


class GateError(PilothouseError):
    """The gate cannot be started, has died, or refused a control request."""

    code = "gate"
    exit_code = 4


class StoreError(PilothouseError):
    """The session store cannot be used: locked, read-only, full, damaged or from a newer version."""

    code = "store"
    exit_code = 4


class RecordingError(PilothouseError):
    """A recording cannot be read."""

    code = "recording"
    exit_code = 2


class UnreadableRecordingError(RecordingError):
    """A recording is there, but it is not one, or it is damaged."""

    exit_code = 4


class BudgetError(PilothouseError):
    """A bound stopped the work before there was an answer."""

    code = "budget"
    exit_code = 5


class ModelError(PilothouseError):
    """A language model failed and there is no answer."""

    code = "model"
    exit_code = 6
