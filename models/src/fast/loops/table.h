// The table of loops, and the C structs that they take. table.rs declares the same structs in Rust. Part of loops.cpp.

// The sizes of an attention: `depth` is the number of channels of a head.
struct HubbleflowAttention {
    size_t tokens, batch, heads, depth;
};

// The weights of a parallel convolution module (PCM); add_pcm in pcm.h gives their layout.
struct HubbleflowPcm {
    size_t grid, kernel, groups, inputs, hidden, step;
    const float *widen, *widen_bias, *narrow, *narrow_bias;
};

// A square convolution of few channels to the same number of channels.
struct HubbleflowConv {
    size_t side, kernel, channels;
    const void *weight;
    const float *bias;
};

// A linear layer with weights [panel, step, outputs of the panel, inputs of a step]. A panel has `panel` vectors of outputs;
// the last panel may have fewer. Outputs are padded with zeros to whole vectors, steps to whole multiples of `together`.
struct HubbleflowLinear {
    size_t inputs, outputs;
    const void *weight;
    const float *bias;
};

// The function that is applied to the outputs of a linear layer. Activation in activation.rs has the same numbers.
enum HubbleflowActivation : size_t { HUBBLEFLOW_IDENTITY, HUBBLEFLOW_RELU, HUBBLEFLOW_GELU };

// The loops for one type of numbers in memory, on one instruction set.
struct HubbleflowLoops {
    // Numbers of float32 in a vector.
    size_t lanes;
    void (*asinh)(const float *, void *, size_t, float, float);
    void (*quantiles)(const float *, float *, size_t, size_t);
    void (*normalise)(const void *, void *, size_t, size_t);
    void (*attend)(const void *, void *, const HubbleflowAttention *, float *);
    void (*add_pcm)(void *, size_t, const HubbleflowPcm *, float *);
    void (*convolve)(void *, size_t, size_t, const HubbleflowConv *, void *);
    void (*maximum_3x3)(const void *, void *, size_t, size_t, size_t);
    void (*mean_2x2)(const void *, void *, size_t, size_t, size_t);
    void (*patches)(const void *, void *, size_t, size_t, size_t, size_t);
    void (*pool)(const void *, void *, size_t, size_t, size_t);
    // Inputs that are multiplied in one step: one of float32, or two of bfloat16.
    size_t step;
    // Steps that one instruction takes: weights are padded to whole multiples.
    size_t together;
    // Vectors of outputs in a panel of weights.
    size_t panel;
    // The number of inputs must be a multiple of `step` unless `together` is above 1. Null if the processor does not
    // multiply numbers of this type.
    void (*linear)(const HubbleflowLinear *, const void *, size_t, const void *, void *, size_t, size_t);
};
