// Multiply-add of vectors, of one number or a pair of numbers a lane. Part of loops.cpp.

// One step of a sum, for numbers of type T in memory. A step multiplies one number of float32 (bfloat16 is widened first), or
// a pair of bfloat16 if the processor multiplies pairs. The inputs of a step are four bytes, one lane.
template <class T> struct Step {
    typedef float Number;
    static constexpr size_t INPUTS = 1;
    static V add(V sum, const void *x, V w) { return sum + *static_cast<const float *>(x) * w; }
    static V add(V sum, V x, V w) { return sum + x * w; }
    // Loads n numbers into lanes, with zeros beyond them; stores n numbers.
    template <class M> static V lanes(const M *x, size_t n) { return load(x, n); }
    template <class M> static void write(M *x, V lanes, size_t n) { store(x, lanes, n); }
    // Packs two vectors into one, two numbers a lane, and unpacks them again.
    static V together(V first, V) { return first; }
    static V first(V x) { return x; }
    static V second(V) { return V{}; }
};

#if defined(__AVX512BF16__)
template <> struct Step<bf16> {
    typedef bf16 Number;
    static constexpr size_t INPUTS = 2;
    static V add(V sum, const void *x, V w) {
        int pair;
        memcpy(&pair, x, sizeof pair);
        return (V)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(pair), (__m512bh)w);
    }
    static V add(V sum, V pairs, V w) {
        return (V)_mm512_dpbf16_ps((__m512)sum, (__m512bh)pairs, (__m512bh)w);
    }
    static V lanes(const bf16 *x, size_t n) {
        V pairs = {};
        if (n >= 2 * LANES) memcpy(&pairs, x, sizeof pairs);
        else memcpy(&pairs, x, n * sizeof *x);
        return pairs;
    }
    static void write(bf16 *x, V pairs, size_t n) {
        if (n >= 2 * LANES) memcpy(x, &pairs, sizeof pairs);
        else memcpy(x, &pairs, n * sizeof *x);
    }
    static V together(V first, V second) {
        const U lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, turns = lanes | (lanes + 16) << 16;
        const __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
        return (V)_mm512_permutexvar_epi16((__m512i)turns, both);
    }
    static V first(V pairs) { return (V)(bits(pairs) << 16); }
    static V second(V pairs) { return (V)(bits(pairs) & 0xffff0000); }
};
#endif

// Loads the weights of one step for LANES outputs.
template <class N> inline V column(const N *p) {
    V w;
    memcpy(&w, p, sizeof w);
    return w;
}
