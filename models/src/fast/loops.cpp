// The loops that libtorch has no good kernel for at these sizes: here for 17 tokens and few channels, in linear.h for small
// matrices. This file is compiled once for each kind of processor, and the table at its end is named for it.
//
// All that is here must be in the unnamed namespace, and nothing of the C++ library may be used: a template that is
// shared between the kinds could end up with instructions that the processor at hand does not have.
#if defined(__AVX2__)
#include <immintrin.h>
#endif
#include <stddef.h>
#include <stdint.h>
#include <string.h>

// The same in loops.rs.
struct HubbleflowShape {
    size_t tokens, batch, heads, depth;
};

struct HubbleflowPcm {
    size_t grid, kernel, groups, inputs, hidden, step;
    const float *widen, *widen_bias, *narrow, *narrow_bias;
};

struct HubbleflowConv {
    size_t side, kernel, channels;
    const void *weight;
    const float *bias;
};

// Weights [panel, step, panel's outputs, inputs of a step], a panel's outputs being `panel` vectors, the last one's as many
// as there are; zeros for outputs that there are not, and for steps up to whole multiples of `together`.
struct HubbleflowLinear {
    size_t inputs, outputs;
    const void *weight;
    const float *bias;
};

enum HubbleflowThen : size_t { HUBBLEFLOW_NOTHING, HUBBLEFLOW_RELU, HUBBLEFLOW_GELU };

struct HubbleflowLoops {
    size_t lanes;
    void (*asinh)(const float *, void *, size_t, float, float);
    void (*normalise)(const void *, void *, size_t, size_t);
    void (*attend)(const void *, void *, const HubbleflowShape *, float *);
    void (*add_pcm)(void *, size_t, const HubbleflowPcm *, float *);
    void (*convolve)(void *, size_t, size_t, const HubbleflowConv *, void *);
    void (*maximum_3x3)(const void *, void *, size_t, size_t, size_t);
    void (*mean_2x2)(const void *, void *, size_t, size_t, size_t);
    void (*patches)(const void *, void *, size_t, size_t, size_t, size_t);
    void (*pool)(const void *, void *, size_t, size_t, size_t);
    // Inputs that are multiplied in one step; two are bfloat16, one is float32.
    size_t step;
    // Steps that an instruction takes together: weights are padded to whole multiples.
    size_t together;
    // Vectors of outputs in a panel of weights.
    size_t panel;
    // For as many inputs as are whole steps; null where T is not what is multiplied.
    void (*linear)(const HubbleflowLinear *, const void *, size_t, const void *, void *, size_t, size_t);
};

namespace {

#include "vectors.h"
// What follows needs them.
#include "functions.h"
#include "step.h"
// And this needs those.
#include "linear.h"

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

// Of n numbers.
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
// The mean of the squares less the mean's square: what float32 loses in that is less than what bfloat16 lost of x.
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

// Mean 0 and variance 1 (and epsilon 1e-6) of each row.
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

// Rows that are multiplied together, so that what is loaded is used as often.
constexpr size_t ROWS = 6;

// c = a b, for ROWS rows and N vectors of columns; a step of a is `a_row` from that below and `a_step` from that beside.
template <int N, class T> inline void product(const float *a, size_t a_row, size_t a_step, const float *b, size_t b_row,
                                              float *c, size_t c_row, size_t steps) {
    V sums[ROWS][N];
    for (size_t row = 0; row < ROWS; row++)
        for (int n = 0; n < N; n++) sums[row][n] = V{};
#pragma GCC unroll 2
    for (size_t k = 0; k < steps; k++) {
        V columns[N];
        for (int n = 0; n < N; n++) columns[n] = load(b + k * b_row + n * LANES);
        for (size_t row = 0; row < ROWS; row++)
            for (int n = 0; n < N; n++) sums[row][n] = Step<T>::add(sums[row][n], a + row * a_row + k * a_step, columns[n]);
    }
    for (size_t row = 0; row < ROWS; row++)
        for (int n = 0; n < N; n++) store(c + row * c_row + n * LANES, sums[row][n]);
}

// c = a b; rows are a multiple of ROWS, columns of LANES.
template <class T> void multiply(const float *a, size_t a_row, size_t a_step, const float *b, size_t b_row, float *c,
                                 size_t c_row, size_t rows, size_t steps, size_t columns) {
    for (size_t row = 0; row < rows; row += ROWS) {
        const float *from = a + row * a_row;
        float *to = c + row * c_row;
        size_t column = 0;
        for (; column + 2 * LANES <= columns; column += 2 * LANES)
            product<2, T>(from, a_row, a_step, b + column, b_row, to + column, c_row, steps);
        if (column < columns) product<1, T>(from, a_row, a_step, b + column, b_row, to + column, c_row, steps);
    }
}

// Columns of scores to weights that add up to one, in steps.
template <class T> inline void softmax(float *scores, float *weights, size_t rows, size_t columns) {
    constexpr size_t STEP = Step<T>::INPUTS;
    for (size_t column = 0; column < columns; column += LANES) {
        float *first = scores + column, *end = first + rows * columns;
        V highest = load(first), total = {};
        for (float *row = first; row < end; row += columns) highest = most(highest, load(row));
        for (float *row = first; row < end; row += columns) {
            V e = Of<T>::exponential(load(row) - highest);
            store(row, e);
            total += e;
        }
        V scale = Of<T>::reciprocal(total);
        for (size_t row = 0; row < rows; row += STEP) {
            const float *x = first + row * columns;
            V next = row + 1 < rows ? load(x + columns) : V{};
            store(weights + row / STEP * columns + column, Step<T>::together(load(x) * scale, next * scale));
        }
    }
}

// Fetches n numbers that will be read, or written.
template <int WRITE, class T> inline void prefetch(const T *x, size_t n) {
#pragma GCC unroll 4
    for (size_t i = 0; i < n; i += 64 / sizeof(T)) __builtin_prefetch(x + i, WRITE);
}

// softmax(q k^T) v for each galaxy and head: qkv [token, batch, 3 * heads * depth], the queries scaled already;
// mixed [token, batch, heads * depth]. Scores are [key, query], so that a softmax crosses no lanes.
// Scratch: zeros, see `attend` in loops.rs.
template <class T> void attend(const T *qkv, T *mixed, size_t tokens, size_t batch, size_t heads, size_t depth,
                               float *scratch) {
    constexpr size_t STEP = Step<T>::INPUTS;
    const size_t width = heads * depth, rows = round_up(tokens, ROWS), across = round_up(tokens, LANES);
    const size_t padded = round_up(depth, LANES * STEP), steps = padded / STEP;
    float *q = scratch, *k = q + steps * across, *v = k + rows * steps, *scores = v + rows * padded;
    float *weights = scores + rows * across, *out = weights + rows * across;
    for (size_t galaxy = 0; galaxy < batch; galaxy++)
        for (size_t head = 0; head < width; head += depth) {
            for (size_t token = 0; token < tokens; token++) {
                const T *row = qkv + (token * batch + galaxy) * 3 * width + head;
                // The tokens of one galaxy are far apart: the next one's are fetched meanwhile.
                for (size_t part = 3; part < 6; part++) prefetch<0>(row + part * width, depth);
                prefetch<1>(mixed + (token * batch + galaxy) * width + head, depth);
                for (size_t i = 0; i < steps; i += LANES) {
                    V queries = Step<T>::lanes(row + i * STEP, depth - i * STEP);
                    for (int lane = 0; lane < LANES; lane++) q[(i + lane) * across + token] = queries[lane];
                    store(k + token * steps + i, Step<T>::lanes(row + width + i * STEP, depth - i * STEP));
                }
                if (token % STEP > 0) continue;
                const T *next = row + 3 * width * batch;
                for (size_t i = 0; i < depth; i += LANES) {
                    V beside = token + 1 < tokens ? load(next + 2 * width + i, depth - i) : V{};
                    V values = Step<T>::together(load(row + 2 * width + i, depth - i), beside);
                    store(v + token / STEP * padded + i, values);
                }
            }
            multiply<T>(k, steps, 1, q, across, scores, across, rows, steps, across);
            softmax<T>(scores, weights, tokens, across);
            multiply<T>(weights, 1, across, v, padded, out, padded, rows, (tokens + STEP - 1) / STEP,
                        round_up(depth, LANES));
            for (size_t token = 0; token < tokens; token++) {
                T *row = mixed + (token * batch + galaxy) * width + head;
                for (size_t i = 0; i < depth; i += LANES)
                    store(row + i, load(out + token * padded + i), depth - i);
            }
        }
}

// A convolution of LANES groups on the grid: x [y, margin + x + margin, step], weight [out, y, x, step], each a vector.
struct Grouped {
    size_t grid, kernel, steps, outputs;
    const float *weight, *bias;

    size_t columns() const { return grid + kernel / 2 * 2; }
    // Where in x a place of the grid is.
    size_t at(size_t row, size_t column) const { return (row * columns() + kernel / 2 + column) * steps * LANES; }
};

// O outputs, from `out` on, at P places of a row: then(row, column, step, the sums of its outputs), S::INPUTS being a step.
template <int P, int O, class S, class Then>
inline void outputs_at(const Grouped &c, const float *x, size_t row, size_t column, size_t out, Then then) {
    const size_t margin = c.kernel / 2, taps = c.kernel * c.steps, each = c.kernel * taps * LANES;
    // Rows of the kernel that are on the grid, and the first of them.
    const size_t first = row < margin ? margin - row : 0, last = at_most(c.kernel, c.grid + margin - row);
    x += ((row + first - margin) * c.columns() + column) * c.steps * LANES;
    V sums[P][O];
    for (int p = 0; p < P; p++)
        for (int o = 0; o < O; o++) sums[p][o] = load(c.bias + (out + o) * LANES);
    const float *weight = c.weight + out * each + first * taps * LANES;
    for (size_t tap = first; tap < last; tap++, x += c.columns() * c.steps * LANES)
#pragma GCC unroll 4
        for (size_t i = 0; i < taps; i++, weight += LANES)
            for (int p = 0; p < P; p++) {
                V pixel = load(x + (p * c.steps + i) * LANES);
                for (int o = 0; o < O; o++) sums[p][o] = S::add(sums[p][o], pixel, load(weight + o * each));
            }
    constexpr int STEP = S::INPUTS;
    for (int p = 0; p < P; p++)
        for (int o = 0; o < O; o += STEP) then(row, column + p, (out + o) / STEP, sums[p][o], sums[p][o + STEP - 1]);
}

template <class S, class Then> void convolve_groups(const Grouped &c, const float *x, Then then) {
    constexpr int P = 4;
    for (size_t row = 0; row < c.grid; row++) {
        size_t column = 0;
        auto places = [&](auto two, auto one) {
            size_t out = 0;
            for (; out + 2 <= c.outputs; out += 2) two(c, x, row, column, out, then);
            for (; out < c.outputs; out += S::INPUTS) one(c, x, row, column, out, then);
        };
        for (; column + P <= c.grid; column += P) places(outputs_at<P, 2, S, Then>, outputs_at<P, S::INPUTS, S, Then>);
        for (; column < c.grid; column++) places(outputs_at<1, 2, S, Then>, outputs_at<1, S::INPUTS, S, Then>);
    }
}

// The parallel convolution module, added to its input: x [patch, batch, step, group, channels of a step], of as many whole
// steps as there are inputs. Weights [groups / LANES, out, y, x, step, LANES, channels of a step], biases [groups / LANES,
// out, LANES]. Scratch: zeros, see `add_pcm` in loops.rs.
template <class T, class S> void add_pcm(T *x, size_t batch, const HubbleflowPcm &p, float *scratch) {
    const size_t grid = p.grid, taps = p.kernel * p.kernel, width = p.groups * p.inputs;
    const size_t inputs = p.inputs / S::INPUTS, hidden = p.hidden / S::INPUTS;
    // Few galaxies at a time, whose tokens stay in the cache while one group follows another.
    constexpr size_t TILE = 8;
    for (size_t tile = 0; tile < batch; tile += TILE)
        for (size_t at = 0; at < round_up(p.groups, LANES) * TILE; at += LANES) {
            const size_t group = at / (LANES * TILE) * LANES, galaxy = tile + at / LANES % TILE;
            if (galaxy >= batch) continue;
            const Grouped wide = {grid, p.kernel, inputs, p.hidden, p.widen + group * p.hidden * inputs * taps,
                                  p.widen_bias + group * p.hidden};
            const Grouped thin = {grid, p.kernel, hidden, p.inputs, p.narrow + group * p.inputs * hidden * taps,
                                  p.narrow_bias + group * p.inputs};
            // Columns beside the grid stay zero; rows above and below it are left out.
            float *patches = scratch, *middle = patches + wide.at(grid, 0);
            const size_t n = (p.groups - group) * S::INPUTS;
            auto in_x = [&](size_t row, size_t column, size_t step) {
                return x + ((row * grid + column) * batch + galaxy) * width + (step * p.groups + group) * S::INPUTS;
            };
            for (size_t row = 0; row < grid; row++)
                for (size_t column = 0; column < grid; column++)
                    for (size_t step = 0; step < inputs; step++)
                        store(patches + wide.at(row, column) + step * LANES, S::lanes(in_x(row, column, step), n));
            convolve_groups<S>(wide, patches, [&](size_t row, size_t column, size_t step, V first, V second) {
                V both = S::together(Of<T>::silu(first), Of<T>::silu(second));
                store(middle + thin.at(row, column) + step * LANES, both);
            });
            convolve_groups<S>(thin, middle, [&](size_t row, size_t column, size_t step, V first, V second) {
                V patch = load(patches + wide.at(row, column) + step * LANES);
                V both = S::together(S::first(patch) + first, S::second(patch) + second);
                S::write(in_x(row, column, step), both, n);
            });
        }
}

// P pixels of a row, O vectors of outputs: x are the rows of the kernel, `row` apart, weight [y, x, step, O * LANES].
template <int P, int O, class T, class N = typename Step<T>::Number>
inline void pixels(const N *x, size_t row, T *y, size_t y_row, size_t kernel, size_t inputs, size_t outputs,
                   const N *weight, const float *bias) {
    constexpr size_t STEP = Step<T>::INPUTS;
    V sums[P][O];
    for (int p = 0; p < P; p++)
        for (int o = 0; o < O; o++) sums[p][o] = load(bias + o * LANES);
    for (size_t tap = 0; tap < kernel; tap++, x += row)
        for (size_t i = 0; i < kernel * inputs; i += STEP, weight += O * LANES * STEP) {
            V columns[O];
            for (int o = 0; o < O; o++) columns[o] = column(weight + o * LANES * STEP);
            for (int p = 0; p < P; p++)
                for (int o = 0; o < O; o++) sums[p][o] = Step<T>::add(sums[p][o], x + p * inputs + i, columns[o]);
        }
    for (int p = 0; p < P; p++)
        // Zero comes first, so that a NaN stays one.
        for (int o = 0; o < O; o++) store(y + p * y_row + o * LANES, most(V{}, sums[p][o]), outputs - o * LANES);
}

// One cutout's channels with a margin beside each row, as many numbers to a pixel as are whole steps: from [y, x, channel],
// pixels `x_row` apart.
template <class T, class N>
inline void fill_cutout(const T *x, size_t x_row, size_t side, size_t margin, size_t channels, size_t pixel, N *cutout) {
    const size_t row = (side + 2 * margin) * pixel;
    for (size_t v = 0; v < side; v++)
        for (size_t u = 0; u < side; u++) {
            const T *from = x + (v * side + u) * x_row;
            N *to = cutout + (v + margin) * row + (u + margin) * pixel;
            for (size_t i = 0; i < channels; i += LANES) store(to + i, load(from + i, channels - i), channels - i);
        }
}

#include "tiles.h"

// A convolution of few channels and a ReLU, in place: [batch, y, x, channel], pixels `x_row` apart, O vectors of channels.
// Scratch: zeros, one cutout's channels, as many as are whole steps, with the kernel's margin.
template <int O, class T>
void convolve_few(T *x, size_t x_row, size_t batch, const HubbleflowConv *c, void *scratch) {
    typedef typename Step<T>::Number N;
    const size_t side = c->side, inputs = round_up(c->channels, Step<T>::INPUTS), margin = c->kernel / 2;
    const size_t row = (side + 2 * margin) * inputs;
    N *cutout = static_cast<N *>(scratch);
    for (; batch > 0; batch--, x += side * side * x_row) {
        fill_cutout(x, x_row, side, margin, c->channels, inputs, cutout);
        for (size_t v = 0; v < side; v++) {
            size_t u = 0;
            auto at = [&](auto some) {
                some(cutout + v * row + u * inputs, row, x + (v * side + u) * x_row, x_row, c->kernel, inputs, c->channels,
                     static_cast<const N *>(c->weight), c->bias);
            };
            // Enough sums to hide a multiply-add's latency, where the row has as many pixels.
            constexpr int P = O == 1 ? 8 : 4;
            for (; u + P <= side; u += P) at(pixels<P, O, T>);
            for (; u + 4 <= side; u += 4) at(pixels<4, O, T>);
            for (; u < side; u++) at(pixels<1, O, T>);
        }
    }
}

template <class T> void convolve(T *x, size_t x_row, size_t batch, const HubbleflowConv *c, void *scratch) {
#if defined(__AMX_BF16__)
    if constexpr (sizeof(T) == 2) return convolve_by_tiles(x, x_row, batch, c, static_cast<bf16 *>(scratch));
#endif
    const size_t vectors = (c->channels + LANES - 1) / LANES;
    if (vectors <= 1) return convolve_few<1>(x, x_row, batch, c, scratch);
    if (vectors <= 2) return convolve_few<2>(x, x_row, batch, c, scratch);
    convolve_few<4>(x, x_row, batch, c, scratch);
}

// The maximum over the nine pixels about each, as far as they are there: [batch, y, x, channel].
template <class T> void maximum_3x3(const T *x, T *y, size_t batch, size_t side, size_t channels) {
    const size_t row = side * channels;
    const V none = all(-__builtin_inff());
    for (; batch > 0; batch--, x += side * row, y += side * row)
        for (size_t v = 0; v < side; v++)
            for (size_t c = 0; c < channels; c += LANES) {
                const size_t n = channels - c;
                auto column = [&](size_t u) {
                    const T *here = x + v * row + u * channels + c;
                    V highest = load(here, n);
                    if (v > 0) highest = most(highest, load(here - row, n));
                    if (v + 1 < side) highest = most(highest, load(here + row, n));
                    return highest;
                };
                V left = none, here = column(0);
                for (size_t u = 0; u < side; u++) {
                    V right = u + 1 < side ? column(u + 1) : none;
                    store(y + v * row + u * channels + c, most(most(left, here), right), n);
                    left = here;
                    here = right;
                }
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

// Cutouts to patches of px by px pixels: [batch, band, y, x] to [patch, batch, band * px * px].
template <class T> void patches(const T *x, T *y, size_t batch, size_t bands, size_t side, size_t px) {
    const size_t grid = side / px, patch = bands * px * px;
    for (size_t galaxy = 0; galaxy < batch; galaxy++)
        for (size_t band = 0; band < bands; band++)
            for (size_t v = 0; v < side; v++)
                for (size_t u = 0; u < grid; u++, x += px) {
                    T *to = y + ((v / px * grid + u) * batch + galaxy) * patch + (band * px + v % px) * px;
                    if (px == 8) memcpy(to, x, 8 * sizeof(T));
                    else memcpy(to, x, px * sizeof(T));
                }
}

// Cutouts to the means of each two by two pixels: [batch, band, y, x] to [batch, y / 2, x / 2, band], of bands as many as are
// whole steps; those that there are not stay as they are.
template <class T> void pool(const T *x, T *y, size_t batch, size_t bands, size_t side) {
    const size_t half = side / 2, pixel = round_up(bands, Step<T>::INPUTS);
    for (; batch > 0; batch--, y += half * half * pixel)
        for (size_t band = 0; band < bands; band++, x += side * side)
            for (size_t v = 0; v < half; v++)
                for (size_t u = 0; u < half; u += LANES / 2) {
                    const T *p = x + 2 * v * side + 2 * u;
                    V sums = (load(p, side - 2 * u) + load(p + side, side - 2 * u)) * 0.25f;
                    for (size_t i = 0; i < at_most(LANES / 2, half - u); i++)
                        store(y + (v * half + u + i) * pixel + band, all(sums[2 * i] + sums[2 * i + 1]), 1);
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
#if defined(__AMX_BF16__)
        if (TILES && s->tokens <= TOKENS_MAX && s->depth <= DEPTH_MAX && s->depth % TILE_INPUTS == 0)
            return attend_by_tiles(static_cast<const bf16 *>(qkv), static_cast<bf16 *>(mixed), s->tokens, s->batch, s->heads,
                                   s->depth);
#endif
        ::attend(static_cast<const T *>(qkv), static_cast<T *>(mixed), s->tokens, s->batch, s->heads, s->depth,
                 scratch);
    }
    static void add_pcm(void *x, size_t batch, const HubbleflowPcm *p, float *scratch) {
        auto pcm = p->step == Step<T>::INPUTS ? ::add_pcm<T, Step<T>> : ::add_pcm<T, Step<float>>;
        pcm(static_cast<T *>(x), batch, *p, scratch);
    }
    static void convolve(void *x, size_t x_row, size_t batch, const HubbleflowConv *c, void *scratch) {
        ::convolve(static_cast<T *>(x), x_row, batch, c, scratch);
    }
    static void maximum_3x3(const void *x, void *y, size_t batch, size_t side, size_t channels) {
        ::maximum_3x3(static_cast<const T *>(x), static_cast<T *>(y), batch, side, channels);
    }
    static void mean_2x2(const void *x, void *y, size_t batch, size_t side, size_t channels) {
        ::mean_2x2(static_cast<const T *>(x), static_cast<T *>(y), batch, side, channels);
    }
    static void patches(const void *x, void *y, size_t batch, size_t bands, size_t side, size_t px) {
        ::patches(static_cast<const T *>(x), static_cast<T *>(y), batch, bands, side, px);
    }
    static void pool(const void *x, void *y, size_t batch, size_t bands, size_t side) {
        ::pool(static_cast<const T *>(x), static_cast<T *>(y), batch, bands, side);
    }
#if defined(__AMX_BF16__)
    static constexpr bool TILES = sizeof(T) == 2;
#else
    static constexpr bool TILES = false;
#endif
    typedef void (*Layer)(const HubbleflowLinear *, const void *, size_t, const void *, void *, size_t, size_t);
    static constexpr Layer layer() {
        if constexpr (sizeof(typename Step<T>::Number) != sizeof(T)) return nullptr;
        else
            return [](const HubbleflowLinear *l, const void *x, size_t rows, const void *other, void *y, size_t y_row,
                      size_t then) {
                ::linear(l, static_cast<const T *>(x), rows, static_cast<const T *>(other), static_cast<T *>(y), y_row,
                               then);
            };
    }
};

} // namespace

#define LOOPS_OF(T)                                                                                                     \
    {LANES,             Kind<T>::asinh,   Kind<T>::normalise, Kind<T>::attend,  Kind<T>::add_pcm, Kind<T>::convolve,        \
     Kind<T>::maximum_3x3, Kind<T>::mean_2x2, Kind<T>::patches,   Kind<T>::pool, Step<T>::INPUTS,                                 \
     Kind<T>::TILES ? 16 : 1, Kind<T>::TILES ? 2 : PANEL, Kind<T>::layer()}

// Of float32 and of bfloat16.
extern "C" {
extern const HubbleflowLoops HUBBLEFLOW_LOOPS[2];
const HubbleflowLoops HUBBLEFLOW_LOOPS[2] = {LOOPS_OF(float), LOOPS_OF(bf16)};
}
