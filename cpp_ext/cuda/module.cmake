# cpp_ext._cuda: reached when nvcc answers. The runtime is linked in, so the module imports anywhere.
if(DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(architectures ${CMAKE_CUDA_ARCHITECTURES})
endif()
enable_language(CUDA)
if(NOT DEFINED architectures)
  # What a wheel carries: a cubin for each GPU family, and PTX of the first for those to come. Orin is
  # served by CUDA 12 only, Thor (110) by CUDA 13 only; both are aarch64.
  if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
    set(architectures 80-real 86-real 89-real 90-real 80-virtual)
    if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8)
      list(APPEND architectures 100-real 120-real)
    endif()
  elseif(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 13)
    set(architectures 87-real)
  else()
    set(architectures 90-real 100-real 110-real)
  endif()
endif()

file(GLOB cuda_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cu ${CMAKE_CURRENT_LIST_DIR}/*.cpp)
python_add_library(_cuda MODULE WITH_SOABI ${cuda_sources})
set_target_properties(_cuda PROPERTIES
  CUDA_ARCHITECTURES "${architectures}" CUDA_RUNTIME_LIBRARY Static
  CUDA_STANDARD 17 CUDA_STANDARD_REQUIRED ON CUDA_VISIBILITY_PRESET hidden)
target_include_directories(_cuda PRIVATE
  ${CMAKE_CURRENT_SOURCE_DIR}/cpp_ext/include ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
target_link_libraries(_cuda PRIVATE pybind11::headers)
install(TARGETS _cuda LIBRARY DESTINATION cpp_ext)
