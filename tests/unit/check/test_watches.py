"""The watch judge: one watch over a short log, with one thing wrong for each guarantee."""

from collections.abc import Sequence

from quorate.check.keyvalue import Change
from quorate.check.watches import EventIndex, Watched, judge_resumption, judge_watch
from quorate.wire._generated import kv_pb2, rpc_pb2 as rpc

Create = rpc.WatchCreateRequest
A, B = b"a", b"b"
ALL = {"key": b"\0", "range_end": b"\0"}


def kv(key: bytes, value: bytes, mod: int, create: int = 0, version: int = 1) -> kv_pb2.KeyValue:
    """A key as etcd shows it; created at `mod` unless told."""
    return kv_pb2.KeyValue(key=key, value=value, mod_revision=mod, create_revision=create or mod,
                           version=version)


A2, A4 = kv(A, b"1", 2), kv(A, b"3", 4, 2, 2)
B3, B4 = kv(B, b"2", 3), kv(B, b"4", 4, 3, 2)
A6 = kv(A, b"5", 6)
LOG = [(2, [Change(A, A2)]), (3, [Change(B, B3)]), (4, [Change(A, A4), Change(B, B4)]),
       (5, [Change(A, None)]), (6, [Change(A, A6)])]
INDEX = EventIndex(LOG)


def put(now: kv_pb2.KeyValue, before: kv_pb2.KeyValue | None = None) -> kv_pb2.Event:
    """An event, with the previous value if given."""
    return kv_pb2.Event(type=kv_pb2.Event.PUT, kv=now, prev_kv=before)


def gone(key: bytes, revision: int, before: kv_pb2.KeyValue | None = None) -> kv_pb2.Event:
    """A deletion."""
    return kv_pb2.Event(type=kv_pb2.Event.DELETE, prev_kv=before,
                        kv=kv_pb2.KeyValue(key=key, mod_revision=revision))


E2, E3, E4, E5, E6 = [put(A2)], [put(B3)], [put(A4), put(B4)], [gone(A, 5)], [put(A6)]


def created(revision: int) -> rpc.WatchResponse:
    """The first response."""
    return rpc.WatchResponse(header=rpc.ResponseHeader(revision=revision), created=True)


def given(*events: kv_pb2.Event, header: int = 6, fragment: bool = False) -> rpc.WatchResponse:
    """Events."""
    return rpc.WatchResponse(
        header=rpc.ResponseHeader(revision=header), events=events, fragment=fragment)


def bookmark(revision: int) -> rpc.WatchResponse:
    """Progress: everything up to there was given."""
    return given(header=revision)


def canceled(compacted: int = 0) -> rpc.WatchResponse:
    """The end, because of a compaction unless 0."""
    return rpc.WatchResponse(canceled=True, compact_revision=compacted)


def watched(*responses: rpc.WatchResponse, start: int = 2, **request: object) -> Watched:
    """A watch of everything, unless told."""
    return Watched("w", Create(start_revision=start, **(request or ALL)),  # type: ignore[arg-type]
                   responses)


def judge(*responses: rpc.WatchResponse, compacted: int = 0, start: int = 2,
          **request: object) -> list[str]:
    """The sentences about one watch of everything, with these settings in addition."""
    return judge_watch(watched(*responses, start=start, **{**ALL, **request}), INDEX,
                       compacted=compacted)


def wrong(sentences: Sequence[str], text: str) -> bool:
    """Whether it is exactly this that is wrong."""
    return len(sentences) == 1 and text in sentences[0]


def test_a_plain_watch_holds() -> None:
    """Also with several revisions in one response, with bookmarks, and cut off anywhere."""
    whole = [created(1), given(*E2, *E3), bookmark(3), given(*E4), given(*E5, *E6), bookmark(6)]

    assert [judge(*whole[:end]) for end in range(len(whole) + 1)] == [[]] * (len(whole) + 1)


def test_a_watch_from_now_begins_after_its_creation() -> None:
    """What its first header names is not given, what comes next is."""
    assert judge(created(4), given(*E5), given(*E6), start=0) == []
    assert "revision 4, which is not new: it starts at 5" in judge(
        created(4), given(*E4), start=0)[0]
    assert wrong(judge(created(3), given(*E5), start=0), "without [4]")


def test_filter_what_was_not_wanted_is_found() -> None:
    """By key, by range, by kind of event."""
    one = {"key": A, "range_end": b""}

    assert judge(given(*E2), given(put(A4)), given(*E5), **one) == []
    assert wrong(judge(given(*E2), given(*E3), **one), "with [3] that it did not want")
    assert judge(given(*E5), bookmark(6), filters=[Create.NOPUT]) == []
    assert wrong(judge(given(*E2), filters=[Create.NOPUT]), "with [2] that it did not want")
    assert judge(given(*E2, *E3, *E4), given(*E6), filters=[Create.NODELETE]) == []
    assert wrong(judge(given(*E2, *E3, *E4), given(*E5), filters=[Create.NODELETE]), "with [5]")


def test_filter_the_end_of_a_range_is_not_in_it() -> None:
    """Nor is what is before its start."""
    assert judge(given(*E2), given(put(A4)), key=A, range_end=B) == []
    assert wrong(judge(given(*E2), given(*E3), key=A, range_end=B), "with [3]")
    assert wrong(judge(given(*E2), key=B, range_end=b"\0"), "with [2]")


def test_ordered_an_older_revision_after_a_newer_is_found() -> None:
    """In one response or in two."""
    assert any("was given revision 2 after 3" in text for text in judge(given(*E3), given(*E2)))
    assert any("was given revision 2 after 3" in text for text in judge(given(*E3, *E2)))


def test_ordered_events_of_one_revision_come_as_they_happened() -> None:
    """The order inside a transaction counts."""
    assert wrong(judge(given(*E2, *E3, *reversed(E4))), "with [4] other than they happened")


def test_unique_a_revision_given_twice_is_found() -> None:
    """In one response or in two, or again after a bookmark."""
    assert wrong(judge(given(*E2), given(*E2)), "was given revision 2 after 2")
    assert wrong(judge(given(*E2, *E2)), "with [2] other than they happened")


def test_atomic_a_revision_in_two_parts_is_found() -> None:
    """Half of a transaction, or both halves apart."""
    assert wrong(judge(given(*E2, *E3, E4[0])), "with [4] other than they happened")
    assert wrong(judge(given(*E2, *E3, E4[0]), given(E4[1])), "was given revision 4 after 4")


def test_reliable_a_gap_is_found() -> None:
    """Also at the beginning, and where a value is not the one that was written."""
    assert wrong(judge(given(*E2), given(*E4)), "without [3]")
    assert wrong(judge(given(*E3)), "without [2]")
    assert wrong(judge(given(put(kv(A, b"other", 2)))), "with [2] other than they happened")
    assert wrong(judge(given(*E2, *E3, *E4), given(put(kv(A, b"", 5, 2, 3)))),
                 "with [5] other than they happened")


def test_reliable_an_event_that_never_happened_is_found() -> None:
    """A revision that is not in the log."""
    assert wrong(judge(given(*E2, *E3, *E4, *E5, *E6), given(gone(B, 7), header=7)),
                 "with [7] that it did not want")


def test_bookmarkable_what_a_bookmark_covers_was_given_before() -> None:
    """It may not run ahead, and nothing older may follow it."""
    assert wrong(judge(given(*E2), bookmark(3)), "given up to 3 without [3]")
    assert any("which is not new: it starts at 2 and was told of 3" in text
               for text in judge(given(*E2), bookmark(3), given(*E3)))


def test_an_event_is_not_newer_than_its_header() -> None:
    """The header is the store's revision."""
    assert wrong(judge(given(*E2, header=1)), "revision 2 under a header of 1")


def test_resumable_the_first_event_is_the_first_after_the_start() -> None:
    """Neither an older one nor a later one."""
    assert judge(given(*E4), start=4) == []
    assert wrong(judge(given(*E3), start=4), "is not new: it starts at 4")
    assert wrong(judge(given(*E5), start=4), "without [4]")


def test_resumable_sessions_leave_nothing_out_and_give_nothing_twice() -> None:
    """Each begins where the one before ended."""
    first = watched(created(6), given(*E2, *E3))

    assert judge_resumption([first, watched(given(*E4), start=4)], INDEX) == []
    assert wrong(judge_resumption([first, watched(start=5)], INDEX), "resumed at 5")
    assert wrong(judge_resumption([first, watched(start=3)], INDEX), "though it was given 3")


def test_resumable_a_session_without_events_counts_from_its_start() -> None:
    """Named, or known from its creation."""
    silent, now = watched(start=3), watched(created(2), start=0)

    for first in (silent, now):
        assert judge_resumption([first, watched(start=3)], INDEX) == []
        assert wrong(judge_resumption([first, watched(start=4)], INDEX), "resumed at 4")


def test_resumable_what_is_compacted_is_not_missed() -> None:
    """The client goes on from the compacted revision, and not later."""
    first = watched(given(*E2), canceled(4))

    assert judge_resumption([first, watched(start=4)], INDEX) == []
    assert wrong(judge_resumption([first, watched(start=5)], INDEX), "resumed at 5")


def test_resumable_a_revision_of_which_fragments_lack_is_asked_for_again() -> None:
    """Going on behind it would lose the rest of it."""
    first = watched(given(*E2, *E3), given(E4[0], fragment=True), fragment=True, **ALL)

    assert judge_resumption([first, watched(start=4)], INDEX) == []
    assert wrong(judge_resumption([first, watched(start=5)], INDEX), "resumed at 5")


def test_previous_values_are_what_the_event_replaced() -> None:
    """Each of them, none for a new key, and only if asked for."""
    events = [put(A2), put(B3), put(A4, A2), put(B4, B3), gone(A, 5, A4), put(A6)]

    assert judge(given(*events), prev_kv=True) == []
    assert wrong(judge(given(*E2, *E3, put(A4, A2), put(B4, A2)), prev_kv=True),
                 "was given b'1' as the value of b'b' before 4")
    assert wrong(judge(given(put(A2, A2)), prev_kv=True), "as the value of b'a' before 2")
    assert wrong(judge(given(*events[:4], gone(A, 5, A2)), prev_kv=True),
                 "as the value of b'a' before 5")
    assert wrong(judge(given(*events[:3], put(B4)), prev_kv=True),
                 "no previous value of b'b' at 4; it was b'2'")
    assert wrong(judge(given(*E2, *E3, put(A4, A2), put(B4))), "previous value at 4 unasked")


def test_previous_values_may_be_missing_only_where_they_are_compacted() -> None:
    """The compacted revision itself can be read, so what followed it has a previous value."""
    assert judge(given(*E4), prev_kv=True, start=4, compacted=4) == []
    assert len(judge(given(*E4), prev_kv=True, start=4, compacted=3)) == 2


def test_is_create_is_told_by_the_revisions_of_the_key() -> None:
    """And by its version: a new key that looks old, an old key that looks new."""
    for old in (kv(A, b"1", 2, 1, 1), kv(A, b"1", 2, 2, 2)):
        assert wrong(judge(given(put(old))), "is not new at 2")
    assert any("is new at 4" in text
               for text in judge(given(*E2, *E3, put(kv(A, b"3", 4)), put(B4))))
    assert any("is not new at 6" in text
               for text in judge(given(*E2, *E3, *E4, *E5, put(kv(A, b"5", 6, 2, 3)))))


def test_a_watch_is_canceled_only_for_what_is_compacted() -> None:
    """The compaction was asked for, and what comes next is below it; a bookmark counts."""
    assert judge(created(6), canceled(4), compacted=4) == []
    assert judge(given(*E2), canceled(4), compacted=4) == []
    assert wrong(judge(given(*E2), canceled(4), compacted=3), "which nobody asked for")
    assert wrong(judge(given(*E2, *E3, *E4), canceled(4), compacted=4), "to go on from 5")
    assert wrong(judge(bookmark(6), canceled(5), start=7, compacted=5), "to go on from 7")
    assert wrong(judge(bookmark(6), canceled(5), key=b"c", range_end=b"", compacted=5),
                 "to go on from 7")
    assert wrong(judge(canceled(5), start=5, compacted=5), "to go on from 5")


def test_a_watch_that_its_client_canceled_is_silent() -> None:
    """No reason is needed, and nothing follows."""
    assert judge(given(*E2), canceled()) == []
    assert wrong(judge(given(*E2), canceled(), given(*E3)), "after it was canceled")


def test_fragments_are_parts_of_one_revision() -> None:
    """All of them, in order; a missing end is missing only while the watch goes no further."""
    parts = [given(*E2, *E3, E4[0], fragment=True), given(E4[1])]

    assert judge(*parts, given(*E5), fragment=True) == []
    assert judge(parts[0], fragment=True) == []
    assert wrong(judge(parts[0], given(*E5), fragment=True), "with [4] other than they happened")
    assert wrong(judge(parts[0], bookmark(4), fragment=True), "with [4] other than they happened")
    assert wrong(judge(*parts, given(E4[1]), fragment=True), "was given revision 4 after 4")


def test_fragments_that_are_wrong_are_found_before_the_last() -> None:
    """What is there of the revision has to be its beginning."""
    assert wrong(judge(given(*E2, *E3), given(E4[1], fragment=True), fragment=True),
                 "was given the beginning of 4 other than it happened")


def test_fragments_come_only_if_they_were_asked_for() -> None:
    """Else a revision in two parts is not atomic."""
    assert wrong(judge(given(*E2, *E3, E4[0], fragment=True), given(E4[1])),
                 "was given revision 4 after 4")
