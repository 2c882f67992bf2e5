// The quantiles of a head: sums of steps away from the median. Part of loops.cpp.

// log(1 + e^x), never below zero.
inline V softplus(V x) {
    V u = exponential(x < 0.0f ? x : -x);
    V w = 1.0f + u;
    // The second term puts back the digits that 1 + u loses.
    V l = logarithm(w) + (u - (w - 1.0f)) / w;
    return most(V{}, x) + l;
}

// y[k] = y[k - 1] + softplus(x[k]) above the middle, y[k] = y[k + 1] - softplus(x[k]) below, for each row. The steps are
// added before the median is: a sum that grows cannot descend by rounding.
inline void quantiles(const float *x, float *y, size_t rows, size_t levels) {
    const size_t middle = levels / 2;
    for (size_t row = 0; row < rows; row++, x += levels, y += levels) {
        for (size_t k = 0; k < levels; k += LANES) store(y + k, softplus(load(x + k, levels - k)), levels - k);
        const float median = x[middle];
        y[middle] = median;
        float above = 0.0f, below = 0.0f;
        for (size_t k = middle + 1; k < levels; k++) {
            above += y[k];
            y[k] = median + above;
        }
        for (size_t k = middle; k-- > 0;) {
            below += y[k];
            y[k] = median - below;
        }
    }
}
