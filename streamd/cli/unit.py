"""The systemd unit of the daemon, as text. Its shipped copies in `config/systemd` are generated."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template

from streamd import exits

# Works from systemd 252 on. A comment of systemd stands on a line of its own.
_UNIT = Template("""\
# Your own changes belong into a drop-in, which an upgrade leaves alone: systemctl edit $name

[Unit]
Description=streamd, a stream pipeline daemon$described
Wants=network-online.target
After=network-online.target
# A broker may be away for long: never give up.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
# The dash: a failure here would be tried again for ever, as only what ExecStart exits with can
# prevent a restart. The daemon then refuses the same configuration, with status $wrong_config.
ExecStartPre=-$program --config $config check
ExecStart=$program --config $config
ExecReload=/bin/kill -HUP $$MAINPID
# The daemon refuses a wrong configuration and goes on; this tells whoever asked for the reload.
ExecReload=$program --config $config check
# A pipeline that has an end makes the daemon exit with 0: Restart=on-failure lets it rest then.
Restart=always
RestartSec=5
RestartPreventExitStatus=$wrong_config
# Longer than the longest drain_timeout; while draining the daemon asks for more by itself.
TimeoutStopSec=90
# The daemon shows signs of life several times in this time, unless a pipeline is stuck.
WatchdogSec=60
LimitNOFILE=65536

# Relative paths of the configuration are below /var/lib/$directory.
StateDirectory=$directory
StateDirectoryMode=0700
WorkingDirectory=%S/$directory
UMask=0077
# In the configuration: password = "@{credential:clickhouse}"
#LoadCredential=clickhouse:/etc/streamd/credentials/clickhouse
# For a source that reads the system's logs:
#SupplementaryGroups=adm

DynamicUser=yes
${user}CapabilityBoundingSet=
NoNewPrivileges=yes
PrivateDevices=yes
PrivateTmp=yes
PrivateUsers=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
ProcSubset=pid
KeyringMode=private
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources

[Install]
WantedBy=multi-user.target
""")

_OWN_USER = """\
# By itself systemd gives all instances one user. So NAME is of letters, digits, - and _.
User=streamd-%i
"""


def name(*, instance: bool) -> str:
    """What the unit's file is called."""
    return "streamd@.service" if instance else "streamd.service"


def unit(program: Path, config: Path, *, instance: bool) -> str:
    """The text of the unit that runs `program` with `config`, both absolute.

    The template unit of instances reads `<instance>.toml` beside `config`.
    """
    read = f"{_escaped(config.parent)}/%i.toml" if instance else _escaped(config)
    return _UNIT.substitute(
        name=name(instance=instance).replace("@", "@NAME"),
        described=" (%i)" if instance else "",
        program=_word(_escaped(program)),
        # Variables are replaced in arguments, not in the program's own path.
        config=_word(read.replace("$", "$$")),
        directory="streamd-%i" if instance else "streamd",
        user=_OWN_USER if instance else "",
        wrong_config=exits.CONFIG,
    )


def _escaped(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace("%", "%%")


def _word(text: str) -> str:
    """One word of a command line."""
    if not re.search(r"[\s\"';\\]", text):
        return text
    return '"' + text.replace('"', '\\"') + '"'
