"""Functions of numbers in float32. With `ASM` they are instructions of a GPU, which Triton's interpreter does not have."""

import triton
import triton.language as tl


@triton.jit
def logarithm(x, ASM: tl.constexpr):
    """The natural logarithm."""
    if ASM:
        binary = tl.inline_asm_elementwise("lg2.approx.ftz.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1)
        return binary * 0.6931471805599453
    else:
        return tl.log(x)


@triton.jit
def asinh(x, ASM: tl.constexpr):
    """The inverse hyperbolic sine. Near zero, its absolute error is that of a logarithm near one, below 4e-7."""
    size = tl.abs(x)
    y = logarithm(size + tl.sqrt(size * size + 1.0), ASM)
    return tl.where(x < 0, -y, y)


@triton.jit
def tanh(x, ASM: tl.constexpr):
    """The hyperbolic tangent. The instruction is off by up to 5e-4, which bfloat16 hides."""
    if ASM:
        return tl.inline_asm_elementwise("tanh.approx.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1)
    else:
        return 1 - 2 / (1 + tl.exp(2 * x))


@triton.jit
def gelu(x, ASM: tl.constexpr):
    """The GELU by its approximation, `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`."""
    half = 0.5 * x
    return half + half * tanh(x * (0.7978845608028654 + 0.03567740813636141 * x * x), ASM)


@triton.jit
def silu(x, ASM: tl.constexpr):
    """The SiLU, `x / (1 + exp(-x))`."""
    half = 0.5 * x
    return half + half * tanh(half, ASM)
