"""Where the output of etcdctl differs between stock etcd 3.4.23 and quorate, and why.

A row says how stock etcd's outcome is rewritten to what quorate's has to be, to the byte. A row
that does not change an outcome that it names, or names none, is stale.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from etcdctl_run import Outcome, ordered

HEADER = ('"header":{"cluster_id":<cluster>,"member_id":<m1>_______________,'
          '"revision":<revision>,"raft_term":<term>}')
FIELDS = ('"ClusterID" : <cluster>\n"MemberID" : <m1>_______________\n'
          '"Revision" : <revision>\n"RaftTerm" : <term>\n')
RETRY = ('{{"level":"warn","ts":<ts>,"caller":"clientv3/retry_interceptor.go:62",'
         '"msg":"retrying of unary invoker failed","target":"endpoint://<client>/127.0.0.1:m1-cl",'
         '"attempt":0,"error":"rpc error: code = {}"}}\n').format
OFF = RETRY("FailedPrecondition desc = etcdserver: authentication is not enabled")
RESUMED = (
    '{"level":"info","ts":<ts>,"caller":"mvcc/kvstore.go:468","msg":"resume scheduled compaction",'
    '"meta-bucket-name":"meta","meta-bucket-name-key":"scheduledCompactRev",'
    '"scheduled-compact-revision":REVISION}\n')


def text(pattern: str, by: str | Callable[[re.Match[str]], str], outcome: Outcome) -> Outcome:
    """Something else in the same place."""
    return replace(outcome, stdout=re.sub(pattern, by, outcome.stdout),
                   stderr=re.sub(pattern, by, outcome.stderr))


def resumed(outcome: Outcome) -> Outcome:
    """A compaction that was not finished, in place of one that was."""
    found = text(r'\{[^\n]*"restored last compact revision"[^\n]*:(\d+)\}\n',
                 lambda found: RESUMED.replace("REVISION", found[1]), outcome)
    return replace(found, stderr=ordered(found.stderr))


def served(stdout: str, outcome: Outcome) -> Outcome:
    """Done, whatever stock etcd had against it."""
    return Outcome(outcome.name, 0, stdout, "")


def refused(outcome: Outcome) -> Outcome:
    """By a server that does not have the method."""
    words = re.split("[ -]", " ".join(outcome.name.split()[:2]))
    method = "".join(map(str.capitalize, words)).replace("Passwd", "ChangePassword")
    error = f"Unimplemented desc = unknown method {method} for service etcdserverpb.Auth"
    return Outcome(outcome.name, 1, "", RETRY(error) + f"Error: rpc error: code = {error}\n")


def unguarded(outcome: Outcome) -> Outcome:
    """The client asks for a token, is told that none is needed, and goes on."""
    return replace(outcome, stderr=OFF + outcome.stderr)


@dataclass(frozen=True, slots=True)
class Difference:
    """`names` matches whole names of invocations."""

    names: str
    reason: str
    rewrite: Callable[[Outcome], Outcome]


NO_USERS = "users and roles come with a later release"
IN_AUTH = "(?:user|role|auth) .*"
ON = " # authentication on"

DIFFERENCES = (
    Difference(r"endpoint status(?!.*127\.0\.0\.1:1 .*json).*",
               "the announced version is that whose behaviours the server has",
               partial(text, r"3\.4\.23", "3.5.21")),
    Difference("alarm list -w json", "answers about alarms have a header since etcd 3.5",
               partial(text, r"^\{(\"alarms\")?",
                       lambda found: f"{{{HEADER}" + (f",{found[1]}" if found[1] else ""))),
    Difference("alarm list -w fields",
               "without that header etcdctl dies of its absence", partial(served, FIELDS)),
    Difference("snapshot status .*saved.*",
               "snapshots have no cluster version and no finished compaction: two keys less",
               partial(text, r'(?<=\d, )\d+(?=, )|(?<=Keys" : )\d+|(?<=Key":)\d+|\d+(?= \| <size)',
                       lambda found: str(int(found[0]) - 2))),
    Difference("snapshot restore .* --skip-hash-check",
               "a snapshot of quorate is compacted by the etcd that starts on it",
               resumed),
    Difference(f"(?!user add ''|.* fly ){IN_AUTH}", NO_USERS, refused),
    Difference(f"get a{ON}|get a --user=root:wrong{ON}", NO_USERS, partial(served, "a\nroom\n")),
    Difference(f"get b .*{ON}", NO_USERS, partial(served, "b\ntwo words\n")),
    Difference(f"put t 1.*{ON}", NO_USERS, partial(served, "OK\n")),
    Difference(f".* --user.*{ON}", NO_USERS, unguarded),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one invocation: `reasons` of what is listed, `wrong` if something else is the matter."""

    ours: Outcome
    theirs: Outcome
    reasons: tuple[str, ...]
    wrong: str = ""

    def __str__(self) -> str:
        state = f"WRONG ({self.wrong})" if self.wrong else "listed" if self.reasons else "equal"
        out = f"{state:6} {self.ours.name}"
        if self.wrong:
            out += f"\nours {self.ours}stock, as listed {self.theirs}"
        return out


def judged(ours: Sequence[Outcome], theirs: Sequence[Outcome]) -> Iterator[Verdict]:
    """A verdict for each invocation."""
    for one, other in zip(ours, theirs, strict=True):
        reasons, wrong = [], ""
        for row in DIFFERENCES:
            if re.fullmatch(row.names, one.name):
                rewritten = row.rewrite(other)
                if rewritten == other:
                    wrong = f"no longer differs: {row.reason}"
                reasons.append(row.reason)
                other = rewritten
        if one != other:
            wrong = "differs"
        yield Verdict(one, other, tuple(reasons), wrong)


def idle(outcomes: Sequence[Outcome], rows: Sequence[Difference] = DIFFERENCES) -> list[str]:
    """Rows that name no invocation."""
    return [row.names for row in rows
            if not any(re.fullmatch(row.names, one.name) for one in outcomes)]
