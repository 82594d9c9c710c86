"""`quorate discovery serve`: a discovery service for people whose clusters have no store yet.
`quorate discovery new`: make a token in a store that one has, and print its URL.

Tokens are kept in the v2 store of `--endpoints` (quorate, or stock etcd with --enable-v2), or, with
`--data-dir`, in a member that runs in this process and listens on loopback only.

Not here: what is served (front.py). TLS: a web server in front of it has that (--url, --forwarded).
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import resource
import signal
import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit

from quorate.api.port import ClientPort
from quorate.api.server import SERVER_VERSION
from quorate.cli.discovery.front import CONNECTIONS_MAX, Front
from quorate.cli.discovery.store import TOKENS, Store, StoreDown, size_of
from quorate.client.errors import ClientError
from quorate.disk.datadir import DataDirError
from quorate.disk.snapshot_files import ImageDamaged
from quorate.disk.wal import WalDamaged
from quorate.member import logs
from quorate.member.config import load_config
from quorate.member.launch import RunningMember, prepare
from quorate.member.settings import ConfigError, Url, parse_url

log = logging.getLogger("quorate.discovery")

LISTEN_URL = "http://127.0.0.1:8087"
DESCRIPTORS_OTHER = 100
DESCRIPTORS_EACH = 3
"""Of a connection: its own, and both ends of that to the member."""


def main(argv: list[str] | None = None) -> int:
    """The command line; the exit code."""
    options = _parser().parse_args(argv)
    try:
        if options.command == "new":
            return asyncio.run(_new(options.endpoints.split(","), options.size))
        return _serve(options)
    except (ConfigError, DataDirError, WalDamaged, ImageDamaged, ClientError, OSError) as wrong:
        print(f"quorate discovery: {wrong}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="quorate discovery", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser(
        "serve", allow_abbrev=False, help="serve GET /new?size=3, and what members ask below a URL")
    serve.add_argument("--listen-url", default=LISTEN_URL, metavar="URL",
                       help=f"where to listen ({LISTEN_URL})")
    serve.add_argument("--url", metavar="URL",
                       help="how people reach this service; their clusters' ids are made of it")
    serve.add_argument("--forwarded", action="store_true",
                       help="a web server in front of it says in X-Forwarded-For who asks")
    store = serve.add_mutually_exclusive_group(required=True)
    store.add_argument("--endpoints", metavar="URL,URL", help="of the v2 store that keeps tokens")
    store.add_argument("--data-dir", metavar="DIR", help="keep tokens in a member of its own there")
    new = commands.add_parser("new", allow_abbrev=False, help="make a token, print its URL")
    new.add_argument("--endpoints", default="http://127.0.0.1:2379", metavar="URL,URL",
                     help="of the v2 store that keeps it (http://127.0.0.1:2379)")
    new.add_argument("--size", type=_size, default=3, metavar="N", help="of the cluster (3)")
    return parser


def _size(text: str) -> int:
    try:
        return size_of(text)
    except ValueError as wrong:
        raise argparse.ArgumentTypeError(str(wrong)) from None


async def _new(endpoints: list[str], size: int) -> int:
    store = Store(endpoints)
    try:
        token = await store.new_token(size)
    except StoreDown as down:
        print(f"quorate discovery: no token was made: {down}. Name client URLs of a v2 store by "
              f"--endpoints.", file=sys.stderr)
        return 1
    print(f"{store.endpoints[0]}{TOKENS}/{token}")
    return 0


def _serve(options: argparse.Namespace) -> int:
    import uvloop

    listen = parse_url(options.listen_url, "--listen-url")
    url = options.url or listen.text
    if not url.startswith(("http://", "https://")) or urlsplit(url).hostname in ("0.0.0.0", "::"):
        raise ConfigError(f"--url {url!r} is no URL that members could be given. Name the one by "
                          f"which they reach this service, like http://10.0.0.9:8087.")
    logs.set_up("info", ("stderr",))
    if options.endpoints is not None:
        store = Store(options.endpoints.split(","))
        return uvloop.run(_run(options, listen, url, store, None))
    client, peers = (f"http://127.0.0.1:{port}" for port in _free_ports(2))
    config = load_config([
        "--name=discovery", f"--data-dir={options.data_dir}", f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}", f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}"], {}, lambda path: Path(path).read_text())
    prepared = prepare(config)

    async def both() -> int:
        member = RunningMember(config, prepared, ClientPort, SERVER_VERSION)
        return await _run(options, listen, url, Store([client]), member)

    return uvloop.run(both())


async def _run(
    options: argparse.Namespace, listen: Url, url: str, store: Store, member: RunningMember | None
) -> int:
    """Until a signal, or until the member is broken; raises ConfigError, OSError."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    front = Front(store, url, loop, forwarded=options.forwarded, connections_max=min(
        CONNECTIONS_MAX, (descriptors - DESCRIPTORS_OTHER) // DESCRIPTORS_EACH))
    if member is not None:
        await member.start()
    ends: list[asyncio.Task[object]] = [loop.create_task(stop.wait())]
    if member is not None:
        ends.append(loop.create_task(member.wait()))
    broken = None
    try:
        try:
            server = await loop.create_server(front.protocol, listen.host, listen.port)
        except OSError as failure:
            raise ConfigError(f"--listen-url {listen.text!r} cannot be listened on: {failure}. "
                              f"Stop what listens there, or choose another.") from failure
        log.info("discovery is served at %s; tokens are kept in %s", listen.text,
                 ", ".join(store.endpoints))
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        server.close()
        broken = done.pop().exception()
        if broken is not None:
            log.error("the member that keeps tokens cannot go on: %s", broken)
    finally:
        for end in ends:
            end.cancel()
        await front.stop()
        if member is not None:
            await member.stop(orderly=broken is None)
    return 0 if broken is None else 1


def _free_ports(count: int) -> list[int]:
    """For the member, whom nobody else knows."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


if __name__ == "__main__":
    raise SystemExit(main())
