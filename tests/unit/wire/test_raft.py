"""The hand codec against the generated code, and against anything at all."""

from contextlib import suppress

from hypothesis import given, settings, strategies as st

from quorate.raft.types import (
    ConfState, Entry, EntryType, HardState, Message, MessageType, Snapshot,
)
from quorate.wire import raft as wire
from quorate.wire._generated import raft_pb2

U64 = st.integers(0, 2**64 - 1)
IDS = st.lists(U64, max_size=3).map(tuple)
ENTRY = st.builds(Entry, U64, U64, st.binary(max_size=300), st.sampled_from(EntryType))
CONF = st.builds(ConfState, IDS, IDS, IDS, IDS, st.booleans())
SNAPSHOT = st.builds(Snapshot, U64, U64, CONF, st.binary(max_size=40))


def _messages(depth: int) -> st.SearchStrategy[Message]:
    responses = st.just(()) if depth == 0 else st.lists(_messages(depth - 1), max_size=2).map(tuple)
    return st.builds(
        Message, st.sampled_from(MessageType), U64, U64, U64, U64, U64,
        st.lists(ENTRY, max_size=4).map(tuple), U64, U64, st.none() | SNAPSHOT, st.booleans(),
        U64, st.binary(max_size=20), responses)


@given(_messages(1))
def test_messages_come_back_as_they_were(message: Message) -> None:
    """Encoded and decoded by us."""
    assert wire.decode_message(wire.encode_message(message)) == message


@given(_messages(1))
def test_the_generated_code_reads_the_same(message: Message) -> None:
    """Field by field, and what it writes is read by us."""
    oracle = raft_pb2.Message.FromString(wire.encode_message(message))

    assert (oracle.type, oracle.to, getattr(oracle, "from"), oracle.term) == (
        message.type, message.to, message.from_, message.term)
    assert [(e.Term, e.Index, e.Data, e.Type) for e in oracle.entries] == [
        (e.term, e.index, e.data, e.type) for e in message.entries]
    assert (oracle.commit, oracle.reject, oracle.rejectHint, oracle.context) == (
        message.commit, message.reject, message.reject_hint, message.context)
    assert wire.decode_message(oracle.SerializeToString()) == message


@given(ENTRY, CONF, st.builds(HardState, U64, U64, U64))
def test_values_come_back_as_they_were(
    entry: Entry, state: ConfState, hard_state: HardState
) -> None:
    """Entries, configurations and hard states."""
    assert wire.decode_entry(wire.encode_entry(entry)) == entry
    assert wire.decode_conf_state(wire.encode_conf_state(state)) == state
    assert wire.decode_hard_state(wire.encode_hard_state(hard_state)) == hard_state


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_wire_error(data: bytes) -> None:
    """Nothing else ever comes out."""
    for decode in (wire.decode_message, wire.decode_entry, wire.decode_snapshot,
                   wire.decode_conf_state, wire.decode_hard_state):
        with suppress(wire.WireError):
            decode(data)  # type: ignore[operator]


@given(_messages(1), st.data())
def test_a_damaged_message_is_no_surprise(message: Message, data: st.DataObject) -> None:
    """One byte changed, or the end cut off."""
    encoded = bytearray(wire.encode_message(message))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] ^= data.draw(st.integers(1, 255))
    with suppress(wire.WireError):
        wire.decode_message(bytes(encoded[:data.draw(st.integers(0, len(encoded)))]))
