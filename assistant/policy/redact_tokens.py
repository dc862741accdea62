"""What secrets look like by themselves (provider tokens, keys, hashes) and in a command line. Patterns only.

No stop words: a redactor that spares EXAMPLE or test can be told to spare anything.
"""

from __future__ import annotations

import re
from typing import Final

PREFIXED: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"gh[pousr]_[A-Za-z0-9_]{8,}|github_pat_[A-Za-z0-9_]{8,}|gl(?:pat|dt|rt|cbt|ptt|ft|soat|agent|oas|imt|feed)t?-[\w-]{8,}"
    r"|xox[abeoprs]-[\w-]{10,}|xapp-[\w-]{10,}|xoxe\.[\w.-]{10,}|sk-[A-Za-z0-9_-]{16,}|sk-(?:proj|ant|or)-[A-Za-z0-9_-]{3,}"
    r"|sk_(?:live|test)_\w{3,}|[rp]k_(?:live|test)_\w{3,}"
    r"|whsec_\w{8,}|hf_[A-Za-z0-9]{9,}|api_org_[A-Za-z0-9]{16,}|gls[a]_[A-Za-z0-9_]{5,}|glc_[A-Za-z0-9+/=]{8,}"
    r"|AIza[\w-]{8,}|ya29\.[\w.-]{7,}|1//0[\w-]{16,}|GOCSPX-[\w-]{5,}|npm_[A-Za-z0-9]{16,}|pypi-[\w-]{16,}"
    r"|dckr_(?:pat|oat)_[\w-]{3,}|dop_v1_\w{5,}|doo_v1_\w{5,}|dor_v1_\w{5,}|hv[sbr]\.[\w-]{8,}|s\.[A-Za-z0-9]{24}(?![A-Za-z0-9.])"
    r"|shp(?:at|ca|pa|ss)_\w{8,}|SG\.[\w-]{9,}(?:\.[\w-]*)?|key-[0-9a-f]{32}|sq0[a-z]{3}-[\w-]{8,}|EAA[A-Za-z0-9]{24,}"
    r"|lin_api_\w{8,}|ntn_\w{16,}|secret_[A-Za-z0-9]{24,}|PMAK-[\w-]{7,}|dapi[0-9a-f]{32}|r8_\w{16,}|gsk_\w{16,}"
    r"|xai-\w{16,}|tvly-[\w-]{12,}|pplx-\w{16,}|figd_[\w-]{8,}|atlasv1\.[\w-]{8,}|[\w-]{12,}\.atlasv1\.[\w-]{8,}|sntry[su]_[\w+/=-]{8,}"
    r"|NRAK-\w{16,}|NRII-\w{16,}|rubygems_\w{8,}|AGE-SECRET-KEY-1\w{8,}|pul-\w{16,}|tskey-[\w-]{12,}|fo1_[\w-]{16,}|sbp_\w{16,}"
    r"|k8s-aws-v1\.[\w=-]{8,}|v\^1\.[\w#^+/=-]{16,}|ATATT[\w=-]{8,}|ATBB[\w=-]{16,}|CFPAT-[\w-]{8,}|LTAI[A-Za-z0-9]{12,}|AKID[A-Za-z0-9]{12,}"
    r"|(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{8,}|SK[0-9a-f]{32}(?![0-9a-f])|S[UAONCX]A[A-Z2-7]{54,}"
    r"|eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*){0,3}|eyJ[\w-]{16,}\.{2,3}[\w.-]{8,}|eyJhbGciOi[\w-]{2,}(?:\.[\w-]*){0,4}"
    r"|\$(?:2[abxy]|apr1|1|5|6|y|pbkdf2[\w-]*)\$[^\s\"',;]{8,}|\$argon2(?:id|i|d)\$[^\s\"';]{8,}"
    r"|SCRAM-SHA-(?:1|256)\$\d+:[^\s\"',;]{8,}|md5[0-9a-f]{32}(?![0-9a-f])"
    r"|[a-z0-9]{6}\.[a-z0-9]{16}(?![a-z0-9.-])"
    r"|https://hooks\.slack\.com/(?:services|workflows|triggers)/[^\s\"'<>]+"
    r"|https://(?:\w+\.)?discord(?:app)?\.com/api/webhooks/[^\s\"'<>]+|https://[\w.-]+\.webhook\.office\.com/[^\s\"'<>]+"
    r"|[0-9]{8,10}:AA[\w-]{30,}"
    r")|\{(?:S?SHA\d*|S?MD5|CRYPT|PBKDF2[\w-]*)\}[^\s\"',;]{8,}"
)
# Through to its end line; where that is missing (a cut log), the lines that can belong to it and no others.
PEM: Final = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?:(?!-----(?:BEGIN|END))[\s\S]){0,20000}-----END [A-Z0-9 ]*-----"
    r"|[A-Za-z0-9+/=\\]*(?:[ \t]*\r?\n(?:[^\n]{0,80}[ \t])?[A-Za-z0-9+/=]{12,}"
    r"|[ \t]*\r?\n(?=[ \t]*\r?\n))*"
    r"(?:[ \t]*\r?\n[A-Za-z0-9+/=]+(?=\s*$))?)"
)
PEM_BASE64: Final = re.compile(r"LS0tLS1CRUdJTi[A-Za-z0-9+/=_-]{12,}")
# The first bytes of DER private keys (PKCS 8, PKCS 1, SEC 1), whose PEM frame was cut off.
DER_KEY: Final = re.compile(
    r"(?:MII[A-Za-z0-9+/]{1,4}IBADANBgkqhkiG9w0BAQEFAASC|MII[A-Za-z0-9+/]{2,3}IBAAKCA|MHcCAQEE|MC4CAQAwBQYDK2Vw)"
    r"[A-Za-z0-9+/=\s]{12,}"
)
_NOT_BEYOND: Final = r"\b[^\n|;&]*?\s"
MYSQL: Final = re.compile(
    rf"(?P<a>\b(?:mysql|mysqldump|mysqladmin|mariadb|mariadb-dump){_NOT_BEYOND}-p)(?P<v>[^\s\"'-][^\s\"']*)"
)
CURL_USER: Final = re.compile(rf"(?P<a>\bcurl{_NOT_BEYOND}(?:-u|--user)[ =]?[\"']?[^\s:\"']+:)(?P<v>[^\s\"']+)")
# Programs whose short option takes a password. Each is named: elsewhere `-p` is a port and `-k` a folder.
SHORT_OPTION: Final = re.compile(
    r"(?P<a>\b(?:"
    rf"(?:sshpass|7z[ar]?|mongo(?:sh|dump|restore|export|import|stat)?){_NOT_BEYOND}-p"
    rf"|(?:docker|podman|nerdctl|buildah|skopeo|helm|oras|crane|oc)\b[^\n|;&]*?\blogin{_NOT_BEYOND}-p"
    rf"|redis-cli{_NOT_BEYOND}-a|ldap(?:search|modify|add|passwd|whoami|delete){_NOT_BEYOND}-w|sqlcmd{_NOT_BEYOND}-P"
    rf"|openssl{_NOT_BEYOND}-k|openssl{_NOT_BEYOND}-pass(?:in|out)?[ =]pass:|sshpass\s+-p"
    r"|rabbitmqctl\s+(?:add_user|change_password|authenticate_user)\s+[^\s\"']+\s"
    r")[ \t]*[\"']?)(?P<v>[^\s\"'-][^\s\"']{2,})"
)
CHPASSWD: Final = re.compile(
    r"(?P<a>[\"' ][a-z_][\w-]*:)(?P<v>[^\s:\"'|]{4,})(?=[\"']?\s*\|\s*(?:sudo\s+)?chpasswd)"
    r"|(?P<b>\bchpasswd:[^\n]*?[\w-]+:)(?P<w>[^\s:\"'|}]{4,})"
)
DIRECTIVE: Final = re.compile(
    r"(?P<a>\b(?:requirepass|masterauth|bindpw|rootpw|masteruser \S+)[ \t]+[\"']?)(?P<v>[^\s\"']+)", re.IGNORECASE
)
NETRC: Final = re.compile(r"(?P<a>\blogin[ \t]+\S+[ \t\n]+password[ \t]+)(?P<v>\S+)")
PGPASS: Final = re.compile(r"(?m)^(?P<a>[^\s:=]+:(?:\d{2,5}|\*):[^\s:]+:[^\s:]+:)(?P<v>[^\s:]+)$")
ORACLE: Final = re.compile(r"(?P<a>\bjdbc:oracle:\w+:[^/\s]+/)(?P<v>[^@\s]+)(?=@)", re.IGNORECASE)
MNEMONIC: Final = re.compile(
    r"(?P<a>\b(?:mnemonic|(?:seed|recovery|backup)[ _-]?(?:phrase|words))[\"']?\s*[:=]\s*[\"']?)"
    r"(?P<v>(?:[a-z]{3,8}[ ,]+){8,}[a-z]{3,8})",
    re.IGNORECASE,
)
# `kubectl create secret ... --from-literal=key=value`, several in one command.
LITERAL: Final = re.compile(r"(?P<a>--from-literal[= ][\"']?[^=\s\"']+=)(?P<v>[^\s\"']+)")
URL_USER: Final = re.compile(
    r"(?P<a>\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@\"'<>]*:)(?P<v>[^\s\"'<>]+(?=@)|[^\s\"'<>/@]+\Z)", re.IGNORECASE
)
URL_TOKEN: Final = re.compile(r"(?P<a>\bhttps?://)(?P<v>[^\s:/@\"'<>]{8,})(?=@)", re.IGNORECASE)
URL_OTHER_TOKEN: Final = re.compile(r"(?P<a>\b[a-z][a-z0-9+.-]{1,20}://)(?P<v>[^\s:/@\"'<>]{16,})(?=@)", re.IGNORECASE)
DIGEST: Final = re.compile(r"(?P<a>\bauthorization[\"']?\s*[:=]\s*[\"']?digest\s+)(?P<v>[^\r\n]{4,})", re.IGNORECASE)
HEADER: Final = re.compile(
    r"(?P<a>\b(?:proxy-)?authorization[\"']?\s*[:=,]\s*[\[(]?[\"']?"
    r"(?:(?:bearer|basic|token|digest|negotiate|apikey|aws4-hmac-sha256)\s+)?)(?P<v>[^\s\"',;\]]{4,})",
    re.IGNORECASE,
)
BEARER: Final = re.compile(r"(?P<a>\b(?:bearer|basic)\s+)(?P<v>[A-Za-z0-9+/_.~=-]{16,})", re.IGNORECASE)
COOKIE: Final = re.compile(r"(?P<a>\b(?:set-)?cookie[\"']?\s*[:=]\s*[\"']?)(?P<v>[^\r\n\"']{4,})", re.IGNORECASE)
COOKIE_PAIR: Final = re.compile(r"(?P<a>[\w.-]+=)(?P<v>[^;\s]{6,})")
QUERY: Final = re.compile(
    r"(?P<a>[?&](?:key|sig|signature|token|code|password|secret|auth|x-amz-(?:signature|credential|security-token)|sas)=)(?P<v>[^&\s\"'<>]{4,})",
    re.IGNORECASE,
)

# Each pattern with literals of which a match has at least one: looking for them first costs a tenth of the pattern.
GATED: Final = (
    ("url-password", URL_USER, ("://",)),
    ("url-token", URL_TOKEN, ("://",)),
    ("query", QUERY, ("?", "&")),
    ("authorization", DIGEST, ("authorization",)),
    ("authorization", HEADER, ("authorization",)),
    ("bearer", BEARER, ("bearer", "basic")),
    ("password", MYSQL, ("mysql", "mariadb")),
    ("password", CURL_USER, ("curl",)),
    (
        "password",
        SHORT_OPTION,
        ("sshpass", "redis-cli", "7z", "mongo", "login", "ldap", "sqlcmd", "openssl", "rabbitmqctl"),
    ),
    ("password", DIRECTIVE, ("requirepass", "masterauth", "bindpw", "rootpw", "masteruser")),
    ("password", NETRC, ("login",)),
    ("password", ORACLE, ("oracle",)),
    ("mnemonic", MNEMONIC, ("mnemonic", "seed", "recovery", "backup")),
)
