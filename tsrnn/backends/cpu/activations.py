"""Exponential, tanh and sigmoid for hot loops, in float32 and float64.

Each function is written once, over `Number`: LLVM instructions under the usual operators, with constants of the element
type, so that float32 stays float32.  There is no table, no branch, no call and no float-to-integer conversion, and every
fused multiply-add is written down; so a simple loop becomes vector code, and its vectors and its remainder give the
same bits.  NaN stays NaN.

exp(y) = 2^n exp(r) with n the integer nearest to y / ln 2 and |r| <= ln 2 / 2 (Cody and Waite);
exp(r) = (p + r) / (p - r) with p = r coth(r / 2) = 2 + r^2 / 6 - r^4 / 360 + ..., a polynomial of least greatest error (Remez).
p is even, so it takes half the terms that exp(r) takes, and the division is the one that sigmoid and tanh have anyway.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from llvmlite import ir
from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic

from tsrnn.backends.cpu.jit import jit


class Constants(NamedTuple):
    """What exp needs to know about a float format."""

    integer: ir.IntType
    mantissa: int  # bits
    bias: int  # of the exponent
    ln2: tuple[float, float]  # leading part and rest
    exp: tuple[float, float]  # clamp of exp's argument: beyond it the result is 0 or inf
    scale: tuple[float, float]  # of sigmoid's, whose 2^n is one factor: n from bias - 1 to -bias (which gives 0)
    tanh: float  # 2 |x| beyond which tanh is +-1
    p: tuple[float, ...]  # of r^2, highest power first


FORMATS = {
    32: Constants(
        ir.IntType(32), 23, 127, (0.6931471824645996, -1.9046542999577679e-09), (-104.0, 89.0), (-87.6, 88.3), 20.0,
        (-0.002766753440054538, 0.16666625742044047, 2.0),
    ),
    64: Constants(
        ir.IntType(64), 52, 1023, (0.6931471805599453, 2.3190468138462996e-17), (-746.0, 710.0), (-708.6, 709.4), 40.0,
        (
            4.138136247065893e-08, -1.6533902180313506e-06, 6.613756321390524e-05, -0.0027777777777015203,
            0.16666666666666602, 2.0,
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

    def at_least(self, low):
        """The larger of self and a number; NaN stays NaN."""
        return self._bounded("<", low)

    def at_most(self, high):
        """The smaller of self and a number; NaN stays NaN."""
        return self._bounded(">", high)

    def where_positive(self, other):
        """Self where other > 0, else 0."""
        zero = self.constant(0.0).value
        return Number(self.builder, self.builder.select(self.builder.fcmp_ordered(">", other.value, zero), self.value, zero))

    def magnitude(self):
        return Number(self.builder, self._call("llvm.fabs", [self.value]))

    def with_sign_of(self, other):
        return Number(self.builder, self._call("llvm.copysign", [self.value, other.value]))

    def _bounded(self, beyond, number):
        bound = self.constant(number).value
        is_beyond = self.builder.fcmp_ordered(beyond, self.value, bound)
        return Number(self.builder, self.builder.select(is_beyond, bound, self.value))

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


def _reduce(x, bias=0, sign=1.0):
    """n + bias (as an integer, in the low bits of one) and r with ``x = sign n ln 2 + r``.

    Adding 1.5 * 2^mantissa rounds to an integer and leaves it in the low bits.  The multiplication and the sum are one
    fused operation in any case, and so is each step of r.
    """
    form = FORMATS[x.bits]
    magic = x.constant(1.5 * 2.0**form.mantissa + bias)
    shifted = x.fma(sign * LOG2_E, magic)
    n = shifted - magic
    r = n.fma(-sign * form.ln2[1], n.fma(-sign * form.ln2[0], x))
    return x.builder.bitcast(shifted.value, _integer(x, 0).type), r


def _power(x, biased):
    """2^n for -bias <= n <= bias, from an integer with n + bias in its low bits; the first gives 0."""
    exponent = x.builder.shl(biased, _integer(x, FORMATS[x.bits].mantissa))  # whatever lies above them falls out
    return Number(x.builder, x.builder.bitcast(exponent, x.type))


def _even(r):
    """p of |r| <= ln 2 / 2: exp(r) = (p + r) / (p - r)."""
    square = r * r
    first, *others = FORMATS[r.bits].p
    p = r.constant(first)
    for coefficient in others:
        p = p.fma(square, coefficient)
    return p


def exp_of(x):
    """exp over the whole range, subnormal results included: 2^n is two factors."""
    form, builder = FORMATS[x.bits], x.builder
    low, high = form.exp
    bits, r = _reduce(x.at_least(low).at_most(high))
    n = builder.sub(bits, builder.bitcast(x.constant(1.5 * 2.0**form.mantissa).value, bits.type))
    bias = _integer(x, form.bias)
    even = _integer(x, 2 * form.bias)  # a logical shift of positive numbers: old processors have no other for 64 bits
    half = builder.sub(builder.lshr(builder.add(n, even), _integer(x, 1)), bias)
    power = (r + r) / (_even(r) - r) + 1.0  # the quotient above: small beside 1, and so are its errors
    return power * _power(x, builder.add(half, bias)) * _power(x, builder.add(builder.sub(n, half), bias))


def sigmoid_of(x):
    """1 / (1 + exp(-x)), with exp(-x) = scale (p - r) / (p + r)."""
    form = FORMATS[x.bits]
    low, high = form.scale
    biased, r = _reduce(x.at_least(low).at_most(high), form.bias, -1.0)
    scale, p = _power(x, biased), _even(r)
    return (p + r) / scale.fma(p - r, p + r)


def tanh_of(x):
    """(1 - exp(y)) / (1 + exp(y)) with y = -2 |x|; where |x| is small, scale is 1 and this is -r / p, to the last digit."""
    form = FORMATS[x.bits]
    biased, r = _reduce((x.magnitude() * -2.0).at_least(-form.tanh), form.bias)
    scale, p = _power(x, biased), _even(r)
    more, less = scale + 1.0, scale - 1.0
    return (more.fma(r, less * p) / more.fma(p, less * r)).with_sign_of(x)


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
