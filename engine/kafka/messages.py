"""Messages in the memory of librdkafka, copied into arrays by one loop without Python.

The struct is the public rd_kafka_message_t (rdkafka.h). No Python object is made for a message.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.numpy_support import carray
from numpy.typing import NDArray

from engine.batch.decode import Records
from engine.kernels.compiled import kernel

# rd_kafka_message_t as words of 8 bytes; err and partition are int32, in the lower halves
MESSAGE_WORDS = 9
ERR, PARTITION, PAYLOAD, SIZE, KEY, KEY_SIZE, OFFSET = 0, 2, 3, 4, 5, 6, 7


def _pointer(_typing: Any, address: Any) -> Any:
    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), code


def _call(_typing: Any, function: Any, first: Any, second: Any) -> Any:
    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(word, [word, word])
        return builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])

    return types.int64(types.int64, types.int64, types.int64), code


def _call_with_three(_typing: Any, function: Any, first: Any, second: Any, third: Any) -> Any:
    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(word, [word, word, word])
        return builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])

    return types.int64(types.int64, types.int64, types.int64, types.int64), code


# pointer(int64 address) -> void *
pointer: Any = intrinsic(_pointer)

# call(int64 address, int64, int64) -> int64: a C function; it need not take or return as much
call: Any = intrinsic(_call)

# call_with_three(int64 address, int64, int64, int64) -> int64: the same with one word more
call_with_three: Any = intrinsic(_call_with_three)


@kernel
def unpack(
    addresses: NDArray[np.int64], destroy: int, timestamp: int, now_ms: int
) -> tuple[Records, NDArray[np.int32]]:
    """Copy the messages at these addresses and destroy them; return them and the error of each.

    `destroy` and `timestamp` are the addresses of rd_kafka_message_destroy and _timestamp. A
    message without a timestamp gets `now_ms`; the value of one with an error is the error's text.
    """
    n, n_bytes = len(addresses), 0
    for i in range(n):
        n_bytes += carray(pointer(addresses[i]), MESSAGE_WORDS, np.int64)[SIZE]
    buffer = np.empty(max(n_bytes, 1), np.uint8)
    starts, ends = np.empty(n, np.int64), np.empty(n, np.int64)
    partition, offset = np.empty(n, np.int32), np.empty(n, np.int64)
    timestamp_ms, error = np.empty(n, np.int64), np.empty(n, np.int32)
    kind, first_key = np.empty(1, np.int64), np.empty(0, np.uint8)
    at = 0
    for i in range(n):
        message = carray(pointer(addresses[i]), MESSAGE_WORDS, np.int64)
        starts[i], ends[i] = at, at - 1
        if message[PAYLOAD] != 0:
            end = at + message[SIZE]
            buffer[at:end] = carray(pointer(message[PAYLOAD]), message[SIZE], np.uint8)
            ends[i] = at = end
        partition[i], offset[i] = np.int32(message[PARTITION]), message[OFFSET]
        error[i] = np.int32(message[ERR])
        if i == 0 and message[KEY] != 0:
            first_key = carray(pointer(message[KEY]), message[KEY_SIZE], np.uint8).copy()
        stamp = call(timestamp, addresses[i], kind.ctypes.data)
        timestamp_ms[i] = stamp if stamp >= 0 else now_ms
        call(destroy, addresses[i], 0)
    return Records(buffer, starts, ends, partition, offset, timestamp_ms, first_key), error
