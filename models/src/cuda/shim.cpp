// Streams and graphs of CUDA, which tch does not have. shim.rs declares these functions.
//
// This is a library of its own, which the program contains and opens after libtorch_cuda. A program linked with it would
// start only on machines with CUDA. Every function except the last returns null, or an error message that the caller must
// free.

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
    // A thread sleeps while it waits for this event: a thread that spins would take the core of a thread that decodes.
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

// Makes float32 exact (no TF32), and the same batch give the same bits.
char *hubbleflow_cuda_exact() {
    return error_of([] {
        at::globalContext().setAllowTF32CuBLAS(false);
        at::globalContext().setAllowTF32CuDNN(false);
        at::globalContext().setBenchmarkCuDNN(false);
        at::globalContext().setDeterministicCuDNN(true);
        // Products of bfloat16 are summed in float32, even if the sum is split.
        at::globalContext().setAllowBF16ReductionCuBLAS(false);
        // Use the attention kernels that are compiled in advance. Those of cuDNN, which libtorch prefers on an H200, are
        // compiled again for each thread, and have been wrong with few heads (PyTorch issue 193893).
        at::globalContext().setSDPUseCuDNN(false);
    });
}

// Waits for all work of a device. After a failure for good, such as an access to memory that is not there, every call ends with
// the error of the first.
char *hubbleflow_cuda_wait(int device) {
    return error_of([&] {
        c10::cuda::CUDAGuard on(static_cast<c10::DeviceIndex>(device));
        C10_CUDA_CHECK(cudaDeviceSynchronize());
    });
}

// Makes a lane, after waiting for the device's default stream, which copies the weights.
char *hubbleflow_lane_new(int device, Lane **lane) {
    return error_of([&] {
        auto index = static_cast<c10::DeviceIndex>(device);
        c10::cuda::CUDAGuard on(index);
        C10_CUDA_CHECK(cudaStreamSynchronize(c10::cuda::getDefaultCUDAStream(index).stream()));
        *lane = new Lane(index);
    });
}

// Sends this thread's work to the lane's stream until the guard is freed.
char *hubbleflow_lane_enter(Lane *lane, c10::cuda::CUDAStreamGuard **guard) {
    return error_of([&] { *guard = new c10::cuda::CUDAStreamGuard(lane->stream); });
}

char *hubbleflow_lane_leave(c10::cuda::CUDAStreamGuard *guard) {
    return error_of([&] { delete guard; });
}

// From here on the stream's work is recorded and not done. Other threads may allocate memory meanwhile.
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

// Copies between pinned memory and the device, in the order of the stream. It returns before the copy is done.
char *hubbleflow_cuda_copy(at::Tensor *to, const at::Tensor *from) {
    return error_of([&] { to->copy_(*from, true); });
}

// Allocates memory of float32 that the device can read directly.
char *hubbleflow_cuda_pinned(const int64_t *shape, size_t dimensions, at::Tensor **out) {
    return error_of([&] {
        auto options = at::TensorOptions().dtype(at::kFloat).pinned_memory(true);
        *out = new at::Tensor(at::empty(at::IntArrayRef(shape, dimensions), options));
    });
}

void hubbleflow_lane_free(Lane *lane) { delete lane; }

// Ten times the first number of a device's compute capability, plus the second: 90 for an H200.
char *hubbleflow_cuda_capability(int device, int *capability) {
    return error_of([&] {
        int major = 0, minor = 0;
        C10_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
        C10_CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
        *capability = 10 * major + minor;
    });
}

// Loads the kernel with this name from a module, a cubin or the text of a PTX with a zero at its end, for good. It may use
// so many bytes of shared memory.
char *hubbleflow_kernel_new(int device, const void *module, const char *name, int shared_bytes, cudaKernel_t *kernel) {
    return error_of([&] {
        c10::cuda::CUDAGuard on(static_cast<c10::DeviceIndex>(device));
        cudaLibrary_t library;
        C10_CUDA_CHECK(cudaLibraryLoadData(&library, module, nullptr, nullptr, 0, nullptr, nullptr, 0));
        C10_CUDA_CHECK(cudaLibraryGetKernel(kernel, library, name));
        auto function = reinterpret_cast<const void *>(*kernel);
        C10_CUDA_CHECK(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes));
    });
}

// Sends a kernel to the stream of this thread.
char *hubbleflow_kernel_launch(cudaKernel_t kernel, int x, int y, int threads, int shared_bytes, void **arguments) {
    return error_of([&] {
        auto function = reinterpret_cast<const void *>(kernel);
        cudaStream_t stream = c10::cuda::getCurrentCUDAStream().stream();
        C10_CUDA_CHECK(cudaLaunchKernel(function, dim3(x, y), dim3(threads), arguments, shared_bytes, stream));
    });
}

}
