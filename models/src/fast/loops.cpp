// The loops that libtorch has no good kernel for at these sizes. Vectors are the compiler's own (GCC and Clang have
// them), as wide as the processor's; this file is compiled once for each kind of processor, and the table at its end
// is named for it.
//
// All that is here must be in the unnamed namespace, and nothing of the C++ library may be used: a template that is
// shared between the kinds could end up with instructions that the processor at hand does not have.
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// The same in loops.rs.
struct HubbleflowShape {
    size_t tokens, batch, heads, depth;
};

struct HubbleflowPcm {
    size_t grid, kernel, groups, inputs, hidden;
    const float *widen, *widen_bias, *narrow, *narrow_bias;
};

struct HubbleflowConv {
    size_t side, kernel, inputs, outputs;
    const float *weight, *bias;
};

// Weights [panel, in, panel's outputs], a panel's outputs being three vectors, the last one's as many as there are; zeros
// for outputs that there are not.
struct HubbleflowLinear {
    size_t inputs, outputs;
    const float *weight, *bias;
};

enum HubbleflowThen : size_t { HUBBLEFLOW_NOTHING, HUBBLEFLOW_RELU, HUBBLEFLOW_GELU };

struct HubbleflowLoops {
    size_t lanes;
    void (*asinh)(const float *, void *, size_t, float, float);
    void (*normalise)(const void *, void *, size_t, size_t);
    void (*attend)(const void *, void *, const HubbleflowShape *, float *);
    void (*add_pcm)(void *, size_t, const HubbleflowPcm *, float *);
    void (*convolve)(const void *, size_t, void *, size_t, size_t, const HubbleflowConv *, float *);
    void (*maximum_3x3)(const void *, void *, size_t, size_t, size_t);
    void (*mean_2x2)(const void *, void *, size_t, size_t, size_t);
    // Null for bfloat16.
    void (*linear)(const HubbleflowLinear *, const float *, size_t, const float *, float *, size_t);
};

namespace {

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
inline V least(V a, V b) { return a < b ? a : b; }
inline V most(V a, V b) { return a > b ? a : b; }
inline size_t at_most(size_t a, size_t b) { return a < b ? a : b; }

// Memory holds float32 or bfloat16; arithmetic is float32 always.
inline V widen(V x) { return x; }
inline V widen(H x) { return (V)(__builtin_convertvector(x, U) << 16); }

// To the nearest, ties to even.
inline H narrow(V x) {
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

// The first n lanes; the others are zero, and are not written.
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

inline float sum(V x) {
    float total = 0;
    for (int i = 0; i < LANES; i++) total += x[i];
    return total;
}

// Added to a number, it leaves the nearest integer in the last bits.
constexpr float ROUND = 12582912.0f;

// e^x to 2e-7 of it, 1e-38 below -87, 2e38 above 88: the polynomial of Cephes' expf (S. Moshier).
inline V exponential(V x) {
    x = least(most(x, all(-87.0f)), all(88.0f));
    V shifted = x * 1.44269504f + ROUND;
    V n = shifted - ROUND;
    V r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    V p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 0.5f;
    p = p * (r * r) + r + 1.0f;
    // Times 2^n: the exponent is raised by n.
    return (V)(bits(p) + (bits(shifted) << 23));
}

// The natural logarithm of 1 or more, to 1e-7 of it: Cephes' logf.
inline V logarithm(V x) {
    // A mantissa between the root of a half and the root of two, and the exponent that goes with it.
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

// asinh(x slope) factor, of n numbers.
template <class T> void inverse_sinh(const float *x, T *y, size_t n, float slope, float factor) {
    for (size_t i = 0; i < n; i += LANES) {
        V s = load(x + i, n - i) * slope;
        V a = s < 0.0f ? -s : s;
        // log1p of what |s| + sqrt(s^2 + 1) has above one, with what is lost when the one is added.
        V u = a + a * a / (1.0f + root(a * a + 1.0f));
        V w = 1.0f + u;
        V l = logarithm(w) + (u - (w - 1.0f)) / w;
        store(y + i, (s < 0.0f ? -l : l) * factor, n - i);
    }
}

#include "linear.h"

// Mean 0 and variance 1 (and epsilon 1e-6) of each row.
template <class T> void normalise(const T *x, T *y, size_t rows, size_t width) {
    for (; rows > 0; rows--, x += width, y += width) {
        V total = {};
        for (size_t i = 0; i < width; i += LANES) total += load(x + i, width - i);
        float mean = sum(total) / width;
        V squares = {};
        size_t i = 0;
        for (; i + LANES <= width; i += LANES) {
            V d = load(x + i) - mean;
            squares += d * d;
        }
        float rest = 0;
        if (i < width) {
            V d = load(x + i, width - i) - mean;
            for (size_t lane = 0; lane < width - i; lane++) rest += d[lane] * d[lane];
        }
        float scale = 1.0f / __builtin_sqrtf((sum(squares) + rest) / width + 1e-6f);
        for (i = 0; i < width; i += LANES) store(y + i, (load(x + i, width - i) - mean) * scale, width - i);
    }
}

// Rows that are multiplied together, so that what is loaded is used as often.
constexpr size_t ROWS = 6;

// c = a b, for ROWS rows and N vectors of columns.
template <int N> inline void product(const float *a, size_t a_row, const float *b, size_t b_row, float *c, size_t c_row,
                                     size_t inner) {
    V sums[ROWS][N] = {};
    for (size_t k = 0; k < inner; k++) {
        V columns[N];
        for (int n = 0; n < N; n++) columns[n] = load(b + k * b_row + n * LANES);
        for (size_t row = 0; row < ROWS; row++)
            for (int n = 0; n < N; n++) sums[row][n] += a[row * a_row + k] * columns[n];
    }
    for (size_t row = 0; row < ROWS; row++)
        for (int n = 0; n < N; n++) store(c + row * c_row + n * LANES, sums[row][n]);
}

// c = a b; rows are a multiple of ROWS, columns of LANES.
void multiply(const float *a, size_t a_row, const float *b, size_t b_row, float *c, size_t c_row, size_t rows,
              size_t inner, size_t columns) {
    for (size_t row = 0; row < rows; row += ROWS) {
        const float *from = a + row * a_row;
        float *to = c + row * c_row;
        size_t column = 0;
        for (; column + 2 * LANES <= columns; column += 2 * LANES)
            product<2>(from, a_row, b + column, b_row, to + column, c_row, inner);
        if (column < columns) product<1>(from, a_row, b + column, b_row, to + column, c_row, inner);
    }
}

inline size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

// Rows of scores to weights that add up to one; lanes beyond the columns become zero.
inline void softmax(float *row, size_t columns, size_t stride) {
    for (size_t i = columns; i < stride; i++) row[i] = -__builtin_inff();
    V highest = load(row);
    for (size_t i = LANES; i < stride; i += LANES) highest = most(highest, load(row + i));
    float peak = highest[0];
    for (int lane = 1; lane < LANES; lane++) peak = highest[lane] > peak ? highest[lane] : peak;
    V total = {};
    for (size_t i = 0; i < stride; i += LANES) {
        V e = exponential(load(row + i) - peak);
        store(row + i, e);
        total += e;
    }
    float scale = 1.0f / sum(total);
    for (size_t i = 0; i < stride; i += LANES) store(row + i, load(row + i) * scale);
}

// softmax(q k^T) v for each galaxy and head: qkv [token, batch, 3 * heads * depth], the queries scaled already;
// mixed [token, batch, heads * depth]. Scratch: see `attend` in loops.rs.
template <class T> void attend(const T *qkv, T *mixed, size_t tokens, size_t batch, size_t heads, size_t depth,
                               float *scratch) {
    const size_t width = heads * depth, rows = round_up(tokens, ROWS), across = round_up(tokens, LANES);
    const size_t padded = round_up(depth, LANES);
    float *q = scratch, *k = q + rows * padded, *v = k + depth * across, *scores = v + tokens * padded;
    float *out = scores + rows * across;
    for (size_t galaxy = 0; galaxy < batch; galaxy++)
        for (size_t head = 0; head < width; head += depth) {
            for (size_t token = 0; token < tokens; token++) {
                const T *row = qkv + (token * batch + galaxy) * 3 * width + head;
                for (size_t i = 0; i < depth; i += LANES) {
                    store(q + token * padded + i, load(row + i, depth - i));
                    store(v + token * padded + i, load(row + 2 * width + i, depth - i));
                    V keys = load(row + width + i, depth - i);
                    for (size_t lane = 0; lane < at_most(LANES, depth - i); lane++)
                        k[(i + lane) * across + token] = keys[lane];
                }
            }
            multiply(q, padded, k, across, scores, across, rows, depth, across);
            for (size_t token = 0; token < tokens; token++) softmax(scores + token * across, tokens, across);
            multiply(scores, across, v, padded, out, padded, rows, tokens, padded);
            for (size_t token = 0; token < tokens; token++) {
                T *row = mixed + (token * batch + galaxy) * width + head;
                for (size_t i = 0; i < depth; i += LANES)
                    store(row + i, load(out + token * padded + i), depth - i);
            }
        }
}

inline V silu(V x) { return x / (1.0f + exponential(-x)); }

// One convolution of LANES groups on the grid: P places of a row, O outputs.
// x [y, margin + x + margin, in], y the same with outputs, weight [out, y, x, in].
template <int P, int O, bool SILU>
inline void places(const float *weight, const float *bias, const float *x, float *y, size_t row,
                   size_t column, size_t out, size_t grid, size_t kernel, size_t inputs, size_t outputs) {
    const size_t margin = kernel / 2, columns = grid + 2 * margin, taps = kernel * inputs;
    V sums[P][O];
    for (int p = 0; p < P; p++)
        for (int o = 0; o < O; o++) sums[p][o] = load(bias + (out + o) * LANES);
    const size_t first = row < margin ? margin - row : 0, last = at_most(kernel, grid + margin - row);
    for (size_t tap = first; tap < last; tap++) {
        const float *from = x + ((row + tap - margin) * columns + column) * inputs * LANES;
        const float *w = weight + (out * kernel + tap) * taps * LANES;
        for (size_t i = 0; i < taps; i++)
            for (int p = 0; p < P; p++) {
                V pixel = load(from + (p * inputs + i) * LANES);
                for (int o = 0; o < O; o++) sums[p][o] += load(w + (o * kernel * taps + i) * LANES) * pixel;
            }
    }
    for (int p = 0; p < P; p++)
        for (int o = 0; o < O; o++) {
            V sum = sums[p][o];
            store(y + ((row * columns + margin + column + p) * outputs + out + o) * LANES, SILU ? silu(sum) : sum);
        }
}

template <bool SILU>
void convolve_groups(const float *weight, const float *bias, const float *x, float *y, size_t grid,
              size_t kernel, size_t inputs, size_t outputs) {
    constexpr int P = 4, O = 2;
    for (size_t out = 0; out < outputs; out++) {
        const bool pair = out + O <= outputs;
        for (size_t row = 0; row < grid; row++)
            for (size_t column = 0; column < grid;) {
                const bool four = column + P <= grid;
                auto at = four ? (pair ? places<P, O, SILU> : places<P, 1, SILU>)
                               : (pair ? places<1, O, SILU> : places<1, 1, SILU>);
                at(weight, bias, x, y, row, column, out, grid, kernel, inputs, outputs);
                column += four ? P : 1;
            }
        out += pair ? O - 1 : 0;
    }
}

// The parallel convolution module, added to its input: x [patch, batch, channel], channel = in * groups + group.
// Weights [groups / LANES, out, y, x, in, LANES], biases [groups / LANES, out, LANES]. Scratch: zeros, see `add_pcm` in
// loops.rs.
template <class T>
void add_pcm(T *x, size_t batch, size_t grid, size_t kernel, size_t groups, size_t inputs, size_t hidden,
             const float *widen, const float *widen_bias, const float *narrow, const float *narrow_bias,
             float *scratch) {
    const size_t margin = kernel / 2, columns = grid + 2 * margin, width = groups * inputs;
    // Columns beside the grid stay zero; rows above and below it are left out.
    float *patches = scratch, *middle = patches + grid * columns * inputs * LANES;
    float *added = middle + grid * columns * hidden * LANES;
    // Few galaxies at a time, whose tokens stay in the cache while one group follows another.
    constexpr size_t TILE = 8;
    for (size_t tile = 0; tile < batch; tile += TILE)
        for (size_t at = 0; at < round_up(groups, LANES) * TILE; at += LANES) {
            const size_t group = at / (LANES * TILE) * LANES, galaxy = tile + at / LANES % TILE;
            if (galaxy >= batch) continue;
            auto each = [&](auto body) {
                for (size_t patch = 0; patch < grid * grid; patch++) {
                    size_t place = (patch / grid * columns + patch % grid + margin) * inputs;
                    for (size_t i = 0; i < inputs; i++)
                        body(x + (patch * batch + galaxy) * width + i * groups + group, (place + i) * LANES);
                }
            };
            const size_t n = groups - group;
            each([&](T *x, size_t place) { store(patches + place, load(x, n)); });
            const size_t weights = group * hidden * inputs * kernel * kernel;
            convolve_groups<true>(widen + weights, widen_bias + group * hidden, patches, middle, grid, kernel, inputs, hidden);
            convolve_groups<false>(narrow + weights, narrow_bias + group * inputs, middle, added, grid, kernel, hidden, inputs);
            each([&](T *x, size_t place) { store(x, load(patches + place) + load(added + place), n); });
        }
}

// P pixels of a row, O vectors of outputs: x are the rows of the kernel, `row` apart, weight [y, x, in, O * LANES].
template <int P, int O, class T>
inline void pixels(const float *x, size_t row, T *y, size_t y_row, size_t kernel, size_t inputs, size_t outputs,
                   const float *weight, const float *bias) {
    V sums[P][O];
    for (int p = 0; p < P; p++)
        for (int o = 0; o < O; o++) sums[p][o] = load(bias + o * LANES);
    for (size_t tap = 0; tap < kernel; tap++, x += row)
        for (size_t i = 0; i < kernel * inputs; i++, weight += O * LANES) {
            V columns[O];
            for (int o = 0; o < O; o++) columns[o] = load(weight + o * LANES);
            for (int p = 0; p < P; p++)
                for (int o = 0; o < O; o++) sums[p][o] += x[p * inputs + i] * columns[o];
        }
    for (int p = 0; p < P; p++)
        for (int o = 0; o < O; o++) store(y + p * y_row + o * LANES, most(sums[p][o], V{}), outputs - o * LANES);
}

// A convolution of few channels and a ReLU: [batch, y, x, in] to [batch, y, x, out], rows of pixels x_row and y_row
// apart, O vectors of outputs. Scratch: zeros, one cutout's channels with the kernel's margin.
template <int O, class T>
void convolve_few(const T *x, size_t x_row, T *y, size_t y_row, size_t batch, const HubbleflowConv *c, float *scratch) {
    constexpr int P = 4;
    const size_t side = c->side, inputs = c->inputs, margin = c->kernel / 2, row = (side + 2 * margin) * inputs;
    for (; batch > 0; batch--, x += side * side * x_row, y += side * side * y_row) {
        for (size_t v = 0; v < side; v++)
            for (size_t u = 0; u < side; u++) {
                const T *from = x + (v * side + u) * x_row;
                float *to = scratch + (v + margin) * row + (u + margin) * inputs;
                for (size_t i = 0; i < inputs; i += LANES) store(to + i, load(from + i, inputs - i), inputs - i);
            }
        for (size_t v = 0; v < side; v++)
            for (size_t u = 0; u < side;) {
                const bool four = u + P <= side;
                auto at = four ? pixels<P, O, T> : pixels<1, O, T>;
                at(scratch + v * row + u * inputs, row, y + (v * side + u) * y_row, y_row, c->kernel, inputs,
                   c->outputs, c->weight, c->bias);
                u += four ? P : 1;
            }
    }
}

template <class T>
void convolve(const T *x, size_t x_row, T *y, size_t y_row, size_t batch, const HubbleflowConv *c, float *scratch) {
    const size_t vectors = (c->outputs + LANES - 1) / LANES;
    if (vectors <= 1) return convolve_few<1>(x, x_row, y, y_row, batch, c, scratch);
    if (vectors <= 2) return convolve_few<2>(x, x_row, y, y_row, batch, c, scratch);
    convolve_few<4>(x, x_row, y, y_row, batch, c, scratch);
}

// The maximum over the nine pixels about each, as far as they are there: [batch, y, x, channel].
template <class T> void maximum_3x3(const T *x, T *y, size_t batch, size_t side, size_t channels) {
    const size_t row = side * channels;
    for (; batch > 0; batch--, x += side * row, y += side * row)
        for (size_t at_y = 0; at_y < side; at_y++)
            for (size_t at_x = 0; at_x < side; at_x++)
                for (size_t c = 0; c < channels; c += LANES) {
                    V highest = all(-__builtin_inff());
                    for (size_t v = at_y > 0 ? at_y - 1 : 0; v < at_most(at_y + 2, side); v++)
                        for (size_t u = at_x > 0 ? at_x - 1 : 0; u < at_most(at_x + 2, side); u++)
                            highest = most(highest, load(x + v * row + u * channels + c, channels - c));
                    store(y + at_y * row + at_x * channels + c, highest, channels - c);
                }
}

// The mean of each two by two pixels: [batch, y, x, channel].
template <class T> void mean_2x2(const T *x, T *y, size_t batch, size_t side, size_t channels) {
    const size_t row = side * channels;
    for (; batch > 0; batch--, x += side * row)
        for (size_t v = 0; v + 1 < side; v += 2)
            for (size_t u = 0; u + 1 < side; u += 2, y += channels)
                for (size_t c = 0; c < channels; c += LANES) {
                    const T *p = x + v * row + u * channels + c;
                    const size_t n = channels - c;
                    V above = load(p, n) + load(p + channels, n);
                    V below = load(p + row, n) + load(p + row + channels, n);
                    store(y + c, (above + below) * 0.25f, n);
                }
}

template <class T> struct Kind {
    static void asinh(const float *x, void *y, size_t n, float slope, float factor) {
        inverse_sinh(x, static_cast<T *>(y), n, slope, factor);
    }
    static void normalise(const void *x, void *y, size_t rows, size_t width) {
        ::normalise(static_cast<const T *>(x), static_cast<T *>(y), rows, width);
    }
    static void attend(const void *qkv, void *mixed, const HubbleflowShape *s, float *scratch) {
        ::attend(static_cast<const T *>(qkv), static_cast<T *>(mixed), s->tokens, s->batch, s->heads, s->depth,
                 scratch);
    }
    static void add_pcm(void *x, size_t batch, const HubbleflowPcm *p, float *scratch) {
        ::add_pcm(static_cast<T *>(x), batch, p->grid, p->kernel, p->groups, p->inputs, p->hidden, p->widen,
                  p->widen_bias, p->narrow, p->narrow_bias, scratch);
    }
    static void convolve(const void *x, size_t x_row, void *y, size_t y_row, size_t batch, const HubbleflowConv *c,
                         float *scratch) {
        ::convolve(static_cast<const T *>(x), x_row, static_cast<T *>(y), y_row, batch, c, scratch);
    }
    static void maximum_3x3(const void *x, void *y, size_t batch, size_t side, size_t channels) {
        ::maximum_3x3(static_cast<const T *>(x), static_cast<T *>(y), batch, side, channels);
    }
    static void mean_2x2(const void *x, void *y, size_t batch, size_t side, size_t channels) {
        ::mean_2x2(static_cast<const T *>(x), static_cast<T *>(y), batch, side, channels);
    }
};

} // namespace

#define LOOPS_OF(T, LINEAR)                                                                            \
    {LANES,           Kind<T>::asinh,    Kind<T>::normalise,   Kind<T>::attend,                        \
     Kind<T>::add_pcm, Kind<T>::convolve, Kind<T>::maximum_3x3, Kind<T>::mean_2x2, LINEAR}

// Of float32 and of bfloat16.
extern "C" {
extern const HubbleflowLoops HUBBLEFLOW_LOOPS[2];
const HubbleflowLoops HUBBLEFLOW_LOOPS[2] = {LOOPS_OF(float, linear), LOOPS_OF(bf16, nullptr)};
}
