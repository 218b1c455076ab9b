# Warnings, sanitizers and what makes builds fast. All of the speed-ups are optional: found, used; absent, not missed.
add_library(espmint_flags INTERFACE)
target_include_directories(espmint_flags INTERFACE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR})
target_compile_options(espmint_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual
                       -Werror -Wno-missing-field-initializers)
# A coroutine that is the whole statement may drop its Result; clang sees that, g++ 12 does not.
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(espmint_flags INTERFACE -Werror=unused-result -Wno-unknown-warning-option)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 reports uninitialised and dangling accesses inside its own coroutine frames and inlined std code.
  target_compile_options(espmint_flags INTERFACE -Wno-maybe-uninitialized -Wno-array-bounds -Wno-stringop-overflow
                         -Wno-stringop-overread -Wno-restrict -Wno-dangling-pointer -Wno-mismatched-new-delete)
  if(ESPMINT_UNITY)
    target_compile_options(espmint_flags INTERFACE -Wno-subobject-linkage)  # coroutine frames of sources taken for headers
  endif()
endif()
target_compile_definitions(espmint_flags INTERFACE BOOST_ASIO_SEPARATE_COMPILATION BOOST_ASIO_NO_DEPRECATED)
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  target_compile_options(espmint_flags INTERFACE -fstack-protector-strong)
  target_compile_definitions(espmint_flags INTERFACE _FORTIFY_SOURCE=2)
endif()

if(ESPMINT_SANITIZE)
  target_compile_options(espmint_flags INTERFACE -fsanitize=${ESPMINT_SANITIZE} -fno-omit-frame-pointer
                         -fno-sanitize-recover=all)
  target_link_options(espmint_flags INTERFACE -fsanitize=${ESPMINT_SANITIZE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    # clang 14 cannot emit the function sanitizer's prologue for coroutines; all other checks work on them.
    target_compile_options(espmint_flags INTERFACE -fno-sanitize=function)
  endif()
endif()
if(ESPMINT_FUZZ)
  target_compile_options(espmint_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# -O3 costs a third of the build and gains nothing here: the station waits for wires and disks.
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")

find_program(CCACHE ccache)
if(CCACHE)
  # Relative to the checkout: another clone of it finds the same objects.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(espmint_flags INTERFACE -fpch-preprocess)
  endif()
endif()
find_program(MOLD mold)
if(MOLD AND NOT ESPMINT_FUZZ)
  target_link_options(espmint_flags INTERFACE -fuse-ld=mold)
endif()
