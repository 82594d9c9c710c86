"""The settings of discovery: which may be given together, and how each is written."""

from __future__ import annotations

import pytest

from quorate.member.config import load_config
from quorate.member.config_discovery import Discovery
from quorate.member.settings import ConfigError

URL = "http://10.0.0.9:2379/v2/keys/t"


def read(*flags: str) -> Discovery:
    """What they say."""
    return load_config(list(flags), {}, lambda _: "").discovery


@pytest.mark.parametrize(("flags", "sentence"), [
    ((f"--discovery={URL}", "--initial-cluster=default=http://localhost:2380"),
     "--initial-cluster and --discovery are given together"),
    ((f"--discovery={URL}", "--discovery-srv=example.com"), "Keep one of them"),
    (("--discovery-srv=example.com", "--discovery-token=t", "--discovery-endpoints=a:1"),
     "--discovery-endpoints and --discovery-srv"),
    (("--discovery-token=t",), "'t' is given without --discovery-endpoints"),
    (("--discovery-endpoints=a:1",), "'a:1' is given without --discovery-token"),
    (("--discovery-token=t", "--discovery-endpoints=a:1", "--discovery-proxy=p:1"),
     "there is no proxy. Leave it out"),
    (("--discovery=10.0.0.9:2379/v2/keys/t",), "is not an http or https URL"),
    (("--discovery=http://u:p@10.0.0.9:2379/t",), "is not an http or https URL"),
    (("--discovery=http://10.0.0.9:x/t",), "is not an http or https URL"),
    (("--discovery=http://10.0.0.9:2379",), "names no token"),
    ((f"--discovery={URL}", "--discovery-proxy=socks5://p:1"), "not the URL of an HTTP proxy"),
    ((f"--discovery={URL}", "--discovery-fallback=proxy"), "there is no proxy that could be"),
    (("--discovery-token=a//b", "--discovery-endpoints=a:1"), "empty or dotted parts"),
    (("--discovery-token=t", "--discovery-endpoints=https://a:1"), "TLS is not in this release"),
    (("--discovery-token=t", "--discovery-endpoints=a"), "'a' is no endpoint"),
    (("--discovery-insecure-transport=false",), "TLS is not in this release"),
    (("--discovery-cacert=ca.pem",), "TLS is not in this release"),
    (("--discovery-user=me",), "is not in this release"),
    (("--discovery-dial-timeout=fast",), "'fast' is not a duration"),
])
def test_what_cannot_be_acted_upon_is_refused(flags: tuple[str, ...], sentence: str) -> None:
    """In one sentence."""
    with pytest.raises(ConfigError) as wrong:
        read(*flags)
    assert sentence in str(wrong.value)


def test_a_file_has_etcds_names() -> None:
    """Of v3 discovery they are nested, and times are in nanoseconds."""
    found = load_config(["--config-file=f"], {}, lambda _: """
        discovery-config:
          token: t
          client: {endpoints: ['10.0.0.8:2379', 'http://10.0.0.9:2379'], dial-timeout: 1500000000}
        """).discovery

    assert found == Discovery(token="t", dial_timeout_s=1.5, endpoints=(
        "http://10.0.0.8:2379", "http://10.0.0.9:2379"))


def test_a_proxy_may_be_written_without_a_scheme() -> None:
    """As with etcd."""
    assert read(f"--discovery={URL}", "--discovery-proxy=p:3128").proxy == "http://p:3128"


def test_a_domain_may_end_with_a_dot() -> None:
    """It is absolute anyway."""
    assert read("--discovery-srv=example.com.", "--discovery-srv-name=pg") == Discovery(
        srv="example.com", srv_name="pg")
