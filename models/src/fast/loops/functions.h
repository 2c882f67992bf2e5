// Exponential, logarithm, GELU and SiLU of vectors. Part of loops.cpp.

// Added to a number, this leaves the nearest integer in the last bits.
constexpr float ROUND = 12582912.0f;

// e^x with a relative error of 1e-7 if multiply-adds are fused, 4e-6 otherwise; 1e-38 below -87, 2e38 above 88. The
// polynomial is that of expf in Cephes (S. Moshier).
inline V exponential(V x) {
    // The bound is the first argument, because these functions return the second argument if one is NaN.
    x = least(all(88.0f), most(all(-87.0f), x));
    V shifted = x * 1.44269504f + ROUND;
    V r = x - (shifted - ROUND) * 0.693147181f;
    V p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    // Multiply by 2^n: add n to the exponent.
    return (V)(bits(p) + (bits(shifted) << 23));
}

// GELU: x times the integral of the normal distribution up to x. Its difference from max(x, 0) is |x| / P(|x|)^16, with
// P(0)^16 = 2 and the other coefficients of P fitted for the least error on [0, 6.5], 5e-8. The power magnifies rounding, so
// the error in float32 is 4e-7.
__attribute__((always_inline)) inline V gaussian(V x) {
    // Beyond 16 the difference is zero in float32. The bound also keeps infinity from being divided by infinity.
    V a = least((V)(bits(x) & 0x7fffffff), all(16.0f));
    V p = a * 8.530301288e-7f - 2.165116932e-6f;
    p = p * a + 7.809681656e-5f;
    p = p * a - 5.377572057e-6f;
    p = p * a + 3.459994789e-3f;
    p = p * a + 2.206290935e-2f;
    p = p * a + 5.207699048e-2f;
    p = p * a + 1.044273782f;
    p *= p;
    p *= p;
    p *= p;
    p *= p;
    return most(V{}, x) - a / p;
}

// The functions for numbers of type T in memory.
template <class T> struct Of {
    static V exponential(V x) { return ::exponential(x); }
    static V reciprocal(V x) { return 1.0f / x; }
    static V silu(V x) { return x / (1.0f + exponential(-x)); }
    static V gelu(V x) { return gaussian(x); }
};

#if defined(__AVX512BF16__)
// bfloat16 has eight bits, so functions of 13 bits suffice here. They take half the time.
template <> struct Of<bf16> {
    // 2^floor(x) times a cubic polynomial of x - floor(x), fitted for the least relative error, 8e-5.
    static V power_of_two(V x) {
        V r = (V)_mm512_maskz_reduce_ps(0xffff, (__m512)x, _MM_FROUND_TO_NEG_INF);
        V p = r * 7.802440756e-2f + 2.260673133e-1f;
        p = p * r + 6.958334826e-1f;
        p = p * r + 9.999252235e-1f;
        return (V)_mm512_maskz_scalef_ps(0xffff, (__m512)p, (__m512)x);
    }
    static V exponential(V x) { return power_of_two(x * 1.442695041f); }
    static V reciprocal(V x) { return (V)_mm512_maskz_rcp14_ps(0xffff, (__m512)x); }
    static V silu(V x) { return x * reciprocal(1.0f + exponential(-x)); }
    // The integral is 1/2 plus an odd polynomial up to 4.15, and 0 or 1 beyond. The polynomial is fitted for the least error
    // of the product with x, 8e-5.
    __attribute__((always_inline)) static V gelu(V x) {
        V above = most(all(-4.15f), x), a = least(all(4.15f), above), square = a * a;
        V p = square * -9.398714236e-10f + 8.190879817e-8f;
        p = p * square - 3.103655190e-6f;
        p = p * square + 6.778071322e-5f;
        p = p * square - 9.572180856e-4f;
        p = p * square + 9.323791743e-3f;
        p = p * square - 6.557473415e-2f;
        p = p * square + 3.984939832e-1f;
        return above * (p * a + 0.5f);
    }
};
#endif

// The natural logarithm of numbers from 1 on, with a relative error of 1e-7: logf of Cephes.
inline V logarithm(V x) {
    // A mantissa between the roots of 1/2 and 2, and its exponent.
    U shift = bits(x) - 0x3f3504f3;
    V exponent = __builtin_convertvector((U)(shift >> 23), V);
    V m = (V)((shift & 0x7fffff) + 0x3f3504f3) - 1.0f;
    V z = m * m;
    V p = m * 7.0376836292e-2f - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    V y = p * m * z - exponent * 2.12194440e-4f - z * 0.5f;
    return m + y + exponent * 0.693359375f;
}

V root(V x) {
    for (int i = 0; i < LANES; i++) x[i] = __builtin_sqrtf(x[i]);
    return x;
}
