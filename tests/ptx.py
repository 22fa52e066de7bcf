"""Runs PTX, the compiler's code for NVIDIA cards, on NumPy: all threads of a launch at once, without a card.

What Numba's simulator runs is the Python source of a kernel; this runs what a card would: the compiler's types, promotions,
address arithmetic, vector loads and shuffles.  Addresses are checked: outside an array, or misaligned for the load, raises.
Threads go in lockstep; of those that have parted, the ones furthest behind go first.  Shared memory that nobody has written is
NaN.  Two threads that touch the same element, one of them to write it, without a barrier between raise, unless they are of one
warp: that is what a race is, even where lockstep would hide it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

DTYPES = {"pred": np.bool_, "f32": np.float32, "f64": np.float64} | {
    kind + str(8 * size): np.dtype(f"{'i' if kind == 's' else 'u'}{size}").type for kind in "sub" for size in (1, 2, 4, 8)}
UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
SHARED, LOCAL, GLOBAL = 1 << 50, 1 << 51, 1 << 20  # where the windows of the generic address space begin
WINDOW = 1 << 24  # bytes of shared or local memory that a block or thread may have
WARP = 32


class PtxError(RuntimeError):
    """Code that is not understood, or that does what it must not."""


# ------------------------------------------------------------------------------------------------------------- the parser


@dataclass
class Instruction:
    text: str
    op: list[str]          # "ld.global.v4.f32" in parts
    operands: list[str]
    predicate: str = ""    # "%p1" or "!%p1"
    run: Callable | None = None
    target: int = -1       # of a branch


@dataclass
class Kernel:
    name: str
    params: list[str] = field(default_factory=list)
    code: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    shared: dict[str, tuple[int, int]] = field(default_factory=dict)  # name → address, size; extern ones have size 0
    local: dict[str, tuple[int, int]] = field(default_factory=dict)
    shared_size: int = 0
    local_size: int = 0
    widths: dict[str, int] = field(default_factory=dict)  # bytes of registers, by the letters of their names


DECLARED = re.compile(r"\.(shared|local)\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+([\w$]+)(?:\[(\d*)\])?")


def parse(ptx: str) -> Kernel:
    """The only entry of a module."""
    ptx = re.sub(r"//[^\n]*", "", ptx)
    head, body = re.search(r"\.entry\s+([\w$]+)\s*\((.*?)\)[^{]*\{(.*)\}", ptx, re.DOTALL).span(2), None
    kernel = Kernel(re.search(r"\.entry\s+([\w$]+)", ptx)[1])
    kernel.params = re.findall(r"\.param\s+(?:\.align\s+\d+\s+)?\.\w+\s+([\w$]+)", ptx[head[0]:head[1]])
    for place, align, kind, name, count in DECLARED.findall(ptx):
        table, size = getattr(kernel, place), int(count or 0) * np.dtype(DTYPES[kind]).itemsize
        at = -(-getattr(kernel, place + "_size") // max(16, int(align or 1))) * max(16, int(align or 1))
        table[name] = at, size
        setattr(kernel, place + "_size", at + size)
    body = ptx[ptx.index("{", head[1]) + 1:ptx.rindex("}")]
    kernel.widths = {name: np.dtype(DTYPES[kind]).itemsize for kind, name in re.findall(r"\.reg\s+\.(\w+)\s+%([a-z]+)<", body)}
    for statement in re.split(r"[;\n]", _join_lines(body)):
        statement = statement.strip()
        while label := re.match(r"([\w$]+):\s*", statement):
            kernel.labels[label[1]] = len(kernel.code)
            statement = statement[label.end():]
        if statement and not statement.startswith((".", "{", "}")):
            kernel.code.append(_instruction(statement))
    for one in kernel.code:
        if one.op[0] == "bra":
            one.target = kernel.labels[one.operands[0]]
    return kernel


def _join_lines(body: str) -> str:
    return re.sub(r",\s*\n\s*", ", ", body)


def _instruction(text: str) -> Instruction:
    predicate = ""
    if text.startswith("@"):
        predicate, text = text[1:].split(None, 1)
    op, _, rest = text.partition(" ") if " " in text else text.partition("\t")
    operands = [operand.strip() for operand in re.findall(r"\s*(\{[^}]*\}|\[[^\]]*\]|[^,\s][^,]*)", rest)]
    return Instruction(text, op.strip().split("."), operands, predicate)


# ------------------------------------------------------------------------------------------------------------ the machine


class Memory:
    """Arrays of the card at addresses of their own."""

    def __init__(self):
        self.bases, self.arrays, self.shadows = [], [], []

    def address(self, array: np.ndarray) -> int:
        """Of an array, which may be a view of one that is known."""
        pointer, end = array.__array_interface__["data"][0], array.nbytes
        for base, known in zip(self.bases, self.arrays):
            first = known.__array_interface__["data"][0]
            if first <= pointer and pointer + end <= first + known.nbytes:
                return base + pointer - first
        while array.base is not None and isinstance(array.base, np.ndarray):
            array = array.base
        flat = array.reshape(-1).view(np.uint8)
        base = (self.bases[-1] + self.arrays[-1].nbytes) // 4096 * 4096 + 8192 if self.bases else GLOBAL
        self.bases.append(base)
        self.arrays.append(flat)
        self.shadows.append(Shadow(flat.nbytes))
        return self.address(array) + pointer - array.__array_interface__["data"][0]

    def find(self, addresses: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray, Shadow]:
        """The array that all addresses lie in, the offsets there, and its shadow."""
        low, high = int(addresses.min()), int(addresses.max())
        i = int(np.searchsorted(self.bases, low, side="right")) - 1
        if i < 0 or high + width > self.bases[i] + self.arrays[i].nbytes:
            raise PtxError(f"addresses {low:#x} to {high + width:#x} lie in no one array")
        return self.arrays[i], addresses - np.uint64(self.bases[i]), self.shadows[i]


class Shadow:
    """Who has read and written each byte of an array in a launch, and between which barriers."""

    def __init__(self, nbytes: int):
        self.writer, self.first, self.last = (np.full(nbytes, -1, np.int32) for _ in range(3))  # threads; first, last: readers
        self.written, self.seen = (np.zeros(nbytes, np.int32) for _ in range(2))  # when, in barriers of their block

    def access(self, launch: Launch, at: np.ndarray, writes: bool) -> None:
        """The chosen threads touch the elements that begin at bytes `at`."""
        me, now = launch.chosen.astype(np.int32), launch.epoch[launch.of_block[launch.chosen]]
        self._check(launch, me, now, self.writer[at], self.written[at], "written")
        if writes:
            for reader in (self.first, self.last):
                self._check(launch, me, now, reader[at], self.seen[at], "read")
            self.writer[at], self.written[at] = me, now
            self._check(launch, me, now, self.writer[at], now, "written")
        else:
            old = (self.seen[at] != now) | (self.first[at] < 0)
            old &= (self.first[at] < 0) | (launch.of_block[self.first[at]] == launch.of_block[me])
            self.first[at] = np.where(old, me, np.minimum(self.first[at], me))
            self.last[at] = np.where(old, me, np.maximum(self.last[at], me))
            self.seen[at] = now

    def _check(self, launch, me, now, other, when, what):
        other_ = np.maximum(other, 0)
        same_block = launch.of_block[other_] == launch.of_block[me]
        same_warp = same_block & (launch.thread[other_] // WARP == launch.thread[me] // WARP)
        race = (other >= 0) & ~same_warp & (~same_block | (when == now))
        if race.any():
            i = int(np.flatnonzero(race)[0])
            raise PtxError(f"thread {int(launch.thread[me[i]])} of block {int(launch.of_block[me[i]])} touches what thread "
                           f"{int(launch.thread[other[i]])} of block {int(launch.of_block[other[i]])} has {what}, and no "
                           "barrier lies between")


class Launch:
    """A kernel on a grid: registers of all threads, and the memory of its blocks."""

    def __init__(self, kernel: Kernel, memory: Memory, grid, block, params: list, shared: int):
        self.kernel, self.memory, self.params = kernel, memory, dict(zip(kernel.params, params))
        (self.grid, self.block) = ((*size, 1, 1)[:3] for size in (grid, block))
        per_block = int(np.prod(self.block))
        self.n, blocks = per_block * int(np.prod(self.grid)), int(np.prod(self.grid))
        thread, self.of_block = np.arange(self.n) % per_block, np.arange(self.n) // per_block
        self.thread, self.warp = thread, thread // WARP + self.of_block * -(-per_block // WARP)
        self.at_warp = np.zeros(self.n, np.bool_)  # waits for the others of its warp
        self.votes, self.asked = np.zeros(self.n, np.bool_), None  # of a barrier that counts
        self.special = {"%laneid": (thread % WARP).astype(np.uint32), "%warpid": (thread // WARP).astype(np.uint32)}
        for name, index, size in (("%tid", thread, self.block), ("%ctaid", self.of_block, self.grid)):
            places = index % size[0], index // size[0] % size[1], index // (size[0] * size[1])
            self.special |= {f"{name}.{axis}": at.astype(np.uint32) for axis, at in zip("xyz", places)}
        for name, size in (("%ntid", self.block), ("%nctaid", self.grid)):
            self.special |= {f"{name}.{axis}": np.full(self.n, length, np.uint32) for axis, length in zip("xyz", size)}
        self.special["%dynamic_smem_size"] = np.full(self.n, shared, np.uint32)
        self.shared = np.full((blocks, kernel.shared_size + shared + 64), 0xFF, np.uint8)
        self.shared_limit = kernel.shared_size + shared
        self.shared_shadow = Shadow(self.shared.size)
        self.epoch = np.zeros(blocks, np.int32)
        self.local = np.full((self.n, max(kernel.local_size, 1)), 0xFF, np.uint8)
        self.registers: dict[str, np.ndarray] = {}
        self.steps = 0

    def run(self) -> None:
        code, n = self.kernel.code, self.n
        pc, waits, done = np.zeros(n, np.int64), np.zeros(n, np.bool_), np.zeros(n, np.bool_)
        everyone = np.arange(n)
        while True:
            ready = ~(waits | done)
            if not ready.any():
                if done.all():
                    return
                self._open_barriers(waits, done)
                continue
            at = int(pc[ready].min())
            chosen = np.flatnonzero(ready & (pc == at))
            self.all = len(chosen) == n
            self.chosen = everyone if self.all else chosen
            following = int(pc[ready & (pc > at)].min(initial=len(code)))  # where those ahead wait for these
            at = self._run_block(code, at, following, pc, waits, done)

    def _run_block(self, code, at, following, pc, waits, done):
        """Instructions up to a branch, a barrier, or where others wait."""
        chosen = self.chosen
        while True:
            one = code[at]
            self.steps += 1
            kind = one.op[0]
            if kind in ("bra", "ret", "exit", "bar", "barrier"):
                taken = np.ones(len(chosen), np.bool_) if not one.predicate else self.predicate(one.predicate)
                pc[chosen] = at + 1
                if kind == "bra":
                    pc[chosen[taken]] = one.target
                elif kind in ("ret", "exit"):
                    done[chosen[taken]] = True
                elif one.op[1] == "sync":
                    waits[chosen] = True
                elif one.op[1] == "red":
                    self.votes[chosen], self.asked = self.predicate(one.operands[-1]), one
                    waits[chosen] = True
                elif one.op[1] == "warp":
                    self._meet_warps(waits, done)
                else:
                    raise PtxError(one.text)
                return at
            try:
                self.execute(one)
            except PtxError as error:
                raise PtxError(f"{one.text}: {error}") from None
            at += 1
            if at == following or at == len(code):
                pc[chosen] = at
                return at

    def _meet_warps(self, waits, done):
        """The chosen threads wait for the others of their warps that live."""
        self.at_warp[self.chosen] = waits[self.chosen] = True
        missing = np.zeros(int(self.warp.max()) + 1, np.bool_)
        missing[self.warp[~(self.at_warp | done)]] = True
        free = self.at_warp & ~missing[self.warp]
        self.at_warp[free] = waits[free] = False

    def _open_barriers(self, waits, done):
        """All threads that live have come to a barrier of their block."""
        if self.at_warp.any():
            raise PtxError("some threads wait for their warp, others for their block: a deadlock")
        self.epoch[np.unique(self.of_block[waits])] += 1
        if self.asked is not None:
            here, votes = np.bincount(self.of_block, ~done), np.bincount(self.of_block, self.votes & ~done)
            found = {"popc": votes.astype(np.uint32), "and": votes == here, "or": votes > 0}[self.asked.op[2]]
            self.chosen, self.all = np.flatnonzero(waits), bool(waits.all())
            self.write(self.asked.operands[0], found[self.of_block[self.chosen]])
            self.asked = None
        waits[:] = False

    # ---- operands

    def read(self, operand: str, dtype) -> np.ndarray:
        """The operand's value for the chosen threads, (len(chosen),) or a scalar."""
        dtype = np.dtype(dtype)
        if operand[0] == "%":
            values = self.special.get(operand)
            if values is None:
                if operand not in self.registers:
                    raise PtxError(f"{operand} is read and was never written")
                values = self.registers[operand]
            values = values if self.all else values[self.chosen]
            if values.dtype.itemsize != dtype.itemsize:
                return values.view(UNSIGNED[values.dtype.itemsize]).astype(UNSIGNED[dtype.itemsize]).view(dtype)
            return values.view(dtype)
        if operand[:2] in ("0f", "0F", "0d", "0D"):
            bits = int(operand[2:], 16)
            value = np.array(bits, np.uint32 if operand[1] in "fF" else np.uint64)
            return value.view(np.float32 if operand[1] in "fF" else np.float64).astype(dtype)[()] * np.ones(1, dtype)
        if re.fullmatch(r"-?(0x[0-9a-fA-F]+|\d+)U?", operand):
            return np.array([int(operand.rstrip("U"), 0) % (1 << 8 * dtype.itemsize)], UNSIGNED[dtype.itemsize]).view(dtype)
        return np.array([self.symbol(operand)], np.uint64).astype(dtype)

    def symbol(self, name: str) -> int:
        if name in self.kernel.shared:
            at, size = self.kernel.shared[name]
            return SHARED + (at if size else self.kernel.shared_size)
        if name in self.kernel.local:
            return LOCAL + self.kernel.local[name][0]
        if name in ("true", "false"):
            return int(name == "true")
        raise PtxError(f"{name} is unknown")

    def write(self, operand: str, values) -> None:
        """Into a register of the chosen threads."""
        if operand == "_":
            return
        values = np.asarray(values)
        if self.all:
            self.registers[operand] = np.ascontiguousarray(np.broadcast_to(values, (self.n,)))
            return
        old = self.registers.get(operand)
        if old is None:
            old = np.zeros(self.n, values.dtype)
        elif old.dtype.itemsize != values.dtype.itemsize:
            raise PtxError(f"{operand} changes its width")
        new = old.view(values.dtype).copy()
        new[self.chosen] = values
        self.registers[operand] = new

    def predicate(self, name: str) -> np.ndarray:
        values = self.read(name.lstrip("!"), np.bool_)
        return np.broadcast_to(~values if name[0] == "!" else values, (len(self.chosen),))

    # ---- memory

    def addresses(self, operand: str) -> np.ndarray:
        base, _, offset = operand.strip("[]").replace(" ", "").partition("+")
        values = self.read(base, np.uint64) + np.uint64(int(offset or "0", 0) % (1 << 64))
        return np.broadcast_to(values, (len(self.chosen),))

    def cells(self, space: str, operand: str, size: int, count: int, writes: bool | None) -> tuple[np.ndarray, tuple]:
        """Bytes of an access to `count` elements: an array, and the index of the first byte for each chosen thread.

        `writes` is None for atomic ones, which cannot race with each other.
        """
        width = size * count
        at = self.addresses(operand)
        if (at % np.uint64(width)).any():
            raise PtxError(f"an address is not a multiple of {width}")
        if space != "global" and int(at.min()) >= LOCAL or space == "local":
            offset = (at & np.uint64(LOCAL - 1)).astype(np.int64)
            if int(offset.max()) + width > self.kernel.local_size:
                raise PtxError("outside local memory")
            return self.local, (self.chosen, offset)
        if space != "global" and int(at.min()) >= SHARED or space == "shared":
            offset = (at & np.uint64(SHARED - 1)).astype(np.int64)
            if int(offset.max()) + width > self.shared_limit:
                raise PtxError(f"outside shared memory: byte {int(offset.max())} of {self.shared_limit}")
            rows = self.of_block[self.chosen]
            self._touch(self.shared_shadow, rows * self.shared.shape[1] + offset, size, count, writes)
            return self.shared, (rows, offset)
        array, offset, shadow = self.memory.find(at, width)
        self._touch(shadow, offset.astype(np.int64), size, count, writes)
        return array, (offset.astype(np.int64),)

    def _touch(self, shadow, at, size, count, writes):
        if writes is not None:
            for i in range(count):
                shadow.access(self, at + i * size, writes)

    def load(self, space, operand, dtype, count):
        size = np.dtype(dtype).itemsize
        array, (*rows, first) = self.cells(space, operand, size, count, writes=False)
        if array.ndim == 1 and array.ctypes.data % size == 0 and not (first % size).any():
            typed = array[:array.size // size * size].view(dtype)
            return [typed[first // size + i] for i in range(count)]
        index = first[:, None] + np.arange(size * count)
        found = array[(rows[0][:, None], index) if rows else index]
        return list(np.ascontiguousarray(found).view(dtype).T)

    def store(self, space, operand, dtype, values):
        size = np.dtype(dtype).itemsize
        array, (*rows, first) = self.cells(space, operand, size, len(values), writes=True)
        values = np.stack([np.broadcast_to(value, (len(self.chosen),)) for value in values], axis=1)
        index = first[:, None] + np.arange(size * values.shape[1])
        array[(rows[0][:, None], index) if rows else index] = np.ascontiguousarray(values.astype(dtype)).view(np.uint8)

    # ---- instructions

    def execute(self, one: Instruction) -> None:
        if one.predicate:
            taken = self.predicate(one.predicate)
            saved, self.chosen, all_ = self.chosen, self.chosen[taken], self.all
            self.all = all_ and taken.all()
            try:
                if len(self.chosen):
                    self._execute(one)
            finally:
                self.chosen, self.all = saved, all_
            return
        self._execute(one)

    def _execute(self, one: Instruction) -> None:
        if one.run is None:
            from ptx_instructions import compile_instruction

            one.run = compile_instruction(one)
        one.run(self)
