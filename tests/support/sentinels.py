"""A primary with a replica and three Sentinels: real servers, to be frozen and failed over."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from distflow.local.launch import bound_to_this_process
from tests.support.wait import wait_for

SERVICE = "main"

#: Milliseconds of silence after which a Sentinel takes a server for down: what a failover lasts.
DOWN_AFTER_MS = 3000

_SENTINELS = 3
_QUORUM = 2


class ServerProcess:
    """One server, or one Sentinel, on a port of the loopback."""

    def __init__(self, binary: Path, folder: Path, name: str, lines: list[str]) -> None:
        self.name = name
        self.port = _free_port()
        home = folder / name
        home.mkdir()
        config = home / "server.conf"
        common = [f"port {self.port}", "bind 127.0.0.1", f"dir {home}", f"logfile {home}/log"]
        config.write_text("\n".join([*common, *lines]) + "\n")
        command = [str(binary), str(config)]
        if name.startswith("sentinel"):
            command.append("--sentinel")
        self._process = subprocess.Popen(
            bound_to_this_process(command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.log = home / "log"

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return "127.0.0.1", self.port

    def client(self, **options: Any) -> Redis:
        """A client of this very server."""
        return Redis(port=self.port, socket_timeout=5, **options)

    def answers(self) -> bool:
        """Whether it does."""
        with self.client() as client, suppress(RedisError):
            return bool(client.execute_command("PING"))
        return False

    def role(self) -> str:
        """``master`` or ``slave``."""
        with self.client() as client:
            return str(client.info("replication")["role"])

    def callers(self) -> list[str]:
        """The addresses of clients, but for replicas, Sentinels and this one."""
        with self.client() as client:
            own = client.client_id()
            listed: Any = client.client_list()
        return [
            f"{each['addr']} {each['cmd']} {each['name']}"
            for each in listed
            if int(each["id"]) != own
            and not set("SM") & set(each["flags"])
            and not each["name"].startswith("sentinel-")
        ]

    def freeze(self) -> None:
        """SIGSTOP: its connections stay, and it answers nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: undo ``freeze``."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()


class SentinelSet:
    """Starts everything, and returns when each Sentinel knows the others and the replica.

    Args:
        binary: of the server; the same runs as Sentinel.
        replicas: how many.
    """

    def __init__(self, binary: Path, *, replicas: int = 1) -> None:
        self._started = ExitStack()
        folder = Path(tempfile.mkdtemp(prefix="distflow-test-"))
        self._started.callback(shutil.rmtree, folder, ignore_errors=True)
        self._binary, self._folder = binary, folder
        self.primary = self._start("primary", ["appendonly yes", "appendfsync always"])
        # A full resynchronisation need not wait for others.
        follows = [f"replicaof 127.0.0.1 {self.primary.port}", "repl-diskless-sync-delay 0"]
        self.replicas = [self._start(f"replica{n}", follows) for n in range(replicas)]
        wait_for(self._is_synchronised, 20, "the replicas to be synchronised")
        watch = [
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.primary.port} {_QUORUM}",
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}",
            f"sentinel failover-timeout {SERVICE} 10000",
        ]
        self.sentinels = [self._start(f"sentinel{n}", watch) for n in range(_SENTINELS)]
        wait_for(self._is_settled, 30, "the Sentinels to know each other")

    @property
    def url(self) -> str:
        """What distflow takes."""
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}/0"

    def fail_over(self) -> None:
        """Have the replica promoted while the primary is well, once it has all that the primary
        has: for Valkey 9.
        """
        with self.sentinels[0].client() as client:
            client.execute_command("SENTINEL", "FAILOVER", SERVICE, "COORDINATED")

    def close(self) -> None:
        """End everything."""
        self._started.close()

    def _start(self, name: str, lines: list[str]) -> ServerProcess:
        process = ServerProcess(self._binary, self._folder, name, ["save ''", *lines])
        self._started.callback(process.kill)
        wait_for(process.answers, 20, f"{name} to answer")
        return process

    def _is_synchronised(self) -> bool:
        with self.primary.client() as client:
            info = client.info("replication")
        online = [info.get(f"slave{n}", {}).get("state") for n in range(len(self.replicas))]
        return online == ["online"] * len(self.replicas)

    def _is_settled(self) -> bool:
        for each in self.sentinels:
            with each.client(protocol=2) as client:
                told: Any = client.execute_command("SENTINEL", "MASTER", SERVICE)
            fields = (
                told if isinstance(told, dict) else dict(zip(told[::2], told[1::2], strict=True))
            )
            known = {_text(name): _text(value) for name, value in fields.items()}
            if int(known["num-slaves"]) != len(self.replicas):
                return False
            if int(known["num-other-sentinels"]) != _SENTINELS - 1:
                return False
        return True


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
