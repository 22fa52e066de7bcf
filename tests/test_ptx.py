"""The machine that runs PTX: what it computes, and that it notices what must not be."""

import numpy as np
import ptx
import pytest

HEAD = ".version 9.0\n.target sm_90\n.address_size 64\n.visible .shared .align 16 .b8 buffer[512];\n"
# y[i] = x[neighbour of i] + x[i], through shared memory
NEIGHBOUR = HEAD + """.visible .entry kernel(
  .param .u64 kernel_param_0,
  .param .u64 kernel_param_1
)
{
  .reg .pred %p<2>; .reg .f32 %f<4>; .reg .b32 %r<9>; .reg .b64 %rd<9>;
  ld.param.u64   %rd1, [kernel_param_0];
  ld.param.u64   %rd2, [kernel_param_1];
  cvta.to.global.u64   %rd3, %rd1;
  mov.u32   %r1, %tid.x;
  mul.wide.u32   %rd4, %r1, 4;
  add.s64   %rd5, %rd3, %rd4;
  ld.global.f32   %f1, [%rd5];
  mov.u32   %r2, buffer;
  shl.b32   %r3, %r1, 2;
  add.s32   %r4, %r2, %r3;
  st.shared.f32   [%r4], %f1;
  bar.sync   0;
  mov.u32   %r5, %ntid.x;
  add.s32   %r6, %r1, 40;
  rem.u32   %r6, %r6, %r5;
  shl.b32   %r7, %r6, 2;
  add.s32   %r8, %r2, %r7;
  ld.shared.f32   %f2, [%r8];
  setp.gt.u32   %p1, %r1, 63;
  @%p1 bra   $L__BB0_2;
  fma.rn.f32   %f2, %f2, 0f40000000, %f1;
  bra.uni   $L__BB0_3;
$L__BB0_2:
  add.f32   %f2, %f2, %f1;
$L__BB0_3:
  add.s64   %rd6, %rd2, %rd4;
  st.global.f32   [%rd6], %f2;
  ret;
}
"""


def run(source, x, y, threads=128, grid=1):
    memory = ptx.Memory()
    ptx.Launch(ptx.parse(source), memory, (grid,), (threads,), [memory.address(x), memory.address(y)], 0).run()


def arrays(n=128):
    return np.random.default_rng(0).normal(size=n).astype(np.float32), np.zeros(n, np.float32)


def test_arithmetic_branches_and_shared_memory():
    x, y = arrays()
    run(NEIGHBOUR, x, y)
    other = x[(np.arange(128) + 40) % 128]
    np.testing.assert_array_equal(y, np.where(np.arange(128) < 64, (2 * other.astype(float) + x).astype(np.float32), other + x))


def test_a_missing_barrier_is_a_race():
    with pytest.raises(ptx.PtxError, match="has written, and no barrier lies between"):
        run(NEIGHBOUR.replace("  bar.sync   0;\n", ""), *arrays())


def test_blocks_that_write_the_same_race():
    with pytest.raises(ptx.PtxError, match="touches what thread"):
        run(NEIGHBOUR, *arrays(), grid=2)


def test_addresses_are_checked():
    x, y = arrays()
    with pytest.raises(ptx.PtxError, match="lie in no one array"):
        run(NEIGHBOUR, x[:100].copy(), y)
    with pytest.raises(ptx.PtxError, match="not a multiple of 4"):
        run(NEIGHBOUR.replace("mul.wide.u32   %rd4, %r1, 4", "mul.wide.u32   %rd4, %r1, 2"), x, y)
    far = NEIGHBOUR.replace("add.s32   %r6, %r1, 40", "add.s32   %r6, %r1, 400").replace("rem.u32   %r6, %r6, %r5;", "")
    with pytest.raises(ptx.PtxError, match="outside shared memory"):
        run(far, x, y)


def test_what_is_not_understood_is_refused():
    with pytest.raises(ptx.PtxError, match="not understood"):
        run(NEIGHBOUR.replace("add.f32", "wmma.f32"), *arrays())
    with pytest.raises(ptx.PtxError, match="never written"):
        run(NEIGHBOUR.replace("add.f32   %f2, %f2, %f1", "add.f32   %f2, %f3, %f1"), *arrays())


SHUFFLE = NEIGHBOUR.replace("  bar.sync   0;\n", "").replace("  ld.shared.f32   %f2, [%r8];\n", """  mov.b32   %r6, %f1;
  shfl.sync.bfly.b32   %r7|%p1, %r6, 3, 31, -1;
  mov.b32   %f2, %r7;
""")


def test_shuffles():
    x, y = arrays()
    run(SHUFFLE, x, y)
    other = x[np.arange(128) ^ 3]
    np.testing.assert_array_equal(y[64:], (other + x)[64:])
    parted = "  setp.gt.u32   %p1, %r1, 5;\n  @%p1 bra   $L__BB0_2;\n  mov.b32   %r6, %f1;"
    with pytest.raises(ptx.PtxError, match="without all lanes"):
        run(SHUFFLE.replace("  mov.b32   %r6, %f1;", parted), x, y)


@pytest.mark.parametrize("op, source, expected", [
    ("cvt.rzi.s32.f32", "0fC0700000", -3), ("cvt.rni.s32.f32", "0f40200000", 2), ("neg.s32", "5", -5), ("not.b32", "0", -1),
    ("clz.b32", "1", 31), ("popc.b32", "255", 8), ("abs.s32", "-7", 7), ("mov.b32", "0x7fffffff", 0x7FFFFFFF)])
def test_single_instructions(op, source, expected):
    x, y = arrays()
    body = NEIGHBOUR.replace("  ret;\n", f"  {op}   %r6, {source};\n  st.global.u32   [%rd6], %r6;\n  ret;\n")
    run(body, x, y)
    assert set(y.view(np.int32).tolist()) == {expected}


@pytest.mark.parametrize("op, a, b, expected", [
    ("shr.s32", -8, 1, -4), ("shr.u32", -8, 1, 0x7FFFFFFC), ("shl.b32", 1, 40, 0), ("div.s32", -7, 2, -3),
    ("rem.s32", -7, 2, -1),
    ("div.u32", 7, 2, 3), ("mul.lo.s32", 1 << 20, 1 << 12, 0), ("mul.hi.u32", 1 << 20, 1 << 13, 2), ("min.s32", -1, 1, -1),
    ("min.u32", -1, 1, 1), ("max.s32", -1, 1, 1), ("xor.b32", 6, 3, 5)])
def test_integers(op, a, b, expected):
    x, y = arrays()
    run(NEIGHBOUR.replace("  ret;\n", f"  {op}   %r6, {a}, {b};\n  st.global.u32   [%rd6], %r6;\n  ret;\n"), x, y)
    assert set(y.view(np.int32).tolist()) == {expected}
