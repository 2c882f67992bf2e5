// The scale of cutouts: asinh(flux slope) factor. Part of loops.cpp.

// y = asinh(x slope) factor, for n numbers.
template <class T> void inverse_sinh(const float *x, T *y, size_t n, float slope, float factor) {
    for (size_t i = 0; i < n; i += LANES) {
        V s = load(x + i, n - i) * slope;
        V a = s < 0.0f ? -s : s;
        // log1p(|s| + sqrt(s^2 + 1) - 1); the second term of `l` puts back the digits that 1 + u loses.
        V u = a + a * a / (1.0f + root(a * a + 1.0f));
        V w = 1.0f + u;
        V l = logarithm(w) + (u - (w - 1.0f)) / w;
        store(y + i, (s < 0.0f ? -l : l) * factor, n - i);
    }
}
