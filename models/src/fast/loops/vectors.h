// Vectors as wide as the processor's, by the vector extension of GCC and Clang, and how they are loaded and stored. Part of
// loops.cpp.

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX2__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

typedef float V __attribute__((vector_size(4 * LANES)));
typedef uint32_t U __attribute__((vector_size(4 * LANES)));
typedef uint16_t H __attribute__((vector_size(2 * LANES)));
typedef uint16_t bf16;

inline V all(float x) { return x - V{}; }
inline U bits(V x) { return (U)x; }

// a < b ? a : b and a > b ? a : b, which GCC compiles to two instructions each although the processor has one. (The masked
// forms with a full mask, because GCC 12 warns about the plain ones.)
#if defined(__AVX512F__)
inline V least(V a, V b) { return (V)_mm512_maskz_min_ps(0xffff, (__m512)a, (__m512)b); }
inline V most(V a, V b) { return (V)_mm512_maskz_max_ps(0xffff, (__m512)a, (__m512)b); }
#elif defined(__AVX2__)
inline V least(V a, V b) { return (V)_mm256_min_ps((__m256)a, (__m256)b); }
inline V most(V a, V b) { return (V)_mm256_max_ps((__m256)a, (__m256)b); }
#else
inline V least(V a, V b) { return a < b ? a : b; }
inline V most(V a, V b) { return a > b ? a : b; }
#endif
inline size_t at_most(size_t a, size_t b) { return a < b ? a : b; }
inline size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

// Memory holds float32 or bfloat16. Arithmetic is always float32.
inline V widen(V x) { return x; }
inline V widen(H x) { return (V)(__builtin_convertvector(x, U) << 16); }

// Rounds to the nearest bfloat16, ties to even.
inline H narrow(V x) {
#if defined(__AVX512BF16__)
    return (H)_mm512_cvtneps_pbh((__m512)x);
#endif
    U rounded = (bits(x) + 0x7fff + ((bits(x) >> 16) & 1)) >> 16;
    U nan = (bits(x) >> 16) | 0x40;
    return __builtin_convertvector(x == x ? rounded : nan, H);
}

inline V load(const float *p) {
    V x;
    memcpy(&x, p, sizeof x);
    return x;
}

inline V load(const bf16 *p) {
    H x;
    memcpy(&x, p, sizeof x);
    return widen(x);
}

inline void store(float *p, V x) { memcpy(p, &x, sizeof x); }

inline void store(bf16 *p, V x) {
    H y = narrow(x);
    memcpy(p, &y, sizeof y);
}

// Loads and stores of the first n lanes. The other lanes are loaded as zero and not written.
#if defined(__AVX512F__)
inline uint32_t first_lanes(size_t n) { return n >= LANES ? 0xffff : (1u << n) - 1; }
inline V load(const float *p, size_t n) { return (V)_mm512_maskz_loadu_ps(first_lanes(n), p); }
inline V load(const bf16 *p, size_t n) { return widen((H)_mm256_maskz_loadu_epi16(first_lanes(n), p)); }
inline void store(float *p, V x, size_t n) { _mm512_mask_storeu_ps(p, first_lanes(n), (__m512)x); }
inline void store(bf16 *p, V x, size_t n) { _mm256_mask_storeu_epi16(p, first_lanes(n), (__m256i)narrow(x)); }
#else
template <class T> inline V load(const T *p, size_t n) {
    if (n >= LANES) return load(p);
    T lanes[LANES] = {};
    memcpy(lanes, p, n * sizeof(T));
    return load(lanes);
}

template <class T> inline void store(T *p, V x, size_t n) {
    if (n >= LANES) return store(p, x);
    T lanes[LANES];
    store(lanes, x);
    memcpy(p, lanes, n * sizeof(T));
}
#endif

// Adds one half to the other, again and again: few additions have to wait for the one before.
#if defined(__AVX512F__)
inline float sum(V x) {
    x += (V)_mm512_maskz_shuffle_f32x4(0xffff, (__m512)x, (__m512)x, 0b01001110);
    x += (V)_mm512_maskz_shuffle_f32x4(0xffff, (__m512)x, (__m512)x, 0b10110001);
    x += (V)_mm512_maskz_permute_ps(0xffff, (__m512)x, 0b01001110);
    x += (V)_mm512_maskz_permute_ps(0xffff, (__m512)x, 0b10110001);
    return x[0];
}
#else
template <int N> inline float sum(const float *x) {
    if constexpr (N == 1) return *x;
    float halves[(N + 1) / 2];
    for (int i = 0; i < N / 2; i++) halves[i] = x[i] + x[N / 2 + i];
    return sum<(N + 1) / 2>(halves);
}

inline float sum(V x) {
    float lanes[LANES];
    store(lanes, x);
    return sum<LANES>(lanes);
}
#endif
