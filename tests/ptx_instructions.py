"""What PTX instructions do to the threads of a launch; see `ptx`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ptx import DTYPES, UNSIGNED, WARP, Instruction, PtxError


def _fma(a, b, c):
    wide = np.float64 if a.dtype == np.float32 else np.longdouble
    return (a.astype(wide) * b.astype(wide) + c.astype(wide)).astype(a.dtype)


def _divide(a, b):
    if a.dtype.kind == "f":
        return a / b
    quotient = np.abs(a.astype(object)) // np.maximum(np.abs(b.astype(object)), 1)
    return (quotient * np.sign(a.astype(object)) * np.sign(b.astype(object))).astype(a.dtype)


def _remainder(a, b):
    return np.fmod(a, np.where(b == 0, 1, b)).astype(a.dtype)


def _mul_hi(a, b):
    shift = 8 * a.dtype.itemsize
    return (a.astype(object) * b.astype(object) >> shift).astype(a.dtype)


def _shift(a, by, left):
    width = 8 * a.dtype.itemsize
    by = by.astype(np.uint64)
    kept = np.minimum(by, width - 1).astype(a.dtype)
    if left:
        return np.where(by >= width, np.zeros_like(a), a << kept)
    moved = a >> kept
    return moved if a.dtype.kind == "i" else np.where(by >= width, np.zeros_like(a), moved)


def _clz(a):
    return np.array([8 * a.dtype.itemsize - int(x).bit_length() for x in a.view(UNSIGNED[a.dtype.itemsize])], np.uint32)


def _popc(a):
    return np.array([bin(int(x)).count("1") for x in a.view(UNSIGNED[a.dtype.itemsize])], np.uint32)


def _funnel(low, high, by, right):
    both = (high.astype(np.uint64) << np.uint64(32)) | low.astype(np.uint64)
    by = by.astype(np.uint64) & np.uint64(31)
    return (both >> by if right else (both << by) >> np.uint64(32)).astype(np.uint32)


BINARY = {"add": np.add, "sub": np.subtract, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
          "div": _divide, "rem": _remainder, "min": np.fmin, "max": np.fmax, "copysign": lambda a, b: np.copysign(b, a)}
UNARY = {"neg": np.negative, "abs": np.abs, "not": np.invert, "rcp": lambda a: (1 / a).astype(a.dtype), "sqrt": np.sqrt,
         "rsqrt": lambda a: (1 / np.sqrt(a)).astype(a.dtype), "ex2": np.exp2, "lg2": np.log2, "clz": _clz, "popc": _popc,
         "tanh": np.tanh}
COMPARE = {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
           "lo": np.less, "ls": np.less_equal, "hi": np.greater, "hs": np.greater_equal}
ROUND = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}
NOTHING = {"membar", "fence", "pragma", "nanosleep"}


def compile_instruction(one: Instruction) -> Callable:
    """What the instruction does to a `Launch`."""
    if "sat" in one.op and one.op[-1][0] == "f":
        plain = compile_instruction(Instruction(one.text, [part for part in one.op if part != "sat"], one.operands))

        def saturated(launch):
            plain(launch)
            value = launch.read(one.operands[0], DTYPES[one.op[-1]])
            launch.write(one.operands[0], np.where(np.isnan(value), 0, np.clip(value, 0, 1)).astype(value.dtype))
        return saturated
    name, dtype = one.op[0], DTYPES.get(one.op[-1])
    special = {"ld": _load, "st": _store, "mov": _move, "cvta": _cvta, "mul": _multiply, "mad": _multiply_add, "cvt": _convert,
               "setp": _set_predicate, "selp": _select, "shfl": _shuffle, "atom": _atomic, "red": _atomic, "vote": _vote,
               "shf": _shf, "bfe": _bfe, "bfi": _bfi, "prmt": _prmt, "activemask": _activemask, "ldu": _load, "testp": _testp}
    if name in special:
        return special[name](one)
    if name in NOTHING:
        return lambda launch: None
    out, *sources = one.operands
    if name == "fma":
        return lambda launch: launch.write(out, _fma(*(launch.read(source, dtype) for source in sources)))
    if name in ("shl", "shr"):
        return lambda launch: launch.write(out, _shift(launch.read(sources[0], dtype), launch.read(sources[1], np.uint32),
                                                       name == "shl"))
    if name in BINARY and len(sources) == 2:
        function = BINARY[name]
        return lambda launch: launch.write(out, function(launch.read(sources[0], dtype), launch.read(sources[1], dtype)))
    if name in UNARY and len(sources) == 1:
        return lambda launch: launch.write(out, UNARY[name](launch.read(sources[0], dtype)))
    raise PtxError(f"{one.text} is not understood")


def _vector(operand: str) -> list[str]:
    return [part.strip() for part in operand.strip("{}").split(",")]


def _space(op: list[str]) -> str:
    return next((part for part in op[1:] if part in ("global", "shared", "local", "param")), "generic")


def _load(one):
    space, dtype, (out, source) = _space(one.op), DTYPES[one.op[-1]], one.operands
    outs = _vector(out)
    if space == "param":
        def load_param(launch):
            name, _, offset = source.strip("[]").partition("+")
            assert not offset, one.text
            launch.write(out, np.array([launch.params[name.strip()]]).astype(dtype))
        return load_param

    def load(launch):
        for name, values in zip(outs, launch.load(space, source, dtype, len(outs))):
            width = launch.kernel.widths[name[1:].rstrip("0123456789")]
            if values.dtype.itemsize < width:  # widened as the type says
                values = values.astype(f"{values.dtype.kind}{width}")
            launch.write(name, values)
    return load


def _store(one):
    space, dtype, (target, source) = _space(one.op), DTYPES[one.op[-1]], one.operands
    return lambda launch: launch.store(space, target, dtype, [launch.read(name, dtype) for name in _vector(source)])


def _move(one):
    dtype, (out, source) = DTYPES[one.op[-1]], one.operands
    if out[0] == "{":
        parts = _vector(out)
        part = UNSIGNED[np.dtype(dtype).itemsize // len(parts)]

        def unpack(launch):
            values = np.ascontiguousarray(np.broadcast_to(launch.read(source, dtype), (len(launch.chosen),)))
            for name, column in zip(parts, values.view(part).reshape(-1, len(parts)).T):
                launch.write(name, column)
        return unpack
    if source[0] == "{":
        parts = _vector(source)
        part = UNSIGNED[np.dtype(dtype).itemsize // len(parts)]

        def pack(launch):
            columns = [np.broadcast_to(launch.read(name, part), (len(launch.chosen),)) for name in parts]
            launch.write(out, np.ascontiguousarray(np.stack(columns, axis=1)).view(dtype)[:, 0])
        return pack
    return lambda launch: launch.write(out, launch.read(source, dtype))


def _cvta(one):
    """Shared and local windows lie where the generic ones do, so nothing changes."""
    out, source = one.operands
    return lambda launch: launch.write(out, launch.read(source, np.uint64))


def _widened(dtype):
    return np.dtype(f"{np.dtype(dtype).kind}{2 * np.dtype(dtype).itemsize}").type


def _product(op, dtype):
    if "wide" in op:
        wide = _widened(dtype)
        return lambda a, b: a.astype(wide) * b.astype(wide)
    return _mul_hi if "hi" in op else np.multiply


def _multiply(one):
    dtype, (out, a, b) = DTYPES[one.op[-1]], one.operands
    product = _product(one.op, dtype)
    return lambda launch: launch.write(out, product(launch.read(a, dtype), launch.read(b, dtype)))


def _multiply_add(one):
    dtype, (out, a, b, c) = DTYPES[one.op[-1]], one.operands
    product, summed = _product(one.op, dtype), _widened(dtype) if "wide" in one.op else dtype
    return lambda launch: launch.write(out, product(launch.read(a, dtype), launch.read(b, dtype)) + launch.read(c, summed))


def _convert(one):
    to, source, (out, operand) = DTYPES[one.op[-2]], DTYPES[one.op[-1]], one.operands
    rounding = next((ROUND[part] for part in one.op if part in ROUND), None)

    def convert(launch):
        values = launch.read(operand, source)
        if rounding is not None:
            values = rounding(values)
        if np.dtype(source).kind == "f" and np.dtype(to).kind in "iu":  # out of range: the nearest number; NaN: 0
            bounds = np.iinfo(to)
            values = np.where(np.isnan(values), 0, np.clip(values, float(bounds.min), np.nextafter(float(bounds.max) + 1, 0)))
        values = values.astype(to)
        launch.write(out, values if values.dtype.itemsize >= 2 else values.astype(np.uint16))
    return convert


def _set_predicate(one):
    dtype, (out, a, b, *more) = DTYPES[one.op[-1]], one.operands
    name = one.op[1]
    unordered = name.endswith("u") and name != "u"
    compare = COMPARE.get(name[:-1] if unordered else name)
    combine = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}.get(one.op[2])

    def set_predicate(launch):
        x, y = launch.read(a, dtype), launch.read(b, dtype)
        if name in ("num", "nan"):
            result = np.isnan(x) | np.isnan(y)
            result = ~result if name == "num" else result
        else:
            result = compare(x, y)
            if x.dtype.kind == "f":
                nan = np.isnan(x) | np.isnan(y)
                result = result | nan if unordered else result & ~nan
        if combine is not None:
            result = combine(result, launch.predicate(more[0]))
        launch.write(out, result)
    return set_predicate


def _select(one):
    dtype, (out, a, b, predicate) = DTYPES[one.op[-1]], one.operands
    return lambda launch: launch.write(out, np.where(launch.predicate(predicate), launch.read(a, dtype), launch.read(b, dtype)))


def _lanes(launch, what):
    """The chosen threads as a table of warps: all lanes of a warp must be here."""
    warps = launch.thread // WARP + launch.of_block * (1 << 20)
    here, counts = np.unique(warps[launch.chosen], return_counts=True)
    all_here, all_counts = np.unique(warps, return_counts=True)
    if not np.array_equal(counts, all_counts[np.searchsorted(all_here, here)]):
        raise PtxError(f"{what} without all lanes of a warp")
    return np.searchsorted(launch.chosen, launch.chosen - launch.thread[launch.chosen] % WARP)  # each thread's lane 0


def _shuffle(one):
    kind = one.op[2]
    out, source, by = one.operands[:3]
    out, _, guard = out.partition("|")

    def shuffle(launch):
        first, lane = _lanes(launch, one.text), launch.thread[launch.chosen] % WARP
        values = np.broadcast_to(launch.read(source, np.uint32), (len(launch.chosen),))
        by_ = np.broadcast_to(launch.read(by, np.uint32), (len(launch.chosen),)).astype(np.int64)
        wanted = {"idx": by_ % WARP, "bfly": lane ^ by_, "up": lane - by_, "down": lane + by_}[kind]
        count = np.minimum(WARP, int(np.prod(launch.block)) - launch.thread[launch.chosen] // WARP * WARP)
        valid = (wanted >= 0) & (wanted < count)
        launch.write(out.strip(), values[first + np.where(valid, wanted, lane)])
        if guard:
            launch.write(guard.strip(), valid)
    return shuffle


def _vote(one):
    kind, (out, predicate, *_) = one.op[2], one.operands

    def vote(launch):
        first, lane = _lanes(launch, one.text), launch.thread[launch.chosen] % WARP
        values = launch.predicate(predicate)
        words = np.zeros(len(launch.chosen), np.uint64)
        np.bitwise_or.at(words, first, values.astype(np.uint64) << lane.astype(np.uint64))
        words = words[first]
        if kind == "ballot":
            launch.write(out, words.astype(np.uint32))
        else:
            full = np.zeros(len(launch.chosen), np.uint64)
            np.bitwise_or.at(full, first, np.uint64(1) << lane.astype(np.uint64))
            launch.write(out, words == full[first] if kind == "all" else words != 0)
    return vote


def _activemask(one):
    return lambda launch: launch.write(one.operands[0], np.full(len(launch.chosen), 0xFFFFFFFF, np.uint32))


def _atomic(one):
    """One thread after the other."""
    returns, dtype = one.op[0] == "atom", DTYPES[one.op[-1]]
    kind = next(part for part in one.op if part in ("add", "min", "max", "or", "and", "xor", "exch", "cas", "inc"))
    out, operands = (one.operands[0], one.operands[1:]) if returns else ("_", one.operands)
    step = {"add": np.add, "min": np.minimum, "max": np.maximum, "or": np.bitwise_or, "and": np.bitwise_and,
            "xor": np.bitwise_xor, "exch": lambda old, new: new}.get(kind)

    def atomic(launch):
        size = np.dtype(dtype).itemsize
        array, (*rows, first) = launch.cells(_space(one.op), operands[0], size, 1, writes=None)
        values = [np.broadcast_to(launch.read(name, dtype), (len(launch.chosen),)) for name in operands[1:]]
        olds = np.empty(len(launch.chosen), dtype)
        for i, at in enumerate(first.tolist()):
            cell = (array[rows[0][i]] if rows else array)[at:at + size].view(dtype)
            olds[i] = cell[0]
            if kind == "cas":
                cell[0] = values[1][i] if cell[0] == values[0][i] else cell[0]
            else:
                cell[0] = step(cell[0], values[0][i])
        launch.write(out, olds)
    return atomic


def _shf(one):
    out, low, high, by = one.operands
    right = one.op[1] == "r"

    def shf(launch):
        launch.write(out, _funnel(*(launch.read(name, np.uint32) for name in (low, high, by)), right))
    return shf


def _bfe(one):
    dtype, (out, a, at, count) = DTYPES[one.op[-1]], one.operands

    def bfe(launch):
        value, first, length = launch.read(a, dtype), launch.read(at, np.uint32), launch.read(count, np.uint32)
        mask = (np.uint64(1) << length.astype(np.uint64)) - np.uint64(1)
        if np.dtype(dtype).kind == "i":
            raise PtxError("signed bfe")
        launch.write(out, (value.astype(np.uint64) >> first.astype(np.uint64) & mask).astype(dtype))
    return bfe


def _bfi(one):
    dtype, (out, low, high, at, count) = DTYPES[one.op[-1]], one.operands

    def bfi(launch):
        first, length = (launch.read(name, np.uint32).astype(np.uint64) for name in (at, count))
        mask = ((np.uint64(1) << length) - np.uint64(1)) << first
        inserted = launch.read(low, dtype).astype(np.uint64) << first
        launch.write(out, (launch.read(high, dtype).astype(np.uint64) & ~mask | inserted & mask).astype(dtype))
    return bfi


def _prmt(one):
    out, low, high, chosen = one.operands
    if len(one.op) > 2:
        raise PtxError(one.text)

    def prmt(launch):
        both = (launch.read(high, np.uint32).astype(np.uint64) << np.uint64(32)) | launch.read(low, np.uint32).astype(np.uint64)
        which, result = launch.read(chosen, np.uint32).astype(np.uint64), np.uint64(0)
        for i in range(4):
            nibble = which >> np.uint64(4 * i) & np.uint64(15)
            byte = both >> (np.uint64(8) * (nibble & np.uint64(7))) & np.uint64(255)
            byte = np.where(nibble > 7, np.where(byte > 127, 255, 0), byte).astype(np.uint64)
            result = result | byte << np.uint64(8 * i)
        launch.write(out, result.astype(np.uint32))
    return prmt


def _testp(one):
    dtype, (out, a) = DTYPES[one.op[-1]], one.operands
    test = {"infinite": np.isinf, "notanumber": np.isnan, "finite": np.isfinite, "number": lambda x: ~np.isnan(x)}[one.op[1]]
    return lambda launch: launch.write(out, test(launch.read(a, dtype)))
