// Marks a function that host and device share; to a compiler other than nvcc, nothing.

#ifndef CEPHRAY_HOST_DEVICE_H_
#define CEPHRAY_HOST_DEVICE_H_

#if defined(__CUDACC__)
#define CEPHRAY_HOST_DEVICE __host__ __device__
#else
#define CEPHRAY_HOST_DEVICE
#endif

#endif  // CEPHRAY_HOST_DEVICE_H_
