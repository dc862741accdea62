"""Loads a context of a kubeconfig by the official client's loader: where the API server is, credentials, what to trust.

Credential plugins run here, before the loader sees them: its own runner has no time limit and logs what they print.
"""

from __future__ import annotations

import base64
import difflib
import hashlib
import os
import ssl
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from kubernetes import client
from kubernetes.config import kube_config
from kubernetes.config.config_exception import ConfigException
from yaml import YAMLError

from assistant.errors import ClusterError
from assistant.gate.failures import NotingContext, login_needed
from assistant.gate.plugin import Credential, PluginError, run_plugin
from assistant.gate.upstream import Upstream

_ABSENT: Final = "Check the path, or set KUBECONFIG or --context."
_SHOWN_NAMES: Final = 12
_UNCHECKED: Final = (
    "The API server's certificate is not checked (insecure-skip-tls-verify in the kubeconfig): whoever stands in "
    "between can read and change everything."
)


def load(kubeconfig: str | None, context: str | None, exec_allow: tuple[str, ...]) -> Upstream:
    """Load a context. Raises ClusterError for a missing or broken file, an unknown context or a plugin not allowed.

    Blocks for as long as a credential plugin takes.
    """
    source = kubeconfig or os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
    if not any(Path(part).expanduser().is_file() for part in source.split(os.pathsep) if part):
        raise ClusterError(f"There is no kubeconfig at {source}.", _ABSENT)
    try:
        merged = kube_config.KubeConfigMerger(source)  # type: ignore[no-untyped-call]
        _check_context(merged, context)
        loader = kube_config.KubeConfigLoader(  # type: ignore[no-untyped-call]
            config_dict=merged.config, active_context=context, config_base_path=None
        )
        active = loader.current_context
        names = active["context"]
        user, folder = _user(merged, str(names.get("user") or ""))
        _check_plugin(user, exec_allow)
        given = _from_plugin(merged, names, user)
        settings = client.Configuration()
        loader.load_and_set(settings)  # type: ignore[no-untyped-call]
        again = partial(load, source, str(active["name"]), exec_allow)
        namespace = str(names.get("namespace") or "default")
        rotating = folder / Path(str(user["tokenFile"])).expanduser() if user.get("tokenFile") else None
        token = _token(settings, str(active["name"]), rotating, refreshed="auth-provider" in user)
        upstream = _upstream(settings, str(active["name"]), namespace, token, again)
        upstream.rotates = rotating is not None or "auth-provider" in user
        upstream.expired = given.expired if given else _never
        return upstream
    except ClusterError:
        raise
    except PluginError as error:
        raise login_needed(context or str(active["name"]), str(error)) from error
    except Exception as error:  # the loader raises whatever YAML, base64 and its own checks raise
        raise ClusterError(
            f"The kubeconfig {source} cannot be used.", "Check it with: kubectl config view", detail=_why(error)
        ) from None


def _why(error: Exception) -> str:
    # The loader quotes whole users with their tokens after "in", and base64 errors come with the value they choked on.
    text = str(error).partition(" in ")[0][:120] if isinstance(error, ConfigException | YAMLError) else ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _check_context(merged: Any, context: str | None) -> None:
    if context is None:
        return
    names = [str(item["name"]) for item in merged.config.safe_get("contexts") or []]
    if context not in names:
        near = difflib.get_close_matches(context, names, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"It has: {', '.join(names[:_SHOWN_NAMES]) or 'none'}."
        raise ClusterError(f"The kubeconfig has no context {context!r}.", hint)


def _user(merged: Any, name: str) -> tuple[dict[str, Any], Path]:
    """Return the user's own entry, and the folder of its file. What is changed in the entry is what the loader sees."""
    found = next((item for item in merged.config.value.get("users") or () if item["name"] == name), None)
    user = found.value.get("user") if found is not None else None
    folder = Path(str(found.path)).absolute().parent if found is not None else Path()
    return (user if isinstance(user, dict) else {}), folder


def _check_plugin(user: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    plugin = user.get("exec")
    if plugin is not None:
        command = str(plugin.get("command") or "")
        if not Path(command).is_absolute() or command not in allowed:
            raise ClusterError(
                "This context runs a program to get its credentials, and that program is not allowed.",
                "Allow it by its absolute path in the setting exec_allow, or use a context without a plugin.",
                detail=command[:200],
            )
    provider = user.get("auth-provider")
    if provider is not None and str(provider.get("name")) != "oidc":
        raise ClusterError("This context uses an auth-provider that Kubernetes has removed.", "Use an exec plugin.")


def _from_plugin(merged: Any, names: Any, user: dict[str, Any]) -> Credential | None:
    """Run the user's plugin and put what it gave in its place, where the loader finds it."""
    plugin = user.pop("exec", None)
    if plugin is None:
        return None
    clusters = merged.config.value.get("clusters") or ()
    found = (item.value.get("cluster") for item in clusters if item["name"] == names.get("cluster"))
    given = run_plugin(plugin, next(found, {}) or {})
    if given.token:
        user["token"] = given.token
    if given.certificate_pem:
        user["client-certificate-data"] = base64.b64encode(given.certificate_pem.encode()).decode()
        user["client-key-data"] = base64.b64encode(given.key_pem.encode()).decode()
    return given


def _token(settings: Any, context: str, rotating: Path | None, *, refreshed: bool) -> Callable[[], str]:
    fixed = str(settings.api_key.get("BearerToken") or "")

    def token() -> str:
        try:
            if rotating is not None:
                return f"Bearer {rotating.read_text().strip()}"
            return str(settings.get_api_key_with_prefix("BearerToken") or "") if refreshed else fixed
        except Exception as error:  # whatever the provider's library raises, with a text that may hold the token
            raise login_needed(context, f"no token could be had ({type(error).__name__})") from None

    return token


def _upstream(
    settings: Any, context: str, namespace: str, token: Callable[[], str], again: Callable[[], Upstream]
) -> Upstream:
    notes: tuple[str, ...] = ()
    tls = None
    if str(settings.host).startswith("https"):
        tls = NotingContext(ssl.PROTOCOL_TLS_CLIENT)
        if settings.ssl_ca_cert:
            tls.load_verify_locations(settings.ssl_ca_cert)
        else:
            tls.load_default_certs()
        if not settings.verify_ssl:
            tls.check_hostname = False
            tls.verify_mode = ssl.CERT_NONE
            notes = (_UNCHECKED,)
        if settings.cert_file:
            tls.load_cert_chain(settings.cert_file, settings.key_file)
    return Upstream(
        str(settings.host), context, namespace, tls, settings.tls_server_name or None, settings.proxy or None,
        _hash(settings.ssl_ca_cert), _hash(settings.cert_file), token, rotates=False, expired=_never, reload=again,
        notes=notes,
    )  # fmt: skip


def _hash(path: str | None) -> str:
    return hashlib.sha256(Path(path).read_bytes() if path else b"").hexdigest()


def _never(now: datetime) -> bool:
    return False
