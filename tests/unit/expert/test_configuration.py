"""Settings that an application does not accept, in the words of many runtimes, joined to the object that holds them."""

from __future__ import annotations

import pytest

from agents.expert.causes import scan
from assistant.domain.view import ClusterView

from .cases import Incident, Table, check, check_healthy
from .objects import Raw, container, deployment, node, pod, service, thing, view
from .test_faults import crash

case = Table()

TYPED = {
    "go duration": ("TIMEOUT", "30", 'level=error msg="bad config" err="time: missing unit in duration \\"30\\""'),
    "go unit": ("TIMEOUT", "30 seconds", 'panic: time: unknown unit " seconds" in duration "30 seconds"'),
    "go envconfig": (
        "WORKERS",
        "4x",
        (
            "envconfig.Process: assigning WORKERS to Workers: converting '4x' to type int. details: "
            'strconv.ParseInt: parsing "4x": invalid syntax'
        ),
    ),
    "node port": (
        "PORT",
        "99999",
        (
            "RangeError [ERR_SOCKET_BAD_PORT]: options.port should be >= 0 and < 65536. Received "
            "type number (99999).\n    at validatePort (node:internal/validators:409:11)"
        ),
    ),
    "node url": (
        "API_URL",
        "htp//api",
        (
            "node:internal/url:816\nTypeError: Invalid URL\n    at new URL "
            "(node:internal/url:816:29) {\n  code: 'ERR_INVALID_URL',\n  input: "
            "'htp//api'\n}\n\nNode.js v22.4.0"
        ),
    ),
    "java spring": (
        "SERVER_PORT",
        "eighty",
        (
            "***************************\nAPPLICATION FAILED TO "
            "START\n***************************\n\nDescription:\n\nFailed to bind properties under "
            "'server.port' to java.lang.Integer:\n\n    Property: server.port\n    Value: "
            '"eighty"\n    Origin: System Environment Property "SERVER_PORT"\n    Reason: failed to '
            "convert java.lang.String to java.lang.Integer\n\nAction:\n\nUpdate your application's "
            "configuration"
        ),
    ),
    "java trace": (
        "POOL",
        "ten",
        'Exception in thread "main" java.lang.NumberFormatException: For input string: "ten"\n'
        + "\n".join(f"\tat com.acme.Main.step{i}(Main.java:{i})" for i in range(60)),
    ),
    "rust clap": (
        "THREADS",
        "many",
        (
            "error: invalid value 'many' for '--threads <THREADS>': invalid digit found in "
            "string\n\nFor more information, try '--help'."
        ),
    ),
    "rust unwrap": (
        "THREADS",
        "many",
        (
            "thread 'main' panicked at src/main.rs:12:48:\nTHREADS must be a number: ParseIntError { "
            "kind: InvalidDigit }\nnote: run with `RUST_BACKTRACE=1` environment variable to display "
            "a backtrace"
        ),
    ),
    "dotnet": (
        "Cache__Size",
        "big",
        (
            "Unhandled exception. System.InvalidOperationException: Failed to convert configuration "
            "value 'big' at 'Cache:Size' to type 'System.Int32'.\n ---> System.FormatException: The "
            "input string 'big' was not in a correct format.\n   at "
            "System.Number.ThrowFormatException()"
        ),
    ),
    "pydantic": (
        "DB_PORT",
        "54e2",
        (
            "pydantic_core._pydantic_core.ValidationError: 1 validation error for "
            "Settings\ndb_port\n  Input should be a valid integer, unable to parse string as an "
            "integer [type=int_parsing, input_value='54e2', input_type=str]\n    For further "
            "information visit https://errors.pydantic.dev/2.7/v/int_parsing"
        ),
    ),
    "python float": ("RATIO", "0,5", "ValueError: could not convert string to float: '0,5'"),
    "log level": ("LOG_LEVEL", "verbos", "ValueError: Unknown level: 'verbos'"),
    "unquoted": ("LOG_LEVEL", "verbos", "FATAL unknown log level verbos, exiting"),
    "boolean": (
        "FEATURE_X",
        "yess",
        'error: cannot parse FEATURE_X: strconv.ParseBool: parsing "yess": invalid syntax',
    ),
    "enum": ("MODE", "standby", "Error: MODE must be one of: primary, replica"),
    "database name": ("DATABASE_URL", "postgres://app@db:5432/ordres", 'FATAL:  database "ordres" does not exist'),
    "german": ("TIMEOUT", "dreissig", "FEHLER: TIMEOUT hat den ungültigen Wert 'dreissig', Abbruch"),
}


@pytest.mark.parametrize("name", sorted(TYPED))
@pytest.mark.parametrize("place", ["config map", "template"])
def test_a_value_that_is_refused_is_joined_to_its_holder(name: str, place: str) -> None:
    key, value, log = TYPED[name]
    if place == "config map":
        box, target, field = container(envFrom=[{"configMapRef": {"name": "conf"}}]), "ConfigMap/conf", f"data.{key}"
    else:
        box, target, field = container(env=[{"name": key, "value": value}]), "Deployment/web", "env[0]"
    data = {"OTHER": "x", key: value, "REGION": "eu-1"}
    check(Incident(lambda: crash(log, thing("ConfigMap", "conf", data=data), box=box), "app-config", target, field))


FILES = {
    "yaml": (
        "config.yaml",
        "a: 1\nb: [1, 2\n",
        (
            "yaml.scanner.ScannerError: mapping values are not allowed here\n  in "
            '"/etc/app/config.yaml", line 3, column 10'
        ),
    ),
    "yaml without the path": (
        "config.yaml",
        "server:\n  port: 80\n bad: 1\n",
        "Error: could not load configuration: yaml: line 3: did not find expected key",
    ),
    "json in node": (
        "config.json",
        '{"a": 1,}',
        (
            "SyntaxError: Expected double-quoted property name in JSON at position 8 (line 1 column "
            "9)\n    at JSON.parse (<anonymous>)"
        ),
    ),
    "json in java": (
        "config.json",
        '{"a": 1 "b": 2}',
        (
            "com.fasterxml.jackson.core.JsonParseException: Unexpected character ('\"' (code 34)): "
            "was expecting comma to separate Object entries"
        ),
    ),
    "toml": (
        "app.toml",
        "a = 1\nb = = 2\n",
        "Error: toml: line 2 (last key \"b\"): expected value but found '=' instead",
    ),
    "ini": (
        "app.ini",
        "novalue\n[main\n",
        "configparser.MissingSectionHeaderError: File contains no section headers.\nfile: '/etc/app/app.ini', line: 1",
    ),
    "nginx": (
        "default.conf",
        "server { lsten 80; }",
        'nginx: [emerg] unknown directive "lsten" in /etc/app/default.conf:1',
    ),
    "redis": (
        "redis.conf",
        "maxmemory 100xb",
        (
            "*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***\nReading the configuration file, at line "
            "1\n>>> 'maxmemory 100xb'\nargument must be a memory value"
        ),
    ),
    "properties": (
        "app.properties",
        "pool=ten\n",
        "Caused by: java.lang.IllegalArgumentException: pool in /etc/app/app.properties: 'ten' is not a number",
    ),
    "prometheus": (
        "prometheus.yml",
        "global:\n  scrape_intervall: 15s\n",
        (
            'ts=2026-11-23T08:00:00Z level=error err="error loading config from '
            '\\"/etc/app/prometheus.yml\\": couldn\'t load configuration: parsing YAML file '
            "/etc/app/prometheus.yml: yaml: unmarshal errors:\\n  line 2: field scrape_intervall not "
            'found in type config.plain"'
        ),
    ),
}


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_that_is_refused_is_joined_to_the_config_map(name: str) -> None:
    key, content, log = FILES[name]
    box = container(volumeMounts=[{"name": "cfg", "mountPath": "/etc/app"}])
    volumes = [{"name": "cfg", "configMap": {"name": "conf"}}]
    config = thing("ConfigMap", "conf", data={key: content})
    check(Incident(lambda: crash(log, config, box=box, volumes=volumes), "app-config", "ConfigMap/conf", key))


LACKING = {
    "python": "KeyError: 'LICENSE_KEY'",
    "go": "2026/11/23 08:00:00 required key LICENSE_KEY missing value",
    "node": "Error: Missing required environment variable: LICENSE_KEY\n    at Object.<anonymous> (/app/config.js:3:9)",
    "java": (
        "java.lang.IllegalArgumentException: Could not resolve placeholder 'LICENSE_KEY' in value \"${LICENSE_KEY}\""
    ),
    "shell": "/entrypoint.sh: line 4: LICENSE_KEY: unbound variable",
    "posix shell": "/entrypoint.sh: 4: LICENSE_KEY: parameter not set",
    "rust": "thread 'main' panicked at src/main.rs:5:40:\nLICENSE_KEY must be set: NotPresent",
    "dotnet": "System.ArgumentNullException: Value cannot be null. (Parameter 'LICENSE_KEY')",
    "pydantic": (
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for "
        "Settings\nLICENSE_KEY\n  Field required [type=missing, input_value={}, input_type=dict]"
    ),
    "postgres image": (
        "Error: Database is uninitialized and superuser password is not specified.\n       You "
        "must specify POSTGRES_PASSWORD to a non-empty value for the superuser."
    ),
}


@pytest.mark.parametrize("name", sorted(LACKING))
def test_a_variable_that_nothing_sets_is_named(name: str) -> None:
    variable = "POSTGRES_PASSWORD" if "postgres" in name else "LICENSE_KEY"
    check(Incident(lambda: crash(LACKING[name]), "app-config", "Deployment/web", f"env[{variable}]"))


SHORT_NAMES = {
    "python": "KeyError: 'DSN'",
    "node": "Error: Missing required environment variable 'DSN'",
    "structured": '{"level": "error", "msg": "required setting is missing", "variable": "DSN"}',
    "prose": "fatal: required key 'DSN' not set",
}


@pytest.mark.parametrize("name", sorted(SHORT_NAMES))
def test_a_short_variable_is_named_where_the_line_speaks_of_settings(name: str) -> None:
    check(Incident(lambda: crash(SHORT_NAMES[name]), "app-config", "Deployment/web", "env[DSN]"))


BESIDE = '{"level": "error", "msg": "schema not negotiated", "required": "v3", "configured": null}'
NO_VARIABLES = {
    "a currency above the line that misses something": (
        '{"level": "info", "msg": "settings loaded", "pool_size": 10, "currency": "EUR"}\n' + BESIDE
    ),
    "a currency in the line itself": "ValueError: an amount must have a currency that is known, not 'XAU'",
    "an invoice's currency": '{"level": "error", "msg": "exchange rate missing", "currency": "JPY"}',
    "a key of data": "KeyError: 'EUR'",
    "a unit": "error: unit 'MB' missing in configuration of the cache, got 'GiB' and \"KIB\"",
    "an acronym": "fatal: 'TLS' required by the configuration of the broker",
    "a verb": 'error: method "POST" requires a body; setting ignored',
    "a verb of an access log": '{"level": "error", "msg": "body required", "method": "DELETE", "path": "/orders"}',
    "a level": '{"severity": "CRITICAL", "msg": "required upstream did not answer"}',
    "a statement": "ERROR: 'SELECT' must be followed by an expression, parameter 'WHERE' is empty",
    "a country": "error: tax rule required for region='NORTH' is absent",
}


@pytest.mark.parametrize("name", sorted(NO_VARIABLES))
def test_a_word_in_capitals_that_is_data_is_not_taken_for_a_variable(name: str) -> None:
    told = [claim.draft for claim in scan(crash(NO_VARIABLES[name])).claims]
    assert told
    assert not [draft.summary for draft in told if "it needs" in draft.summary or "env[" in draft.field]


def test_the_name_that_the_log_gives_a_value_comes_before_others_beside_it() -> None:
    log = '{"msg": "error", "code": "NO_SCHEMA", "required": "v3"}\nRuntimeError: 2.4 requires PRICING_SCHEMA=v3'
    top = scan(crash(log)).roots[0].draft
    assert top.field.endswith("env[PRICING_SCHEMA]")
    assert "PRICING_SCHEMA=v3" in top.summary


def test_a_value_that_the_log_asks_for_and_that_is_set_is_not_called_refused() -> None:
    box = container(envFrom=[{"configMapRef": {"name": "settings"}}])
    config = thing("ConfigMap", "settings", data={"PRICING_SCHEMA": "v3"})
    top = scan(crash("RuntimeError: web 2.4 requires PRICING_SCHEMA=v3 (new)", config, box=box)).roots[0].draft
    assert "not accepted" not in top.summary and "started before" in top.summary
    assert "Restart" in top.fixes[0].title


def test_a_value_that_must_be_another_one_is_still_refused() -> None:
    box = container(envFrom=[{"configMapRef": {"name": "settings"}}])
    config = thing("ConfigMap", "settings", data={"TIMEOUT": "30"})
    top = scan(crash("fatal: TIMEOUT=30 must be a duration", config, box=box)).roots[0].draft
    assert "not accepted" in top.summary


REFUSED = {
    "postgres": (
        'psycopg2.OperationalError: connection to server at "db" (10.96.0.9), port 5432 failed: '
        'FATAL:  password authentication failed for user "app"'
    ),
    "mysql": "ERROR 1045 (28000): Access denied for user 'app'@'10.244.1.9' (using password: YES)",
    "redis": "redis.exceptions.AuthenticationError: WRONGPASS invalid username-password pair or user is disabled.",
    "mongo": (
        "pymongo.errors.OperationFailure: Authentication failed., full error: {'ok': 0.0, "
        "'code': 18, 'codeName': 'AuthenticationFailed'}"
    ),
    "kafka": (
        "org.apache.kafka.common.errors.SaslAuthenticationException: Authentication failed: "
        "Invalid username or password"
    ),
    "rabbit": 'amqp: Exception (403) Reason: "username or password not allowed"',
    "rabbit, node": (
        "Error: Handshake terminated by server: 403 (ACCESS-REFUSED) with message "
        '"ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN."'
    ),
    "http": "requests.exceptions.HTTPError: 401 Client Error: Unauthorized for url: http://db/api",
    "object store": (
        "botocore.exceptions.ClientError: An error occurred (InvalidAccessKeyId) when calling "
        "the ListBuckets operation: The AWS Access Key Id you provided does not exist in our "
        "records."
    ),
    "ldap": 'ldap: LDAP Result Code 49 "Invalid Credentials"',
    "smtp": "smtplib.SMTPAuthenticationError: (535, b'5.7.8 Error: authentication failed')",
    "vault": "Error making API request. Code: 403. Errors: * permission denied: invalid token",
}


def secretive() -> tuple[Raw, Raw]:
    box = container(
        env=[{"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db-login", "key": "password"}}}]
    )
    return box, thing("Secret", "db-login", data={"password": "(not read)"})


@pytest.mark.parametrize("name", sorted(REFUSED))
@pytest.mark.parametrize("running", [False, True])
def test_credentials_that_are_refused_are_joined_to_their_secret(name: str, running: bool) -> None:
    box, secret = secretive()

    def build() -> ClusterView:
        if not running:
            return crash(REFUSED[name], secret, box=box)
        log = f"ERROR {REFUSED[name]}\n" * 4
        return view(
            deployment("web", box, ready=1),
            pod("web", containers=[box], ready=True),
            service("web"),
            secret,
            node(),
            logs={("web-1-1", "app"): log},
        )

    check(Incident(build, "credentials", "Secret/db-login", "password"))


@case("credentials", "Deployment/web", "env")
def client_that_gives_no_password_to_a_server_that_wants_one() -> ClusterView:
    box = container(env=[{"name": "QUEUE_HOST", "value": "queue"}])
    server = container(
        env=[{"name": "REDIS_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "queue-auth", "key": "password"}}}]
    )
    return crash(
        "FATAL giving up: queue queue:6379: NOAUTH Authentication required.",
        deployment("queue", server, ready=1),
        pod("queue", containers=[server], ready=True),
        service("queue", port=6379),
        thing("Secret", "queue-auth", data={"password": "(not read)"}),
        box=box,
    )


@case("rbac", "Deployment/web", "automountServiceAccountToken")
def token_that_is_not_mounted() -> ClusterView:
    return crash(
        "FileNotFoundError: [Errno 2] No such file or directory: '/var/run/secrets/kubernetes.io/serviceaccount/token'",
        automountServiceAccountToken=False,
    )


@case("rbac", "ServiceAccount/robot", "automountServiceAccountToken")
def token_that_the_account_does_not_mount() -> ClusterView:
    return crash(
        "panic: open /var/run/secrets/kubernetes.io/serviceaccount/token: no such file or directory",
        thing("ServiceAccount", "robot", automountServiceAccountToken=False),
        serviceAccountName="robot",
    )


@case("app-config", "Deployment/web", "env")
def variable_that_refers_to_one_that_comes_later() -> ClusterView:
    box = container(env=[{"name": "URL", "value": "http://$(API_HOST)/x"}, {"name": "API_HOST", "value": "api"}])
    return crash("ValueError: invalid URL 'http://$(API_HOST)/x'", box=box)


@pytest.mark.parametrize("name", sorted(case.rows))
def test_the_fault_is_the_only_root_cause(name: str) -> None:
    check(case.rows[name])


def test_a_refused_login_that_succeeded_later_is_history() -> None:
    box, secret = secretive()
    log = 'ERROR password authentication failed for user "app"\n' * 3 + "INFO connected to db\n" + "INFO ok\n" * 9
    check_healthy(
        lambda: view(
            deployment("web", box, ready=1),
            pod("web", containers=[box], ready=True),
            service("web"),
            secret,
            node(),
            logs={("web-1-1", "app"): log},
        )
    )
