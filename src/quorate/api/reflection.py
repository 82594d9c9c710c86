"""gRPC server reflection, v1 and v1alpha: which services there are, and what they are made of.

Messages are described by the descriptors of wire/_generated; services are added to their files
from the tables of methods, so reflection names exactly what is served.

Not here: streams (grpc.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from google.protobuf import descriptor_pb2
from google.protobuf.message import Message as Proto

from quorate.api.errors import Code
from quorate.api.methods import STREAMING, UNARY
from quorate.wire._generated import health_pb2, reflection_pb2 as reflection

ALPHA, FINAL = "grpc.reflection.v1alpha", "grpc.reflection.v1"
"""Two packages with the same messages."""

File = descriptor_pb2.FileDescriptorProto


class Catalogue:
    """All files, by name and by the symbols in them."""

    def __init__(self) -> None:
        self._files: dict[str, File] = {}
        self._symbols: dict[str, File] = {}
        self.services: list[str] = []
        for unary in UNARY:
            self._method(unary.path, unary.request)
        self._method("grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest)
        for streaming in STREAMING:
            self._method(streaming.path, streaming.request, streams=True,
                         both_ways=streaming.both_ways)
        self.services.sort()
        for file in self._files.values():
            self._index(file.package, file)

    def _method(
        self, path: str, request: type[Proto], *, streams: bool = False, both_ways: bool = False
    ) -> None:
        full_name, _, method = path.partition("/")
        package, _, name = full_name.rpartition(".")
        file = self._file(request.DESCRIPTOR.file, package)
        service = next((one for one in file.service if one.name == name), None)
        if service is None:
            service = file.service.add(name=name)
            self.services.append(full_name)
        kind = f".{package}.{request.DESCRIPTOR.name}"
        service.method.add(
            name=method, input_type=kind, output_type=kind.removesuffix("Request") + "Response",
            server_streaming=streams, client_streaming=both_ways)

    def _file(self, source: object, package: str) -> File:
        """The file of a package, with everything that it imports; a copy that can be changed."""
        file = File()
        source.CopyToProto(file)  # type: ignore[attr-defined]  # a FileDescriptor
        file.ClearField("service")
        if package != file.package:
            _rename(file, package)
        known = self._files.get(file.name)
        if known is not None:
            return known
        self._files[file.name] = file
        for imported in source.dependencies:  # type: ignore[attr-defined]
            self._file(imported, imported.package)
        return file

    def _index(self, scope: str, of: File | descriptor_pb2.DescriptorProto,
               file: File | None = None) -> None:
        """Note the names of messages, enums, fields, services and methods."""
        if file is None:
            assert isinstance(of, File)
            file = of
        nested = of.message_type if isinstance(of, File) else of.nested_type
        for enum in of.enum_type:
            self._symbols[f"{scope}.{enum.name}"] = file
        for message in nested:
            self._symbols[f"{scope}.{message.name}"] = file
            for field in message.field:
                self._symbols[f"{scope}.{message.name}.{field.name}"] = file
            self._index(f"{scope}.{message.name}", message, file)
        for service in file.service if isinstance(of, File) else ():
            self._symbols[f"{scope}.{service.name}"] = file
            for method in service.method:
                self._symbols[f"{scope}.{service.name}.{method.name}"] = file

    def named(self, name: str) -> File | None:
        """The file of this name."""
        return self._files.get(name)

    def containing(self, symbol: str) -> File | None:
        """The file in which a message, enum, service or one of their parts is described."""
        return self._symbols.get(symbol.removeprefix("."))

    def with_imports(self, file: File) -> Iterable[File]:
        """The file and all that it imports, each once."""
        found, wanted = {file.name: file}, list(file.dependency)
        while wanted:
            name = wanted.pop()
            if name not in found:
                found[name] = self._files[name]
                wanted += found[name].dependency
        return found.values()


def _rename(file: File, package: str) -> None:
    """The same messages in another package."""
    old, file.package = file.package, package
    file.name = file.name.replace(".proto", f"_{package.rpartition('.')[2]}.proto")
    for message in file.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace(f".{old}.", f".{package}.", 1)


@cache
def catalogue() -> Catalogue:
    """Made when somebody asks for the first time."""
    return Catalogue()


def answer(request: reflection.ServerReflectionRequest) -> reflection.ServerReflectionResponse:
    """The answer to one question; what there is not, is an error inside of it."""
    response = reflection.ServerReflectionResponse(
        valid_host=request.host, original_request=request)
    known = catalogue()
    match request.WhichOneof("message_request"):
        case "list_services":
            response.list_services_response.service.extend(
                reflection.ServiceResponse(name=name) for name in known.services)
        case "file_by_filename":
            _describe(response, known.named(request.file_by_filename),
                      f"file not found: {request.file_by_filename}")
        case "file_containing_symbol":
            _describe(response, known.containing(request.file_containing_symbol),
                      f"symbol not found: {request.file_containing_symbol}")
        case "file_containing_extension":
            extension = request.file_containing_extension
            _describe(response, None, f"extension not found: {extension.containing_type} "
                                      f"has none, asked for {extension.extension_number}")
        case "all_extension_numbers_of_type":
            name = request.all_extension_numbers_of_type
            if known.containing(name) is None:
                _describe(response, None, f"symbol not found: {name}")
            else:
                response.all_extension_numbers_response.base_type_name = name
        case _:
            response.error_response.error_code = Code.INVALID_ARGUMENT
            response.error_response.error_message = "the request asks for nothing"
    return response


def _describe(
    response: reflection.ServerReflectionResponse, file: File | None, otherwise: str
) -> None:
    if file is None:
        response.error_response.error_code = Code.NOT_FOUND
        response.error_response.error_message = otherwise
    else:
        response.file_descriptor_response.file_descriptor_proto.extend(
            one.SerializeToString() for one in catalogue().with_imports(file))
