"""Reflection: everything it says fits together, and is what the port serves."""

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool

from quorate.api.calls import Calls
from quorate.api.grpc import GrpcApi
from quorate.api.reflection import answer
from quorate.wire._generated import reflection_pb2 as reflection

Request = reflection.ServerReflectionRequest


class Anything:
    """A `Service` that is never called."""

    def __getattr__(self, _name: str) -> object:
        return lambda *_: None


def services() -> list[str]:
    """All that are listed."""
    return [one.name for one in
            answer(Request(list_services="*")).list_services_response.service]


def files(request: reflection.ServerReflectionRequest) -> list[descriptor_pb2.FileDescriptorProto]:
    """The files of an answer."""
    return [descriptor_pb2.FileDescriptorProto.FromString(one) for one in
            answer(request).file_descriptor_response.file_descriptor_proto]


def pool_of(request: reflection.ServerReflectionRequest) -> DescriptorPool:
    """A client's pool, after one answer."""
    pool, waiting = DescriptorPool(), {one.name: one for one in files(request)}
    while waiting:
        ready = [one for one in waiting.values() if not set(one.dependency) & set(waiting)]
        for one in ready:
            pool.Add(one)  # type: ignore[no-untyped-call]
            del waiting[one.name]
    return pool


def test_every_service_can_be_loaded_and_every_method_is_served() -> None:
    """One answer has all that a pool needs; the port knows each method."""
    api = GrpcApi(Anything(), Calls())  # type: ignore[arg-type]
    count = 0
    for name in services():
        service = pool_of(Request(file_containing_symbol=name)).FindServiceByName(name)
        for method in service.methods:
            count += 1
            served = api.method(f"/{name}/{method.name}".encode())
            assert served is not None
            assert served.unary is not method.client_streaming
            assert method.output_type.full_name.endswith("Response")

    assert count == len(api.paths)


@pytest.mark.parametrize("symbol", [
    "etcdserverpb.KV", "etcdserverpb.KV.Range", "etcdserverpb.RangeRequest",
    "etcdserverpb.RangeRequest.SortOrder", "mvccpb.KeyValue", "mvccpb.KeyValue.lease",
    "v3lockpb.Lock", "v3electionpb.LeaderKey", "grpc.health.v1.Health",
    "grpc.reflection.v1alpha.ServerReflectionRequest"])
def test_symbols_are_found(symbol: str) -> None:
    """Messages, fields, enums, services and methods; a file by its name is the same."""
    found = files(Request(file_containing_symbol=symbol))

    assert symbol.startswith(found[0].package)
    assert files(Request(file_by_filename=found[0].name)) == found


@pytest.mark.parametrize("request_", [
    Request(file_containing_symbol="nothing"), Request(file_by_filename="no.proto"),
    Request(file_containing_extension=reflection.ExtensionRequest(
        containing_type="mvccpb.KeyValue", extension_number=7)),
    Request(all_extension_numbers_of_type="nothing")])
def test_what_there_is_not_is_not_found(request_: reflection.ServerReflectionRequest) -> None:
    """The error is inside of the answer, which repeats the question."""
    response = answer(request_)

    assert response.error_response.error_code == 5
    assert response.original_request == request_


def test_there_are_no_extensions() -> None:
    """Of a type that there is: an empty list. A question for nothing is invalid."""
    response = answer(Request(all_extension_numbers_of_type="mvccpb.KeyValue"))

    assert response.all_extension_numbers_response.base_type_name == "mvccpb.KeyValue"
    assert answer(Request()).error_response.error_code == 3
