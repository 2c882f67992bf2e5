// Layer normalisation without its scale and shift, which are folded into the next layer. Part of loops.cpp.

// The mean and the variance of a row.
struct Moments {
    float mean, variance;
};

template <class T> inline Moments moments(const T *x, size_t n) {
    V total = {};
    for (size_t i = 0; i < n; i += LANES) total += load(x + i, n - i);
    const float mean = sum(total) / n;
    V squares = {};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        V d = load(x + i) - mean;
        squares += d * d;
    }
    float rest = 0;
    if (i < n) {
        V d = load(x + i, n - i) - mean;
        for (size_t lane = 0; lane < n - i; lane++) rest += d[lane] * d[lane];
    }
    return {mean, (sum(squares) + rest) / n};
}

#if defined(__AVX512BF16__)
// The variance as the mean square minus the squared mean. The subtraction loses fewer digits in float32 than rounding to
// bfloat16 has lost already.
template <> inline Moments moments(const bf16 *x, size_t n) {
    const V ones = (V)_mm512_set1_epi32(0x3f803f80);
    V total = {}, squares = {};
    for (size_t i = 0; i < n; i += 2 * LANES) {
        const V pairs = Step<bf16>::lanes(x + i, n - i);
        total = Step<bf16>::add(total, pairs, ones);
        squares = Step<bf16>::add(squares, pairs, pairs);
    }
    const float mean = sum(total) / n, variance = sum(squares) / n - mean * mean;
    return {mean, variance > 0 ? variance : 0};
}
#endif

// Shifts and scales each row to mean 0 and variance 1; epsilon 1e-6.
template <class T> void normalise(const T *x, T *y, size_t rows, size_t width) {
    typedef Step<T> S;
    for (; rows > 0; rows--, x += width, y += width) {
        const Moments m = moments(x, width);
        const float scale = 1.0f / __builtin_sqrtf(m.variance + 1e-6f);
        auto normal = [&](V x) { return (x - m.mean) * scale; };
        for (size_t i = 0; i < width; i += LANES * S::INPUTS) {
            V lanes = S::lanes(x + i, width - i);
            S::write(y + i, S::together(normal(S::first(lanes)), normal(S::second(lanes))), width - i);
        }
    }
}
