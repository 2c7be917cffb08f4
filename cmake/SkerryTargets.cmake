# One function sets the standard, the warnings, the hardening and the sanitizers of a target; nothing is global.

set(SKERRY_WARNINGS
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wvla -Wundef -Wcast-align
  -Wwrite-strings -Wformat=2)
# clang gives these for macros of protobuf-c (INIT) and uthash where we use them, though their headers are system ones,
# and for the last value of protobuf-c's enums, which only sets their size.
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  list(APPEND SKERRY_WARNINGS -Wcast-qual -Wimplicit-fallthrough -Wswitch-enum)
endif()
set(SKERRY_C_WARNINGS -Wstrict-prototypes -Wmissing-prototypes)

function(skerry_target_settings target)
  target_include_directories(${target} PUBLIC "${PROJECT_SOURCE_DIR}")
  target_compile_definitions(${target} PRIVATE _GNU_SOURCE)
  if(CMAKE_SIZEOF_VOID_P EQUAL 4)
    # Ours have 64 bits in our code only: libraries were built with 32, so time_t, struct timeval, struct timespec,
    # off_t and struct stat never pass between them and us.
    target_compile_definitions(${target} PRIVATE _FILE_OFFSET_BITS=64 _TIME_BITS=64)
    # gcc notes that GCC 7 changed how some templates' arguments pass; everything here is newer.
    target_compile_options(${target} PRIVATE "$<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-psabi>")
  endif()
  target_compile_options(${target} PRIVATE
    ${SKERRY_WARNINGS}
    "$<$<COMPILE_LANGUAGE:C>:${SKERRY_C_WARNINGS}>"
    -fno-omit-frame-pointer -fstack-protector-strong -fvisibility=hidden)
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_link_options(${target} PRIVATE -Wl,-z,relro,-z,now -Wl,--as-needed)
  if(SKERRY_WERROR)
    # What depends on how far the optimiser sees, and so on the build type, warns but does not fail.
    target_compile_options(${target} PRIVATE -Werror
      "$<$<C_COMPILER_ID:GNU>:-Wno-error=maybe-uninitialized;-Wno-error=dangling-pointer>")
  endif()
  if(SKERRY_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${SKERRY_SANITIZE} -fno-sanitize-recover=all)
    target_link_options(${target} PRIVATE -fsanitize=${SKERRY_SANITIZE})
  elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
    target_compile_definitions(${target} PRIVATE _FORTIFY_SOURCE=2)
  endif()
  if(SKERRY_FUZZ)
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
endfunction()

# skerry_library(NAME SOURCES a.c ... [DEPS target ...] [PRIVATE_DEPS target ...])
function(skerry_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(${name} STATIC ${arg_SOURCES})
  skerry_target_settings(${name})
  target_link_libraries(${name} PUBLIC ${arg_DEPS} PRIVATE ${arg_PRIVATE_DEPS})
endfunction()

# skerry_executable(NAME SOURCES main.c ... [DEPS target ...])
function(skerry_executable name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  skerry_target_settings(${name})
  target_compile_options(${name} PRIVATE -fPIE)
  target_link_options(${name} PRIVATE -pie)
  target_link_libraries(${name} PRIVATE ${arg_DEPS} Threads::Threads)
endfunction()

# Sets `ret` to the path of a program that this machine runs: the target, or in a cross-build a script that starts it
# under the emulator, for who starts it by its path.
function(skerry_runnable name ret)
  if(NOT CMAKE_CROSSCOMPILING)
    set(${ret} "$<TARGET_FILE:${name}>" PARENT_SCOPE)
    return()
  endif()
  get_property(made GLOBAL PROPERTY SKERRY_RUNNABLE_${name})
  if(NOT made)
    set_property(GLOBAL PROPERTY SKERRY_RUNNABLE_${name} TRUE)
    file(GENERATE OUTPUT "${PROJECT_BINARY_DIR}/emulated/${name}"
      CONTENT "#!/bin/sh\nexec ${CMAKE_CROSSCOMPILING_EMULATOR} $<TARGET_FILE:${name}> \"$@\"\n"
      FILE_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
  endif()
  set(${ret} "${PROJECT_BINARY_DIR}/emulated/${name}" PARENT_SCOPE)
endfunction()

# How much longer tests may take: an emulated processor is slow. Twice as much as what tests themselves wait for there
# (tests/integration/support/wait.mjs), so that they say what did not come.
set(SKERRY_TIMEOUT_FACTOR 1)
if(CMAKE_CROSSCOMPILING)
  set(SKERRY_TIMEOUT_FACTOR 10)
endif()
function(skerry_test_timeout name seconds)
  math(EXPR allowed "${seconds} * ${SKERRY_TIMEOUT_FACTOR}")
  set_tests_properties(${name} PROPERTIES TIMEOUT ${allowed})
endfunction()

# Makes `tests_LABEL` for each label: the target that builds the programs of the tests with that label, and no more.
function(skerry_test_program name)
  foreach(label IN LISTS ARGN)
    if(NOT TARGET tests_${label})
      add_custom_target(tests_${label})
    endif()
    add_dependencies(tests_${label} ${name})
  endforeach()
endfunction()

# skerry_test(NAME SOURCES foo_test.c ... [DEPS target ...] [TIMEOUT seconds] [LABELS label ...])
# A cmocka program, run by ctest. Unit tests have the label `unit` (the default).
function(skerry_test name)
  cmake_parse_arguments(arg "" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 60)
  endif()
  if(NOT arg_LABELS)
    set(arg_LABELS unit)
  endif()
  skerry_executable(${name} SOURCES ${arg_SOURCES} DEPS ${arg_DEPS} dep::cmocka)
  add_test(NAME ${name} COMMAND ${name})
  if(CMAKE_CROSSCOMPILING)
    target_compile_definitions(${name} PRIVATE TEST_UNDER_QEMU)
  endif()
  skerry_test_timeout(${name} ${arg_TIMEOUT})
  set_tests_properties(${name} PROPERTIES LABELS "${arg_LABELS}")
  skerry_test_program(${name} ${arg_LABELS})
endfunction()

# skerry_fuzz(NAME SOURCES foo_fuzz.c [DEPS target ...] CORPUS directory)
# foo_fuzz.c defines LLVMFuzzerTestOneInput. With SKERRY_FUZZ it becomes a libFuzzer program; in every
# other build a small driver replays the corpus in git, as a test.
function(skerry_fuzz name)
  cmake_parse_arguments(arg "" "CORPUS" "SOURCES;DEPS" ${ARGN})
  if(SKERRY_FUZZ)
    skerry_executable(${name} SOURCES ${arg_SOURCES} DEPS ${arg_DEPS})
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    add_test(NAME ${name} COMMAND ${name} -max_total_time=10 -rss_limit_mb=512 "${arg_CORPUS}")
    set_tests_properties(${name} PROPERTIES TIMEOUT 120 LABELS fuzz)
    skerry_test_program(${name} fuzz)
  else()
    skerry_executable(${name} SOURCES ${arg_SOURCES} "${PROJECT_SOURCE_DIR}/tests/fuzz/replay.c" DEPS ${arg_DEPS})
    add_test(NAME ${name} COMMAND ${name} "${arg_CORPUS}")
    skerry_test_timeout(${name} 60)
    set_tests_properties(${name} PROPERTIES LABELS "unit;fuzz")
    skerry_test_program(${name} unit fuzz)
  endif()
endfunction()
