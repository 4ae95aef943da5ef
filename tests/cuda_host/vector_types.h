// dim3 and the short vectors of CUDA: int2, float4 and so on, with CUDA's alignment.

#pragma once

#define CUDA_HOST_VECTORS(name, type, align2, align4)                                           \
  struct name##1 { type x; };                                                                   \
  struct alignas(align2) name##2 { type x, y; };                                                \
  struct name##3 { type x, y, z; };                                                             \
  struct alignas(align4) name##4 { type x, y, z, w; };                                          \
  inline name##1 make_##name##1(type x) { return {x}; }                                         \
  inline name##2 make_##name##2(type x, type y) { return {x, y}; }                              \
  inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }                   \
  inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }

CUDA_HOST_VECTORS(char, signed char, 2, 4)
CUDA_HOST_VECTORS(uchar, unsigned char, 2, 4)
CUDA_HOST_VECTORS(short, short, 4, 8)
CUDA_HOST_VECTORS(ushort, unsigned short, 4, 8)
CUDA_HOST_VECTORS(int, int, 8, 16)
CUDA_HOST_VECTORS(uint, unsigned int, 8, 16)
CUDA_HOST_VECTORS(longlong, long long, 16, 16)
CUDA_HOST_VECTORS(ulonglong, unsigned long long, 16, 16)
CUDA_HOST_VECTORS(float, float, 8, 16)
CUDA_HOST_VECTORS(double, double, 16, 16)

#undef CUDA_HOST_VECTORS

struct dim3 {
  unsigned x, y, z;

  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
