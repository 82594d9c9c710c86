"""What each command prints, in each of etcdctl's forms: simple, fields, json, protobuf, table.

Not here: the forms themselves (forms.py), commands that print one thing whatever the form.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, Literal

from google.protobuf.message import Message as Proto

from quorate.cli.ctl.flags import BAD_FEATURE, Exit
from quorate.cli.ctl.forms import go_json, hexed, quoted, table, value_of
from quorate.wire._generated import kv_pb2, rpc_pb2 as rpc

FORMS = ("simple", "fields", "json", "protobuf", "table")


def say(text: str | bytes) -> None:
    """A line on standard output."""
    sys.stdout.flush()
    sys.stdout.buffer.write((text if isinstance(text, bytes) else text.encode(
        "utf-8", "surrogateescape")) + b"\n")
    sys.stdout.buffer.flush()


def complain(text: str) -> None:
    """A line on standard error."""
    print(text, file=sys.stderr, flush=True)


class Printer:
    """`form` is one of FORMS; simple output may be in hex, or values only."""

    def __init__(self, form: str, *, hexadecimal: bool = False) -> None:
        """Raises Exit."""
        if form not in FORMS:
            raise Exit(BAD_FEATURE, "unsupported output format")
        self.form = form
        self.hexadecimal = hexadecimal
        self.values_only = False

    def show(
        self, message: Proto, simple: Callable[[], object], fields: Callable[[], object],
        json: Any = None,
    ) -> None:
        """One answer in the form that is wanted; `json` if its JSON is of its own kind."""
        if self.form == "simple":
            simple()
        elif self.form == "fields":
            fields()
        elif self.form == "json":
            say(go_json(value_of(message) if json is None else json))
        elif self.form == "protobuf":
            say(message.SerializeToString())
        else:
            raise self.unsupported()

    def unsupported(self) -> Exit:
        """What a form that a command does not have is answered with."""
        return Exit(BAD_FEATURE, f"{self.form} not supported as output format")

    def rows(
        self, head: list[str], rows: list[list[str]], fields: Callable[[], object], json: Any
    ) -> None:
        """An answer that is a table."""
        if self.form == "simple":
            for row in rows:
                say(", ".join(row))
        elif self.form == "fields":
            fields()
        elif self.form == "json":
            say(go_json(json))
        elif self.form == "table":
            say(table(head, rows)[:-1])
        else:
            raise self.unsupported()

    # Keys.

    def pair(self, kv: kv_pb2.KeyValue) -> None:
        """A key and its value, a line each."""
        key, value = (hexed(kv.key), hexed(kv.value)) if self.hexadecimal else (kv.key, kv.value)
        if not self.values_only:
            say(key)
        say(value)

    def put(self, answer: rpc.PutResponse) -> None:
        """put."""
        def simple() -> None:
            say("OK")
            if answer.HasField("prev_kv"):
                self.pair(answer.prev_kv)

        def fields() -> None:
            header(answer.header)
            if answer.HasField("prev_kv"):
                key_fields("Prev", answer.prev_kv)

        self.show(answer, simple, fields)

    def get(self, answer: rpc.RangeResponse) -> None:
        """get."""
        def simple() -> None:
            for kv in answer.kvs:
                self.pair(kv)

        def fields() -> None:
            header(answer.header)
            for kv in answer.kvs:
                key_fields("", kv)
            say(f'"More" : {str(answer.more).lower()}')
            say(f'"Count" : {answer.count}')

        self.show(answer, simple, fields)

    def delete(self, answer: rpc.DeleteRangeResponse) -> None:
        """del."""
        def simple() -> None:
            say(str(answer.deleted))
            for kv in answer.prev_kvs:
                self.pair(kv)

        def fields() -> None:
            header(answer.header)
            say(f'"Deleted" : {answer.deleted}')
            for kv in answer.prev_kvs:
                key_fields("Prev", kv)

        self.show(answer, simple, fields)

    def txn(self, answer: rpc.TxnResponse) -> None:
        """txn."""
        def parts() -> None:
            for op in answer.responses:
                if self.form == "simple":
                    say("")
                if op.HasField("response_put"):
                    self.put(op.response_put)
                elif op.HasField("response_range"):
                    self.get(op.response_range)
                elif op.HasField("response_delete_range"):
                    self.delete(op.response_delete_range)

        def simple() -> None:
            say("SUCCESS" if answer.succeeded else "FAILURE")
            parts()

        def fields() -> None:
            header(answer.header)
            say(f'"Succeeded" : {str(answer.succeeded).lower()}')
            parts()

        self.show(answer, simple, fields)

    def watch(self, answer: rpc.WatchResponse) -> None:
        """watch."""
        def simple() -> None:
            for event in answer.events:
                say(event_type(event))
                if event.HasField("prev_kv"):
                    self.pair(event.prev_kv)
                self.pair(event.kv)

        def fields() -> None:
            header(answer.header)
            for event in answer.events:
                say(f'"Type" : {event_type(event)}')
                if event.HasField("prev_kv"):
                    key_fields("Prev", event.prev_kv)
                key_fields("", event.kv)

        self.show(answer, simple, fields, {
            "Header": value_of(answer.header), "Events": [value_of(e) for e in answer.events],
            "CompactRevision": answer.compact_revision, "Canceled": answer.canceled,
            "Created": answer.created})

    # Leases.

    def lease(
        self, answer: Proto, text: str, values: Iterable[tuple[str, object]],
        json: dict[str, Any] | None,
    ) -> None:
        """An answer about a lease; in JSON, beside its header's fields."""
        head: rpc.ResponseHeader = answer.header  # type: ignore[attr-defined]
        def fields() -> None:
            header(head)
            for name, value in values:
                say(f'"{name}" : {value}')

        self.show(answer, lambda: say(text), fields,
                  None if json is None else {**value_of(head), **json})

    # Members.

    def members(self, answer: rpc.MemberListResponse) -> None:
        """member list."""
        rows = [[f"{m.ID:x}", "started" if m.name else "unstarted", m.name,
                 ",".join(m.peerURLs), ",".join(m.clientURLs), str(m.isLearner).lower()]
                for m in answer.members]

        def fields() -> None:
            header(answer.header)
            for m in answer.members:
                say(f'"ID" : {m.ID}')
                say(f'"Name" : {quoted(m.name)}')
                for url in m.peerURLs:
                    say(f'"PeerURL" : {quoted(url)}')
                for url in m.clientURLs:
                    say(f'"ClientURL" : {quoted(url)}')
                say(f'"IsLearner" : {str(m.isLearner).lower()}')
                say("")

        if self.form == "protobuf":
            say(answer.SerializeToString())
        else:
            self.rows(["ID", "Status", "Name", "Peer Addrs", "Client Addrs", "Is Learner"],
                      rows, fields, value_of(answer))


def event_type(event: kv_pb2.Event) -> Literal["PUT", "DELETE"]:
    """Its name."""
    return "DELETE" if event.type == kv_pb2.Event.DELETE else "PUT"


def header(head: rpc.ResponseHeader) -> None:
    """As fields."""
    say(f'"ClusterID" : {head.cluster_id}')
    say(f'"MemberID" : {head.member_id}')
    say(f'"Revision" : {head.revision}')
    say(f'"RaftTerm" : {head.raft_term}')


def key_fields(prefix: str, kv: kv_pb2.KeyValue) -> None:
    """As fields."""
    say(f'"{prefix}Key" : {quoted(kv.key)}')
    say(f'"{prefix}CreateRevision" : {kv.create_revision}')
    say(f'"{prefix}ModRevision" : {kv.mod_revision}')
    say(f'"{prefix}Version" : {kv.version}')
    say(f'"{prefix}Value" : {quoted(kv.value)}')
    say(f'"{prefix}Lease" : {kv.lease}')
