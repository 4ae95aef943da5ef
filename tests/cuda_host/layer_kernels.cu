// Small kernels with known results, or known mistakes, for the tests of this layer; nvcc compiles them as well.

#include "launch.h"

using namespace hyperconv;

namespace {

constexpr unsigned kWarp = 0xffffffffu;
constexpr int kTile = 16;

struct Tiles {
  float a[kTile][kTile], b[kTile][kTile + 1];
};

// c = a b, all n x n, n a multiple of the tile.
__global__ void __launch_bounds__(kTile* kTile) tiled_product(const float* __restrict__ a,
                                                              const float* __restrict__ b, float* c, int n) {
  Tiles& tiles = shared_object<Tiles>();
  const int x = threadIdx.x, y = threadIdx.y;
  const int row = blockIdx.y * blockDim.y + y, column = blockIdx.x * blockDim.x + x;
  float sum = 0;
  for (int k = 0; k < n; k += kTile) {
    tiles.a[y][x] = __ldg(a + row * n + k + x);
    tiles.b[y][x] = __ldg(b + (k + y) * n + column);
    __syncthreads();
    for (int i = 0; i < kTile; ++i) sum += tiles.a[y][i] * tiles.b[i][x];
    __syncthreads();
  }
  c[row * n + column] = sum;
}

// Adds up all values: shuffles within warps, shared memory between them, an atomic between blocks.
__global__ void reduce(const float* values, int count, float* sum) {
  auto& partial = shared_object<float[32]>();
  const int index = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  float own = index < count ? values[index] : 0;
  for (int step = 16; step > 0; step /= 2) own += __shfl_xor_sync(kWarp, own, step);
  if (lane == 0) partial[warp] = own;
  __syncthreads();
  if (warp != 0) return;
  own = lane < static_cast<int>(blockDim.x / 32) ? partial[lane] : 0;
  for (int step = 16; step > 0; step /= 2) own += __shfl_down_sync(kWarp, own, step);
  if (lane == 0) atomicAdd(sum, own);
}

// What each lane gets from every warp operation, a row of 32 for each.
__global__ void warp_operations(int* results) {
  const int lane = threadIdx.x % 32;
  int* out = results + lane;
  const auto put = [&out](int value) {
    *out = value;
    out += 32;
  };
  put(__shfl_sync(kWarp, lane, 5));
  put(__shfl_sync(kWarp, lane, 3, 8));
  put(__shfl_up_sync(kWarp, lane, 3));
  put(__shfl_down_sync(kWarp, lane, 3, 16));
  put(__shfl_xor_sync(kWarp, lane, 9, 8));
  put(static_cast<int>(__ballot_sync(kWarp, lane % 3 == 0)));
  put(__any_sync(kWarp, lane == 7));
  put(__all_sync(kWarp, lane < 31));
  if (lane < 8) {
    put(__shfl_sync(0xffu, lane, 7));
  } else {
    put(__shfl_sync(0xffffff00u, lane, 31));
  }
  int own = lane;
  if (lane % 2 == 0) own = __shfl_sync(0x55555555u, lane, 30);
  put(__shfl_xor_sync(kWarp, own, 1));
  put(__syncthreads_count(lane < 5));
  put(__syncthreads_or(lane == 9));
  put(__syncthreads_and(lane < 32));
}

// Each thread passes words through a ring of `Stages` buffers and its neighbour adds them up.
template <int Stages, bool Waits>
__global__ void pipeline(const float* values, int chunks, int valid_chunks, float* sums) {
  auto* ring = reinterpret_cast<float*>(shared_memory());
  const int threads = blockDim.x, thread = threadIdx.x;
  const auto fetch = [&](int chunk) {
    if (chunk < chunks) {
      cp_async(ring + chunk % Stages * threads + thread, values + chunk * threads + thread, chunk < valid_chunks);
    }
    cp_async_commit();
  };
  for (int chunk = 0; chunk < Stages - 1; ++chunk) fetch(chunk);
  float sum = 0;
  for (int chunk = 0; chunk < chunks; ++chunk) {
    cp_async_wait<Waits ? Stages - 2 : Stages - 1>();
    __syncthreads();
    sum += ring[chunk % Stages * threads + (thread + 1) % threads];
    fetch(chunk + Stages - 1);
  }
  sums[thread] = sum;
}

// A step of a stencil, repeated: each thread replaces its value by its neighbours' sum, with one barrier per
// step and two buffers, or (a race) one.
template <int Buffers>
__global__ void stencil(float* values, int steps) {
  auto& buffer = shared_object<float[2][64]>();
  const int thread = threadIdx.x;
  float own = values[thread];
  for (int step = 0; step < steps; ++step) {
    float* now = buffer[step % Buffers];
    now[thread] = own;
    __syncthreads();
    own = now[(thread + 1) % 64] + now[(thread + 63) % 64];
  }
  values[thread] = own;
}

// d (16, 8) = a (16, 32) b (8, 32)^T in a 16-bit type, two neighbours along a row in a word.
template <bool IsHalf>
__global__ void product_16_bits(const uint32_t* a, const uint32_t* b, float* d) {
  const int row = threadIdx.x / 4, pair = threadIdx.x % 4;
  float sums[4] = {};
  for (int k = pair; k < 16; k += 8) {
    const uint32_t left[4] = {a[row * 16 + k], a[(row + 8) * 16 + k], a[row * 16 + k + 4], a[(row + 8) * 16 + k + 4]};
    const uint32_t right[2] = {b[row * 16 + k], b[row * 16 + k + 4]};
    if (IsHalf) {
      mma_m16n8k16_f16(sums, left, right);
    } else {
      mma_m16n8k16_bf16(sums, left, right);
    }
  }
  for (int value = 0; value < 4; ++value) d[(row + value / 2 * 8) * 8 + pair * 2 + value % 2] = sums[value];
}

// d (16, 8) = a (16, 8) b (8, 8) in tf32.
__global__ void product_tf32(const float* a, const float* b, float* d) {
  const int row = threadIdx.x / 4, pair = threadIdx.x % 4;
  const uint32_t left[4] = {to_tf32(a[row * 8 + pair]), to_tf32(a[(row + 8) * 8 + pair]),
                            to_tf32(a[row * 8 + pair + 4]), to_tf32(a[(row + 8) * 8 + pair + 4])};
  const uint32_t right[2] = {to_tf32(b[pair * 8 + row]), to_tf32(b[(pair + 4) * 8 + row])};
  float sums[4] = {};
  mma_m16n8k8_tf32(sums, left, right);
  for (int value = 0; value < 4; ++value) d[(row + value / 2 * 8) * 8 + pair * 2 + value % 2] = sums[value];
}

enum Mistake {
  kSomeReturn, kTwoBarriers, kLaneMissing, kMisalignedCopy, kCopyBeyond, kDynamicOverflow, kObjectOverflow,
  kInnerOverflow, kGlobalOverflow, kMisalignedVector, kUnwrittenRead, kUnwrittenObject, kNextBlock,
};

__global__ void mistaken(int mistake, float* values) {
  auto* dynamic = reinterpret_cast<float*>(shared_memory());
  auto& object = shared_object<float[4][5]>();
  const int thread = threadIdx.x;
  float result = 0;
  switch (mistake) {
    case kSomeReturn:
      if (thread >= 40) return;
      __syncthreads();
      break;
    case kTwoBarriers:
      if (thread < 32) {
        __syncthreads();
      } else {
        __syncthreads();
      }
      break;
    case kLaneMissing:
      if (thread % 32 != 3) result = __shfl_sync(kWarp, result, 0);
      break;
    case kMisalignedCopy: cp_async(shared_memory() + thread, values, true); break;
    case kCopyBeyond: cp_async(dynamic + 64 + thread, values, true); break;
    case kDynamicOverflow: dynamic[thread + 1] = 1; break;
    case kObjectOverflow: reinterpret_cast<float*>(object)[thread] = 1; break;
    case kInnerOverflow: object[2][thread % 6] = 1; break;
    case kGlobalOverflow: values[blockDim.x] = 1; break;
    case kMisalignedVector: result = reinterpret_cast<float2*>(dynamic + 1)->x; break;
    case kUnwrittenRead: result = dynamic[thread]; break;
    case kUnwrittenObject: result = object[thread % 4][1]; break;
    case kNextBlock:
      if (blockIdx.x == 0) dynamic[thread] = 1;
      result = dynamic[thread];
      break;
    default: break;
  }
  values[thread] = result;
}

// Barriers and little else, for the time that they take.
__global__ void barriers(int count, float* values) {
  auto& buffer = shared_object<float[1024]>();
  for (int number = 0; number < count; ++number) {
    buffer[threadIdx.x] = static_cast<float>(number);
    __syncthreads();
  }
  values[threadIdx.x] = buffer[threadIdx.x];
}

}  // namespace

extern "C" {

void run_tiled_product(const float* a, const float* b, float* c, int n) {
  const unsigned side = static_cast<unsigned>(n) / kTile;
  launch(tiled_product, dim3(side, side), dim3(kTile, kTile), 0, nullptr, a, b, c, n);
}

void run_reduce(const float* values, int count, int blocks, int threads, float* sum) {
  launch(reduce, dim3(blocks), dim3(threads), 0, nullptr, values, count, sum);
}

void run_warp_operations(int* results) { launch(warp_operations, dim3(1), dim3(32), 0, nullptr, results); }

void run_pipeline(int waits, const float* values, int chunks, int valid_chunks, float* sums) {
  const auto kernel = waits ? pipeline<3, true> : pipeline<3, false>;
  launch(kernel, dim3(1), dim3(64), 3 * 64 * sizeof(float), nullptr, values, chunks, valid_chunks, sums);
}

void run_stencil(int buffers, float* values, int steps) {
  launch(buffers == 2 ? stencil<2> : stencil<1>, dim3(1), dim3(64), 0, nullptr, values, steps);
}

void run_product_16_bits(int is_half, const uint32_t* a, const uint32_t* b, float* d) {
  launch(is_half ? product_16_bits<true> : product_16_bits<false>, dim3(1), dim3(32), 0, nullptr, a, b, d);
}

void run_product_tf32(const float* a, const float* b, float* d) {
  launch(product_tf32, dim3(1), dim3(32), 0, nullptr, a, b, d);
}

void run_mistaken(int mistake, int blocks, float* values) {
  launch(mistaken, dim3(blocks), dim3(64), 64 * sizeof(float), nullptr, mistake, values);
}

void run_barriers(int blocks, int threads, int count, float* values) {
  launch(barriers, dim3(blocks), dim3(threads), 0, nullptr, count, values);
}

void run_conversions(const float* values, int count, uint16_t* halves, uint16_t* bfloats, float* back) {
  for (int index = 0; index < count; ++index) {
    halves[index] = __half_as_ushort(__float2half(values[index]));
    bfloats[index] = __bfloat16_as_ushort(__float2bfloat16(values[index]));
    back[2 * index] = __half2float(__ushort_as_half(halves[index]));
    back[2 * index + 1] = __bfloat162float(__ushort_as_bfloat16(bfloats[index]));
  }
}

}  // extern "C"
