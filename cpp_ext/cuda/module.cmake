# cpp_ext._cuda: reached when nvcc answers. The runtime is linked in, so the module imports anywhere.
if(DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(architectures ${CMAKE_CUDA_ARCHITECTURES})
endif()
enable_language(CUDA)
if(NOT DEFINED architectures)
  # What a wheel carries: a cubin for each GPU family, of Orin (87) and Thor (110) where the machine is no
  # x86-64, and PTX of the first for those to come. What this nvcc doesn't know is left out.
  set(architectures 80-real 86-real 87-real 89-real 90-real 100-real 110-real 120-real 80-virtual)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
    list(FILTER architectures EXCLUDE REGEX "^(87|110)-")
  endif()
  execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --list-gpu-arch OUTPUT_VARIABLE known COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[0-9]+" known "${known}")
  foreach(architecture ${architectures})
    string(REGEX MATCH "^[0-9]+" number ${architecture})
    if(NOT number IN_LIST known)
      list(REMOVE_ITEM architectures ${architecture})
    endif()
  endforeach()
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
