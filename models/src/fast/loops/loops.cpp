// Our own loops, for operators that libtorch has no good kernel for at these sizes: 17 tokens, few channels, small matrices.
// build.rs compiles this file once for each instruction set. The table at its end is named for the instruction set.
//
// Everything here must be in the unnamed namespace, and must not use the C++ library: the linker may merge a template that
// several instruction sets share, and then keep instructions that the processor does not have.
#if defined(__AVX2__)
#include <immintrin.h>
#endif
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "table.h"

namespace {

// Each part needs the parts before it.
#include "vectors.h"
#include "functions.h"
#include "step.h"

#include "asinh.h"
#include "attention.h"
#include "convolution.h"
#include "linear.h"
#include "normalise.h"
#include "pcm.h"
#include "pooling.h"
#include "quantiles.h"

#include "tiles.h"
#include "tile_attention.h"
#include "tile_convolution.h"
#include "tile_linear.h"

// Picks the loop of a convolution by its number of channels.
template <class T> void convolve(T *x, size_t x_row, size_t batch, const HubbleflowConv *c, void *scratch) {
#if defined(__AMX_BF16__)
    if constexpr (sizeof(T) == 2) return convolve_by_tiles(x, x_row, batch, c, static_cast<bf16 *>(scratch));
#endif
    const size_t vectors = (c->channels + LANES - 1) / LANES;
    if (vectors <= 1) return convolve_few<1>(x, x_row, batch, c, scratch);
    if (vectors <= 2) return convolve_few<2>(x, x_row, batch, c, scratch);
    convolve_few<4>(x, x_row, batch, c, scratch);
}

// The functions of the table for numbers of type T in memory.
template <class T> struct Kind {
    static void asinh(const float *x, void *y, size_t n, float slope, float factor) {
        inverse_sinh(x, static_cast<T *>(y), n, slope, factor);
    }
    static void quantiles(const float *x, float *y, size_t rows, size_t levels) { ::quantiles(x, y, rows, levels); }
    static void normalise(const void *x, void *y, size_t rows, size_t width) {
        ::normalise(static_cast<const T *>(x), static_cast<T *>(y), rows, width);
    }
    static void attend(const void *qkv, void *mixed, const HubbleflowAttention *s, float *scratch) {
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
                      size_t activation) {
                ::linear(l, static_cast<const T *>(x), rows, static_cast<const T *>(other), static_cast<T *>(y), y_row,
                         activation);
            };
    }
};

} // namespace

#define LOOPS_OF(T)                                                                                                    \
    {LANES,                                                                                                            \
     Kind<T>::asinh,                                                                                                   \
     Kind<T>::quantiles,                                                                                               \
     Kind<T>::normalise,                                                                                               \
     Kind<T>::attend,                                                                                                  \
     Kind<T>::add_pcm,                                                                                                 \
     Kind<T>::convolve,                                                                                                \
     Kind<T>::maximum_3x3,                                                                                             \
     Kind<T>::mean_2x2,                                                                                                \
     Kind<T>::patches,                                                                                                 \
     Kind<T>::pool,                                                                                                    \
     Step<T>::INPUTS,                                                                                                  \
     Kind<T>::TILES ? 16 : 1,                                                                                          \
     Kind<T>::TILES ? 2 : PANEL,                                                                                       \
     Kind<T>::layer()}

// The first table is for float32 in memory, the second for bfloat16.
extern "C" {
extern const HubbleflowLoops HUBBLEFLOW_LOOPS[2];
const HubbleflowLoops HUBBLEFLOW_LOOPS[2] = {LOOPS_OF(float), LOOPS_OF(bf16)};
}
