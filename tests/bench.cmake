# Floors for tests/bench/run; the benchmark itself is no test.
add_executable(bench_floor bench/floor.c)
target_link_libraries(bench_floor PRIVATE sat_test_flags PkgConfig::SQLITE
	PkgConfig::ZSTD)
