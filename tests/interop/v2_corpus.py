"""Requests of the v2 API, right and wrong, one after the other on one store.

`METHOD path [form]`; `%I` is the index that the answer before told. A few are from what Patroni,
python-etcd, etcdctl and discovery send; the matrix asks everything of every kind of path.
"""

from __future__ import annotations

from collections.abc import Iterator

PLAIN = """
GET /v2/keys
GET /v2/keys/
PUT /v2/keys/a value=1
PUT /v2/keys/a value=2
PUT /v2/keys/a value=3&prevExist=true
PUT /v2/keys/a value=4&prevValue=3
PUT /v2/keys/a value=5&prevIndex=%I
PUT /v2/keys/a value=6&prevValue=5&prevIndex=%I
PUT /v2/keys/a value=6&prevValue=5&prevIndex=%I&prevExist=true
PUT /v2/keys/a value=7&prevValue=no
PUT /v2/keys/a value=7&prevIndex=1
PUT /v2/keys/a value=7&prevValue=no&prevIndex=1
PUT /v2/keys/a value=7&prevExist=false
PUT /v2/keys/a value=7&prevExist=false&prevValue=no
PUT /v2/keys/a value=7&prevIndex=0
PUT /v2/keys/none value=5&prevIndex=0&prevExist=true
PUT /v2/keys/b value=5&prevIndex=0
PUT /v2/keys/b value=6&prevIndex=0&prevExist=false
PUT /v2/keys/b value=7&prevIndex=0&prevValue=5
PUT /v2/keys/b dir=true
PUT /v2/keys/b dir=true
GET /v2/keys/b
POST /v2/keys/b value=2
POST /v2/keys/b/ value=3
POST /v2/keys/new/queue value=1&ttl=100
POST /v2/keys/new/queue dir=true
POST /v2/keys value=root
POST /v2/keys/ value=root
POST /v2/keys/b value=2&noValueOnSuccess=true
POST /v2/keys/b value=2&prevExist=true
POST /v2/keys/b value=2&prevValue=1
GET /v2/keys/b?sorted=true
GET /v2/keys/?recursive=true&sorted=true
PUT /v2/keys/t value=1&ttl=100
GET /v2/keys/t
PUT /v2/keys/t value=2
PUT /v2/keys/t value=3&ttl=50
PUT /v2/keys/t value=4&prevExist=true
PUT /v2/keys/t value=4&prevExist=true&ttl=70
PUT /v2/keys/t value=5&prevValue=4&ttl=70
PUT /v2/keys/t value=6&ttl=
PUT /v2/keys/t refresh=true&ttl=50
GET /v2/keys/t
PUT /v2/keys/t refresh=true&ttl=50&prevExist=true
PUT /v2/keys/t refresh=true&ttl=50&prevValue=6
PUT /v2/keys/t refresh=true&ttl=50&prevValue=no
PUT /v2/keys/t refresh=true&ttl=50&prevIndex=%I
PUT /v2/keys/t refresh=true&ttl=50&prevExist=false
PUT /v2/keys/fresh refresh=true&ttl=50&prevExist=false
PUT /v2/keys/fresher refresh=true&ttl=50
PUT /v2/keys/fresher refresh=true&ttl=50&prevValue=1
PUT /v2/keys/t refresh=true&ttl=50&value=x
PUT /v2/keys/t refresh=true
PUT /v2/keys/t refresh=true&ttl=
PUT /v2/keys/t refresh=false&ttl=50&value=x
PUT /v2/keys/t refresh=zz&ttl=50&value=x
PUT /v2/keys/d dir=true&ttl=100
PUT /v2/keys/d dir=true&prevExist=true&ttl=50
PUT /v2/keys/d prevExist=true&ttl=70
PUT /v2/keys/d prevExist=true
PUT /v2/keys/d refresh=true&ttl=70&prevExist=true
PUT /v2/keys/d dir=true&prevExist=false
PUT /v2/keys/d/e/f value=1
GET /v2/keys/d
GET /v2/keys/d?recursive=true
GET /v2/keys/d/
HEAD /v2/keys/d
HEAD /v2/keys/none
PUT /v2/keys/a/b value=1
GET /v2/keys/a/b
GET /v2/keys/a/b/c
GET /v2/keys/none/x
DELETE /v2/keys/a/b
DELETE /v2/keys/none/x
POST /v2/keys/a value=1
POST /v2/keys/a/b value=1
PUT /v2/keys/a/b value=1&prevExist=true
PUT /v2/keys/a/b value=1&prevExist=false
PUT /v2/keys/a/b value=1&prevValue=2
PUT /v2/keys/ value=1
PUT /v2/keys value=1
PUT /v2/keys/ dir=true
PUT /v2/keys/ dir=true&prevExist=true
PUT /v2/keys/ dir=true&prevExist=false
PUT /v2/keys/ value=1&prevValue=1
DELETE /v2/keys/
DELETE /v2/keys/?recursive=true
DELETE /v2/keys/?dir=true
DELETE /v2/keys/?prevValue=1
DELETE /v2/keys/?prevIndex=1
DELETE /v2/keys/d
DELETE /v2/keys/d?dir=true
DELETE /v2/keys/d/e?prevValue=1
DELETE /v2/keys/d/e?prevValue=1&recursive=true
DELETE /v2/keys/d/e?prevIndex=1&dir=true
DELETE /v2/keys/d/e/f?prevValue=2
DELETE /v2/keys/d/e/f?prevIndex=2
DELETE /v2/keys/d/e/f?prevIndex=2&prevValue=2
DELETE /v2/keys/d/e/f?prevValue=1
DELETE /v2/keys/d/e/f?prevIndex=0
GET /v2/keys/d/e
DELETE /v2/keys/d/e?dir=true
DELETE /v2/keys/d?recursive=true
DELETE /v2/keys/d?recursive=true
PUT /v2/keys/d/e value=1
DELETE /v2/keys/d/e?prevIndex=%I
DELETE /v2/keys/d?dir=true
DELETE /v2/keys/a?prevExist=true
DELETE /v2/keys/a?prevExist=false
PUT /v2/keys/a value=1
DELETE /v2/keys/a?dir=true
PUT /v2/keys/a value=1
DELETE /v2/keys/a?recursive=true
PUT /v2/keys/a value=1
DELETE /v2/keys/a?noValueOnSuccess=true
PUT /v2/keys/_h value=2
PUT /v2/keys/q/_h/x value=2
PUT /v2/keys/q/y value=2
GET /v2/keys/q
GET /v2/keys/q?recursive=true
GET /v2/keys/q/_h
GET /v2/keys/_h
GET /v2/keys/?sorted=true
PUT /v2/keys/b value=x&ttl=abc
PUT /v2/keys/b value=x&ttl=-1
PUT /v2/keys/b value=x&ttl=1.5
PUT /v2/keys/b value=x&ttl=%2B5
PUT /v2/keys/b value=x&ttl=99999999999999999999
PUT /v2/keys/b value=x&prevIndex=abc
PUT /v2/keys/b value=x&prevIndex=
PUT /v2/keys/b value=x&prevIndex=-1
PUT /v2/keys/b value=x&prevIndex=18446744073709551616
PUT /v2/keys/b value=x&prevExist=abc
PUT /v2/keys/b value=x&prevExist=
PUT /v2/keys/b value=x&prevValue=
PUT /v2/keys/b value=x&prevValue=&prevIndex=2
PUT /v2/keys/b value=x&dir=maybe
PUT /v2/keys/b value=x&recursive=x
PUT /v2/keys/b value=x&sorted=x
PUT /v2/keys/b value=x&quorum=x
PUT /v2/keys/b value=x&stream=x
PUT /v2/keys/b value=x&noValueOnSuccess=x
PUT /v2/keys/b value=x&wait=true
PUT /v2/keys/b value=x&wait=x
PUT /v2/keys/b value=x&prevIndex=x&ttl=x&dir=x
PUT /v2/keys/b value=x&dir=x&ttl=x
PUT /v2/keys/c value=x&dir=false
PUT /v2/keys/c value=x&prevExist=TRUE
PUT /v2/keys/c value=x&prevExist=T
PUT /v2/keys/c value=x&prevExist=t
PUT /v2/keys/c value=x&prevExist=1
PUT /v2/keys/c value=x&prevExist=True
PUT /v2/keys/c value=x&prevExist=0
PUT /v2/keys/c value=x&prevExist=F
PUT /v2/keys/c value=x&prevExist=yes
PUT /v2/keys/c value=x&noValueOnSuccess=true
PUT /v2/keys/c?value=q
PUT /v2/keys/c?value=q value=body
PUT /v2/keys/c?prevExist=false value=body
PUT /v2/keys/c
PUT /v2/keys/c value=1&value=2
PUT /v2/keys/c unknown=1
PUT /v2/keys/c value
PUT /v2/keys/c =1
PUT /v2/keys/c &&&value=3&
PUT /v2/keys/c value=a=b
PUT /v2/keys/c value=%zz
PUT /v2/keys/c value=%
PUT /v2/keys/c value=%4
PUT /v2/keys/c value=1;ttl=3
PUT /v2/keys/c?x;y value=1
GET /v2/keys/c?wait=true&waitIndex=x
GET /v2/keys/c?wait=x
GET /v2/keys/c?recursive=x
GET /v2/keys/c?recursive=
GET /v2/keys/c?sorted=x
GET /v2/keys/c?quorum=x
GET /v2/keys/c?stream=x
GET /v2/keys/c?dir=x
GET /v2/keys/c?stream=true
GET /v2/keys/c?prevExist=true
GET /v2/keys/c?prevExist=x
GET /v2/keys/c?prevValue=
GET /v2/keys/c?refresh=true
GET /v2/keys/c?noValueOnSuccess=true
GET /v2/keys/c?ttl=3
GET /v2/keys/c?ttl=x
GET /v2/keys/c?quorum=true
GET /v2/keys/c?quorum=true&recursive=true&sorted=true
GET /v2/keys/none?quorum=true
GET /v2/keys/c?hidden
GET /v2/keys/c?value=%zz
HEAD /v2/keys/c?wait=true
DELETE /v2/keys/c?wait=true
DELETE /v2/keys/c?prevValue=
DELETE /v2/keys/c?prevIndex=x
DELETE /v2/keys/c?refresh=true
DELETE /v2/keys/c?ttl=x
GET /v2/keys//c
GET /v2/keys/x/../c
GET /v2/keys/./c?sorted=true
GET /v2/keys/x//
PATCH /v2/keys/c value=1
PATCH /v2/keys/c
OPTIONS /v2/keys/c
PUT /v2/keys/u%20v value=a%20b%2Bc+d
GET /v2/keys/u%20v
GET /v2/keys/u+v
PUT /v2/keys/%E2%82%AC value=%E2%82%AC
PUT /v2/keys/slash%2Finside value=1
GET /v2/keys/slash
PUT /v2/keys/w value=%3C%26%3E%22%5C%0A%09%01
GET /v2/keys/w
PUT /v2/keys/w value=%5Cb%08%0C
PUT /v2/keys/w value=%FF%C3
PUT /v2/keys/w value=%E2%80%A8
PUT /v2/keys/x;y value=2
PUT /v2/keys/x:y@z value=2
PUT /v2/keys/.dot value=2
PUT /v2/keys/..dots value=2
PUT /v2/keys/_etcd/registry/tok/_config/size value=3
GET /v2/keys/_etcd/registry/tok/_config/size
GET /v2/keys/_etcd/registry/tok
PUT /v2/keys/_etcd/registry/tok/abc?prevExist=false value=m1=http://1.2.3.4:2380
PUT /v2/keys/_etcd/registry/tok/abc?prevExist=false value=m1=http://1.2.3.4:2380
GET /v2/keys/_etcd/registry/tok?recursive=true
DELETE /v2/keys/_etcd/registry/tok?recursive=true
GET /v2/keys/service/batman/?recursive=true&quorum=false
PUT /v2/keys/service/batman/initialize value=&prevExist=false
PUT /v2/keys/service/batman/initialize value=&prevExist=false
PUT /v2/keys/service/batman/initialize value=7012345&prevExist=true
PUT /v2/keys/service/batman/members/p1 value=%7B%22role%22%3A%22primary%22%7D&ttl=30
PUT /v2/keys/service/batman/leader value=p1&ttl=30&prevExist=false
PUT /v2/keys/service/batman/leader value=p2&ttl=30&prevExist=false
PUT /v2/keys/service/batman/leader value=p1&ttl=30&prevValue=p1
PUT /v2/keys/service/batman/leader value=p2&ttl=30&prevValue=p2
PUT /v2/keys/service/batman/config value=%7B%7D&prevIndex=0
PUT /v2/keys/service/batman/config value=%7B%7D&prevIndex=%I
PUT /v2/keys/service/batman/sync value=%7B%7D&prevIndex=0
GET /v2/keys/service/batman/?recursive=true&quorum=true
GET /v2/keys/service/batman/initialize?wait=true&waitIndex=1
DELETE /v2/keys/service/batman/sync?prevIndex=0
DELETE /v2/keys/service/batman/leader?prevValue=p2
DELETE /v2/keys/service/batman/leader?prevValue=p1
DELETE /v2/keys/service/batman/?recursive=true
GET /v2/keys/service/batman/
GET /v2/keysfoo
GET /v2
GET /v2/
GET /v2/foo
GET /v2/stats
GET /v2/stats/foo
POST /v2/machines
PUT /v2/members
POST /v2/stats/store
POST /v2/stats/self
HEAD /v2/stats/leader
GET /v2/stats/
POST /v2/members/leader
GET /v2/members/abc
GET /v2/membersfoo
POST /v2/members {}
DELETE /v2/members
DELETE /v2/members/abc
DELETE /v2/members/xyz
PUT /v2/members/abc {}
"""

PATHS = ("none", "none/below", "file", "file/below", "file/far/below", "empty", "full", "full/in",
         "full/dir", "full/_hid", "_hidden", "timed")
"""Of the matrix; `_fresh` says what each is."""

ASKED = """
GET {}
GET {}?recursive=true
GET {}?quorum=true
PUT {} value=n
PUT {} value=n&ttl=60
PUT {} value=n&prevExist=true
PUT {} value=n&prevExist=false
PUT {} value=n&prevValue=v
PUT {} value=n&prevValue=w
PUT {} value=n&prevIndex=1
PUT {} dir=true
PUT {} dir=true&prevExist=true
PUT {} prevExist=true&ttl=60
PUT {} refresh=true&ttl=60
PUT {} refresh=true&ttl=60&prevExist=true
POST {} value=n
POST {} dir=true
DELETE {}
DELETE {}?dir=true
DELETE {}?recursive=true
DELETE {}?prevValue=v
DELETE {}?prevIndex=1
"""


def _fresh() -> Iterator[str]:
    """The paths of the matrix, whatever happened to them."""
    yield "DELETE /v2/keys/m?recursive=true"
    yield "PUT /v2/keys/m/file value=v"
    yield "PUT /v2/keys/m/empty dir=true"
    yield "PUT /v2/keys/m/full/in value=v"
    yield "PUT /v2/keys/m/full/dir/in value=v"
    yield "PUT /v2/keys/m/full/_hid value=v"
    yield "PUT /v2/keys/m/_hidden value=v"
    yield "PUT /v2/keys/m/timed value=v&ttl=900"


def corpus() -> Iterator[str]:
    """All of them."""
    yield from PLAIN.split("\n")[1:-1]
    for path in PATHS:
        for asked in ASKED.split("\n")[1:-1]:
            if not asked.startswith("GET"):
                yield from _fresh()
            yield asked.format(f"/v2/keys/m/{path}")
            if not asked.startswith("GET"):
                yield "GET /v2/keys/m?recursive=true&sorted=true"
