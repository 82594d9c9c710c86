"""Planted bugs: one line each, of the kind that consensus stores have really had.

A mutation names the module under `src/quorate`, the text to replace, which must be there exactly
once, and what it is replaced by. `safety` says that it can lose, reorder or invent something, as
opposed to costing time or availability. Sources: Raft's known faults (lessons L1–L26), etcd's
track record, and what each invariant in a module's header forbids.

Not here: running them (run.py).
"""

from typing import NamedTuple


class Mutation(NamedTuple):
    """One planted bug."""

    name: str
    module: str
    old: str
    new: str
    safety: bool = True


CATALOGUE = (
    # Elections.
    Mutation("vote without looking at the log", "raft/core.py",
             "if can_vote and self.log.is_up_to_date(message.log_term, message.index):",
             "if can_vote:"),
    Mutation("vote twice in a term", "raft/core.py",
             "                self.vote = message.from_\n", "                pass\n"),
    Mutation("the candidate's log may be shorter", "raft/log.py",
             "(term == last_term and index >= self.last_index())", "term == last_term"),
    Mutation("a term begins with the old vote", "raft/core.py",
             "            self.term = term\n            self.vote = NONE\n",
             "            self.term = term\n", safety=False),
    Mutation("a minority elects", "raft/quorum.py",
             "    if yes >= quorum:", "    if yes >= quorum - 1:"),
    Mutation("votes leave before they are on disk", "raft/core.py",
             "        self.messages_after_append.append(\n            Message(type_, to=to, "
             "from_=self.id, term=term, reject=reject))",
             "        (self.messages if to != self.id else self.messages_after_append).append(\n"
             "            Message(type_, to=to, from_=self.id, term=term, reject=reject))"),
    # Replication and commitment.
    Mutation("acknowledgements leave before they are on disk", "raft/core.py",
             "        self.messages_after_append.append(Message(\n            type_, to=to",
             "        (self.messages if to != self.id else self.messages_after_append).append("
             "Message(\n            type_, to=to"),
    Mutation("commit with a minority", "raft/quorum.py",
             "indexes[len(indexes) - (len(indexes) // 2 + 1)]",
             "indexes[len(indexes) - len(indexes) // 2]"),
    Mutation("entries of earlier terms are committed by counting", "raft/log.py",
             "if index > self.committed and term and self.matches(term, index):",
             "if index > self.committed and term:"),
    Mutation("append without looking at the entry before", "raft/log.py",
             "        if not self.matches(prev_term, prev_index):\n            return None\n", ""),
    Mutation("a conflicting entry is kept", "raft/log.py",
             "            if not self.matches(entry.term, entry.index):",
             "            if entry.index > self.last_index():"),
    Mutation("commit beyond what the append brought", "raft/log.py",
             "self.commit_to(min(commit, last_new))",
             "self.commit_to(min(commit, self.last_index()))"),
    Mutation("acknowledge the own last index", "raft/follower.py",
             "        raft.answer(T.APP_RESP, leader, index=last)",
             "        raft.answer(T.APP_RESP, leader, index=log.last_index())"),
    Mutation("apply what is not on the own disk", "raft/log.py",
             "self.committed if allow_unstable else min(self.committed, self.offset - 1)",
             "self.committed"),
    Mutation("a late report from the disk counts for rewritten entries", "raft/log.py",
             "or self._entries[position].term != term:", "or False:"),
    Mutation("rewritten entries are not handed out again", "raft/log.py",
             "            self.offset_in_progress = min(self.offset_in_progress, first)\n", ""),
    Mutation("a proposal is taken in another term", "member/core.py",
             "if not self.is_leader or self.node.term != int.from_bytes(term, \"big\"):",
             "if not self.is_leader:"),
    Mutation("a copy of a forwarded proposal is proposed", "member/core.py",
             "        if batch in self._batches:", "        if False:"),
    # Reads.
    Mutation("read without asking anybody", "member/core.py",
             "        else:\n            self.reads.ask(Read(ready, self.deadline()))",
             "        else:\n            self.reply(ready, None)"),
    Mutation("a read does not wait for its index", "member/reads.py",
             "if index <= applied]", "if True]"),
    Mutation("a member counts from one in every life: reads", "member/core.py",
             "self.reads.start(now, self.ids.next)",
             "self.reads.start(now, lambda: self.__dict__.setdefault("
             "'n', __import__('itertools').count(1)).__next__())"),
    Mutation("a member counts from one in every life: renewals", "member/leasekeeper.py",
             "        sequence = self._core.ids.next()\n",
             "        sequence = self._n = getattr(self, \"_n\", 0) + 1\n"),
    Mutation("an answer confirms reads that came later", "raft/readindex.py",
             "while self._requests and self._requests[0].number <= number:",
             "while self._requests:"),
    Mutation("any answer confirms a read", "raft/readindex.py",
             "for i, acked in self._acked.items() if acked >= number}",
             "for i, acked in self._acked.items()}"),
    # Disk.
    Mutation("report before the sync", "member/logkeeper.py",
             "bool(message.entries) or snapshot is not None or vote != self._vote,", "False,"),
    Mutation("the vote is not synced", "member/logkeeper.py",
             "bool(message.entries) or snapshot is not None or vote != self._vote,",
             "bool(message.entries) or snapshot is not None,"),
    Mutation("the log does not supersede", "disk/wal_reader.py",
             "            del self.entries[max(0, len(self.entries) - (last - entry.index + 1))"
             ":]", "            pass"),
    Mutation("a new segment forgets the vote", "disk/wal.py",
             "            (RecordType.HARD_STATE, encode_hard_state(self._hard_state))])\n"
             "        file.sync()",
             "            (RecordType.HARD_STATE, encode_hard_state(HardState()))])\n"
             "        file.sync()"),
    Mutation("segments are released too early", "disk/wal.py",
             "self._segments[0].last_index < index:", "self._segments[0].last_index < index + 30:"),
    Mutation("the backend forgets its applied index", "member/core.py",
             "self.backend.advance(AppliedPoint(last.index, last.term, self.conf_state))",
             "self.backend.advance(AppliedPoint(max(1, last.index - 1), last.term, "
             "self.conf_state))"),
    Mutation("the log is cut beyond what is durable", "member/logkeeper.py",
             "index = max(first - 1, durable.index - keep)",
             "index = max(first - 1, self.storage.last_index())"),
    # Leases.
    Mutation("a renewal is acknowledged by the leader alone", "member/leases.py",
             "        if not is_quorum(waiting.acknowledged):\n            return []\n", ""),
    Mutation("a new leader expires what it remembers itself", "member/leases.py",
             "        self._synced = is_quorum({self._id})", "        self._synced = True"),
    Mutation("an answer to an earlier question counts", "member/leases.py",
             "if not self._leading or answer.question != self.question:",
             "if not self._leading:"),
    Mutation("one answer is enough to know all renewals", "member/leases.py",
             "        if not is_quorum(set(self._answers) | {self._id}):\n"
             "            return\n", ""),
    Mutation("a restarted member claims to know", "member/leases.py",
             "{i: self._last.get(i, now) for", "{i: self._last.get(i, 0.0) for"),
    Mutation("ages count from who has not applied the grant", "member/leasekeeper.py",
             ' and notice.sequence >= self._known_at:', ":"),
    Mutation("the best memory of any one member is believed", "member/leases.py",
             "            if is_quorum(quorum):\n                return heard",
             "            return heard"),
    Mutation("leases end a second early", "member/leases.py",
             "            if last + ttl_s > now:", "            if last + ttl_s - 1 > now:"),
    Mutation("an expiring lease is renewed", "member/leases.py",
             "        return lease_id in self._proposed", "        return False"),
    Mutation("leases never end after a leader change", "member/leases.py",
             "        self._synced = True\n        self._rebuild()",
             "        self._synced = True", safety=False),
    Mutation("an expiry of an older term takes effect", "state/machine.py",
             "        if request.term != term:", "        if False:"),
    Mutation("a key keeps its old lease", "state/lease.py",
             "        if before:\n            self._backend.delete(Bucket.LEASE_KEY",
             "        if False:\n            self._backend.delete(Bucket.LEASE_KEY"),
    Mutation("only the first key of a lease goes with it", "state/machine.py",
             "        for key in self.leases.keys(lease_id):",
             "        for key in self.leases.keys(lease_id)[:1]:"),
    Mutation("a renewal is timed by the last turn", "member/core.py",
             '        """A message from a peer. Wrong or stale ones are ignored."""\n'
             "        self._moved(now)\n",
             '        """A message from a peer. Wrong or stale ones are ignored."""\n'),
    # Watches.
    Mutation("a watcher that resumes skips a revision", "member/watchhub.py",
             "start = create.start_revision or current + 1",
             "start = create.start_revision + 1 or current + 1"),
    Mutation("a watcher that resumes at the newest revision is not served it",
             "member/watchhub.py", "synced=start > current)", "synced=start >= current)"),
    Mutation("a watcher is given what it has", "member/watchhub.py",
             "if event.revision >= watcher.next_revision and _wanted(watcher, event):",
             "if _wanted(watcher, event):"),
    Mutation("watchers sleep through a snapshot", "member/core.py",
             "        self.watches.restart()\n", ""),
    Mutation("a range is watched to its end and beyond", "member/watchhub.py",
             'self.range_end == b"\\0" or key < self.range_end)',
             'self.range_end == b"\\0" or key <= self.range_end)', safety=False),
    Mutation("previous values are those of now", "member/watchhub.py",
             "self.machine.previous(event.kv.key, event.revision)",
             "self.machine.previous(event.kv.key, event.revision + 1)", safety=False),
    Mutation("filters are taken the wrong way round", "member/watchhub.py",
             "unwanted = NO_DELETE if", "unwanted = NO_PUT if", safety=False),
    Mutation("progress is told before the events", "member/watchhub.py",
             "        if all(w.synced and w.next_revision <= current + 1 for w in "
             "stream.watchers.values()):\n", "        if True:\n"),
    Mutation("a watcher that lags is given what is next, not what it missed",
             "member/watchhub.py", "        self._detach(watcher)\n"
             "        self._unsynced[watcher] = None",
             "        self._detach(watcher)\n        watcher.next_revision += 1\n"
             "        self._unsynced[watcher] = None"),
    # Configuration changes.
    Mutation("a joint configuration commits by its new half", "raft/quorum.py",
             "    return min(index, committed_index(outgoing, acked)) if outgoing else index",
             "    return index"),
    Mutation("a joint configuration elects by its new half", "raft/quorum.py",
             "    one, other = vote_result(incoming, votes), vote_result(outgoing, votes)",
             "    one = other = vote_result(incoming, votes)"),
    Mutation("a change is made while another is under way", "raft/leader.py",
             "        wrong = pending or joint != leaving", "        wrong = joint != leaving"),
    Mutation("a new leader forgets that a change may be under way", "raft/core.py",
             "        self.pending_conf_index = self.log.last_index()\n", ""),
    Mutation("a candidate has not applied a committed change", "raft/core.py",
             "not self.promotable or self._has_unapplied_conf_change():",
             "not self.promotable:"),
    Mutation("a learner votes for itself", "raft/quorum.py",
             "    if not voters:\n        return VoteResult.WON\n    quorum",
             "    if not voters:\n        return VoteResult.WON\n"
             "    voters = set(voters) | set(votes)\n    quorum"),
    Mutation("a swap removes members before the joint configuration ends", "state/members.py",
             "        if step.type is ConfChangeType.REMOVE_NODE:\n            return\n",
             "        if step.type is ConfChangeType.REMOVE_NODE:\n"
             "            self._backend.put(Bucket.MEMBER, step.node_id.to_bytes(8, \"big\"), "
             "REMOVED)\n            return\n", safety=False),
    Mutation("a removed member leaves at once", "member/removal.py",
             "bool(self._told_by) and self._node.is_quorum(self._told_by | {self._node.id})",
             "bool(self._told_by)", safety=False),
    # Proposals and applying.
    Mutation("a proposal that may have arrived is proposed again", "member/proposals.py",
             "if p.doubtful and p.term == term]", "if False]", safety=False),
    Mutation("what was in flight is proposed again at once", "member/proposals.py",
             "if p.term < term]", "if True]"),
    Mutation("an answer carries the newest revision instead of its own", "member/core.py",
             "        header.revision = applied.revision\n",
             "        header.revision = applied.revision + 1\n"),
    Mutation("a lone voter reads before it knows what is committed", "raft/leader.py",
             "    if not _committed_in_term(raft):\n        # Before",
             "    if not _committed_in_term(raft) and not raft.tracker.is_singleton:\n"
             "        # Before"),
    Mutation("reads begin before an entry of the term is committed", "raft/leader.py",
             "    if not _committed_in_term(raft):\n        # Before",
             "    if False:\n        # Before"),
    Mutation("a low pre-vote is not answered", "raft/core.py",
             "            self.answer_vote(T.PRE_VOTE_RESP, message.from_, self.term, "
             "reject=True)\n", "            pass\n", safety=False),
    Mutation("damage in the log counts as its end", "disk/wal_reader.py",
             "    if synced > offset or not last:", "    if False:"),
    Mutation("a torn tail is not looked for", "disk/wal_reader.py",
             "    if crc != record_crc(metadata, sequence, offset, kind, payload):\n"
             "        return None\n", ""),
    Mutation("the commit index is ahead of a torn tail", "disk/wal.py",
             "            if entries and state.commit >= entries[0].index:",
             "            if False:", safety=False),
    Mutation("clean-up takes the newest value", "state/compaction.py",
             "            if deleted or not is_newest_at(self._store, key, main, sub, target):",
             "            if True:"),
    Mutation("clean-up goes one revision too far", "state/compaction.py",
             "        target = self._store.compact_revision\n",
             "        target = self._store.compact_revision + 1\n"),
    Mutation("a delete tells a version that is not there", "state/mvcc.py",
             "        create, version = (main, 1) if old is None else (old.create_revision, "
             "old.version + 1)",
             "        create, version = (main, 1) if old is None else (main, old.version + 1)"),
    Mutation("a transaction compares with less than it says", "state/txn.py",
             "        succeeded = all(self._holds(compare) for compare in request.compare)",
             "        succeeded = any(self._holds(compare) for compare in request.compare)"),
    Mutation("the branch that failed is run", "state/txn.py",
             "        for op in request.success if succeeded else request.failure:\n"
             "            out =",
             "        for op in request.success:\n            out ="),
)
