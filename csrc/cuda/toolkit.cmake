# What of CUDA a build can have. "libtorch has CUDA" (DRM_CUDA) and "our kernels are compiled" (DRM_KERNELS) are two
# things: without nvcc, or with one that does not fit, the GPU is used through libtorch alone.
#   drm_look_for_cuda(LIBTORCH) sets in the caller
#     DRM_CUDA     whether libtorch has CUDA; DRM_CUDA_VERSION is which, such as 13.0, empty when it does not say
#     DRM_NVCC     the compiler for our kernels; empty when there is none to use
#     DRM_CUDA_NOTE   a sentence on what is missing and what to do, or on versions that differ; else empty
#   cmake -DLIBTORCH=DIR -P csrc/cuda/toolkit.cmake says the same without building.

function(drm_cuda_version_of_libtorch libtorch result)
  set(version "")
  if(EXISTS ${libtorch}/version.py)  # a wheel's
    file(STRINGS ${libtorch}/version.py line REGEX "^cuda[ :=]")
    if(line MATCHES "'([0-9]+\\.[0-9]+)")
      set(version ${CMAKE_MATCH_1})
    endif()
  elseif(EXISTS ${libtorch}/build-version)  # an archive's: 2.13.0+cu130
    file(STRINGS ${libtorch}/build-version line)
    if(line MATCHES "\\+cu([0-9]+)([0-9])")
      set(version ${CMAKE_MATCH_1}.${CMAKE_MATCH_2})
    endif()
  endif()
  set(${result} "${version}" PARENT_SCOPE)
endfunction()

# Whether `nvcc` compiles and links C++20 with this host compiler; `why` is its first error otherwise.
function(drm_nvcc_compiles nvcc why)
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/nvcc_check)
  file(WRITE ${folder}/check.cu "#include <cuda_bf16.h>\n#include <concepts>\n"
    "template <std::integral T> __global__ void add(T* x) { *x += 1; }\nint main() { add<<<1, 1>>>(static_cast<int*>(nullptr)); }\n")
  set(host "")
  if(CMAKE_CXX_COMPILER)
    set(host -ccbin ${CMAKE_CXX_COMPILER})
  endif()
  execute_process(COMMAND ${nvcc} -std=c++20 ${host} ${folder}/check.cu -o ${folder}/check
    RESULT_VARIABLE code OUTPUT_VARIABLE said ERROR_VARIABLE said)
  set(${why} "" PARENT_SCOPE)
  if(NOT code EQUAL 0)
    string(REGEX MATCH "[^\n]*(error|fatal|cannot find)[^\n]*" line "${said}")
    set(${why} "${line} (exit status ${code})" PARENT_SCOPE)
  endif()
endfunction()

function(drm_look_for_cuda libtorch)
  set(DRM_CUDA OFF PARENT_SCOPE)
  set(DRM_CUDA_VERSION "" PARENT_SCOPE)
  set(DRM_NVCC "" PARENT_SCOPE)
  set(DRM_CUDA_NOTE "" PARENT_SCOPE)
  if(NOT EXISTS ${libtorch}/lib/libtorch_cuda.so)
    return()
  endif()
  drm_cuda_version_of_libtorch(${libtorch} wanted)
  set(DRM_CUDA ON PARENT_SCOPE)
  set(DRM_CUDA_VERSION "${wanted}" PARENT_SCOPE)
  set(without "GPUs are used through libtorch alone, more slowly than with drm's own kernels")
  set(toolkit "CUDA ${wanted} toolkit")
  string(REPLACE "  " " " toolkit "${toolkit}")  # of unknown version
  set(remedy "install the ${toolkit}, or point CUDA_HOME to one, and run `npm run setup`")

  if(NOT DEFINED DRM_USUAL_CUDA)
    set(DRM_USUAL_CUDA /usr/local/cuda)
  endif()
  find_program(NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATH_SUFFIXES bin PATHS ${DRM_USUAL_CUDA})
  if(NOT NVCC)
    set(DRM_CUDA_NOTE "no nvcc was found (CUDA_HOME, PATH, ${DRM_USUAL_CUDA}): ${without}; ${remedy}" PARENT_SCOPE)
    return()
  endif()
  execute_process(COMMAND ${NVCC} --version OUTPUT_VARIABLE said ERROR_VARIABLE said RESULT_VARIABLE code)
  if(NOT code EQUAL 0 OR NOT said MATCHES "release ([0-9]+)\\.([0-9]+)")
    set(DRM_CUDA_NOTE "${NVCC} does not say its version (exit status ${code}): ${without}; ${remedy}" PARENT_SCOPE)
    return()
  endif()
  set(major ${CMAKE_MATCH_1})
  set(found ${CMAKE_MATCH_1}.${CMAKE_MATCH_2})
  string(REGEX REPLACE "\\..*" "" wanted_major "${wanted}")
  if(wanted AND NOT major EQUAL wanted_major)
    set(DRM_CUDA_NOTE "${NVCC} is CUDA ${found}, libtorch is built with CUDA ${wanted}: expected one major version, so ${without}; ${remedy}"
      PARENT_SCOPE)
    return()
  endif()
  drm_nvcc_compiles(${NVCC} why)
  if(why)
    set(DRM_CUDA_NOTE "${NVCC} cannot compile here: ${why}: ${without}; mend it or point CUDA_HOME to another, and run `npm run setup`" PARENT_SCOPE)
    return()
  endif()
  set(DRM_NVCC ${NVCC} PARENT_SCOPE)
  if(wanted AND found VERSION_GREATER wanted)
    set(DRM_CUDA_NOTE "${NVCC} is CUDA ${found}, libtorch's is ${wanted}: the driver must know ${found}" PARENT_SCOPE)
  elseif(wanted AND found VERSION_LESS wanted)
    set(DRM_CUDA_NOTE "${NVCC} is CUDA ${found}, older than libtorch's ${wanted}: kernels run, newer GPUs may need a newer nvcc" PARENT_SCOPE)
  endif()
endfunction()

if(CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
  drm_look_for_cuda(${LIBTORCH})
  foreach(name DRM_CUDA DRM_CUDA_VERSION DRM_NVCC DRM_CUDA_NOTE)
    message(STATUS "${name}=${${name}}")
  endforeach()
endif()
