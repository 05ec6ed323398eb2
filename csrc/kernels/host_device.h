// Marks a function that host and device share, and a loop that is unrolled on the device; to a
// compiler other than nvcc, nothing.

#ifndef CEPHRAY_KERNELS_HOST_DEVICE_H_
#define CEPHRAY_KERNELS_HOST_DEVICE_H_

#if defined(__CUDACC__)
#define CEPHRAY_HOST_DEVICE __host__ __device__
#define CEPHRAY_UNROLL _Pragma("unroll")
#else
#define CEPHRAY_HOST_DEVICE
#define CEPHRAY_UNROLL
#endif

#endif  // CEPHRAY_KERNELS_HOST_DEVICE_H_
