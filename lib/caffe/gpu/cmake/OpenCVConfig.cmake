# OpenCV as Caffe's cmake asks for it. Debian's own file demands every module and what they need;
# Caffe uses these three. The build says -DOpenCV_DIR=<this folder> -DCAFFE_PREFIX=<its prefix>.
set(OpenCV_INCLUDE_DIRS ${CAFFE_PREFIX}/usr/include/opencv4)
set(OpenCV_LIBS "")
foreach(module imgcodecs imgproc core)
  list(APPEND OpenCV_LIBS ${CAFFE_PREFIX}/usr/lib/x86_64-linux-gnu/libopencv_${module}.so)
endforeach()
set(OpenCV_CONFIG_PATH ${CMAKE_CURRENT_LIST_DIR})
set(OpenCV_FOUND TRUE)
