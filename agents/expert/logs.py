"""What a log complains about. Patterns are those of language runtimes and client libraries, not of one application."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass

from assistant.domain.view import Log

SHOWN = 400
"""Characters of a line that are worth matching; longer ones are data."""

BAD = re.compile(
    r"\b(error|fatal|panic|critical|exception|fail(ed|ure|s)?|cannot|can't|could not|unable|invalid|"
    r"refused|denied|forbidden|"
    r"unauthori[sz]ed|abort\w*|missing|required?s?|not (set|found|allowed|permitted)|no such|unknown|traceback|exiting|"
    r"timed? "
    r"?out|timeout|expired|unreachable|mismatch|unsupported|illegal|must|unbound|rejected|not "
    r"accepted|undefined|"
    r"does not exist|bad address|can't "
    r"find|nxdomain|fehler|ungültig\w*|fehlgeschlagen|erreur|échec|invalide|inválid\w*|"
    r"errore|não|falha|ошибка)\b|失败|错误|エラー|失敗|level=(error|fatal)|"
    r'"(level|severity)": ?"(error|fatal|critical)"|[A-Z]\w*(Error|Exception)\b|^E\d{4} ',
    re.IGNORECASE,
)
HOST = r"(?P<host>[a-z0-9]([a-z0-9.-]*[a-z0-9])?)"
DNS = re.compile(
    r"name or service not known|no such host|could not translate host name|getaddrinfo|enotfound|eai_again|"
    r"temporary failure in name resolution|unknownhostexception|nodename nor servname|name does not resolve|"
    r"nxdomain|bad address|can't find|can't resolve|host not found|failed to resolve|cannot "
    r"resolve|unknown host|no address associated with hostname|server misbehaving",
    re.IGNORECASE,
)
REFUSED = re.compile(r"connection refused|econnrefused|errno 111|connect: refused|actively refused", re.IGNORECASE)
TIMEOUT = re.compile(
    r"i/o timeout|connection timed out|etimedout|timed out|connect timeout|context deadline exceeded|errno 110|"
    r"connecttimeout|read timeout|no route to host|ehostunreach",
    re.IGNORECASE,
)
UPSTREAM_STATUS = re.compile(
    r"(?:\b|HTTP[ /]?(?:1\.1 )?|-> ?|status(?:code)?[=: ]+)(?P<status>50[0234])\b", re.IGNORECASE
)
CREDENTIALS = re.compile(
    r"password authentication failed|access denied for user|authentication failed|auth(entication)? (error|failure)|"
    r"wrongpass|noauth|invalid (user\w*( name)?( or |/| and )?pass\w*|credentials?|password|api[ _-]?key|"
    r"token|access key)|"
    r"incorrect (user\w*|password)|bad credentials|login failed|signaturedoesnotmatch|invalidaccesskeyid|"
    r"401 unauthorized|http 401|status(code)?[=: ]+401|sasl authentication|permission denied for (database|user|role)|"
    r"(api[ _-]?key|token|credential|password)s? (was |is |has )?(been )?(rejected|refused|expired|revoked|"
    r"invalid|wrong)|"
    r"role \S+ does not exist|unauthorized\b|access[_-]refused|login was refused|password not (allowed|accepted)|"
    r"authentication (required|mechanism)|\b401\b.{0,30}(unauthorized|error)|accessdenied|invalid_grant",
    re.IGNORECASE,
)
RBAC = re.compile(
    r'(?P<what>[a-z0-9.]+)(?: "[^"]*")? is forbidden: User '
    r'\\?"system:serviceaccount:(?P<ns>[^:"\\]+):(?P<sa>[^"\\]+)\\?" cannot '
    r'(?P<verb>\w+) resource \\?"(?P<resource>[^"\\]+)\\?" in API group \\?"(?P<group>[^"\\]*)\\?"'
    r'(?:(?: in)?(?: the)? namespace \\?"(?P<in>[^"\\]+)\\?")?(?P<cluster> at the cluster scope)?'
)
TLS = re.compile(
    r"x509: (?P<why>.*)|certificate (has )?expired|certificate verify failed|certificate is not valid|"
    r"unknown (certificate )?authority|self[- ]signed certificate|tls: (failed|bad|handshake)|hostname mismatch|"
    r"pkix path|sslhandshake|unable to get (local )?issuer|self signed|certificate is (expired|unknown)|"
    r"pem routines|no start line|certificate_verify_failed|private key does not match|key values mismatch",
    re.IGNORECASE,
)
READ_ONLY = re.compile(r"read-only file system|erofs", re.IGNORECASE)
PERMISSION = re.compile(r"permission denied|eacces|operation not permitted|eperm|accessdeniedexception", re.IGNORECASE)
NO_SPACE = re.compile(r"no space left on device|enospc|disk quota exceeded|disk (is )?full", re.IGNORECASE)
IN_USE = re.compile(r"address already in use|eaddrinuse|port \d+ (is )?already|bind: address|errno 98", re.IGNORECASE)
FORMAT = re.compile(r"exec format error|cannot execute binary", re.IGNORECASE)
MEMORY = re.compile(
    r"out ?of ?memory|memoryerror|cannot allocate memory|heap out of memory|std::bad_alloc|killed process|"
    r"signal: killed|"
    r"\bsigkill\b|oom[- ]?kill|worker .* was (killed|terminated)",
    re.IGNORECASE,
)
LISTENING = re.compile(
    r"(?:listen\w*|serv(?:ing|er|es)|start\w*|running|bound|ready|accept\w*|addr\w*|bind\w*|port)\b[^\n]{0,80}?"
    r"(?:(?:\d{1,3}(?:\.\d{1,3}){3}|localhost|\[::\]|\*|::)?:|\bport[\"'=: ]+)(?P<port>\d{2,5})\b",
    re.IGNORECASE,
)
COMPLAINS = re.compile(
    r"\b(error|fatal|panic|fail(ed|ure|s)?|refused|cannot|can't|could not|unable|timed? "
    r"?out|unreachable|in use|denied)\b|"
    r"level=(error|fatal)|[A-Z]\w*(Error|Exception)\b",
    re.IGNORECASE,
)
"""Words of a line that names a port without anybody listening on it."""
QUOTED = re.compile(
    r"""'([^'\n]{1,200})'|"((?:[^"\\\n]|\\.){1,200})"|`([^`\n]{1,200})`|«([^»\n]{1,200})»|“([^”\n]{1,200})”"""
)
VARIABLE = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
FILE = re.compile(r"(?<![\w:/])(/(?:[\w.@+-]+/)*[\w.@+-]+\.\w{1,10}|/(?:[\w.@+-]+/)+[\w.@+-]+)")
ADDRESS = re.compile(
    r"(?:[a-z][a-z0-9+]*://(?:[^@/\s'\"]*@)?)?(?<![\w.])(?P<host>[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9-]+)*):(?P<port>\d{2,5})\b|"
    r"[a-z][a-z0-9+]*://(?:[^@/\s'\"]*@)?(?P<urlhost>[a-z0-9][a-z0-9.-]*)|"
    r"(?:\blookup|resolve[ds]?(?: host(?: ?name)?)?|\bhost(?: ?name)?|getaddrinfo(?: "
    r"enotfound| eai_again)?|address|ENOTFOUND|"
    r"EAI_AGAIN|UnknownHostException|in upstream|(?:can't|cannot) find|no such host is known[. (]*)[ "
    r":=\"'(]+(?P<looked>[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9-]+)*)|"
    r"(?<![\w.-])(?P<inside>[a-z0-9][a-z0-9-]*(?:\.[a-z0-9-]+)+\.svc(?:\.cluster\.local)?)(?![\w.-])|"
    r"(?<![\w.-])(?P<before>[a-z0-9][a-z0-9.-]*): (?:\[Errno|name or service|nodename|no such host|temporary failure)",
    re.IGNORECASE,
)
STACK = re.compile(r"^\s+(at |File |\^|~|\.\.\.)|^\s*\^+\s*$|^Traceback")
ASSIGNED = re.compile(
    r"\b(?P<name>[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+) ?[=:] ?[\"']?(?P<value>[\w./:-]+?)[\"']?(?=[\s,;)\"']|$)"
)


NO_HOSTS = frozenset(
    {
        "can",
        "cannot",
        "could",
        "failed",
        "error",
        "on",
        "to",
        "the",
        "for",
        "name",
        "no",
        "not",
        "is",
        "was",
        "from",
        "host",
        "hostname",
        "server",
        "urlopen",
        "address",
        "get",
        "post",
        "put",
        "head",
        "in",
        "of",
        "by",
    }
)


@dataclass(frozen=True, slots=True)
class Complaint:
    """The lines of a log that say why it failed, the decisive one last.

    `context` are these and the lines beside them, `code` the source lines of a stack trace above them.
    """

    log: Log
    lines: tuple[str, ...]
    context: tuple[str, ...] = ()
    code: str = ""

    @property
    def text(self) -> str:
        """Return the lines joined."""
        return "\n".join(self.lines)

    @property
    def decisive(self) -> str:
        """Return the line to show: the last one that carries a reason."""
        ranked = sorted(enumerate(self.lines), key=lambda p: (_weight(p[1]), p[0]))
        return ranked[-1][1].strip() if ranked else ""

    @property
    def shown(self) -> str:
        """Return the decisive line, cut at a word for a sentence."""
        return textwrap.shorten(self.decisive, 140, placeholder=" …")

    @property
    def quoted(self) -> list[str]:
        """Return the quoted texts of the lines, those within a quoted text too."""
        return quoted_in(self.text)

    @property
    def around(self) -> str:
        """Return the lines with their neighbours: a reason often stands in the line above or below."""
        return "\n".join(self.context) or self.text

    @property
    def around_quoted(self) -> list[str]:
        """Return the quoted texts of the lines and their neighbours."""
        return quoted_in(self.around)

    @property
    def around_files(self) -> list[str]:
        """Return the file paths of the lines and their neighbours."""
        return list(dict.fromkeys(FILE.findall(self.around)))

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Return each line with itself and its neighbours joined: (line, line above + line + line below)."""
        table = self.context or self.lines
        return [(line, " ".join(table[max(0, i - 1) : i + 2])) for i, line in enumerate(table)]

    @property
    def variables(self) -> list[str]:
        """Return the words that look like names of environment variables."""
        return list(dict.fromkeys(VARIABLE.findall(self.text)))

    @property
    def files(self) -> list[str]:
        """Return the file paths."""
        return list(dict.fromkeys(FILE.findall(self.text)))

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Return (host, port) pairs, port 0 where none is named; bare IPv4 addresses are included."""
        found = []
        for match in ADDRESS.finditer(self.text):
            host = next((match[g] for g in ("host", "urlhost", "looked", "inside", "before") if match[g]), "")
            if (
                host
                and host.lower() not in NO_HOSTS
                and not host.isdigit()
                and not re.fullmatch(r"\d+(\.\d+)?|[\d-]+T?\d*", host)
            ):
                found.append((host.rstrip("."), int(match["port"] or 0)))
        return list(dict.fromkeys(found))


def _weight(line: str) -> int:
    if STACK.search(line):
        return 0
    specific = (DNS, REFUSED, CREDENTIALS, RBAC, TLS, READ_ONLY, NO_SPACE, IN_USE, FORMAT)
    named = bool(QUOTED.search(line)) + bool(VARIABLE.search(line)) + any(p.search(line) for p in specific)
    return 1 + 2 * bool(BAD.search(line)) + named


def complaint(lines: Iterable[tuple[Log, str]], last: int = 30) -> Complaint | None:
    """Return what the end of a log complains about, None where nothing there does.

    `lines` are (log, line), oldest first. Only the log of the last line that complains is used.
    """
    tail = list(lines)
    logs = list(dict.fromkeys(id(log) for log, _ in tail))
    for wanted in reversed(logs):
        every = [(log, line[:SHOWN]) for log, line in tail if id(log) == wanted and line.strip()]
        own = [(log, line) for log, line in every if not STACK.search(line)][-last:]
        places = [i for i, (_, line) in enumerate(own) if BAD.search(line)][-8:]
        if places:
            near = sorted({j for i in places for j in range(i - 1, i + 4) if 0 <= j < len(own)})
            code = "\n".join(line for _, line in every[-2 * last :] if STACK.search(line) or line.startswith("    "))
            return Complaint(own[0][0], tuple(own[i][1] for i in places), tuple(own[j][1] for j in near), code)
    return None


def last_words(lines: Iterable[tuple[Log, str]], last: int = 5) -> Complaint | None:
    """Return the end of the newest log, for one that complains in words that are not known; None where it is empty."""
    tail = [(log, line[:SHOWN]) for log, line in lines if line.strip() and not STACK.search(line)]
    own = [line for log, line in tail if log is tail[-1][0]][-last:]
    return Complaint(tail[-1][0], tuple(own), tuple(own)) if own else None


def quoted_in(text: str) -> list[str]:
    """Return the quoted texts of a text, and those within them: log formats quote messages that quote values."""
    found = []
    for groups in QUOTED.findall(text):
        inner = next(g for g in groups if g).replace('\\"', '"')
        found.append(inner)
        if inner != text and QUOTED.search(inner):
            found += quoted_in(inner)
    return found


def ports(lines: Iterable[tuple[Log, str]]) -> list[tuple[int, Log, str]]:
    """Return the ports on which a log says that it listens, newest last: port, log, line."""
    found = []
    for log, line in lines:
        match = LISTENING.search(line[:SHOWN])
        if match and 0 < int(match["port"]) < 65536 and not COMPLAINS.search(line):
            found.append((int(match["port"]), log, line))
    return found


def wanted_value(text: str, name: str, value: str | None) -> str:
    """Return the value that a log gives a variable (`need MODE=nightly`) where that is not the one it has, or ""."""
    given = re.findall(rf"""\b{re.escape(name)} ?[=:] ?["']?([\w./:-]+?)["']?(?=[\s,;)"']|$)""", text)
    return next((g for g in reversed(given) if g != value), "")
