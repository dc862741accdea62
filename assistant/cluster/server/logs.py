"""Container logs out of the bundle, with the options and refusals of the real endpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from assistant.cluster.bundle import parse_time
from assistant.cluster.server.catalog import Resource
from assistant.cluster.server.cluster import Cluster
from assistant.cluster.server.objects import Object
from assistant.cluster.server.status import ApiError, bad_request, details
from assistant.cluster.server.writing import current

_TIME = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class LogAnswer:
    """The text, and whether the container still runs, so that `follow` waits for more."""

    text: bytes
    running: bool


def read_log(cluster: Cluster, resource: Resource, namespace: str, name: str, query: Mapping[str, str]) -> LogAnswer:
    """Return what `GET …/log` answers. Raises ApiError 400 or 404 with the texts of the API server and the kubelet."""
    pod = current(cluster, resource, namespace, name)
    container = query.get("container") or _only_container(pod, name)
    status = _status(pod, container, name)
    previous = query.get("previous") in ("true", "1")
    since = _since(cluster, query)
    tail, limit = _number(query, "tailLines", 0), _number(query, "limitBytes", 1)
    found = cluster.log(namespace, name, container, previous)
    state = status.get("state") or {}
    if found is None or (found.failure and not found.text):
        raise _why_not(resource, name, container, previous, state, status, found.failure if found else "", pod)
    started = ((status.get("lastState") or {}).get("terminated") or {}) if previous else (
        state.get("running") or state.get("terminated") or (status.get("lastState") or {}).get("terminated") or {}
    )  # fmt: skip
    lines = _timed(found.text, parse_time(started.get("startedAt")) or cluster.clock.now())
    if since:
        lines = [line for line in lines if line[0] >= since]
    if tail is not None:
        lines = lines[len(lines) - tail :] if tail < len(lines) else lines
        lines = lines if tail else []
    stamped = query.get("timestamps") in ("true", "1")
    text = b"".join((_nanoseconds(moment) if stamped else b"") + line for moment, line in lines)
    return LogAnswer(text[:limit] if limit is not None else text, "running" in state and not previous)


def _only_container(pod: Object, name: str) -> str:
    spec = pod.get("spec") or {}
    names = [container["name"] for container in spec.get("containers") or []]
    if len(names) == 1:
        return str(names[0])
    text = f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]"
    starters = [container["name"] for container in spec.get("initContainers") or []]
    if starters:
        text += f" or one of the init containers: [{' '.join(starters)}]"
    raise bad_request(text)


def _status(pod: Object, container: str, name: str) -> Object:
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    for field, reported in (
        ("containers", "containerStatuses"),
        ("initContainers", "initContainerStatuses"),
        ("ephemeralContainers", "ephemeralContainerStatuses"),
    ):
        if any(item.get("name") == container for item in spec.get(field) or []):
            return next((item for item in status.get(reported) or [] if item.get("name") == container), {})
    raise bad_request(f"container {container} is not valid for pod {name}")


def _why_not(
    resource: Resource,
    name: str,
    container: str,
    previous: bool,
    state: Object,
    status: Object,
    failure: str,
    pod: Object,
) -> ApiError:
    """Return the refusal: what the API server said when the bundle was captured, else what the kubelet would say."""
    if failure:
        return bad_request(failure)
    if previous and not (status.get("lastState") or {}).get("terminated"):
        return bad_request(f'previous terminated container "{container}" in pod "{name}" not found')
    waiting = (state.get("waiting") or {}).get("reason")
    if not previous and waiting and waiting != "CrashLoopBackOff":
        texts = {"ImagePullBackOff": "trying and failing to pull image", "ErrImagePull": "image can't be pulled"}
        return bad_request(
            f'container "{container}" in pod "{name}" is waiting to start: {texts.get(waiting, waiting)}'
        )
    if not (pod.get("spec") or {}).get("nodeName"):
        return bad_request(f"pod {name} does not have a host assigned")
    text = f'the bundle holds no {"previous " if previous else ""}log of container "{container}" in pod "{name}"'
    return ApiError(404, "NotFound", text, details(resource, name))


def _number(query: Mapping[str, str], name: str, least: int) -> int | None:
    text = query.get(name)
    if text is None or text == "":
        return None
    if not re.fullmatch(r"-?\d{1,18}", text):
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    if int(text) < least:
        raise bad_request(
            f'PodLogOptions "" is invalid: {name}: Invalid value: {text}: must be greater than {least - 1}'
        )
    return int(text)


def _since(cluster: Cluster, query: Mapping[str, str]) -> datetime | None:
    seconds, moment = _number(query, "sinceSeconds", 1), query.get("sinceTime")
    if seconds is not None and moment:
        raise bad_request("at most one of `sinceTime` or `sinceSeconds` may be specified")
    if seconds is not None:
        return cluster.clock.now() - timedelta(seconds=min(seconds, 10**9))
    if not moment:
        return None
    parsed = parse_time(moment)
    if parsed is None:
        raise bad_request(f'parsing time "{moment}" as "2006-01-02T15:04:05Z07:00": cannot parse "{moment}" as "2006"')
    return parsed


def _timed(text: bytes, started: datetime) -> list[tuple[datetime, bytes]]:
    """Return the lines with a time each.

    A bundle keeps what the container wrote, rarely when. A line's time is the one that it carries itself, else that of
    the line before it, else the start of its container.
    """
    lines = text.splitlines(keepends=True)
    prefixed = bool(lines) and all(match and line[match.end() : match.end() + 1] == b" "
                                   for line in lines for match in [_TIME.match(line)])  # fmt: skip
    made: list[tuple[datetime, bytes]] = []
    last = started
    for line in lines:
        match = _TIME.search(line[:400])
        last = (parse_time(match[0].decode()) if match else None) or last
        made.append((last, line[match.end() + 1 :] if prefixed and match else line))
    return made


def _nanoseconds(moment: datetime) -> bytes:
    return f"{moment.strftime('%Y-%m-%dT%H:%M:%S')}.{moment.microsecond:06d}000Z ".encode()
