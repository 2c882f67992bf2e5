// Streams and graphs of CUDA, of which tch has none: see shim.rs.
//
// A library of its own, which the program carries and opens after libtorch_cuda: linked into the program, it would be one
// that starts on machines with CUDA alone. Every function but the last gives back an error as a string that is the caller's
// to free, or null.

#include "../cpp.h"

#include <ATen/Context.h>
#include <ATen/cuda/CUDAGraph.h>
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

namespace {

struct Lane {
    c10::cuda::CUDAStream stream;
    // Waited for asleep: a thread that spins takes the core of one that decodes.
    cudaEvent_t done;
    at::cuda::CUDAGraph graph;

    explicit Lane(c10::DeviceIndex device) : stream(c10::cuda::getStreamFromPool(false, device)) {
        c10::cuda::CUDAGuard on(device);
        C10_CUDA_CHECK(cudaEventCreateWithFlags(&done, cudaEventBlockingSync | cudaEventDisableTiming));
    }

    ~Lane() { cudaEventDestroy(done); }
};

} // namespace

extern "C" {

// float32 means float32, and the same batch the same bits.
char *hubbleflow_cuda_exact() {
    return error_of([] {
        at::globalContext().setAllowTF32CuBLAS(false);
        at::globalContext().setAllowTF32CuDNN(false);
        at::globalContext().setBenchmarkCuDNN(false);
        at::globalContext().setDeterministicCuDNN(true);
        // Products of bfloat16 are summed in float32, however the sum is split.
        at::globalContext().setAllowBF16ReductionCuBLAS(false);
        // Attention by the kernels that come compiled: cuDNN's, preferred on an H200, are made anew for each thread, and
        // have been wrong with few heads (PyTorch's issue 193893).
        at::globalContext().setSDPUseCuDNN(false);
    });
}

// What is computed so far on the device's default stream, where weights are laid, is computed.
char *hubbleflow_lane_new(int device, Lane **lane) {
    return error_of([&] {
        auto index = static_cast<c10::DeviceIndex>(device);
        c10::cuda::CUDAGuard on(index);
        C10_CUDA_CHECK(cudaStreamSynchronize(c10::cuda::getDefaultCUDAStream(index).stream()));
        *lane = new Lane(index);
    });
}

// Until the guard is freed, this thread's work goes to the lane's stream.
char *hubbleflow_lane_enter(Lane *lane, c10::cuda::CUDAStreamGuard **guard) {
    return error_of([&] { *guard = new c10::cuda::CUDAStreamGuard(lane->stream); });
}

char *hubbleflow_lane_leave(c10::cuda::CUDAStreamGuard *guard) {
    return error_of([&] { delete guard; });
}

// What is asked of the stream from here on is written down and not done. Other threads may allocate meanwhile.
char *hubbleflow_lane_capture(Lane *lane) {
    return error_of([&] { lane->graph.capture_begin({0, 0}, cudaStreamCaptureModeThreadLocal); });
}

char *hubbleflow_lane_captured(Lane *lane) {
    return error_of([&] { lane->graph.capture_end(); });
}

char *hubbleflow_lane_replay(Lane *lane) {
    return error_of([&] { lane->graph.replay(); });
}

char *hubbleflow_lane_wait(Lane *lane) {
    return error_of([&] {
        C10_CUDA_CHECK(cudaEventRecord(lane->done, lane->stream.stream()));
        C10_CUDA_CHECK(cudaEventSynchronize(lane->done));
    });
}

// Copies between pinned memory and the device, in the order of the stream and beside the caller.
char *hubbleflow_cuda_copy(at::Tensor *to, const at::Tensor *from) {
    return error_of([&] { to->copy_(*from, true); });
}

// Memory of float32 that the device can read by itself.
char *hubbleflow_cuda_pinned(const int64_t *shape, size_t dimensions, at::Tensor **out) {
    return error_of([&] {
        auto options = at::TensorOptions().dtype(at::kFloat).pinned_memory(true);
        *out = new at::Tensor(at::empty(at::IntArrayRef(shape, dimensions), options));
    });
}

void hubbleflow_lane_free(Lane *lane) { delete lane; }

}
