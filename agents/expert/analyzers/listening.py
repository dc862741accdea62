"""The ports on which the containers of a pod listen: declared, proven by a probe, or told by the log."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agents.expert.analyzers.service_ports import probed
from agents.expert.logs import ports
from agents.expert.workload import containers, log_lines, workload_of
from assistant.domain.raw import fold_int, rows, text, texts
from assistant.domain.view import ClusterView, Log, Thing

ASIDE = re.compile(r"metric|prom|health|admin|debug|probe|zmq|nixl", re.IGNORECASE)
"""Names of ports that serve something beside the work of a pod."""
NUMBER = re.compile(r"(?<![\d.])\d{2,5}(?![\d.])")


@dataclass(frozen=True, slots=True)
class Heard:
    """Ports of a pod by what is known of them.

    `named` are numbers in arguments and environment, `told` and `lines` are those of its logs, newest last.
    """

    declared: frozenset[int]
    proven: frozenset[int]
    named: frozenset[int]
    told: tuple[int, ...]
    lines: tuple[tuple[Log, str], ...]

    def denies(self, number: int) -> bool:
        """Say whether nobody listens on a port: something is known, and that port is not.

        A declared port counts until the log names one that nobody declared: the end of a log may only tell of another
        server of the same pod, such as the one for metrics.
        """
        told = set(self.told)
        if number in self.proven | told:
            return False
        if number in self.declared | self.named:
            return len(told) == 1 and not told & self.declared
        return bool(self.declared | self.proven | told)

    def best(self, used: set[int]) -> int:
        """Return the port that is meant instead, 0 where several could be; `used` are those that are taken."""
        for group in (set(self.told), set(self.proven), set(self.declared)):
            free = group - used
            if len(free) == 1:
                return next(iter(free))
        return 0


def heard_of(view: ClusterView, pod: Thing) -> Heard:
    """Return what is known of the ports of a pod.

    A port for metrics or health is no word about the one that serves; a number in the arguments or the environment is.
    """
    declared = {
        fold_int(p.get("containerPort"))
        for c in pod.rows("spec.containers")
        for p in rows(c.get("ports"))
        if not ASIDE.search(text(p.get("name")))
    }
    words = [w for c in pod.rows("spec.containers") for k in ("command", "args") for w in texts(c.get(k))]
    words += [text(e.get("value")) for c in pod.rows("spec.containers") for e in rows(c.get("env"))]
    named = {int(n) for w in words for n in NUMBER.findall(w)}
    own = containers(workload_of(view, pod), pod) if view.logged(pod) else ()
    heard = [h for c in own if not c.init for h in ports(log_lines(view, c))]
    return Heard(
        frozenset(declared - {0}),
        frozenset(probed(pod)),
        frozenset(named),
        tuple(p for p, _, _ in heard),
        tuple((log, line) for _, log, line in heard),
    )
