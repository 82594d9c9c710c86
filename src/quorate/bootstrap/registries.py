"""Where members register to find each other: a directory in a v2 store, or keys in a v3 store.

v2 is what `--discovery` names: under the URL's path `_config/size`, and a key per member, named by
its id, whose value is `NAME=URL[,NAME=URL]`. v3 has the same under `/_etcd/registry/TOKEN/`, the
members in `members/`. Both stores order members by the creation of their keys.

An answer that will not change by itself is a ConfigError: a sentence for whoever starts the member.
Not here: what follows from what is registered (discovery.py), HTTP (asking.py).
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from http.client import HTTPMessage
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlencode, urlsplit

from quorate.bootstrap.asking import Answer, Asker, NoAnswer, RegistryDown
from quorate.member.config_discovery import Discovery
from quorate.member.settings import ConfigError

REQUEST_S_MAX = 5.0
"""Of etcd's v2 client."""

WAIT_S_MAX = 60.0
"""After which a watch that told nothing is begun anew: a connection may be dead without a sign."""

KEY_NOT_FOUND, KEY_EXISTS, INDEX_CLEARED = 100, 105, 401
"""Error codes of v2."""

V3_PREFIX = "/_etcd/registry"
UNAUTHENTICATED, PERMISSION_DENIED = 16, 7
"""Error codes of v3."""

MALFORMED = (KeyError, TypeError, ValueError, AttributeError)
"""What JSON of another shape raises when it is read."""


class Entry(NamedTuple):
    """A registered member. `created` is the index or revision at which it came."""

    id: str
    value: str
    created: int


class Look(NamedTuple):
    """All that is registered, up to the index or revision `at`. `size` is as it was written."""

    size: str | None
    entries: tuple[Entry, ...]
    at: int


class Registry(Protocol):
    """All methods raise RegistryDown and ConfigError."""

    name: str
    """For sentences: the setting with its value."""
    token: str
    """The cluster's token, of which ids are made."""
    how: str
    """The command that sets the size."""

    def look(self) -> Look: ...

    def create(self, id_: str, value: str) -> bool:
        """Register; False if that id is there already."""
        ...

    def wait(self, after: int) -> None:
        """Until something has happened after that index, or a while."""
        ...


def registry_of(discovery: Discovery) -> Registry:
    """The one that the settings name."""
    return V2Registry(discovery) if discovery.url else V3Registry(discovery)


class V2Registry:
    """See the module's text."""

    def __init__(self, discovery: Discovery) -> None:
        self.token = discovery.url
        self.name = f"--discovery {discovery.url!r}"
        self.how = f"curl -X PUT {discovery.url.rstrip('/')}/_config/size -d value=3"
        self._path = urlsplit(discovery.url).path.rstrip("/")
        self._asker = Asker(discovery.url, REQUEST_S_MAX, discovery.proxy)

    def look(self) -> Look:
        """See Registry."""
        found, _ = self._ask("GET", "/_config/size", KEY_NOT_FOUND)
        if found is None:
            return Look(None, (), 0)
        directory, headers = self._ask("GET", "", KEY_NOT_FOUND)
        if "X-Etcd-Index" not in headers:
            raise ConfigError(f"{self.name} answers without X-Etcd-Index, so nobody can wait for "
                              f"members there. Let what is in front of it pass that header.")
        try:
            entries = tuple(
                Entry(node["key"].rpartition("/")[2], str(node.get("value", "")),
                      int(node["createdIndex"]))
                for node in (directory or {}).get("nodes", ())
                if not node["key"].endswith("/_config"))
            return Look(str(found.get("value", "")), entries, int(headers["X-Etcd-Index"]))
        except MALFORMED as wrong:
            raise self._no_store(f"{wrong!r}") from wrong

    def create(self, id_: str, value: str) -> bool:
        """See Registry."""
        body = urlencode({"value": value}).encode()
        return self._ask("PUT", f"/{id_}?prevExist=false", KEY_EXISTS, body)[0] is not None

    def wait(self, after: int) -> None:
        """See Registry."""
        try:
            self._ask("GET", f"?recursive=true&wait=true&waitIndex={after + 1}", INDEX_CLEARED,
                      timeout_s=WAIT_S_MAX)
        except NoAnswer:
            return

    def _ask(
        self, method: str, path: str, accepted: int, body: bytes | None = None,
        timeout_s: float = REQUEST_S_MAX,
    ) -> tuple[dict[str, Any] | None, HTTPMessage]:
        """Node and headers; no node for the error code that is `accepted`."""
        answer = self._asker.ask(method, self._path + path, timeout_s, body,
                                 "application/x-www-form-urlencoded" if body else "")
        status = answer.status
        told = self._told(answer)
        if status in (200, 201):
            if isinstance(told.get("node"), dict):
                return told["node"], answer.headers
            raise self._no_store("an answer without a node")
        if told.get("errorCode") == accepted:
            return None, answer.headers
        cause = f"{told.get('message')} ({told.get('cause')})"
        if status >= 500:
            raise RegistryDown(f"it answered with status {status}: {cause}")
        raise ConfigError(f"{self.name} refused {method} with status {status}: {cause}. Check the "
                          f"URL, and ask whoever runs that store.")

    def _told(self, answer: Answer) -> dict[str, Any]:
        status = answer.status
        if 300 <= status < 400 and "Location" in answer.headers:
            raise ConfigError(
                f"{self.name} has moved to {answer.headers['Location']!r}. Give all members the "
                f"new URL: their ids are made of it.")
        try:
            told = json.loads(answer.body)
            if isinstance(told, dict):
                return told
        except ValueError:
            pass
        if status == 200 and not answer.body:  # a watch whose server stops
            raise RegistryDown("its answer ended early")
        if status >= 500 or status == 429:
            raise RegistryDown(f"it answered with status {status}")
        shown = answer.body[:100].decode("utf-8", "replace").strip()
        raise self._no_store(f"status {status}, {shown!r}")

    def _no_store(self, what: str) -> ConfigError:
        return ConfigError(
            f"{self.name} does not answer as a v2 store does: {what}. Check the URL (that of a "
            f"store has /v2/keys/ in it); stock etcd needs --enable-v2.")


class V3Registry:
    """See the module's text. The endpoints are asked one after the other."""

    def __init__(self, discovery: Discovery) -> None:
        self.token = discovery.token
        self.name = f"--discovery-token {discovery.token!r}"
        self._prefix = f"{V3_PREFIX}/{discovery.token}/"
        self.how = f"etcdctl put {self._prefix}_config/size 3"
        self._timeout_s = discovery.request_timeout_s
        self._askers = [(url, Asker(url, discovery.dial_timeout_s)) for url in discovery.endpoints]

    def look(self) -> Look:
        """See Registry."""
        told = self._ask("/v3/kv/range", self._range(self._prefix))
        size, entries = None, []
        members = f"{self._prefix}members/"
        try:
            for kv in told.get("kvs", ()):
                key, value = _text(kv["key"]), _text(kv.get("value", ""))
                if key == f"{self._prefix}_config/size":
                    size = value
                elif key.startswith(members):
                    entries.append(Entry(
                        key.removeprefix(members), value, int(kv["create_revision"])))
            return Look(size, tuple(entries), int(told["header"]["revision"]))
        except MALFORMED as wrong:
            raise ConfigError(f"{self.name}: --discovery-endpoints do not answer as a v3 store "
                              f"does: {wrong!r}. Name client URLs of etcd or quorate.") from wrong

    def create(self, id_: str, value: str) -> bool:
        """See Registry."""
        key = _b64(f"{self._prefix}members/{id_}")
        told = self._ask("/v3/kv/txn", {
            "compare": [{"key": key, "target": "CREATE", "result": "EQUAL",
                         "create_revision": "0"}],
            "success": [{"request_put": {"key": key, "value": _b64(value)}}]})
        return told.get("succeeded") is True

    def wait(self, after: int) -> None:
        """See Registry."""
        body = json.dumps({"create_request": {
            **self._range(f"{self._prefix}members/"), "start_revision": str(after + 1)}}).encode()
        failures = []
        for url, asker in self._askers:
            try:
                for line in asker.lines("POST", "/v3/watch", WAIT_S_MAX, body, "application/json"):
                    result = json.loads(line).get("result", {})
                    if not result.get("created") or result.get("canceled"):
                        return
                raise RegistryDown("the watch ended")
            except NoAnswer:
                return
            except (RegistryDown, ValueError, AttributeError) as failure:
                failures.append(f"{url}: {failure}")
        raise RegistryDown("; ".join(failures))

    def _ask(self, path: str, request: dict[str, Any]) -> dict[str, Any]:
        failures = []
        for url, asker in self._askers:
            try:
                return self._told(url, asker.ask(
                    "POST", path, self._timeout_s, json.dumps(request).encode(),
                    "application/json"))
            except RegistryDown as failure:
                failures.append(f"{url}: {failure}")
        raise RegistryDown("; ".join(failures))

    def _told(self, url: str, answer: Answer) -> dict[str, Any]:
        status = answer.status
        try:
            told = json.loads(answer.body)
            code, text = told.get("code"), told.get("message") or told.get("error")
        except (ValueError, AttributeError):
            if status >= 500:
                raise RegistryDown(f"it answered with status {status}") from None
            shown = answer.body[:100].decode("utf-8", "replace").strip()
            raise ConfigError(
                f"--discovery-endpoints {url!r} does not answer as a v3 store does: status "
                f"{status}, {shown!r}. Name client URLs of etcd 3.4 or later, or of quorate.",
            ) from None
        if status == 200:
            return dict(told)
        if code in (UNAUTHENTICATED, PERMISSION_DENIED):
            raise ConfigError(f"--discovery-endpoints {url!r} refused the request: {text}. Users "
                              f"are not in this release; use a store without them.")
        raise RegistryDown(f"it answered with status {status}: {text}")

    @staticmethod
    def _range(prefix: str) -> dict[str, Any]:
        """All keys that begin so; it ends with a slash, which 0 follows."""
        return {"key": _b64(prefix), "range_end": _b64(prefix[:-1] + "0")}


def _b64(text: str) -> str:
    return b64encode(text.encode()).decode()


def _text(value: str) -> str:
    return b64decode(value).decode("utf-8", "replace").strip()
