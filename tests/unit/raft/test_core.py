"""Raft's known mistakes, one test each: those that scenario files do not notice.

Names like L10 are the lessons of the project's notes on other implementations' bugs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from quorate.raft.confchange import encode_conf_change
from quorate.raft.errors import LogLost, ProposalDropped
from quorate.raft.memory import MemoryStorage
from quorate.raft.node import Node
from quorate.raft.settings import NodeConfig
from quorate.raft.types import (
    LOCAL_APPEND_THREAD, LOCAL_APPLY_THREAD, ConfChangeSingle, ConfChangeTransition,
    ConfChangeType, ConfChangeV2, ConfState, Entry, EntryType, HardState, Message,
    MessageType as T, ReadState, Ready, Role, Snapshot,
)

SELF = 1


@dataclass
class Stage:
    """One node under test; the test plays everybody else.

    `say` steps a message from a peer, `run` carries out what the node asks for and returns what it
    sent, `disk=False` keeps appends under way until `sync`.
    """

    voters: tuple[int, ...] = (1, 2, 3)
    entries: tuple[Entry, ...] = ()
    hard_state: HardState = HardState(1, 0, 1)
    applied: int = 1
    options: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.storage = MemoryStorage()
        self.storage.apply_snapshot(Snapshot(1, 1, ConfState(self.voters)))
        self.storage.append(self.entries)
        self.storage.set_hard_state(self.hard_state)
        self.node = Node(NodeConfig(
            id=SELF, storage=self.storage, random_timeout=lambda ticks: ticks,
            applied=self.applied, **self.options))  # type: ignore[arg-type]
        self.appends: list[Message] = []
        self.applies: list[Message] = []
        self.reads: list[ReadState] = []

    def say(self, kind: T, sender: int, term: int, **fields: object) -> None:
        """A message from a peer."""
        self.node.step(Message(
            kind, to=SELF, from_=sender, term=term, **fields))  # type: ignore[arg-type]

    def run(self, *, disk: bool = True, apply: bool = True) -> list[Message]:
        """What the node sends to others until it has nothing more to do."""
        sent: list[Message] = []
        while True:
            while self.node.has_ready():
                sent += self._take(self.node.ready())
            if disk and self.appends:
                sent += self.sync()
            elif apply and self.applies:
                for response in self.applies.pop(0).responses:
                    self.node.step(response)
            else:
                return sent

    def _take(self, ready: Ready) -> list[Message]:
        self.reads += ready.read_states
        out = []
        for message in ready.messages:
            if message.to == LOCAL_APPEND_THREAD:
                self.appends.append(message)
            elif message.to == LOCAL_APPLY_THREAD:
                self.applies.append(message)
            else:
                out.append(message)
        return out

    def sync(self) -> list[Message]:
        """The oldest append is durable; what may leave now."""
        work = self.appends.pop(0)
        if work.term:
            self.storage.set_hard_state(HardState(work.term, work.vote, work.commit))
        if work.snapshot is not None:
            self.storage.apply_snapshot(work.snapshot)
        self.storage.append(work.entries)
        for response in work.responses:
            if response.to == SELF:
                self.node.step(response)
        return [r for r in work.responses if r.to != SELF]

    def win(self) -> int:
        """Become leader; the term."""
        self.node.campaign()
        for kind in (T.PRE_VOTE_RESP, T.VOTE_RESP):
            self.run()
            term = self.node.term + (kind is T.PRE_VOTE_RESP)
            for voter in self.voters[1:]:
                self.say(kind, voter, term)
        self.run()
        assert self.node.role is Role.LEADER
        return self.node.term


def kinds(messages: list[Message]) -> list[T]:
    """Types only."""
    return [message.type for message in messages]


def test_an_entry_of_an_earlier_term_is_not_committed_by_counting() -> None:
    """Figure 8: only an entry of the leader's own term commits, and takes older ones along."""
    stage = Stage(entries=(Entry(1, 2, b"old"),), hard_state=HardState(1, 0, 1))
    term = stage.win()
    stage.say(T.APP_RESP, 2, term, index=2)
    stage.run()
    assert stage.node.commit == 1

    stage.say(T.APP_RESP, 2, term, index=3)
    stage.run()

    assert stage.node.commit == 3


def test_one_vote_a_term() -> None:
    """A second candidate of the same term is refused."""
    stage = Stage()
    stage.say(T.VOTE, 2, 5, index=9, log_term=4)
    stage.say(T.VOTE, 3, 5, index=9, log_term=4)

    answers = stage.run()

    assert [(m.to, m.reject) for m in answers] == [(2, False), (3, True)]


def test_a_vote_leaves_after_it_is_durable() -> None:
    """L13, L21: nothing that promises leaves before the sync."""
    stage = Stage()
    stage.say(T.VOTE, 2, 5, index=9, log_term=4)

    assert stage.run(disk=False) == []
    assert kinds(stage.sync()) == [T.VOTE_RESP]


def test_a_follower_acknowledges_what_the_append_held() -> None:
    """Not its own last index, which may be of another leader."""
    stage = Stage(entries=(Entry(1, 2), Entry(1, 3), Entry(1, 4)))
    stage.say(T.APP, 2, 5, index=1, log_term=1, entries=(Entry(1, 2),))

    answer = stage.run()[0]

    assert (answer.type, answer.index, answer.reject) == (T.APP_RESP, 2, False)


def test_a_pre_vote_of_a_lower_term_is_answered() -> None:
    """L4: silence could deadlock candidates of different terms; the answer has the own term."""
    stage = Stage(hard_state=HardState(7, 0, 1))
    stage.say(T.PRE_VOTE, 2, 5, index=9, log_term=4)

    answer = stage.run()[0]

    assert (answer.type, answer.term, answer.reject) == (T.PRE_VOTE_RESP, 7, True)


def _change(node_id: int) -> ConfChangeV2:
    return ConfChangeV2(changes=(ConfChangeSingle(ConfChangeType.ADD_NODE, node_id),))


def test_a_new_leader_waits_with_configuration_changes() -> None:
    """L1: whatever is in its log may hold one that is not applied yet."""
    stage = Stage(entries=(Entry(1, 2, b"could be a change"),))
    stage.win()
    stage.node.propose_conf_change(_change(4))
    stage.run()

    assert stage.storage.entries(4, 5, 1000)[0].data == b""  # turned into nothing


def test_no_campaign_with_an_unapplied_configuration_change() -> None:
    """L2: it might count in the wrong configuration."""
    stage = Stage()
    stage.say(T.APP, 2, 5, index=1, log_term=1, commit=2,
              entries=(replace_type(Entry(5, 2, b"\x12\x02\x10\x04")),))
    stage.run(apply=False)
    stage.node.campaign()
    assert stage.node.role is Role.FOLLOWER

    stage.node.apply_conf_change(_change(4))
    stage.run()
    stage.node.campaign()

    assert stage.node.role is Role.PRE_CANDIDATE


def replace_type(entry: Entry) -> Entry:
    """The entry as a configuration change."""
    from quorate.raft.types import EntryType

    return entry._replace(type=EntryType.CONF_CHANGE_V2)


def test_a_stable_report_of_an_earlier_term_says_nothing() -> None:
    """L20: the entries at those indexes were rewritten while the write was under way."""
    stage = Stage()
    stage.say(T.APP, 2, 5, index=1, log_term=1, entries=(Entry(5, 2, b"a"),))
    stage.run(disk=False)
    stage.say(T.APP, 3, 6, index=1, log_term=1, entries=(Entry(6, 2, b"b"),))
    stage.run(disk=False)

    stage.sync()

    assert stage.node.raft.log.offset == 2  # the new entry is still unstable
    stage.sync()
    assert stage.node.raft.log.offset == 3


def test_an_acknowledgement_of_an_earlier_term_is_ignored() -> None:
    """A delayed answer to an old leader is not one to the new."""
    stage = Stage(entries=(Entry(1, 2),))
    term = stage.win()

    stage.say(T.APP_RESP, 2, term - 1, index=3)
    stage.run()

    assert stage.node.commit == 1


def test_a_joint_configuration_needs_both_majorities() -> None:
    """The incoming majority alone commits nothing."""
    stage = Stage(voters=(1, 2, 3))
    term = stage.win()
    stage.say(T.APP_RESP, 2, term, index=2)
    stage.run()
    stage.node.apply_conf_change(ConfChangeV2(changes=tuple(
        ConfChangeSingle(ConfChangeType.ADD_NODE, n) for n in (4, 5, 6, 7))))
    stage.node.propose(b"x")
    stage.run()
    for incoming in (4, 5, 6, 7):
        stage.say(T.APP_RESP, incoming, term, index=3)
    stage.run()
    assert stage.node.commit == 2

    stage.say(T.APP_RESP, 3, term, index=3)
    stage.run()

    assert stage.node.commit == 3


def test_only_what_leaves_a_joint_configuration_is_taken_in_one() -> None:
    """A change without steps that asks for a joint configuration does not leave it."""
    stage = Stage(voters=(1, 2, 3))
    stage.win()
    stage.node.apply_conf_change(ConfChangeV2(changes=tuple(
        ConfChangeSingle(ConfChangeType.ADD_NODE, n) for n in (4, 5))))
    last = stage.node.raft.log.last_index()

    for change in (ConfChangeV2(ConfChangeTransition.JOINT_EXPLICIT), ConfChangeV2()):
        data = encode_conf_change(change)
        stage.node.propose_entries((Entry(0, 0, data, EntryType.CONF_CHANGE_V2),))

    taken = stage.node.raft.log.entries(last + 1, 1 << 20)
    assert [entry.type for entry in taken] == [EntryType.NORMAL, EntryType.CONF_CHANGE_V2]


def test_a_read_waits_for_an_entry_of_the_own_term() -> None:
    """L9: before that, the leader does not know what was committed before it."""
    stage = Stage()
    term = stage.win()
    stage.node.read_index(b"r")
    assert T.HEARTBEAT not in kinds(stage.run())

    stage.say(T.APP_RESP, 2, term, index=2)
    beats = [m for m in stage.run() if m.type is T.HEARTBEAT]
    stage.say(T.HEARTBEAT_RESP, 2, term, context=beats[0].context)
    stage.run()

    assert stage.reads == [ReadState(2, b"r")]


def test_answers_to_a_first_attempt_do_not_confirm_a_second() -> None:
    """L10: the leader numbers reads itself; the client's context decides nothing."""
    stage = Stage()
    term = stage.win()
    stage.say(T.APP_RESP, 2, term, index=2)
    stage.run()
    stage.node.read_index(b"same")
    first = next(m for m in stage.run() if m.type is T.HEARTBEAT)
    stage.say(T.HEARTBEAT_RESP, 2, term, context=first.context)
    stage.run()
    stage.node.read_index(b"same")
    stage.run()

    stage.say(T.HEARTBEAT_RESP, 3, term, context=first.context)
    stage.run()

    assert len(stage.reads) == 1


def test_a_leader_without_a_quorum_steps_down() -> None:
    """L5: within two election timeouts."""
    stage = Stage()
    stage.win()
    for _ in range(20):
        stage.node.tick()
        stage.run()

    assert stage.node.role is not Role.LEADER


def test_a_follower_that_hears_its_leader_votes_for_nobody() -> None:
    """Leader stickiness: neither term nor vote moves, unless the leader itself asked."""
    stage = Stage()
    stage.say(T.HEARTBEAT, 2, 5)
    stage.run()
    stage.say(T.VOTE, 3, 9, index=9, log_term=8)
    assert stage.run() == []
    assert stage.node.term == 5

    stage.say(T.VOTE, 3, 9, index=9, log_term=8, context=b"CampaignTransfer")

    assert kinds(stage.run()) == [T.VOTE_RESP]


def test_a_follower_that_forgot_its_leader_grants_pre_votes() -> None:
    """The way to replace a leader whose process is known to be gone."""
    stage = Stage()
    stage.say(T.HEARTBEAT, 2, 5)
    stage.node.forget_leader()
    stage.run()
    stage.say(T.PRE_VOTE, 3, 6, index=9, log_term=5)

    answer = stage.run()[0]

    assert (answer.type, answer.reject) == (T.PRE_VOTE_RESP, False)


def test_a_removed_leader_steps_down() -> None:
    """L6: it does not go on sending heartbeats."""
    stage = Stage()
    stage.win()
    stage.node.apply_conf_change(ConfChangeV2(changes=(
        ConfChangeSingle(ConfChangeType.REMOVE_NODE, SELF),)))

    assert stage.node.role is Role.FOLLOWER


def test_a_transferring_leader_takes_no_proposals() -> None:
    """And hands over at once to a follower that has everything."""
    stage = Stage()
    term = stage.win()
    stage.say(T.APP_RESP, 2, term, index=2)
    stage.run()
    stage.node.transfer_leader(2)

    assert T.TIMEOUT_NOW in kinds(stage.run())
    with pytest.raises(ProposalDropped):
        stage.node.propose(b"x")


def test_lost_entries_are_told_from_a_bug() -> None:
    """L18: a leader that knows more to be committed here than is there."""
    stage = Stage()

    with pytest.raises(LogLost, match="lost data"):
        stage.say(T.HEARTBEAT, 2, 5, commit=9)


def test_a_commit_index_behind_the_applied_one_is_lifted() -> None:
    """L19: commit-only changes are not synced."""
    stage = Stage(entries=(Entry(1, 2), Entry(1, 3)), hard_state=HardState(1, 0, 1), applied=3)

    assert stage.node.commit == 3


def test_matches_stay_below_next() -> None:
    """L17: after rejections, answers and snapshots in any order."""
    stage = Stage(entries=tuple(Entry(1, i) for i in range(2, 9)))
    term = stage.win()
    for index, reject in ((8, True), (3, False), (9, True), (5, False), (2, True)):
        stage.say(T.APP_RESP, 2, term, index=index, reject=reject, reject_hint=2)
        stage.run()
        progress = stage.node.raft.tracker.progress[2]
        assert progress.match < progress.next


def test_a_message_is_a_value() -> None:
    """Two messages with the same fields are equal."""
    message = Message(T.APP, to=2, from_=1, entries=(Entry(1, 2),))

    assert message == replace(message)
