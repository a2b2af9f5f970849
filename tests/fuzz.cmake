# One target per decoder. CTest replays the corpus, and changed copies of it;
# with SAT_FUZZ and clang the same sources become libFuzzer programs:
#
#   cmake -B build-fuzz -DCMAKE_C_COMPILER=clang -DSAT_FUZZ=ON \
#         -DSAT_SANITIZE="address;undefined" -DCMAKE_BUILD_TYPE=Debug
#   build-fuzz/tests/live_page -max_total_time=60 tests/fuzz/corpus/page
option(SAT_FUZZ "Build libFuzzer programs too (clang)" OFF)

foreach(name frame scan message changeset page meta)
	sat_test(fuzz_${name} LABELS fuzz
		SOURCES fuzz/fuzz_${name}.c fuzz/replay.c
		NEEDS sat_wire_fixture
		ARGS ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name})
	if(SAT_FUZZ)
		add_executable(live_${name} fuzz/fuzz_${name}.c)
		target_link_libraries(live_${name} PRIVATE sat_wire_fixture)
		target_compile_options(live_${name} PRIVATE -fsanitize=fuzzer)
		target_link_options(live_${name} PRIVATE -fsanitize=fuzzer)
	endif()
endforeach()
