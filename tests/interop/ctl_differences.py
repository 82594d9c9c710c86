"""Where `quorate ctl` differs from stock etcdctl 3.4.23 on the same servers, and why.

Rows as in etcdctl_differences.py: they rewrite what etcdctl does to what ours has to do; or, where
that cannot be told beforehand, blank the same in both.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial

from etcdctl_differences import IN_AUTH, ON, Difference, served, text
from etcdctl_run import Outcome

MISTAKES = (r"get k/ --prefix --count-only|get a --limit=x|watch a --rev=x|lock l --ttl=x true")


def told(outcome: Outcome) -> Outcome:
    """Without the log lines of etcdctl's library, and without empty lines at the end."""
    lines = [line for line in outcome.stderr.splitlines() if not line.startswith('{"level":')]
    return replace(outcome, stderr="\n".join(lines).strip())


def refused(code: int, sentence: str, outcome: Outcome) -> Outcome:
    """With that code and sentence, and nothing else."""
    return Outcome(outcome.name, code, "", f"Error: {sentence}")


def once(outcome: Outcome) -> Outcome:
    """A mistake is told once, and not with all flags."""
    return replace(outcome, stdout="", stderr=outcome.stderr.partition("\n")[0])


def later(outcome: Outcome) -> Outcome:
    """Users and roles are not in this release."""
    group = outcome.name.partition(" ")[0]
    return refused(1, f"users and roles come with a later release; `{group}` has nothing to do",
                   outcome)


def blank(pattern: str, outcome: Outcome) -> Outcome:
    """Whatever is there."""
    return replace(outcome, stdout=re.sub(pattern, "", outcome.stdout))


ROWS = (
    Difference(MISTAKES, "a mistake is told in a sentence, not with all flags", once),
    Difference(r"put large <<< 'x+'", "the server says that it is too large",
               partial(text, r"rpc error.*", "HTTP status 413: the body is larger than 4194304 "
                                             "bytes")),
    Difference("alarm disarm -w fields", "etcdctl dies of an answer without header",
               partial(served, '"ClusterID" : 0\n"MemberID" : 0\n"Revision" : 0\n'
                               '"RaftTerm" : <term>\n')),
    Difference("snapshot restore .*", "restoring is `quorate import`",
               partial(refused, 1, "use `quorate import FILE` to begin a cluster with a snapshot, "
                                   "or etcdutl for one of etcd")),
    Difference("watch -i.* <<< 'get a.*", "`progress` is a command there, as in later releases",
               partial(text, "only support watch", "only support watch and progress")),
    Difference("version.*", "the API that it speaks is that of 3.5.21",
               lambda outcome: text("API version: 3.4", "API version: 3.5",
                                    text("3.4.23", "3.5.21", outcome))),
    Difference(IN_AUTH, "users and roles come with a later release", later),
    Difference(f"user .*{ON}|role .*{ON}|auth .*{ON}", "as above", later),
)

BLANKED = (
    Difference("endpoint", "help is our own", partial(blank, r"(?s).+")),
    Difference(r"endpoint hashkv.* -w json.*", "later releases also tell the revision of the hash",
               partial(blank, r',"hash_revision":\d+')),
    Difference(r"snapshot status .*saved.*", "etcdctl leaves the leases of its sessions behind",
               partial(blank, r'(?<=\d, )\d+(?=, )|(?<=Keys" : )\d+|(?<=Key":)\d+|'
                              r'\d+(?= +\| +<size)')),
)
"""In both."""


def judged(ours: Outcome, theirs: Outcome) -> tuple[str, list[str]]:
    """What is wrong, if anything, and the reasons of what is listed."""
    reasons = []
    ours, theirs = told(ours), told(theirs)
    for row in ROWS:
        if re.fullmatch(row.names, ours.name) and row.rewrite(theirs) != theirs:
            reasons.append(row.reason)
            theirs = row.rewrite(theirs)
    for row in BLANKED:
        if re.fullmatch(row.names, ours.name):
            if ours != theirs:
                reasons.append(row.reason)
            ours, theirs = row.rewrite(ours), row.rewrite(theirs)
    if ours != theirs:
        return f"{ours.name}\nquorate ctl {ours}etcdctl, as listed {theirs}", reasons
    return "", reasons
