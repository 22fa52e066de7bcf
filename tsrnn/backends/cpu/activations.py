"""Exponential, tanh and sigmoid for hot loops, in float32 and float64.

Each function is written once, over `Number`: LLVM instructions under the usual operators, with constants of the element
type, so that float32 stays float32.  There is no table, no branch, no call and no float-to-integer conversion, and every
fused multiply-add is written down; so a simple loop becomes vector code, and its vectors and its remainder give the
same bits.  NaN stays NaN.

exp(y) = 2^n exp(r) with n the integer nearest to y / ln 2 and |r| <= ln 2 / 2 (Cody and Waite); expm1(r) = r + r^2 q(r), q
a near-minimax polynomial (Chebyshev fit of (expm1(r) - r) / r^2).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from llvmlite import ir
from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic

from tsrnn.backends.cpu.jit import jit
from tsrnn.backends.cpu.vectors import FEATURES


class Constants(NamedTuple):
    """What exp needs to know about a float format."""

    integer: ir.IntType
    mantissa: int  # bits
    bias: int  # of the exponent
    ln2: tuple[float, float]  # leading part and rest
    exp: tuple[float, float]  # clamp of exp's argument: beyond it the result is 0 or inf
    scale: tuple[float, float]  # the same where 2^n is one factor, and finite: n from -bias (which gives 0) to bias
    tanh: float  # 2 |x| beyond which tanh is +-1
    q: tuple[float, ...]  # highest power first


FORMATS = {
    32: Constants(
        ir.IntType(32), 23, 127, (0.6931471824645996, -1.9046542999577679e-09), (-104.0, 89.0), (-88.3, 88.0), 20.0,
        (0.0013926213466332443, 0.008363202971575855, 0.041666554437685939, 0.16666576845993976, 0.5),
    ),
    64: Constants(
        ir.IntType(64), 52, 1023, (0.6931471805599453, 2.3190468138462996e-17), (-746.0, 710.0), (-709.4, 709.0), 40.0,
        (
            2.5100424157005067e-8, 2.7620138719733996e-7, 2.7557268378684193e-6, 2.4801521190217728e-5,
            1.9841269863105969e-4, 1.3888888917281793e-3, 8.3333333333300513e-3, 4.1666666666623992e-2,
            1.6666666666666667e-1, 0.5,
        ),
    ),
}  # fmt: skip
LOG2_E = 1.4426950408889634


class Number:
    """A float value (or a vector of them) in LLVM code being written, with operators."""

    def __init__(self, builder, value):
        self.builder, self.value = builder, value
        self.type = value.type
        self.element = self.type.element if isinstance(self.type, ir.VectorType) else self.type
        self.bits = 32 if isinstance(self.element, ir.FloatType) else 64

    def constant(self, number):
        """`number` in this type, in every lane."""
        return Number(self.builder, _splat(self.type, ir.Constant(self.element, float(number))))

    def _with(self, instruction, other):
        other = other if isinstance(other, Number) else self.constant(other)
        return Number(self.builder, instruction(self.value, other.value))

    def __add__(self, other):
        return self._with(self.builder.fadd, other)

    def __sub__(self, other):
        return self._with(self.builder.fsub, other)

    def __mul__(self, other):
        return self._with(self.builder.fmul, other)

    def __truediv__(self, other):
        return self._with(self.builder.fdiv, other)

    def __rsub__(self, other):
        return self.constant(other) - self

    def __neg__(self):
        return Number(self.builder, self.builder.fneg(self.value))

    def fma(self, factor, addend):
        """``self * factor + addend``, rounded once."""
        operands = [self.value] + [(x if isinstance(x, Number) else self.constant(x)).value for x in (factor, addend)]
        return Number(self.builder, self._call("llvm.fma", operands))

    def reciprocal(self):
        """1 / self, for a finite self that is not 0: to an ulp.

        A division takes 16 cycles a vector of AVX-512, the instruction that gives 14 bits two; each of Newton's steps doubles
        their number.
        """
        if not isinstance(self.type, ir.VectorType) or self.type.count * self.bits != 512 or "+avx512f" not in FEATURES:
            return self.constant(1.0) / self
        letter, lanes = "s" if self.bits == 32 else "d", ir.IntType(self.type.count)
        name, signature = f"llvm.x86.avx512.rcp14.p{letter}.512", ir.FunctionType(self.type, [self.type, self.type, lanes])
        module = self.builder.module
        function = module.globals.get(name) or ir.Function(module, signature, name)
        y = Number(self.builder, self.builder.call(function, [self.value, self.constant(0).value, lanes(-1)]))
        for _ in range(1 if self.bits == 32 else 2):
            y = y.fma((-self).fma(y, 1.0), y)
        return y

    def at_least(self, low):
        """The larger of self and a number; NaN stays NaN."""
        bound = self.constant(low).value
        below = self.builder.fcmp_ordered("<", self.value, bound)
        return Number(self.builder, self.builder.select(below, bound, self.value))

    def where_positive(self, other):
        """Self where other > 0, else 0."""
        zero = self.constant(0.0).value
        return Number(self.builder, self.builder.select(self.builder.fcmp_ordered(">", other.value, zero), self.value, zero))

    def magnitude(self):
        return Number(self.builder, self._call("llvm.fabs", [self.value]))

    def with_sign_of(self, other):
        return Number(self.builder, self._call("llvm.copysign", [self.value, other.value]))

    def clamp(self, low, high):
        """Between two numbers; NaN stays NaN."""
        return -(-self.at_least(low)).at_least(-high)

    def _call(self, name, operands):
        lanes = f"v{self.type.count}" if self.type != self.element else ""
        name = f"{name}.{lanes}f{self.bits}"
        module = self.builder.module
        signature = ir.FunctionType(self.type, [self.type] * len(operands))
        return self.builder.call(module.globals.get(name) or ir.Function(module, signature, name), operands)


def _splat(type_, constant):
    return ir.Constant(type_, [constant] * type_.count) if isinstance(type_, ir.VectorType) else constant


def _integer(x, value):
    """An integer constant beside `x`."""
    integer = FORMATS[x.bits].integer
    type_ = ir.VectorType(integer, x.type.count) if x.type != x.element else integer
    return _splat(type_, ir.Constant(integer, value))


def _reduce(x, bias=0):
    """n + bias (as an integer, in the low bits of one) and r with ``x = n ln 2 + r``.

    Adding 1.5 * 2^mantissa rounds to an integer and leaves it in the low bits.  The multiplication and the sum are one
    fused operation in any case, and so is each step of r.
    """
    form = FORMATS[x.bits]
    magic = x.constant(1.5 * 2.0**form.mantissa + bias)
    shifted = x.fma(LOG2_E, magic)
    n = shifted - magic
    r = n.fma(-form.ln2[1], n.fma(-form.ln2[0], x))
    return x.builder.bitcast(shifted.value, _integer(x, 0).type), r


def _power(x, biased):
    """2^n for -bias <= n <= bias, from an integer with n + bias in its low bits; the first gives 0."""
    exponent = x.builder.shl(biased, _integer(x, FORMATS[x.bits].mantissa))  # whatever lies above them falls out
    return Number(x.builder, x.builder.bitcast(exponent, x.type))


def _expm1(r):
    """For |r| <= ln 2 / 2."""
    first, *others = FORMATS[r.bits].q
    q = r.constant(first)
    for coefficient in others:
        q = q.fma(r, coefficient)
    return (r * r).fma(q, r)


def exp_of(x):
    """exp over the whole range, subnormal results included: 2^n is two factors."""
    form, builder = FORMATS[x.bits], x.builder
    bits, r = _reduce(x.clamp(*form.exp))
    n = builder.sub(bits, builder.bitcast(x.constant(1.5 * 2.0**form.mantissa).value, bits.type))
    bias = _integer(x, form.bias)
    even = _integer(x, 2 * form.bias)  # a logical shift of positive numbers: old processors have no other for 64 bits
    half = builder.sub(builder.lshr(builder.add(n, even), _integer(x, 1)), bias)
    return (_expm1(r) + 1.0) * _power(x, builder.add(half, bias)) * _power(x, builder.add(builder.sub(n, half), bias))


def sigmoid_of(x):
    """1 / (1 + exp(-x))."""
    form = FORMATS[x.bits]
    biased, r = _reduce(-x.clamp(-form.scale[1], -form.scale[0]), form.bias)
    scale = _power(x, biased)
    return (_expm1(r).fma(scale, scale) + 1.0).reciprocal()


def tanh_of(x):
    """-expm1(y) / (2 + expm1(y)) with y = -2 |x|, which keeps its relative accuracy near 0."""
    form = FORMATS[x.bits]
    biased, r = _reduce((x.magnitude() * -2.0).at_least(-form.tanh), form.bias)
    scale = _power(x, biased)
    t = _expm1(r).fma(scale, scale - 1.0)
    return (t * (t + 2.0).reciprocal()).with_sign_of(x)


def _float_type(*arguments):
    """The one type of all arguments."""
    if any(a != arguments[0] or not isinstance(a, types.Float) for a in arguments):
        raise TypingError(f"expected values of one type, float32 or float64, got {', '.join(map(str, arguments))}")
    return arguments[0]


def _elementwise(function):
    """The Numba form of a function of one `Number`."""

    def typed(typing_context, x):
        def codegen(context, builder, signature, arguments):
            return function(Number(builder, arguments[0])).value

        return _float_type(x)(x), codegen

    typed.__name__ = function.__name__.removesuffix("_of")
    typed.__doc__ = function.__doc__
    return intrinsic(typed)


exp, tanh, sigmoid = _elementwise(exp_of), _elementwise(tanh_of), _elementwise(sigmoid_of)


@intrinsic
def fma(typing_context, a, b, c):
    """``a * b + c``, rounded once; all three of one type (a literal is float64: bind constants by type)."""
    result = _float_type(a, b, c)

    def codegen(context, builder, signature, arguments):
        a, b, c = (Number(builder, value) for value in arguments)
        return a.fma(b, c).value

    return result(a, b, c), codegen


@jit
def log1p_exp(x):
    """``log(1 + exp(x))`` without overflow (softplus)."""
    positive = x if x > 0 else type(x)(0.0)
    return positive + math.log1p(exp(-abs(x)))
