"""Requests to a registry's HTTP port, one connection each, directly or through a proxy.

https is checked against the certificate authorities of this machine. As with etcd, HTTP_PROXY and
its like are not read: a registry is reached through --discovery-proxy or directly.

Not here: what is asked (registries.py), what is done when nobody answers (discovery.py).
"""

from __future__ import annotations

import http.client
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

ANSWER_BYTES_MAX = 1 << 20
"""A registry of a few members."""

PORTS = {"http": 80, "https": 443}


class RegistryDown(Exception):
    """It does not answer, or not now: to be asked again. The text says why."""


class NoAnswer(RegistryDown):
    """It took the request, and says nothing for now."""


class Answer(NamedTuple):
    """As it came."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


class Asker:
    """Asks the server of a URL; its path is not looked at."""

    def __init__(self, url: str, dial_timeout_s: float, proxy: str = "") -> None:
        parts, via = urlsplit(url), urlsplit(proxy)
        self._host = parts.netloc
        self._secure = parts.scheme == "https"
        self._target = (parts.hostname or "", parts.port or PORTS[parts.scheme])
        self._proxy = (via.hostname, via.port or PORTS["http"]) if via.hostname else None
        self._proxy_headers: dict[str, str] = {}
        if via.username is not None:
            user = f"{unquote(via.username)}:{unquote(via.password or '')}"
            self._proxy_headers["Proxy-Authorization"] = "Basic " + b64encode(
                user.encode()).decode()
        self._dial_timeout_s = dial_timeout_s

    def ask(
        self, method: str, path: str, timeout_s: float, body: bytes | None = None,
        content_type: str = "",
    ) -> Answer:
        """The whole answer; raises RegistryDown: nobody knows then whether it was done."""
        with self._answer(method, path, timeout_s, body, content_type) as response:
            return Answer(response.status, response.headers, response.read(ANSWER_BYTES_MAX))

    def lines(
        self, method: str, path: str, timeout_s: float, body: bytes, content_type: str
    ) -> Iterator[bytes]:
        """The lines of an answer as they come; raises RegistryDown, NoAnswer when none comes for
        a while."""
        with self._answer(method, path, timeout_s, body, content_type) as response:
            while line := response.readline(ANSWER_BYTES_MAX):
                yield line

    @contextmanager
    def _answer(
        self, method: str, path: str, timeout_s: float, body: bytes | None, content_type: str
    ) -> Iterator[http.client.HTTPResponse]:
        connection, headers = self._connection()
        if content_type:
            headers["Content-Type"] = content_type
        if self._proxy and not self._secure:
            path = f"http://{self._host}{path}"
        try:
            try:
                connection.connect()
            except TimeoutError as late:
                raise RegistryDown(f"no connection within {self._dial_timeout_s:g} s") from late
            connection.sock.settimeout(timeout_s)
            connection.request(method, path, body, headers)
            yield connection.getresponse()
        except TimeoutError as late:
            raise NoAnswer(f"no answer within {timeout_s:g} s") from late
        except (OSError, http.client.HTTPException) as failure:
            raise RegistryDown(str(failure) or type(failure).__name__) from failure
        finally:
            connection.close()

    def _connection(self) -> tuple[http.client.HTTPConnection, dict[str, str]]:
        """With the headers that it needs. A proxy is asked for a tunnel to what is secure."""
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(*(self._proxy or self._target), timeout=self._dial_timeout_s)
        headers = {"Host": self._host}
        if self._proxy and self._secure:
            connection.set_tunnel(*self._target, self._proxy_headers)
        elif self._proxy:
            headers |= self._proxy_headers
        return connection, headers
