// What Caffe 1.0 of 2018 finds changed in today's CUDA and cuDNN, answered from outside its sources:
// the compiler is told to read this first (-include). On an older CUDA or cuDNN it does nothing.
#ifndef FINE_ART_CAFFE_COMPAT_H_
#define FINE_ART_CAFFE_COMPAT_H_

#if defined(__cplusplus) && !defined(CPU_ONLY) && __has_include(<cuda_runtime_api.h>)
#include <cuda_runtime_api.h>

// CUDA 13 has taken three fields from cudaDeviceProp that Caffe's DeviceQuery prints. They are still
// there as attributes. (Not for nvcc: no .cu file asks for them, and the toolkit's own headers do
// know today's cudaDeviceProp.)
#if CUDART_VERSION >= 13000 && !defined(__CUDACC__)
struct CaffeDeviceProp : public cudaDeviceProp {
  int clockRate;                 // kHz
  int deviceOverlap;             // copies and computes at the same time
  int kernelExecTimeoutEnabled;  // kernels may run for a limited time only
};

inline cudaError_t CaffeGetDeviceProperties(CaffeDeviceProp* prop, int device) {
  cudaError_t status = cudaGetDeviceProperties(prop, device);
  if (status == cudaSuccess) {
    status = cudaDeviceGetAttribute(&prop->clockRate, cudaDevAttrClockRate, device);
  }
  if (status == cudaSuccess) {
    status = cudaDeviceGetAttribute(&prop->deviceOverlap, cudaDevAttrGpuOverlap, device);
  }
  if (status == cudaSuccess) {
    status = cudaDeviceGetAttribute(&prop->kernelExecTimeoutEnabled,
                                    cudaDevAttrKernelExecTimeout, device);
  }
  return status;
}

#define cudaDeviceProp CaffeDeviceProp
#define cudaGetDeviceProperties CaffeGetDeviceProperties
#endif  // CUDA 13

#ifdef USE_CUDNN
#include <cudnn.h>

// cuDNN 8 has taken away the questions "which algorithm, within this workspace?". What is left
// answers with all algorithms, the fastest first: the first one that fits is the same answer.
#if CUDNN_MAJOR >= 8
#define CUDNN_CONVOLUTION_FWD_SPECIFY_WORKSPACE_LIMIT 0
#define CUDNN_CONVOLUTION_BWD_FILTER_SPECIFY_WORKSPACE_LIMIT 0
#define CUDNN_CONVOLUTION_BWD_DATA_SPECIFY_WORKSPACE_LIMIT 0

// `fallback` needs no workspace; Caffe itself falls back to it when there is no memory for one.
template <typename Found, typename Algorithm>
inline void CaffeFirstThatFits(const Found* found, int number, size_t limit, Algorithm fallback,
                               Algorithm* chosen) {
  *chosen = fallback;
  for (int i = 0; i < number; ++i) {
    if (found[i].status == CUDNN_STATUS_SUCCESS && found[i].memory <= limit) {
      *chosen = found[i].algo;
      return;
    }
  }
}

inline cudnnStatus_t cudnnGetConvolutionForwardAlgorithm(
    cudnnHandle_t handle, cudnnTensorDescriptor_t bottom, cudnnFilterDescriptor_t weights,
    cudnnConvolutionDescriptor_t convolution, cudnnTensorDescriptor_t top, int, size_t limit,
    cudnnConvolutionFwdAlgo_t* chosen) {
  cudnnConvolutionFwdAlgoPerf_t found[CUDNN_CONVOLUTION_FWD_ALGO_COUNT];
  int number = 0;
  const cudnnStatus_t status = cudnnGetConvolutionForwardAlgorithm_v7(
      handle, bottom, weights, convolution, top, CUDNN_CONVOLUTION_FWD_ALGO_COUNT, &number, found);
  if (status == CUDNN_STATUS_SUCCESS) {
    CaffeFirstThatFits(found, number, limit, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, chosen);
  }
  return status;
}

inline cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm(
    cudnnHandle_t handle, cudnnTensorDescriptor_t bottom, cudnnTensorDescriptor_t top,
    cudnnConvolutionDescriptor_t convolution, cudnnFilterDescriptor_t weights, int, size_t limit,
    cudnnConvolutionBwdFilterAlgo_t* chosen) {
  cudnnConvolutionBwdFilterAlgoPerf_t found[CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT];
  int number = 0;
  const cudnnStatus_t status = cudnnGetConvolutionBackwardFilterAlgorithm_v7(
      handle, bottom, top, convolution, weights, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT, &number,
      found);
  if (status == CUDNN_STATUS_SUCCESS) {
    CaffeFirstThatFits(found, number, limit, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0, chosen);
  }
  return status;
}

inline cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm(
    cudnnHandle_t handle, cudnnFilterDescriptor_t weights, cudnnTensorDescriptor_t top,
    cudnnConvolutionDescriptor_t convolution, cudnnTensorDescriptor_t bottom, int, size_t limit,
    cudnnConvolutionBwdDataAlgo_t* chosen) {
  cudnnConvolutionBwdDataAlgoPerf_t found[CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT];
  int number = 0;
  const cudnnStatus_t status = cudnnGetConvolutionBackwardDataAlgorithm_v7(
      handle, weights, top, convolution, bottom, CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT, &number,
      found);
  if (status == CUDNN_STATUS_SUCCESS) {
    CaffeFirstThatFits(found, number, limit, CUDNN_CONVOLUTION_BWD_DATA_ALGO_0, chosen);
  }
  return status;
}

// By default cuDNN 8 and later round float inputs to TF32 (10 bits of mantissa) on cards that have
// it. Caffe of 2018 computed in float32, and so do we.
inline cudnnStatus_t CaffeSetConvolution2dDescriptor(
    cudnnConvolutionDescriptor_t convolution, int pad_h, int pad_w, int stride_h, int stride_w,
    int dilation_h, int dilation_w, cudnnConvolutionMode_t mode, cudnnDataType_t type) {
  const cudnnStatus_t status =
      cudnnSetConvolution2dDescriptor(convolution, pad_h, pad_w, stride_h, stride_w, dilation_h,
                                      dilation_w, mode, type);
  return status == CUDNN_STATUS_SUCCESS
             ? cudnnSetConvolutionMathType(convolution, CUDNN_FMA_MATH)
             : status;
}

#define cudnnSetConvolution2dDescriptor CaffeSetConvolution2dDescriptor
#endif  // cuDNN 8
#endif  // USE_CUDNN

#endif  // a build for GPUs
#endif  // FINE_ART_CAFFE_COMPAT_H_
