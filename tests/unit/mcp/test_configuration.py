"""The file of MCP servers: what other clients write is understood, and an error says what is wrong where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from assistant.tools.mcp.adding import add
from assistant.tools.mcp.environment import launch
from assistant.tools.mcp.faults import McpConfigError
from assistant.tools.mcp.servers import Server, expand, imported, load, parse


def one(entry: dict[str, Any], **top: Any) -> Server:
    return parse(json.dumps({"mcpServers": {"web": entry}, **top}), "mcp.json").servers[0]


def test_a_stdio_and_an_http_server_are_read() -> None:
    found = parse(
        json.dumps(
            {
                "mcpServers": {
                    "kube": {
                        "command": "kube-mcp",
                        "args": ["--x"],
                        "env": {"A": "b"},
                        "cwd": "/srv",
                        "reads": ["get"],
                    },
                    "far": {"type": "http", "url": "https://mcp.example.com/mcp", "headers": {"X-Team": "a"}},
                }
            }
        ),
        "mcp.json",
    ).servers
    assert found[0].args == ("--x",)
    assert found[0].reads == ("get",)
    assert found[1].url == "https://mcp.example.com/mcp"


def test_no_file_is_no_server(tmp_path: Path) -> None:
    assert load(tmp_path / "mcp.json").servers == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ('{"mcpServers": {}, "mcpServers": {}}', "there twice"),
        ("[" * 100_000, "mcp.json"),
        ("[]", "mcp.json must be an object"),
        ('{"servers": {}}', "'servers' is not known"),
        ('{"mcpServers": {"Web": {"command": "x"}}}', "mcpServers.Web: the name"),
        ('{"mcpServers": {"a_b": {"command": "x"}}}', "mcpServers.a_b: the name"),
        ('{"mcpServers": {"web": {}}}', "needs either command or url"),
        ('{"mcpServers": {"web": {"command": "x", "url": "https://a"}}}', "needs either command or url"),
        ('{"mcpServers": {"web": {"command": "x", "headers": {}}}}', "web.headers does not go with command"),
        ('{"mcpServers": {"web": {"command": ["x"]}}}', "web.command must be a text"),
        ('{"mcpServers": {"web": {"command": "x", "args": "y"}}}', "web.args must be a list"),
        ('{"mcpServers": {"web": {"command": "x", "env": {"A": 1}}}}', "web.env.A must be a text"),
        ('{"mcpServers": {"web": {"command": "x", "env": {"A=B": "1"}}}}', "no variable's name"),
        ('{"mcpServers": {"web": {"command": "x", "colour": 1}}}', "web.colour is not known"),
        ('{"mcpServers": {"web": {"command": "x", "timeoutSeconds": 0}}}', "timeoutSeconds must be"),
        ('{"mcpServers": {"web": {"url": "ftp://a"}}}', "is no http address"),
        ('{"mcpServers": {"web": {"url": "http://a.example"}}}', "is not encrypted"),
        ('{"mcpServers": {"web": {"url": "https://u:p@a.example"}}}', "holds a credential"),
        ('{"mcpServers": {"web": {"url": "https://a", "type": "sse"}}}', "'sse' is not spoken"),
        ('{"mcpServers": {"web": {"url": "https://a", "headers": {"A": "b\\nc"}}}}', "no HTTP header"),
        ('{"mcpServers": {"web": {"command": "x", "env": {"A": "${HOME}"}}}}', "${HOME} is not in allowEnv"),
        ('{"mcpServers": {"web": {"command": "x", "env": {"KUBECONFIG": "/k"}}}}', "past the gate"),
        ('{"mcpServers": {"web": {"command": "x", "env": {"KUBERNETES_SERVICE_HOST": "a"}}}}', "past the gate"),
        ('{"mcpServers": {"web": {"command": "x", "args": ["--kubeconfig", "/k"]}}}', "past the gate"),
        ('{"mcpServers": {"web": {"command": "x", "args": ["--kubeconfig=/k"]}}}', "past the gate"),
        ('{"allowEnv": ["A"], "mcpServers": {"web": {"command": "${A}/x"}}}', "web.command holds a variable"),
        ('{"allowEnv": ["A"], "mcpServers": {"web": {"command": "./x", "cwd": "${A}"}}}', "web.cwd holds a variable"),
        ('{"allowEnv": ["A B"]}', "no variable's name"),
    ],
)
def test_an_error_names_its_place_and_what_to_do(text: str, said: str) -> None:
    with pytest.raises(McpConfigError) as caught:
        parse(text, "mcp.json")
    assert said in caught.value.meaning
    assert caught.value.meaning.startswith("mcp.json")
    assert caught.value.hint


def test_variables_come_from_the_allow_list_alone() -> None:
    server = one(
        {"command": "x", "env": {"TOKEN": "${TEAM_TOKEN}", "L": "${LEVEL:-info}"}}, allowEnv=["TEAM_TOKEN", "LEVEL"]
    )
    server = Server(**{**{name: getattr(server, name) for name in Server.__slots__}, "command": "sh"})
    environ = {"PATH": "/usr/bin:/bin", "TEAM_TOKEN": "t", "OTHER": "o"}
    given = launch(server, "/run/guarded.yaml", environ)
    assert given.env["TOKEN"] == "t"
    assert given.env["L"] == "info"
    with pytest.raises(McpConfigError, match="TEAM_TOKEN"):
        launch(server, "/run/guarded.yaml", {"PATH": "/usr/bin:/bin"})


def test_a_filled_in_value_is_not_filled_in_again() -> None:
    assert expand("${A}", ("A",), {"A": "${B}", "B": "secret"}.get) == "${B}"


def test_a_child_gets_the_guarded_kubeconfig_and_no_other_credential() -> None:
    secret = {
        "KUBECONFIG": "/home/me/.kube/config", "AWS_SECRET_ACCESS_KEY": "a", "GOOGLE_APPLICATION_CREDENTIALS": "g",
        "KUBERNETES_SERVICE_HOST": "10.0.0.1", "OPENAI_API_KEY": "o", "LD_PRELOAD": "/x.so", "SSH_AUTH_SOCK": "/s",
    }  # fmt: skip
    given = launch(Server("web", "sh"), "/run/guarded.yaml", {"PATH": "/usr/bin:/bin", "HOME": "/home/me", **secret})
    assert given.env == {
        "PATH": "/usr/bin:/bin", "HOME": "/home/me", "TERM": "dumb", "KUBECONFIG": "/run/guarded.yaml",
    }  # fmt: skip
    assert launch(Server("web", "sh"), "", {"PATH": "/usr/bin:/bin"}).env["KUBECONFIG"] == "/dev/null"
    assert launch(Server("web", "sh", ("--kubeconfig=${KUBECONFIG}",)), "/g", {"PATH": "/bin"}).argv[1] == (
        "--kubeconfig=/g"
    )


def test_what_a_launch_holds_is_not_printed() -> None:
    given = launch(Server("web", "sh", env=(("T", "hunter2"),)), "/g", {"PATH": "/bin"})
    assert "hunter2" not in repr(given)


def test_another_clients_file_is_taken_over_with_notes(tmp_path: Path) -> None:
    path = tmp_path / "claude_desktop_config.json"
    path.write_text(
        json.dumps(
            {
                "globalShortcut": "x",
                "allowEnv": ["AWS_SECRET_ACCESS_KEY"],
                "mcpServers": {
                    "My Kube": {
                        "command": "npx", "args": ["-y", "kubernetes-mcp-server", "--kubeconfig", "/home/me/k"],
                        "env": {"KUBECONFIG": "/home/me/k", "T": "${SECRET}"}, "autoApprove": ["pods_delete"],
                    },
                    "old": {"command": "x", "disabled": True},
                    "events": {"type": "sse", "url": "https://mcp.example.com/sse"},
                },
            }
        )
    )  # fmt: skip
    found = imported(path)
    (server,) = found.servers
    assert server.name == "my-kube"
    assert server.args[-1] == "${KUBECONFIG}"
    assert server.env == (("T", "${SECRET}"),)
    assert server.allow_env == ()
    assert server.reads == ()
    notes = " ".join(found.notes)
    for part in (
        "called my-kube",
        "autoApprove was left out",
        "KUBECONFIG was left out",
        "old is disabled",
        "${SECRET}",
    ):
        assert part in notes


def test_other_words_of_other_clients_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    path.write_text(
        json.dumps(
            {
                "inputs": [],
                "servers": {
                    "gh": {"type": "stdio", "command": "gh-mcp", "env": {"T": "${env:GH_TOKEN}"}},
                    "far": {"httpUrl": "https://mcp.example.com/mcp"},
                },
            }
        )
    )
    found = imported(path).servers
    assert found[0].env == (("T", "${GH_TOKEN}"),)
    assert found[1].url == "https://mcp.example.com/mcp"


def test_what_was_imported_can_be_added_to_our_own_file(tmp_path: Path) -> None:
    ours = tmp_path / "config" / "mcp.json"
    kube = Server("kube", "kube-mcp", ("--x",), timeout_seconds=60, reads=("get",))
    add(ours, [kube])
    tokened = Server("gh", "gh-mcp", env=(("T", "${GH_TOKEN}"),))
    with pytest.raises(McpConfigError, match=r"GH_TOKEN.*allowEnv"):
        add(ours, [tokened])
    with pytest.raises(McpConfigError, match="already"):
        add(ours, [kube])
    add(ours, [tokened], ["GH_TOKEN"])
    found = {server.name: server for server in load(ours).servers}
    assert found.keys() == {"kube", "gh"}
    assert found["kube"].timeout_seconds == 60
    assert found["kube"].reads == ("get",)
    assert found["gh"].allow_env == ("GH_TOKEN",)
    assert ours.stat().st_mode & 0o777 == 0o600
