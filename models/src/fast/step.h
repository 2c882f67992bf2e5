// Products and sums of vectors, of one number at a time or of two. A part of loops.cpp.

// What a sum takes in one step, of numbers that are kept as T: the product of two, which are widened first, or where the
// processor multiplies pairs of bfloat16, two of those. A step's inputs are four bytes: a lane.
template <class T> struct Step {
    typedef float Number;
    static constexpr size_t INPUTS = 1;
    static V add(V sum, const void *x, V w) { return sum + *static_cast<const float *>(x) * w; }
    // Of n numbers, zeros beyond them.
    static V lanes(const T *x, size_t n) { return load(x, n); }
    // Of what is one after the other in each lane.
    static V together(V first, V) { return first; }
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
    static V lanes(const bf16 *x, size_t n) {
        V pairs = {};
        if (n >= 2 * LANES) memcpy(&pairs, x, sizeof pairs);
        else memcpy(&pairs, x, n * sizeof *x);
        return pairs;
    }
    static V together(V first, V second) {
        U low = __builtin_convertvector(narrow(first), U), high = __builtin_convertvector(narrow(second), U);
        return (V)(low | high << 16);
    }
};
#endif

// A step's weights for LANES outputs.
template <class N> inline V column(const N *p) {
    V w;
    memcpy(&w, p, sizeof w);
    return w;
}
