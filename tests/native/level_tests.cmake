# level_tests: every compiled level on the cases of a file, in plain C++. It is what is cross-compiled for
# other processors and what the sanitizers watch: scripts/check_neon, scripts/check_sanitize.
file(GLOB level_test_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.cpp)
add_executable(level_tests ${level_test_sources} ${core_sources})
target_include_directories(level_tests PRIVATE cpp_ext/include)
target_compile_definitions(level_tests PRIVATE ${level_definitions})
target_compile_options(level_tests PRIVATE ${core_options})
target_link_libraries(level_tests PRIVATE Threads::Threads)
