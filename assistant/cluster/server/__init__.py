"""A recorded cluster as a Kubernetes API over HTTPS on 127.0.0.1, as a child process or inside a test."""

from __future__ import annotations

from assistant.cluster.server.serving import RecordedCluster, Settings, start

__all__ = ["RecordedCluster", "Settings", "start"]
