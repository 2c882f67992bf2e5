// Attention for a few tokens: softmax(q k^T) v. Part of loops.cpp.

// Rows that are multiplied together: each loaded vector is used this number of times.
constexpr size_t ROWS = 6;

// c = a b, for ROWS rows and N vectors of columns. In a, rows are `a_row` numbers apart and steps `a_step`.
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

// c = a b. `rows` is a multiple of ROWS, `columns` a multiple of LANES.
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

// Turns each column of scores into weights that add up to one, and packs the weights in steps.
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

// Fetches n numbers into the cache, to be read or (with WRITE) written.
template <int WRITE, class T> inline void prefetch(const T *x, size_t n) {
#pragma GCC unroll 4
    for (size_t i = 0; i < n; i += 64 / sizeof(T)) __builtin_prefetch(x + i, WRITE);
}

// softmax(q k^T) v for each galaxy and head. qkv is [token, batch, 3 * heads * depth] with scaled queries, mixed is
// [token, batch, heads * depth]. Scores are [key, query], so that a softmax crosses no lanes. The scratch is zeros;
// attention.rs computes its size.
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
                // The tokens of one galaxy are far apart in memory, so the next galaxy's are fetched meanwhile.
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
