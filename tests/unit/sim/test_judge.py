"""When a lease ended and who knew of it, seen from the tables of members."""

from quorate.check.leases import LeaseHistory, Renewal
from quorate.raft.types import Message, MessageType
from quorate.sim.judge import LeaseWatch
from quorate.wire._generated import peer_pb2 as peer


def watch() -> LeaseWatch:
    """Of members that never fail."""
    return LeaseWatch(RuntimeError)


def test_a_lease_ends_when_the_first_member_has_it_no_more() -> None:
    """Others may have it longer."""
    leases = watch()
    leases.look(1, 1, [7, 8], 1.0)
    leases.look(2, 1, [7, 8], 2.0)
    leases.look(2, 1, [8], 5.0)
    leases.look(1, 1, [8], 6.0)

    assert leases.ended == {7: 5.0}


def test_a_member_that_never_had_a_lease_did_not_see_its_end() -> None:
    """It lags behind."""
    leases = watch()
    leases.look(1, 1, [7], 1.0)
    leases.look(2, 1, [], 2.0)
    leases.look(2, 1, [], 3.0)

    assert leases.ended == {}


def test_a_restarted_member_forgets_without_an_end() -> None:
    """It begins with an older table; what vanishes later in that life has ended."""
    leases = watch()
    leases.look(1, 1, [7], 1.0)
    leases.look(1, 2, [], 2.0)
    restarted = dict(leases.ended)
    leases.look(1, 2, [7], 3.0)
    leases.look(1, 2, [], 4.0)

    assert (restarted, leases.ended) == ({}, {7: 4.0})


def test_each_member_knows_a_lease_from_its_own_time_on() -> None:
    """From the last time that it came into its table."""
    leases = watch()
    leases.look(1, 1, [7], 1.0)
    leases.look(2, 1, [7], 2.0)
    leases.look(1, 1, [7, 8], 3.0)
    leases.look(1, 2, [], 4.0)
    leases.look(1, 2, [7], 5.0)

    assert {lease: dict(known) for lease, known in leases.known.items()} == {
        7: {1: 5.0, 2: 2.0}, 8: {1: 3.0}}


def test_a_forwarded_renewal_counts_from_when_the_leader_reads_it() -> None:
    """A question for the remaining time does not."""
    leases = watch()
    for lease_id, question in ((7, False), (8, True)):
        leases.read(Message(MessageType.NOTICE, to=1, from_=2, context=peer.Notice(
            lease_forward=peer.LeaseForward(id=lease_id, time_to_live=question),
        ).SerializeToString()), 9.0)
    histories = [LeaseHistory("c", lease_id, 10, [Renewal(1.0, 2.0, True, taken=1.0)])
                 for lease_id in (7, 8)]
    for history in histories:
        leases.complete(history, 20.0)

    assert [history.renewals[0].taken for history in histories] == [9.0, 1.0]
